//! Rows and columns of CSV lists.

use std::ops::Range;

use super::{Day, Mistake};
use crate::language::diagnostics::Code;

/// The characters accepted between fields. Spreadsheets write semicolons where the comma is the decimal point.
pub(crate) const DELIMITERS: [u8; 3] = [b',', b';', b'\t'];

/// The fields of a header row, in lower case; none if the row cannot be read.
pub(crate) fn column_names(line: &[u8], delimiter: u8) -> Option<Vec<Vec<u8>>> {
    Fields::new(line, delimiter)
        .map(|field| field.ok().map(|span| line[unquoted(line, span)].trim_ascii().to_ascii_lowercase()))
        .collect()
}

/// Puts the span of each field of a row into `spans`, without quotes and surrounding white space.
pub(crate) fn split_row(line: &[u8], delimiter: u8, spans: &mut Vec<Range<usize>>) -> Result<(), Mistake> {
    spans.clear();
    for field in Fields::new(line, delimiter) {
        spans.push(trimmed(line, unquoted(line, field?)));
    }
    Ok(())
}

/// The fields of one CSV row (RFC 4180, each record on one line): spans, quotes included.
struct Fields<'a> {
    line: &'a [u8],
    delimiter: u8,
    at: Option<usize>,
}

impl<'a> Fields<'a> {
    fn new(line: &'a [u8], delimiter: u8) -> Self {
        Self { line, delimiter, at: Some(0) }
    }
}

impl Iterator for Fields<'_> {
    type Item = Result<Range<usize>, Mistake>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.at?;
        let line = self.line;
        let mut at = start;
        if line.get(start) == Some(&b'"') {
            at += 1;
            loop {
                match line.get(at) {
                    None => {
                        self.at = None;
                        let message = "this quoted field does not end on its line";
                        return Some(Err(Mistake::new(Code::BadCsv, start..line.len(), message)
                            .help("close the quotation mark; write a quotation mark inside the field twice")));
                    }
                    Some(b'"') if line.get(at + 1) == Some(&b'"') => at += 2,
                    Some(b'"') => break at += 1,
                    Some(_) => at += 1,
                }
            }
        }
        let end = line[at..].iter().position(|&byte| byte == self.delimiter).map(|length| at + length);
        self.at = end.map(|end| end + 1);
        Some(Ok(start..end.unwrap_or(line.len())))
    }
}

fn unquoted(line: &[u8], span: Range<usize>) -> Range<usize> {
    let field = line[span.clone()].trim_ascii_end();
    if field.len() >= 2 && field.starts_with(b"\"") && field.ends_with(b"\"") {
        return span.start + 1..span.start + field.len() - 1;
    }
    span
}

fn trimmed(line: &[u8], span: Range<usize>) -> Range<usize> {
    let field = &line[span.clone()];
    let start = span.start + (field.len() - field.trim_ascii_start().len());
    start..start + field.trim_ascii().len()
}

/// The day of `2027-01-31`, alone or followed by a time.
pub(crate) fn day(text: &[u8]) -> Option<Day> {
    let text = std::str::from_utf8(text).ok()?;
    let date = text.parse::<toml::value::Datetime>().ok()?.date?;
    Some((date.year, date.month, date.day))
}
