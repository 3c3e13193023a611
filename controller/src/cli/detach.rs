//! `ringfence detach`: takes the filter off.

use std::{
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use super::{Place, print, status};
use crate::{
    api::Client,
    kernel::{self, Error},
    telemetry::{Detached, Message, Notice},
};

/// How long a daemon may take to end: it finishes a reload first.
const PATIENCE: Duration = Duration::from_secs(20);

/// Take the filter off every interface and remove all that it keeps in the kernel: policies, counters, bans
///
/// A running daemon is asked to end first.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit status:
  0  nothing of the filter is left in the kernel
  3  the system refused, or the daemon did not end

Examples:
  ringfence detach")]
pub struct DetachArgs {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[expect(missing_docs, reason = "its help stands with its fields")]
    #[command(flatten)]
    pub place: Place,
}

/// Runs it.
///
/// # Errors
/// The daemon does not end, or the system refuses.
pub fn run(args: DetachArgs) -> anyhow::Result<ExitCode> {
    let pins = args.place.pins();
    let stopped = match super::block_on(stop(&args.place, pins.root())) {
        Ok(stopped) => stopped,
        // A daemon that cannot be spoken to must not keep the filter on: if it lives, its lock on the pins says so.
        Err(error) => {
            tracing::warn!("{error}");
            false
        }
    };
    let begin = Instant::now();
    let interfaces = loop {
        match kernel::detach(&pins) {
            // It has answered, but its process is still ending.
            Err(Error::Busy(_)) if stopped && begin.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(20)),
            result => break result?,
        }
    };
    let notice = Notice::Detached(Detached { interfaces, stopped_daemon: stopped, pins: pins.root().to_path_buf() });
    let text = if args.json { Message::from(notice).json_line() } else { notice.to_string() };
    print(&(text + "\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Asks the daemon of these pins to end. True if there is one.
async fn stop(place: &Place, pins: &Path) -> anyhow::Result<bool> {
    match status::ask(place).await? {
        Some(status) if status.pin_dir == pins => {
            Client::connect(&place.socket).await?.stop().await?;
            Ok(true)
        }
        _ => Ok(false),
    }
}
