//! `ringfence events`: the packets that were dropped or would have been, one by one.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use super::{Place, filter::FilterArgs};
use crate::{
    api::{Client, EventLine},
    telemetry::{EventQuery, Message},
};
use filter_policy::language::printable;

/// Show the packets that were dropped, or would have been, and why
///
/// Each rule emits a limited number of events per second, so that a flood does not overload the daemon. `ringfence status`
/// shows how many were suppressed.
///
/// Filters choose which of them: by rule, source, number, verdict, mode and reason. The daemon applies them, also to the events that it
/// keeps. Several values of one filter are alternatives; an event must satisfy every filter that is given.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit status:
  0  the events were printed
  2  bad usage: a filter that is wrong, a rule that is not in force
  3  no daemon answers

Examples:
  ringfence events
  ringfence events --follow
  ringfence events --follow --rule scanners --source 198.51.100.0/24
  ringfence events --number +4930 --verdict drop --mode report
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
    pub filter: FilterArgs,
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
    let query = EventQuery { filter: args.filter.filter(), follow: args.follow, last };
    let found = args.place.find()?;
    super::block_on(async {
        let client = Client::connect(&found.socket).await?;
        client.events(&query, |line| show(line, args.json)).await
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
