//! Rows and columns of CSV lists (RFC 4180).

use std::ops::Range;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::{
    Day, Mistake,
    lines::{LONGEST_LINE, too_long},
};
use crate::language::diagnostics::Code;

/// The characters accepted between fields. Spreadsheets write semicolons where the comma is the decimal point.
pub(crate) const DELIMITERS: [u8; 3] = [b',', b';', b'\t'];

/// Bytes of the longest record. A quotation mark that is never closed would otherwise take the rest of the file.
const LONGEST: usize = 1 << 16;

/// The most records with an unclosed quotation mark. After each, reading begins again at the next line.
const MOST_UNCLOSED: u32 = 100;

/// The records of CSV text. A field in quotation marks may hold delimiters, line breaks, and quotation marks written twice.
///
/// Over a slice, the core of the `csv` crate needs no copy of it, and can leave comments out wherever they are: what is in them
/// is not CSV.
pub(crate) struct Records<'a> {
    content: &'a [u8],
    at: usize,
    /// The line of `at`, from 1.
    line: u32,
    /// True for a line that is blank or a comment.
    is_comment: fn(&[u8]) -> bool,
    /// Whether a line that is too long for a list is an error, and not a record.
    lines_are_bounded: bool,
    reader: Reader,
    fields: Vec<u8>,
    ends: Vec<usize>,
    unclosed: u32,
}

/// A record of CSV text.
pub(crate) struct Record<'a, 'r> {
    /// Its first line, from 1.
    pub(crate) line: u32,
    /// All of it, as written. It may have several lines.
    pub(crate) text: &'a [u8],
    fields: &'r [u8],
    ends: &'r [usize],
}

/// A record that cannot be read: its line, the line's text, and what is wrong.
type Unreadable<'a> = (u32, &'a [u8], Mistake);

impl<'a> Records<'a> {
    pub(crate) fn new(content: &'a [u8], delimiter: u8, is_comment: fn(&[u8]) -> bool) -> Self {
        let reader = ReaderBuilder::new().delimiter(delimiter).build();
        Self {
            content,
            at: 0,
            line: 1,
            is_comment,
            lines_are_bounded: false,
            reader,
            fields: vec![0; 512],
            ends: vec![0; 16],
            unclosed: 0,
        }
    }

    /// The records of a list: a line that is too long for one is an error of that line.
    pub(super) fn of_list(content: &'a [u8], delimiter: u8, is_comment: fn(&[u8]) -> bool) -> Self {
        Self { lines_are_bounded: true, ..Self::new(content, delimiter, is_comment) }
    }

    /// The next record.
    pub(crate) fn read(&mut self) -> Option<Result<Record<'a, '_>, Unreadable<'a>>> {
        self.skip_comments();
        let (start, line) = (self.at, self.line);
        if start == self.content.len() || self.unclosed == MOST_UNCLOSED {
            return None;
        }
        if self.lines_are_bounded && !self.content[start..].iter().take(LONGEST_LINE + 1).any(|&byte| byte == b'\n') {
            let first = first_line(&self.content[start..]);
            let text = first.trim_ascii_end();
            if let Some(mistake) = too_long(text) {
                self.at = start + first.len();
                self.line = line + 1;
                return Some(Err((line, text, mistake)));
            }
        }
        let end = self.content.len().min(start + LONGEST);
        let (mut at, mut written, mut columns) = (start, 0, 0);
        self.reader.reset();
        loop {
            let (result, read, wrote, ended) =
                self.reader.read_record(&self.content[at..end], &mut self.fields[written..], &mut self.ends[columns..]);
            at += read;
            written += wrote;
            columns += ended;
            match result {
                // The next call has nothing to read, which ends the record.
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.fields.resize(2 * self.fields.len(), 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len(), 0),
                ReadRecordResult::Record => break,
                ReadRecordResult::End => return None,
            }
        }
        let whole = &self.content[start..at];
        let text = whole.strip_suffix(b"\n").unwrap_or(whole);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let record = Record { line, text, fields: &self.fields[..written], ends: &self.ends[..columns] };
        // A quotation mark that is not closed takes the lines after it into its field, up to the next one.
        let is_long = text.contains(&b'\n') || at == end && end < self.content.len();
        let is_last = at == self.content.len();
        let is_odd = || text.iter().filter(|&&byte| byte == b'"').count() % 2 == 1;
        if (is_long || is_last && is_odd()) && !record.is_well_formed() {
            self.unclosed += 1;
            let first = first_line(&self.content[start..]);
            self.at = start + first.len();
            self.line = line + 1;
            let text = first.trim_ascii_end();
            let message = if self.unclosed == MOST_UNCLOSED {
                "the field in quotation marks does not end, as in many lines before: the rest of the list is not read"
            } else {
                "the field in quotation marks does not end, or text follows its end"
            };
            let quote = text.iter().position(|&byte| byte == b'"').unwrap_or_default();
            let mistake = Mistake::new(Code::BadCsv, quote..text.len(), message)
                .help("close the quotation mark; write a quotation mark inside the field twice");
            return Some(Err((line, text, mistake)));
        }
        self.at = at;
        self.line += whole.iter().filter(|&&byte| byte == b'\n').count() as u32;
        Some(Ok(record))
    }

    /// The fields of the next record, a header row, in lower case; none if there is none, or if it cannot be read.
    pub(crate) fn names(&mut self) -> Option<Vec<Vec<u8>>> {
        let record = self.read()?.ok()?;
        Some(record.iter().map(<[u8]>::to_ascii_lowercase).collect())
    }

    fn skip_comments(&mut self) {
        loop {
            let line = first_line(&self.content[self.at..]);
            if line.is_empty() || !(self.is_comment)(line.trim_ascii_end()) {
                return;
            }
            self.at += line.len();
            self.line += u32::from(line.ends_with(b"\n"));
        }
    }
}

/// The first line of a text, with its end.
fn first_line(text: &[u8]) -> &[u8] {
    text.split_inclusive(|&byte| byte == b'\n').next().unwrap_or_default()
}

impl<'r> Record<'_, 'r> {
    /// A field without surrounding white space; none if the record has fewer.
    pub(crate) fn field(&self, column: usize) -> Option<&'r [u8]> {
        self.exactly(column).map(<[u8]>::trim_ascii)
    }

    /// All fields, without surrounding white space.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'r [u8]> {
        (0..self.ends.len()).filter_map(|column| self.field(column))
    }

    /// How many fields there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Where a field is in the text, without quotation marks and surrounding white space; the whole text if that is not certain.
    pub(crate) fn span(&self, column: usize) -> Range<usize> {
        let Some((span, _)) = self.raw(column) else { return 0..self.text.len() };
        let field = &self.text[span.clone()];
        let start = span.start + (field.len() - field.trim_ascii_start().len());
        start..start + field.trim_ascii().len()
    }

    fn exactly(&self, column: usize) -> Option<&'r [u8]> {
        let start = if column == 0 { 0 } else { *self.ends.get(column - 1)? };
        self.fields.get(start..*self.ends.get(column)?)
    }

    /// Where a field is in the text, without quotation marks, and the offset after it. None if the text up to there is not as
    /// RFC 4180 has it.
    fn raw(&self, column: usize) -> Option<(Range<usize>, usize)> {
        let mut next = 0;
        let mut found = None;
        for column in 0..=column {
            let field = self.exactly(column)?;
            let (start, after) = (next, next + field.len());
            let (span, after) = if self.text.get(start) == Some(&b'"') {
                // White space after the closing quotation mark is part of what was read.
                let spaces = field.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
                let after = after + 1 + field.iter().filter(|&&byte| byte == b'"').count();
                let end = (after - spaces..=after).rev().find(|&end| self.text.get(end) == Some(&b'"'))?;
                (start + 1..end, after + 1)
            } else {
                (start..after, after)
            };
            if after > self.text.len() {
                return None;
            }
            found = Some((span, after));
            next = after + 1;
        }
        found
    }

    fn is_well_formed(&self) -> bool {
        let last = self.ends.len().checked_sub(1).and_then(|last| self.raw(last));
        last.is_some_and(|(_, after)| after == self.text.len())
    }
}

/// The day of `2027-01-31`, alone or followed by a time.
pub(crate) fn day(text: &[u8]) -> Option<Day> {
    let text = std::str::from_utf8(text).ok()?;
    let date = text.parse::<toml::value::Datetime>().ok()?.date?;
    Some((date.year, date.month, date.day))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_comment(line: &[u8]) -> bool {
        line.trim_ascii().is_empty() || line.starts_with(b"#")
    }

    /// Each record's line and fields, or its line alone if it cannot be read.
    fn read(content: &str, delimiter: u8) -> Vec<(u32, Vec<String>)> {
        let mut records = Records::new(content.as_bytes(), delimiter, is_comment);
        let mut read = Vec::new();
        while let Some(record) = records.read() {
            read.push(match record {
                Ok(record) => {
                    (record.line, record.iter().map(|field| String::from_utf8_lossy(field).into_owned()).collect())
                }
                Err((line, ..)) => (line, vec![]),
            });
        }
        read
    }

    fn row(line: u32, fields: &[&str]) -> (u32, Vec<String>) {
        (line, fields.iter().map(|&field| field.to_owned()).collect())
    }

    #[test]
    fn a_quoted_field_may_hold_line_breaks_delimiters_and_quotation_marks() {
        let content = "# it's \"a, comment\na,b\r\n\"x\r\ny\",\"1, \"\"2\"\"\"\n\n # no comment\n\"z\" ,\n";
        assert_eq!(
            read(content, b','),
            [row(2, &["a", "b"]), row(3, &["x\r\ny", "1, \"2\""]), row(6, &["# no comment"]), row(7, &["z", ""])]
        );
        assert_eq!(read("a;\"b;c\"\n", b';'), [row(1, &["a", "b;c"])]);
    }

    #[test]
    fn an_unclosed_quotation_mark_costs_its_own_line_only() {
        for (content, expected) in [
            (
                "a,b\n1,\"x\n2,y\n3,z\n",
                vec![row(1, &["a", "b"]), row(2, &[]), row(3, &["2", "y"]), row(4, &["3", "z"])],
            ),
            ("1,\"6 inch\n2,\"7 inch\n3,z\n", vec![row(1, &[]), row(2, &[]), row(3, &["3", "z"])]),
            ("1,\"x", vec![row(1, &[])]),
            ("1,\"x\" y\n2,6\" z\n", vec![row(1, &["1", "x y"]), row(2, &["2", "6\" z"])]),
        ] {
            assert_eq!(read(content, b','), expected, "{content}");
        }
        let many = "1,\"x\n".to_owned() + &"2,a\"b,\"c\n".repeat(100_000);
        assert_eq!(read(&many, b',').len() as u32, MOST_UNCLOSED);
    }

    proptest! {
        #[test]
        fn what_is_written_by_the_rfc_is_read_back(
            rows in proptest::collection::vec(proptest::collection::vec("[a\",\r\n0 ]{0,6}", 2..5), 1..6),
            quoted: bool,
        ) {
            let mut content = String::new();
            for row in &rows {
                let fields: Vec<String> = row.iter().map(|field| {
                    let must = field.contains(['"', ',', '\r', '\n']);
                    if quoted || must { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.clone() }
                }).collect();
                content += &fields.join(",");
                content += "\r\n";
            }
            let mut records = Records::new(content.as_bytes(), b',', str_is_empty);
            for row in &rows {
                let record = records.read().expect("there is a record").map_err(|(_, _, mistake)| mistake.message);
                let record = record.expect("it is well formed");
                let fields: Vec<&[u8]> = record.iter().collect();
                let expected: Vec<&[u8]> = row.iter().map(|field| field.as_bytes().trim_ascii()).collect();
                prop_assert_eq!(fields, expected);
                for (column, field) in row.iter().enumerate() {
                    let written = field.replace('"', "\"\"");
                    prop_assert_eq!(&record.text[record.span(column)], written.as_bytes().trim_ascii());
                }
            }
            prop_assert!(records.read().is_none());
        }
    }

    /// Nothing is a comment.
    fn str_is_empty(line: &[u8]) -> bool {
        line.is_empty()
    }
}
