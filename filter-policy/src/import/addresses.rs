//! Address lists: the output that all address formats share, and the plainest input format, `cidr`.

use std::{collections::BTreeSet, fmt::Write as _, net::IpAddr};

use ipnet::{IpNet, IpSubnets, Ipv4Subnets, Ipv6Subnets};

use super::{
    ImportError, Imported, Problems,
    bans::{BanFile, Lasts, ListedBan},
    heading,
    input::{column_key, is_json, split_comment},
};
use crate::lists::{self, Record, Records};

/// Where the addresses of a list are.
#[derive(Clone, Debug, Default)]
pub struct ColumnOptions {
    /// The column with the addresses: its name, or its number from 1.
    pub column: Option<String>,
    /// The character between columns.
    pub separator: Option<u8>,
}

/// The addresses read so far.
#[derive(Default)]
pub(super) struct Addresses {
    entries: Vec<(IpNet, Option<String>)>,
    /// The entries as they are written and in their order, if they are to be bans.
    bans: Option<Vec<ListedBan>>,
    /// Networks that are not listed, although wider entries have them in them.
    exceptions: Vec<IpNet>,
    pub problems: Problems,
    pub notes: Problems,
}

impl Addresses {
    /// Addresses that are to be bans, not a list.
    pub(super) fn of_bans() -> Self {
        Self { bans: Some(Vec::new()), ..Self::default() }
    }

    /// Adds an address or CIDR with its comment, or reports it as a problem.
    pub(super) fn add(&mut self, line: u32, text: &[u8], comment: Option<String>) {
        self.add_for(line, text, comment, Lasts::Unsaid);
    }

    /// As [`add`](Self::add), of a ban that lasts for a time.
    pub(super) fn add_for(&mut self, line: u32, text: &[u8], comment: Option<String>, lasts: Lasts) {
        let Some(network) = self.network(line, text) else { return };
        match &mut self.bans {
            Some(bans) => {
                let source = String::from_utf8_lossy(text.trim_ascii()).into_owned();
                bans.push(ListedBan { line, source, comment, lasts });
            }
            None => self.entries.push((network, comment)),
        }
    }

    /// What was read of bans.
    pub(super) fn into_bans(self) -> BanFile {
        BanFile { bans: self.bans.unwrap_or_default(), problems: self.problems, notes: self.notes }
    }

    /// Adds all addresses from one to another, or reports them as a problem.
    pub(super) fn add_range(&mut self, line: u32, first: &[u8], last: &[u8], comment: Option<&str>) {
        let (Some(from), Some(to)) = (self.network(line, first), self.network(line, last)) else { return };
        let subnets = match (from.addr(), to.addr()) {
            (IpAddr::V4(from), IpAddr::V4(to)) if from <= to => IpSubnets::V4(Ipv4Subnets::new(from, to, 0)),
            (IpAddr::V6(from), IpAddr::V6(to)) if from <= to => IpSubnets::V6(Ipv6Subnets::new(from, to, 0)),
            _ => return self.problems.add(line, first, "the range ends before it begins"),
        };
        let subnets: Vec<IpNet> = subnets.collect();
        if subnets.iter().any(|network| network.prefix_len() == 0) {
            return self.problems.add(line, first, EVERY_ADDRESS);
        }
        self.entries.extend(subnets.into_iter().map(|network| (network, comment.map(ToOwned::to_owned))));
    }

    /// Leaves an address or CIDR out of all wider entries.
    pub(super) fn except(&mut self, line: u32, text: &[u8]) {
        if let Some(network) = self.network(line, text) {
            self.notes.add(
                line,
                text,
                format!("left out: {network} is an exception (`nomatch`), also from wider entries"),
            );
            self.exceptions.push(network);
        }
    }

    fn network(&mut self, line: u32, text: &[u8]) -> Option<IpNet> {
        match lists::address(text) {
            Ok(entry) if entry.prefix == 0 => self.problems.add(line, text, EVERY_ADDRESS),
            Ok(entry) => return Some(IpNet::new_assert(entry.address, entry.prefix)),
            Err(mistake) => {
                let help = mistake.help.map(|help| format!(" ({help})")).unwrap_or_default();
                self.problems.add(line, text, format!("{}{help}", mistake.message));
            }
        }
        None
    }

    /// Writes the list file: sorted, without entries that others cover.
    pub(super) fn finish(mut self, format: &str, may_be_empty: bool) -> Imported {
        let read = self.entries.len() as u64;
        // An exception counts in wider entries, and is none to those inside it: the most specific entry holds.
        if !self.exceptions.is_empty() {
            let exceptions = &self.exceptions;
            let split = self.entries.into_iter().flat_map(|(network, comment)| {
                let inside =
                    exceptions.iter().filter(|exception| **exception != network && network.contains(*exception));
                let rest = inside.fold(vec![network], |rest, exception| {
                    rest.into_iter().flat_map(|part| without(part, *exception)).collect()
                });
                rest.into_iter().map(move |part| (part, comment.clone()))
            });
            self.entries = split.collect();
        }
        // In this order, a network comes directly before everything that it covers.
        self.entries.sort_by_key(|(network, _)| (network.addr(), network.prefix_len()));
        let mut kept: Vec<(IpNet, BTreeSet<String>)> = Vec::with_capacity(self.entries.len());
        for (network, comment) in self.entries {
            match kept.last_mut() {
                Some((last, comments)) if *last == network => comments.extend(comment),
                Some((last, _)) if last.contains(&network) => {}
                _ => kept.push((network, comment.into_iter().collect())),
            }
        }
        let mut content = heading(format, "One address or CIDR a line.");
        for (network, comments) in &kept {
            if network.prefix_len() < network.max_prefix_len() {
                let _ = write!(content, "{network}");
            } else {
                let _ = write!(content, "{}", network.addr());
            }
            if !comments.is_empty() {
                let _ = write!(content, " # {}", comments.iter().map(String::as_str).collect::<Vec<_>>().join(", "));
            }
            content.push('\n');
        }
        let entries = kept.len() as u64;
        let duplicates = read.saturating_sub(entries);
        let Self { problems, notes, .. } = self;
        Imported { content, entries, duplicates, problems, notes, may_be_empty, ..Imported::default() }
    }
}

const EVERY_ADDRESS: &str = "this is every address, which no list can mean";

/// A network without what an exception takes from it: the other half at each step from the one to the other.
fn without(mut network: IpNet, exception: IpNet) -> Vec<IpNet> {
    if exception.contains(&network) {
        return Vec::new();
    }
    if !network.contains(&exception) {
        return vec![network];
    }
    let mut rest = Vec::new();
    while network != exception
        && let Ok(halves) = network.subnets(network.prefix_len() + 1)
    {
        for half in halves {
            if half.contains(&exception) {
                network = half;
            } else {
                rest.push(half);
            }
        }
    }
    rest
}

/// Reads addresses and CIDRs, one per line or in a column. Text after `#` or `;` is a comment, which is kept.
pub(super) fn import(content: &[u8], options: &ColumnOptions) -> Result<Imported, ImportError> {
    if is_json(content) {
        return Err(ImportError::new("the input is JSON, not a list of addresses").with_help(
            "use the format `apiban`, `crowdsec`, `nft` or `spamhaus-drop` for JSON, and `fail2ban` for the output of fail2ban",
        ));
    }
    let mut addresses = Addresses::default();
    if let Some(separator) = separator(content, options) {
        columns(content, separator, options.column.as_deref(), &mut addresses)?;
        return Ok(addresses.finish("cidr", false));
    }
    for (number, line) in lists::lines(content) {
        let (text, comment) = split_comment(line, b"#;");
        if !text.is_empty() {
            addresses.add(number, text, comment);
        }
    }
    Ok(addresses.finish("cidr", false))
}

/// The character between columns, if there are any: what the options say, or the bar of `64496 | EXAMPLE | 192.0.2.1`.
fn separator(content: &[u8], options: &ColumnOptions) -> Option<u8> {
    let first = lists::lines(content).map(|(_, line)| line).find(|line| !is_comment(line)).unwrap_or_default();
    let has = |separator: &u8| first.contains(separator);
    options.separator.or_else(|| match &options.column {
        None => Some(b'|').filter(has),
        Some(_) => Some([b'|', b'\t', b';', b','].into_iter().find(has).unwrap_or(b',')),
    })
}

fn is_comment(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    line.is_empty() || line.starts_with(b"#") || line.starts_with(b"//")
}

/// Usual names of the column with the addresses: lower case, letters and digits only.
const ADDRESS_COLUMNS: [&str; 13] = [
    "ip",
    "ipaddr",
    "ipaddress",
    "address",
    "addr",
    "cidr",
    "network",
    "prefix",
    "ipprefix",
    "sourceip",
    "srcip",
    "source",
    "ipcidr",
];

/// Reads the column of addresses.
fn columns(content: &[u8], separator: u8, wanted: Option<&str>, addresses: &mut Addresses) -> Result<(), ImportError> {
    let is_address = |field: &[u8]| lists::address(field).is_ok();
    // The names are in the last comment before the rows, or in the first row.
    let is_blank = |line: &[u8]| line.trim_ascii().is_empty();
    let comment = lists::lines(content)
        .map(|(_, line)| line)
        .take_while(|line| is_comment(line))
        .filter(|line| line.contains(&separator) && !is_blank(line))
        .last()
        .map(|line| line.trim_ascii().trim_ascii_start());
    let mut names = comment.and_then(|line| {
        let line = &line[line.iter().take_while(|byte| matches!(byte, b'#' | b'/')).count()..];
        Records::new(line, separator, |line| line.trim_ascii().is_empty()).names()
    });
    let mut records = Records::new(content, separator, is_comment);
    let mut first = Records::new(content, separator, is_comment);
    if names.is_none()
        && let Some(Ok(record)) = first.read()
        && !record.iter().any(is_address)
    {
        names = records.names();
    }
    let keys: Vec<String> = names.iter().flatten().map(|name| column_key(name)).collect();
    let column = match wanted {
        None => ADDRESS_COLUMNS.iter().find_map(|usual| keys.iter().position(|key| key == usual)),
        Some(wanted) => {
            let by_number = || wanted.parse::<usize>().ok()?.checked_sub(1);
            let column = keys.iter().position(|key| *key == column_key(wanted.as_bytes())).or_else(by_number);
            if column.is_none() {
                let known = names.iter().flatten().map(|name| format!("`{}`", String::from_utf8_lossy(name)));
                let known = known.collect::<Vec<_>>().join(", ");
                return Err(ImportError::new(format!("no column `{wanted}`: the columns are {known}"))
                    .with_help("name the column as its header does, or give its number from 1"));
            }
            column
        }
    };
    while let Some(record) = records.read() {
        match record {
            Ok(record) => match address_in(&record, column, wanted.is_some(), keys.len()) {
                Ok(field) => addresses.add(record.line, field, None),
                Err(reason) => addresses.problems.add(record.line, record.text, reason),
            },
            Err((line, text, mistake)) => addresses.problems.add(line, text, mistake.message),
        }
    }
    Ok(())
}

/// The field of a row that holds the address.
fn address_in<'r>(
    record: &Record<'_, 'r>,
    column: Option<usize>,
    is_wanted: bool,
    columns: usize,
) -> Result<&'r [u8], String> {
    // A name with a separator in it moves all columns after it.
    let is_whole = columns == 0 || record.len() == columns;
    if let Some(column) = column.filter(|_| is_whole) {
        return record
            .field(column)
            .filter(|field| !field.is_empty())
            .ok_or_else(|| "this row has no address".to_owned());
    }
    if is_wanted {
        return Err(format!("{} columns, but the header has {columns}", record.len()));
    }
    let mut found = record.iter().filter(|field| lists::address(field).is_ok());
    match (found.next(), found.next()) {
        (Some(field), None) => Ok(field),
        (Some(_), Some(_)) => Err("this row has several addresses: name the column with `--column`".to_owned()),
        (None, _) => Err("no column of this row is an IP address or CIDR".to_owned()),
    }
}
