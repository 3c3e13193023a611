//! A job made of named stages. Each stage's wall time is printed, and a summary comes last.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// One part of a job.
pub(crate) struct Stage {
    /// Its name for `--only`.
    pub name: &'static str,
    /// What it does, in a few words.
    pub about: &'static str,
    /// If it fails, the stages after it are not run.
    pub needed_by_the_rest: bool,
    pub run: fn() -> Result<Outcome>,
}

/// How a stage ended, unless it failed.
pub(crate) enum Outcome {
    /// It ran. The text is its result, and may be empty.
    Done(String),
    /// It cannot run here. The text says why.
    Skipped(String),
}

/// Runs the stages that `only` names, or all, in order, and prints a summary. After a failure the other stages still run,
/// unless they need the stage that failed.
pub(crate) fn run(job: &str, stages: &[Stage], only: &[String]) -> Result<()> {
    let known: Vec<_> = stages.iter().map(|stage| stage.name).collect();
    if let Some(unknown) = only.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("no stage {unknown:?}; the stages are: {}", known.join(", "));
    }
    let start = Instant::now();
    let mut rows = Vec::new();
    let mut failed = Vec::new();
    let mut left_out = false;
    for stage in stages.iter().filter(|stage| only.is_empty() || only.iter().any(|name| name == stage.name)) {
        if left_out {
            rows.push((stage.name, "left out", Duration::ZERO, String::new()));
            continue;
        }
        eprintln!("\n== {job}: {} ({})", stage.name, stage.about);
        let start = Instant::now();
        let (state, text) = match (stage.run)() {
            Ok(Outcome::Done(text)) => ("ok", text),
            Ok(Outcome::Skipped(text)) => {
                eprintln!("== {job}: {} SKIPPED: {text}", stage.name);
                ("SKIPPED", text)
            }
            Err(error) => {
                eprintln!("== {job}: {} FAILED: {error:#}", stage.name);
                failed.push(stage.name);
                left_out = stage.needed_by_the_rest;
                // The full error is printed above. The summary has its first line.
                ("FAILED", format!("{error:#}").lines().next().unwrap_or_default().to_owned())
            }
        };
        rows.push((stage.name, state, start.elapsed(), text));
    }
    println!("\n== {job}: summary");
    for (name, state, time, text) in rows {
        println!("{name:<12} {state:<8} {:>7.1} s  {text}", time.as_secs_f64());
    }
    println!(
        "{:<12} {:<8} {:>7.1} s",
        "all",
        if failed.is_empty() { "ok" } else { "FAILED" },
        start.elapsed().as_secs_f64()
    );
    if !failed.is_empty() {
        bail!("{job}: failed: {}", failed.join(", "));
    }
    Ok(())
}
