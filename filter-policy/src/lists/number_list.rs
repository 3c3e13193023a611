//! Number lists: one number a line, or CSV with scores and expiry dates.

use std::{ops::Range, path::PathBuf, sync::Arc};

use super::{
    Day, NumberForm,
    csv::{DELIMITERS, Record, Records, day},
    lines::{is_comment, rows, too_long, without_comment, without_mark},
    number_value::{NumberValue, number_value},
    numbers::impossible,
    report::{LISTED_WARNINGS, Mistake, Reporter},
};
use crate::{
    language::diagnostics::{Code, Diagnostics, plural},
    model::NumberEntry,
    numbering::bcd,
};

/// What a number list holds.
#[derive(Debug, Default)]
pub struct Numbers {
    /// The entries that have not expired.
    pub entries: Vec<NumberEntry>,
    /// True if the list has a column `score`.
    pub scored: bool,
}

/// Reads a number list: text with one number a line, or CSV with a header row and a column `number`. The columns `score` and
/// `expires` are read too, others are ignored. `#` begins a comment; in CSV only at the start of a line. More than `most` entries
/// are an error.
pub fn numbers(
    file: &Arc<PathBuf>,
    content: &[u8],
    form: &NumberForm<'_>,
    today: Day,
    most: usize,
    diagnostics: &mut Diagnostics,
) -> Numbers {
    let mut reporter = Reporter::new(file, diagnostics);
    let mut rows = rows(content);
    let header = DELIMITERS.into_iter().find_map(|delimiter| {
        let mut records = Records::of_list(without_mark(content), delimiter, is_comment);
        Some((Header::of(&mut records)?, records))
    });
    let is_csv = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
    let mut list = Numbers { entries: Vec::with_capacity((content.len() / 12).min(most)), scored: false };
    let mut check = FormCheck::new(form, most);
    match header {
        Some((header, records)) => {
            list.scored = header.score.is_some();
            csv_rows(&header, records, form, today, &mut list.entries, &mut check, &mut reporter);
        }
        None if is_csv => {
            if let Some((line, text)) = rows.next() {
                let mistake = Mistake::new(Code::BadCsv, 0..text.len(), "the first row has no column `number`")
                    .help("begin a .csv file with a header row such as `number,comment`, or name the file .txt");
                reporter.error(line, text, mistake);
            }
        }
        None => text_rows(rows, form, &mut list.entries, &mut check, &mut reporter),
    }
    check.finish(&mut reporter);
    list
}

fn csv_rows<'a>(
    header: &Header,
    mut records: Records<'a>,
    form: &NumberForm<'_>,
    today: Day,
    entries: &mut Vec<NumberEntry>,
    check: &mut FormCheck<'a>,
    reporter: &mut Reporter<'_>,
) {
    let mut expired = 0_u64;
    let mut first_expired = None;
    while let Some(record) = records.read() {
        let record = match record {
            Ok(record) => record,
            Err((line, text, mistake)) => {
                reporter.error(line, text, mistake);
                continue;
            }
        };
        let (line, text) = (record.line, record.text);
        match header.row(&record, form, today) {
            Ok(Row::Value { value, .. }) if !check.has_room(entries, &value) => {
                reporter.too_many(line, text);
                break;
            }
            Ok(Row::Value { value, score, span }) => {
                check.entry(&NumberEntry { line, ..*value.written() }, text, span, reporter);
                entries.extend(value.entries().iter().map(|entry| NumberEntry { line, score, ..*entry }));
            }
            Ok(Row::Expired(span)) => {
                expired += 1;
                first_expired.get_or_insert((line, text, span));
            }
            Err(mistake) => reporter.error(line, text, mistake),
        }
    }
    if let Some((line, text, span)) = first_expired {
        let subject = plural(expired, "entry has", "entries have");
        let message = format!("{expired} {subject} expired in this list");
        let mistake = Mistake::new(Code::ExpiredEntries, span, message)
            .help("entries past their `expires` date are left out: remove them, or renew the date");
        reporter.warning(line, text, mistake);
    }
}

fn text_rows<'a>(
    rows: impl Iterator<Item = (u32, &'a [u8])>,
    form: &NumberForm<'_>,
    entries: &mut Vec<NumberEntry>,
    check: &mut FormCheck<'a>,
    reporter: &mut Reporter<'_>,
) {
    for (line, text) in rows {
        if let Some(mistake) = too_long(text) {
            reporter.error(line, text, mistake);
            continue;
        }
        let (start, written) = without_comment(text);
        match number_value(written, form) {
            Ok(value) if !check.has_room(entries, &value) => {
                reporter.too_many(line, text);
                break;
            }
            Ok(value) => {
                let span = start..start + written.len();
                check.entry(&NumberEntry { line, ..*value.written() }, text, span, reporter);
                entries.extend(value.entries().iter().map(|entry| NumberEntry { line, ..*entry }));
            }
            Err(mistake) => {
                let mut mistake = mistake.shifted(start);
                if mistake.help.is_some() && written.iter().any(|byte| matches!(byte, b',' | b';')) {
                    mistake.help = Some("a list with several columns needs a header row with a column `number`".into());
                }
                reporter.error(line, text, mistake);
            }
        }
    }
}

/// Detects a list of ten-digit national numbers that is read as E.164: `2125551234` would be a number in Morocco.
struct FormCheck<'a> {
    /// The most entries.
    most: usize,
    /// False if the list says that its numbers are national.
    is_on: bool,
    national: u64,
    other: u64,
    /// The first entry that looks national.
    first: Option<(u32, &'a [u8])>,
    /// Warnings about entries that look national: they are reported only if the list as a whole turns out not to be.
    deferred: Vec<(u32, &'a [u8], Mistake)>,
}

impl<'a> FormCheck<'a> {
    fn new(form: &NumberForm<'_>, most: usize) -> Self {
        let is_on = !form.national && form.plan.country_code == "1";
        Self { most, is_on, national: 0, other: 0, first: None, deferred: Vec::new() }
    }

    /// Whether a value's entries may follow those that there are.
    fn has_room(&self, entries: &[NumberEntry], value: &NumberValue) -> bool {
        entries.len() + value.entries().len() <= self.most
    }

    /// Checks the entry at `span` of a line, and reports what is wrong with it.
    fn entry(&mut self, entry: &NumberEntry, line: &'a [u8], span: Range<usize>, reporter: &mut Reporter<'_>) {
        let digit = |index| bcd::digit(entry.digits, index);
        let plus = line.get(span.start) == Some(&b'+');
        let national = self.is_on && entry.length == 10 && !plus && digit(0) >= 2 && digit(3) >= 2;
        if national {
            self.national += 1;
            self.first.get_or_insert((entry.line, line));
        } else if entry.length > 10 {
            self.other += 1;
        }
        match impossible(entry, span) {
            Some(mistake) if national && (self.deferred.len() as u64) < LISTED_WARNINGS => {
                self.deferred.push((entry.line, line, mistake));
            }
            Some(mistake) if !national => reporter.warning(entry.line, line, mistake),
            Some(_) | None => {}
        }
    }

    fn finish(self, reporter: &mut Reporter<'_>) {
        // A mixed list holds foreign numbers; one that has only ten-digit numbers is a national one.
        let Some((line, text)) = self.first.filter(|_| self.other == 0) else {
            for (line, text, mistake) in self.deferred {
                reporter.warning(line, text, mistake);
            }
            return;
        };
        let message = match self.national {
            1 => "the one full number of this list has ten digits, and is read as E.164 without its plus".to_owned(),
            count => format!(
                "all {count} full numbers of this list have ten digits, and are read as E.164 without their plus"
            ),
        };
        let mistake = Mistake::new(Code::NationalLooking, 0..text.len(), message)
            .help("if they are national numbers, set `format = \"national\"` in the set");
        reporter.warning(line, text, mistake);
    }
}

/// The columns of a CSV list.
#[derive(Debug)]
struct Header {
    number: usize,
    score: Option<usize>,
    expires: Option<usize>,
}

/// What a row holds, and where.
enum Row {
    Value { value: NumberValue, score: u32, span: Range<usize> },
    Expired(Range<usize>),
}

impl Header {
    /// The columns of a header row: one with a field `number`. None if the first record is not one.
    fn of(records: &mut Records<'_>) -> Option<Self> {
        let names = records.names()?;
        let column = |wanted: &[u8]| names.iter().position(|name| name == wanted);
        Some(Self { number: column(b"number")?, score: column(b"score"), expires: column(b"expires") })
    }

    fn row(&self, record: &Record<'_, '_>, form: &NumberForm<'_>, today: Day) -> Result<Row, Mistake> {
        let field = |column: usize| record.field(column).map(|field| (column, field));
        let Some(number) = record.field(self.number).filter(|field| !field.is_empty()) else {
            return Err(Mistake::new(Code::BadCsv, 0..record.text.len(), "this row has no number")
                .help("fill in its column `number`, or remove the row"));
        };
        if let Some((column, expires)) = self.expires.and_then(field).filter(|(_, field)| !field.is_empty()) {
            let day = day(expires).ok_or_else(|| {
                Mistake::new(Code::BadDate, record.span(column), "this is not a date").help("write it as 2027-01-31")
            })?;
            if day < today {
                return Ok(Row::Expired(record.span(column)));
            }
        }
        let span = record.span(self.number);
        let value = number_value(number, form).map_err(|mistake| {
            // (In a field with a quotation mark in it, places are not those of the text.)
            if span.len() == number.len() { mistake.shifted(span.start) } else { mistake.at(span.clone()) }
        })?;
        let mut score = 0;
        if let Some((column, digits)) = self.score.and_then(field) {
            score = std::str::from_utf8(digits)
                .ok()
                .and_then(|text| text.parse().ok())
                .filter(|score| *score <= 100)
                .ok_or_else(|| {
                let shown = String::from_utf8_lossy(digits);
                Mistake::new(Code::BadScore, record.span(column), format!("`{shown}` is not a score"))
                    .help("a whole number from 0 to 100")
            })?;
        }
        Ok(Row::Value { value, score, span })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lists::test_lists::{E164, TODAY, digits, file};

    /// The entries of a list, and the codes and lines that are reported.
    fn read(name: &str, content: &str, form: &NumberForm<'_>) -> (Vec<String>, Vec<String>) {
        let mut diagnostics = Diagnostics::default();
        let numbers = numbers(&file(name), content.as_bytes(), form, TODAY, usize::MAX, &mut diagnostics);
        let reported = diagnostics
            .iter()
            .map(|diagnostic| {
                let line = diagnostic.place.as_ref().map_or(0, |place| place.line);
                format!("{}:{line}", diagnostic.code.name())
            })
            .collect();
        (numbers.entries.iter().map(digits).collect(), reported)
    }

    #[test]
    fn a_text_list_has_comments_blank_lines_and_any_line_ending() {
        let (entries, reported) =
            read("x.txt", "\u{feff}# DNO\r\n\r\n12025550100$ # bank\r\n  1605562  \n+44 20 7946\n", &E164);
        assert_eq!(entries, ["12025550100$", "1605562", "44207946"]);
        assert!(reported.is_empty(), "{reported:?}");
    }

    #[test]
    fn a_csv_list_has_its_columns_in_any_order() {
        for content in [
            "number,comment\n12025550100$,\"bank, \"\"fraud\"\" line\"\n1605562,\n",
            "comment,number\n\"bank, fraud\",\"12025550100$\"\n,1605562\n",
            "# list\nComment; Number \nx;12025550100$\ny; 1605562\n",
            "\u{feff}number\tcomment\r\n12025550100$\tx\r\n1605562\ty\r\n",
            "number\n12025550100$\n1605562",
        ] {
            let (entries, reported) = read("x.csv", content, &E164);
            assert_eq!(entries, ["12025550100$", "1605562"], "{content}");
            assert!(reported.is_empty(), "{content}: {reported:?}");
        }
    }

    #[test]
    fn a_field_in_quotation_marks_may_hold_line_breaks() {
        let content =
            "number,comment\n12025550100$,\"bank,\nfraud \"\"line\"\"\"\n\n12025550101$,x\nx,\"a\nb\"\n\"\n2\",y\n";
        let (entries, reported) = read("x.csv", content, &E164);
        assert_eq!(entries, ["12025550100$", "12025550101$", "2"]);
        assert_eq!(reported, ["bad-number:6"]);
        // A mistake is reported at the line where it is.
        let (_, reported) = read("x.csv", "comment,number\n\"a\nb\",x\n\"a\nb\nc\",12025550100$\n", &E164);
        assert_eq!(reported, ["bad-number:3"]);
        let (entries, reported) = read("x.csv", "number,comment\n1605562,\"x\n1605563,y\n", &E164);
        assert_eq!(
            (entries.as_slice(), reported.as_slice()),
            (&["1605563".to_owned()][..], &["bad-csv:2".to_owned()][..])
        );
    }

    #[test]
    fn scores_and_expiry_dates_are_read() {
        let content =
            "number,score,expires\n12025550100$,80,\n12025550101$,0,2026-11-21\n12025550102$,100,2026-11-20\n";
        let mut diagnostics = Diagnostics::default();
        let numbers = numbers(&file("x.csv"), content.as_bytes(), &E164, TODAY, usize::MAX, &mut diagnostics);
        assert!(numbers.scored);
        let read: Vec<_> = numbers.entries.iter().map(|entry| (digits(entry), entry.score, entry.line)).collect();
        assert_eq!(read, [("12025550100$".to_owned(), 80, 2), ("12025550101$".to_owned(), 0, 3)]);
        let codes: Vec<_> = diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
        assert_eq!(codes, [Code::ExpiredEntries]);
    }

    #[test]
    fn each_entry_of_a_range_has_the_score_and_the_line_of_the_range() {
        let content = "number,score\n16055620100-16055620299,80\nurn:service:sos,20\n+1605562 0300-0301$,40\n";
        let mut diagnostics = Diagnostics::default();
        let numbers = numbers(&file("x.csv"), content.as_bytes(), &E164, TODAY, usize::MAX, &mut diagnostics);
        let read: Vec<_> = numbers.entries.iter().map(|entry| (digits(entry), entry.score, entry.line)).collect();
        let expected = [
            ("160556201", 80, 2),
            ("160556202", 80, 2),
            ("urn:service:sos", 20, 3),
            ("16055620300$", 40, 4),
            ("16055620301$", 40, 4),
        ];
        assert_eq!(read, expected.map(|(digits, score, line)| (digits.to_owned(), score, line)));
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
    }

    #[test]
    fn reading_continues_after_a_mistake_and_reports_its_line() {
        let (entries, reported) = read("x.csv", "number\n12025550100$\nx\n\n12025550101$\n\"1\n", &E164);
        assert_eq!(entries, ["12025550100$", "12025550101$"]);
        assert_eq!(reported, ["bad-number:3", "bad-csv:6"]);
    }

    #[test]
    fn ten_digit_numbers_in_a_mixed_list_are_foreign() {
        let reported = |content| read("x.txt", content, &E164).1;
        assert_eq!(reported("2025550100$\n3035550100$\n"), ["national-looking:1"]);
        assert_eq!(reported("3035550100$\n442079460123$\n"), ["impossible-number:1"]);
        assert!(reported("+2025550100\n").is_empty());
    }
}
