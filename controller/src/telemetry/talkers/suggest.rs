//! Rules that would stop what has grown in the last minutes, and whom each would hurt.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
    time::Duration,
};

use filter_core::{limits::EVENT_TEXT, number::is_emergency_key};
use filter_policy::{language::printable, numbering::number_text};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Estimate, Item, Kept, LONGEST, Row, Sum, TopBy, intern::Key, is_older};
use crate::telemetry::Fate;

/// A value that sends fewer requests a second than this is left alone.
const LEAST_RATE: f64 = 2.0;

/// How many times as many requests a value must send as it did before, or as the median of the others does.
const GROWTH: f64 = 5.0;

/// The part of all requests that a value must send.
const LEAST_SHARE: f64 = 0.1;

/// The most suggestions.
const MOST: usize = 10;

/// The most called numbers that are listed with a suggestion.
const CALLED: usize = 5;

/// The methods that rules are suggested about.
const METHODS: [&str; 4] = ["INVITE", "REGISTER", "OPTIONS", "MESSAGE"];

/// Characters of a value that a rule's name has.
const LONGEST_NAME: usize = 36;

/// What emergency calls are called among those that a rule would hurt.
const EMERGENCY: &str = "emergency calls";

/// What is suggested.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suggestions {
    /// The seconds that were looked at.
    pub window_seconds: f64,
    /// True if no packets are sampled, by the configuration: there is nothing to suggest from.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sampling_off: bool,
    /// The requests that passed in them.
    pub passed: Estimate,
    /// The rules, the one that would stop most first.
    pub rules: Vec<Suggestion>,
}

/// A rule that would stop much of what passes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suggestion {
    /// What it is about: a source, prefix, user agent or called number.
    pub by: TopBy,
    /// Which one.
    pub key: String,
    /// The method of the requests.
    pub method: String,
    /// The rule, to be pasted into `policy.toml`.
    pub rule: String,
    /// The requests a second now.
    pub rate: f64,
    /// The requests a second in the minutes before; none if the daemon has not run that long.
    pub rate_before: Option<f64>,
    /// The requests that passed and that it would have stopped.
    pub stops: Estimate,
    /// Of these, those from sources that are in sets, by the names of the sets, and emergency calls: whom it would hurt.
    pub hurts: BTreeMap<String, Estimate>,
    /// The called numbers that would lose most.
    pub called: Vec<(String, Estimate)>,
}

impl Suggestion {
    /// The name of the rule.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.rule.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
    }
}

/// What is to be known of the policy in force, to suggest rules beside its own.
#[derive(Clone, Debug, Default)]
pub(super) struct Beside {
    /// The sets that say whose a source is.
    pub(super) sets: Vec<String>,
    /// The names of its rules.
    pub(super) rules: Vec<String>,
}

/// What a rule would be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    /// A source, a prefix or an agent.
    Value(TopBy),
    /// A called number, except for calls from sources in sets.
    CalledByStrangers,
    /// A called number, whoever calls it.
    CalledByAnyone,
}

impl About {
    /// In this order: a number whose strangers are enough of a suggestion gets no other.
    const ALL: [Self; 5] = [
        Self::Value(TopBy::Source),
        Self::Value(TopBy::Prefix),
        Self::Value(TopBy::Agent),
        Self::CalledByStrangers,
        Self::CalledByAnyone,
    ];

    fn by(self) -> TopBy {
        match self {
            Self::Value(by) => by,
            Self::CalledByStrangers | Self::CalledByAnyone => TopBy::Called,
        }
    }

    /// True if such a rule would match the request, apart from its value. Emergency calls are nothing that a rule may be suggested about.
    fn may_match(self, item: &Item, method: &str) -> bool {
        let is_known = item.sets != Key::NONE;
        let is_call = method == "INVITE" && item.numbers[1] != 0 && !is_emergency(item);
        match self {
            Self::Value(TopBy::Agent) => item.agent != Key::NONE,
            // Whose sources are in sets is somebody: a rule about them is not for a program to suggest.
            Self::Value(_) => !is_known,
            Self::CalledByStrangers => is_call && !is_known,
            Self::CalledByAnyone => is_call,
        }
    }
}

fn is_emergency(item: &Item) -> bool {
    is_emergency_key(item.numbers[1])
}

/// The requests of one value.
#[derive(Default)]
struct Group {
    now: Sum,
    before: f64,
    emergency: Sum,
    by_set: HashMap<Key, Sum>,
    called: HashMap<u64, Sum>,
}

/// The samples that rules are suggested from.
struct Look<'a> {
    kept: &'a Kept,
    window: Duration,
    now: u64,
    /// The seconds of the window, as far as samples of it are kept.
    seconds: f64,
    /// The seconds before it, likewise.
    before: f64,
}

impl Look<'_> {
    /// The samples of the last `time` that a rule could be suggested from, with their methods.
    fn items(&self, time: Duration) -> impl Iterator<Item = (&Item, &str)> {
        let recent = self.kept.items.iter().rev().take_while(move |item| !is_older(item, self.now, time));
        recent.filter(|item| item.fate != Fate::Dropped && !item.is_within_dialog).filter_map(|item| {
            let method = self.kept.texts.text(item.method).filter(|method| METHODS.contains(method))?;
            Some((item, method))
        })
    }

    /// The values that send much now, with all their requests, and what the value in the middle sends, by method.
    ///
    /// First only sums are made: a flood from everywhere has as many values as samples.
    fn groups(&self, about: About, all: &HashMap<Key, Sum>) -> (HashMap<(Row, Key), Group>, HashMap<Key, f64>) {
        let mut sums: HashMap<(Row, Key), f64> = HashMap::new();
        for (item, method) in self.items(self.window) {
            if about.may_match(item, method) {
                *sums.entry((Row::of(item, about.by()), item.method)).or_default() += f64::from(item.weight);
            }
        }
        let medians = medians(&sums);
        let is_much = |&((_, method), packets): &(&(Row, Key), &f64)| {
            let share = packets / all.get(method).map_or(f64::MAX, |sum| sum.packets);
            packets / self.seconds >= LEAST_RATE && share >= LEAST_SHARE
        };
        let mut groups: HashMap<(Row, Key), Group> =
            sums.iter().filter(is_much).map(|(value, _)| (*value, Group::default())).collect();
        for (item, method) in self.items(LONGEST) {
            if about.may_match(item, method)
                && let Some(group) = groups.get_mut(&(Row::of(item, about.by()), item.method))
            {
                group.add(item, !is_older(item, self.now, self.window));
            }
        }
        (groups, medians)
    }
}

impl Kept {
    /// Suggests rules about the requests that passed in the last `window`.
    pub(super) fn suggest(&self, window: Duration, beside: &Beside, now: u64) -> Suggestions {
        let window = window.min(LONGEST / 2);
        let covered = self.covered(now, LONGEST).as_secs_f64();
        let seconds = window.as_secs_f64().min(covered.max(1.0));
        let look = Look { kept: self, window, now, seconds, before: (covered - seconds).max(0.0) };
        let mut all = Sum::default();
        let mut by_method: HashMap<Key, Sum> = HashMap::new();
        for (item, _) in look.items(window) {
            all.add(item.weight, item.fate);
            by_method.entry(item.method).or_default().add(item.weight, item.fate);
        }
        let mut rules: Vec<Suggestion> = Vec::new();
        for about in About::ALL {
            let (groups, medians) = look.groups(about, &by_method);
            for ((row, method), group) in groups {
                let usual = medians.get(&method).copied().unwrap_or(0.0) / seconds;
                let Some(suggestion) = look.suggestion(about, (row, method), group, usual, &beside.sets) else {
                    continue;
                };
                let is_known = |known: &Suggestion| known.by == TopBy::Called && known.key == suggestion.key;
                if about != About::CalledByAnyone || !rules.iter().any(is_known) {
                    rules.push(suggestion);
                }
            }
        }
        // A rule about a prefix says no more than one about its only source.
        let sources: Vec<(IpAddr, f64, String)> = rules
            .iter()
            .filter(|rule| rule.by == TopBy::Source)
            .filter_map(|rule| Some((rule.key.parse().ok()?, rule.stops.packets, rule.method.clone())))
            .collect();
        rules.retain(|rule| {
            let is_within = |source| rule.key.parse().is_ok_and(|network: IpNet| network.contains(&source));
            let is_same = |(source, packets, method): &(IpAddr, f64, String)| {
                *packets == rule.stops.packets && *method == rule.method && is_within(*source)
            };
            rule.by != TopBy::Prefix || !sources.iter().any(is_same)
        });
        rules.sort_by(|one, other| {
            other
                .stops
                .packets
                .total_cmp(&one.stops.packets)
                .then_with(|| one.hurts.len().cmp(&other.hurts.len()))
                .then_with(|| (&one.key, &one.method).cmp(&(&other.key, &other.method)))
        });
        rules.truncate(MOST);
        name_apart(&mut rules, &beside.rules);
        Suggestions { window_seconds: seconds, sampling_off: false, passed: all.estimate(), rules }
    }
}

impl Look<'_> {
    /// The suggestion about a value, if it has grown. `usual` is what others send in a second.
    fn suggestion(
        &self,
        about: About,
        (row, method): (Row, Key),
        group: Group,
        usual: f64,
        sets: &[String],
    ) -> Option<Suggestion> {
        let texts = &self.kept.texts;
        let rate = group.now.packets / self.seconds;
        let rate_before = (self.before >= 10.0).then(|| group.before / self.before);
        if rate < GROWTH * rate_before.unwrap_or(usual) {
            return None;
        }
        let key = row.text(texts).filter(|key| key != super::intern::OTHERS)?;
        let method = texts.text(method)?.to_owned();
        let name = |key: Key| texts.text(key).map(str::to_owned);
        let mut hurts: BTreeMap<String, Estimate> =
            group.by_set.iter().filter_map(|(sets, sum)| Some((name(*sets)?, sum.estimate()))).collect();
        if group.emergency.samples > 0 {
            hurts.insert(EMERGENCY.to_owned(), group.emergency.estimate());
        }
        Some(Suggestion {
            rule: rule(about, &key, &method, sets, rate_before)?,
            by: about.by(),
            key,
            method,
            rate,
            rate_before,
            stops: group.now.estimate(),
            hurts,
            called: heaviest(group.called),
        })
    }
}

impl Group {
    fn add(&mut self, item: &Item, is_now: bool) {
        if !is_now {
            self.before += f64::from(item.weight);
            return;
        }
        self.now.add(item.weight, item.fate);
        if is_emergency(item) {
            self.emergency.add(item.weight, item.fate);
        }
        if item.sets != Key::NONE {
            self.by_set.entry(item.sets).or_default().add(item.weight, item.fate);
        }
        if item.numbers[1] != 0 {
            self.called.entry(item.numbers[1]).or_default().add(item.weight, item.fate);
        }
    }
}

/// What the value in the middle sends, by method. Without others to compare with, nothing is usual.
fn medians(sums: &HashMap<(Row, Key), f64>) -> HashMap<Key, f64> {
    let mut by_method: HashMap<Key, Vec<f64>> = HashMap::new();
    for ((_, method), packets) in sums {
        by_method.entry(*method).or_default().push(*packets);
    }
    let median = |mut all: Vec<f64>| {
        all.sort_by(f64::total_cmp);
        if all.len() < 3 { 0.0 } else { all[all.len() / 2] }
    };
    by_method.into_iter().map(|(method, all)| (method, median(all))).collect()
}

fn heaviest(called: HashMap<u64, Sum>) -> Vec<(String, Estimate)> {
    let mut called: Vec<(u64, Sum)> = called.into_iter().collect();
    called
        .sort_by(|(one, first), (other, second)| second.packets.total_cmp(&first.packets).then_with(|| one.cmp(other)));
    called.truncate(CALLED);
    called.into_iter().filter_map(|(key, sum)| Some((number_text(key)?, sum.estimate()))).collect()
}

/// The rule, as it is written in `policy.toml`; none if no pattern could match the value.
fn rule(about: About, key: &str, method: &str, sets: &[String], rate_before: Option<f64>) -> Option<String> {
    let (condition, over) = match about {
        About::CalledByStrangers | About::CalledByAnyone => {
            let sets: Vec<String> = sets.iter().map(|set| format!("\"@{set}\"")).collect();
            let except = if sets.is_empty() || about == About::CalledByAnyone {
                String::new()
            } else {
                format!(", not.source = [{}]", sets.join(", "))
            };
            // What was usual before may go on, but at least a call a second.
            let rate = rate_before.map_or(1.0, |rate| (2.0 * rate).ceil()).max(1.0);
            let over = format!("over = {{ rate = \"{rate:.0}/s\", burst = 5, per = \"called\" }}\n");
            (format!("called = [\"{key}$\"], dialog = \"initial\"{except}"), over)
        }
        About::Value(TopBy::Agent) => {
            // What is no UTF-8 has been replaced.
            if key.contains(char::REPLACEMENT_CHARACTER) {
                return None;
            }
            // An event has only the beginning of a long text. (It is shown without the blanks around it.)
            let end = if key.len() + 2 < EVENT_TEXT { "$" } else { "" };
            (format!("user_agent = [{}]", toml_string(&format!("^{}{end}", regex_syntax::escape(key)))), String::new())
        }
        About::Value(_) => (format!("source = [\"{key}\"]"), String::new()),
    };
    let name = name(about, key, method);
    Some(format!(
        "[[rule]]\nname = \"{name}\"\nmatch = {{ method = \"{method}\", {condition} }}\n{over}action = \"drop\"\nbasis = \"tdos\"\n"
    ))
}

/// A name for the rule: `flood-called-invite-12125550142`.
fn name(about: About, key: &str, method: &str) -> String {
    let of = |text: &str| -> String {
        let word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let text: String = text.chars().map(word).take(LONGEST_NAME).collect();
        text.split('-').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
    };
    let name = format!("flood-{}-{}-{}", about.by().name(), of(method), of(key));
    name.trim_end_matches('-').to_owned()
}

/// Gives rules of one name, or of the name of a rule of the policy, numbers.
fn name_apart(rules: &mut [Suggestion], taken: &[String]) {
    let mut taken: HashSet<String> = taken.iter().cloned().collect();
    for suggestion in rules {
        let Some(name) = suggestion.name().map(str::to_owned) else { continue };
        let free = std::iter::once(name.clone()).chain((2..).map(|number| format!("{name}-{number}")));
        let Some(free) = free.into_iter().find(|name| !taken.contains(name)) else { continue };
        suggestion.rule = suggestion.rule.replacen(&format!("\"{name}\""), &format!("\"{free}\""), 1);
        taken.insert(free);
    }
}

/// A basic string of TOML, safe to show on a terminal.
fn toml_string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if printable::needs_escape(c) => quoted.push_str(&format!("\\U{:08X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::telemetry::{PacketEvent, Sample};

    fn call(source: &str, called: u64, agent: &str, sets: &[&str]) -> Sample {
        let packet = PacketEvent {
            source: source.parse().unwrap(),
            rule: None,
            method: "INVITE".to_owned(),
            user_agent: Some(agent.to_owned()),
            ..PacketEvent::example()
        };
        Sample {
            packet,
            monotonic: 0,
            weight: 1,
            fate: Fate::Passed,
            numbers: [0, called],
            would: Vec::new(),
            sets: sets.iter().map(|&set| set.to_owned()).collect(),
            within_dialog: false,
        }
    }

    fn trunks() -> Beside {
        Beside { sets: vec!["trunks".to_owned()], rules: Vec::new() }
    }

    const VICTIM: u64 = 0x1212_5550_142f_0000;

    /// A minute of twenty ordinary calls a second from a trunk, then ten seconds in which two hundred a second come for one number as well.
    fn flood() -> Kept {
        let mut kept = Kept::default();
        for tenth in 0..700_u64 {
            let now = tenth * 100;
            for call_index in 0..2 {
                let called = 0x1312_5550_000f_0000 | ((tenth * 2 + call_index) % 10) << 20;
                kept.note(&call("198.51.100.9", called, "carrier", &["trunks"]), now);
            }
            // The victim has calls in ordinary times, too.
            if tenth % 20 == 0 {
                kept.note(&call("198.51.100.9", VICTIM, "carrier", &["trunks"]), now);
                kept.note(&call("192.0.2.200", VICTIM, "phone", &[]), now);
            }
            if tenth >= 600 {
                for index in 0..20 {
                    let source = format!("203.0.{}.{}", (tenth * 7 + index) % 250, (tenth * 20 + index) % 250);
                    kept.note(&call(&source, VICTIM, "phone", &[]), now);
                }
            }
        }
        kept
    }

    #[test]
    fn the_number_that_is_flooded_is_named_with_a_rule_that_spares_the_trunks() {
        let suggestions = flood().suggest(Duration::from_secs(10), &trunks(), 70_000);
        let first = &suggestions.rules[0];
        let about = suggestions.rules.iter().find(|rule| rule.by == TopBy::Called).expect("a rule about the number");
        assert_eq!(about.key, "12125550142");
        assert!(about.hurts.is_empty(), "{about:?}");
        assert!((2_000.0..2_020.0).contains(&about.stops.packets), "{about:?}");
        assert!(first.stops.packets <= about.stops.packets + 20.0, "{first:?}");
        assert_eq!(
            about.rule,
            "[[rule]]\nname = \"flood-called-invite-12125550142\"\n\
             match = { method = \"INVITE\", called = [\"12125550142$\"], dialog = \"initial\", not.source = [\"@trunks\"] }\n\
             over = { rate = \"1/s\", burst = 5, per = \"called\" }\naction = \"drop\"\nbasis = \"tdos\"\n"
        );
        assert!(suggestions.rules.iter().all(|rule| rule.key != "carrier"), "ordinary calls have not grown");
    }

    #[test]
    fn ordinary_traffic_suggests_nothing() {
        let suggestions = flood().suggest(Duration::from_secs(10), &Beside::default(), 70_000);
        let kept = flood();
        let before = Kept {
            items: kept.items.iter().filter(|item| item.milliseconds < 60_000).copied().collect(),
            texts: kept.texts,
            began: kept.began,
            lost: VecDeque::new(),
        };
        assert!(before.suggest(Duration::from_secs(10), &Beside::default(), 60_000).rules.is_empty());
        assert!(!suggestions.rules.is_empty());
    }

    #[test]
    fn whom_a_rule_would_hurt_is_said() {
        let mut kept = Kept::default();
        for index in 0..100_u64 {
            kept.note(&call("203.0.113.5", VICTIM, "dialer 1.0", &[]), index * 100);
            if index % 10 == 0 {
                kept.note(&call("198.51.100.9", 0x1312_5550_100f_0000, "dialer 1.0", &["trunks"]), index * 100);
            }
        }
        let suggestions = kept.suggest(Duration::from_secs(10), &trunks(), 10_000);
        let agent = suggestions.rules.iter().find(|rule| rule.by == TopBy::Agent).expect("a rule about the agent");
        assert!(agent.rule.contains(r#"user_agent = ["^dialer 1\\.0$"]"#), "{}", agent.rule);
        assert_eq!(agent.hurts["trunks"].packets, 10.0);
        assert_eq!(agent.called[1], ("13125550100".to_owned(), agent.hurts["trunks"]));
        let source = suggestions.rules.iter().find(|rule| rule.by == TopBy::Source).expect("a rule about the source");
        assert!(source.hurts.is_empty());
        assert!(source.rule.contains(r#"source = ["203.0.113.5"]"#), "{}", source.rule);
        assert!(suggestions.rules.iter().all(|rule| rule.by != TopBy::Prefix), "its only source says the same");
    }

    #[test]
    fn a_flood_over_a_trunk_is_suggested_about_with_whom_the_rule_would_hurt() {
        let mut kept = Kept::default();
        for index in 0..200_u64 {
            kept.note(&call("198.51.100.9", VICTIM, "carrier", &["trunks"]), index * 50);
        }
        let suggestions = kept.suggest(Duration::from_secs(10), &trunks(), 10_000);
        let about = suggestions.rules.iter().find(|rule| rule.by == TopBy::Called).expect("a rule about the number");
        assert_eq!(about.hurts["trunks"].packets, 200.0);
        assert!(!about.rule.contains("not.source"), "{}", about.rule);
        assert!(suggestions.rules.iter().all(|rule| rule.by != TopBy::Source), "{suggestions:?}");
    }

    #[test]
    fn emergency_calls_are_nothing_to_suggest_a_rule_about_and_are_named_where_a_rule_would_hurt_them() {
        for emergency in [0x911f_ffff_ffff_0000, 0xaa10_0000_0000_0000_u64] {
            let mut kept = Kept::default();
            for index in 0..200_u64 {
                kept.note(&call("203.0.113.5", emergency, "phone", &[]), index * 50);
            }
            let suggestions = kept.suggest(Duration::from_secs(10), &trunks(), 10_000);
            assert!(suggestions.rules.iter().all(|rule| rule.by != TopBy::Called), "{suggestions:?}");
            assert!(!suggestions.rules.is_empty());
            for rule in &suggestions.rules {
                assert_eq!(rule.hurts[EMERGENCY].packets, 200.0, "{rule:?}");
            }
        }
    }

    #[test]
    fn a_flood_from_everywhere_needs_no_more_memory_than_its_sums() {
        let mut kept = Kept::default();
        for index in 0..100_000_u64 {
            let source = format!("203.{}.{}.{}", index >> 16, (index >> 8) & 255, index & 255);
            kept.note(&call(&source, VICTIM, &format!("agent {}", index % 1_000), &[]), index / 2);
        }
        let look = Look { kept: &kept, window: LONGEST, now: 50_000, seconds: 50.0, before: 0.0 };
        let mut all: HashMap<Key, Sum> = HashMap::new();
        look.items(LONGEST).for_each(|(item, _)| all.entry(item.method).or_default().add(item.weight, item.fate));
        for about in About::ALL {
            let (groups, _) = look.groups(about, &all);
            assert!(groups.len() <= 10, "{about:?}: {}", groups.len());
        }
        assert_eq!(kept.suggest(LONGEST, &trunks(), 50_000).rules[0].by, TopBy::Called);
    }

    #[test]
    fn suggested_rules_compile_together_whatever_the_sender_wrote_and_beside_those_that_are_there() {
        let nasty = "a\"b\\ <v> [x](y) {z}\u{7f}\u{202e} é | ^$ .*";
        let long = "x".repeat(EVENT_TEXT - 1);
        let mut rules: Vec<Suggestion> = Vec::new();
        for (about, key) in [
            (About::Value(TopBy::Agent), nasty),
            (About::Value(TopBy::Agent), "A b"),
            (About::Value(TopBy::Agent), "a-b"),
            (About::Value(TopBy::Agent), "é"),
            (About::Value(TopBy::Agent), "ü"),
            (About::Value(TopBy::Agent), &long),
            (About::CalledByStrangers, "12125550142"),
            (About::CalledByAnyone, "12125550143"),
            (About::Value(TopBy::Source), "2001:db8::1"),
            (About::Value(TopBy::Prefix), "203.0.113.0/24"),
        ] {
            for method in METHODS {
                rules.push(Suggestion {
                    rule: rule(about, key, method, &trunks().sets, None).expect("it can be matched"),
                    by: about.by(),
                    key: key.to_owned(),
                    method: method.to_owned(),
                    rate: 0.0,
                    rate_before: None,
                    stops: Estimate::default(),
                    hurts: BTreeMap::new(),
                    called: Vec::new(),
                });
            }
        }
        name_apart(&mut rules, &["flood-agent-invite-a-b".to_owned()]);
        let text: String = rules.iter().map(|suggestion| suggestion.rule.as_str()).collect();
        assert!(!text.contains('\u{202e}') && text.contains("flood-agent-invite-a-b-3"), "{text}");
        let policy = format!(
            "version = 1\ndefault = \"pass\"\n[network]\nudp = [5060]\n[numbering]\ncountry_code = \"1\"\n\
             [sets.trunks]\naddresses = [\"198.51.100.0/24\"]\n\
             [[rule]]\nname = \"flood-agent-invite-a-b\"\nmatch.method = \"BYE\"\naction = \"drop\"\n{text}"
        );
        let files = filter_policy::files::Table(&[("policy.toml", policy.as_bytes())]);
        let built = filter_policy::build(&files, filter_policy::today());
        let errors = built.map(|_| ()).map_err(|diagnostics| diagnostics.render(false, None));
        assert_eq!(errors, Ok(()), "{policy}");
    }

    #[test]
    fn an_agent_that_was_cut_is_matched_by_its_beginning_and_one_that_is_no_text_not_at_all() {
        let rule = |key: &str| rule(About::Value(TopBy::Agent), key, "INVITE", &[], None);
        let long = "x".repeat(EVENT_TEXT - 1);
        assert!(rule(&long).expect("a rule").contains(&format!("[\"^{long}\"]")));
        assert!(rule("short").expect("a rule").contains("[\"^short$\"]"));
        assert_eq!(rule("a\u{fffd}b"), None);
    }
}
