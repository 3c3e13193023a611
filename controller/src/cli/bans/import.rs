//! `ringfence bans import`: bans the sources of a list.

use std::{
    collections::{HashMap, hash_map::Entry},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use jiff::Timestamp;

use crate::{
    api::{BansAnswer, BansRequest, BansRequestItem},
    cli::{Place, ban::seconds, import::read, print},
    deploy::{BanBook, ListedBan},
    kernel::Prefix,
};
use filter_policy::{
    import::{self, BanFile, Lasts},
    language::{action::LONGEST_BAN, diagnostics::plural, printable},
};

/// Ban the sources of a list, all or none of them
///
/// The list is what another tool prints, unchanged: lines of addresses and networks, with comments after `#` or `;`; `cscli decisions list
/// -o json` or `-o raw`; `fail2ban-client banned`, `status JAIL` or `get JAIL banip`, also `--with-time`; or what `ringfence bans export`
/// writes. Which it is shows in its first words.
///
/// If one source cannot be banned, nothing changes. A ban is never shortened: who is banned for longer already stays so.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit status:
  0  all of them are banned
  1  one cannot be banned: the policy exempts it, or prefixes of too many lengths would be banned
  2  bad usage, or the list cannot be read
  3  the system refused, or there is no filter

Examples:
  ringfence bans import banned.txt --for 1d
  cscli decisions list -o json --limit 0 | ringfence bans import -
  fail2ban-client get asterisk banip --with-time | ringfence bans import -")]
pub(super) struct ImportArgs {
    /// The list; standard input if `-`
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// For how long, whatever the list says: 90s, 10m, 1h, 7d; at most a year. Lists of addresses do not say it
    #[arg(long = "for", value_name = "TIME", value_parser = seconds)]
    seconds: Option<u32>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// How many lines are shown.
const SHOWN: usize = 20;

/// Runs `ringfence bans import`.
pub(super) fn run(args: ImportArgs) -> anyhow::Result<ExitCode> {
    let ImportArgs { file, seconds, json, place } = args;
    let file = Some(file.as_path()).filter(|file| *file != Path::new("-"));
    let name = file.map_or("standard input".to_owned(), printable::path);
    let content = read(file).with_context(|| format!("failed to read {name}"))?;
    let read = import::bans(&content, Timestamp::now()).with_context(|| format!("failed to import {name}"))?;
    for note in read.notes.listed.iter().take(SHOWN) {
        eprintln!("{name}:{}: {}", note.line, printable::escaped(&note.reason));
    }
    if let Some(more) = read.notes.count.checked_sub(SHOWN as u64).filter(|more| *more > 0) {
        eprintln!("{name}: {more} more left out");
    }
    let list = match to_ban(&read, seconds) {
        Ok(list) => list,
        Err(Mistakes { count, first }) => {
            first.iter().for_each(|(line, mistake)| eprintln!("{name}:{line}: {}", printable::escaped(mistake)));
            bail!("nothing was banned: {count} {} of {name} cannot be", plural(count, "entry", "entries"));
        }
    };
    let answer = ban(&place, &list)?;
    print(&if json { printable::json_line(&answer) + "\n" } else { said(answer) })?;
    Ok(ExitCode::SUCCESS)
}

fn ban(place: &Place, list: &[ListedBan]) -> anyhow::Result<BansAnswer> {
    let item = |ban: &ListedBan| BansRequestItem {
        prefix: ban.prefix.to_string(),
        seconds: ban.seconds,
        comment: ban.comment.clone(),
        line: ban.line,
    };
    let request = BansRequest { bans: list.iter().map(item).collect() };
    let found = place.find()?;
    let asked = crate::cli::ask(&found, async |client| client.ban_all(&request).await)?;
    Ok(asked.or_without(&found, || {
        if list.iter().any(|ban| ban.comment.is_some()) {
            eprintln!("the comments are not kept: they would be in the memory of a daemon");
        }
        let made = BanBook::new(found.pins.clone()).ban_all(list)?;
        let added = made.len() as u64;
        Ok::<_, crate::deploy::ListError>(BansAnswer { added, kept: list.len() as u64 - added })
    })?)
}

fn said(BansAnswer { added, kept }: BansAnswer) -> String {
    let mut text = format!("{added} {} banned", plural(added, "source is", "sources are"));
    if kept > 0 {
        text += &format!("; {kept} {} banned for longer already", plural(kept, "was", "were"));
    }
    text + "\n"
}

/// Entries that cannot be bans: how many, and the first ones with their lines.
#[derive(Debug, Default)]
struct Mistakes {
    count: u64,
    first: Vec<(u32, String)>,
}

impl Mistakes {
    fn add(&mut self, line: u32, mistake: String) {
        self.count += 1;
        if self.first.len() < SHOWN {
            self.first.push((line, mistake));
        }
    }
}

/// The bans to make, each prefix once: of several bans of it, the longest.
fn to_ban(file: &BanFile, seconds: Option<u32>) -> Result<Vec<ListedBan>, Mistakes> {
    let mut mistakes = Mistakes::default();
    for problem in &file.problems.listed {
        mistakes.add(problem.line, format!("`{}`: {}", problem.text, problem.reason));
    }
    mistakes.count = file.problems.count;
    let mut list: Vec<ListedBan> = Vec::with_capacity(file.bans.len());
    let mut places: HashMap<Prefix, usize> = HashMap::with_capacity(file.bans.len());
    for ban in &file.bans {
        let lasts = match seconds {
            Some(seconds) => Ok(seconds),
            None => lasting(ban.lasts).map_err(|mistake| format!("`{}`: {mistake}", ban.source)),
        };
        let read = Prefix::to_ban(&ban.source).map_err(|error| error.to_string());
        let (prefix, seconds) = match read.and_then(|prefix| Ok((prefix, lasts?))) {
            Ok(read) => read,
            Err(mistake) => {
                mistakes.add(ban.line, mistake);
                continue;
            }
        };
        let listed = ListedBan { prefix, seconds, comment: ban.comment.clone(), line: ban.line };
        match places.entry(prefix) {
            Entry::Vacant(place) => {
                place.insert(list.len());
                list.push(listed);
            }
            Entry::Occupied(place) if list[*place.get()].seconds < seconds => list[*place.get()] = listed,
            Entry::Occupied(_) => {}
        }
    }
    if mistakes.count == 0 { Ok(list) } else { Err(mistakes) }
}

/// The seconds of a ban, or why it cannot be one.
fn lasting(lasts: Lasts) -> Result<u32, &'static str> {
    match lasts {
        Lasts::Seconds(0) => Err("it is banned for no time: take it out of the list, or give a time: `--for 1h`"),
        Lasts::Seconds(seconds) if seconds <= LONGEST_BAN => {
            u32::try_from(seconds).map_err(|_| "its ban is too long: give a time: `--for 7d`")
        }
        Lasts::Seconds(_) | Lasts::Forever => {
            Err("a ban lasts a year at most, and this one is longer: give a time: `--for 7d`")
        }
        Lasts::Unsaid => Err("the list does not say for how long: give a time: `--for 1h`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bans of a list, or the lines of its mistakes.
    type Listed = Result<Vec<(String, u32)>, Vec<(u32, String)>>;

    fn listed(content: &str, seconds: Option<u32>) -> Listed {
        let file = import::bans(content.as_bytes(), Timestamp::UNIX_EPOCH).expect("it is a list");
        let list = to_ban(&file, seconds).map_err(|mistakes| mistakes.first)?;
        Ok(list.into_iter().map(|ban| (ban.prefix.to_string(), ban.seconds)).collect())
    }

    #[test]
    fn a_source_is_banned_once_for_the_longest_time_and_an_ipv6_address_with_its_network() {
        let content = "192.0.2.2 \t2026-11-20 12:00:00 + 600 = 2026-11-20 12:10:00\n\
                       2001:db8::5 \t2026-11-20 12:00:00 + 60 = 2026-11-20 12:01:00\n\
                       192.0.2.2 \t2026-11-20 12:00:00 + 900 = 2026-11-20 12:15:00\n";
        let expected = vec![("192.0.2.2".to_owned(), 900), ("2001:db8::/64".to_owned(), 60)];
        assert_eq!(listed(content, None), Ok(expected));
        let expected = vec![("192.0.2.2".to_owned(), 7), ("2001:db8::/64".to_owned(), 7)];
        assert_eq!(listed(content, Some(7)), Ok(expected));
    }

    #[test]
    fn a_mistake_says_where_and_what_and_how_to_mend_it() {
        let mistakes = listed("192.0.2.7\n192.0.2.300\n", None).unwrap_err();
        let text: String = mistakes.iter().map(|(line, mistake)| format!("{line}: {mistake}\n")).collect();
        assert!(text.contains("2: `192.0.2.300`: "), "{text}");
        assert!(text.contains("1: `192.0.2.7`: the list does not say for how long: give a time: `--for 1h`"), "{text}");
        let forever = "192.0.2.2 \t2026-11-20 12:00:00 + -1 = 9999-12-31 23:59:59\n";
        assert!(listed(forever, None).unwrap_err()[0].1.contains("`--for 7d`"));
        assert!(listed(forever, Some(60)).is_ok());
        assert!(listed("192.0.2.7/24\n", Some(60)).unwrap_err()[0].1.contains("192.0.2.0/24"));
    }
}
