//! Address lists: the output that all address formats share, and the plainest input format, `cidr`.

use std::{collections::BTreeSet, fmt::Write as _, net::IpAddr};

use ipnet::IpNet;

use super::{
    ImportError, Imported, Problems, heading,
    input::{is_json, split_comment},
};
use crate::lists;

/// The addresses read so far.
#[derive(Default)]
pub(super) struct Addresses {
    entries: Vec<(IpAddr, u8, Option<String>)>,
    pub problems: Problems,
}

impl Addresses {
    /// Adds an address or CIDR with its comment, or reports it as a problem.
    pub(super) fn add(&mut self, line: u32, text: &[u8], comment: Option<String>) {
        match lists::address(text) {
            Ok(entry) if entry.prefix == 0 => {
                self.problems.add(line, text, "this is every address, which no list can mean");
            }
            Ok(entry) => self.entries.push((entry.address, entry.prefix, comment)),
            Err(mistake) => {
                let help = mistake.help.map(|help| format!(" ({help})")).unwrap_or_default();
                self.problems.add(line, text, format!("{}{help}", mistake.message));
            }
        }
    }

    /// Writes the list file: sorted, without entries that others cover.
    pub(super) fn finish(mut self, format: &str, may_be_empty: bool) -> Imported {
        // In this order, a network comes directly before everything that it covers.
        self.entries.sort_by_key(|(address, prefix, _)| (*address, *prefix));
        let read = self.entries.len();
        let mut kept: Vec<(IpAddr, u8, BTreeSet<String>)> = Vec::with_capacity(read);
        for (address, prefix, comment) in self.entries {
            match kept.last_mut() {
                Some((last, width, comments)) if (*last, *width) == (address, prefix) => comments.extend(comment),
                Some((last, width, _)) if IpNet::new_assert(*last, *width).contains(&address) => {}
                _ => kept.push((address, prefix, comment.into_iter().collect())),
            }
        }
        let mut content = heading(format, "One address or CIDR a line.");
        for (address, prefix, comments) in &kept {
            let _ = write!(content, "{address}");
            if *prefix < if address.is_ipv4() { 32 } else { 128 } {
                let _ = write!(content, "/{prefix}");
            }
            if !comments.is_empty() {
                let _ = write!(content, " # {}", comments.iter().map(String::as_str).collect::<Vec<_>>().join(", "));
            }
            content.push('\n');
        }
        let entries = kept.len() as u64;
        Imported { content, entries, duplicates: read as u64 - entries, problems: self.problems, may_be_empty }
    }
}

/// Reads addresses and CIDRs, one per line. Text after `#` or `;` is a comment, which is kept.
pub(super) fn import(content: &[u8]) -> Result<Imported, ImportError> {
    if is_json(content) {
        return Err(ImportError::new("the input is JSON, not a list of addresses").with_help(
            "use the format `apiban` or `spamhaus-drop` for JSON, and `fail2ban` for the output of fail2ban",
        ));
    }
    let mut addresses = Addresses::default();
    for (number, line) in lists::lines(content) {
        let (text, comment) = split_comment(line, b"#;");
        if !text.is_empty() {
            addresses.add(number, text, comment);
        }
    }
    Ok(addresses.finish("cidr", false))
}
