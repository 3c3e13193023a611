//! The command line: one file a subcommand.

pub mod check;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
}

/// Runs the command line.
///
/// # Errors
///
/// What went wrong, for the last line on standard error.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Check(args) => check::run(args),
    }
}
