//! A job made of named stages: each one's wall time is printed, and a summary ends the whole.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// One part of a job.
pub struct Stage {
    /// What `--only` calls it.
    pub name: &'static str,
    /// What it does, in half a line.
    pub about: &'static str,
    /// Whether the stages behind it make no sense when it fails.
    pub needed_by_the_rest: bool,
    /// Does it.
    pub run: fn() -> Result<Outcome>,
}

/// How a stage ended that did not fail.
pub enum Outcome {
    /// It did its job; the text says with which result, and may be empty.
    Done(String),
    /// It could not be done here; the text says why.
    Skipped(String),
}

/// Runs the stages that `only` names, or all, in order, and prints a summary. A stage that fails does not keep the others
/// from running, unless they need it.
pub fn run(job: &str, stages: &[Stage], only: &[String]) -> Result<()> {
    let known: Vec<_> = stages.iter().map(|stage| stage.name).collect();
    if let Some(unknown) = only.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("no stage {unknown:?}; there are: {}", known.join(", "));
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
                // The whole of it stands above; the summary names it.
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
