//! The daemon: puts a policy in force, tells what the filter does, and follows the policy's changes.
//!
//! The filter does not need it. Ended or killed, it leaves the filter as it is; the next one adopts what it finds.

pub mod api;
pub mod client;
pub mod event;
pub mod status;
pub mod table;

mod output;
mod source;

use std::{
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use filter_core::layout::Event;
use serde_json::json;
use tokio::{
    io::unix::AsyncFd,
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Interval, MissedTickBehavior},
};

pub use self::source::Source;
use self::{
    api::{Events, Shared, Socket},
    event::{Clock, PacketEvent},
    output::Output,
    status::{DaemonFacts, short},
    table::Tables,
};
use crate::kernel::{self, Counts, Filter, Installed, ModeChoice, Pins, Ring, State};
use filter_policy::{
    BuildCache,
    language::diagnostics::{Diagnostics, plural},
};

/// How often the policy's files are looked at: a dozen files take some tens of microseconds.
///
/// A change is read when the files have stayed the same for one look: editors and git write several. The times of files
/// advance with the kernel's tick, every 10 ms at most, so that two writes can have one time. A look later they cannot any
/// more: what is read then is what was looked at, or a later look differs.
const LOOK: Duration = Duration::from_millis(100);

/// Events read before the loop turns to something else.
const EVENTS_AT_ONCE: usize = 256;

/// What `run` was asked to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to filter.
    pub interfaces: Vec<String>,
    /// By what.
    pub source: Source,
    /// How to attach.
    pub mode: ModeChoice,
    /// Where the filter's state lies.
    pub pins: Pins,
    /// Where the API answers.
    pub socket: PathBuf,
    /// Time between two tables.
    pub interval: Duration,
    /// JSON lines instead of text.
    pub json: bool,
    /// Take the filter off at the end.
    pub detach_on_exit: bool,
}

/// Why the daemon could not begin, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel's side refused.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    /// The policy has errors, which have been printed, and none is in force that could be kept.
    #[error("the policy {0} cannot be used ({1})")]
    Policy(String, String),
    /// The event loop could not be set up.
    #[error("failed to set up the event loop: {0}")]
    Runtime(io::Error),
    /// The socket cannot be made.
    #[error("failed to make the socket {}: {error}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another daemon answers there.
    #[error("another daemon answers at {}", .0.display())]
    SocketTaken(PathBuf),
}

/// What the API can ask of the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Reload,
    Stop,
}

/// Runs the daemon until it is asked to end.
///
/// # Errors
/// It could not begin.
pub fn run(options: Options) -> Result<(), Error> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?.block_on(async {
        let signals = Signals::new().map_err(Error::Runtime)?;
        // First of all, so that a second daemon finds out before it has changed anything.
        let socket = Socket::bind(&options.socket)?;
        Daemon::start(options)?.run(socket, signals).await
    })
}

struct Daemon {
    options: Options,
    output: Output,
    began: Instant,
    tables: Tables,
    /// None while a reload works with it.
    loader: Option<Loader>,
    /// What the policy's files looked like when they were last read.
    fingerprint: u64,
    policy_errors: u64,
    policy_error: Option<String>,
}

/// What puts policies in force.
struct Loader {
    filter: Filter,
    /// From the last policy, so that only what changed is read and compiled anew.
    cache: BuildCache,
}

/// A policy that came in force.
struct InForce {
    installed: Installed,
    hash: String,
    rules: usize,
    warnings: Diagnostics,
}

/// Why a policy did not come in force.
enum Refusal {
    /// Something is wrong with its files.
    Policy(Diagnostics),
    /// The kernel did not take it.
    Kernel(kernel::Error),
}

impl Daemon {
    /// Puts the policy in force, or keeps the one it finds where the new one cannot be used.
    fn start(options: Options) -> Result<Self, Error> {
        let output = Output::new(options.json);
        let fingerprint = options.source.fingerprint();
        let mut loader = Loader { filter: Filter::open(options.pins.clone())?, cache: BuildCache::default() };
        let adopted = loader.filter.is_attached()?;
        let result = loader.put_in_force(&options, || true);
        let mut daemon = Self {
            options,
            output,
            began: Instant::now(),
            tables: Tables::default(),
            loader: Some(loader),
            fingerprint,
            policy_errors: 0,
            policy_error: None,
        };
        match result {
            Ok(Some(in_force)) => daemon.tell_started(&in_force, adopted),
            Ok(None) => {}
            Err(Refusal::Policy(diagnostics)) if adopted => {
                daemon.tell_adopted()?;
                daemon.refuse(&Refusal::Policy(diagnostics));
            }
            Err(refusal) => {
                let error = match refusal {
                    Refusal::Policy(_) => {
                        daemon.refuse(&refusal);
                        let totals = daemon.policy_error.take().unwrap_or_default();
                        Error::Policy(daemon.options.source.to_string(), totals)
                    }
                    Refusal::Kernel(error) => error.into(),
                };
                daemon.loader = None;
                if !adopted {
                    // Nothing is attached: leave no pins behind.
                    kernel::detach(&daemon.options.pins)?;
                }
                return Err(error);
            }
        }
        Ok(daemon)
    }

    async fn run(mut self, socket: Socket, mut signals: Signals) -> Result<(), Error> {
        let (commands, mut requests) = mpsc::channel(8);
        let shared = Arc::new(Shared {
            pins: self.options.pins.clone(),
            facts: std::sync::Mutex::new(self.facts()),
            events: Events::new(),
            commands,
        });
        let server = tokio::spawn(socket.serve(Arc::clone(&shared)));
        let mut ring = Ring::open(&self.options.pins)?.into_async().map_err(Error::Runtime)?;
        let mut rules = RuleNames::read(&self.options.pins);
        let mut clock = Clock::now();
        let mut tick = interval(self.options.interval);
        let mut look = interval(LOOK);
        let mut changed: Option<u64> = None;
        let mut reloading: Option<Reload> = None;
        let mut waiting: Vec<oneshot::Sender<serde_json::Value>> = Vec::new();
        let mut reload_again = None;
        if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
            tracing::warn!("failed to tell systemd that the daemon is ready: {error}");
        }

        let stopped = loop {
            tokio::select! {
                // In this order: ending and reloading are not kept waiting by a flood of events.
                biased;
                _ = signals.interrupt.recv() => break None,
                _ = signals.terminate.recv() => break None,
                request = requests.recv() => match request {
                    Some((Command::Stop, answer)) => break Some(answer),
                    Some((Command::Reload, answer)) => {
                        waiting.push(answer);
                        reload_again = Some(Occasion::Asked);
                    }
                    None => break None,
                },
                _ = signals.hangup.recv() => reload_again = Some(Occasion::Asked),
                result = finished(&mut reloading) => {
                    reloading = None;
                    let (loader, result) = result?;
                    self.loader = Some(loader);
                    let answer = match result {
                        Ok(Some(in_force)) => Some(self.tell_reloaded(&in_force)),
                        // A later look finds them different from what was read.
                        Ok(None) => None,
                        Err(refusal) => Some(self.refuse(&refusal)),
                    };
                    if let Some(answer) = answer {
                        rules = RuleNames::read(&self.options.pins);
                        *shared.facts() = self.facts();
                        for waiting in waiting.drain(..) {
                            let _ = waiting.send(answer.clone());
                        }
                    }
                }
                _ = tick.tick() => {
                    clock = Clock::now();
                    match Counts::read(&self.options.pins) {
                        Ok(counts) => {
                            let table = self.tables.next(self.began.elapsed(), &counts);
                            shared.facts().table = Some(table.clone());
                            self.output.table(table);
                        }
                        Err(error) => tracing::warn!("failed to read the counters: {error}"),
                    }
                }
                _ = look.tick() => {
                    let fingerprint = self.options.source.fingerprint();
                    if fingerprint != self.fingerprint {
                        if changed == Some(fingerprint) {
                            let is_asked = reload_again == Some(Occasion::Asked);
                            reload_again = Some(if is_asked { Occasion::Asked } else { Occasion::Changed(fingerprint) });
                        } else {
                            tracing::debug!("change of the policy's files noticed");
                        }
                    }
                    changed = Some(fingerprint);
                }
                events = ready(&mut ring) => {
                    for event in events? {
                        shared.events.push(&PacketEvent::new(&event, rules.of(event.slot), &clock));
                    }
                }
            }
            if reloading.is_none()
                && let Some(occasion) = reload_again.take()
                && let Some(loader) = self.loader.take()
            {
                self.fingerprint = match occasion {
                    Occasion::Asked => self.options.source.fingerprint(),
                    Occasion::Changed(fingerprint) => fingerprint,
                };
                reloading = Some(reload(loader, self.options.clone(), occasion));
            }
        };

        // A policy that is on its way is let in: half-way is not a state to leave.
        if reloading.is_some() {
            let (loader, result) = finished(&mut reloading).await?;
            self.loader = Some(loader);
            match result {
                Ok(Some(in_force)) => drop(self.tell_reloaded(&in_force)),
                Ok(None) => {}
                Err(refusal) => drop(self.refuse(&refusal)),
            }
        }
        let answer = self.end()?;
        if let Some(stopped) = stopped {
            let _ = stopped.send(answer);
            // The server needs a moment to put the answer on its way; nobody waits longer for it than this.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        server.abort();
        let _ = server.await;
        Ok(())
    }

    fn end(&mut self) -> Result<serde_json::Value, Error> {
        let names = self.options.interfaces.join(", ");
        // Lets go of the pins: whoever comes next may have them from here on.
        self.loader = None;
        let text = if self.options.detach_on_exit {
            kernel::detach(&self.options.pins)?;
            format!("stopped; the filter was taken off {names}")
        } else {
            let mut command = "ringfence detach".to_owned();
            if self.options.pins != Pins::default() {
                command.push_str(&format!(" --pin-dir {}", self.options.pins.root().display()));
            }
            format!("stopped; the filter stays on {names} and goes on dropping, `{command}` takes it off")
        };
        let json = json!({
            "event": "stopped",
            "filter": if self.options.detach_on_exit { "not attached" } else { "attached" },
        });
        self.output.tell(&json, &text);
        Ok(json)
    }

    fn facts(&self) -> DaemonFacts {
        DaemonFacts {
            policy: self.options.source.to_string(),
            policy_errors: self.policy_errors,
            policy_error: self.policy_error.clone(),
            table: None,
        }
    }

    fn tell_started(&mut self, in_force: &InForce, adopted: bool) {
        self.show_warnings(&in_force.warnings);
        for attached in &in_force.installed.interfaces {
            let note = attached.note.as_deref().map_or_else(String::new, |note| format!("; {note}"));
            let adopted_text = if adopted { "; the filter was there already and was taken over" } else { "" };
            let text = format!(
                "filtering on {} in {} mode{adopted_text}{note}\npolicy {} ({}, {}), {} instructions verified",
                attached.interface,
                attached.mode,
                self.options.source,
                rules(in_force.rules),
                short(&in_force.hash),
                in_force.installed.verified_instructions,
            );
            let json = json!({
                "event": "started",
                "interface": attached.interface,
                "mode": attached.mode.name(),
                "note": attached.note,
                "adopted": adopted,
                "policy": self.options.source.to_string(),
                "policy_hash": in_force.hash,
                "generation": in_force.installed.generation,
                "rules": in_force.rules,
                "verified_instructions": in_force.installed.verified_instructions,
            });
            self.output.tell(&json, &text);
        }
        self.tell_removed(&in_force.installed);
    }

    /// The daemon begins with the filter as it found it.
    fn tell_adopted(&mut self) -> Result<(), Error> {
        let Some(state) = State::read(&self.options.pins)? else { return Ok(()) };
        for deployment in &state.deployments {
            let text = format!(
                "filtering on {} in {} mode; the filter was there already and keeps its policy ({})",
                deployment.interface,
                deployment.mode,
                short(&state.policy_hash)
            );
            let json = json!({
                "event": "started",
                "interface": deployment.interface,
                "mode": deployment.mode.name(),
                "note": null,
                "adopted": true,
                "policy": null,
                "policy_hash": state.policy_hash,
                "generation": state.generation,
                "rules": null,
                "verified_instructions": state.verified_instructions,
            });
            self.output.tell(&json, &text);
        }
        Ok(())
    }

    fn tell_reloaded(&mut self, in_force: &InForce) -> serde_json::Value {
        self.policy_error = None;
        self.show_warnings(&in_force.warnings);
        let milliseconds = in_force.installed.took.as_millis() as u64;
        let text = format!(
            "policy {} ({}, {}) in force, generation {}, {} instructions verified, {milliseconds} ms",
            self.options.source,
            rules(in_force.rules),
            short(&in_force.hash),
            in_force.installed.generation,
            in_force.installed.verified_instructions,
        );
        let json = json!({
            "event": "reloaded",
            "policy_hash": in_force.hash,
            "generation": in_force.installed.generation,
            "rules": in_force.rules,
            "verified_instructions": in_force.installed.verified_instructions,
            "milliseconds": milliseconds,
        });
        self.output.tell(&json, &text);
        for attached in in_force.installed.interfaces.iter().filter(|attached| attached.note.is_some()) {
            let note = attached.note.as_deref().unwrap_or_default();
            let json = json!({"event": "reattached", "interface": attached.interface, "mode": attached.mode.name(), "note": note});
            self.output.tell(&json, &format!("{}: {note}", attached.interface));
        }
        self.tell_removed(&in_force.installed);
        json
    }

    fn tell_removed(&mut self, installed: &Installed) {
        for interface in &installed.removed {
            let json = json!({"event": "removed", "interface": interface});
            self.output
                .tell(&json, &format!("{interface} is not among the interfaces any more: the filter was taken off it"));
        }
    }

    /// Tells what is wrong with a policy, and counts it. The one in force stays.
    fn refuse(&mut self, refusal: &Refusal) -> serde_json::Value {
        let (message, text, diagnostics) = match refusal {
            Refusal::Policy(diagnostics) => {
                let errors: Vec<_> = diagnostics.iter().map(|diagnostic| diagnostic.to_json()).collect();
                let message = diagnostics.totals();
                (message, diagnostics.render(false, self.options.source.directory()), errors)
            }
            Refusal::Kernel(error) => {
                let help = error.help().map_or_else(String::new, |help| format!("\n{help}"));
                (error.to_string(), format!("{error}{help}"), Vec::new())
            }
        };
        self.policy_errors += 1;
        self.policy_error = Some(message.clone());
        let json = json!({"event": "policy-error", "message": message, "diagnostics": diagnostics});
        self.output
            .tell(&json, &format!("{}\nthe policy {} cannot be used: {message}", text.trim_end(), self.options.source));
        json
    }

    fn show_warnings(&mut self, warnings: &Diagnostics) {
        if warnings.is_empty() {
            return;
        }
        let list: Vec<_> = warnings.iter().map(|diagnostic| diagnostic.to_json()).collect();
        let json = json!({"event": "policy-warning", "message": warnings.totals(), "diagnostics": list});
        self.output.tell(&json, &warnings.render(false, self.options.source.directory()));
    }
}

impl Loader {
    /// Reads, compiles and installs the policy; nothing if `is_current` says, when it is compiled, that its files have become
    /// other ones meanwhile. What was read of them may then be half the old and half the new policy, or a mistake that neither
    /// has.
    fn put_in_force(
        &mut self,
        options: &Options,
        is_current: impl FnOnce() -> bool,
    ) -> Result<Option<InForce>, Refusal> {
        let start = Instant::now();
        let built = options.source.build_cached(&mut self.cache);
        tracing::debug!(after = ?start.elapsed(), "policy built");
        if !is_current() {
            tracing::debug!("the policy's files changed while they were read");
            return Ok(None);
        }
        let built = built.map_err(Refusal::Policy)?;
        let commit = options.source.commit();
        let mut image = built.image;
        let installed = self
            .filter
            .install(&mut image, &options.interfaces, options.mode, commit.as_deref())
            .map_err(Refusal::Kernel)?;
        tracing::debug!(after = ?start.elapsed(), "policy in force");
        Ok(Some(InForce { installed, hash: image.hash, rules: image.rules.len(), warnings: built.diagnostics }))
    }
}

/// Why the policy is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Occasion {
    /// By the API or a signal: what is there now comes in force.
    Asked,
    /// Its files are other ones, of this fingerprint.
    Changed(u64),
}

/// A reload at work, on a thread of its own: lists of a million lines take seconds, and the loop goes on meanwhile.
type Reload = JoinHandle<Reloaded>;

type Reloaded = (Loader, Result<Option<InForce>, Refusal>);

fn reload(mut loader: Loader, options: Options, occasion: Occasion) -> Reload {
    tokio::task::spawn_blocking(move || {
        let is_current = || match occasion {
            Occasion::Asked => true,
            Occasion::Changed(fingerprint) => options.source.fingerprint() == fingerprint,
        };
        let result = loader.put_in_force(&options, is_current);
        (loader, result)
    })
}

/// Waits for a reload; for ever if there is none.
async fn finished(reload: &mut Option<Reload>) -> Result<Reloaded, Error> {
    match reload {
        // A panic in there leaves the filter as it was in the kernel, but this process has lost hold of it.
        Some(reload) => reload.await.map_err(|error| Error::Runtime(io::Error::other(error))),
        None => std::future::pending().await,
    }
}

/// Waits for events and takes some of them.
async fn ready(ring: &mut AsyncFd<Ring>) -> Result<Vec<Event>, Error> {
    let mut guard = ring.readable_mut().await.map_err(Error::Runtime)?;
    let mut events = Vec::new();
    while events.len() < EVENTS_AT_ONCE {
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

/// The names of rules by counter slot.
struct RuleNames(Vec<String>);

impl RuleNames {
    fn read(pins: &Pins) -> Self {
        Self(kernel::rule_names(pins).unwrap_or_else(|error| {
            tracing::warn!("failed to read the rule names: {error}");
            Vec::new()
        }))
    }

    fn of(&self, slot: u32) -> Option<&str> {
        self.0.get(usize::try_from(slot).ok()?).map(String::as_str)
    }
}

fn rules(count: usize) -> String {
    format!("{count} {}", plural(count as u64, "rule", "rules"))
}

fn interval(period: Duration) -> Interval {
    let mut interval = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    interval
}

/// The signals the daemon answers to.
struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }
}
