//! When rules are off: outside their hours, and after their end.
//!
//! The engine has no calendar. A row of the image holds the rules that are on, and whoever runs the engine rewrites it: the daemon
//! each minute, user space for the time that it is asked about.

use std::fmt::Write as _;

use filter_core::{layout::RuleSet, limits::RULE_WORDS};
use jiff::{Timestamp, tz::TimeZone};

use crate::model::{Policy, Rule};

/// Minutes of a day.
pub const DAY: u16 = 24 * 60;

/// A part of each of some days, in the local time of a time zone.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// The days on which it begins: a bit for each, Monday is bit 0.
    pub days: u8,
    /// The minute of the day in which it begins.
    pub from: u16,
    /// The minute in which it has ended, up to [`DAY`]. It is on the next day unless it comes after [`Self::from`].
    pub to: u16,
    /// The time zone.
    pub zone: TimeZone,
}

impl Window {
    /// True if it is open at this time. What counts is the clock on the wall: where a change to summer time skips an hour, what is
    /// in it does not happen, and where an hour comes twice, it counts twice.
    #[must_use]
    pub fn is_open(&self, at: Timestamp) -> bool {
        let local = at.to_zoned(self.zone.clone()).datetime();
        let minute = u16::from(local.hour().unsigned_abs()) * 60 + u16::from(local.minute().unsigned_abs());
        let today = local.weekday().to_monday_zero_offset().unsigned_abs();
        let begins_on = |day: u8| self.days >> (day % 7) & 1 != 0;
        if self.from < self.to {
            begins_on(today) && (self.from..self.to).contains(&minute)
        } else {
            (begins_on(today) && minute >= self.from) || (begins_on(today + 6) && minute < self.to)
        }
    }
}

/// The rules of a policy that are not always on.
#[derive(Clone, Debug, Default)]
pub struct Timetable {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    rule: usize,
    hours: Vec<Window>,
    until: Option<Timestamp>,
}

impl Entry {
    fn is_on(&self, at: Timestamp) -> bool {
        let is_past = self.until.is_some_and(|end| at >= end);
        !is_past && (self.hours.is_empty() || self.hours.iter().any(|window| window.is_open(at)))
    }
}

impl Timetable {
    /// The timetable of a policy's rules.
    #[must_use]
    pub fn new(policy: &Policy) -> Self {
        let rules = policy.rules.iter().enumerate().filter(|(_, rule)| rule.is_timed());
        let entry = |(index, rule): (usize, &Rule)| Entry { rule: index, hours: rule.hours.clone(), until: rule.until };
        Self { entries: rules.map(entry).collect() }
    }

    /// True if every rule is always on.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The rules that are on at this time, and every bit that no rule has.
    #[must_use]
    pub fn on(&self, at: Timestamp) -> RuleSet {
        let mut on = [u64::MAX; RULE_WORDS];
        for entry in self.entries.iter().filter(|entry| !entry.is_on(at)) {
            on[entry.rule / 64] &= !(1 << (entry.rule % 64));
        }
        on
    }

    /// True if a rule is on at this time.
    #[must_use]
    pub fn is_on(&self, rule: usize, at: Timestamp) -> bool {
        self.entries.iter().all(|entry| entry.rule != rule || entry.is_on(at))
    }

    /// All of it as text, for the image's hash.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for Entry { rule, hours, until } in &self.entries {
            let _ = write!(text, "{rule} {until:?}");
            for Window { days, from, to, zone } in hours {
                let _ = write!(text, " {days} {from} {to} {}", zone.iana_name().unwrap_or_default());
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::{Endpoints, Engine, datagram},
        files::Table,
        testing,
    };

    fn window(days: u8, from: u16, to: u16, zone: &str) -> Window {
        Window { days, from, to, zone: TimeZone::get(zone).expect("a time zone") }
    }

    fn open(window: &Window, at: &str) -> bool {
        window.is_open(at.parse().expect("a time"))
    }

    #[test]
    fn business_hours_are_in_the_zones_own_time_in_winter_and_in_summer() {
        let hours = window(0b001_1111, 8 * 60, 18 * 60, "America/New_York");
        // Friday, 27 November 2026: UTC is five hours ahead.
        assert!(!open(&hours, "2026-11-27T12:59:59Z") && open(&hours, "2026-11-27T13:00:00Z"));
        assert!(open(&hours, "2026-11-27T22:59:59Z") && !open(&hours, "2026-11-27T23:00:00Z"));
        assert!(!open(&hours, "2026-11-28T15:00:00Z"), "a Saturday");
        // In July it is four.
        assert!(!open(&hours, "2026-07-03T11:59:59Z") && open(&hours, "2026-07-03T12:00:00Z"));
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
        let nights = window(0b001_0000, 22 * 60, 6 * 60, "Europe/Berlin");
        assert!(!open(&nights, "2026-11-27T20:59:00Z") && open(&nights, "2026-11-27T21:00:00Z"));
        assert!(open(&nights, "2026-11-28T04:59:00Z") && !open(&nights, "2026-11-28T05:00:00Z"));
        assert!(!open(&nights, "2026-11-27T04:00:00Z"), "the night from Thursday to Friday");
        let sundays = window(0b100_0000, 22 * 60, 6 * 60, "Europe/Berlin");
        assert!(open(&sundays, "2026-11-30T04:00:00Z"), "the morning of Monday");
        let whole = window(0b100_0000, 0, DAY, "UTC");
        assert!(open(&whole, "2026-11-29T00:00:00Z") && open(&whole, "2026-11-29T23:59:59Z"));
        assert!(!open(&whole, "2026-11-30T00:00:00Z") && !open(&whole, "2026-11-28T23:59:59Z"));
    }

    #[test]
    fn a_rule_is_off_outside_its_hours_and_after_its_last_day() {
        let files = [(
            "policy.toml",
            "version = 1\ndefault = \"pass\"\n[network]\nudp = [5060]\n\
             [[rule]]\nname = \"by-day\"\nmatch.source = \"192.0.2.1\"\naction = \"drop\"\n\
             hours = { from = \"08:00\", to = \"18:00\", timezone = \"UTC\" }\n\
             [[rule]]\nname = \"this-year\"\nmatch.source = \"192.0.2.1\"\naction = \"whitelist\"\nuntil = 2026-12-31\n\
             [[rule]]\nname = \"this-morning\"\nmatch.source = \"192.0.2.2\"\naction = \"whitelist\"\nuntil = 2026-11-27T09:30:00+02:00\n\
             [[rule]]\nname = \"always\"\nmatch.source = \"192.0.2.1\"\naction = { ban = \"1s\" }\n"
                .as_bytes(),
        )];
        let build = |today| crate::build(&Table(&files), today).expect("the policy is good");
        let image = build((2026, 11, 27)).image;
        let decide_from = |host: u8, at: &str| {
            let mut engine = Engine::new(&image);
            engine.set_clock(at.parse().expect("a time"));
            let endpoints = Endpoints::from_source([192, 0, 2, host].into(), 5060);
            engine.decide(&datagram(&endpoints, b"")).rule.map(|rule| image.rule_names[rule].as_str())
        };
        let (decide, other) = (|at| decide_from(1, at), |at| decide_from(2, at));
        assert_eq!(other("2026-11-27T07:29:59Z"), Some("this-morning"));
        assert_eq!(other("2026-11-27T07:30:00Z"), None);
        assert_eq!(decide("2026-11-27T08:00:00Z"), Some("by-day"));
        assert_eq!(decide("2026-11-27T18:00:00Z"), Some("this-year"));
        assert_eq!(decide("2026-12-31T23:59:59Z"), Some("this-year"));
        assert_eq!(decide("2027-01-01T00:00:00Z"), Some("always"));
        assert_eq!(decide("2027-01-01T12:00:00Z"), Some("by-day"));
        // After that day, it is left out from the start.
        assert_eq!(build((2027, 1, 1)).image.rule_names, ["by-day", "always"]);
        assert_ne!(build((2027, 1, 1)).image.hash, image.hash);
    }

    #[test]
    fn the_hash_of_a_policy_depends_on_its_hours() {
        let hash = |hours: &str| {
            let text = format!(
                "version = 1\n[network]\nudp = [5060]\n[[rule]]\nname = \"a\"\nmatch.method = \"OPTIONS\"\naction = \"drop\"\n\
                 {hours}\n"
            );
            testing::build(&[("policy.toml", &text)]).expect("the policy is good").image.hash
        };
        let hours = |from: &str, zone: &str| format!("hours = {{ from = \"{from}\", timezone = \"{zone}\" }}");
        assert_ne!(hash(&hours("08:00", "UTC")), hash(&hours("08:01", "UTC")));
        assert_ne!(hash(&hours("08:00", "UTC")), hash(&hours("08:00", "Europe/Berlin")));
        assert_ne!(hash(&hours("08:00", "UTC")), hash(""));
    }

    #[test]
    fn on_the_days_of_a_clock_change_the_clock_on_the_wall_counts() {
        let early = window(0b111_1111, 2 * 60 + 30, 4 * 60, "America/New_York");
        // 8 March 2026: after 1:59 comes 3:00.
        assert!(!open(&early, "2026-03-08T06:59:00Z") && open(&early, "2026-03-08T07:00:00Z"));
        assert!(open(&early, "2026-03-08T07:59:00Z") && !open(&early, "2026-03-08T08:00:00Z"));
        // 1 November 2026: after 1:59 comes 1:00.
        let twice = window(0b111_1111, 60, 120, "America/New_York");
        assert!(!open(&twice, "2026-11-01T04:59:00Z"));
        assert!(open(&twice, "2026-11-01T05:00:00Z") && open(&twice, "2026-11-01T06:59:00Z"));
        assert!(!open(&twice, "2026-11-01T07:00:00Z"));
    }
}
