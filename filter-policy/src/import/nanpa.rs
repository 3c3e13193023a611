//! Central office codes: who holds which NPA-NXX of the North American Numbering Plan.
//!
//! NANPA's "Central Office Code Assignment Records" are tab-separated, with the columns `State`, `NPA-NXX`, `OCN`, `Company`,
//! `RateCenter`, `EffectiveDate`, `Use` (AS assigned, PR protected, RV reserved, UA unassignable, VC vacant), `AssignDate`,
//! `Initial/Growth` and `Pooled Code`. The report of available codes has only the first two. The Canadian administrator's
//! "CO Code Status" is CSV with `NPA`, `CO Code (NXX)`, `Status` (`In Service`, `Assigned`, `Available`, ...), `Province`,
//! `OCN` and others. Columns are found by name.
//!
//! If the report lists assigned codes in an area code, all other codes in it are unassigned: the output has one row for the
//! area code and one for each assigned code. If it lists no assigned code in an area code, the codes that it does list are
//! unassigned.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{ImportError, Imported, Problems, heading, input::column_key};
use crate::{
    lists::{self, Record, Records},
    numbering,
};

struct Columns {
    /// `NPA-NXX` in one column, or the area code and the exchange in two.
    code: (usize, Option<usize>),
    state: Option<usize>,
    ocn: Option<usize>,
    usage: Option<usize>,
}

/// What the report says about a code.
#[derive(Clone, PartialEq, Eq)]
struct Code {
    assigned: bool,
    state: String,
    ocn: String,
}

/// Reads a report.
pub(super) fn import(content: &[u8]) -> Result<Imported, ImportError> {
    let (columns, mut records) = columns(content)?;
    let mut problems = Problems::default();
    let mut codes: BTreeMap<u32, Code> = BTreeMap::new();
    let mut duplicates = 0;
    while let Some(record) = records.read() {
        let record = match record {
            Ok(record) => record,
            Err((line, text, mistake)) => {
                problems.add(line, text, mistake.message);
                continue;
            }
        };
        match row(&record, &columns) {
            Ok(None) => {}
            Ok(Some((code, read))) => match codes.get(&code) {
                None => {
                    codes.insert(code, read);
                }
                Some(known) if *known == read => duplicates += 1,
                Some(_) => problems.add(record.line, record.text, "another line contradicts this one"),
            },
            Err(reason) => problems.add(record.line, record.text, reason),
        }
    }
    Ok(output(&codes, duplicates, problems))
}

fn is_blank(line: &[u8]) -> bool {
    line.trim_ascii().is_empty()
}

fn columns(content: &[u8]) -> Result<(Columns, Records<'_>), ImportError> {
    for delimiter in [b'\t', b',', b';'] {
        let mut records = Records::new(content, delimiter, is_blank);
        let Some(names) = records.names() else { continue };
        let names: Vec<String> = names.iter().map(|name| column_key(name)).collect();
        let column = |wanted: &[&str]| wanted.iter().find_map(|wanted| names.iter().position(|name| name == wanted));
        let code = match column(&["npanxx", "cocode", "centralofficecode"]) {
            Some(code) => Some((code, None)),
            None => {
                column(&["npa", "areacode"]).zip(column(&["nxx", "cocodenxx", "exchange"])).map(|(a, b)| (a, Some(b)))
            }
        };
        if let Some(code) = code {
            let columns = Columns {
                code,
                state: column(&["state", "stateprovince", "province", "prov"]),
                ocn: column(&["ocn", "operatingcompanynumber"]),
                usage: column(&["use", "status", "codestatus", "assignment"]),
            };
            return Ok((columns, records));
        }
    }
    let (_, header) = lists::lines(content).find(|(_, line)| !is_blank(line)).unwrap_or_default();
    let shown: String = String::from_utf8_lossy(header).chars().take(80).collect();
    Err(ImportError::new(format!("the first line has no column `NPA-NXX`: {}", shown.escape_debug())).with_help(
        "pass the text file of NANPA's \"Central Office Code Assignment Records\" unchanged, with its header row and tabs",
    ))
}

/// A row's code, as a six-digit number. None for a row without one, such as the date in the Canadian file.
fn row(record: &Record<'_, '_>, columns: &Columns) -> Result<Option<(u32, Code)>, String> {
    let field = |column: Option<usize>| {
        let bytes = column.and_then(|column| record.field(column)).unwrap_or_default();
        String::from_utf8_lossy(&bytes.to_ascii_uppercase()).into_owned()
    };
    let (first, second) = columns.code;
    let written = field(Some(first)) + &field(second);
    if written.is_empty() {
        return Ok(None);
    }
    let digits: String = written.chars().filter(|character| !matches!(character, '-' | ' ' | '/')).collect();
    let code =
        digits.parse::<u32>().ok().filter(|_| digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_digit()));
    let code = code.filter(|code| *code >= 200_000).ok_or_else(|| format!("`{written}` is not an NPA-NXX"))?;

    let ocn = field(columns.ocn);
    // Codes without a holder have blanks, zeros or a word in this column.
    let ocn = if lists::is_spid(&ocn) && ocn != "0000" { ocn } else { String::new() };
    let usage = field(columns.usage);
    let assigned = match (usage.as_str(), columns.usage) {
        ("AS" | "ASSIGNED" | "IN SERVICE", _) => true,
        ("", None) => !ocn.is_empty(),
        ("", Some(_)) => false,
        // The administrators' terms: two letters, or words such as `Available` or `Special Use`.
        (word, _) if UNASSIGNED_STATES.contains(&word) => false,
        (word, _) => return Err(format!("unknown use `{word}`")),
    };
    let ocn = if assigned { ocn } else { String::new() };
    Ok(Some((code, Code { assigned, state: field(columns.state), ocn })))
}

/// States of codes without subscribers: NANPA's (protected, reserved, unassignable, unavailable, vacant) and the Canadian
/// administrator's.
const UNASSIGNED_STATES: [&str; 17] = [
    "PR",
    "RV",
    "UA",
    "UN",
    "VC",
    "AVAILABLE",
    "UNAVAILABLE",
    "RESERVED",
    "PROTECTED",
    "AGING",
    "SPECIAL USE",
    "PLANT TEST",
    "TEST CODE",
    "UNASSIGNABLE",
    "UNASSIGNED",
    "VACANT",
    "HELD",
];

fn output(codes: &BTreeMap<u32, Code>, duplicates: u64, problems: Problems) -> Imported {
    let mut content = heading("nanpa", "Holders are those of the blocks; ported numbers are not taken into account.");
    content.push_str("prefix,country,region,ocn,assigned\n");
    let mut entries = 0;
    let mut rest = codes.iter().peekable();
    while let Some(&(&first, _)) = rest.peek() {
        let area = first / 1000;
        let block: Vec<(u32, &Code)> = std::iter::from_fn(|| rest.next_if(|(code, _)| **code / 1000 == area))
            .map(|(code, of)| (*code, of))
            .collect();
        let reported = block.iter().any(|(_, code)| code.assigned);
        if reported {
            // Codes that the report does not list are not assigned.
            let (country, region) = place(area, common_state(&block));
            let _ = writeln!(content, "1{area},{country},{region},,no");
            entries += 1;
        }
        for (number, code) in block.into_iter().filter(|(_, code)| code.assigned == reported) {
            let (country, region) = place(area, &code.state);
            let assigned = if code.assigned { "yes" } else { "no" };
            let _ = writeln!(content, "1{number},{country},{region},{},{assigned}", code.ocn);
            entries += 1;
        }
    }
    Imported { content, entries, duplicates, problems, ..Imported::default() }
}

/// The state that all assigned codes are in; empty if they are in several.
fn common_state<'a>(block: &[(u32, &'a Code)]) -> &'a str {
    let mut states = block.iter().filter(|(_, code)| code.assigned).map(|(_, code)| code.state.as_str());
    let first = states.next().unwrap_or_default();
    if states.all(|state| state == first) { first } else { "" }
}

/// Country and region of a code, as far as they follow from its state and area code.
fn place(area: u32, state: &str) -> (String, String) {
    // The administrators' own abbreviations for the Northern Mariana Islands, Newfoundland, Quebec and the Yukon.
    let state = match state {
        "CM" => "MP",
        "NF" => "NL",
        "PQ" => "QC",
        "YK" => "YT",
        other => other,
    };
    let region = ["US", "CA"]
        .into_iter()
        .map(|country| format!("{country}-{state}"))
        .find(|region| numbering::is_region(region));
    match (numbering::area_code(&area.to_string()), region) {
        (Some((country, _)), Some(region)) => (country.to_owned(), region),
        (Some((country, region)), None) => (country.to_owned(), region.to_owned()),
        (None, Some(region)) => (region[..2].to_owned(), region),
        (None, None) => (String::new(), String::new()),
    }
}
