//! `cargo xtask servers`: compares what SIP servers read with what the engine reads.

#![warn(clippy::wildcard_enum_match_arm, unreachable_pub)]

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::Parser;
use ringfence_servers::{
    EngineReader, FIELDS, Generated, Id, Options, Readers, Reading, attacks, cases, differences, messages,
    missing_packages, run,
};

#[derive(Parser)]
#[command(
    name = "cargo xtask servers",
    bin_name = "cargo xtask servers",
    about = "Compare what SIP servers read in generated messages with what the engine reads"
)]
struct Arguments {
    /// How many messages to compare
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    messages: u64,
    /// What the messages are drawn from
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// The number of the first message: continues a run that was stopped
    #[arg(long, value_name = "N", default_value_t = 0)]
    start: u64,
    /// Compare with this server only
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// Also list the differences that carry an anomaly
    #[arg(long)]
    flagged: bool,
    /// Print a message, and what each server and the engine read in it
    #[arg(long, value_name = "SEED:INDEX", conflicts_with = "file")]
    show: Option<Id>,
    /// Print what each server and the engine read in the message in this file
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Compare the corpus's messages (RINGFENCE_CORPUS, or ../shared/corpus) instead of generated ones
    #[arg(long, conflicts_with_all = ["show", "file"])]
    corpus: bool,
}

fn main() -> ExitCode {
    match compare(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn compare(arguments: &Arguments) -> Result<bool> {
    let missing = missing_packages();
    if !missing.is_empty() {
        eprintln!("WARNING: left out: {}", missing.join(", "));
    }
    let mut readers = Readers::start(arguments.server.as_deref())?;
    if let Some(id) = &arguments.show {
        let generated = Generated::new(id);
        println!("mutations: {}", generated.mutations.join(" "));
        return show(&mut readers, &generated.bytes(), &generated.read_by_engine(&EngineReader::new()?)).map(|()| true);
    }
    if let Some(file) = &arguments.file {
        let message = std::fs::read(file).with_context(|| format!("failed to read {}", file.display()))?;
        return show(&mut readers, &message, &EngineReader::new()?.read(&message)).map(|()| true);
    }
    if arguments.corpus {
        return compare_corpus(&mut readers).map(|()| true);
    }
    let options =
        Options { seed: arguments.seed, start: arguments.start, messages: arguments.messages, progress: true };
    let report = run(&mut readers, &options)?;
    println!("{}", report.render(arguments.flagged));
    Ok(report.is_clean())
}

fn show(readers: &mut Readers, message: &[u8], engine: &Reading) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{} bytes:", message.len())?;
    for line in message.split_inclusive(|&byte| byte == b'\n') {
        writeln!(out, "    {}", line.escape_ascii())?;
    }
    print(&mut out, "engine", engine)?;
    writeln!(out, "    anomalies: {}", engine.anomalies.join(", "))?;
    for (server, name) in readers.names().into_iter().enumerate() {
        let reading = readers.read_one(server, message)?;
        print(&mut out, name, &reading)?;
        for difference in differences(&reading, engine) {
            let flag = if difference.flagged { "flagged" } else { "SILENT" };
            writeln!(out, "    {flag}: {} {}", difference.field_name(), difference.what.name())?;
        }
    }
    Ok(())
}

fn print(out: &mut impl io::Write, name: &str, reading: &Reading) -> Result<()> {
    writeln!(out, "{name}: {:?} {}", reading.kind, reading.payload)?;
    for field in FIELDS {
        for value in reading.of(field) {
            writeln!(out, "    {}: {}", field.name(), value.escape_ascii())?;
        }
    }
    Ok(())
}

/// Prints a row for each difference in the corpus's messages.
fn compare_corpus(readers: &mut Readers) -> Result<()> {
    let engine = EngineReader::new()?;
    for (part, cases) in [("messages", messages()?), ("attacks", attacks()?), ("cases", cases()?)] {
        let cases = cases.unwrap_or_default();
        let bytes: Vec<_> = cases.iter().map(|case| case.message.clone()).collect();
        let readings = readers.read(&bytes)?;
        for (server, name) in readers.names().into_iter().enumerate() {
            for (case, reading) in cases.iter().zip(&readings[server]) {
                let ours = engine.read(&case.message);
                for difference in differences(reading, &ours) {
                    println!(
                        "{part}/{}\t{name}\t{}\t{}\t{}\t{}\t{}\t{}",
                        case.name,
                        difference.field_name(),
                        difference.what.name(),
                        if difference.flagged { "flagged" } else { "SILENT" },
                        difference.theirs,
                        difference.ours,
                        ours.anomalies.join(",")
                    );
                }
            }
        }
    }
    Ok(())
}
