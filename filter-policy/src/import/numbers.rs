//! Lists of telephone numbers: Do-Not-Originate lists, one number a line or in a column of a CSV file, and reputation lists
//! with a score for each number.
//!
//! The output is E.164 with its plus, so that reading it needs no `format`, and with a `$` after each complete number.

use std::fmt::Write as _;

use super::{
    HEADING, ImportError, Imported, Problems, heading,
    input::{column_key, is_json},
};
use crate::{
    lists::{self, Day, NumberForm, Record, Records},
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
    /// Leave a number out if fewer rows are about it.
    pub min_count: u64,
    /// Name of the column that says for how many a row counts. If none, a row counts for one, unless `min_count` is above one and
    /// a column has one of the usual names.
    pub count_column: Option<String>,
}

impl Default for NumberOptions {
    fn default() -> Self {
        Self {
            country_code: "1".to_owned(),
            national_prefix: String::new(),
            e164: false,
            column: None,
            min_count: 1,
            count_column: None,
        }
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
/// Usual names of the column that says how often a number was complained about.
const COUNT_COLUMNS: &[&str] =
    &["count", "complaints", "complaintcount", "numberofcomplaints", "reports", "reportcount", "votes"];
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
    /// For how many rows it counts.
    count: u64,
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
    let mut read = read(content, options, None)?;
    let mut listed = std::mem::take(&mut read.listed);
    // Prefixes come before what they cover; among equal ones, the one that lasts longest comes first.
    listed.sort_by_key(|one| {
        (one.digits, one.length, one.exact, one.expires.is_some(), one.expires.map(|(y, m, d)| (!y, !m, !d)))
    });
    let mut kept: Vec<Listed> = Vec::with_capacity(listed.len());
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
    Ok(output("numbers", &kept, read, false))
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
    let mut read = read(content, options, Some(scores))?;
    let mut listed = std::mem::take(&mut read.listed);
    listed.sort_by_key(|one| {
        let lasts = (one.expires.is_some(), one.expires.map(|(y, m, d)| (!y, !m, !d)));
        (one.digits, one.length, one.exact, !one.score, lasts)
    });
    listed.dedup_by_key(|one| (one.digits, one.length, one.exact));
    Ok(output("scores", &listed, read, true))
}

fn output(format: &str, kept: &[Listed], read: Read, scored: bool) -> Imported {
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
    let Read { found, rare, problems, notes, .. } = read;
    Imported { content, entries, duplicates: found - entries, rare, problems, notes, ..Imported::default() }
}

/// Digits of the longest short code.
const SHORT_CODE: u8 = filter_core::trie::SHORT_CODE_DIGITS as u8;

/// The characters accepted between fields.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// Where the columns are.
struct Columns {
    number: usize,
    score: Option<usize>,
    expires: Option<usize>,
    count: Option<usize>,
}

/// What the rows of an input say.
#[derive(Default)]
struct Read {
    listed: Vec<Listed>,
    /// How many rows there are about the numbers that are listed.
    found: u64,
    /// Numbers left out because too few rows are about them.
    rare: u64,
    problems: Problems,
    notes: Problems,
}

fn read(content: &[u8], options: &NumberOptions, scores: Option<&ScoreOptions>) -> Result<Read, ImportError> {
    if is_json(content) {
        return Err(ImportError::new("the input is JSON, not a list of numbers").with_help(
            "write its numbers one a line, for example with `jq -r '.[].number' FILE | ringfence import numbers`",
        ));
    }
    // In our own output nothing is guessed: an entry without `$` is a prefix.
    let own = content.starts_with(HEADING);
    if lists::lines(content).all(|(_, line)| is_comment(line)) {
        return Ok(Read::default());
    }
    let (columns, mut records) = columns(content, options, scores)?;
    let plan = options.plan();
    let forms = Forms { national: NumberForm::new(true, &plan), e164: NumberForm::new(false, &plan) };
    let mut read = Read { listed: Vec::with_capacity(content.len() / 16), ..Read::default() };
    while let Some(record) = records.read() {
        let record = match record {
            Ok(record) => record,
            Err((line, text, mistake)) => {
                read.problems.add(line, text, mistake.message);
                continue;
            }
        };
        match row(&record, &columns, options, &forms, scores, own) {
            Ok(Some(one)) => {
                if !own && one.means_more {
                    let digits = bcd::text(one.listed.digits, one.listed.length);
                    let reason = format!("read as a prefix: every number that begins with +{digits}");
                    read.notes.add(record.line, record.text, reason);
                }
                read.listed.push(one.listed);
            }
            Ok(None) => {}
            Err(reason) => read.problems.add(record.line, record.text, reason),
        }
    }
    read.found = read.listed.len() as u64;
    if options.min_count > 1 {
        read.keep_frequent(options.min_count);
    }
    Ok(read)
}

impl Read {
    /// Leaves out the numbers that too few rows are about. What remains of a number's rows is one, with its highest score and
    /// last day.
    fn keep_frequent(&mut self, least: u64) {
        self.listed.sort_by_key(|one| (one.digits, one.length, one.exact));
        let mut kept: Vec<Listed> = Vec::new();
        self.found = 0;
        for rows in self
            .listed
            .chunk_by(|one, other| (one.digits, one.length, one.exact) == (other.digits, other.length, other.exact))
        {
            let count = rows.iter().fold(0_u64, |count, row| count.saturating_add(row.count));
            if count < least {
                self.rare += 1;
                continue;
            }
            self.found += rows.len() as u64;
            let score = rows.iter().map(|row| row.score).max().unwrap_or(0);
            let expires = if rows.iter().any(|row| row.expires.is_none()) {
                None
            } else {
                rows.iter().filter_map(|row| row.expires).max()
            };
            kept.extend(rows.first().map(|row| Listed { score, expires, count, ..row.clone() }));
        }
        self.listed = kept;
    }
}

fn is_comment(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    line.is_empty() || line.starts_with(b"#") || line.starts_with(b"//") || line.starts_with(b";")
}

/// Finds the columns by the names in the first record, and returns the records after it. If it is no header row, the first column
/// holds numbers and the second one scores.
fn columns<'a>(
    content: &'a [u8],
    options: &NumberOptions,
    scores: Option<&ScoreOptions>,
) -> Result<(Columns, Records<'a>), ImportError> {
    let mut widest: Vec<Vec<u8>> = Vec::new();
    for delimiter in DELIMITERS {
        let mut records = Records::new(content, delimiter, is_comment);
        let Some(names) = records.names() else { continue };
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
            let count = match &options.count_column {
                None if options.min_count > 1 => column(None, COUNT_COLUMNS),
                None => None,
                Some(_) => match column(options.count_column.as_ref(), &[]) {
                    None => return Err(no_column("counts", "--count-column", &names)),
                    count => count,
                },
            };
            let expires = column(None, EXPIRY_COLUMNS);
            return Ok((Columns { number, score: score.flatten(), expires, count }, records));
        }
        if names.len() > widest.len() {
            widest = names;
        }
    }
    let first = lists::lines(content).map(|(_, line)| line).find(|line| !is_comment(line)).unwrap_or_default();
    let delimiter = DELIMITERS.into_iter().find(|delimiter| first.contains(delimiter)).unwrap_or(b',');
    let starts_with_number = widest.first().is_some_and(|name| name.iter().any(u8::is_ascii_digit));
    if options.column.is_some() || !starts_with_number {
        return Err(no_column("numbers", "--column", &widest));
    }
    if options.count_column.is_some() {
        return Err(no_column("counts", "--count-column", &widest));
    }
    if scores.is_some_and(|scores| scores.column.is_some() || widest.len() < 2) {
        return Err(no_column("scores", "--score-column", &widest));
    }
    let columns = Columns { number: 0, score: scores.map(|_| 1), expires: None, count: None };
    Ok((columns, Records::new(content, delimiter, is_comment)))
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

/// A row's entry.
struct Entry {
    listed: Listed,
    /// True if it is a prefix, although nothing in it says so.
    means_more: bool,
}

/// A row's entry; None if all fields are empty.
fn row(
    record: &Record<'_, '_>,
    columns: &Columns,
    options: &NumberOptions,
    forms: &Forms<'_>,
    scores: Option<&ScoreOptions>,
    own: bool,
) -> Result<Option<Entry>, String> {
    let field = |column: Option<usize>| column.and_then(|column| record.field(column));
    let Some(text) = field(Some(columns.number)).filter(|text| !text.is_empty()) else {
        let is_blank = record.iter().all(<[u8]>::is_empty);
        return if is_blank { Ok(None) } else { Err("this row has no number".to_owned()) };
    };
    // In text lists, a comment may follow the number.
    let text = text.split(|&byte| byte == b'#').next().unwrap_or_default().trim_ascii();
    let (entry, means_more) = number(text, options, forms, own)?;
    if let Some(mistake) = lists::impossible(&entry, 0..text.len()) {
        return Err(mistake.message);
    }
    let score = match (scores, field(columns.score)) {
        (None, _) => 0,
        (Some(scores), Some(text)) => score(text, scores.most)?,
        (Some(_), None) => return Err("this row has no score".to_owned()),
    };
    let count = match columns.count {
        None => 1,
        Some(column) => {
            let text = String::from_utf8_lossy(record.field(column).unwrap_or_default());
            text.parse().map_err(|_| format!("`{text}` is not a count"))?
        }
    };
    let expires = match field(columns.expires).filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => Some(
            lists::day(text)
                .ok_or_else(|| format!("`{}` is not a date such as 2027-01-31", String::from_utf8_lossy(text)))?,
        ),
    };
    let NumberEntry { digits, length, exact, .. } = entry;
    Ok(Some(Entry { listed: Listed { digits, length, exact, score, expires, count }, means_more }))
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

/// Parses a number in any notation that lists use; true if it becomes a prefix, although nothing in it says so.
fn number(text: &[u8], options: &NumberOptions, forms: &Forms<'_>, own: bool) -> Result<(NumberEntry, bool), String> {
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
    // `2025550100.0`: the last zero is no digit of the number.
    let decimals = body.iter().rev().take_while(|&&byte| byte == b'0').count();
    if let [digits @ .., b'.'] = &body[..body.len() - decimals]
        && (1..3).contains(&decimals)
        && digits.len() >= LOCAL_NUMBER
        && digits.iter().all(u8::is_ascii_digit)
    {
        return Err(format!("`{}` is a number to calculate with: format the column as text", body.escape_ascii()));
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
    let is_free = own || dollar || placeholder;
    if north_american && (is_national || with_country_code) && !is_free && !options.e164 {
        north_american_length(body, &plain[usize::from(with_country_code)..])?;
    }
    let form = if is_e164 { &forms.e164 } else { &forms.national };
    // An area code with an exchange has two groups of as many digits, too.
    let is_exchange = north_american && is_national && plain.len() == 6;
    if body.contains(&b'-')
        && !is_exchange
        && lists::number_value(body, form).map_err(|mistake| mistake.message)?.is_range()
    {
        let shown = body.escape_ascii();
        return Err(format!(
            "`{shown}` is a range: a list to import has one number in a line, or the digits that all of them begin with"
        ));
    }
    let mut entry = lists::number(body, form).map_err(|mistake| mistake.message)?;
    entry.exact = dollar || !(own || placeholder) && is_complete(&entry);
    if entry.exact && placeholder {
        return Err("it has both `$` and placeholders".to_owned());
    }
    let means_more = !entry.exact && !is_free;
    if means_more && is_national && !north_american {
        let code = &options.country_code;
        let shown = body.escape_ascii();
        return Err(format!(
            "`{shown}` has too few digits for a number of +{code}: write `{shown}*` for every number that begins so"
        ));
    }
    Ok((entry, means_more))
}

/// Checks how many digits a North American entry has, without its country code. Ten are a number; three are an area code, six an
/// exchange. Seven are a block only if they are grouped like one: otherwise they are a number without its area code. Anything else
/// has lost digits, and as a prefix it would cover many numbers.
fn north_american_length(body: &[u8], digits: &[u8]) -> Result<(), String> {
    match digits {
        [first @ b'2'..=b'9', b'1', b'1'] => {
            let code = char::from(*first);
            Err(format!("`{code}11` is a short code, no area code: write `{code}11$`"))
        }
        [_, _, _, exchange @ .., _] if exchange.len() == 3 => {
            let groups: Vec<&[u8]> =
                body.split(|byte| !byte.is_ascii_digit()).filter(|group| !group.is_empty() && *group != b"1").collect();
            let groups: Vec<usize> = groups.iter().map(|group| group.len()).collect();
            // (The last digit of a block may be a one, too.)
            if matches!(groups[..], [3, 3] | [3, 3, 1]) {
                return Ok(());
            }
            Err("7 digits: a North American number has ten, with its area code; a block is written `202-555-1`"
                .to_owned())
        }
        digits if matches!(digits.len(), 3 | 6 | 10..) => Ok(()),
        digits => Err(format!("{} digits: neither a number (10), an area code (3) nor an exchange (6)", digits.len())),
    }
}

/// True if an E.164 number has enough digits for a complete number in its country.
fn is_complete(entry: &NumberEntry) -> bool {
    numbering::lengths(entry.digits, entry.length).is_some_and(|(_, fewest, _)| entry.length >= fewest)
}
