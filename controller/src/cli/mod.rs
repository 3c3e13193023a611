//! The command line: one file a subcommand.

pub mod check;
pub mod explain;
pub mod inspect;
pub mod replay;
pub mod test;

use std::{
    io::{self, IsTerminal as _},
    path::Path,
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::{
    policy::{
        self, Built,
        files::{Directory, Table},
    },
    sample_policy,
};

/// The answer is "no": a policy with errors, a failed policy test.
pub const EXIT_NO: u8 = 1;
/// Bad usage or bad input.
pub const EXIT_USAGE: u8 = 2;
/// The system refused: no permission, no interface, a kernel too old, the verifier.
pub const EXIT_SYSTEM: u8 = 3;

/// Packet-level SIP filter: drops unwanted SIP on the network card, by a policy in git.
#[derive(Debug, Parser)]
#[command(name = "ringfence", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    #[expect(missing_docs, reason = "its help stands with its arguments")]
    Check(check::CheckArgs),
    #[expect(missing_docs, reason = "its help stands with its arguments")]
    Explain(explain::ExplainArgs),
    #[expect(missing_docs, reason = "its help stands with its arguments")]
    Replay(replay::ReplayArgs),
    #[expect(missing_docs, reason = "its help stands with its arguments")]
    Inspect(inspect::InspectArgs),
    #[expect(missing_docs, reason = "its help stands with its arguments")]
    Test(test::TestArgs),
}

/// Runs the command line.
///
/// # Errors
///
/// What went wrong, for the last line on standard error.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Check(args) => check::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Test(args) => test::run(args),
    }
}

/// Builds the policy in a directory, or the sample policy. A policy with errors is shown, and its exit code returned.
///
/// # Errors
/// There is no such directory.
pub(crate) fn policy_or_sample(directory: Option<&Path>, json: bool) -> anyhow::Result<Result<Built, ExitCode>> {
    let today = policy::today();
    let result = match directory {
        Some(directory) => {
            let files = Directory::new(directory)
                .with_context(|| format!("failed to open the policy directory {}", directory.display()))?;
            policy::build(&files, today)
        }
        None => policy::build(&Table(sample_policy::FILES), today),
    };
    Ok(result.map_err(|diagnostics| {
        if json {
            diagnostics.iter().for_each(|diagnostic| eprintln!("{}", diagnostic.to_json()));
        } else {
            eprint!("{}", diagnostics.render(io::stderr().is_terminal(), directory));
        }
        ExitCode::from(EXIT_NO)
    }))
}

/// Text that came over the network, for a terminal: control characters are escaped.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}
