//! Everything that can happen to the daemon, as one stream of events.

use std::{io, time::Duration};

use filter_core::layout;
use tokio::{
    io::unix::AsyncFd,
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

use super::Error;
use crate::{
    api::Request,
    deploy::{Deployer, Outcome},
    kernel::Ring,
    repository::LOOK_INTERVAL,
    telemetry::SourceError,
};

/// Time between two sweeps of the bans that have ended.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// The shortest limit of a watchdog that is kept.
const SHORTEST_WATCHDOG: Duration = Duration::from_millis(20);

/// Packet events taken from the ring at a time, before the loop turns to something else.
const PACKETS_AT_ONCE: usize = 256;

/// What is said of a packet, and its bytes.
pub(super) type Reported = (layout::Event, Vec<u8>);

/// Something that happened.
pub(super) enum Event {
    /// Time to tell the service manager that the loop is alive.
    Alive,
    /// A signal asks the daemon to end.
    End,
    /// Time to look for a change of the policy.
    Look,
    /// The program reports packets.
    Packets(Vec<Reported>),
    /// A look for a newer commit has ended.
    Refreshed(Result<(), SourceError>),
    /// A signal asks for a reload.
    Reload,
    /// A reload has finished.
    Reloaded(Box<Deployer>, Outcome),
    /// The API asks for something.
    Request(Request),
    /// Sampled packets.
    Sampled(Vec<Reported>),
    /// Time to remove the bans that have ended.
    Sweep,
    /// Time for a table.
    Tick,
}

/// The task of a running reload. It returns the deployer.
pub(super) type Reload = JoinHandle<(Deployer, Outcome)>;

/// The task of a look for a newer commit.
pub(super) type Refresh = JoinHandle<Result<(), SourceError>>;

/// Where events come from.
pub(super) struct Inputs {
    signals: Signals,
    requests: mpsc::Receiver<Request>,
    ring: AsyncFd<Ring>,
    samples: AsyncFd<Ring>,
    tick: Interval,
    look: Interval,
    sweep: Interval,
    /// None without a service manager that wants to know.
    watchdog: Option<Interval>,
    /// The reload at work, if there is one.
    pub(super) reload: Option<Reload>,
    /// The look for a newer commit, if one is at work.
    pub(super) refresh: Option<Refresh>,
}

impl Inputs {
    /// `interval` is the time between two tables.
    pub(super) fn new(
        signals: Signals,
        requests: mpsc::Receiver<Request>,
        [ring, samples]: [Ring; 2],
        interval: Duration,
    ) -> io::Result<Self> {
        let (tick, look, sweep) = (every(interval), every(LOOK_INTERVAL), every(SWEEP_INTERVAL));
        // As sd_watchdog_enabled(3) advises: twice as often as it has to be.
        let watchdog = sd_notify::watchdog_enabled().map(|limit| every(limit.max(SHORTEST_WATCHDOG) / 2));
        Ok(Self {
            signals,
            requests,
            ring: ring.into_async()?,
            samples: samples.into_async()?,
            tick,
            look,
            sweep,
            watchdog,
            reload: None,
            refresh: None,
        })
    }

    /// Waits for the next event.
    pub(super) async fn next(&mut self) -> Result<Event, Error> {
        Ok(tokio::select! {
            // In this order, so that a flood of packets delays neither the end nor a reload.
            biased;
            _ = self.signals.interrupt.recv() => Event::End,
            _ = self.signals.terminate.recv() => Event::End,
            request = self.requests.recv() => request.map_or(Event::End, Event::Request),
            _ = self.signals.hangup.recv() => Event::Reload,
            result = finished(&mut self.reload) => {
                let (deployer, outcome) = result?;
                Event::Reloaded(Box::new(deployer), outcome)
            }
            result = finished(&mut self.refresh) => Event::Refreshed(result?),
            () = next_of(&mut self.watchdog) => Event::Alive,
            _ = self.tick.tick() => Event::Tick,
            _ = self.look.tick() => Event::Look,
            _ = self.sweep.tick() => Event::Sweep,
            events = packets(&mut self.ring) => Event::Packets(events?),
            events = packets(&mut self.samples) => Event::Sampled(events?),
        })
    }

    /// Waits for the reload at work; forever if there is none.
    pub(super) async fn reloaded(&mut self) -> Result<(Deployer, Outcome), Error> {
        finished(&mut self.reload).await
    }
}

/// Waits for the next time; forever if there is none.
async fn next_of(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}

/// Waits for a task; forever if there is none.
async fn finished<T>(task: &mut Option<JoinHandle<T>>) -> Result<T, Error> {
    let Some(running) = task else { return std::future::pending().await };
    let result = running.await;
    *task = None;
    // A panic in a reload leaves the filter as it was in the kernel, but this process has lost its hold on it.
    result.map_err(|error| Error::Runtime(io::Error::other(error)))
}

/// Waits for packet events and takes some.
async fn packets(ring: &mut AsyncFd<Ring>) -> Result<Vec<Reported>, Error> {
    let mut guard = ring.readable_mut().await?;
    let mut events = Vec::new();
    while events.len() < PACKETS_AT_ONCE {
        match guard.get_inner_mut().pop() {
            Some(event) => events.push(event),
            None => {
                guard.clear_ready();
                break;
            }
        }
    }
    Ok(events)
}

fn every(period: Duration) -> Interval {
    let mut interval = interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    interval
}

/// The signals the daemon handles.
pub(super) struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Waits for a signal that asks the daemon to end.
    pub(super) async fn end(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }
}
