//! What the filter has done, by rule and by reason.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::kernel::Counts;
use filter_core::reason::Reason;
use filter_policy::language::{diagnostics::plural, printable};

/// The state of all counters, and how fast they grew since the last one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Seconds since the daemon began.
    pub seconds: f64,
    /// True if the policy is in report mode as a whole: nothing is dropped.
    #[serde(default)]
    pub report: bool,
    /// The rules in file order.
    pub rules: Vec<RuleRow>,
    /// Packets by reason; reasons that never occurred are left out.
    pub reasons: Reasons,
    /// Signalling packets that were passed to the host.
    pub passed: u64,
    /// Packets that were dropped.
    pub dropped: u64,
    /// Of those that were passed, the ones that would have been dropped, had the policy not been in report mode as a whole.
    #[serde(default)]
    pub would_drop: u64,
    /// Events that found the ring full.
    pub events_lost: u64,
    /// Events suppressed by their rule's limit.
    pub events_suppressed: u64,
    /// Bans in force.
    #[serde(default)]
    pub bans: u64,
}

/// Packets by reason, in the order of the engine.
pub type Reasons = IndexMap<String, u64>;

/// Whether a rule acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleMode {
    /// It does to packets what its action says.
    Enforce,
    /// It only counts what it would have done.
    Report,
}

impl RuleMode {
    /// The mode of a rule whose `report` flag is this.
    pub(super) fn of(report: bool) -> Self {
        if report { Self::Report } else { Self::Enforce }
    }

    /// Its name in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Report => "report",
        }
    }
}

/// A rule in the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleRow {
    /// The rule's name in the policy.
    pub rule: String,
    /// Whether it acts.
    pub mode: RuleMode,
    /// Name of the rule's action, such as `drop`.
    pub action: String,
    /// Packets it matched, in either mode.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets per second since the last table; none for the first table.
    pub rate: Option<f64>,
    /// Of its packets, those that passed because they came over TCP: the rule only counted them.
    #[serde(default)]
    pub spared: u64,
    /// Of its packets, those that it only counted, because it or the policy was in report mode.
    #[serde(default)]
    pub reported: u64,
    /// The bytes of those.
    #[serde(default)]
    pub reported_bytes: u64,
}

/// Makes tables from counters.
#[derive(Debug, Default)]
pub struct Tables {
    last: Option<(Duration, BTreeMap<String, u64>)>,
}

impl Tables {
    /// The table at this time since the daemon's start.
    pub fn next(&mut self, since_start: Duration, counts: &Counts) -> Table {
        let mut packets = BTreeMap::new();
        let rules = counts
            .rules
            .iter()
            .map(|count| {
                packets.insert(count.rule.clone(), count.packets);
                RuleRow {
                    rule: count.rule.clone(),
                    mode: RuleMode::of(count.report),
                    action: count.action.to_owned(),
                    packets: count.packets,
                    bytes: count.bytes,
                    rate: self.rate(since_start, &count.rule, count.packets),
                    spared: count.spared,
                    reported: count.reported,
                    reported_bytes: count.reported_bytes,
                }
            })
            .collect();
        self.last = Some((since_start, packets));
        let (passed, dropped) = counts.passed_and_dropped();
        Table {
            report: counts.report,
            seconds: (since_start.as_secs_f64() * 1000.0).round() / 1000.0,
            rules,
            reasons: counts.reasons.iter().map(|count| (count.reason.name().to_owned(), count.packets)).collect(),
            passed,
            dropped,
            would_drop: counts.would_drop(),
            events_lost: counts.events_lost,
            events_suppressed: counts.events_suppressed,
            bans: counts.bans as u64,
        }
    }

    fn rate(&self, now: Duration, rule: &str, packets: u64) -> Option<f64> {
        let (then, before) = self.last.as_ref()?;
        let seconds = now.checked_sub(*then)?.as_secs_f64();
        // A rule that is new in the policy started at zero.
        let before = before.get(rule).copied().unwrap_or(0);
        let rate = packets.saturating_sub(before) as f64 / seconds;
        rate.is_finite().then(|| (rate * 10.0).round() / 10.0)
    }
}

impl Table {
    /// The table of these counters, with the rates of the last one.
    #[must_use]
    pub fn of(counts: &Counts, last: Option<&Self>) -> Self {
        let mut table = Tables::default().next(Duration::ZERO, counts);
        if let Some(last) = last {
            table.seconds = last.seconds;
            for row in &mut table.rules {
                row.rate = last.rules.iter().find(|known| known.rule == row.rule).and_then(|known| known.rate);
            }
        }
        table
    }

    /// The table for people, at most `height` lines of at most `width` columns.
    #[must_use]
    pub fn render(&self, width: usize, height: usize) -> String {
        let spared: u64 = self.rules.iter().map(|row| row.spared).sum();
        let other_mode: u64 = self.rules.iter().map(RuleRow::in_other_mode).sum();
        // Header, blank line, three lines of footer, and up to four more.
        let more = [self.report, self.bans > 0, spared > 0, other_mode > 0];
        let room = height.saturating_sub(6 + more.into_iter().filter(|more| *more).count()).max(3);
        let mut shown: Vec<&RuleRow> = self.rules.iter().filter(|row| row.packets > 0).collect();
        let idle = self.rules.len() - shown.len();
        let hidden = shown.len().saturating_sub(room);
        shown.truncate(room);
        // The other columns keep their place: a row that is cut off would lose its rate.
        let widest = width.saturating_sub(OTHER_COLUMNS).clamp(4, 40);
        let name_width = shown.iter().map(|row| row.rule.chars().count()).max().unwrap_or(4).clamp(4, widest);
        let mut lines = vec![format!(
            "{:<name_width$}  {:<20} {:>14} {:>10} {:>10}",
            "RULE", "DOES", "PACKETS", "BYTES", "PER SECOND"
        )];
        lines.extend(shown.iter().map(|row| row.line(name_width)));
        match (hidden, idle) {
            (0, 0) => {}
            (0, idle) => lines.push(format!("{idle} {} not matched", plural(idle as u64, "rule has", "rules have"))),
            (hidden, 0) => lines.push(format!("... and {hidden} more rules")),
            (hidden, idle) => lines.push(format!("... and {hidden} more rules; {idle} have not matched")),
        }
        lines.push(String::new());
        if self.report {
            lines.push(REPORT_MODE.to_owned());
        }
        let would = match self.would_drop {
            0 => String::new(),
            packets => format!(" ({} of them would have been dropped)", grouped(packets)),
        };
        lines.push(format!("passed {}{would}, dropped {}", grouped(self.passed), grouped(self.dropped)));
        let mut reasons = String::from("reasons:");
        for (reason, packets) in self.reasons.iter().filter(|(reason, _)| *reason != Reason::NotSignalling.name()) {
            let _ = write!(reasons, " {reason} {},", grouped(*packets));
        }
        if reasons.ends_with(',') {
            lines.push(reasons.trim_end_matches(',').to_owned());
        }
        if self.events_lost + self.events_suppressed > 0 {
            lines.push(format!(
                "events: {} suppressed by their rule's limit, {} lost",
                grouped(self.events_suppressed),
                grouped(self.events_lost)
            ));
        }
        if spared > 0 {
            lines.push(format!("passed although a rule matched, to keep TCP connections: {}", grouped(spared)));
        }
        if other_mode > 0 {
            lines.push(format!(
                "matched while their rule was in the other mode, and not in its row: {}",
                grouped(other_mode)
            ));
        }
        if self.bans > 0 {
            lines.push(format!("bans in force: {} (`ringfence bans` lists them)", grouped(self.bans)));
        }
        let mut text = String::new();
        for line in lines {
            text.extend(line.chars().take(width));
            text.push('\n');
        }
        text
    }
}

/// Columns of a row without the rule's name.
const OTHER_COLUMNS: usize = 2 + 20 + 1 + 14 + 1 + 10 + 1 + 10;

/// What people are told about a policy in report mode as a whole.
pub(super) const REPORT_MODE: &str = "report mode: nothing is dropped";

impl RuleRow {
    /// Packets and bytes of the rule in the mode that it is in: what it has done is never added to what it would have done.
    fn counted(&self) -> (u64, u64) {
        match self.mode {
            RuleMode::Enforce => {
                (self.packets.saturating_sub(self.reported), self.bytes.saturating_sub(self.reported_bytes))
            }
            RuleMode::Report => (self.reported, self.reported_bytes),
        }
    }

    /// Its packets that [`Self::counted`] leaves out, apart from those that were spared.
    fn in_other_mode(&self) -> u64 {
        match self.mode {
            RuleMode::Enforce => self.reported,
            RuleMode::Report => self.packets.saturating_sub(self.reported + self.spared),
        }
    }

    /// The row for people; `name_width` is the width of its first column.
    #[must_use]
    pub fn line(&self, name_width: usize) -> String {
        let does = match self.mode {
            RuleMode::Enforce => self.action.clone(),
            RuleMode::Report => format!("{} (report only)", self.action),
        };
        let rate = self.rate.map_or_else(String::new, |rate| format!("{rate:.1}"));
        let name = shortened(&printable::escaped(&self.rule), name_width);
        let (packets, of_bytes) = self.counted();
        format!("{name:<name_width$}  {does:<20} {:>14} {:>10} {rate:>10}", grouped(packets), bytes(of_bytes))
    }
}

/// A text of at most `width` characters, with an ellipsis where it is cut.
fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// A number with thousands separators.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{ReasonCount, RuleCount};

    fn counts(scanners: u64, risky: u64) -> Counts {
        let rule = |name: &str, report, packets| RuleCount {
            rule: name.to_owned(),
            slot: 0,
            action: "drop",
            report,
            packets,
            bytes: packets * 400,
            spared: 0,
            reported: if report { packets } else { 0 },
            reported_bytes: if report { packets * 400 } else { 0 },
            events_lost: 0,
            events_suppressed: 0,
        };
        Counts {
            report: false,
            rules: vec![rule("scanners", false, scanners), rule("risky-scanners", true, risky)],
            reasons: vec![
                ReasonCount { reason: Reason::DefaultPass, packets: 7, bytes: 0 },
                ReasonCount { reason: Reason::RuleDrop, packets: scanners, bytes: 0 },
            ],
            interfaces: Vec::new(),
            events_lost: 0,
            events_suppressed: 3,
            bans: 2,
        }
    }

    #[test]
    fn rates_cover_the_time_between_two_tables() {
        let mut tables = Tables::default();
        assert_eq!(tables.next(Duration::from_secs(1), &counts(1000, 0)).rules[0].rate, None);
        assert_eq!(tables.next(Duration::from_secs(3), &counts(1500, 0)).rules[0].rate, Some(250.0));
    }

    #[test]
    fn counters_that_start_again_have_no_negative_rate() {
        let mut tables = Tables::default();
        tables.next(Duration::from_secs(1), &counts(1000, 0));
        assert_eq!(tables.next(Duration::from_secs(2), &counts(0, 0)).rules[0].rate, Some(0.0));
    }

    #[test]
    fn the_table_reads_like_this() {
        let mut tables = Tables::default();
        tables.next(Duration::from_secs(1), &counts(0, 0));
        let mut later = counts(1_234_567, 5);
        later.rules[0].spared = 1_234;
        let table = tables.next(Duration::from_secs(2), &later).render(100, 24);
        let expected = "\
RULE            DOES                        PACKETS      BYTES PER SECOND
scanners        drop                      1,234,567   493.8 MB  1234567.0
risky-scanners  drop (report only)                5     2.0 kB        5.0

passed 7, dropped 1,234,567
reasons: default-pass 7, rule-drop 1,234,567
events: 3 suppressed by their rule's limit, 0 lost
passed although a rule matched, to keep TCP connections: 1,234
bans in force: 2 (`ringfence bans` lists them)
";
        assert_eq!(table, expected);
    }

    #[test]
    fn what_was_done_and_what_would_have_been_done_are_counted_apart() {
        let mut both = counts(100, 5);
        // The policy was in report mode while 60 of the packets came.
        (both.rules[0].reported, both.rules[0].reported_bytes) = (60, 30_000);
        both.reasons = vec![
            ReasonCount { reason: Reason::DefaultPass, packets: 7, bytes: 0 },
            ReasonCount { reason: Reason::RuleDrop, packets: 40, bytes: 0 },
            ReasonCount { reason: Reason::WouldRuleDrop, packets: 60, bytes: 0 },
        ];
        (both.bans, both.events_suppressed) = (0, 0);
        let table = |counts: &Counts| Tables::default().next(Duration::from_secs(1), counts);
        let enforced = "\
RULE            DOES                        PACKETS      BYTES PER SECOND
scanners        drop                             40    10.0 kB           
risky-scanners  drop (report only)                5     2.0 kB           

passed 67 (60 of them would have been dropped), dropped 40
reasons: default-pass 7, rule-drop 40, would-rule-drop 60
matched while their rule was in the other mode, and not in its row: 60
";
        assert_eq!(table(&both).render(100, 24), enforced);
        both.report = true;
        both.rules[0].report = true;
        let reported = "\
RULE            DOES                        PACKETS      BYTES PER SECOND
scanners        drop (report only)               60    30.0 kB           
risky-scanners  drop (report only)                5     2.0 kB           

report mode: nothing is dropped
passed 67 (60 of them would have been dropped), dropped 40
reasons: default-pass 7, rule-drop 40, would-rule-drop 60
matched while their rule was in the other mode, and not in its row: 40
";
        assert_eq!(table(&both).render(100, 24), reported);
    }

    #[test]
    fn a_small_terminal_gets_no_more_lines_than_it_has() {
        let mut many = counts(1, 1);
        many.rules =
            (0..100).map(|index| RuleCount { rule: format!("rule-{index}"), ..many.rules[0].clone() }).collect();
        many.bans = 0;
        let text = Tables::default().next(Duration::from_secs(1), &many).render(30, 12);
        assert!(text.lines().count() <= 12, "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 30), "{text}");
        assert!(text.contains("... and 94 more rules"), "{text}");
        many.bans = 1;
        many.rules[0].spared = 1;
        let text = Tables::default().next(Duration::from_secs(1), &many).render(30, 12);
        assert!(text.lines().count() <= 12, "{text}");
        assert!(text.contains("bans in force: 1"), "{text}");
        assert!(text.contains("passed although a rule matched"), "{text}");
    }

    #[test]
    fn rules_that_have_not_matched_are_only_counted() {
        let text = Tables::default().next(Duration::from_secs(1), &counts(10, 0)).render(100, 24);
        assert!(text.contains("\nscanners ") && !text.contains("risky-scanners"), "{text}");
        assert!(text.contains("\n1 rule has not matched\n"), "{text}");
    }

    #[test]
    fn the_table_fits_a_terminal_of_80_columns_and_24_lines() {
        let mut many = counts(1, 1);
        let name = "disguised-called-number-from-strangers";
        many.rules =
            (0..60).map(|index| RuleCount { rule: format!("{name}-{index}"), ..many.rules[0].clone() }).collect();
        let mut tables = Tables::default();
        tables.next(Duration::from_secs(1), &many);
        many.rules[0].packets = 11;
        let text = tables.next(Duration::from_secs(2), &many).render(80, 24);
        assert!(text.lines().count() <= 24, "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let row = text.lines().nth(1).unwrap_or_default();
        assert!(row.starts_with("disguised-called-num…  drop ") && row.ends_with(" 10.0"), "{row}");
    }
}
