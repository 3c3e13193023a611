//! `ringfence import`: lists and numbering tables from their published formats.

use std::{
    fs::{self, File},
    io::{self, IsTerminal as _, Read as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::print;
use filter_policy::{
    import::{self, ColumnOptions, Format, Imported, MOST_BYTES, NumberOptions, Problems, ScoreOptions, SetOptions},
    language::{
        diagnostics::plural,
        printable::{self, json_line},
    },
};

/// Import lists and numbering tables from their published formats
///
/// The list goes to standard output, or with `-o` to a file of the policy repository. It is sorted, without duplicates and
/// without a date, so that a review shows what has changed. Lines that cannot be read are shown, counted and left out. If
/// the input is not a list (a log-in page, half a file), the output file is not touched.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit status:
  0  the list is written
  2  the input is not what it should be

Examples:
  ringfence import spamhaus-drop drop_v4.json -o lists/drop.txt
  fail2ban-client banned | ringfence import fail2ban -o lists/banned.txt
  ringfence import nanpa allutlzd.txt -o lists/numbering.csv")]
pub struct ImportArgs {
    /// The format of the input.
    #[command(subcommand)]
    source: Source,
}

/// The formats.
#[derive(Debug, clap::Subcommand)]
enum Source {
    /// Answers of APIBAN (JSON), for a set of `addresses`
    #[command(
        after_long_help = "Examples:\n  curl -sS https://apiban.org/api/$KEY/banned | ringfence import apiban -o lists/apiban.txt"
    )]
    Apiban(Common),
    /// Addresses and CIDRs, one per line or in a column, for a set of `addresses`
    ///
    /// Columns between bars, as in `64496 | EXAMPLE | 192.0.2.1`, are recognized. In other files, name the column.
    #[command(
        after_long_help = "Examples:\n  ringfence import cidr blocked.txt -o lists/blocked.txt\n  ringfence import cidr feed.csv -o lists/feed.txt --column ip"
    )]
    Cidr(CidrArgs),
    /// What `cscli decisions list -o raw` or `-o json` prints, for a set of `addresses`
    ///
    /// Only bans of addresses and ranges are imported. Other decisions are shown, counted and left out.
    #[command(
        after_long_help = "Examples:\n  cscli decisions list -o raw --limit 0 | ringfence import crowdsec -o lists/banned.txt"
    )]
    Crowdsec(Common),
    /// What `fail2ban-client banned`, `get JAIL banip` or `status JAIL` prints, for a set of `addresses`
    #[command(after_long_help = "Examples:\n  fail2ban-client banned | ringfence import fail2ban -o lists/banned.txt")]
    Fail2ban(Common),
    /// What `ipset save` or `ipset list` prints, for a set of `addresses`
    ///
    /// Entries with `nomatch` are taken out of wider ones.
    #[command(after_long_help = "Examples:\n  ipset save banned | ringfence import ipset -o lists/banned.txt")]
    Ipset(SetArgs),
    /// NANPA's central office code records (tab-separated), or the Canadian ones (CSV), for `ranges` of `[numbering]`
    ///
    /// In area codes that appear in the report, codes that it does not assign get the format `unassigned-block`. Holders
    /// (`calling_spid` and the like) are those of the blocks; ported numbers are not corrected.
    #[command(after_long_help = "Examples:\n  unzip -p allutlzd.zip | ringfence import nanpa -o lists/numbering.csv")]
    Nanpa(Common),
    /// What `nft list set` or `nft list ruleset` prints, also with `-j`, for a set of `addresses`
    #[command(
        after_long_help = "Examples:\n  nft list set inet filter banned | ringfence import nft -o lists/banned.txt\n  nft -j list ruleset | ringfence import nft --set banned --set banned6 -o lists/banned.txt"
    )]
    Nft(SetArgs),
    /// Numbers, one per line or in a column, such as Do-Not-Originate lists, for a set of `numbers`
    #[command(
        after_long_help = "Examples:\n  ringfence import numbers dno.csv -o lists/dno.csv --column \"Telephone Number\""
    )]
    Numbers(NumberArgs),
    /// Numbers with scores, in columns, for a set of `numbers` that `calling_reputation` uses
    #[command(
        after_long_help = "Examples:\n  ringfence import scores reputation.csv -o lists/reputation.csv --max-score 5"
    )]
    Scores(ScoreArgs),
    /// The Spamhaus DROP lists, as text or JSON lines, for a set of `addresses`
    #[command(after_long_help = "Examples:\n  ringfence import spamhaus-drop drop_v4.json -o lists/drop.txt")]
    SpamhausDrop(Common),
}

/// The options of every format.
#[derive(Debug, clap::Args)]
struct Common {
    /// The file to read; standard input if `-` or not given
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The list file to write; standard output if not given
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write nothing if more than this many entries cannot be read
    #[arg(long, value_name = "N", default_value_t = 100)]
    max_errors: u64,
    /// Print the summary as one JSON object: to standard output, or to standard error if the list goes to standard output
    #[arg(long)]
    json: bool,
}

/// The options of lists of addresses.
#[derive(Debug, clap::Args)]
struct CidrArgs {
    #[command(flatten)]
    common: Common,
    /// The column of the addresses: its name, or its number from 1
    #[arg(long, value_name = "COLUMN")]
    column: Option<String>,
    /// The character between columns, or `tab`
    #[arg(long, value_name = "CHARACTER", value_parser = separator)]
    separator: Option<u8>,
}

/// The options of sets of a firewall.
#[derive(Debug, clap::Args)]
struct SetArgs {
    #[command(flatten)]
    common: Common,
    /// The set to import, if the input has several; may be given several times
    #[arg(long = "set", value_name = "NAME")]
    sets: Vec<String>,
}

fn separator(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        [byte @ (b'\t' | b' '..=b'~')] if !byte.is_ascii_alphanumeric() && *byte != b'"' => Ok(*byte),
        _ => Err("one character such as `|`, `,` or `;`, or `tab`".to_owned()),
    }
}

/// The options of lists of numbers.
#[derive(Debug, clap::Args)]
struct NumberArgs {
    #[command(flatten)]
    common: Common,
    /// The country calling code of numbers without a plus
    #[arg(long, value_name = "CODE", default_value = "1")]
    country_code: String,
    /// The prefix dialled before a national number, such as 0
    #[arg(long, value_name = "DIGITS", default_value = "", hide_default_value = true)]
    national_prefix: String,
    /// Numbers without a plus are E.164 too
    #[arg(long)]
    e164: bool,
    /// The column of the numbers, if its name is unusual
    #[arg(long, value_name = "NAME")]
    column: Option<String>,
    /// Leave numbers out that fewer rows are about, as in lists of complaints
    #[arg(long, value_name = "N", default_value_t = 1)]
    min_count: u64,
    /// The column that says how many complaints a row stands for, if its name is unusual
    #[arg(long, value_name = "NAME")]
    count_column: Option<String>,
}

/// The options of lists of scores.
#[derive(Debug, clap::Args)]
struct ScoreArgs {
    #[command(flatten)]
    numbers: NumberArgs,
    /// The column of the scores, if its name is unusual
    #[arg(long, value_name = "NAME")]
    score_column: Option<String>,
    /// The score that becomes 100
    #[arg(long, value_name = "SCORE", default_value_t = 100.0)]
    max_score: f64,
}

impl NumberArgs {
    fn split(self) -> anyhow::Result<(NumberOptions, Common)> {
        let Self { common, country_code, national_prefix, e164, column, min_count, count_column } = self;
        if !filter_policy::numbering::is_country_code(&country_code) {
            bail!("`{country_code}` is not a country calling code: one to three digits, such as 1 or 49");
        }
        if !national_prefix.bytes().all(|byte| byte.is_ascii_digit()) {
            bail!("`{national_prefix}` cannot be dialled before a number: digits only");
        }
        Ok((NumberOptions { country_code, national_prefix, e164, column, min_count, count_column }, common))
    }
}

/// Runs `ringfence import`.
///
/// # Errors
/// The input cannot be read or is not of the format, or the output cannot be written.
pub fn run(args: ImportArgs) -> anyhow::Result<ExitCode> {
    let (format, common) = match args.source {
        Source::Apiban(common) => (Format::Apiban, common),
        Source::Cidr(CidrArgs { common, column, separator }) => {
            (Format::Cidr(ColumnOptions { column, separator }), common)
        }
        Source::Crowdsec(common) => (Format::Crowdsec, common),
        Source::Fail2ban(common) => (Format::Fail2ban, common),
        Source::Ipset(SetArgs { common, sets }) => (Format::Ipset(SetOptions { sets }), common),
        Source::Nft(SetArgs { common, sets }) => (Format::Nft(SetOptions { sets }), common),
        Source::Nanpa(common) => (Format::Nanpa, common),
        Source::Numbers(numbers) => {
            let (options, common) = numbers.split()?;
            (Format::Numbers(options), common)
        }
        Source::Scores(ScoreArgs { numbers, score_column, max_score }) => {
            let (options, common) = numbers.split()?;
            (Format::Scores(options, ScoreOptions { column: score_column, most: max_score }), common)
        }
        Source::SpamhausDrop(common) => (Format::SpamhausDrop, common),
    };
    let file = common.file.as_deref().filter(|file| *file != Path::new("-"));
    let name = file.map_or("standard input".to_owned(), printable::path);
    let content = read(file).with_context(|| format!("failed to read {name}"))?;
    let imported =
        import::import(&format, &content, common.max_errors).with_context(|| format!("failed to import {name}"))?;
    let changed = match &common.output {
        None => {
            print(&imported.content).context("failed to write the list")?;
            true
        }
        Some(output) => write(output, imported.content.as_bytes())
            .with_context(|| format!("failed to write {}", output.display()))?,
    };
    report(&format, &name, &common, &imported, changed)?;
    Ok(ExitCode::SUCCESS)
}

/// Reads a file, or standard input.
pub(super) fn read(file: Option<&Path>) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    match file {
        Some(file) => File::open(file)?.take(MOST_BYTES + 1).read_to_end(&mut content)?,
        None if io::stdin().is_terminal() => {
            eprintln!("reading from the terminal; end the list with Ctrl-D");
            io::stdin().take(MOST_BYTES + 1).read_to_end(&mut content)?
        }
        None => io::stdin().take(MOST_BYTES + 1).read_to_end(&mut content)?,
    };
    Ok(content)
}

/// Replaces the file in one step, or not at all; returns false if it has this content already.
fn write(output: &Path, content: &[u8]) -> io::Result<bool> {
    // A link stays a link; the file it points to is replaced.
    let output = fs::canonicalize(output).unwrap_or_else(|_| output.to_owned());
    let old = match fs::metadata(&output) {
        Ok(old) if !old.is_file() => {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it exists, and is not a regular file"));
        }
        old => old.ok(),
    };
    // Do not touch a file that does not change: whoever watches it has nothing to do.
    if old.is_some() && fs::read(&output).is_ok_and(|known| known == content) {
        return Ok(false);
    }
    let Some(name) = output.file_name() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file name"));
    };
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}", std::process::id()));
    let temporary = Temporary(output.with_file_name(hidden));
    let mut file = File::options().write(true).create_new(true).open(&temporary.0)?;
    file.write_all(content)?;
    if let Some(old) = old {
        file.set_permissions(old.permissions())?;
    }
    file.sync_all()?;
    fs::rename(&temporary.0, &output)?;
    Ok(true)
}

/// A file that is removed on drop, unless it has been renamed by then.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// How many unreadable lines the summary shows.
const SHOWN: usize = 20;

fn report(format: &Format, name: &str, common: &Common, imported: &Imported, changed: bool) -> io::Result<()> {
    let Imported { entries, duplicates, problems, notes, rare, .. } = imported;
    if common.json {
        let listed = |problems: &Problems| -> Vec<Value> {
            let listed = problems.listed.iter();
            listed.map(|one| json!({ "line": one.line, "text": one.text, "reason": one.reason })).collect()
        };
        let summary = json!({
            "format": format.name(),
            "input": name,
            "output": common.output.as_ref().map(|output| output.display().to_string()),
            "changed": changed,
            "entries": entries,
            "duplicates": duplicates,
            "rare": rare,
            "unreadable": problems.count,
            "problems": listed(problems),
            "noted": notes.count,
            "notes": listed(notes),
        });
        if common.output.is_some() {
            return print(&format!("{}\n", json_line(&summary)));
        }
        eprintln!("{}", json_line(&summary));
        return Ok(());
    }
    for (said, what, mark) in [(notes, "noted", ""), (problems, "left out", "left out: ")] {
        for one in said.listed.iter().take(SHOWN) {
            eprintln!("{name}:{}: {mark}{}", one.line, printable::escaped(&one.reason));
        }
        let shown = said.listed.len().min(SHOWN) as u64;
        if said.count > shown {
            eprintln!("{name}: {} more {what}, not listed (`--json` lists up to 100)", said.count - shown);
        }
    }
    let output = common.output.as_deref().map_or("standard output".to_owned(), printable::path);
    let state = if changed { "" } else { ", unchanged" };
    let rare = if *rare > 0 { format!(", {rare} with too few rows") } else { String::new() };
    eprintln!(
        "{output}: {entries} {}{state} ({duplicates} duplicates or covered by others, {} unreadable{rare})",
        plural(*entries, "entry", "entries"),
        problems.count
    );
    Ok(())
}
