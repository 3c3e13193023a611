//! Lists and numbering tables, from the forms that they are published in to the forms that a policy reads.
//!
//! The same input gives the same output, byte for byte: sorted, without duplicates, without a date, so that a pull request
//! shows what has changed and nothing else. A line that cannot be read is noted and left out. An input that is something
//! else altogether (a log-in page, an archive, half a file) is an error, so that it never takes the place of a list.

mod addresses;
mod apiban;
mod fail2ban;
mod input;
mod nanpa;
mod numbers;
mod spamhaus;

use crate::language::printable;

pub use self::{
    input::MOST_BYTES,
    numbers::{NumberOptions, ScoreOptions},
};

/// A form that lists are published in.
#[derive(Clone, Debug)]
pub enum Format {
    /// The answers of APIBAN's API: JSON objects with an array `ipaddress`.
    Apiban,
    /// Addresses and CIDRs, one a line.
    Cidr,
    /// What `fail2ban-client banned`, `get JAIL banip` and `status JAIL` print.
    Fail2ban,
    /// Central office codes as NANPA reports them (tab-separated), or the Canadian administrator (CSV).
    Nanpa,
    /// Numbers, one a line or in a column.
    Numbers(NumberOptions),
    /// Numbers with scores, in two columns.
    Scores(NumberOptions, ScoreOptions),
    /// The Spamhaus DROP lists, as text or as JSON lines.
    SpamhausDrop,
}

impl Format {
    /// Its name on the command line.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Apiban => "apiban",
            Self::Cidr => "cidr",
            Self::Fail2ban => "fail2ban",
            Self::Nanpa => "nanpa",
            Self::Numbers(_) => "numbers",
            Self::Scores(..) => "scores",
            Self::SpamhausDrop => "spamhaus-drop",
        }
    }
}

/// Why an input is not imported at all.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ImportError {
    /// What is wrong with it.
    message: String,
    /// The way out.
    help: Option<String>,
}

impl ImportError {
    fn new(message: impl Into<String>) -> Self {
        // It may quote the input, which anybody may have written.
        Self { message: printable::escaped(&message.into()), help: None }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The way out, if one is known.
    #[must_use]
    pub fn way_out(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

/// An entry that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line of the input, from 1.
    pub line: u32,
    /// What stands there, or the beginning of it.
    pub text: String,
    /// Why it could not be read.
    pub reason: String,
}

/// What could not be read: counted all, listed as far as anybody would read on.
#[derive(Debug, Default)]
pub struct Problems {
    /// How many there are.
    pub count: u64,
    /// The first of them.
    pub listed: Vec<Problem>,
}

impl Problems {
    /// Entries that are listed.
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

/// What came of an input.
#[derive(Debug)]
pub struct Imported {
    /// The list file.
    pub content: String,
    /// Entries in it.
    pub entries: u64,
    /// Entries left out since others say the same, or more.
    pub duplicates: u64,
    /// What could not be read.
    pub problems: Problems,
    /// True if there may be nothing in it: nobody is banned at the moment.
    may_be_empty: bool,
}

/// Reads an input of a format into the content of a list file. At most `max_errors` entries may be unreadable.
///
/// # Errors
/// The input is none of this format, holds nothing, or has too many errors.
pub fn import(format: &Format, content: &[u8], max_errors: u64) -> Result<Imported, ImportError> {
    let content = input::accept(content)?;
    let imported = match format {
        Format::Apiban => apiban::import(content)?,
        Format::Cidr => addresses::import(content)?,
        Format::Fail2ban => fail2ban::import(content)?,
        Format::Nanpa => nanpa::import(content)?,
        Format::Numbers(options) => numbers::import(content, options)?,
        Format::Scores(options, scores) => numbers::import_scores(content, options, scores)?,
        Format::SpamhausDrop => spamhaus::import(content)?,
    };
    let problems = &imported.problems;
    let first = problems.listed.first().map(|first| format!("line {}: {}", first.line, first.reason));
    if imported.entries == 0 && !imported.may_be_empty {
        return Err(match first {
            None => ImportError::new("the input has no entries, only blank lines and comments"),
            Some(first) => ImportError::new(format!("nothing in the input could be read; {first}"))
                .help(format!("is this the format `{}`? `ringfence import --help` lists the others", format.name())),
        });
    }
    if problems.count > max_errors {
        let message = format!(
            "{} entries could not be read, more than the {max_errors} that are allowed; {}",
            problems.count,
            first.unwrap_or_default()
        );
        return Err(ImportError::new(message)
            .help("see whether the input is complete and of this format; `--max-errors` allows more"));
    }
    Ok(imported)
}

/// The comment that a list file begins with.
fn heading(format: &str, what: &str) -> String {
    format!("# Made by `ringfence import {format}`: import anew instead of editing it. {what}\n")
}

/// How [`heading`] begins.
const HEADING: &[u8] = b"# Made by `ringfence import ";

#[cfg(test)]
mod tests;
