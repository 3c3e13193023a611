//! `ringfence events`: the packets that were dropped, or would have been, one by one.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use super::Place;
use crate::daemon::{client::Client, event::PacketEvent};
use filter_policy::language::printable;

/// Show the packets that were dropped, or would have been, and why
///
/// Each rule emits a limited number of events a second, so that a flood does not drown the daemon; `ringfence status` says how
/// many were kept back.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit status:
  0  the events were printed
  3  no daemon answers

Examples:
  ringfence events
  ringfence events --follow
  ringfence events --last 100 --json")]
pub struct EventsArgs {
    /// Go on with each event as it comes
    #[arg(short, long)]
    pub follow: bool,
    /// How many of the past events to begin with [default: all that the daemon keeps; with --follow 10]
    #[arg(short = 'n', long, value_name = "COUNT")]
    pub last: Option<usize>,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
    #[expect(missing_docs, reason = "its help stands with its fields")]
    #[command(flatten)]
    pub place: Place,
}

/// Runs it.
///
/// # Errors
/// No daemon answers.
pub fn run(args: EventsArgs) -> anyhow::Result<ExitCode> {
    let last = args.last.unwrap_or(if args.follow { 10 } else { usize::MAX });
    let path = format!("/events?follow={}&last={last}", args.follow);
    super::block_on(async {
        let mut client = Client::connect(&args.place.socket).await?;
        client.lines(&path, |line| show(line, args.json)).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Prints one line of the answer. An error means that nobody reads any more.
fn show(line: &[u8], json: bool) -> io::Result<()> {
    let text = String::from_utf8_lossy(line);
    let mut output = io::stdout().lock();
    if json {
        writeln!(output, "{text}")?;
    } else if let Ok(event) = serde_json::from_str::<PacketEvent>(&text) {
        writeln!(output, "{}", event.line())?;
    } else {
        // "missed", or something that a later daemon says.
        writeln!(output, "{}", printable::escaped(&text))?;
    }
    output.flush()
}
