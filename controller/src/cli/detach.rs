//! `ringfence detach`: takes the filter off.

use std::{
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use hyper::Method;
use serde_json::json;

use super::{Place, print, status};
use crate::{
    daemon::client::Client,
    kernel::{self, Error},
};
use filter_policy::language::printable;

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
    let text = if args.json {
        printable::json_line(&json!({"event": "detached", "interfaces": interfaces, "stopped_daemon": stopped})) + "\n"
    } else if interfaces.is_empty() {
        format!("no filter is attached by the pins in {}\n", pins.root().display())
    } else {
        let daemon = if stopped { ", and the daemon has ended" } else { "" };
        format!("the filter was taken off {}{daemon}\n", interfaces.join(", "))
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Asks the daemon of these pins to end. True if there is one.
async fn stop(place: &Place, pins: &Path) -> anyhow::Result<bool> {
    match status::ask(place).await? {
        Some(status) if status.pin_dir == pins => {
            let _: serde_json::Value = Client::connect(&place.socket).await?.json(Method::POST, "/stop").await?;
            Ok(true)
        }
        _ => Ok(false),
    }
}
