//! The naive evaluator: the policy taken literally, rule by rule and entry by entry. No classes, bit sets, tries or tables:
//! it shares only the resolved policy with the compiler.

use std::{cell::RefCell, collections::HashMap, net::IpAddr, sync::Arc};

use filter_core::{
    layout::{Attestation, Count, Dialog, Method, NumberFormat, Payload, Per, TEXTS, Transport, Verstat, privacy},
    reason::{Reason, Verdict},
};
use filter_policy::language::{action::Action, stage::Stage, tcp::OnTcp};
use filter_policy::model::{
    AddressList, Comparison, Condition, Identity, NumberEntry, NumberList, Over, PatternList, Policy, Rule, Test,
    Upstream,
};
use filter_policy::timetable::Window;
use jiff::{
    Timestamp, ToSpan as _,
    civil::{Time, Weekday},
};
use regex::bytes::{Regex, RegexBuilder};

/// The values read from a packet and its message.
#[derive(Clone, Debug)]
pub struct Readings {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// The signalling port that the packet is for. Without one, no condition on the port or the transport holds, whether it is
    /// negated or not.
    pub service: Option<(u16, Transport)>,
    /// True if there is a message that can be read. Without one, the readings from `method` on mean nothing, and a rule with a
    /// condition on the message does not match, whether the condition is negated or not.
    pub is_message: bool,
    /// Bits of `filter_core::layout::anomaly`; 0 if there was nothing to read (TLS, a segment without payload).
    pub anomalies: u32,
    /// What the packet carries; `Payload::None` if nothing can be said about it, and no condition on the payload holds.
    pub payload: Payload,
    pub method: Method,
    /// Indexed by `Text`; none if the message has no such value.
    pub texts: [Option<Vec<u8>>; TEXTS],
    pub numbers: Numbers,
    pub calling_format: NumberFormat,
    pub called_format: NumberFormat,
    pub attestation: Attestation,
    pub verstat: Verstat,
    /// Bits of `filter_core::layout::privacy`.
    pub privacy: u32,
    pub dialog: Dialog,
    /// Bits of `filter_core::layout::passport`.
    pub passports: u32,
    /// True for a source that is never banned, or whose asserted identity is believed.
    pub is_trusted: bool,
    /// Rules whose rate is currently exceeded.
    pub exceeded: Vec<usize>,
    /// The time; none if all rules are on, whatever their hours are.
    pub at: Option<Timestamp>,
}

impl Default for Readings {
    /// An INVITE over UDP with nothing in it.
    fn default() -> Self {
        Self {
            source: IpAddr::from([192, 0, 2, 1]),
            destination: IpAddr::from([192, 0, 2, 2]),
            service: Some((5060, Transport::Udp)),
            is_message: true,
            anomalies: 0,
            payload: Payload::Sip,
            method: Method::Invite,
            texts: std::array::from_fn(|_| None),
            numbers: Numbers::default(),
            calling_format: NumberFormat::Missing,
            called_format: NumberFormat::Missing,
            attestation: Attestation::None,
            verstat: Verstat::None,
            privacy: 0,
            dialog: Dialog::Initial,
            passports: 0,
            is_trusted: false,
            exceeded: Vec::new(),
            at: None,
        }
    }
}

/// The normalised digits of the numbers; none where there is no number. They have no plus, except for E.164 numbers of six digits
/// or fewer, which it tells from short codes.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    pub calling: Option<String>,
    pub called: Option<String>,
    pub forwarded: Option<String>,
    pub from: Option<String>,
    pub asserted: Option<String>,
    pub preferred: Option<String>,
    pub to: Option<String>,
    /// The caller's identities: the numbers in From and in every value of P-Asserted-Identity, P-Preferred-Identity and
    /// Remote-Party-ID.
    pub identities: Vec<String>,
}

impl Numbers {
    pub fn of(&self, identity: Identity) -> Option<&str> {
        match identity {
            Identity::Asserted => self.asserted.as_deref(),
            Identity::Called => self.called.as_deref(),
            Identity::Calling => self.calling.as_deref(),
            Identity::Forwarded => self.forwarded.as_deref(),
            Identity::From => self.from.as_deref(),
            Identity::Preferred => self.preferred.as_deref(),
            Identity::To => self.to.as_deref(),
        }
    }
}

/// The policy's decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub verdict: Verdict,
    pub reason: Reason,
    /// The rule that ended the walk.
    pub rule: Option<usize>,
    /// Rules in report mode that matched, in order.
    pub would: Vec<usize>,
    /// Pinholes (`continue`, `bypass-fraud-control`) that matched and are not in report mode, in order.
    pub pinholes: Vec<usize>,
}

/// Evaluates a policy.
pub fn evaluate(policy: &Policy, readings: &Readings) -> Outcome {
    let (mut would, mut pinholes) = (Vec::new(), Vec::new());
    let mut skipped_stages: Vec<Stage> = Vec::new();
    for (index, rule) in policy.rules.iter().enumerate() {
        if skipped_stages.contains(&rule.stage) || !matches(policy, index, rule, readings) {
            continue;
        }
        let spares = match rule.tcp {
            OnTcp::DropStrangers => readings.is_trusted,
            OnTcp::Pass => true,
            OnTcp::DropConnection => false,
        };
        let is_spared = spares
            && readings.service.is_some_and(|(_, transport)| transport == Transport::Tcp)
            && rule.action.kind().drops()
            && asks_message(rule);
        if rule.report || is_spared {
            would.push(index);
            continue;
        }
        let reason = match rule.action {
            Action::Continue => {
                skipped_stages.push(rule.stage);
                pinholes.push(index);
                continue;
            }
            Action::BypassFraudControl => {
                skipped_stages.extend([rule.stage, Stage::Fraud]);
                pinholes.push(index);
                continue;
            }
            Action::Ban { .. } => Reason::RuleBan,
            Action::Divert { .. } => Reason::RuleDivert,
            Action::Drop => Reason::RuleDrop,
            Action::Reject { .. } => Reason::RuleReject,
            Action::Whitelist => Reason::RuleWhitelist,
        };
        return Outcome { verdict: reason.verdict(), reason, rule: Some(index), would, pinholes };
    }
    let reason = if policy.default_drop { Reason::DefaultDrop } else { Reason::DefaultPass };
    Outcome { verdict: reason.verdict(), reason, rule: None, would, pinholes }
}

/// True if a rule is on at this time: if it is in a window that begins today or began yesterday, by the clock on the wall.
pub fn is_on(rule: &Rule, at: Timestamp) -> bool {
    if rule.until.is_some_and(|end| end <= at) {
        return false;
    }
    let is_in = |window: &Window| {
        let local = at.to_zoned(window.zone.clone()).datetime();
        let today = local.date();
        [today, today.yesterday().expect("not the first day of all")].into_iter().any(|day| {
            let midnight = day.to_datetime(Time::midnight());
            let begin = midnight + i64::from(window.from).minutes();
            let end = midnight + i64::from(window.to).minutes();
            let end = if end <= begin { end + 1.day() } else { end };
            let index = [Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Thursday, Weekday::Friday]
                .into_iter()
                .chain([Weekday::Saturday, Weekday::Sunday])
                .position(|name| name == day.weekday());
            window.days & 1 << index.expect("a day of the week") != 0 && begin <= local && local < end
        })
    };
    rule.hours.is_empty() || rule.hours.iter().any(is_in)
}

/// True for a rule with a condition on a payload, or a rate on what a message says.
pub fn asks_message(rule: &Rule) -> bool {
    rule.conditions.iter().any(is_about_message) || rule.over.as_ref().is_some_and(counts_messages)
}

/// True if only messages are counted.
pub fn counts_messages(over: &Over) -> bool {
    over.counts == Count::Calls || is_of_message(over.per)
}

fn is_of_message(per: Per) -> bool {
    matches!(
        per,
        Per::Called | Per::CalledPrefix | Per::Calling | Per::CallingPrefix | Per::SourceCalled | Per::UserAgent
    )
}

/// True for a condition that only a payload answers.
pub fn is_about_message(condition: &Condition) -> bool {
    !matches!(condition.test, Test::Source(_) | Test::Destination(_) | Test::Transport(_) | Test::Port(_))
}

fn matches(policy: &Policy, index: usize, rule: &Rule, readings: &Readings) -> bool {
    if readings.at.is_some_and(|at| !is_on(rule, at)) {
        return false;
    }
    if let Some(over) = &rule.over
        && (!readings.exceeded.contains(&index) || (counts_messages(over) && !readings.is_message))
    {
        return false;
    }
    rule.conditions.iter().all(|condition| holds(policy, condition, readings))
}

/// True if the condition holds for these readings.
pub fn holds(policy: &Policy, condition: &Condition, readings: &Readings) -> bool {
    let holds = match &condition.test {
        Test::Source(lists) => in_addresses(lists, readings.source),
        Test::Destination(lists) => in_addresses(lists, readings.destination),
        Test::Transport(transports) => match readings.service {
            Some((_, transport)) => transports.contains(&transport),
            None => return false,
        },
        Test::Port(ports) => match readings.service {
            Some((port, _)) => ports.contains(&port),
            None => return false,
        },
        Test::Anomaly(bits) => readings.anomalies & bits != 0,
        Test::Payload(_) if readings.payload == Payload::None => return false,
        Test::Payload(payloads) => payloads.contains(&readings.payload),
        _ if !readings.is_message => return false,
        Test::Method(methods) => methods.iter().any(|method| method.0 == readings.method),
        Test::Text(text, lists) => readings.texts[text.index()].as_ref().is_some_and(|value| in_patterns(lists, value)),
        Test::Number(identity, lists) => {
            readings.numbers.of(*identity).is_some_and(|number| !scores(lists, number).is_empty())
        }
        Test::AnyIdentity(lists) => readings.numbers.identities.iter().any(|number| !scores(lists, number).is_empty()),
        Test::Country(identity, codes) => {
            let number = readings.numbers.of(*identity);
            number.and_then(|number| facts(policy, number).country).is_some_and(|country| codes.contains(&country))
        }
        Test::Region(identity, codes) => {
            let number = readings.numbers.of(*identity);
            number.and_then(|number| facts(policy, number).region).is_some_and(|region| codes.contains(&region))
        }
        Test::Spid(identity, codes) => {
            let number = readings.numbers.of(*identity);
            number.and_then(|number| facts(policy, number).spid).is_some_and(|spid| codes.contains(&spid))
        }
        Test::Format(Identity::Called, formats) => formats.contains(&readings.called_format),
        Test::Format(_, formats) => formats.contains(&readings.calling_format),
        Test::Reputation(lists, comparison, threshold) => {
            let number = readings.numbers.calling.as_deref();
            let score = number.and_then(|number| scores(lists, number).into_iter().max());
            score.is_some_and(|score| match comparison {
                Comparison::AtLeast => score >= *threshold,
                Comparison::AtMost => score <= *threshold,
                Comparison::Equal => score == *threshold,
                Comparison::Less => score < *threshold,
                Comparison::More => score > *threshold,
            })
        }
        Test::Attestation(attestations) => attestations.contains(&readings.attestation),
        Test::Verstat(verstats) => verstats.contains(&readings.verstat),
        Test::CallingPrivacy(flags) => {
            // `critical` alone withholds nothing.
            let withheld: Vec<&str> = privacy::names(readings.privacy).filter(|name| *name != "critical").collect();
            (flags.none && withheld.is_empty()) || has_any(readings.privacy, flags.bits)
        }
        Test::Passport(flags) => (flags.none && readings.passports == 0) || has_any(readings.passports, flags.bits),
        Test::Dialog(dialogs) => dialogs.contains(&readings.dialog),
        Test::CallerAllowed(wanted) => {
            // Where no numbers are listed, neither the condition holds nor its negation.
            let Some(callers) = upstream(policy, readings.source).and_then(|upstream| upstream.callers.as_ref()) else {
                return false;
            };
            let calling = readings.numbers.calling.as_deref();
            *wanted == calling.is_some_and(|number| !scores(callers, number).is_empty())
        }
        Test::Neighbor(wanted) => *wanted == neighbors(policy, readings),
    };
    holds != condition.negated
}

/// The upstream that a source belongs to.
pub fn upstream(policy: &Policy, source: IpAddr) -> Option<&Upstream> {
    policy.upstreams.iter().find(|upstream| in_addresses(&upstream.trunks, source))
}

/// True if one of the bits that are wanted is set.
fn has_any(bits: u32, wanted: u32) -> bool {
    (0..32).any(|bit| bits >> bit & 1 == 1 && wanted >> bit & 1 == 1)
}

fn neighbors(policy: &Policy, readings: &Readings) -> bool {
    let shared = usize::from(policy.numbering.neighbor_digits);
    let (Some(calling), Some(called)) = (&readings.numbers.calling, &readings.numbers.called) else { return false };
    let (calling, called) = (calling.trim_start_matches('+'), called.trim_start_matches('+'));
    shared != 0 && calling.len() >= shared && called.len() >= shared && calling[..shared] == called[..shared]
}

/// True if one of the lists contains the address.
pub fn in_addresses(lists: &[Arc<AddressList>], address: IpAddr) -> bool {
    lists.iter().flat_map(|list| &list.entries).any(|entry| match (entry.address, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => same(&network.octets(), &address.octets(), entry.prefix),
        (IpAddr::V6(network), IpAddr::V6(address)) => same(&network.octets(), &address.octets(), entry.prefix),
        _ => false,
    })
}

/// True if the first `prefix` bits are the same.
fn same(network: &[u8], address: &[u8], prefix: u8) -> bool {
    let bit = |bytes: &[u8], index: usize| bytes[index / 8] >> (7 - index % 8) & 1;
    (0..usize::from(prefix)).all(|index| bit(network, index) == bit(address, index))
}

fn in_patterns(lists: &[Arc<PatternList>], value: &[u8]) -> bool {
    // Unfolded: line ends are dropped, a tab is a space, and white space around the value is trimmed.
    let value: Vec<u8> = value
        .iter()
        .filter(|&&byte| byte != b'\r' && byte != b'\n')
        .map(|&byte| if byte == b'\t' { b' ' } else { byte })
        .collect();
    let is_space = |byte: &u8| *byte == b' ';
    let start = value.iter().position(|byte| !is_space(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    let trimmed = &value[start..end];
    lists.iter().flat_map(|list| &list.entries).any(|entry| is_match(&entry.pattern, trimmed))
}

/// Keeps compiled expressions: compiling them is the most expensive step.
fn is_match(pattern: &str, value: &[u8]) -> bool {
    thread_local! {
        static COMPILED: RefCell<HashMap<String, Regex>> = RefCell::default();
    }
    let compile = || RegexBuilder::new(pattern).case_insensitive(true).unicode(false).build();
    COMPILED.with_borrow_mut(|compiled| {
        compiled
            .entry(pattern.to_owned())
            .or_insert_with(|| compile().expect("a resolved policy's patterns parse"))
            .is_match(value)
    })
}

/// The scores of the entries that contain the number.
fn scores(lists: &[Arc<NumberList>], number: &str) -> Vec<u32> {
    let entries = lists.iter().flat_map(|list| &list.entries);
    entries.filter(|entry| holds_number(entry, number)).map(|entry| entry.score).collect()
}

/// Entries are about short codes and E.164 numbers alike.
fn holds_number(entry: &NumberEntry, number: &str) -> bool {
    let number = number.trim_start_matches('+');
    let digits = digits(entry);
    if entry.exact { number == digits } else { number.starts_with(&digits) }
}

/// An entry's digits as text.
pub fn digits(entry: &NumberEntry) -> String {
    let text = format!("{:016x}", entry.digits);
    text[..usize::from(entry.length)].to_owned()
}

/// What the ranges say about a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub country: Option<String>,
    pub region: Option<String>,
    pub spid: Option<String>,
    pub digits: (u8, u8),
    pub format: NumberFormat,
}

/// The facts from the ranges that contain the number, each from the longest prefix that has it. Six digits or fewer without a plus
/// are a short code, which is in no range.
pub fn facts(policy: &Policy, number: &str) -> Facts {
    let mut facts = Facts { country: None, region: None, spid: None, digits: (7, 15), format: NumberFormat::Valid };
    if number.len() <= 6 && !number.starts_with('+') {
        return facts;
    }
    let number = number.trim_start_matches('+');
    for length in 1..=number.len() {
        for range in policy.numbering.ranges.iter().filter(|range| range.prefix == number[..length]) {
            facts.country = range.country.as_deref().map(str::to_owned).or(facts.country);
            facts.region = range.region.as_deref().map(str::to_owned).or(facts.region);
            facts.spid = range.spid.as_deref().map(str::to_owned).or(facts.spid);
            facts.digits = range.digits.unwrap_or(facts.digits);
            facts.format = range.format.unwrap_or(facts.format);
        }
    }
    facts
}
