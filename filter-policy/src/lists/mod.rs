//! List files: addresses, numbers, patterns; one entry a line.
//!
//! An entry that cannot be read is told with its line, and reading goes on behind it. Lists hold millions of lines, so
//! entries are parsed in place, and only what is told is copied.

use std::{collections::HashMap, net::IpAddr, ops::Range, path::PathBuf, sync::Arc};

use filter_core::{layout::NumberFormat, limits::MAX_DIGITS};

use crate::{
    language::diagnostics::{Code, Diagnostic, Diagnostics, Place, Severity, plural},
    model::{AddressEntry, NumberEntry, NumberRange, PatternEntry},
    numbering,
};

/// Errors of one list that are told in full; more are counted.
pub const LISTED_ERRORS: u64 = 100;

/// Warnings of one list that are told in full; more are counted.
pub const LISTED_WARNINGS: u64 = 10;

/// What is wrong with an entry; the span is relative to the text that was parsed.
#[derive(Clone, Debug)]
pub struct Mistake {
    /// What kind of mistake.
    pub code: Code,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
    /// Where in the entry.
    pub span: Range<usize>,
}

impl Mistake {
    fn new(code: Code, span: Range<usize>, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: None, span }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Tells about one list's lines, up to a limit.
struct Teller<'a> {
    file: &'a Arc<PathBuf>,
    diagnostics: &'a mut Diagnostics,
    told: [u64; 2],
}

impl<'a> Teller<'a> {
    fn new(file: &'a Arc<PathBuf>, diagnostics: &'a mut Diagnostics) -> Self {
        Self { file, diagnostics, told: [0; 2] }
    }

    fn tell(&mut self, severity: Severity, line: u32, text: &[u8], mistake: Mistake) {
        let (told, limit) = match severity {
            Severity::Error => (&mut self.told[0], LISTED_ERRORS),
            Severity::Warning => (&mut self.told[1], LISTED_WARNINGS),
        };
        *told += 1;
        if *told > limit {
            self.diagnostics.count_unlisted(self.file, severity, 1);
            return;
        }
        let new = if severity == Severity::Error { Diagnostic::error } else { Diagnostic::warning };
        let place = Place::new(self.file, line, text, mistake.span);
        self.diagnostics.push(new(mistake.code, mistake.message).at(place).maybe_help(mistake.help));
    }
}

/// The lines of a list: number from 1, bytes without line ending. A byte order mark is left out.
pub(crate) fn lines(content: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
    let content = content.strip_prefix(BYTE_ORDER_MARK).unwrap_or(content);
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    (1..)
        .zip(content.split(|&byte| byte == b'\n'))
        .map(|(number, line)| (number, line.strip_suffix(b"\r").unwrap_or(line)))
}

/// The part of a line before a `#`, without the blanks around it.
fn without_comment(line: &[u8]) -> (usize, &[u8]) {
    let end = line.iter().position(|&byte| byte == b'#').unwrap_or(line.len());
    let start = line[..end].iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(end);
    (start, line[start..end].trim_ascii_end())
}

/// Reads an address list: one address or CIDR a line, `#` comments.
pub fn addresses(file: &Arc<PathBuf>, content: &[u8], diagnostics: &mut Diagnostics) -> Vec<AddressEntry> {
    let mut teller = Teller::new(file, diagnostics);
    let mut entries = Vec::with_capacity(content.len() / 16);
    for (number, line) in lines(content) {
        let (start, text) = without_comment(line);
        if text.is_empty() {
            continue;
        }
        match address(text) {
            Ok(entry) => {
                if let Some(mistake) = covers_everything(&entry, text.len()) {
                    teller.tell(Severity::Warning, number, line, moved(mistake, start));
                }
                entries.push(AddressEntry { line: number, ..entry });
            }
            Err(mistake) => teller.tell(Severity::Error, number, line, moved(mistake, start)),
        }
    }
    entries
}

fn moved(mut mistake: Mistake, by: usize) -> Mistake {
    mistake.span = mistake.span.start + by..mistake.span.end + by;
    mistake
}

/// What to say of an entry that holds every address.
#[must_use]
pub fn covers_everything(entry: &AddressEntry, length: usize) -> Option<Mistake> {
    (entry.prefix == 0).then(|| {
        let of = if entry.address.is_ipv4() { "IPv4" } else { "IPv6" };
        Mistake::new(Code::CoversEverything, 0..length, format!("this entry is every {of} address"))
            .help("to say \"any source\", leave the `source` condition out")
    })
}

/// Parses an address or CIDR. The line of the entry is 0.
///
/// # Errors
///
/// What is wrong with it, and where.
pub fn address(text: &[u8]) -> Result<AddressEntry, Mistake> {
    plain_ipv4(text).map_or_else(|| any_address(text), Ok)
}

/// Reads what nearly every line of a long list is, an IPv4 address or network, in a third of the time. None for anything
/// else and for whatever has something wrong: [`any_address`] has the last word on that.
fn plain_ipv4(text: &[u8]) -> Option<AddressEntry> {
    /// One to three digits, the first one no zero unless it is alone, and what comes behind.
    fn number(text: &[u8]) -> Option<(u32, &[u8])> {
        let count = text.iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = text.split_at(count);
        if count == 0 || count > 1 && digits[0] == b'0' {
            return None;
        }
        Some((digits.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0')), rest))
    }
    let mut bits = 0;
    let mut rest = text;
    for part in 0..4 {
        let (value, behind) = number(rest)?;
        if value > 255 {
            return None;
        }
        bits = bits << 8 | value;
        rest = if part < 3 { behind.strip_prefix(b".")? } else { behind };
    }
    let mut prefix = 32;
    if !rest.is_empty() {
        (prefix, rest) = number(rest.strip_prefix(b"/")?)?;
    }
    let is_network = prefix <= 32 && u64::from(bits) << prefix & 0xffff_ffff == 0;
    let entry = AddressEntry { address: IpAddr::V4(bits.into()), prefix: prefix as u8, line: 0 };
    (rest.is_empty() && is_network).then_some(entry)
}

/// As [`address`].
fn any_address(text: &[u8]) -> Result<AddressEntry, Mistake> {
    let whole = 0..text.len();
    let bad = |span: Range<usize>, message: String| Mistake::new(Code::BadAddress, span, message);
    let Ok(text) = std::str::from_utf8(text) else {
        return Err(bad(whole, "this is not an address".into()).help("one address or CIDR a line, in plain text"));
    };
    let (host, prefix) = match text.split_once('/') {
        None => (text, None),
        Some((host, prefix)) => (host, Some(prefix)),
    };
    let Ok(address) = host.parse::<IpAddr>() else {
        let mistake = bad(0..host.len(), format!("`{text}` is not an IP address or CIDR"));
        let host_name = host.bytes().any(|byte| byte.is_ascii_alphabetic()) && !host.contains(':');
        return Err(if host_name {
            mistake.help("names are not looked up: write the addresses that the name stands for")
        } else if host.contains('-') {
            mistake.help("a range is written as the CIDRs that it consists of, one a line")
        } else if text.contains([',', ';', ' ', '\t']) {
            mistake.help("one address or CIDR a line")
        } else if host.split('.').count() == 4 {
            mistake.help("four decimal numbers up to 255, without leading zeros")
        } else {
            mistake.help("such as 192.0.2.1, 192.0.2.0/24, 2001:db8::1 or 2001:db8::/32")
        });
    };
    let bits: u8 = if address.is_ipv4() { 32 } else { 128 };
    let length = match prefix {
        None => bits,
        Some(digits) => {
            let plain = !digits.is_empty() && digits.len() <= 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
            match digits.parse::<u8>() {
                Ok(length) if plain && length <= bits => length,
                _ => {
                    let span = host.len() + 1..text.len();
                    let help = if digits.contains('.') {
                        format!("write how many bits the network has, not its mask: {host}/24")
                    } else {
                        format!("a whole number from 0 to {bits}")
                    };
                    return Err(bad(span, format!("`{digits}` is not a prefix length")).help(help));
                }
            }
        }
    };
    let network = network(address, length);
    if let IpAddr::V6(six) = address
        && let Some(four) = six.to_ipv4_mapped()
    {
        let suffix = if length < 128 { format!("/{}", length.saturating_sub(96)) } else { String::new() };
        return Err(bad(whole, "an IPv4-mapped address never stands in a packet's header".into())
            .help(format!("did you mean `{four}{suffix}`?")));
    }
    if network != address {
        return Err(Mistake::new(Code::HostBits, whole, format!("`{text}` has bits set behind its prefix length"))
            .help(format!("did you mean `{network}/{length}`, or the one address `{address}`?")));
    }
    Ok(AddressEntry { address, prefix: length, line: 0 })
}

/// The address with the bits behind `length` zero.
fn network(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(four) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            IpAddr::V4((four.to_bits() & mask).into())
        }
        IpAddr::V6(six) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            IpAddr::V6((six.to_bits() & mask).into())
        }
    }
}

/// How the numbers of a list are written.
#[derive(Clone, Debug)]
pub struct NumberForm<'a> {
    /// True: national numbers of the country; false: E.164.
    pub national: bool,
    /// The country code's digits.
    pub country_code: &'a str,
    /// The national prefix's digits; empty for none.
    pub national_prefix: &'a str,
}

/// Parses a number prefix or, with `$` behind it, an exact number. Its line and score are 0.
///
/// # Errors
///
/// What is wrong with it, and where.
pub fn number(text: &[u8], form: &NumberForm<'_>) -> Result<NumberEntry, Mistake> {
    const MOST: usize = MAX_DIGITS as usize;
    let bad = |span: Range<usize>, message: String| Mistake::new(Code::BadNumber, span, message);
    let (body, exact) = match text.strip_suffix(b"$") {
        Some(body) => (body, true),
        None => (text, false),
    };
    let (body, plus) = match body.strip_prefix(b"+") {
        Some(rest) => (rest, true),
        None => (body, false),
    };
    let mut digits = [0_u8; MOST];
    let mut count = 0;
    for (at, &byte) in body.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                if let Some(digit) = digits.get_mut(count) {
                    *digit = byte;
                }
                count += 1;
            }
            b' ' | b'\t' | b'-' | b'.' | b'(' | b')' => {}
            _ => {
                let at = at + usize::from(plus);
                let shown = String::from_utf8_lossy(text);
                let mistake = bad(at..at + 1, format!("`{shown}` is not a number"));
                return Err(match byte {
                    b'*' | b'x' | b'X' | b'?' => {
                        mistake.help("a number without `$` is a prefix already: leave the placeholder out")
                    }
                    b'$' => mistake.help("`$` stands at the end, for exactly this number"),
                    b'@' => mistake.help("a set stands in a rule's condition, not among a list's entries"),
                    _ => mistake.help(
                        "digits, `+` in front, blanks and `-.()` between them, `$` at the end for exactly this number",
                    ),
                });
            }
        }
    }
    let whole = 0..text.len();
    if count == 0 {
        return Err(bad(whole, "a number without digits".into()));
    }
    if count > MOST {
        return Err(bad(whole, format!("{count} digits: numbers have at most {MOST} (E.164)")));
    }
    let digits = &digits[..count];
    // A national number of the NANP begins with 2 to 9: a 1 in front is the country code already.
    let national = form.national && !plus && !(form.country_code == "1" && digits[0] == b'1');
    let (code, rest) = if national {
        let prefix = form.national_prefix.as_bytes();
        (form.country_code.as_bytes(), digits.strip_prefix(prefix).unwrap_or(digits))
    } else {
        (&[][..], digits)
    };
    let length = code.len() + rest.len();
    if length > MOST {
        return Err(bad(whole, format!("{length} digits with the country code: numbers have at most {MOST} (E.164)")));
    }
    if rest.is_empty() {
        return Err(bad(whole, "nothing is left behind the national prefix".into()));
    }
    if form.national
        && digits.len() <= form.country_code.len()
        && form.country_code.as_bytes().starts_with(digits)
        && !national
    {
        return Err(bad(whole, "this is every number of the country".into())
            .help("lists of national numbers hold area codes, or more digits"));
    }
    let packed = code.iter().chain(rest).fold(0_u64, |packed, digit| packed << 4 | u64::from(digit - b'0'));
    // `length` is at least 1 and at most 15, so the shift is 4 to 60 bits.
    let packed = packed << (64 - 4 * length);
    Ok(NumberEntry { digits: packed, length: length as u8, exact, score: 0, line: 0 })
}

/// What a number list holds.
#[derive(Debug, Default)]
pub struct Numbers {
    /// The entries that have not expired.
    pub entries: Vec<NumberEntry>,
    /// True if the list has a column `score`.
    pub scored: bool,
}

/// A day, comparable.
pub type Day = (u16, u8, u8);

/// Reads a number list: text with one number a line, or CSV with a header row and a column `number`; columns `score`,
/// `expires` and `comment` are known, others are left alone. `#` begins a comment, in CSV at the start of a line.
pub fn numbers(
    file: &Arc<PathBuf>,
    content: &[u8],
    form: &NumberForm<'_>,
    today: Day,
    diagnostics: &mut Diagnostics,
) -> Numbers {
    let mut teller = Teller::new(file, diagnostics);
    let mut rows = lines(content).filter(|(_, line)| !without_comment(line).1.is_empty()).peekable();
    let header = rows.peek().and_then(|(_, line)| Header::of(line));
    let is_csv = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
    let mut read = Numbers { entries: Vec::with_capacity(content.len() / 12), scored: false };
    let mut watch = Watch::new(form);
    match header {
        Some(header) => {
            rows.next();
            read.scored = header.score.is_some();
            let mut expired = 0_u64;
            let mut first_expired = None;
            let mut scratch = Vec::new();
            for (line, text) in rows {
                match header.row(text, form, today, &mut scratch) {
                    Ok(Row::Entry(entry, span)) => {
                        let entry = NumberEntry { line, ..entry };
                        watch.see(&entry, text, span, &mut teller);
                        read.entries.push(entry);
                    }
                    Ok(Row::Expired(span)) => {
                        expired += 1;
                        first_expired.get_or_insert((line, text, span));
                    }
                    Err(mistake) => teller.tell(Severity::Error, line, text, mistake),
                }
            }
            if let Some((line, text, span)) = first_expired {
                let message = format!("{expired} {} of this list expired", plural(expired, "entry", "entries"));
                let mistake = Mistake::new(Code::ExpiredEntries, span, message)
                    .help("entries past their `expires` date are left out: remove them, or renew the date");
                teller.tell(Severity::Warning, line, text, mistake);
            }
        }
        None if is_csv => {
            if let Some((line, text)) = rows.next() {
                let mistake = Mistake::new(Code::BadCsv, 0..text.len(), "the first row has no column `number`")
                    .help("begin a .csv file with a header row such as `number,comment`, or name the file .txt");
                teller.tell(Severity::Error, line, text, mistake);
            }
        }
        None => {
            for (line, text) in rows {
                let (start, entry) = without_comment(text);
                match number(entry, form) {
                    Ok(found) => {
                        let found = NumberEntry { line, ..found };
                        watch.see(&found, text, start..start + entry.len(), &mut teller);
                        read.entries.push(found);
                    }
                    Err(mistake) => {
                        let mut mistake = moved(mistake, start);
                        if mistake.help.is_some() && entry.iter().any(|byte| matches!(byte, b',' | b';')) {
                            mistake.help =
                                Some("a list with several columns has a header row with a column `number`".into());
                        }
                        teller.tell(Severity::Error, line, text, mistake);
                    }
                }
            }
        }
    }
    watch.tell(&mut teller);
    read
}

/// Watches for a list of ten-digit national numbers that is read as E.164: `2125551234` would be a number of Morocco.
struct Watch<'a> {
    /// False where the list says what its numbers are.
    watches: bool,
    national: u64,
    other: u64,
    /// The first entry that looks national.
    first: Option<(u32, &'a [u8])>,
    /// Warnings about entries that look national: they are told only if the list turns out not to be.
    deferred: Vec<(u32, &'a [u8], Mistake)>,
}

impl<'a> Watch<'a> {
    fn new(form: &NumberForm<'_>) -> Self {
        let watches = !form.national && form.country_code == "1";
        Self { watches, national: 0, other: 0, first: None, deferred: Vec::new() }
    }

    /// Looks at an entry that stands at `span` of a line, and tells what is to be said of it.
    fn see(&mut self, entry: &NumberEntry, line: &'a [u8], span: Range<usize>, teller: &mut Teller<'_>) {
        let digit = |index: u32| (entry.digits >> (60 - 4 * index)) & 15;
        let plus = line.get(span.start) == Some(&b'+');
        let national = self.watches && entry.length == 10 && !plus && digit(0) >= 2 && digit(3) >= 2;
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
            Some(mistake) if !national => teller.tell(Severity::Warning, entry.line, line, mistake),
            _ => {}
        }
    }

    fn tell(self, teller: &mut Teller<'_>) {
        // A mixed list holds foreign numbers; one of ten-digit numbers throughout is a national one.
        let Some((line, text)) = self.first.filter(|_| self.other == 0) else {
            for (line, text, mistake) in self.deferred {
                teller.tell(Severity::Warning, line, text, mistake);
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
            .help("if they are national numbers, say `format = \"national\"` in the set");
        teller.tell(Severity::Warning, line, text, mistake);
    }
}

/// What to say of a number that cannot be dialled. Short codes and numbers of area codes that do not exist are all right:
/// lists name them because they should not be seen.
#[must_use]
pub fn impossible(entry: &NumberEntry, span: Range<usize>) -> Option<Mistake> {
    const SHORT_CODE: u8 = 6;
    if entry.length <= SHORT_CODE && entry.exact {
        return None;
    }
    let say = |message: String| Some(Mistake::new(Code::ImpossibleNumber, span.clone(), message));
    let first = entry.digits >> 60;
    if first == 0 {
        return say("no E.164 number begins with 0".into()).map(|mistake| {
            mistake.help("write the country code, without national or international prefix; or `format = \"national\"` in the set")
        });
    }
    let Some((country, fewest, most)) = numbering::lengths(entry.digits, entry.length) else {
        return match numbering::may_begin_with(entry.digits, entry.length) {
            true => None,
            false => say("no country code begins so".into())
                .map(|mistake| mistake.help("numbers are written with their country code first, in E.164 form")),
        };
    };
    if entry.length > most {
        return say(format!("{} digits, but numbers of +{country} have at most {most}", entry.length));
    }
    if entry.exact && entry.length < fewest {
        return say(format!("{} digits, but numbers of +{country} have at least {fewest}", entry.length))
            .map(|mistake| mistake.help("leave the `$` out to mean every number that begins so"));
    }
    None
}

/// The columns of a CSV list.
#[derive(Debug)]
struct Header {
    delimiter: u8,
    number: usize,
    score: Option<usize>,
    expires: Option<usize>,
}

enum Row {
    Entry(NumberEntry, Range<usize>),
    Expired(Range<usize>),
}

impl Header {
    /// The header, if the line is one: a line with a field `number`.
    fn of(line: &[u8]) -> Option<Self> {
        DELIMITERS.into_iter().find_map(|delimiter| {
            let names = column_names(line, delimiter)?;
            let column = |wanted: &[u8]| names.iter().position(|name| name == wanted);
            let number = column(b"number")?;
            Some(Self { delimiter, number, score: column(b"score"), expires: column(b"expires") })
        })
    }

    fn row(
        &self,
        line: &[u8],
        form: &NumberForm<'_>,
        today: Day,
        scratch: &mut Vec<Range<usize>>,
    ) -> Result<Row, Mistake> {
        scratch.clear();
        for field in Fields::new(line, self.delimiter) {
            scratch.push(trimmed(line, unquoted_span(line, field?)));
        }
        let Some(span) = scratch.get(self.number).cloned().filter(|span| !span.is_empty()) else {
            return Err(Mistake::new(Code::BadCsv, 0..line.len(), "this row has no number")
                .help("fill in its column `number`, or remove the row"));
        };
        if let Some(expires) = self.expires.and_then(|column| scratch.get(column)).filter(|span| !span.is_empty()) {
            let day = day(&line[expires.clone()]).ok_or_else(|| {
                Mistake::new(Code::BadDate, expires.clone(), "this is not a date").help("write it as 2027-01-31")
            })?;
            if day < today {
                return Ok(Row::Expired(expires.clone()));
            }
        }
        let mut entry = number(&line[span.clone()], form).map_err(|mistake| moved(mistake, span.start))?;
        if let Some(score) = self.score.and_then(|column| scratch.get(column)) {
            let digits = &line[score.clone()];
            entry.score = std::str::from_utf8(digits)
                .ok()
                .and_then(|text| text.parse().ok())
                .filter(|score| *score <= 100)
                .ok_or_else(|| {
                    let shown = String::from_utf8_lossy(digits);
                    Mistake::new(Code::BadScore, score.clone(), format!("`{shown}` is not a score"))
                        .help("a whole number from 0 to 100")
                })?;
        }
        Ok(Row::Entry(entry, span))
    }
}

/// What may stand between fields: spreadsheets write semicolons where the comma is the decimal point.
pub(crate) const DELIMITERS: [u8; 3] = [b',', b';', b'\t'];

/// The fields of a header row, in small letters; none if it cannot be read.
pub(crate) fn column_names(line: &[u8], delimiter: u8) -> Option<Vec<Vec<u8>>> {
    Fields::new(line, delimiter)
        .map(|field| field.ok().map(|span| unquoted(&line[span]).trim_ascii().to_ascii_lowercase()))
        .collect()
}

/// The fields of one CSV row (RFC 4180, each record on one line): spans, quotes included.
pub(crate) struct Fields<'a> {
    line: &'a [u8],
    delimiter: u8,
    at: Option<usize>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(line: &'a [u8], delimiter: u8) -> Self {
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
                        let mistake =
                            Mistake::new(Code::BadCsv, start..line.len(), "this quoted field does not end on its line");
                        return Some(Err(
                            mistake.help("close the quotation mark; a quotation mark inside is written twice")
                        ));
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

fn unquoted(field: &[u8]) -> &[u8] {
    &field[unquoted_span(field, 0..field.len())]
}

pub(crate) fn unquoted_span(line: &[u8], span: Range<usize>) -> Range<usize> {
    let field = line[span.clone()].trim_ascii_end();
    if field.len() >= 2 && field.starts_with(b"\"") && field.ends_with(b"\"") {
        return span.start + 1..span.start + field.len() - 1;
    }
    span
}

pub(crate) fn trimmed(line: &[u8], span: Range<usize>) -> Range<usize> {
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

/// Reads a numbering table: CSV with a header row and a column `prefix` (E.164 digits); columns `country` (ISO 3166-1),
/// `region` (ISO 3166-2), `spid` or `ocn`, and `assigned` (`yes` or `no`) say what is known of the numbers behind it.
pub fn ranges(file: &Arc<PathBuf>, content: &[u8], diagnostics: &mut Diagnostics) -> Vec<NumberRange> {
    let mut teller = Teller::new(file, diagnostics);
    let mut rows = lines(content).filter(|(_, line)| !without_comment(line).1.is_empty());
    let Some((line, header)) = rows.next() else { return Vec::new() };
    let found = DELIMITERS.into_iter().find_map(|delimiter| {
        let names = column_names(header, delimiter)?;
        names.iter().any(|name| name == b"prefix").then_some((delimiter, names))
    });
    let Some((delimiter, names)) = found else {
        let mistake = Mistake::new(Code::BadCsv, 0..header.len(), "the first row has no column `prefix`")
            .help("a numbering table begins with a header row such as `prefix,country,region,ocn,assigned`");
        teller.tell(Severity::Error, line, header, mistake);
        return Vec::new();
    };
    let column = |wanted: &[u8]| names.iter().position(|name| name == wanted);
    let columns = RangeColumns {
        prefix: column(b"prefix").unwrap_or(0),
        country: column(b"country"),
        region: column(b"region"),
        spid: column(b"spid").or_else(|| column(b"ocn")),
        assigned: column(b"assigned"),
    };
    let mut texts: HashMap<Vec<u8>, Arc<str>> = HashMap::new();
    let mut ranges = Vec::new();
    for (number, line) in rows {
        match columns.row(line, delimiter, &mut texts) {
            Ok(range) => ranges.push(range),
            Err(mistake) => teller.tell(Severity::Error, number, line, mistake),
        }
    }
    ranges
}

struct RangeColumns {
    prefix: usize,
    country: Option<usize>,
    region: Option<usize>,
    spid: Option<usize>,
    assigned: Option<usize>,
}

impl RangeColumns {
    fn row(&self, line: &[u8], delimiter: u8, texts: &mut HashMap<Vec<u8>, Arc<str>>) -> Result<NumberRange, Mistake> {
        let mut spans = Vec::with_capacity(8);
        for field in Fields::new(line, delimiter) {
            spans.push(trimmed(line, unquoted_span(line, field?)));
        }
        let field = |column: Option<usize>| column.and_then(|column| spans.get(column)).filter(|span| !span.is_empty());
        let mut text = |column: Option<usize>, valid: fn(&str) -> bool, what: &str| {
            let Some(span) = field(column) else { return Ok(None) };
            let value = line[span.clone()].to_ascii_uppercase();
            if let Some(known) = texts.get(&value) {
                return Ok(Some(Arc::clone(known)));
            }
            match String::from_utf8(value.clone()) {
                Ok(name) if valid(&name) => Ok(Some(Arc::clone(texts.entry(value).or_insert(name.into())))),
                _ => {
                    let shown = String::from_utf8_lossy(&line[span.clone()]);
                    Err(Mistake::new(Code::BadCsv, span.clone(), format!("`{shown}` is not {what}")))
                }
            }
        };
        let span = field(Some(self.prefix)).cloned();
        let span = span.ok_or_else(|| Mistake::new(Code::BadCsv, 0..line.len(), "this row has no prefix"))?;
        let prefix = &line[span.clone()];
        let digits = prefix.strip_prefix(b"+").unwrap_or(prefix);
        let plain = !digits.is_empty() && digits.len() <= MAX_DIGITS as usize && digits.iter().all(u8::is_ascii_digit);
        if !plain {
            let shown = String::from_utf8_lossy(prefix);
            return Err(Mistake::new(Code::BadNumber, span, format!("`{shown}` is not a prefix of numbers"))
                .help(format!("1 to {MAX_DIGITS} digits, country code first")));
        }
        let format = match field(self.assigned).map(|span| (span, line[span.clone()].to_ascii_lowercase())) {
            None => None,
            Some((_, value)) if matches!(value.as_slice(), b"yes" | b"true" | b"1") => Some(NumberFormat::Valid),
            Some((_, value)) if matches!(value.as_slice(), b"no" | b"false" | b"0") => {
                Some(NumberFormat::UnassignedBlock)
            }
            Some((span, value)) => {
                let shown = String::from_utf8_lossy(&value);
                let mistake = Mistake::new(Code::BadCsv, span.clone(), format!("`assigned` cannot be `{shown}`"));
                return Err(mistake.help("`yes` or `no`"));
            }
        };
        Ok(NumberRange {
            prefix: digits.iter().map(|&digit| char::from(digit)).collect(),
            country: text(self.country, numbering::is_country, "a country (ISO 3166-1)")?,
            region: text(self.region, numbering::is_region, "a region (ISO 3166-2)")?,
            spid: text(self.spid, is_spid, "an OCN or SPID")?,
            digits: None,
            format,
        })
    }
}

/// True for the form of an OCN or SPID: four letters and digits, capitals.
#[must_use]
pub fn is_spid(text: &str) -> bool {
    text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

/// Reads a pattern list: one regular expression a line, `#` at the start of a line begins a comment.
pub fn patterns(file: &Arc<PathBuf>, content: &[u8], diagnostics: &mut Diagnostics) -> Vec<PatternEntry> {
    let mut teller = Teller::new(file, diagnostics);
    let mut entries = Vec::new();
    for (number, line) in lines(content) {
        let text = line.trim_ascii();
        if text.is_empty() || text.starts_with(b"#") {
            continue;
        }
        let start = line.len() - line.trim_ascii_start().len();
        match pattern(text) {
            Ok((pattern, warning)) => {
                if let Some(mistake) = warning {
                    teller.tell(Severity::Warning, number, line, moved(mistake, start));
                }
                entries.push(PatternEntry { pattern, line: number });
            }
            Err(mistake) => teller.tell(Severity::Error, number, line, moved(mistake, start)),
        }
    }
    entries
}

/// Checks a regular expression in the form that the compiler reads it: over bytes, ASCII case-insensitive, without Unicode
/// classes. With it, what may be wrong with one that can be read.
///
/// # Errors
///
/// What is wrong with it, and where.
pub fn pattern(text: &[u8]) -> Result<(String, Option<Mistake>), Mistake> {
    let bad = |span: Range<usize>, message: String| Mistake::new(Code::BadPattern, span, message);
    let Ok(text) = std::str::from_utf8(text) else {
        return Err(bad(0..text.len(), "this pattern is not UTF-8".into()).help("write bytes as \\xNN"));
    };
    if text.is_empty() {
        return Err(Mistake::new(Code::Empty, 0..0, "an empty pattern matches every value")
            .help("leave the condition out to match any value; `^$` matches an empty one"));
    }
    let parsed = regex_syntax::ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .case_insensitive(true)
        .nest_limit(64)
        .build()
        .parse(text);
    let parsed = parsed.map_err(|error| {
        let (span, reason) = match &error {
            regex_syntax::Error::Parse(error) => (*error.span(), error.kind().to_string()),
            regex_syntax::Error::Translate(error) => (*error.span(), error.kind().to_string()),
            other => return bad(0..text.len(), format!("this regular expression cannot be read: {other}")),
        };
        let mut mistake =
            bad(span.start.offset..span.end.offset, format!("this regular expression cannot be read: {reason}"));
        mistake.help = mend_pattern(text, &reason);
        mistake
    })?;
    let properties = parsed.properties();
    let warning = (properties.minimum_len() == Some(0) && properties.look_set().is_empty()).then(|| {
        Mistake::new(Code::MatchesEverything, 0..text.len(), "this pattern matches every value, an empty one too")
            .help("patterns are not anchored: leave out what may be missing, or anchor it with `^` and `$`")
    });
    Ok((text.to_owned(), warning))
}

fn mend_pattern(text: &str, reason: &str) -> Option<String> {
    if reason.contains("look-around") {
        return Some(
            "look-around is not there: what must not match goes into a rule of its own, or `not.` before the scope"
                .into(),
        );
    }
    if reason.contains("repetition operator missing") {
        return Some(
            "`*`, `+` and `?` repeat what stands before them; the characters themselves are `\\*`, `\\+`, `\\?`".into(),
        );
    }
    if reason.contains("unclosed") || reason.contains("unopened") {
        let escaped = text.contains(['(', ')']);
        return Some(
            if escaped {
                "the brackets themselves are written `\\(` and `\\)`"
            } else {
                "a bracket itself is written `\\[`"
            }
            .into(),
        );
    }
    if reason.contains("Unicode") {
        return Some("patterns run over bytes: write ASCII classes such as [A-Za-z], and other bytes as \\xNN".into());
    }
    None
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    const E164: NumberForm<'_> = NumberForm { national: false, country_code: "1", national_prefix: "" };
    const NATIONAL: NumberForm<'_> = NumberForm { national: true, country_code: "1", national_prefix: "" };
    const GERMAN: NumberForm<'_> = NumberForm { national: true, country_code: "49", national_prefix: "0" };
    const TODAY: Day = (2026, 11, 21);

    fn file(name: &str) -> Arc<PathBuf> {
        Arc::new(Path::new(name).to_owned())
    }

    fn digits(entry: &NumberEntry) -> String {
        let digits = (0..entry.length).map(|at| char::from(b'0' + ((entry.digits >> (60 - 4 * at)) & 15) as u8));
        digits.chain(entry.exact.then_some('$')).collect()
    }

    fn read(name: &str, content: &str, form: &NumberForm<'_>) -> (Vec<String>, Vec<String>) {
        let mut told = Diagnostics::default();
        let numbers = numbers(&file(name), content.as_bytes(), form, TODAY, &mut told);
        let told = told
            .iter()
            .map(|one| format!("{}:{}", one.code.name(), one.place.as_ref().map_or(0, |place| place.line)))
            .collect();
        (numbers.entries.iter().map(digits).collect(), told)
    }

    #[test]
    fn numbers_are_read_in_all_their_spellings() {
        for (written, form, read) in [
            ("12025550100$", &E164, "12025550100$"),
            ("+1 (202) 555-01.00$", &E164, "12025550100$"),
            ("1605562", &E164, "1605562"),
            ("911$", &E164, "911$"),
            ("2025550100$", &NATIONAL, "12025550100$"),
            ("605", &NATIONAL, "1605"),
            ("12025550100$", &NATIONAL, "12025550100$"),
            ("+442079460123$", &NATIONAL, "442079460123$"),
            ("030 1234", &GERMAN, "49301234"),
            ("301234", &GERMAN, "49301234"),
            ("123456789012345", &E164, "123456789012345"),
        ] {
            let entry = number(written.as_bytes(), form).unwrap_or_else(|mistake| panic!("{written}: {mistake:?}"));
            assert_eq!(digits(&entry), read, "{written}");
        }
    }

    #[test]
    fn what_is_no_number_is_told_at_its_place() {
        for (written, form, at) in [
            ("12x", &E164, 2..3),
            ("+12x", &E164, 3..4),
            ("1$2", &E164, 1..2),
            ("1234567890123456", &E164, 0..16),
            ("12345678901234", &GERMAN, 0..14),
            ("$", &E164, 0..1),
            ("+", &E164, 0..1),
            ("0", &GERMAN, 0..1),
            ("1", &NATIONAL, 0..1),
            ("++1", &E164, 1..2),
        ] {
            let mistake = number(written.as_bytes(), form).expect_err(written);
            assert_eq!((mistake.code, mistake.span), (Code::BadNumber, at), "{written}");
        }
    }

    #[test]
    fn a_text_list_has_comments_blank_lines_and_any_line_ending() {
        let (entries, told) =
            read("x.txt", "\u{feff}# DNO\r\n\r\n12025550100$ # bank\r\n  1605562  \n+44 20 7946\n", &E164);
        assert_eq!(entries, ["12025550100$", "1605562", "44207946"]);
        assert!(told.is_empty(), "{told:?}");
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
            let (entries, told) = read("x.csv", content, &E164);
            assert_eq!(entries, ["12025550100$", "1605562"], "{content}");
            assert!(told.is_empty(), "{content}: {told:?}");
        }
    }

    #[test]
    fn scores_and_expiry_dates_are_read() {
        let content =
            "number,score,expires\n12025550100$,80,\n12025550101$,0,2026-11-21\n12025550102$,100,2026-11-20\n";
        let mut told = Diagnostics::default();
        let numbers = numbers(&file("x.csv"), content.as_bytes(), &E164, TODAY, &mut told);
        assert!(numbers.scored);
        let read: Vec<_> = numbers.entries.iter().map(|entry| (digits(entry), entry.score, entry.line)).collect();
        assert_eq!(read, [("12025550100$".to_owned(), 80, 2), ("12025550101$".to_owned(), 0, 3)]);
        let codes: Vec<_> = told.iter().map(|one| one.code).collect();
        assert_eq!(codes, [Code::ExpiredEntries]);
    }

    #[test]
    fn reading_goes_on_behind_a_mistake_and_names_its_line() {
        let (entries, told) = read("x.csv", "number\n12025550100$\nx\n\n12025550101$\n\"1\n", &E164);
        assert_eq!(entries, ["12025550100$", "12025550101$"]);
        assert_eq!(told, ["bad-number:3", "bad-csv:6"]);
    }

    #[test]
    fn mistakes_beyond_the_limit_are_counted() {
        let mut told = Diagnostics::default();
        addresses(&file("x.txt"), "nonsense\n".repeat(250).as_bytes(), &mut told);
        assert_eq!((told.iter().count(), told.count(Severity::Error)), (100, 250));
        assert!(told.render(false, None).contains("x.txt: 150 more errors, not listed"));
    }

    #[test]
    fn ten_digit_numbers_of_a_mixed_list_are_foreign_ones() {
        let told = |content| read("x.txt", content, &E164).1;
        assert_eq!(told("2025550100$\n3035550100$\n"), ["national-looking:1"]);
        assert_eq!(told("3035550100$\n442079460123$\n"), ["impossible-number:1"]);
        assert!(told("+2025550100\n").is_empty());
    }

    #[test]
    fn addresses_are_read_with_and_without_prefix_length() {
        let content = "192.0.2.1 # one\n192.0.2.0/24\r\n\n2001:db8::1\n2001:db8::/32\n0.0.0.0/1\n";
        let mut told = Diagnostics::default();
        let entries = addresses(&file("x.txt"), content.as_bytes(), &mut told);
        let read: Vec<_> =
            entries.iter().map(|entry| format!("{}/{}:{}", entry.address, entry.prefix, entry.line)).collect();
        assert_eq!(read, ["192.0.2.1/32:1", "192.0.2.0/24:2", "2001:db8::1/128:4", "2001:db8::/32:5", "0.0.0.0/1:6"]);
        assert!(told.is_empty(), "{told}");
    }

    #[test]
    fn a_host_in_a_network_is_told_the_network() {
        let mistake = address(b"192.0.2.77/26").expect_err("host bits are set");
        assert_eq!(mistake.code, Code::HostBits);
        assert_eq!(mistake.help.as_deref(), Some("did you mean `192.0.2.64/26`, or the one address `192.0.2.77`?"));
        for text in [
            "192.0.2.0/",
            "192.0.2.0/+8",
            "192.0.2.0/255.255.255.0",
            "192.0.2.0/033",
            "::/129",
            "1.2.3",
            "01.2.3.4",
            "",
        ] {
            assert_eq!(address(text.as_bytes()).expect_err(text).code, Code::BadAddress, "{text}");
        }
    }

    #[test]
    fn patterns_that_match_everything_are_told() {
        for text in ["a*", "(scan)?", "x{0,3}", "a|"] {
            let (_, warning) = pattern(text.as_bytes()).expect(text);
            assert_eq!(warning.map(|mistake| mistake.code), Some(Code::MatchesEverything), "{text}");
        }
        for text in ["a", "^$", "^a*$", r"\x00", "[^a]"] {
            assert!(pattern(text.as_bytes()).expect(text).1.is_none(), "{text}");
        }
    }

    #[test]
    fn a_numbering_table_is_read() {
        let content = "prefix,country,region,ocn,assigned\n1605562,US,us-sd,6529,yes\n1605563,,,,no\n1605x,US,,,\n1605564,UK,,,\n";
        let mut told = Diagnostics::default();
        let ranges = ranges(&file("x.csv"), content.as_bytes(), &mut told);
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
        let codes: Vec<_> = told.iter().map(|one| one.code).collect();
        assert_eq!(codes, [Code::BadNumber, Code::BadCsv]);
    }

    proptest! {
        #[test]
        fn an_ipv4_network_is_read_alike_in_one_pass_or_not(bits: u32, prefix in 0..=32_u8, whole: bool) {
            let IpAddr::V4(address) = network(IpAddr::V4(bits.into()), prefix) else { unreachable!() };
            let text = if whole { address.to_string() } else { format!("{address}/{prefix}") };
            let quick = plain_ipv4(text.as_bytes());
            prop_assert!(quick.is_some(), "{}", text);
            prop_assert_eq!(quick, any_address(text.as_bytes()).ok());
        }

        #[test]
        fn what_is_read_in_one_pass_is_right(text in "[0-2]?[0-9]{1,2}(\\.[0-9]{1,3}){2,4}(/[0-9.]{0,3})?[ #a/]?") {
            if let Some(entry) = plain_ipv4(text.as_bytes()) {
                prop_assert_eq!(Some(entry), any_address(text.as_bytes()).ok());
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read_as_any_list(content in proptest::collection::vec(any::<u8>(), 0..400), csv in any::<bool>()) {
            let mut told = Diagnostics::default();
            let content = if csv { [b"number,score,expires\n".as_slice(), &content].concat() } else { content };
            for form in [&E164, &NATIONAL, &GERMAN] {
                for entry in numbers(&file("x.csv"), &content, form, TODAY, &mut told).entries {
                    prop_assert!((1..=15).contains(&entry.length));
                    prop_assert_eq!(entry.digits << (4 * u32::from(entry.length)), 0);
                }
            }
            addresses(&file("x.txt"), &content, &mut told);
            patterns(&file("x.txt"), &content, &mut told);
            ranges(&file("x.csv"), &content, &mut told);
            prop_assert_eq!(told.render(true, None).is_empty(), told.is_empty());
        }

        #[test]
        fn a_network_written_out_is_read_back(address in any::<u32>(), length in 0..=32_u8, six in any::<u128>(), six_length in 0..=128_u8) {
            for (address, length) in [(IpAddr::V4(address.into()), length), (IpAddr::V6(six.into()), six_length)] {
                let network = network(address, length);
                if matches!(network, IpAddr::V6(six) if six.to_ipv4_mapped().is_some()) {
                    continue;
                }
                let entry = super::address(format!("{network}/{length}").as_bytes()).expect("it is a network");
                prop_assert_eq!((entry.address, entry.prefix), (network, length));
            }
        }

        #[test]
        fn a_number_is_its_digits_whatever_stands_between_them(text in "[0-9]([-. ()]?[0-9]){0,14}") {
            let entry = number(text.as_bytes(), &E164).expect("it has 1 to 15 digits");
            prop_assert_eq!(digits(&entry), text.replace(['-', '.', ' ', '(', ')'], ""));
        }
    }
}
