//! Numbering tables: what is known about ranges of numbers.

use std::{collections::HashMap, ops::Range, path::PathBuf, sync::Arc};

use filter_core::{layout::NumberFormat, limits::MAX_DIGITS};

use super::{
    csv::{DELIMITERS, Record, Records},
    lines::{is_comment, rows, without_mark},
    report::{Mistake, Reporter},
};
use crate::{
    language::diagnostics::{Code, Diagnostics},
    model::NumberRange,
    numbering,
};

/// Reads a numbering table: CSV with a header row and a column `prefix` (E.164 digits). The columns `country` (ISO 3166-1),
/// `region` (ISO 3166-2), `spid` or `ocn`, and `assigned` (`yes` or `no`) are facts about the numbers with that prefix.
pub(crate) fn ranges(
    file: &Arc<PathBuf>,
    content: &[u8],
    most: usize,
    diagnostics: &mut Diagnostics,
) -> Vec<NumberRange> {
    let mut reporter = Reporter::new(file, diagnostics);
    let Some((line, header)) = rows(content).next() else { return Vec::new() };
    let found = DELIMITERS.into_iter().find_map(|delimiter| {
        let mut records = Records::of_list(without_mark(content), delimiter, is_comment);
        Some((Columns::of(&mut records)?, records))
    });
    let Some((columns, mut records)) = found else {
        let mistake = Mistake::new(Code::BadCsv, 0..header.len(), "the first row has no column `prefix`")
            .help("a numbering table begins with a header row such as `prefix,country,region,ocn,assigned`");
        reporter.error(line, header, mistake);
        return Vec::new();
    };
    let mut names = HashMap::new();
    let mut ranges = Vec::new();
    while let Some(record) = records.read() {
        match record {
            Ok(record) if ranges.len() >= most => {
                reporter.too_many(record.line, record.text);
                break;
            }
            Ok(record) => match columns.range(&record, &mut names) {
                Ok(range) => ranges.push(range),
                Err(mistake) => reporter.error(record.line, record.text, mistake),
            },
            Err((line, text, mistake)) => reporter.error(line, text, mistake),
        }
    }
    ranges
}

struct Columns {
    prefix: usize,
    country: Option<usize>,
    region: Option<usize>,
    spid: Option<usize>,
    assigned: Option<usize>,
}

impl Columns {
    /// The columns of a header row; none if the first record is not one.
    fn of(records: &mut Records<'_>) -> Option<Self> {
        let names = records.names()?;
        let column = |wanted: &[u8]| names.iter().position(|name| name == wanted);
        Some(Self {
            prefix: column(b"prefix")?,
            country: column(b"country"),
            region: column(b"region"),
            spid: column(b"spid").or_else(|| column(b"ocn")),
            assigned: column(b"assigned"),
        })
    }

    /// What a row says. `names` holds the countries, regions and holders so far, since each occurs in many rows.
    fn range(&self, record: &Record<'_, '_>, names: &mut HashMap<Vec<u8>, Arc<str>>) -> Result<NumberRange, Mistake> {
        let field = |column: Option<usize>| {
            let column = column?;
            Some((record.span(column), record.field(column).filter(|field| !field.is_empty())?))
        };
        let mut name = |column: Option<usize>, is_valid: fn(&str) -> bool, what: &str| {
            let Some((span, text)) = field(column) else { return Ok(None) };
            let upper = text.to_ascii_uppercase();
            if let Some(known) = names.get(&upper) {
                return Ok(Some(Arc::clone(known)));
            }
            match std::str::from_utf8(&upper) {
                Ok(name) if is_valid(name) => {
                    let name: Arc<str> = name.into();
                    names.insert(upper, Arc::clone(&name));
                    Ok(Some(name))
                }
                _ => {
                    let shown = String::from_utf8_lossy(text);
                    Err(Mistake::new(Code::BadCsv, span, format!("`{shown}` is not {what}")))
                }
            }
        };
        let Some((span, text)) = field(Some(self.prefix)) else {
            return Err(Mistake::new(Code::BadCsv, 0..record.text.len(), "this row has no prefix"));
        };
        Ok(NumberRange {
            prefix: prefix(text, span)?,
            format: field(self.assigned).map(|(span, text)| assigned(text, span)).transpose()?,
            country: name(self.country, numbering::is_country, "a country (ISO 3166-1)")?,
            region: name(self.region, numbering::is_region, "a region (ISO 3166-2)")?,
            spid: name(self.spid, is_spid, "an OCN or SPID")?,
            digits: None,
        })
    }
}

fn prefix(text: &[u8], span: Range<usize>) -> Result<String, Mistake> {
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    let is_plain = !digits.is_empty() && digits.len() <= MAX_DIGITS as usize && digits.iter().all(u8::is_ascii_digit);
    if !is_plain {
        let shown = String::from_utf8_lossy(text);
        return Err(Mistake::new(Code::BadNumber, span, format!("`{shown}` is not a number prefix"))
            .help(format!("1 to {MAX_DIGITS} digits, country code first")));
    }
    Ok(digits.iter().map(|&digit| char::from(digit)).collect())
}

/// The format that column `assigned` gives the numbers.
fn assigned(text: &[u8], span: Range<usize>) -> Result<NumberFormat, Mistake> {
    match text.to_ascii_lowercase().as_slice() {
        b"yes" | b"true" | b"1" => Ok(NumberFormat::Valid),
        b"no" | b"false" | b"0" => Ok(NumberFormat::UnassignedBlock),
        other => {
            let shown = String::from_utf8_lossy(other);
            Err(Mistake::new(Code::BadCsv, span, format!("`assigned` cannot be `{shown}`")).help("`yes` or `no`"))
        }
    }
}

/// True if the text has the form of an OCN or SPID: four capital letters and digits.
#[must_use]
pub(crate) fn is_spid(text: &str) -> bool {
    text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lists::test_lists::file;

    #[test]
    fn a_numbering_table_is_read() {
        let content = "prefix,country,region,ocn,assigned\n1605562,US,us-sd,6529,yes\n1605563,,,,no\n1605x,US,,,\n1605564,UK,,,\n";
        let mut diagnostics = Diagnostics::default();
        let ranges = ranges(&file("x.csv"), content.as_bytes(), usize::MAX, &mut diagnostics);
        let read: Vec<_> = ranges
            .iter()
            .map(|range| (range.prefix.as_str(), range.region.as_deref(), range.spid.as_deref(), range.format))
            .collect();
        assert_eq!(
            read,
            [
                ("1605562", Some("US-SD"), Some("6529"), Some(NumberFormat::Valid)),
                ("1605563", None, None, Some(NumberFormat::UnassignedBlock)),
            ]
        );
        let codes: Vec<_> = diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
        assert_eq!(codes, [Code::BadNumber, Code::BadCsv]);
    }
}
