//! Converts lists and numbering tables from the formats in which they are published to those that a policy reads.
//!
//! The same input gives the same output, byte for byte: sorted, without duplicates and without a date, so that a pull request
//! shows what has changed and nothing else. A line that cannot be read is reported and left out. An input that is something
//! else altogether (a login page, an archive, half a file) is an error, so that it never replaces a list.

mod addresses;
mod apiban;
mod bans;
mod crowdsec;
mod fail2ban;
mod input;
mod ipset;
mod kinds;
mod nanpa;
mod nft;
mod numbers;
mod sets;
mod spamhaus;

use crate::language::printable;

pub use self::{
    addresses::ColumnOptions,
    bans::{BanFile, Lasts, ListedBan, bans},
    input::MOST_BYTES,
    numbers::{NumberOptions, ScoreOptions},
    sets::SetOptions,
};

/// A format that lists are published in.
#[derive(Clone, Debug)]
pub enum Format {
    /// Responses of APIBAN's API: JSON objects with an array `ipaddress`.
    Apiban,
    /// Addresses and CIDRs, one per line or in a column.
    Cidr(ColumnOptions),
    /// The output of `cscli decisions list -o raw` or `-o json`.
    Crowdsec,
    /// The output of `fail2ban-client banned`, `get JAIL banip` or `status JAIL`.
    Fail2ban,
    /// The output of `ipset save` or `ipset list`.
    Ipset(SetOptions),
    /// Central office codes as reported by NANPA (tab-separated) or by the Canadian administrator (CSV).
    Nanpa,
    /// The output of `nft list set` or `nft list ruleset`, also with `-j`.
    Nft(SetOptions),
    /// Numbers, one per line or in a column.
    Numbers(NumberOptions),
    /// Numbers with scores, in two columns.
    Scores(NumberOptions, ScoreOptions),
    /// The Spamhaus DROP lists, as text or as JSON lines.
    SpamhausDrop,
}

impl Format {
    /// The name of its subcommand.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Apiban => "apiban",
            Self::Cidr(_) => "cidr",
            Self::Crowdsec => "crowdsec",
            Self::Fail2ban => "fail2ban",
            Self::Ipset(_) => "ipset",
            Self::Nanpa => "nanpa",
            Self::Nft(_) => "nft",
            Self::Numbers(_) => "numbers",
            Self::Scores(..) => "scores",
            Self::SpamhausDrop => "spamhaus-drop",
        }
    }
}

/// Why an input is rejected as a whole.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ImportError {
    /// What is wrong with it.
    message: String,
    /// How to fix it.
    help: Option<String>,
}

impl ImportError {
    fn new(message: impl Into<String>) -> Self {
        // The message may quote the input, which is untrusted.
        Self { message: printable::escaped(&message.into()), help: None }
    }

    fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// How to fix it, if known.
    #[must_use]
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

/// An entry that is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line of the input, from 1.
    pub line: u32,
    /// The text of the entry, possibly truncated.
    pub text: String,
    /// What is to be said of it.
    pub reason: String,
}

/// Entries that are reported. All are counted, only the first ones are listed.
#[derive(Debug, Default)]
pub struct Problems {
    /// How many there are.
    pub count: u64,
    /// The first of them, at most 100, in the order of the input.
    pub listed: Vec<Problem>,
}

impl Problems {
    /// The most entries that are listed.
    const LISTED: usize = 100;

    fn add(&mut self, line: u32, text: &[u8], reason: impl Into<String>) {
        const SHOWN: usize = 80;
        self.count += 1;
        if self.listed.len() < Self::LISTED {
            let text = String::from_utf8_lossy(text.trim_ascii()).chars().take(SHOWN).collect();
            self.listed.push(Problem { line, text, reason: reason.into() });
        }
    }
}

/// The result of an import.
#[derive(Debug, Default)]
pub struct Imported {
    /// Content of the list file.
    pub content: String,
    /// Entries in it.
    pub entries: u64,
    /// Entries left out because others say the same, or more.
    pub duplicates: u64,
    /// Numbers left out because fewer rows than the least were about them.
    pub rare: u64,
    /// Entries that could not be read.
    pub problems: Problems,
    /// Entries that were read, but mean something else than it may seem, or were left out on purpose.
    pub notes: Problems,
    /// True if an empty list is plausible: at the moment, nothing is banned.
    may_be_empty: bool,
}

/// Converts an input to the content of a list file. At most `max_errors` entries may be unreadable.
///
/// # Errors
/// The input is not of this format, has no entries, or has too many errors.
pub fn import(format: &Format, content: &[u8], max_errors: u64) -> Result<Imported, ImportError> {
    let content = input::accept(content)?;
    kinds::check(format, content)?;
    let imported = match format {
        Format::Apiban => apiban::import(content)?,
        Format::Cidr(options) => addresses::import(content, options)?,
        Format::Crowdsec => crowdsec::import(content)?,
        Format::Fail2ban => fail2ban::import(content)?,
        Format::Ipset(options) => ipset::import(content, options)?,
        Format::Nft(options) => nft::import(content, options)?,
        Format::Nanpa => nanpa::import(content)?,
        Format::Numbers(options) => numbers::import(content, options)?,
        Format::Scores(options, scores) => numbers::import_scores(content, options, scores)?,
        Format::SpamhausDrop => spamhaus::import(content)?,
    };
    let problems = &imported.problems;
    let first = problems.listed.first().map(|first| format!("line {}: {}", first.line, first.reason));
    if imported.entries == 0 && !imported.may_be_empty {
        return Err(match first {
            None if imported.rare > 0 => ImportError::new(format!(
                "none of the {} numbers in the input has as many rows as `--min-count` asks for",
                imported.rare
            ))
            .with_help("check that the input is complete, or ask for fewer"),
            None if imported.notes.count > 0 => {
                let first = imported.notes.listed.first();
                let (line, reason) = first.map_or((0, ""), |first| (first.line, &first.reason));
                ImportError::new(format!("nothing in the input is for the list; line {line}: {reason}"))
            }
            None => ImportError::new("the input has no entries, only blank lines and comments"),
            Some(first) => ImportError::new(format!("nothing in the input could be read; {first}")).with_help(format!(
                "is this input in the format `{}`? `ringfence import --help` lists the other formats",
                format.name()
            )),
        });
    }
    if problems.count > max_errors {
        let message = format!(
            "{} entries could not be read, more than the {max_errors} allowed; {}",
            problems.count,
            first.unwrap_or_default()
        );
        return Err(ImportError::new(message)
            .with_help("check that the input is complete and in this format; `--max-errors` allows more"));
    }
    Ok(imported)
}

/// The comment at the start of a list file.
fn heading(format: &str, what: &str) -> String {
    format!("# Made by `ringfence import {format}`: import again instead of editing it. {what}\n")
}

/// The start of every [`heading`], by which an input is recognized as our own output.
const HEADING: &[u8] = b"# Made by `ringfence import ";

#[cfg(test)]
mod tests;
