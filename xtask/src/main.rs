//! `cargo xtask`: everything about this repository that is more than one cargo command.

mod bench;
mod bench_policy;
#[path = "../../controller/build/bpf.rs"]
#[expect(dead_code, reason = "some of it serves only the build script")]
mod bpf;
mod demo;
mod fuzz;
mod lint;
mod numbering;
mod setup;
mod stages;
mod test;
mod versions;
mod vm;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Set-up, build, demo, tests and measurements of Ringfence"
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measure what the filter costs, beside what one would use instead.
    Bench(bench::Arguments),
    /// Write a policy as large as the filter takes, and a capture for it, to measure with.
    BigPolicy(bench_policy::Arguments),
    /// Build everything, optimised.
    Build,
    /// Watch scanner and Do-Not-Originate traffic being dropped while ordinary calls go through.
    Demo(demo::Arguments),
    /// Fuzz what reads packets, messages, numbers, URIs and policies.
    Fuzz(fuzz::Arguments),
    /// Check formatting, lints (the XDP program's too), licences and sources of dependencies.
    Lint(StageArguments),
    /// Regenerate the built-in numbering tables from libphonenumber's metadata.
    Numbering,
    /// Install what is missing to build, test and lint.
    Setup(setup::Arguments),
    /// Set up, build and run every test.
    Test(StageArguments),
    /// Boot other kernels, and run the engine's tests on each.
    Vm(vm::Arguments),
}

/// Which stages of a job to run.
#[derive(clap::Args)]
struct StageArguments {
    /// Run this stage only; can be given several times.
    #[arg(long, value_name = "STAGE")]
    only: Vec<String>,
}

fn main() -> ExitCode {
    // The message alone: a backtrace would push the summary out of sight.
    match run(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Bench(arguments) => bench::run(&arguments),
        Task::BigPolicy(arguments) => bench_policy::run(&arguments),
        Task::Build => build(),
        Task::Demo(arguments) => demo::run(&arguments),
        Task::Fuzz(arguments) => fuzz::run(&arguments),
        Task::Lint(arguments) => lint::run(&arguments.only),
        Task::Numbering => numbering::run_generator(),
        Task::Setup(arguments) => setup::run(&arguments),
        Task::Test(arguments) => test::run(&arguments.only),
        Task::Vm(arguments) => vm::run(&arguments),
    }
}

fn build() -> Result<()> {
    setup::ensure(&[setup::Group::Build])?;
    workspace::run(&mut workspace::cargo(["build", "--release"]))?;
    let binary = workspace::target().join("release/ringfence");
    println!("{} ({})", binary.display(), workspace::size_of_file(&binary)?);
    Ok(())
}
