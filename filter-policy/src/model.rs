//! A resolved policy: sets are looked up, lists read and values parsed, but nothing is compiled yet.
//!
//! The compiler takes it, and so does the tests' naive evaluator, which judges packets without a compiled policy.

use std::{borrow::Cow, fmt, net::IpAddr, path::PathBuf, sync::Arc};

use filter_core::layout::{Attestation, Count, Dialog, Method, NumberFormat, Payload, Per, Text, Transport, Verstat};
use ipnet::IpNet;
use jiff::Timestamp;

use crate::{
    language::{
        action::Action, header::HeaderName, quantity, scope::Scope, stage::Stage, tcp::OnTcp, upstream::UpstreamKind,
    },
    timetable::Window,
};

/// A place in one of the policy repository's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file, relative to the policy's directory.
    pub file: Arc<PathBuf>,
    /// Line, from 1.
    pub line: u32,
}

/// A whole policy, with lists read and defaults filled in.
#[derive(Clone, Debug)]
pub struct Policy {
    /// True if packets that no rule decides are dropped.
    pub default_drop: bool,
    /// True for report mode as a whole: nothing is dropped, and every rule counts what it would have done.
    pub report: bool,
    /// The signalling ports, sorted, without duplicates.
    pub ports: Vec<(u16, Transport)>,
    /// How numbers are normalised.
    pub numbering: Numbering,
    /// The rules, in file order.
    pub rules: Vec<Rule>,
    /// Sources that are never banned.
    pub never_ban: Vec<Arc<AddressList>>,
    /// The sets with a label, whether or not a rule uses them: reports of packets name it.
    pub labelled: Vec<Arc<AddressList>>,
    /// `[[upstream]]`, in file order. No address is a trunk of two of them.
    pub upstreams: Vec<Upstream>,
    /// True if emergency calls come before bans.
    pub allow_emergency: bool,
    /// The headers that rules name ([`Text::named`] by their indices), at most
    /// [`NAMED_HEADERS`](filter_core::limits::NAMED_HEADERS).
    pub headers: Vec<HeaderName>,
}

impl Policy {
    /// The key of a scope.
    #[must_use]
    pub fn scope_name(&self, scope: Scope) -> Cow<'static, str> {
        scope.key(&self.headers)
    }
}

/// Who sends calls, and what is known and agreed about that.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Its name, unique in the policy.
    pub name: String,
    /// The addresses that its calls come from.
    pub trunks: Vec<Arc<AddressList>>,
    /// What it is to this network.
    pub kind: Option<UpstreamKind>,
    /// Its registration number at the FCC, ten digits.
    pub frn: Option<String>,
    /// The number of its filing in the Robocall Mitigation Database.
    pub rmd: Option<String>,
    /// Its operating company number, upper case.
    pub ocn: Option<String>,
    /// The service provider code that it signs with, upper case.
    pub spc: Option<String>,
    /// Who answers for it.
    pub contacts: Vec<Contact>,
    /// The numbers that its calls may come from; none if that is not said.
    pub callers: Option<Vec<Arc<NumberList>>>,
    /// The names of the rules that its caps have become, which are among the policy's unless they are over.
    pub caps: Vec<String>,
    /// The line of its name in the policy.
    pub origin: Origin,
}

/// Somebody who answers for an upstream. At least one of these is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// What they are asked about.
    pub role: Option<String>,
    /// The name of a person or a department.
    pub name: Option<String>,
    /// Their address for mail.
    pub email: Option<String>,
    /// Their telephone number, as it is written.
    pub telephone: Option<String>,
}

/// How numbers are normalised, and what is known about them.
#[derive(Clone, Debug)]
pub struct Numbering {
    /// The plan of `[numbering]`, for sources that have none of their own.
    pub plan: NumberingPlan,
    /// `[[numbering.plan]]`: sources, and their plan. The first one whose sources include a packet's counts.
    pub plans: Vec<(Vec<Arc<AddressList>>, NumberingPlan)>,
    /// How many first digits neighbours share.
    pub neighbor_digits: u8,
    /// True if the called number is always To's. Otherwise it is only where the Request-URI has no user part.
    pub called_from_to: bool,
    /// Sources whose P-Asserted-Identity is trusted.
    pub asserted_identity_from: Vec<Arc<AddressList>>,
    /// What is known about number ranges: countries, regions, holders, assignment. Longer prefixes come later.
    pub ranges: Vec<NumberRange>,
}

/// How digits become E.164 numbers. Digit strings hold ASCII digits only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NumberingPlan {
    /// The country code that bare national numbers belong to.
    pub country_code: String,
    /// Dialled before international numbers; none of them empty.
    pub international_prefixes: Vec<String>,
    /// Dialled before national numbers; empty for none.
    pub national_prefix: String,
    /// Dialled for an outside line; empty for none.
    pub outside_prefix: String,
    /// Technical prefixes of digits, `*`, `#` and `,`; none of them empty.
    pub strip: Vec<String>,
    /// True if other digits are national numbers, false if they are E.164 without the plus.
    pub bare_national: bool,
}

/// What is known about numbers with a prefix. A longer prefix overrides the fields that it sets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NumberRange {
    /// The prefix's digits, country code first.
    pub prefix: String,
    /// ISO 3166-1 alpha-2.
    pub country: Option<Arc<str>>,
    /// ISO 3166-2.
    pub region: Option<Arc<str>>,
    /// OCN or SPID.
    pub spid: Option<Arc<str>>,
    /// The fewest and the most digits, including the country code.
    pub digits: Option<(u8, u8)>,
    /// The format of numbers with a possible length.
    pub format: Option<NumberFormat>,
}

/// A rule: what it does to packets that meet all its conditions.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name, unique in the policy.
    pub name: String,
    /// The stage whose remaining rules the action `continue` skips.
    pub stage: Stage,
    /// All must hold.
    pub conditions: Vec<Condition>,
    /// What happens to a packet that matches.
    pub action: Action,
    /// True for `mode = "report"`.
    pub report: bool,
    /// The rate that must be exceeded for the rule to match.
    pub over: Option<Over>,
    /// When the rule is on: in any of these windows; always, if there are none.
    pub hours: Vec<Window>,
    /// When it ends: from this time on, it is off.
    pub until: Option<Timestamp>,
    /// The legal basis, which is part of its events and metrics.
    pub basis: Option<String>,
    /// What becomes of a message over TCP that it drops.
    pub tcp: OnTcp,
    /// The line of its name in the policy.
    pub origin: Origin,
}

impl Rule {
    /// True if it is not always on.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        !self.hours.is_empty() || self.until.is_some()
    }
}

/// A rate of packets or calls, and what it is counted for.
#[derive(Clone, Debug)]
pub struct Over {
    /// How many.
    pub count: u32,
    /// Per how many nanoseconds.
    pub period: u64,
    /// How many may come at once.
    pub burst: u32,
    /// What is counted.
    pub counts: Count,
    /// What is counted separately.
    pub per: Per,
    /// Bits or digits of a prefix key; 0 for the whole value.
    pub prefix: u8,
}

impl Over {
    /// True if only a message can be counted.
    #[must_use]
    pub fn needs_message(&self) -> bool {
        match self.per {
            Per::Called
            | Per::CalledPrefix
            | Per::Calling
            | Per::CallingPrefix
            | Per::SourceCalled
            | Per::UserAgent => true,
            Per::Destination | Per::Rule | Per::Source | Per::SourcePrefix | Per::Upstream => {
                self.counts == Count::Calls
            }
        }
    }
}

impl fmt::Display for Over {
    /// `5/s, burst 20, per called`: in the words of a policy.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = self.per.name();
        let per = per.strip_suffix("-prefix").unwrap_or(per);
        write!(f, "{}, burst {}, per {per}", quantity::rate_text(self.count, self.period / 1_000_000_000), self.burst)?;
        if self.prefix > 0 {
            write!(f, "/{}", self.prefix)?;
        }
        if self.counts == Count::Calls { write!(f, ", count calls") } else { Ok(()) }
    }
}

/// One condition of a rule.
#[derive(Clone, Debug)]
pub struct Condition {
    /// The scope and its values, of which any must hold.
    pub test: Test,
    /// The scope that it is written with: `upstream` and its like become a test of the source.
    pub scope: Scope,
    /// True if the condition holds when none of its values does.
    pub negated: bool,
    /// The line of its key in the policy.
    pub origin: Origin,
}

/// A scope, with the values that it is compared with.
#[derive(Clone, Debug)]
pub enum Test {
    /// Source address, in any of the lists. `upstream`, `upstream_kind` and `upstream_rmd` become this, too.
    Source(Vec<Arc<AddressList>>),
    /// Destination address, in any of the lists.
    Destination(Vec<Arc<AddressList>>),
    /// Transport of the signalling port that the packet is sent to.
    Transport(Vec<Transport>),
    /// Destination port, 1 to 65535.
    Port(Vec<u16>),
    /// SIP method of a request; responses and unknown methods have values of their own.
    Method(Vec<MethodName>),
    /// `user_agent`, `header.<name>`, `body`.
    Text(Text, Vec<Arc<PatternList>>),
    /// `calling`, `called`, `forwarded`, `from_number`, `asserted_number`, `preferred_number`, `to_number`.
    Number(Identity, Vec<Arc<NumberList>>),
    /// Any of the caller's identities, whoever sent them, in any of the lists.
    AnyIdentity(Vec<Arc<NumberList>>),
    /// `calling_country` and the like: ISO 3166-1 codes, upper case.
    Country(Identity, Vec<String>),
    /// `calling_region` and the like: ISO 3166-2 codes, upper case.
    Region(Identity, Vec<String>),
    /// `calling_spid` and the like: OCN or SPID, upper case.
    Spid(Identity, Vec<String>),
    /// `calling_format`, `called_format`: only `Calling` and `Called` occur.
    Format(Identity, Vec<NumberFormat>),
    /// `calling_reputation`: the number's highest score in the scored lists, compared with a threshold.
    Reputation(Vec<Arc<NumberList>>, Comparison, u32),
    /// The claim in the Identity header, which is not verified.
    Attestation(Vec<Attestation>),
    /// The `verstat` parameter of the asserted identity.
    Verstat(Vec<Verstat>),
    /// `calling_privacy`: bits of [`filter_core::layout::privacy`]. `critical` alone withholds nothing, so that it counts as none.
    CallingPrivacy(Flags),
    /// `passport`: bits of [`filter_core::layout::passport`].
    Passport(Flags),
    /// `dialog`: by the tag in To, for requests and responses.
    Dialog(Vec<Dialog>),
    /// `payload`. It needs no readable message. A packet about which nothing can be said ([`Payload::None`]) meets neither the
    /// condition nor its negation.
    Payload(Vec<Payload>),
    /// `caller_allowed`: whether the calling number is among those that the source's upstream may use. If it has no list of them, or
    /// the source is no upstream's, neither the condition holds nor its negation.
    CallerAllowed(bool),
    /// Whether the calling and the called number share their first [`Numbering::neighbor_digits`] digits.
    Neighbor(bool),
    /// `anomaly`: bits of [`filter_core::layout::anomaly`].
    Anomaly(u32),
}

impl Test {
    /// True if only what a packet carries answers it; false for addresses and ports.
    #[must_use]
    pub fn is_about_payload(&self) -> bool {
        match self {
            Self::Destination(_) | Self::Port(_) | Self::Source(_) | Self::Transport(_) => false,
            Self::Anomaly(_)
            | Self::AnyIdentity(_)
            | Self::Attestation(_)
            | Self::CallerAllowed(_)
            | Self::CallingPrivacy(_)
            | Self::Country(..)
            | Self::Dialog(_)
            | Self::Format(..)
            | Self::Method(_)
            | Self::Neighbor(_)
            | Self::Number(..)
            | Self::Passport(_)
            | Self::Payload(_)
            | Self::Region(..)
            | Self::Reputation(..)
            | Self::Spid(..)
            | Self::Text(..)
            | Self::Verstat(_) => true,
        }
    }

    /// The scope that the test is of. It may have been written with another one, see [`Condition::scope`].
    #[must_use]
    pub fn scope(&self) -> Scope {
        match self {
            Self::Anomaly(_) => Scope::Anomaly,
            Self::AnyIdentity(_) => Scope::AnyIdentity,
            Self::Attestation(_) => Scope::Attestation,
            Self::CallerAllowed(_) => Scope::CallerAllowed,
            Self::CallingPrivacy(_) => Scope::CallingPrivacy,
            Self::Country(identity, _) => Scope::Country(*identity),
            Self::Destination(_) => Scope::Destination,
            Self::Dialog(_) => Scope::Dialog,
            Self::Format(identity, _) => Scope::Format(*identity),
            Self::Method(_) => Scope::Method,
            Self::Neighbor(_) => Scope::Neighbor,
            Self::Number(identity, _) => Scope::Number(*identity),
            Self::Passport(_) => Scope::Passport,
            Self::Payload(_) => Scope::Payload,
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
    Preferred,
    To,
}

/// The values of a condition on something that a message can have several of, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags {
    /// True if `none` is among the values.
    pub none: bool,
    /// The bits of the others.
    pub bits: u32,
}

/// How a score is compared with the threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the comparison of its name")]
pub enum Comparison {
    AtLeast,
    AtMost,
    Equal,
    Less,
    More,
}

/// Addresses, from a set or written in a rule.
#[derive(Clone, Debug)]
pub struct AddressList {
    /// The set's name; none for values written in a rule.
    pub name: Option<String>,
    /// The label of the peer that the addresses belong to, for `upstream`.
    pub label: Option<String>,
    /// The entries, in file order.
    pub entries: Vec<AddressEntry>,
    /// Where it comes from: the list's file, or the place in the policy.
    pub origin: Origin,
}

/// An address or a CIDR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressEntry {
    /// The network's address, host bits zero.
    pub address: IpAddr,
    /// Prefix length.
    pub prefix: u8,
    /// Its line in the list's file.
    pub line: u32,
}

impl AddressEntry {
    /// The address and its prefix length as one value.
    ///
    /// # Panics
    ///
    /// If the prefix is longer than the address. Lists that were read hold no such entry.
    #[must_use]
    pub fn network(&self) -> IpNet {
        IpNet::new_assert(self.address, self.prefix)
    }
}

/// Numbers, from a set or written in a rule.
#[derive(Clone, Debug)]
pub struct NumberList {
    /// The set's name; none for values written in a rule.
    pub name: Option<String>,
    /// The entries, in file order.
    pub entries: Vec<NumberEntry>,
    /// Where it comes from: the list's file, or the place in the policy.
    pub origin: Origin,
}

/// A number prefix, or exactly one number: in E.164 form, or a short code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumberEntry {
    /// The digits as BCD, the first one in the top nibble. Unused nibbles are zero.
    pub digits: u64,
    /// How many digits, 1 to 15.
    pub length: u8,
    /// True for exactly this number (`$`).
    pub exact: bool,
    /// Its score; 0 unless the list is scored.
    pub score: u32,
    /// Its line in the list's file.
    pub line: u32,
}

/// Patterns, from a set or written in a rule.
#[derive(Clone, Debug)]
pub struct PatternList {
    /// The set's name; none for values written in a rule.
    pub name: Option<String>,
    /// The entries, in file order. All of them parse.
    pub entries: Vec<PatternEntry>,
    /// Where it comes from: the list's file, or the place in the policy.
    pub origin: Origin,
}

/// A regular expression: case-insensitive, unanchored, over bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternEntry {
    /// The text as written, never empty.
    pub pattern: String,
    /// Its line in the list's file.
    pub line: u32,
}
