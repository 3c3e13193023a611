//! The `ringfence` binary.

use std::process::ExitCode;

use clap::Parser;
use ringfence::cli;

fn main() -> ExitCode {
    match cli::run(cli::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ringfence: {error:#}");
            ExitCode::from(cli::EXIT_USAGE)
        }
    }
}
