//! `ringfence bans export`: the bans in force as other tools take them.

use std::{fmt::Write as _, process::ExitCode};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    cli::{Place, print},
    telemetry::{Ban, BanList},
};
use filter_policy::language::printable;

/// Write the bans in force as other tools take them
///
/// `text` has one address or network a line, with the rule or the note of the ban as a comment; `json` is what `ringfence bans --json` prints;
/// `crowdsec` is for `cscli decisions import`, with the time that each ban has left; `fail2ban` has addresses and networks alone, for
/// `fail2ban-client set JAIL banip`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit status:
  0  the bans were printed
  2  bad usage
  3  the system refused, there is no filter, or the daemon's answer cannot be read

Examples:
  ringfence bans export > banned.txt
  ringfence bans export --format crowdsec | cscli decisions import -i - --format json
  ringfence bans export --format fail2ban | xargs -r fail2ban-client set asterisk banip")]
pub(super) struct ExportArgs {
    /// The format
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    place: Place,
}

/// What reads the bans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
    Crowdsec,
    Fail2ban,
}

/// Runs `ringfence bans export`.
pub(super) fn run(args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let bans = super::bans(&args.place)?;
    print(&written(&bans, args.format, Timestamp::now()))?;
    Ok(ExitCode::SUCCESS)
}

fn written(list: &BanList, format: Format, now: Timestamp) -> String {
    match format {
        Format::Text => text(list),
        Format::Json => printable::json_line(list) + "\n",
        Format::Crowdsec => {
            let decisions: Vec<Value> = list.bans.iter().filter_map(|ban| decision(ban, now)).collect();
            printable::json_line(&decisions) + "\n"
        }
        Format::Fail2ban => list.bans.iter().map(|ban| ban.prefix.clone() + "\n").collect(),
    }
}

fn text(list: &BanList) -> String {
    let mut text = "# Made by `ringfence bans export`. One address or network a line.\n".to_owned();
    for ban in &list.bans {
        let _ = match ban.comment.as_ref().or(ban.rule.as_ref()) {
            Some(comment) => writeln!(text, "{} # {}", ban.prefix, printable::escaped(comment)),
            None => writeln!(text, "{}", ban.prefix),
        };
    }
    text
}

/// A ban as `cscli decisions import` takes it; none if it has ended meanwhile.
fn decision(ban: &Ban, now: Timestamp) -> Option<Value> {
    let left = ban.until.parse::<Timestamp>().ok()?.as_millisecond() - now.as_millisecond();
    let seconds = (left + 999) / 1000;
    if seconds <= 0 {
        return None;
    }
    // A network of one IPv6 address keeps its length: without it, an import would ban the /64.
    let scope = if ban.prefix.contains('/') { "Range" } else { "Ip" };
    let reason = match (&ban.comment, &ban.rule) {
        (Some(comment), _) => comment.clone(),
        (None, Some(rule)) => format!("ringfence/{rule}"),
        (None, None) => "ringfence/by-hand".to_owned(),
    };
    Some(
        json!({ "duration": format!("{seconds}s"), "reason": reason, "scope": scope, "type": "ban", "value": ban.prefix }),
    )
}

#[cfg(test)]
mod tests {
    use filter_policy::import::{self, Lasts};

    use super::*;

    fn ban(prefix: &str, rule: Option<&str>, comment: Option<&str>, until: &str) -> Ban {
        Ban {
            prefix: prefix.to_owned(),
            rule: rule.map(str::to_owned),
            comment: comment.map(str::to_owned),
            since: "2026-11-20T11:00:00.000Z".to_owned(),
            until: until.to_owned(),
            packets: 1,
            suspended_until: None,
        }
    }

    fn list() -> BanList {
        BanList {
            bans: vec![
                ban("192.0.2.7", Some("scanners"), None, "2026-11-20T12:10:00.500Z"),
                ban("192.0.2.8", Some("scanners"), None, "2026-11-20T11:59:59.000Z"),
                ban("198.51.100.0/24", None, Some("ticket 7"), "2026-11-20T13:00:00.000Z"),
                ban("2001:db8::/48", None, None, "2026-11-20T13:00:00.000Z"),
            ],
        }
    }

    fn now() -> Timestamp {
        "2026-11-20T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_text_has_a_source_a_line_with_its_rule_or_note() {
        let expected = "\
# Made by `ringfence bans export`. One address or network a line.
192.0.2.7 # scanners
192.0.2.8 # scanners
198.51.100.0/24 # ticket 7
2001:db8::/48
";
        assert_eq!(written(&list(), Format::Text, now()), expected);
    }

    #[test]
    fn crowdsec_gets_decisions_with_the_time_that_is_left() {
        let expected = concat!(
            r#"[{"duration":"601s","reason":"ringfence/scanners","scope":"Ip","type":"ban","value":"192.0.2.7"},"#,
            r#"{"duration":"3600s","reason":"ticket 7","scope":"Range","type":"ban","value":"198.51.100.0/24"},"#,
            r#"{"duration":"3600s","reason":"ringfence/by-hand","scope":"Range","type":"ban","value":"2001:db8::/48"}]"#,
            "\n"
        );
        assert_eq!(written(&list(), Format::Crowdsec, now()), expected);
    }

    #[test]
    fn fail2ban_gets_addresses_alone() {
        let expected = "192.0.2.7\n192.0.2.8\n198.51.100.0/24\n2001:db8::/48\n";
        assert_eq!(written(&list(), Format::Fail2ban, now()), expected);
    }

    #[test]
    fn every_format_can_be_imported_again() {
        for format in [Format::Text, Format::Json, Format::Crowdsec, Format::Fail2ban] {
            let file = import::bans(written(&list(), format, now()).as_bytes(), now()).unwrap();
            assert_eq!(file.problems.count, 0, "{format:?}: {:?}", file.problems);
            let has_time = matches!(format, Format::Json | Format::Crowdsec);
            let sources: Vec<&str> = file.bans.iter().map(|ban| ban.source.as_str()).collect();
            let ended = if has_time { &[][..] } else { &["192.0.2.8"] };
            assert_eq!(sources, [&["192.0.2.7"], ended, &["198.51.100.0/24", "2001:db8::/48"]].concat(), "{format:?}");
            assert_eq!(file.bans.iter().all(|ban| matches!(ban.lasts, Lasts::Seconds(_))), has_time, "{format:?}");
        }
    }
}
