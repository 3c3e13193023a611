//! What an input is, if it is known by its first words: so that an input of another format is refused by its name, and never
//! taken for a list because of the addresses in it.

use super::{Format, ImportError, input::is_json};
use crate::lists;

/// A known kind of input.
struct Kind {
    what: &'static str,
    /// The format that reads it.
    format: Option<&'static str>,
    help: &'static str,
}

const fn kind(what: &'static str, format: Option<&'static str>, help: &'static str) -> Option<Kind> {
    Some(Kind { what, format, help })
}

/// Refuses an input that is known to be of another format.
pub(super) fn check(format: &Format, content: &[u8]) -> Result<(), ImportError> {
    // A column of times is no sign of a log in a file of numbers.
    let may_be_dated = matches!(format, Format::Numbers(_) | Format::Scores(..) | Format::Nanpa)
        || matches!(format, Format::Cidr(options) if options.column.is_some() || options.separator.is_some());
    match if is_json(content) { json(content) } else { text(content, may_be_dated) } {
        Some(Kind { format: Some(known), .. }) if known == format.name() => Ok(()),
        Some(Kind { what, help, .. }) => Err(ImportError::new(format!("the input is {what}")).with_help(help)),
        None => Ok(()),
    }
}

/// The format of an input with bans, if its first words tell. Refuses an input that is known to be something else.
pub(super) fn of_bans(content: &[u8]) -> Result<Option<&'static str>, ImportError> {
    match if is_json(content) { json(content) } else { text(content, false) } {
        Some(Kind { format: format @ Some("crowdsec" | "fail2ban"), .. }) => Ok(format),
        Some(Kind { what, help, .. }) => Err(ImportError::new(format!("the input is {what}")).with_help(help)),
        None => Ok(None),
    }
}

fn json(content: &[u8]) -> Option<Kind> {
    const SHOWN: usize = 1 << 12;
    let start = &content[..content.len().min(SHOWN)];
    let compact: Vec<u8> = start.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let has = |part: &[u8]| compact.windows(part.len()).any(|window| window == part);
    if compact.starts_with(b"{\"nftables\":") {
        return kind("a JSON listing of nftables", Some("nft"), "import it with `ringfence import nft`");
    }
    if compact.starts_with(b"{\"ipaddress\":") {
        return kind("an answer of APIBAN", Some("apiban"), "import it with `ringfence import apiban`");
    }
    if compact.starts_with(b"{\"cidr\":") {
        return kind("a Spamhaus DROP list", Some("spamhaus-drop"), "import it with `ringfence import spamhaus-drop`");
    }
    if compact.starts_with(b"[{") && has(b"\"decisions\":") {
        return kind("CrowdSec's decisions", Some("crowdsec"), "import them with `ringfence import crowdsec`");
    }
    if compact.starts_with(b"{\"new\":") || compact.starts_with(b"{\"deleted\":") {
        return kind(
            "a stream of CrowdSec's changes, not its whole list",
            None,
            "import what `cscli decisions list -o raw --limit 0` prints with `ringfence import crowdsec`",
        );
    }
    if compact.starts_with(b"[{\"name\":") && has(b"\"members\":") {
        return kind("an ipset as JSON", None, "import what `ipset save NAME` prints with `ringfence import ipset`");
    }
    if compact.starts_with(b"{entry:") {
        return kind(
            "a dump of a Kamailio hash table",
            None,
            "write its addresses one a line for `ringfence import cidr`",
        );
    }
    None
}

fn text(content: &[u8], may_be_dated: bool) -> Option<Kind> {
    let mut lines = lists::lines(content)
        .map(|(_, line)| line)
        .filter(|line| !line.trim_ascii().is_empty() && !line.trim_ascii_start().starts_with(b"#"));
    let first = lines.next()?;
    let second = lines.next().unwrap_or_default();
    let words: Vec<&[u8]> = first.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).take(4).collect();
    let starts = |text: &[u8]| first.starts_with(text);
    let has = |line: &[u8], part: &[u8]| line.windows(part.len()).any(|window| window == part);
    if starts(b"These IP addresses/networks are ignored") || starts(b"No IP address/network is ignored") {
        return kind(
            "what fail2ban never bans (`ignoreip`), not what it has banned",
            None,
            "import what `fail2ban-client get JAIL banip` prints with `ringfence import fail2ban`",
        );
    }
    if starts(b"Status for the jail") {
        return kind("the status of a fail2ban jail", Some("fail2ban"), "import it with `ringfence import fail2ban`");
    }
    if first.trim_ascii() == b"Status" && has(second, b"Number of jail") {
        return kind(
            "the list of fail2ban's jails, which has no addresses",
            None,
            "import what `fail2ban-client banned` prints with `ringfence import fail2ban`",
        );
    }
    if starts(b"Sorry but the jail") || has(first, b"Failed to access socket path") {
        return kind(
            "an error message of fail2ban",
            None,
            "import what `fail2ban-client banned` prints, once it works",
        );
    }
    let is_set_type = |word: &[u8]| [&b"hash:"[..], b"bitmap:", b"list:"].iter().any(|prefix| word.starts_with(prefix));
    let is_save = match words[..] {
        [b"create", _, kind, ..] => is_set_type(kind),
        [b"add", _, _, ..] => true,
        _ => false,
    };
    if is_save || starts(b"Name:") && second.starts_with(b"Type:") {
        return kind("a set of ipset", Some("ipset"), "import it with `ringfence import ipset`");
    }
    let is_rule = match words[..] {
        [b"-A" | b"-I", _, option, ..] => option.starts_with(b"-"),
        [b"-P", _, b"ACCEPT" | b"DROP", ..] | [b"-N", _] => true,
        [b"Chain", _, reference, ..] => reference.starts_with(b"("),
        [word, ..] => matches!(word, b"*filter" | b"*nat" | b"*mangle" | b"*raw" | b"*security") || is_policy(&words),
        [] => false,
    };
    if is_rule {
        return kind(
            "a listing of iptables: rules, which accept as well as they drop",
            None,
            "import the list that the rules are made from, such as `fail2ban-client banned` or `ipset save NAME`",
        );
    }
    if words.first() == Some(&&b"table"[..]) && first.contains(&b'{') {
        return kind("a listing of nftables", Some("nft"), "import it with `ringfence import nft`");
    }
    if starts(b"id,source,ip,reason,action") {
        return kind("CrowdSec's decisions", Some("crowdsec"), "import them with `ringfence import crowdsec`");
    }
    if starts(b"id,scope,value,reason") {
        return kind(
            "CrowdSec's alerts, not its decisions",
            None,
            "import what `cscli decisions list -o raw --limit 0` prints with `ringfence import crowdsec`",
        );
    }
    if starts(b"+--") || starts("\u{256d}\u{2500}".as_bytes()) || starts("\u{250c}\u{2500}".as_bytes()) {
        return kind("a table drawn for people", None, "have it printed as CSV or JSON: with cscli, `-o raw`");
    }
    if has(first, b"(int") && has(first, b"(string") {
        return kind(
            "a table of Kamailio (dbtext)",
            None,
            "write its addresses one a line for `ringfence import cidr`",
        );
    }
    if !may_be_dated && (is_dated(first) || is_syslog(&words)) {
        return if has(first, b"fail2ban") {
            kind(
                "a log of fail2ban, which has unbanned addresses in it, too",
                None,
                "import what `fail2ban-client banned` prints with `ringfence import fail2ban`",
            )
        } else {
            kind("a log", None, "import a list; with `--column`, a column of dated rows is read")
        };
    }
    None
}

/// `:INPUT ACCEPT [0:0]`
fn is_policy(words: &[&[u8]]) -> bool {
    matches!(words, [chain, _, counters, ..] if chain.starts_with(b":") && counters.starts_with(b"["))
}

/// `2026-11-20 13:22:46` or `2026-11-20T13:22:46`
fn is_dated(line: &[u8]) -> bool {
    let mark = |at: usize, marks: &[u8]| line.get(at).is_some_and(|byte| marks.contains(byte));
    mark(4, b"-") && mark(7, b"-") && mark(10, b" T") && mark(13, b":") && line[..4].iter().all(u8::is_ascii_digit)
}

/// `Nov 20 13:22:46`
fn is_syslog(words: &[&[u8]]) -> bool {
    const MONTHS: [&[u8]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    matches!(words, [month, day, time, ..]
        if MONTHS.contains(month) && day.iter().all(u8::is_ascii_digit) && time.iter().filter(|&&byte| byte == b':').count() == 2)
}
