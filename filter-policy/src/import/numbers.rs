//! Lists of telephone numbers: Do-Not-Originate lists, one number a line or in a column of a CSV file, and reputation lists
//! with a score for each number.
//!
//! The output is E.164 with its plus, so that reading it needs no `format`, and with a `$` after each complete number.

use std::{fmt::Write as _, ops::Range};

use super::{
    HEADING, ImportError, Imported, Problems, heading,
    input::{column_key, is_json},
};
use crate::{
    lists::{self, Day, NumberForm},
    model::{NumberEntry, NumberingPlan},
    numbering::{self, bcd},
};

/// How the numbers of an input are written.
#[derive(Clone, Debug)]
pub struct NumberOptions {
    /// Calling code of the numbers without `+`, as digits.
    pub country_code: String,
    /// National prefix, as digits; may be empty.
    pub national_prefix: String,
    /// True if numbers without `+` are E.164 too.
    pub e164: bool,
    /// Name of the column with the numbers, if it is not one of the usual ones.
    pub column: Option<String>,
}

impl Default for NumberOptions {
    fn default() -> Self {
        Self { country_code: "1".to_owned(), national_prefix: String::new(), e164: false, column: None }
    }
}

impl NumberOptions {
    /// The numbering plan by which the engine would read these numbers.
    fn plan(&self) -> NumberingPlan {
        let international = if self.country_code == "1" { "011" } else { "00" };
        NumberingPlan {
            country_code: self.country_code.clone(),
            international_prefixes: vec![international.to_owned()],
            national_prefix: self.national_prefix.clone(),
            ..NumberingPlan::default()
        }
    }
}

/// The two forms of an input's numbers.
struct Forms<'a> {
    national: NumberForm<'a>,
    e164: NumberForm<'a>,
}

/// How the scores of an input are written.
#[derive(Clone, Debug)]
pub struct ScoreOptions {
    /// Name of the column with the scores, if it is not one of the usual ones.
    pub column: Option<String>,
    /// The score that is converted to 100.
    pub most: f64,
}

impl Default for ScoreOptions {
    fn default() -> Self {
        Self { column: None, most: 100.0 }
    }
}

/// Usual names of the column with the numbers: lower case, letters and digits only.
const NUMBER_COLUMNS: &[&str] = &[
    "number",
    "phone",
    "phonenumber",
    "telephone",
    "telephonenumber",
    "telno",
    "tn",
    "e164",
    "msisdn",
    "did",
    "dno",
    "ani",
    "caller",
    "callerid",
    "callerno",
    "callernumber",
    "callingnumber",
    "calling",
    "from",
    "companyphonenumber",
];
/// Usual names of the column with the scores.
const SCORE_COLUMNS: &[&str] =
    &["score", "reputation", "reputationscore", "risk", "riskscore", "spamscore", "fraudscore", "rating", "confidence"];
/// Usual names of the column with the expiry dates.
const EXPIRY_COLUMNS: &[&str] = &["expires", "expiry", "expirydate", "expirationdate", "validuntil", "enddate"];

/// Digits of a North American subscriber number without its area code. A field with at least as many is an entry, not the
/// name of a column.
const LOCAL_NUMBER: usize = 7;

/// A number with its score and expiry date.
#[derive(Clone, Debug)]
struct Listed {
    digits: u64,
    length: u8,
    exact: bool,
    score: u32,
    /// None if it does not expire.
    expires: Option<Day>,
}

impl Listed {
    /// True if this entry makes `other` redundant.
    fn covers(&self, other: &Self) -> bool {
        let lasts = self.expires.is_none_or(|end| other.expires.is_some_and(|other| other <= end));
        let begins =
            self.length <= other.length && (self.digits ^ other.digits) >> (64 - 4 * u32::from(self.length)) == 0;
        let same = (self.length, self.exact) == (other.length, other.exact);
        lasts && begins && (!self.exact || same)
    }
}

/// Imports numbers without scores. Numbers that a prefix covers are left out.
pub(super) fn import(content: &[u8], options: &NumberOptions) -> Result<Imported, ImportError> {
    let (mut listed, problems) = read(content, options, None)?;
    let found = listed.len();
    // Prefixes come before what they cover; among equal ones, the one that lasts longest comes first.
    listed.sort_by_key(|one| {
        (one.digits, one.length, one.exact, one.expires.is_some(), one.expires.map(|(y, m, d)| (!y, !m, !d)))
    });
    let mut kept: Vec<Listed> = Vec::with_capacity(found);
    // The prefixes of the current number, outermost first.
    let mut open: Vec<Listed> = Vec::new();
    for one in listed {
        open.retain(|prefix| {
            Listed { expires: None, ..prefix.clone() }.covers(&Listed { expires: None, ..one.clone() })
        });
        if open.iter().any(|prefix| prefix.covers(&one)) {
            continue;
        }
        open.push(one.clone());
        kept.push(one);
    }
    Ok(output("numbers", &kept, found, problems, false))
}

/// Imports numbers with scores. If a number has several scores, the highest is kept, as in a policy.
pub(super) fn import_scores(
    content: &[u8],
    options: &NumberOptions,
    scores: &ScoreOptions,
) -> Result<Imported, ImportError> {
    if !(scores.most.is_finite() && scores.most > 0.0) {
        return Err(ImportError::new("the highest score must be a number above 0"));
    }
    let (mut listed, problems) = read(content, options, Some(scores))?;
    let found = listed.len();
    listed.sort_by_key(|one| {
        let lasts = (one.expires.is_some(), one.expires.map(|(y, m, d)| (!y, !m, !d)));
        (one.digits, one.length, one.exact, !one.score, lasts)
    });
    listed.dedup_by_key(|one| (one.digits, one.length, one.exact));
    Ok(output("scores", &listed, found, problems, true))
}

fn output(format: &str, kept: &[Listed], found: usize, problems: Problems, scored: bool) -> Imported {
    let expiry = kept.iter().any(|one| one.expires.is_some());
    let mut content =
        heading(format, "`$`: exactly this number; without it, every number that begins with these digits.");
    content.push_str("number");
    content.push_str(if scored { ",score" } else { "" });
    content.push_str(if expiry { ",expires\n" } else { "\n" });
    for one in kept {
        // A short code is not an E.164 number and has no plus.
        if !(one.exact && one.length <= SHORT_CODE) {
            content.push('+');
        }
        content.push_str(&bcd::text(one.digits, one.length));
        if one.exact {
            content.push('$');
        }
        if scored {
            let _ = write!(content, ",{}", one.score);
        }
        if expiry {
            content.push(',');
            if let Some((year, month, day)) = one.expires {
                let _ = write!(content, "{year:04}-{month:02}-{day:02}");
            }
        }
        content.push('\n');
    }
    let entries = kept.len() as u64;
    Imported { content, entries, duplicates: found as u64 - entries, problems, may_be_empty: false }
}

/// Digits of the longest short code.
const SHORT_CODE: u8 = filter_core::trie::SHORT_CODE_DIGITS as u8;

/// Where the columns are.
struct Columns {
    delimiter: u8,
    number: usize,
    score: Option<usize>,
    expires: Option<usize>,
}

fn read(
    content: &[u8],
    options: &NumberOptions,
    scores: Option<&ScoreOptions>,
) -> Result<(Vec<Listed>, Problems), ImportError> {
    if is_json(content) {
        return Err(ImportError::new("the input is JSON, not a list of numbers").with_help(
            "write its numbers one a line, for example with `jq -r '.[].number' FILE | ringfence import numbers`",
        ));
    }
    // In our own output nothing is guessed: an entry without `$` is a prefix.
    let own = content.starts_with(HEADING);
    let mut rows = lists::lines(content).filter(|(_, line)| !is_comment(line)).peekable();
    let Some(&(_, first)) = rows.peek() else { return Ok((Vec::new(), Problems::default())) };
    let (columns, has_header) = columns(first, options, scores)?;
    if has_header {
        rows.next();
    }
    let plan = options.plan();
    let forms = Forms { national: NumberForm::new(true, &plan), e164: NumberForm::new(false, &plan) };
    let mut problems = Problems::default();
    let mut listed = Vec::with_capacity(content.len() / 16);
    let mut spans = Vec::new();
    for (number, line) in rows {
        match row(line, &columns, options, &forms, scores, own, &mut spans) {
            Ok(Some(one)) => listed.push(one),
            Ok(None) => {}
            Err(reason) => problems.add(number, line, reason),
        }
    }
    Ok((listed, problems))
}

fn is_comment(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    line.is_empty() || line.starts_with(b"#") || line.starts_with(b"//") || line.starts_with(b";")
}

/// Finds the columns by the names in the first line; true if it is a header row. Otherwise the first column holds numbers
/// and the second one scores.
fn columns(
    first: &[u8],
    options: &NumberOptions,
    scores: Option<&ScoreOptions>,
) -> Result<(Columns, bool), ImportError> {
    let mut widest: Vec<Vec<u8>> = Vec::new();
    for delimiter in lists::DELIMITERS {
        let Some(names) = lists::column_names(first, delimiter) else { continue };
        let column = |wanted: Option<&String>, usual: &[&str]| match wanted {
            Some(wanted) => names.iter().position(|name| column_key(name) == column_key(wanted.as_bytes())),
            None => usual.iter().find_map(|usual| names.iter().position(|name| column_key(name) == *usual)),
        };
        // `2025550100,DNO` is an entry with a comment, although `dno` is a usual name.
        let is_entry =
            names.iter().any(|name| name.iter().filter(|byte| byte.is_ascii_digit()).count() >= LOCAL_NUMBER);
        if let Some(number) = column(options.column.as_ref(), NUMBER_COLUMNS).filter(|_| !is_entry) {
            let score = scores.map(|scores| column(scores.column.as_ref(), SCORE_COLUMNS));
            if let Some(None) = score {
                return Err(no_column("scores", "--score-column", &names));
            }
            let expires = column(None, EXPIRY_COLUMNS);
            return Ok((Columns { delimiter, number, score: score.flatten(), expires }, true));
        }
        if names.len() > widest.len() {
            widest = names;
        }
    }
    let delimiter = lists::DELIMITERS.into_iter().find(|delimiter| first.contains(delimiter)).unwrap_or(b',');
    let starts_with_number = widest.first().is_some_and(|name| name.iter().any(u8::is_ascii_digit));
    if options.column.is_some() || !starts_with_number {
        return Err(no_column("numbers", "--column", &widest));
    }
    if scores.is_some_and(|scores| scores.column.is_some() || widest.len() < 2) {
        return Err(no_column("scores", "--score-column", &widest));
    }
    Ok((Columns { delimiter, number: 0, score: scores.map(|_| 1), expires: None }, false))
}

fn no_column(of: &str, option: &str, names: &[Vec<u8>]) -> ImportError {
    const SHOWN: usize = 12;
    let names: Vec<String> = names
        .iter()
        .take(SHOWN)
        .map(|name| format!("`{}`", String::from_utf8_lossy(name).chars().take(40).collect::<String>()))
        .collect();
    ImportError::new(format!("no column of {of}: the first line has {}", names.join(", ")))
        .with_help(format!("name the column with `{option} NAME`"))
}

/// A row's entry; None if all fields are empty.
fn row(
    line: &[u8],
    columns: &Columns,
    options: &NumberOptions,
    forms: &Forms<'_>,
    scores: Option<&ScoreOptions>,
    own: bool,
    spans: &mut Vec<Range<usize>>,
) -> Result<Option<Listed>, String> {
    lists::split_row(line, columns.delimiter, spans).map_err(|mistake| mistake.message)?;
    let field = |column: Option<usize>| column.and_then(|column| spans.get(column)).map(|span| &line[span.clone()]);
    let Some(text) = field(Some(columns.number)).filter(|text| !text.is_empty()) else {
        let is_blank = spans.iter().all(Range::is_empty);
        return if is_blank { Ok(None) } else { Err("this row has no number".to_owned()) };
    };
    // In text lists, a comment may follow the number.
    let text = text.split(|&byte| byte == b'#').next().unwrap_or_default().trim_ascii();
    let entry = number(text, options, forms, own)?;
    if let Some(mistake) = lists::impossible(&entry, 0..text.len()) {
        return Err(mistake.message);
    }
    let score = match (scores, field(columns.score)) {
        (None, _) => 0,
        (Some(scores), Some(text)) => score(text, scores.most)?,
        (Some(_), None) => return Err("this row has no score".to_owned()),
    };
    let expires = match field(columns.expires).filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => Some(
            lists::day(text)
                .ok_or_else(|| format!("`{}` is not a date such as 2027-01-31", String::from_utf8_lossy(text)))?,
        ),
    };
    Ok(Some(Listed { digits: entry.digits, length: entry.length, exact: entry.exact, score, expires }))
}

/// A score from 0 to 100.
fn score(text: &[u8], most: f64) -> Result<u32, String> {
    let shown = String::from_utf8_lossy(text);
    let value: f64 = shown.trim_end_matches('%').trim().parse().map_err(|_| format!("`{shown}` is not a score"))?;
    if !(0.0..=most).contains(&value) {
        return Err(format!("the score {shown} is not between 0 and {most} (`--max-score` sets the highest score)"));
    }
    Ok((value * 100.0 / most).round() as u32)
}

/// Parses a number in any notation that lists use.
fn number(text: &[u8], options: &NumberOptions, forms: &Forms<'_>, own: bool) -> Result<NumberEntry, String> {
    let (body, dollar) = match text.strip_suffix(b"$") {
        Some(body) => (body, true),
        None => (text, false),
    };
    // `202555XXXX` is every number that begins with 202555.
    let digits_end =
        body.len() - body.iter().rev().take_while(|byte| matches!(byte, b'x' | b'X' | b'*' | b'?')).count();
    let placeholder = digits_end < body.len();
    let body = body[..digits_end].trim_ascii_end();
    let body = body.strip_suffix(b"-").unwrap_or(body);
    // Letters, dates and numbers that a spreadsheet has mangled must not become the prefix made of their digits.
    if !body.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b' ' | b'(' | b')')) {
        return Err(format!("`{}` is not a number", body.escape_ascii()));
    }
    let plain: Vec<u8> = body.iter().copied().filter(u8::is_ascii_digit).collect();
    let north_american = options.country_code == "1";
    let short_code = dollar && plain.len() <= usize::from(SHORT_CODE);
    let is_e164 = options.e164 || own || short_code;
    let international =
        forms.national.plan.international_prefixes.iter().any(|prefix| plain.starts_with(prefix.as_bytes()));
    let with_country_code = north_american && plain.first() == Some(&b'1');
    let is_national = !is_e164 && !international && !body.starts_with(b"+");
    if north_american && is_national && !with_country_code && plain.len() > 10 {
        return Err(format!(
            "{} digits: not a North American number, and without a plus its country is unknown",
            plain.len()
        ));
    }
    // Ten digits are a number; three, six and seven are an area code, an exchange and a block. Anything else is a number that
    // has lost digits, and as a prefix it would cover many numbers.
    let digits = plain.len() - usize::from(with_country_code);
    let is_north_american = north_american && (is_national || with_country_code);
    if is_north_american && !(own || dollar || placeholder || options.e164 || matches!(digits, 3 | 6 | 7 | 10 | 11..)) {
        return Err(format!(
            "{digits} digits: neither a number (10), an area code (3), an exchange (6) nor a block (7)"
        ));
    }
    let form = if is_e164 { &forms.e164 } else { &forms.national };
    let mut entry = lists::number(body, form).map_err(|mistake| mistake.message)?;
    entry.exact = dollar || !(own || placeholder) && is_complete(&entry);
    if entry.exact && placeholder {
        return Err("it has both `$` and placeholders".to_owned());
    }
    Ok(entry)
}

/// True if an E.164 number has enough digits for a complete number in its country.
fn is_complete(entry: &NumberEntry) -> bool {
    numbering::lengths(entry.digits, entry.length).is_some_and(|(_, fewest, _)| entry.length >= fewest)
}
