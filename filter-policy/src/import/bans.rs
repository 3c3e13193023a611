//! Bans of other tools, to be made here: who is banned, and for how long.
//!
//! Unlike a list of a policy, they keep their order, their lines and their times, and nothing is merged: who bans says what came of each.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    ImportError, Problems,
    addresses::Addresses,
    crowdsec, fail2ban,
    input::{self, is_json, split_comment},
    kinds,
};
use crate::lists;

/// For how long a ban of another tool lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasts {
    /// For so many seconds.
    Seconds(u64),
    /// It does not end.
    Forever,
    /// The input does not say.
    Unsaid,
}

/// A ban of another tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedBan {
    /// Line of the input, from 1.
    pub line: u32,
    /// The address or network, as it is written.
    pub source: String,
    /// What the input says of it.
    pub comment: Option<String>,
    /// For how long it lasts.
    pub lasts: Lasts,
}

/// The bans in a file of another tool.
#[derive(Debug, Default)]
pub struct BanFile {
    /// The bans, in their order.
    pub bans: Vec<ListedBan>,
    /// Entries that could not be read.
    pub problems: Problems,
    /// Entries that are no bans, or have ended.
    pub notes: Problems,
}

/// Reads bans: a list of addresses, what CrowdSec or fail2ban print, or what `ringfence bans` exports. Which it is shows in its first
/// words. An input without bans is not an error: at the moment, nothing is banned.
///
/// # Errors
/// It is something else.
pub fn bans(content: &[u8], now: Timestamp) -> Result<BanFile, ImportError> {
    let content = input::accept(content)?;
    let mut addresses = Addresses::of_bans();
    let start = content.trim_ascii();
    match kinds::of_bans(content)? {
        Some("crowdsec") => drop(crowdsec::read(content, &mut addresses)?),
        Some(_) => fail2ban::read(content, &mut addresses)?,
        None if start.starts_with(b"{\"bans\"") => own(content, now, &mut addresses)?,
        None if start == b"null" => {}
        None if is_json(content) => match start.iter().find(|&byte| matches!(byte, b'"' | b'\'')) {
            // Python writes strings with these marks.
            Some(b'\'') => fail2ban::read(content, &mut addresses)?,
            Some(_) => drop(crowdsec::read(content, &mut addresses)?),
            None => fail2ban::read(content, &mut addresses)?,
        },
        None => text(content, &mut addresses)?,
    }
    Ok(addresses.into_bans())
}

/// Reads a list of addresses with comments, or those of `fail2ban-client get JAIL banip`.
fn text(content: &[u8], addresses: &mut Addresses) -> Result<(), ImportError> {
    let first = lists::lines(content).map(|(_, line)| line).find(|line| !line.trim_ascii().is_empty());
    if first.is_some_and(fail2ban::is_with_time) {
        return fail2ban::read(content, addresses);
    }
    for (number, line) in lists::lines(content) {
        let (sources, comment) = split_comment(line, b"#;");
        for source in sources.split(u8::is_ascii_whitespace).filter(|source| !source.is_empty()) {
            addresses.add(number, source, comment.clone());
        }
    }
    Ok(())
}

/// Reads what `ringfence bans --json` prints, all on one line.
fn own(content: &[u8], now: Timestamp, addresses: &mut Addresses) -> Result<(), ImportError> {
    let help = "pass what `ringfence bans --json` prints, unchanged";
    let list: Value = serde_json::from_slice(content)
        .map_err(|error| ImportError::new(format!("the input is not JSON: {error}")).with_help(help))?;
    let Some(bans) = list["bans"].as_array() else {
        return Err(ImportError::new("`bans` is not an array").with_help(help));
    };
    for ban in bans {
        let (Some(prefix), Some(until)) = (ban["prefix"].as_str(), ban["until"].as_str()) else {
            return Err(ImportError::new("a ban has no `prefix` or no `until`").with_help(help));
        };
        let Ok(until) = until.parse::<Timestamp>() else {
            addresses.problems.add(1, prefix.as_bytes(), format!("`{until}` is not a time"));
            continue;
        };
        let comment = ban["comment"].as_str().or(ban["rule"].as_str());
        let comment = comment.and_then(|comment| input::comment(comment.as_bytes()));
        match u64::try_from(until.as_second() - now.as_second()) {
            Ok(seconds) if seconds > 0 => addresses.add_for(1, prefix.as_bytes(), comment, Lasts::Seconds(seconds)),
            _ => addresses.notes.add(1, prefix.as_bytes(), format!("left out: `{prefix}`: the ban has ended")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &str) -> Vec<(u32, String, String, Lasts)> {
        let file = bans(content.as_bytes(), "2026-11-20T12:00:00Z".parse().expect("a time")).expect("it has bans");
        assert_eq!(file.problems.count, 0, "{:?}", file.problems);
        file.bans.into_iter().map(|ban| (ban.line, ban.source, ban.comment.unwrap_or_default(), ban.lasts)).collect()
    }

    fn ban(line: u32, source: &str, comment: &str, lasts: Lasts) -> (u32, String, String, Lasts) {
        (line, source.to_owned(), comment.to_owned(), lasts)
    }

    #[test]
    fn lists_of_addresses_say_who_and_not_for_how_long() {
        let expected = [ban(2, "192.0.2.7", "ticket 7", Lasts::Unsaid), ban(4, "2001:db8::/48", "", Lasts::Unsaid)];
        assert_eq!(read("# of the other edge\n192.0.2.7 # ticket 7\n\n2001:db8::/48\n"), expected);
    }

    #[test]
    fn crowdsecs_decisions_have_their_lines_and_times() {
        let decisions = r#"[
  {"id": 12, "decisions": [
    {"duration": "3h59m10.5s", "id": 15, "origin": "crowdsec", "scenario": "crowdsecurity/asterisk_bf",
     "scope": "Ip", "type": "ban", "value": "203.0.113.7"},
    {"duration": "23h", "scenario": "manual", "scope": "Ip", "type": "captcha", "value": "192.0.2.1"}
  ]},
  {"id": 13, "decisions": [
    {"duration": "23h", "scenario": "manual", "scope": "Range", "type": "ban", "value": "198.51.100.0/28"}
  ]}
]"#;
        let expected = [
            ban(4, "203.0.113.7", "crowdsecurity/asterisk_bf", Lasts::Seconds(3 * 3600 + 59 * 60 + 11)),
            ban(8, "198.51.100.0/28", "manual", Lasts::Seconds(23 * 3600)),
        ];
        assert_eq!(read(decisions), expected);
        assert_eq!(read("null\n"), []);
    }

    #[test]
    fn fail2bans_output_is_read_with_and_without_times() {
        let timed = "192.0.2.2 \t2026-11-20 12:00:00 + 600 = 2026-11-20 12:10:00\n\
                     2001:db8::5 \t2026-11-20 12:00:00 + -1 = 9999-12-31 23:59:59\n";
        let expected = [ban(1, "192.0.2.2", "", Lasts::Seconds(600)), ban(2, "2001:db8::5", "", Lasts::Forever)];
        assert_eq!(read(timed), expected);
        let expected = [ban(1, "192.0.2.1", "sshd", Lasts::Unsaid), ban(1, "203.0.113.5", "asterisk", Lasts::Unsaid)];
        assert_eq!(read("[{'sshd': ['192.0.2.1']}, {'asterisk': ['203.0.113.5']}]\n"), expected);
        assert_eq!(read("[]\n"), []);
    }

    #[test]
    fn our_own_json_is_read_until_its_bans_end() {
        let json = r#"{"bans":[{"prefix":"192.0.2.7","rule":"scanners","comment":null,"until":"2026-11-20T12:01:00.500Z"},
            {"prefix":"192.0.2.8","rule":null,"comment":"ticket 7","until":"2026-11-20T11:00:00.000Z"}]}"#;
        assert_eq!(read(json), [ban(1, "192.0.2.7", "scanners", Lasts::Seconds(60))]);
    }

    #[test]
    fn mistakes_have_their_line_and_value_and_other_inputs_are_refused_by_name() {
        let file = bans(b"192.0.2.7\n192.0.2.300\n0.0.0.0/0\n", Timestamp::UNIX_EPOCH).expect("it is a list");
        let problems: Vec<(u32, &str)> =
            file.problems.listed.iter().map(|problem| (problem.line, problem.text.as_str())).collect();
        assert_eq!(problems, [(2, "192.0.2.300"), (3, "0.0.0.0/0")]);
        let error = bans(b"Sorry but the jail 'sshd' does not exist\n", Timestamp::UNIX_EPOCH).expect_err("no list");
        assert!(error.to_string().contains("an error message of fail2ban"), "{error}");
    }
}
