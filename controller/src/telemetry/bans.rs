//! Bans: those in force, and those that are lifted.

use std::fmt::{self, Display, Write as _};

use filter_policy::language::{diagnostics::plural, printable};
use serde::{Deserialize, Serialize};

use super::{clock::Clock, table::grouped};
use crate::kernel;

/// How many lifted bans a notice names.
const NAMED: usize = 5;

/// What stands for a rule where a ban was made by hand.
const BY_HAND: &str = "by hand";

/// A ban in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// The sources that are banned: an IPv4 address, or a network.
    pub prefix: String,
    /// The rule that banned them; none for a ban by hand.
    pub rule: Option<String>,
    /// What was noted when it was made by hand, while the daemon knows it.
    pub comment: Option<String>,
    /// When it began, RFC 3339.
    pub since: String,
    /// When it ends.
    pub until: String,
    /// Packets that it has dropped.
    pub packets: u64,
    /// Until when an emergency call from there suspends it; none if none does.
    pub suspended_until: Option<String>,
}

impl Ban {
    /// Converts a ban as the kernel has it; `rules` has the rules' names by counter slot.
    #[must_use]
    pub fn new(ban: &kernel::Ban, rules: &[String], comment: Option<String>) -> Self {
        Self::at(ban, rules, comment, Clock::now())
    }

    fn at(ban: &kernel::Ban, rules: &[String], comment: Option<String>, clock: Clock) -> Self {
        let name = |slot: u32| rules.get(slot as usize).cloned().unwrap_or_else(|| "unknown".to_owned());
        Self {
            prefix: ban.prefix.to_string(),
            rule: ban.slot.map(name),
            comment,
            since: clock.wall(ban.since),
            until: clock.wall(ban.until),
            packets: ban.packets,
            suspended_until: ban.suspended_until.map(|until| clock.wall(until)),
        }
    }
}

impl Display for Ban {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is banned until {}", self.prefix, to_the_second(&self.until))?;
        match &self.rule {
            Some(rule) => write!(f, ", by the rule `{}`", printable::escaped(rule))?,
            None => write!(f, ", {BY_HAND}")?,
        }
        match &self.comment {
            Some(comment) => write!(f, ": {}", printable::escaped(comment)),
            None => Ok(()),
        }
    }
}

/// The answer of `ringfence bans`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanList {
    /// The bans in force, by prefix.
    pub bans: Vec<Ban>,
}

impl BanList {
    /// The list for people.
    #[must_use]
    pub fn render(&self) -> String {
        if self.bans.is_empty() {
            return "no source is banned\n".to_owned();
        }
        let rows: Vec<[String; 5]> = self.bans.iter().map(Ban::row).collect();
        let head = ["PREFIX", "BANNED BY", "SINCE", "UNTIL", "PACKETS"].map(str::to_owned);
        let width = |column: usize| {
            let cells = rows.iter().chain([&head]).map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        };
        let [prefix, by, since, until, packets] = [0, 1, 2, 3, 4].map(width);
        let mut text = String::new();
        let lines = std::iter::once((&head, None)).chain(rows.iter().zip(self.bans.iter().map(Some)));
        for (row, ban) in lines {
            let _ = write!(
                text,
                "{:<prefix$}  {:<by$}  {:<since$}  {:<until$}  {:>packets$}",
                row[0], row[1], row[2], row[3], row[4]
            );
            if let Some(suspended) = ban.and_then(|ban| ban.suspended_until.as_deref()) {
                let _ = write!(text, "  suspended by an emergency call until {}", to_the_second(suspended));
            }
            text.push('\n');
        }
        text
    }
}

impl Ban {
    fn row(&self) -> [String; 5] {
        let by = match (&self.rule, &self.comment) {
            (Some(rule), _) => printable::escaped(rule),
            (None, Some(comment)) => format!("{BY_HAND}: {}", printable::escaped(comment)),
            (None, None) => BY_HAND.to_owned(),
        };
        let (since, until) = (to_the_second(&self.since), to_the_second(&self.until));
        [self.prefix.clone(), by, since, until, grouped(self.packets)]
    }
}

/// See [`Notice::Unbanned`](super::Notice::Unbanned).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unbanned {
    /// How many bans were lifted.
    pub count: u64,
    /// The first of them.
    pub bans: Vec<Lifted>,
}

/// A ban that was lifted before its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifted {
    /// The sources that were banned.
    pub prefix: String,
    /// Why they no longer are.
    pub reason: String,
}

impl Unbanned {
    /// Bans that were lifted by hand.
    #[must_use]
    pub fn by_hand(prefixes: &[kernel::Prefix]) -> Self {
        let lifted = |prefix: &kernel::Prefix| Lifted { prefix: prefix.to_string(), reason: BY_HAND.to_owned() };
        Self { count: prefixes.len() as u64, bans: prefixes.iter().take(NAMED).map(lifted).collect() }
    }

    /// Bans that a policy has lifted; none if there are none.
    #[must_use]
    pub fn by_policy(freed: &[kernel::Freed]) -> Option<Self> {
        let lifted =
            |freed: &kernel::Freed| Lifted { prefix: freed.prefix.to_string(), reason: freed.because.to_string() };
        let bans = freed.iter().take(NAMED).map(lifted).collect();
        (!freed.is_empty()).then_some(Self { count: freed.len() as u64, bans })
    }
}

impl Display for Unbanned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count == 0 {
            return f.write_str("no ban was lifted");
        }
        write!(f, "{} {} lifted: ", self.count, plural(self.count, "ban was", "bans were"))?;
        for (index, Lifted { prefix, reason }) in self.bans.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{} ({})", printable::escaped(prefix), printable::escaped(reason))?;
        }
        match self.count.saturating_sub(self.bans.len() as u64) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// A time without its fraction of a second.
fn to_the_second(time: &str) -> String {
    match time.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => time.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Exemption, Freed, FreedBecause, Prefix};

    fn ban(prefix: &str, slot: Option<u32>, comment: Option<&str>) -> Ban {
        let ban = kernel::Ban {
            prefix: Prefix::to_ban(prefix).unwrap(),
            slot,
            since: 1_500_000_000,
            until: 61_500_000_000,
            packets: 1234,
            suspended_until: slot.map(|_| 30_000_000_000),
        };
        Ban::at(&ban, &["scanners".to_owned()], comment.map(str::to_owned), Clock { offset: 0 })
    }

    #[test]
    fn the_list_reads_like_this() {
        let list = BanList {
            bans: vec![ban("192.0.2.7", Some(0), None), ban("2001:db8::/48", None, Some("see\x1b ticket 7"))],
        };
        let expected = "\
PREFIX         BANNED BY                    SINCE                 UNTIL                 PACKETS
192.0.2.7      scanners                     1970-01-01T00:00:01Z  1970-01-01T00:01:01Z    1,234  suspended by an emergency call until 1970-01-01T00:00:30Z
2001:db8::/48  by hand: see\\u{1b} ticket 7  1970-01-01T00:00:01Z  1970-01-01T00:01:01Z    1,234
";
        assert_eq!(list.render(), expected);
        assert_eq!(BanList { bans: Vec::new() }.render(), "no source is banned\n");
    }

    #[test]
    fn the_json_of_a_ban_is_as_documented() {
        let json = r#"{"bans":[{"prefix":"192.0.2.7","rule":"scanners","comment":null,"since":"1970-01-01T00:00:01.500Z","until":"1970-01-01T00:01:01.500Z","packets":1234,"suspended_until":"1970-01-01T00:00:30.000Z"}]}"#;
        let list = BanList { bans: vec![ban("192.0.2.7", Some(0), None)] };
        assert_eq!(serde_json::to_string(&list).unwrap(), json);
        assert_eq!(serde_json::from_str::<BanList>(json).unwrap(), list);
    }

    #[test]
    fn lifted_bans_are_counted_and_the_first_ones_named_with_the_reason() {
        let freed = |last: u8| Freed {
            prefix: Prefix::to_ban(&format!("192.0.2.{last}")).unwrap(),
            because: FreedBecause::Exempt(if last == 1 {
                Exemption::NeverBan
            } else {
                Exemption::Rule("trunks".to_owned())
            }),
        };
        assert_eq!(Unbanned::by_policy(&[]), None);
        let freed: Vec<Freed> = (1..=7).map(freed).collect();
        let text = Unbanned::by_policy(&freed).unwrap().to_string();
        assert!(
            text.starts_with(
                "7 bans were lifted: 192.0.2.1 (the policy's `never_ban` covers it), 192.0.2.2 (the rule `trunks` lets everything \
                 from it pass), "
            ),
            "{text}"
        );
        assert!(text.ends_with(" and 2 more"), "{text}");
    }
}
