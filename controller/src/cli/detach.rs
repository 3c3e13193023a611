//! `ringfence detach`: removes the filter.

use std::{
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use super::{Place, place::Found, print, status};
use crate::{
    api::Client,
    kernel::{self, Error},
    telemetry::{Detached, Message, Notice},
};

/// How long a daemon may take to end; it finishes a reload first.
const PATIENCE: Duration = Duration::from_secs(20);

/// Remove the filter from every interface, and everything it keeps in the kernel: policies, counters, bans
///
/// A running daemon is stopped first.
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
    #[expect(missing_docs, reason = "each field has its own help")]
    #[command(flatten)]
    pub place: Place,
}

/// Runs `ringfence detach`.
///
/// # Errors
/// The daemon does not end, or the system refuses.
pub fn run(args: DetachArgs) -> anyhow::Result<ExitCode> {
    let Found { pins, socket, .. } = args.place.find()?;
    let stopped = match super::block_on(stop(&socket, pins.root())) {
        Ok(stopped) => stopped,
        // A daemon that does not answer must not keep the filter attached. If it is alive, its lock on the pins shows it.
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

/// Stops the daemon of these pins. True if there was one.
async fn stop(socket: &Path, pins: &Path) -> anyhow::Result<bool> {
    match status::ask(socket).await? {
        Some(status) if status.pin_dir == pins => {
            Client::connect(socket).await?.stop().await?;
            Ok(true)
        }
        _ => Ok(false),
    }
}
