//! `ringfence check`: parse, resolve and compile a policy, and report what is wrong with it, or what it costs.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;

use super::{EXIT_NO, EXIT_USAGE, coloured, unless_closed};
use filter_policy::{
    BuildCache, Built,
    bounds::{Bounds, LIST_BYTES},
    files::Directory,
    language::{
        diagnostics::{Diagnostics, plural},
        printable,
    },
    lint::gateway,
    model::{AddressList, NumberList, PatternList, Policy, Test},
};

/// Check a policy: every error and warning, with file, line and how to fix it
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit status:
  0  the policy can be used; there may be warnings
  1  the policy has errors
  2  there is no such directory

Examples:
  ringfence check policies
  ringfence check --json policies")]
pub struct CheckArgs {
    /// The policy repository: a directory with a `policy.toml` in it
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// The most bytes of all lists of the policy together, as the daemon will have it [default: 1073741824]
    #[arg(long, value_name = "BYTES", value_parser = super::run::list_bytes())]
    pub max_list_bytes: Option<u64>,
    /// Print JSON, one object per line; the last one is a summary
    #[arg(long)]
    pub json: bool,
}

/// Runs `ringfence check`.
///
/// # Errors
///
/// The result cannot be written.
pub fn run(args: CheckArgs) -> anyhow::Result<ExitCode> {
    let files = match Directory::new(&args.directory) {
        Ok(files) => files,
        Err(error) => {
            eprintln!("ringfence: cannot open the policy directory {}: {error}", printable::path(&args.directory));
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    let list_bytes = args.max_list_bytes.unwrap_or(LIST_BYTES);
    let bounds = Bounds { list_bytes, ..Bounds::default() };
    let mut result = filter_policy::build_cached(&files, filter_policy::today(), &bounds, &mut BuildCache::default());
    if let Ok(built) = &mut result {
        gateway::warn(&built.policy, &files, &gateway::of_this_host(), &mut built.diagnostics);
    }
    let mut output = io::stdout().lock();
    let written = match (&result, args.json) {
        (Ok(built), true) => write_json(&mut output, &built.diagnostics, Some(built)),
        (Err(diagnostics), true) => write_json(&mut output, diagnostics, None),
        (Ok(built), false) => write_text(&mut output, &args.directory, &built.diagnostics, Some(built)),
        (Err(diagnostics), false) => write_text(&mut output, &args.directory, diagnostics, None),
    };
    unless_closed(written).context("failed to write the result")?;
    Ok(if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_NO) })
}

fn write_text(
    output: &mut impl Write,
    directory: &Path,
    diagnostics: &Diagnostics,
    built: Option<&Built>,
) -> io::Result<()> {
    let styled = coloured(&io::stdout());
    output.write_all(diagnostics.render(styled, Some(directory)).as_bytes())?;
    let totals = diagnostics.totals();
    match built {
        None => writeln!(output, "{}: cannot be used: {totals}", printable::path(directory)),
        Some(built) => {
            let found = if totals.is_empty() { "no warnings" } else { &totals };
            writeln!(output, "{}: can be used, {found}", printable::path(directory))?;
            if built.image.is_report() {
                writeln!(output, "  report mode as a whole: nothing is dropped")?;
            }
            let size = Size::of(built);
            writeln!(
                output,
                "  {} ({} in report mode), {}, {}, {}",
                count(size.rules, "rule", "rules"),
                size.report_rules,
                count(size.addresses, "address", "addresses"),
                count(size.numbers, "number", "numbers"),
                count(size.patterns, "pattern", "patterns"),
            )?;
            let mut parts = size.kernel_memory;
            parts.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
            let largest: Vec<String> = parts
                .iter()
                .take(3)
                .filter(|(_, part)| *part > 0)
                .map(|(name, part)| format!("{name} {}", bytes(*part)))
                .collect();
            let largest = largest.join(", ");
            writeln!(
                output,
                "  {} of kernel memory ({largest}, ...); hash {}",
                bytes(size.kernel_bytes),
                built.image.hash
            )
        }
    }
}

fn write_json(output: &mut impl Write, diagnostics: &Diagnostics, built: Option<&Built>) -> io::Result<()> {
    for diagnostic in diagnostics.iter() {
        writeln!(output, "{}", printable::json_line(&diagnostic.to_json()))?;
    }
    let mut summary = serde_json::json!({
        "severity": "info",
        "code": "summary",
        "message": if built.is_some() { "the policy can be used" } else { "the policy cannot be used" },
        "file": null,
        "line": null,
        "column": null,
        "end_column": null,
        "help": null,
        "errors": diagnostics.count(filter_policy::language::diagnostics::Severity::Error),
        "warnings": diagnostics.count(filter_policy::language::diagnostics::Severity::Warning),
    });
    if let Some(built) = built {
        let size = Size::of(built);
        summary["report"] = built.image.is_report().into();
        summary["rules"] = size.rules.into();
        summary["report_rules"] = size.report_rules.into();
        summary["addresses"] = size.addresses.into();
        summary["numbers"] = size.numbers.into();
        summary["patterns"] = size.patterns.into();
        summary["kernel_bytes"] = size.kernel_bytes.into();
        let parts = size.kernel_memory.iter().map(|(name, bytes)| ((*name).to_owned(), (*bytes).into()));
        summary["kernel_memory"] = serde_json::Value::Object(parts.collect());
        summary["hash"] = built.image.hash.as_str().into();
    }
    writeln!(output, "{summary}")
}

/// The size of a policy.
struct Size {
    rules: usize,
    report_rules: usize,
    addresses: usize,
    numbers: usize,
    patterns: usize,
    kernel_bytes: usize,
    /// Bytes by map.
    kernel_memory: Vec<(&'static str, usize)>,
}

impl Size {
    fn of(built: &Built) -> Self {
        let lists = Lists::of(&built.policy);
        let kernel_memory = built.image.kernel_memory();
        Self {
            rules: built.policy.rules.len(),
            report_rules: built.policy.rules.iter().filter(|rule| rule.report).count(),
            addresses: lists.addresses.iter().map(|list| list.entries.len()).sum(),
            numbers: lists.numbers.iter().map(|list| list.entries.len()).sum(),
            patterns: lists.patterns.iter().map(|list| list.entries.len()).sum(),
            kernel_bytes: kernel_memory.iter().map(|(_, bytes)| bytes).sum(),
            kernel_memory,
        }
    }
}

/// The lists that a policy uses, each once.
#[derive(Default)]
struct Lists<'a> {
    addresses: Vec<&'a AddressList>,
    numbers: Vec<&'a NumberList>,
    patterns: Vec<&'a PatternList>,
}

impl<'a> Lists<'a> {
    fn of(policy: &'a Policy) -> Self {
        fn add<'a, T>(to: &mut Vec<&'a T>, lists: &'a [std::sync::Arc<T>]) {
            for list in lists {
                if !to.iter().any(|known| std::ptr::eq(*known, &raw const **list)) {
                    to.push(list);
                }
            }
        }
        let mut lists = Self::default();
        add(&mut lists.addresses, &policy.never_ban);
        add(&mut lists.addresses, &policy.numbering.asserted_identity_from);
        for upstream in &policy.upstreams {
            add(&mut lists.addresses, &upstream.trunks);
            add(&mut lists.numbers, upstream.callers.as_deref().unwrap_or_default());
        }
        for test in policy.rules.iter().flat_map(|rule| &rule.conditions).map(|condition| &condition.test) {
            match test {
                Test::Source(found) | Test::Destination(found) => add(&mut lists.addresses, found),
                Test::AnyIdentity(found) | Test::Number(_, found) | Test::Reputation(found, ..) => {
                    add(&mut lists.numbers, found);
                }
                Test::Text(_, found) => add(&mut lists.patterns, found),
                Test::Transport(_)
                | Test::Port(_)
                | Test::Method(_)
                | Test::Country(..)
                | Test::Region(..)
                | Test::Spid(..)
                | Test::Format(..)
                | Test::Attestation(_)
                | Test::CallerAllowed(_)
                | Test::CallingPrivacy(_)
                | Test::Dialog(_)
                | Test::Passport(_)
                | Test::Payload(_)
                | Test::Verstat(_)
                | Test::Neighbor(_)
                | Test::Anomaly(_) => {}
            }
        }
        lists
    }
}

/// A count with its noun.
fn count(number: usize, one: &'static str, several: &'static str) -> String {
    format!("{number} {}", plural(number as u64, one, several))
}

fn bytes(count: usize) -> String {
    let kib = count as f64 / 1024.0;
    if kib < 1024.0 { format!("{kib:.0} KiB") } else { format!("{:.1} MiB", kib / 1024.0) }
}
