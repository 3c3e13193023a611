//! `cargo xtask vm`: runs the engine's tests on other kernels.
//!
//! Each kernel boots in QEMU, without hardware virtualisation, from an initramfs with busybox, the test programs built on
//! this host, and their libraries. The tests load the XDP program with several policies, run packets through it, and attach
//! it to an interface. The verifier's counts are compared with a table in the repository.

mod guest;
mod kernels;
mod table;

use std::{fmt::Write as _, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::{
    setup,
    stages::Outcome,
    workspace::{self, run_silently},
};
use guest::{Bundle, Report, Run};
use kernels::{Freshness, SERIES, Series};
use table::Table;

/// The arguments of `cargo xtask vm`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Boot only the newest kernel of this series; can be given several times.
    #[arg(long = "kernel", value_name = "SERIES", value_parser = SERIES.map(|series| series.name))]
    kernels: Vec<String>,
    /// Only load the programs and run the packet fixtures, on the oldest kernel unless --kernel names others.
    #[arg(long)]
    quick: bool,
    /// Only load the programs, for the verifier's counts.
    #[arg(long, conflicts_with = "quick")]
    load_only: bool,
    /// Write the verifier's counts into the table, instead of comparing with it.
    #[arg(long)]
    record: bool,
    /// Print one JSON object per kernel.
    #[arg(long)]
    json: bool,
}

/// The series that a quick run boots: the oldest kernel, with the weakest verifier.
const QUICK_SERIES: &str = "6.1";

/// All that runs in a guest.
const FULL: Slice = Slice {
    runs: &[
        Run::of("verifier"),
        Run::of("fixtures"),
        Run::of("evasions"),
        Run { filters: &["user_space_kernel_and_oracle_agree"], cases: 2_000, ..Run::of("differential") },
        Run { needs_binary: true, attaches: true, ..Run::of("jumbo") },
        // Only some of them: each loads a program several times, which is slow here. And no swaps under traffic: see
        // `attaches`.
        Run {
            filters: &["the_filter_outlives_its_process", "without_native_mode", "events_name_what_was_dropped"],
            attaches: true,
            ..Run::of("kernel_filter")
        },
    ],
    // Minutes on an idle machine, and several times that on a busy one.
    limit: Duration::from_secs(2_400),
};

/// For `--quick`.
const QUICK: Slice = Slice { runs: &[Run::of("verifier"), Run::of("fixtures")], limit: Duration::from_secs(900) };

/// For `--load-only`.
const LOAD_ONLY: Slice = Slice { runs: &[Run::of("verifier")], limit: Duration::from_secs(900) };

/// Some of the tests, and the time after which a guest that runs them is considered hung.
struct Slice {
    runs: &'static [Run],
    limit: Duration,
}

/// Boots the kernels that the arguments name, and compares or records.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    ensure_x86_64()?;
    setup::ensure(&[setup::Group::Build, setup::Group::Kernels])?;
    let slice = match arguments {
        Arguments { quick: true, .. } => QUICK,
        Arguments { load_only: true, .. } => LOAD_ONLY,
        _ => FULL,
    };
    let wanted = |series: &&Series| {
        let named = arguments.kernels.iter().any(|name| name == series.name);
        named || arguments.kernels.is_empty() && (!arguments.quick || series.name == QUICK_SERIES)
    };
    let bundle = Bundle::new(slice.runs, slice.limit)?;
    let freshness = if arguments.quick { Freshness::Any } else { Freshness::Newest };
    let table = if arguments.record { None } else { Some(Table::read()?) };
    let mut failures = Vec::new();
    let mut summary = String::new();
    for series in SERIES.iter().filter(wanted) {
        let answer = on(series, freshness, &bundle, table.as_ref());
        if let Answer::Failed { error, .. } | Answer::Unavailable(error) = &answer {
            eprintln!("vm: {}: {}: {error:#}", series.name, answer.word());
            failures.push(format!("{} ({})", series.name, answer.word()));
        }
        if arguments.json {
            println!("{}", answer.json(series.name));
        }
        answer.describe(series.name, &mut summary)?;
    }
    if !arguments.json {
        print!("\n{summary}");
    }
    if arguments.record {
        eprintln!("vm: recorded in {}", table::PATH);
    }
    ensure!(failures.is_empty(), "failed on {}", failures.join(", "));
    Ok(())
}

/// A stage of the tests: loads the programs and runs the fixtures on the oldest kernel. Skipped, with the reason, where
/// that is not possible.
pub(crate) fn quick_stage() -> Result<Outcome> {
    let possible = ensure_x86_64().and_then(|()| setup::ensure(&[setup::Group::Kernels]));
    if let Err(error) = possible {
        return Ok(Outcome::Skipped(format!("{error:#}")));
    }
    let series = SERIES.iter().find(|series| series.name == QUICK_SERIES).context("there is a quick series")?;
    let bundle = Bundle::new(QUICK.runs, QUICK.limit)?;
    match on(series, Freshness::Any, &bundle, Some(&Table::read()?)) {
        Answer::Passed(report) => {
            let most = report.costs.values().map(|cost| cost.instructions).max().unwrap_or_default();
            Ok(Outcome::Done(format!(
                "{}: {} passed, at most {most} instructions verified",
                report.release,
                report.passed()
            )))
        }
        Answer::Unavailable(error) => Ok(Outcome::Skipped(format!("{error:#}"))),
        Answer::Failed { error, .. } => Err(error),
    }
}

/// The result for a kernel.
enum Answer {
    Passed(Report),
    /// A test failed, or the verifier processed more instructions than the budget. In the latter case there is a report.
    Failed {
        error: anyhow::Error,
        report: Option<Report>,
    },
    /// No kernel of the series is available.
    Unavailable(anyhow::Error),
}

/// Boots a kernel of a series, and compares with the table, or records.
fn on(series: &Series, freshness: Freshness, bundle: &Bundle, table: Option<&Table>) -> Answer {
    let kernel = match kernels::obtain(series, freshness) {
        Ok(kernel) => kernel,
        Err(error) => return Answer::Unavailable(error),
    };
    let report = match bundle.boot(&kernel) {
        Ok(report) => report,
        Err(error) => return Answer::Failed { error, report: None },
    };
    let result = match table {
        Some(table) => table.check(series.name, &report),
        None => Table::record(series.name, &report),
    };
    match result {
        Ok(()) => Answer::Passed(report),
        Err(error) => Answer::Failed { error, report: Some(report) },
    }
}

impl Answer {
    fn word(&self) -> &'static str {
        match self {
            Self::Passed(_) => "ok",
            Self::Failed { .. } => "FAILED",
            Self::Unavailable(_) => "NOT AVAILABLE",
        }
    }

    fn report(&self) -> Option<&Report> {
        match self {
            Self::Passed(report) => Some(report),
            Self::Failed { report, .. } => report.as_ref(),
            Self::Unavailable(_) => None,
        }
    }

    fn error(&self) -> Option<&anyhow::Error> {
        match self {
            Self::Passed(_) => None,
            Self::Failed { error, .. } | Self::Unavailable(error) => Some(error),
        }
    }

    /// As text: a line for the kernel, and one for each policy.
    fn describe(&self, series: &str, text: &mut String) -> Result<()> {
        write!(text, "{series:<7} {:<8}", self.word())?;
        if let Some(report) = self.report() {
            write!(text, "{}: {} tests passed in {} s", report.release, report.passed(), report.seconds)?;
        }
        if let Some(error) = self.error() {
            text.push_str(if self.report().is_some() { "; " } else { "" });
            write!(text, "{}", format!("{error:#}").lines().next().unwrap_or_default())?;
        }
        text.push('\n');
        for (policy, cost) in self.report().iter().flat_map(|report| &report.costs) {
            let guest::Cost { instructions, states, peak_states, load_ms } = cost;
            writeln!(
                text,
                "          {policy:<16} {instructions:>7} instructions, {states:>6} states ({peak_states} at once), loaded \
                 in {load_ms} ms"
            )?;
        }
        Ok(())
    }

    fn json(&self, series: &str) -> Value {
        let report = self.report();
        let policies = report.iter().flat_map(|report| &report.costs).map(|(policy, cost)| {
            json!({
                "policy": policy,
                "verified_instructions": cost.instructions,
                "states": cost.states,
                "peak_states": cost.peak_states,
                "load_ms": cost.load_ms,
            })
        });
        let tests = report
            .iter()
            .flat_map(|report| &report.tests)
            .map(|(name, test)| json!({ "name": name, "passed": test.passed, "seconds": test.seconds }));
        json!({
            "series": series,
            "kernel": report.map(|report| &report.release),
            "result": match self {
                Self::Passed(_) => "passed",
                Self::Failed { .. } => "failed",
                Self::Unavailable(_) => "unavailable",
            },
            "error": self.error().map(|error| format!("{error:#}")),
            "seconds": report.map(|report| report.seconds),
            "policies": policies.collect::<Vec<_>>(),
            "tests": tests.collect::<Vec<_>>(),
        })
    }
}

/// The guests are x86-64, and run programs built on this host.
fn ensure_x86_64() -> Result<()> {
    if !cfg!(target_arch = "x86_64") {
        bail!("kernels can be booted on x86-64 hosts only");
    }
    Ok(())
}
