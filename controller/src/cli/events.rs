//! `ringfence events`: the packets that were dropped, or would have been, one by one.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use super::Place;
use crate::{
    api::{Client, EventLine},
    telemetry::Message,
};
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
    let last = args.last.or(args.follow.then_some(10));
    super::block_on(async {
        let client = Client::connect(&args.place.socket).await?;
        client.events(last, args.follow, |line| show(line, args.json)).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Prints one line of the answer. Fails when nobody reads any more.
fn show(line: EventLine<'_>, json: bool) -> io::Result<()> {
    let mut output = io::stdout().lock();
    match line.message() {
        _ if json => writeln!(output, "{}", line.json())?,
        Some(Message::Notice(notice)) => writeln!(output, "{notice}")?,
        Some(Message::Packet(event)) => writeln!(output, "{}", event.line())?,
        None => writeln!(output, "{}", printable::escaped(line.json()))?,
    }
    output.flush()
}
