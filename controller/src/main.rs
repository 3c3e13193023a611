//! The `ringfence` binary.

use std::{io, process::ExitCode};

use clap::Parser;
use filter_policy::language::printable;
use ringfence::cli;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("RINGFENCE_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_writer(io::stderr).init();
    match cli::run(cli::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ringfence: {}", printable::lines(&format!("{error:#}")));
            if let Some(help) = cli::help(&error) {
                eprintln!("help: {help}");
            }
            ExitCode::from(cli::exit_status(&error))
        }
    }
}
