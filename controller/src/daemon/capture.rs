//! The thread that reads captured packets, while somebody listens.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::sync::mpsc;

use super::inputs::Reported;
use crate::kernel::{self, CaptureRing, Pins};

/// How long the thread waits before it looks whether it is to end.
const WAIT: Duration = Duration::from_millis(200);

/// The most packets that are handed over at once.
const AT_ONCE: usize = 64;

/// How many times as many may wait for the daemon's loop. While it is busy, the packets wait in the kernel, where those that find no room are
/// counted.
pub(super) const WAITING: usize = 8;

/// A running thread. It ends when this is dropped.
pub(super) struct Capturing {
    ends: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl Capturing {
    /// Gives the program buffers to capture into, and reads them.
    pub(super) fn begin(pins: &Pins, to: mpsc::Sender<Vec<Reported>>) -> Result<Self, kernel::Error> {
        let mut ring = CaptureRing::open(pins)?;
        let is_ended = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_ended);
        let run = move || {
            while !ends.load(Ordering::Relaxed) {
                if let Err(error) = ring.wait(WAIT) {
                    tracing::warn!("captured packets are not read any more: {error}");
                    return;
                }
                let mut batch = Vec::new();
                let mut is_closed = false;
                ring.drain(|event, frame| {
                    batch.push((event, frame));
                    if batch.len() == AT_ONCE {
                        is_closed |= to.blocking_send(std::mem::take(&mut batch)).is_err();
                    }
                });
                if is_closed || !batch.is_empty() && to.blocking_send(batch).is_err() {
                    return;
                }
            }
        };
        let failed = |cause: io::Error| kernel::Error::System {
            doing: "start a thread for captured packets".to_owned(),
            cause: cause.into(),
        };
        let thread = thread::Builder::new().name("captures".to_owned()).spawn(run).map_err(failed)?;
        Ok(Self { ends: is_ended, thread })
    }
}

impl Capturing {
    /// False once the thread has ended by itself.
    pub(super) fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }
}

impl Drop for Capturing {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}
