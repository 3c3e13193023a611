//! `policy.toml` as written: keys and types are checked and every value has its span, but nothing is looked up yet.
//!
//! The file is walked by hand over the spanned tree instead of being deserialised, so that one run reports every mistake,
//! at its place, with what was probably meant.

mod reader;
mod rules;
mod sections;
mod upstreams;

use std::{mem, ops::Range};

pub use self::reader::{Fields, Reader, fields};
use super::{
    action::Action,
    diagnostics::{Diagnostics, SourceFile},
    header::HeaderName,
    scope::Scope,
    stage::Stage,
    tcp::OnTcp,
    upstream::{CapKind, UpstreamKind},
};

/// Keys at the top of the file.
pub const TOP_KEYS: &[&str] =
    &["version", "default", "mode", "never_ban", "allow_emergency", "network", "numbering", "sets", "upstream", "rule"];
/// Keys of `[network]`.
pub const NETWORK_KEYS: &[&str] = &["udp", "tcp", "tls"];
/// Keys of `[numbering]`.
pub const NUMBERING_KEYS: &[&str] = &[
    "country_code",
    "international_prefix",
    "national_prefix",
    "outside_prefix",
    "strip",
    "bare",
    "called_from",
    "neighbor_digits",
    "asserted_identity_from",
    "ranges",
    "plan",
];
/// Keys of `[[numbering.plan]]`.
pub const PLAN_KEYS: &[&str] =
    &["from", "country_code", "international_prefix", "national_prefix", "outside_prefix", "strip", "bare"];
/// Keys of `[sets.NAME]`.
pub const SET_KEYS: &[&str] = &[
    "addresses",
    "numbers",
    "patterns",
    "user_agents",
    "format",
    "label",
    "max_errors",
    "allow_empty",
    "description",
    "comment",
];
/// Keys of `[[rule]]`.
pub const RULE_KEYS: &[&str] = &[
    "name",
    "description",
    "comment",
    "stage",
    "match",
    "action",
    "mode",
    "over",
    "basis",
    "review",
    "until",
    "hours",
    "tcp",
];
/// Keys of `[[upstream]]`.
pub const UPSTREAM_KEYS: &[&str] =
    &["name", "description", "comment", "kind", "trunks", "frn", "rmd", "ocn", "spc", "contacts", "callers", "caps"];
/// Keys of `contacts`.
pub const CONTACT_KEYS: &[&str] = &["role", "name", "email", "telephone"];
/// Keys of `caps`.
pub const CAP_KEYS: &[&str] = &["calls_per_second", "calls_per_day", "rate", "burst", "mode", "action", "until"];
/// Keys of `over`.
pub const OVER_KEYS: &[&str] = &["rate", "burst", "per", "count"];
/// Keys of `hours`.
pub const HOURS_KEYS: &[&str] = &["days", "from", "to", "timezone"];
/// The days of `hours`, from Monday on, in any case.
pub(crate) const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// The same, written out.
pub(crate) const LONG_DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
/// Bytes of the longest name of a rule or set.
pub const LONGEST_NAME: usize = 64;
/// The version of the language.
pub const VERSION: i64 = 1;

/// Reads the file. What cannot be read is reported in `diagnostics` and left out.
pub(crate) fn parse(file: &SourceFile, diagnostics: &mut Diagnostics) -> Source {
    let (mut source, incomplete) = Reader::read(file, diagnostics, |reader, document| {
        let source = reader.source(document);
        Source { headers: mem::take(&mut reader.headers), ..source }
    });
    source.incomplete = incomplete;
    source
}

/// A value, and the bytes of the file that it was read from.
#[derive(Clone, Debug)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Its bytes in the file, including the quotation marks of a string.
    pub span: Range<usize>,
}

/// The values of a condition, or of a key that takes several.
pub(crate) type Values = Located<Vec<Located<Scalar>>>;

/// A value that is neither a table nor an array.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar {
    Boolean(bool),
    Integer(i64),
    String(String),
}

/// All of `policy.toml` that could be read.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// True for `default = "drop"`, false for `"pass"` and if it is absent.
    pub(crate) default_drop: bool,
    /// `mode = "report"` at the top: report mode as a whole.
    pub(crate) report: bool,
    /// None if there is no such section: UDP and TCP port 5060 are then filtered.
    pub(crate) network: Option<Network>,
    /// All keys are none if there is no such section.
    pub(crate) numbering: Numbering,
    /// Addresses, CIDRs and address sets (`@name`).
    pub(crate) never_ban: Option<Values>,
    /// False for `allow_emergency = false`: bans then drop emergency calls, too.
    pub(crate) allow_emergency: Option<bool>,
    /// `[sets.*]`, in file order.
    pub(crate) sets: Vec<Set>,
    /// The names of sets that could not be read. A rule that uses one is not at fault.
    pub(crate) broken_sets: Vec<String>,
    /// `[[upstream]]`, in file order.
    pub(crate) upstreams: Vec<Upstream>,
    /// `[[rule]]`, in file order.
    pub(crate) rules: Vec<Rule>,
    /// The headers that rules name besides those with a scope of their own, at most [`NAMED_HEADERS`](filter_core::limits::NAMED_HEADERS); see [`Text::named`](filter_core::text::Text::named).
    pub(crate) headers: Vec<HeaderName>,
    /// True if the TOML parser skipped a part of the file: whatever is missing may be there.
    pub(crate) incomplete: bool,
}

/// `[network]`.
#[derive(Debug, Default)]
pub(crate) struct Network {
    /// UDP ports, as written: range and duplicates are checked later.
    pub(crate) udp: Vec<Located<i64>>,
    /// TCP ports of unencrypted SIP, as written.
    pub(crate) tcp: Vec<Located<i64>>,
    /// TCP ports of SIP over TLS, as written.
    pub(crate) tls: Vec<Located<i64>>,
    /// The section's header.
    pub(crate) span: Range<usize>,
    /// True if some of it could not be read.
    pub(crate) incomplete: bool,
}

/// `[numbering]`. A key is none if it is absent or could not be read.
#[derive(Debug, Default)]
pub(crate) struct Numbering {
    /// True if the section exists.
    pub(crate) present: bool,
    /// The plan of sources that have none of their own.
    pub(crate) plan: PlanKeys,
    /// "request" or "to"; the former if none.
    pub(crate) called_from: Option<Located<String>>,
    /// How many leading digits neighbours share, 1 to 15; 6 if none.
    pub(crate) neighbor_digits: Option<Located<i64>>,
    /// Sources whose P-Asserted-Identity is trusted: addresses, CIDRs and address sets.
    pub(crate) asserted_identity_from: Option<Values>,
    /// Paths of CSV files that add to the built-in table of number ranges.
    pub(crate) ranges: Option<Values>,
    /// `[[numbering.plan]]`, in file order.
    pub(crate) plans: Vec<Plan>,
}

/// `[[numbering.plan]]`.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The plan's header.
    pub(crate) span: Range<usize>,
    /// Sources: addresses, CIDRs and address sets. None also if it could not be read.
    pub(crate) from: Option<Values>,
    /// What is none here is as in `[numbering]`.
    pub(crate) plan: PlanKeys,
}

/// The keys that `[numbering]` and `[[numbering.plan]]` have in common.
#[derive(Debug, Default)]
pub(crate) struct PlanKeys {
    /// Digits of a country calling code, without `+`; "1" if none.
    pub(crate) country_code: Option<Located<String>>,
    /// Up to four strings of up to 15 digits; if none, "011" for country code 1 and "00" for others.
    pub(crate) international_prefix: Option<Values>,
    /// Up to 15 digits; empty if none.
    pub(crate) national_prefix: Option<Located<String>>,
    /// Up to 15 digits; empty if none.
    pub(crate) outside_prefix: Option<Located<String>>,
    /// Up to eight strings of up to 15 digits, `*`, `#` and `,`.
    pub(crate) strip: Option<Values>,
    /// "national" or "e164"; the latter if none.
    pub(crate) bare: Option<Located<String>>,
}

/// The kind of a set's entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SetKind {
    Addresses,
    Numbers,
    Patterns,
    UserAgents,
}

impl SetKind {
    /// Every kind.
    pub(crate) const ALL: [Self; 4] = [Self::Addresses, Self::Numbers, Self::Patterns, Self::UserAgents];

    /// The key of a set's entries.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Addresses => "addresses",
            Self::Numbers => "numbers",
            Self::Patterns => "patterns",
            Self::UserAgents => "user_agents",
        }
    }
}

/// `[sets.NAME]`.
#[derive(Debug)]
pub(crate) struct Set {
    /// NAME in the header. Rules refer to the set as `@NAME`.
    pub(crate) name: Located<String>,
    /// A set holds entries of one kind, given by the key that they are under.
    pub(crate) kind: SetKind,
    /// A file if the value is a string, inline if it is an array.
    pub(crate) entries: Entries,
    /// True for `format = "national"`: the numbers have no country code. False for `"e164"` and if it is absent.
    pub(crate) national: bool,
    /// The peer that the addresses belong to, for `upstream`. Only address sets have it.
    pub(crate) label: Option<Located<String>>,
    /// `max_errors`: how many entries of its file may be unreadable.
    pub(crate) max_errors: u64,
    /// True if the set may be empty.
    pub(crate) allow_empty: bool,
}

/// Where a set's entries are.
#[derive(Debug)]
pub(crate) enum Entries {
    /// In a file of the repository: its path, relative to the policy's directory.
    File(Located<String>),
    /// In the policy itself.
    Inline(Vec<Located<String>>),
}

/// `[[upstream]]`. A key is none if it is absent or could not be read.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// The upstream's header.
    pub(crate) span: Range<usize>,
    /// Empty if it is missing or could not be read. Duplicates are found later.
    pub(crate) name: Located<String>,
    /// Addresses, CIDRs and address sets.
    pub(crate) trunks: Option<Values>,
    pub(crate) kind: Option<UpstreamKind>,
    /// The registration number that the FCC gave it. The form is checked later, and so is that of the next three.
    pub(crate) frn: Option<Located<String>>,
    /// Its number in the Robocall Mitigation Database.
    pub(crate) rmd: Option<Located<String>>,
    /// Its operating company number.
    pub(crate) ocn: Option<Located<String>>,
    /// The service provider code in the certificates that it signs with.
    pub(crate) spc: Option<Located<String>>,
    pub(crate) contacts: Vec<Contact>,
    /// The numbers that its calls may come from: numbers and number sets.
    pub(crate) callers: Option<Values>,
    pub(crate) caps: Vec<Cap>,
}

/// Somebody who answers for an upstream.
#[derive(Debug)]
pub(crate) struct Contact {
    /// The whole table.
    pub(crate) span: Range<usize>,
    pub(crate) role: Option<Located<String>>,
    pub(crate) name: Option<Located<String>>,
    pub(crate) email: Option<Located<String>>,
    pub(crate) telephone: Option<Located<String>>,
}

/// A cap on an upstream's calls.
#[derive(Debug)]
pub(crate) struct Cap {
    /// What it limits, and to what: a number of calls, or a rate. Not parsed yet.
    pub(crate) limits: Vec<(CapKind, Located<String>)>,
    pub(crate) burst: Option<Located<i64>>,
    pub(crate) action: Option<Located<Action>>,
    /// `mode = "enforce"`: unless it says so, it only counts and reports.
    pub(crate) is_enforced: bool,
    /// The last day on which it acts, or the time when it ends.
    pub(crate) until: Option<Located<toml::value::Datetime>>,
}

/// `[[rule]]`.
#[derive(Debug)]
pub(crate) struct Rule {
    /// The rule's header.
    pub(crate) span: Range<usize>,
    /// Empty if it is missing or could not be read. Duplicates are found later.
    pub(crate) name: Located<String>,
    /// `blacklist` if it is absent or could not be read.
    pub(crate) stage: Stage,
    /// The conditions in `match`, in file order. All must hold.
    pub(crate) conditions: Vec<Condition>,
    /// `action`; none if it could not be read.
    pub(crate) action: Option<Located<Action>>,
    /// `mode = "report"`.
    pub(crate) report: bool,
    /// `over`; none also if it could not be read.
    pub(crate) over: Option<Over>,
    /// The legal basis of the rule, copied to its events and metrics.
    pub(crate) basis: Option<Located<String>>,
    /// The day after which a rule that is still in report mode gets a warning.
    pub(crate) review: Option<Located<toml::value::Date>>,
    /// The last day on which the rule acts, or the time when it ends.
    pub(crate) until: Option<Located<toml::value::Datetime>>,
    /// `tcp`; none if it is absent or could not be read.
    pub(crate) tcp: Option<Located<OnTcp>>,
    /// When the rule is on; empty for always.
    pub(crate) hours: Vec<Hours>,
    /// True if it is the cap of an upstream, and not written as a rule.
    pub(crate) is_cap: bool,
}

/// A window of `hours`. Not parsed yet.
#[derive(Debug)]
pub(crate) struct Hours {
    /// The whole table.
    pub(crate) span: Range<usize>,
    /// Days and ranges of days; none for every day.
    pub(crate) days: Option<Vec<Located<String>>>,
    /// The time at which it begins; midnight if none.
    pub(crate) from: Option<Located<String>>,
    /// The time at which it ends; midnight if none.
    pub(crate) to: Option<Located<String>>,
    /// The name of the time zone.
    pub(crate) timezone: Located<String>,
}

/// A condition of a rule.
#[derive(Debug)]
pub(crate) struct Condition {
    /// Its scope; the span is that of its key.
    pub(crate) scope: Located<Scope>,
    /// True after `not.`.
    pub(crate) negated: bool,
    /// At least one. Any of them must hold, or none if `negated`.
    pub(crate) values: Values,
}

/// `over`: the rate that must be exceeded for the rule to match.
#[derive(Debug)]
pub(crate) struct Over {
    /// A count and a period, such as "5/s" or "20/10s". Not parsed yet.
    pub(crate) rate: Located<String>,
    /// How many may come at once; as many as the rate's count if none.
    pub(crate) burst: Option<Located<i64>>,
    /// What is counted separately, such as "source", "source/24" or "called/6"; the whole rule if none.
    pub(crate) per: Option<Located<String>>,
    /// A name of [`filter_core::layout::Count`]; packets if none.
    pub(crate) count: Option<Located<String>>,
}
