//! A resolved policy: every set looked up, every list read, every value parsed; nothing compiled yet.
//!
//! It is what the compiler takes and what the naive evaluator of the tests walks over.

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use crate::language::scope::Scope;
use filter_core::layout::{Action, Attestation, Method, NumberFormat, Per, Text, Transport, Verstat};
use ipnet::IpNet;

/// A place in one of the policy repository's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file, relative to the policy's directory.
    pub file: Arc<PathBuf>,
    /// Line, from 1.
    pub line: u32,
}

/// A resolved policy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// True if a packet is dropped that no rule decided.
    pub default_drop: bool,
    /// Signalling ports, sorted, without duplicates.
    pub ports: Vec<(u16, Transport)>,
    /// Number normalisation.
    pub numbering: Numbering,
    /// The rules, in file order.
    pub rules: Vec<Rule>,
    /// Sources that are never banned.
    pub never_ban: Vec<Arc<AddressList>>,
}

/// Number normalisation, as configured. Digit strings hold ASCII digits only.
#[derive(Clone, Debug)]
pub struct Numbering {
    /// Country code of a bare national number.
    pub country_code: String,
    /// Dialled before an international number; empty for none.
    pub international_prefix: String,
    /// Dialled before a national number; empty for none.
    pub national_prefix: String,
    /// True: other digits are national; false: they are E.164 without the plus.
    pub bare_national: bool,
    /// Digits that neighbours share.
    pub neighbor_digits: u8,
    /// Sources whose asserted identity is believed.
    pub asserted_identity_from: Vec<Arc<AddressList>>,
    /// What is known of number ranges: countries, regions, holders, assignment. More specific prefixes come later.
    pub ranges: Vec<NumberRange>,
}

/// A fact about the numbers that begin with a prefix; a longer prefix overrides the fields it sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberRange {
    /// The prefix's digits, country code first.
    pub prefix: String,
    /// ISO 3166-1 alpha-2.
    pub country: Option<Arc<str>>,
    /// ISO 3166-2.
    pub region: Option<Arc<str>>,
    /// OCN or SPID.
    pub spid: Option<Arc<str>>,
    /// Fewest and most digits, country code included.
    pub digits: Option<(u8, u8)>,
    /// Format of numbers of possible length.
    pub format: Option<NumberFormat>,
}

/// A rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name, unique in the policy.
    pub name: String,
    /// Its stage; `blacklist` unless the file says otherwise.
    pub stage: String,
    /// All must hold.
    pub conditions: Vec<Condition>,
    /// What it does.
    pub action: Action,
    /// Ban seconds, or a reject's status code; 0 otherwise.
    pub argument: u32,
    /// Where a divert sends to; empty otherwise.
    pub divert_to: String,
    /// True for `mode = "report"`.
    pub report: bool,
    /// The rate that must be exceeded for the rule to match.
    pub over: Option<Over>,
    /// Legal basis; travels with events and metrics.
    pub basis: Option<String>,
    /// Where it stands.
    pub origin: Origin,
}

/// A rate.
#[derive(Clone, Debug)]
pub struct Over {
    /// Packets.
    pub count: u32,
    /// In so many nanoseconds.
    pub period: u64,
    /// Packets above the rate that may come at once.
    pub burst: u32,
    /// Counted by.
    pub per: Per,
    /// Bits or digits of a prefix key; 0 for the whole value.
    pub prefix: u8,
}

/// One condition of a rule.
#[derive(Clone, Debug)]
pub struct Condition {
    /// What is looked at and for which values: any of them holds.
    pub test: Test,
    /// True if the condition holds when none of the values does.
    pub negated: bool,
    /// Where it stands.
    pub origin: Origin,
}

/// What a condition looks at, with its values.
#[derive(Clone, Debug)]
pub enum Test {
    /// `source`.
    Source(Vec<Arc<AddressList>>),
    /// `destination`.
    Destination(Vec<Arc<AddressList>>),
    /// `transport`.
    Transport(Vec<Transport>),
    /// `port`.
    Port(Vec<u16>),
    /// `method`.
    Method(Vec<MethodName>),
    /// `user_agent`, `header.<name>`, `body`.
    Text(Text, Vec<Arc<PatternList>>),
    /// `calling`, `called`, `forwarded`, `from_number`, `asserted_number`.
    Number(Identity, Vec<Arc<NumberList>>),
    /// `calling_country` and the like: ISO 3166-1 codes, upper case.
    Country(Identity, Vec<String>),
    /// `calling_region` and the like: ISO 3166-2 codes, upper case.
    Region(Identity, Vec<String>),
    /// `calling_spid` and the like.
    Spid(Identity, Vec<String>),
    /// `calling_format`, `called_format` (only `Calling` and `Called` occur).
    Format(Identity, Vec<NumberFormat>),
    /// `calling_reputation`: the score in the scored lists (the highest, where several hold the number) compares so.
    Reputation(Vec<Arc<NumberList>>, Comparison, u32),
    /// `attestation`.
    Attestation(Vec<Attestation>),
    /// `verstat`.
    Verstat(Vec<Verstat>),
    /// `neighbor`.
    Neighbor(bool),
    /// `anomaly`: bits of [`filter_core::layout::anomaly`].
    Anomaly(u32),
}

impl Test {
    /// The scope that the condition is on.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match self {
            Self::Anomaly(_) => Scope::Anomaly,
            Self::Attestation(_) => Scope::Attestation,
            Self::Country(identity, _) => Scope::Country(*identity),
            Self::Destination(_) => Scope::Destination,
            Self::Format(identity, _) => Scope::Format(*identity),
            Self::Method(_) => Scope::Method,
            Self::Neighbor(_) => Scope::Neighbor,
            Self::Number(identity, _) => Scope::Number(*identity),
            Self::Port(_) => Scope::Port,
            Self::Region(identity, _) => Scope::Region(*identity),
            Self::Reputation(..) => Scope::Reputation,
            Self::Source(_) => Scope::Source,
            Self::Spid(identity, _) => Scope::Spid(*identity),
            Self::Text(text, _) => Scope::Text(*text),
            Self::Transport(_) => Scope::Transport,
            Self::Verstat(_) => Scope::Verstat,
        }
    }
}

/// A method in a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodName(pub Method);

/// Which number of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the scope of its name")]
pub enum Identity {
    Asserted,
    Called,
    Calling,
    Forwarded,
    From,
}

/// How a score is compared with a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the comparison of its name")]
pub enum Comparison {
    AtLeast,
    AtMost,
    Equal,
    Less,
    More,
}

/// Addresses of a set, or written in a rule.
#[derive(Clone, Debug)]
pub struct AddressList {
    /// The set's name, none for values written in the rule.
    pub name: Option<String>,
    /// Label of the peer these addresses belong to (`upstream`).
    pub label: Option<String>,
    /// The entries, in file order.
    pub entries: Vec<AddressEntry>,
    /// Where it comes from: the list file, or the rule's place.
    pub origin: Origin,
}

/// An address or a CIDR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressEntry {
    /// The network's address, host bits zero.
    pub address: IpAddr,
    /// Prefix length.
    pub prefix: u8,
    /// Line in the list's file.
    pub line: u32,
}

impl AddressEntry {
    /// The network.
    ///
    /// # Panics
    /// The prefix is longer than the address, which no list that was read holds.
    #[must_use]
    pub fn network(&self) -> IpNet {
        IpNet::new_assert(self.address, self.prefix)
    }
}

/// Numbers of a set, or written in a rule.
#[derive(Clone, Debug)]
pub struct NumberList {
    /// The set's name, none for values written in the rule.
    pub name: Option<String>,
    /// The entries, in file order.
    pub entries: Vec<NumberEntry>,
    /// Where it comes from.
    pub origin: Origin,
}

/// A number prefix, or exactly one number, already in E.164 form (or a short code).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumberEntry {
    /// The digits as BCD, the first in the top nibble; unused nibbles zero.
    pub digits: u64,
    /// How many, 1 to 15.
    pub length: u8,
    /// True if only exactly this number is meant (`$`).
    pub exact: bool,
    /// Score, in scored lists; 0 otherwise.
    pub score: u32,
    /// Line in the list's file.
    pub line: u32,
}

/// Patterns of a set, or written in a rule.
#[derive(Clone, Debug)]
pub struct PatternList {
    /// The set's name, none for values written in the rule.
    pub name: Option<String>,
    /// The entries, in file order: each a regular expression that parsed.
    pub entries: Vec<PatternEntry>,
    /// Where it comes from.
    pub origin: Origin,
}

/// A regular expression: case-insensitive, unanchored, over bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternEntry {
    /// The expression.
    pub pattern: String,
    /// Line in the list's file.
    pub line: u32,
}
