//! `cargo xtask`: the jobs of this repository that take more than one cargo command.

#![warn(clippy::wildcard_enum_match_arm, unreachable_pub)]

mod bench;
mod bench_policy;
#[path = "../../controller/build/bpf.rs"]
#[expect(dead_code, reason = "the build script uses the rest")]
mod bpf;
mod check;
mod demo;
mod fuzz;
mod lint;
mod numbering;
mod package;
mod servers;
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
    about = "Set up, build, demonstrate, test and measure Ringfence"
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measure what the filter costs, next to its alternatives.
    Bench(bench::Arguments),
    /// Write the largest policy that the filter accepts, and a capture for it, to measure with.
    BigPolicy(bench_policy::Arguments),
    /// Build everything, optimised.
    Build,
    /// Check formatting and lints, and run the tests that need no root.
    ///
    /// This is the loop for everyday work: nothing is installed, nothing is loaded into the kernel. Without the BPF compiler
    /// (see `cargo xtask setup`) it leaves out the crates that embed the XDP program, and says so.
    Check(StageArguments),
    /// Watch the filter drop a scan and Do-Not-Originate calls while ordinary calls go through.
    Demo(demo::Arguments),
    /// Fuzz the parsers of packets, messages, numbers, URIs and policies.
    Fuzz(fuzz::Arguments),
    /// Check formatting, lints (also those of the XDP program), and licences and sources of dependencies.
    Lint(StageArguments),
    /// Regenerate the built-in numbering tables from libphonenumber's metadata.
    Numbering,
    /// Make a Debian package, and the file system of a container image, in target/package.
    Package(package::Arguments),
    /// Compare what SIP servers read in generated messages with what the engine reads.
    Servers(servers::Arguments),
    /// Install what is missing to build, test and lint.
    Setup(setup::Arguments),
    /// Set up, build and run every test.
    Test(StageArguments),
    /// Boot other kernels, and run the engine's tests on each of them.
    Vm(vm::Arguments),
}

/// Which stages of a job to run.
#[derive(clap::Args)]
struct StageArguments {
    /// Run only this stage; can be given several times.
    #[arg(long, value_name = "STAGE")]
    only: Vec<String>,
}

fn main() -> ExitCode {
    // Only the message: a backtrace would push the summary off the screen.
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
        Task::Check(arguments) => check::run(&arguments.only),
        Task::Demo(arguments) => demo::run(&arguments),
        Task::Fuzz(arguments) => fuzz::run(&arguments),
        Task::Lint(arguments) => lint::run(&arguments.only),
        Task::Numbering => numbering::run_generator(),
        Task::Package(arguments) => package::run(&arguments),
        Task::Servers(arguments) => servers::run(&arguments),
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
