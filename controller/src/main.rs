//! The `ringfence` binary.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser;
use filter_policy::language::printable;
use ringfence::{cli, outputs::Log};
use tracing_subscriber::{EnvFilter, fmt::writer::BoxMakeWriter};

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    // The daemon must not wait for the reader of its log; a command ends when its output has been written.
    let log = matches!(cli.command, cli::Command::Run(_)).then(Log::stderr).and_then(Result::ok);
    let writer = match log.clone() {
        Some(log) => BoxMakeWriter::new(move || log.clone()),
        None => BoxMakeWriter::new(io::stderr),
    };
    let filter = EnvFilter::try_from_env("RINGFENCE_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_writer(writer).init();
    let code = cli::run(cli).unwrap_or_else(|error| {
        let mut text = format!("ringfence: {}\n", printable::lines(&format!("{error:#}")));
        if let Some(help) = cli::help(&error) {
            text += &format!("help: {help}\n");
        }
        let _ = match log.clone() {
            Some(mut log) => log.write_all(text.as_bytes()),
            None => io::stderr().write_all(text.as_bytes()),
        };
        ExitCode::from(cli::exit_status(&error))
    });
    if let Some(log) = log {
        log.finish();
    }
    code
}
