//! Rules that would stop what has grown in the last minutes, and whom each would hurt.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use filter_policy::numbering::number_text;
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

/// What is suggested.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suggestions {
    /// The seconds that were looked at.
    pub window_seconds: f64,
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
    /// Of these, those from sources that are in sets, by the names of the sets: whom it would hurt.
    pub hurts: BTreeMap<String, Estimate>,
    /// The called numbers that would lose most.
    pub called: Vec<(String, Estimate)>,
}

/// The requests of one value.
#[derive(Default)]
struct Group {
    now: Sum,
    before: f64,
    by_set: HashMap<Key, Sum>,
    called: HashMap<u64, Sum>,
}

impl Kept {
    /// Suggests rules about the requests that passed in the last `window`. `sets` are the sets that say whose a source is.
    pub(super) fn suggest(&self, window: Duration, sets: &[String], now: u64) -> Suggestions {
        let window = window.min(LONGEST / 2);
        let mut all = Sum::default();
        let mut by_method: HashMap<Key, Sum> = HashMap::new();
        let mut groups: HashMap<(TopBy, Row, Key), Group> = HashMap::new();
        let passed = self.items.iter().rev().filter(|item| item.fate != Fate::Dropped && !item.is_within_dialog);
        for item in passed.take_while(|item| !is_older(item, now, LONGEST)) {
            let Some(method) = self.texts.text(item.method).filter(|method| METHODS.contains(method)) else { continue };
            let is_now = !is_older(item, now, window);
            if is_now {
                all.add(item.weight, item.fate);
                by_method.entry(item.method).or_default().add(item.weight, item.fate);
            }
            let is_known = item.sets != Key::NONE;
            for by in [TopBy::Source, TopBy::Prefix, TopBy::Agent, TopBy::Called] {
                let is_about = if by == TopBy::Called {
                    method == "INVITE" && item.numbers[1] != 0
                } else if by == TopBy::Agent {
                    item.agent != Key::NONE
                } else {
                    !is_known
                };
                if is_about {
                    groups.entry((by, Row::of(item, by), item.method)).or_default().add(item, is_now, by);
                }
            }
        }
        let covered =
            self.began.map_or(0, |began| now.saturating_sub(began)).min(LONGEST.as_millis() as u64) as f64 / 1_000.0;
        let seconds = window.as_secs_f64().min(covered.max(1.0));
        let before = (covered - seconds).max(0.0);
        let medians = medians(&groups);
        let mut rules: Vec<Suggestion> = groups
            .into_iter()
            .filter_map(|((by, row, method), group)| {
                let rate = group.now.packets / seconds;
                let rate_before = (before >= 10.0).then(|| group.before / before);
                let share = group.now.packets / by_method.get(&method).map_or(f64::MAX, |sum| sum.packets);
                let usual = rate_before.unwrap_or_else(|| medians.get(&(by, method)).copied().unwrap_or(0.0) / seconds);
                if rate < LEAST_RATE || share < LEAST_SHARE || rate < GROWTH * usual {
                    return None;
                }
                let key = row.text(&self.texts).filter(|key| key != super::intern::OTHERS)?;
                let method = self.texts.text(method)?.to_owned();
                let called = heaviest(group.called);
                let name = |key: Key| self.texts.text(key).map(str::to_owned);
                Some(Suggestion {
                    rule: rule(by, &key, &method, sets, rate_before),
                    by,
                    key,
                    method,
                    rate,
                    rate_before,
                    stops: group.now.estimate(),
                    hurts: group.by_set.iter().filter_map(|(sets, sum)| Some((name(*sets)?, sum.estimate()))).collect(),
                    called,
                })
            })
            .collect();
        // A rule about a prefix says no more than one about its only source.
        let sources: Vec<(f64, String)> = rules
            .iter()
            .filter(|rule| rule.by == TopBy::Source)
            .map(|rule| (rule.stops.packets, rule.method.clone()))
            .collect();
        rules.retain(|rule| rule.by != TopBy::Prefix || !sources.contains(&(rule.stops.packets, rule.method.clone())));
        rules.sort_by(|one, other| {
            other
                .stops
                .packets
                .total_cmp(&one.stops.packets)
                .then_with(|| one.hurts.len().cmp(&other.hurts.len()))
                .then_with(|| one.key.cmp(&other.key))
        });
        rules.truncate(MOST);
        Suggestions { window_seconds: seconds, passed: all.estimate(), rules }
    }
}

impl Group {
    fn add(&mut self, item: &Item, is_now: bool, by: TopBy) {
        // A rule about a called number excepts the sources that are in sets.
        if by == TopBy::Called && item.sets != Key::NONE {
            return;
        }
        if !is_now {
            self.before += f64::from(item.weight);
            return;
        }
        self.now.add(item.weight, item.fate);
        if item.sets != Key::NONE {
            self.by_set.entry(item.sets).or_default().add(item.weight, item.fate);
        }
        if item.numbers[1] != 0 {
            self.called.entry(item.numbers[1]).or_default().add(item.weight, item.fate);
        }
    }
}

/// What the value in the middle sends, for each kind of value and method. Without others to compare with, nothing is usual.
fn medians(groups: &HashMap<(TopBy, Row, Key), Group>) -> HashMap<(TopBy, Key), f64> {
    let mut by_kind: HashMap<(TopBy, Key), Vec<f64>> = HashMap::new();
    for ((by, _, method), group) in groups {
        by_kind.entry((*by, *method)).or_default().push(group.now.packets);
    }
    let median = |mut all: Vec<f64>| {
        all.sort_by(f64::total_cmp);
        if all.len() < 3 { 0.0 } else { all[all.len() / 2] }
    };
    by_kind.into_iter().map(|(kind, all)| (kind, median(all))).collect()
}

fn heaviest(called: HashMap<u64, Sum>) -> Vec<(String, Estimate)> {
    let mut called: Vec<(u64, Sum)> = called.into_iter().collect();
    called
        .sort_by(|(one, first), (other, second)| second.packets.total_cmp(&first.packets).then_with(|| one.cmp(other)));
    called.truncate(CALLED);
    called.into_iter().filter_map(|(key, sum)| Some((number_text(key)?, sum.estimate()))).collect()
}

/// The rule, as it is written in `policy.toml`.
fn rule(by: TopBy, key: &str, method: &str, sets: &[String], rate_before: Option<f64>) -> String {
    let name: String = key
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .take(40)
        .collect::<String>()
        .split('-')
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join("-");
    let (condition, over) = if by == TopBy::Called {
        let sets: Vec<String> = sets.iter().map(|set| format!("\"@{set}\"")).collect();
        let except = if sets.is_empty() { String::new() } else { format!(", not.source = [{}]", sets.join(", ")) };
        // What was usual before may go on, but at least a call a second.
        let rate = rate_before.map_or(1.0, |rate| (2.0 * rate).ceil()).max(1.0);
        let over = format!("over = {{ rate = \"{rate:.0}/s\", burst = 5, per = \"called\" }}\n");
        (format!("called = [\"{key}$\"], dialog = \"initial\"{except}"), over)
    } else if by == TopBy::Agent {
        (format!("user_agent = [{}]", toml_string(&format!("^{}$", regex_syntax::escape(key)))), String::new())
    } else {
        (format!("source = [\"{key}\"]"), String::new())
    };
    let what = by.name();
    format!(
        "[[rule]]\nname = \"flood-{what}-{name}\"\nmatch = {{ method = \"{method}\", {condition} }}\n{over}action = \"drop\"\nbasis = \"tdos\"\n"
    )
}

/// A basic string of TOML.
fn toml_string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
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
            nanoseconds: 0,
            weight: 1,
            fate: Fate::Passed,
            numbers: [0, called],
            would: Vec::new(),
            sets: sets.iter().map(|&set| set.to_owned()).collect(),
            within_dialog: false,
        }
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
        let suggestions = flood().suggest(Duration::from_secs(10), &["trunks".to_owned()], 70_000);
        let first = &suggestions.rules[0];
        let about = suggestions.rules.iter().find(|rule| rule.by == TopBy::Called).expect("a rule about the number");
        assert_eq!(about.key, "12125550142");
        assert!(about.hurts.is_empty(), "{about:?}");
        assert!((2_000.0..2_020.0).contains(&about.stops.packets), "{about:?}");
        assert!(first.stops.packets <= about.stops.packets + 20.0, "{first:?}");
        assert_eq!(
            about.rule,
            "[[rule]]\nname = \"flood-called-12125550142\"\n\
             match = { method = \"INVITE\", called = [\"12125550142$\"], dialog = \"initial\", not.source = [\"@trunks\"] }\n\
             over = { rate = \"1/s\", burst = 5, per = \"called\" }\naction = \"drop\"\nbasis = \"tdos\"\n"
        );
        assert!(suggestions.rules.iter().all(|rule| rule.key != "carrier"), "ordinary calls have not grown");
    }

    #[test]
    fn ordinary_traffic_suggests_nothing() {
        let suggestions = flood().suggest(Duration::from_secs(10), &[], 60_000);
        // (The flood begins after that.)
        let kept = flood();
        let before = Kept {
            items: kept.items.iter().filter(|item| item.milliseconds < 60_000).copied().collect(),
            texts: kept.texts,
            began: kept.began,
        };
        assert!(before.suggest(Duration::from_secs(10), &[], 60_000).rules.is_empty());
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
        let suggestions = kept.suggest(Duration::from_secs(10), &["trunks".to_owned()], 10_000);
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
    fn a_suggested_rule_compiles_whatever_the_sender_wrote() {
        let nasty = "a\"b\\ <v> [x](y) {z}\u{7f} é | ^$ .*";
        for (by, key) in [
            (TopBy::Agent, nasty),
            (TopBy::Called, "12125550142"),
            (TopBy::Source, "2001:db8::1"),
            (TopBy::Prefix, "203.0.113.0/24"),
        ] {
            let rule = rule(by, key, "INVITE", &["trunks".to_owned()], None);
            let policy = format!(
                "version = 1\ndefault = \"pass\"\n[network]\nudp = [5060]\n[numbering]\ncountry_code = \"1\"\n\
                 [sets.trunks]\naddresses = [\"198.51.100.0/24\"]\n{rule}"
            );
            let files = filter_policy::files::Table(&[("policy.toml", policy.as_bytes())]);
            let built = filter_policy::build(&files, filter_policy::today());
            let errors = built.map(|_| ()).map_err(|diagnostics| diagnostics.render(false, None));
            assert_eq!(errors, Ok(()), "{policy}");
        }
    }
}
