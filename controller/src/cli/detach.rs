//! `ringfence detach`: removes the filter.

use std::{
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use super::{Place, place::Found, print, status};
use crate::{
    api::{Client, DetachRequest},
    kernel::{self, Error},
    telemetry::{Detached, Notice, Removed},
};

/// How long a daemon may take to end; it finishes a reload first.
const PATIENCE: Duration = Duration::from_secs(20);

/// Remove the filter from every interface, and everything it keeps in the kernel: policies, counters, bans
///
/// A running daemon is stopped first. With an interface, the filter is taken off that one only, and a running daemon goes on; if its
/// configuration names the interface, the next start filters there again.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit status:
  0  nothing of the filter is left in the kernel, or nothing on the interface
  1  the filter is not on the interface, or on no other
  3  the system refused, or the daemon did not end

Examples:
  ringfence detach
  ringfence detach eth1")]
pub struct DetachArgs {
    /// Take the filter off this interface only
    #[arg(value_name = "INTERFACE")]
    pub interface: Option<String>,
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
    let found = args.place.find()?;
    let notice = match args.interface {
        Some(interface) => from_one(&found, interface)?,
        None => Notice::Detached(from_all(&found)?),
    };
    print(&(if args.json { notice.json_line() } else { notice.to_string() } + "\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn from_one(found: &Found, interface: String) -> anyhow::Result<Notice> {
    let request = DetachRequest { interface };
    let asked = super::ask(found, async |client| client.take_off(&request).await)?;
    let notice = asked.or_without(found, || {
        kernel::take_off(&found.pins, &request.interface)?;
        Ok::<_, Error>(Notice::Removed(Removed { interface: request.interface.clone() }))
    })?;
    Ok(notice)
}

fn from_all(found: &Found) -> anyhow::Result<Detached> {
    let Found { pins, socket, .. } = found;
    let stopped = match super::block_on(stop(socket, pins.root())) {
        Ok(stopped) => stopped,
        // A daemon that does not answer must not keep the filter attached. If it is alive, its lock on the pins shows it.
        Err(error) => {
            tracing::warn!("{error}");
            None
        }
    };
    let begin = Instant::now();
    let left = loop {
        match kernel::detach(pins) {
            // It has answered, but its process is still ending.
            Err(Error::Busy(_)) if stopped.is_some() && begin.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(20));
            }
            result => break result?,
        }
    };
    let stopped_daemon = stopped.is_some();
    // A daemon that has ended has removed the filter itself.
    let interfaces = if left.is_empty() { stopped.unwrap_or_default() } else { left };
    Ok(Detached { interfaces, stopped_daemon, pins: pins.root().to_path_buf() })
}

/// Stops the daemon of these pins, which removes the filter. Returns the interfaces that it filtered on; none if there was no daemon.
async fn stop(socket: &Path, pins: &Path) -> anyhow::Result<Option<Vec<String>>> {
    match status::ask(socket).await? {
        Some(status) if status.pin_dir == pins => {
            Client::connect(socket).await?.stop(true).await?;
            Ok(Some(status.interfaces.into_iter().map(|on| on.interface).collect()))
        }
        _ => Ok(None),
    }
}
