//! `ringfence events`: the packets that were dropped or would have been, one by one.

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
/// Each rule emits a limited number of events per second, so that a flood does not overload the daemon. `ringfence status`
/// shows how many were suppressed.
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
    /// Keep printing new events as they come
    #[arg(short, long)]
    pub follow: bool,
    /// How many past events to print first [default: all that the daemon keeps, or 10 with --follow]
    #[arg(short = 'n', long, value_name = "COUNT")]
    pub last: Option<usize>,
    /// Print JSON, one object per line
    #[arg(long)]
    pub json: bool,
    #[expect(missing_docs, reason = "each field has its own help")]
    #[command(flatten)]
    pub place: Place,
}

/// Runs `ringfence events`.
///
/// # Errors
/// No daemon answers.
pub fn run(args: EventsArgs) -> anyhow::Result<ExitCode> {
    let last = args.last.or(args.follow.then_some(10));
    let found = args.place.find()?;
    super::block_on(async {
        let client = Client::connect(&found.socket).await?;
        client.events(last, args.follow, |line| show(line, args.json)).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Prints one line of the answer. Fails once the output's reader is gone.
fn show(line: EventLine<'_>, json: bool) -> io::Result<()> {
    let mut output = io::stdout().lock();
    match line.message() {
        _ if json => writeln!(output, "{}", line.json())?,
        Some(Message::Notice(notice)) => writeln!(output, "{notice}")?,
        Some(Message::Packet(event)) => writeln!(output, "{}", event.line())?,
        Some(Message::Captured(_)) | None => writeln!(output, "{}", printable::escaped(line.json()))?,
    }
    output.flush()
}
