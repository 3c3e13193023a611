//! The thread that reads captured packets, while somebody listens.
//!
//! In a flood they are more than all else that the daemon reads, and the engine reads each of them. So they do not pass through the
//! daemon's loop.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use filter_policy::facts::PolicyFacts;
use tokio::sync::watch;

use crate::{
    kernel::{self, CaptureRing, Pins},
    telemetry::{Bus, EventReader, Interest, is_answered},
};

/// How long the thread waits before it looks whether it is to end.
const WAIT: Duration = Duration::from_millis(200);

/// Time between two looks at the clocks, and at the names of interfaces.
const CLOCK: Duration = Duration::from_secs(1);

/// What the policy in force says; another value each time one comes in force.
pub(super) type InForce = watch::Receiver<Option<Arc<PolicyFacts>>>;

/// A running thread. It ends when this is dropped.
pub(super) struct Capturing {
    ends: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl Capturing {
    /// Gives the program buffers to capture into, reads them, and publishes what is in them. `edge` is the host's name.
    pub(super) fn begin(
        pins: &Pins,
        edge: Option<String>,
        bus: Arc<Bus>,
        mut policy: InForce,
    ) -> Result<Self, kernel::Error> {
        let mut ring = CaptureRing::open(pins)?;
        let is_ended = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_ended);
        let pins = pins.clone();
        let run = move || {
            let facts = policy.borrow_and_update().clone();
            let mut reader = EventReader::new(pins, edge, facts);
            let mut clock_read = Instant::now();
            while !ends.load(Ordering::Relaxed) {
                if let Err(error) = ring.wait(WAIT) {
                    tracing::warn!("captured packets are not read any more: {error}");
                    return;
                }
                if clock_read.elapsed() >= CLOCK {
                    reader.read_clock();
                    clock_read = Instant::now();
                }
                // In a flood, most of what is dropped is of no use to whoever answers.
                let is_answered_alone = !bus.wants(Interest::CAPTURES) && !bus.wants(Interest::PASSED);
                ring.drain(|event, frame| {
                    if is_answered_alone && !is_answered(&event) {
                        return;
                    }
                    if policy.has_changed().unwrap_or(false) {
                        let facts = policy.borrow_and_update().clone();
                        reader.read_policy(facts);
                    }
                    bus.publish(reader.read_captured(event, frame));
                });
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
