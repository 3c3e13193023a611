//! The daemon: an event loop between the rooms below.
//!
//! [`Inputs`] turns everything that can happen into one [`Event`]; [`Daemon::handle_event`] hands it on. Policies are put
//! in force by [`deploy`](crate::deploy), changes noticed by [`repository`](crate::repository), counters and events read
//! by [`telemetry`](crate::telemetry) and shown by [`outputs`](crate::outputs).
//!
//! The filter does not need the daemon. When the daemon ends or is killed, the filter stays as it is, and the next daemon
//! adopts it.

mod capture;
mod inputs;

use std::{collections::VecDeque, io, net::SocketAddr, ops::ControlFlow, path::PathBuf, sync::Arc, time::Duration};

use filter_policy::{bounds::Cancel, facts::PolicyFacts};
use tokio::sync::{mpsc, oneshot, watch};

use self::{
    capture::Capturing,
    inputs::{Event, Inputs, Refresh, Reload, Signals},
};
use crate::{
    api::{self, Change, ReloadAnswer, Request, Socket, SocketError, TakeOffAnswer},
    deploy::{self, BanBook, Deployer, Keeper, Occasion, Outcome, Target},
    kernel::{self, Ring},
    outputs::{self, Host, ListenError, OutputOptions, Outputs, PasswordError, Prometheus},
    repository::{History, Repository, Source, Watch},
    responder::{self, Responder},
    telemetry::{Bus, EventReader, Interest, Meter, Notice, Sampling, Stopped, Talkers, Unread, captured_kinds},
};

/// How long the server gets to send the answer to a request to stop.
const LAST_ANSWER: Duration = Duration::from_millis(50);

/// How long a reload gets to end when the daemon ends.
const LAST_RELOAD: Duration = Duration::from_millis(300);

/// What the daemon is to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name of this host in events and in the status.
    pub edge: Option<String>,
    /// Where to filter.
    pub target: Target,
    /// Where the policy comes from.
    pub source: Source,
    /// The directory for what is needed across restarts.
    pub state: PathBuf,
    /// Where the API answers.
    pub socket: PathBuf,
    /// Bytes that the lists of a policy may have together.
    pub list_bytes: u64,
    /// Time between two tables.
    pub interval: Duration,
    /// JSON lines instead of text.
    pub json: bool,
    /// Only failures, where it is text.
    pub quiet: bool,
    /// Where metrics are offered to Prometheus; none if they are not.
    pub prometheus: Option<SocketAddr>,
    /// The outputs beside standard output.
    pub outputs: OutputOptions,
    /// How what rules reject or divert is answered.
    pub responder: responder::Options,
    /// How many packets of each kind are sampled in a second at most; 0 for none.
    pub samples: u32,
    /// Remove the filter at the end.
    pub detach_on_exit: bool,
}

/// Why the daemon could not begin, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The policy could not be put in force, or the filter not be removed.
    #[error(transparent)]
    Deploy(#[from] deploy::Error),
    /// The metrics cannot be offered.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The program's events cannot be read.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    /// The password of an output cannot be read.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The event loop could not be set up, or failed.
    #[error("failed to set up the event loop: {0}")]
    Runtime(#[from] io::Error),
    /// The socket could not be made.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// There is no place for what is needed across restarts.
    #[error("failed to keep a copy of the policy's repository in {}: {error}", path.display())]
    State {
        /// The state directory.
        path: PathBuf,
        /// The error of the system call.
        error: io::Error,
    },
}

/// Runs the daemon until it is asked to end.
///
/// # Errors
/// It could not begin.
pub fn run(options: Options) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let signals = Signals::new()?;
        // Before anything else, so that a second daemon fails before it has changed anything.
        let socket = Socket::bind(&options.socket)?;
        if !options.detach_on_exit {
            options.target.pins.ensure_lasting()?;
        }
        let prometheus = options.prometheus.map(Prometheus::listen).transpose()?;
        let bus = Arc::new(Bus::new(options.source.to_string(), options.edge.clone()));
        let group = api::group_id().unwrap_or_default();
        let host = Host { edge: options.edge.clone(), group, json: options.json };
        let mut all = outputs::named(options.outputs.clone(), host)?;
        all.insert(0, outputs::stdout(options.json, options.quiet));
        let outputs = Outputs::start(&bus, all)?;
        let pins = options.target.pins.clone();
        let talkers = Arc::new(Talkers::default());
        let exporter = |prometheus: Prometheus| prometheus.start(pins, Arc::clone(&bus), Arc::clone(&talkers));
        let _exporter = prometheus.map(exporter).transpose()?;
        let result = run_on(&bus, talkers, options, socket, signals).await;
        // Where the daemon has ended in order, the bus is closed already.
        bus.close(None);
        outputs.finish().await;
        result
    });
    // A policy that is still being compiled must not keep the process from ending. It has no hold on the filter any more.
    runtime.shutdown_background();
    result
}

async fn run_on(
    bus: &Arc<Bus>,
    talkers: Arc<Talkers>,
    options: Options,
    socket: Socket,
    mut signals: Signals,
) -> Result<(), Error> {
    let state = |error| Error::State { path: options.state.clone(), error };
    let repository = Repository::open(options.source.clone(), &options.state).map_err(state)?;
    let waiting = repository.clone();
    let first = tokio::task::spawn_blocking(move || waiting.await_first());
    tokio::select! {
        _ = first => {}
        () = signals.end() => {
            repository.stop();
            return Ok(());
        }
    }
    bus.set_source(repository.status());
    repository.notices().into_iter().for_each(|notice| bus.publish(notice));
    let history = History::new(&options.state, options.target.pins.root());
    let watch = Watch::new(repository.clone());
    let target = options.target.clone();
    let deployer = Deployer::open(repository.clone(), history.clone(), target, options.list_bytes);
    let deployer = deployer.map_err(deploy::Error::from)?;
    let keeper = deployer.keeper();
    let (sender, mut requests) = mpsc::channel(8);
    let bans = Arc::new(BanBook::new(options.target.pins.clone()));
    let shared = api::Shared {
        pins: options.target.pins.clone(),
        bans: Arc::clone(&bans),
        history,
        bus: Arc::clone(bus),
        talkers: Arc::clone(&talkers),
        requests: sender,
    };
    let server = tokio::spawn(api::serve(socket, shared));
    let (deployer, early) = match start(bus, deployer, &mut signals, &mut requests).await? {
        Start::Done(deployer, early) => (*deployer, early),
        Start::Ended { detach, answer, was_attached } => {
            repository.stop();
            let detach = detach || options.detach_on_exit || !was_attached;
            return end(bus, &keeper, &options, detach, answer).await;
        }
    };
    let pins = &options.target.pins;
    let rings = [Ring::open(pins)?, Ring::of_samples(pins)?];
    let inputs = Inputs::new(signals, requests, rings, options.interval)?;
    let sampling = Sampling::begin(pins, options.samples)?;
    talkers.set_sampled(options.samples != 0);
    talkers.set_policy(deployer.facts());
    bus.set_started();
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::warn!("failed to notify systemd that the daemon is ready: {error}");
    }
    let mut responder = Responder::new(options.responder.clone(), Arc::clone(bus));
    responder.set_policy(deployer.facts());
    let mut daemon = Daemon {
        bus: Arc::clone(bus),
        responder,
        bans,
        repository,
        watch,
        meter: Meter::new(options.target.pins.clone()),
        events: EventReader::new(options.target.pins.clone(), options.edge.clone(), deployer.facts()),
        sampling,
        talkers,
        in_force: watch::Sender::new(deployer.facts()),
        capturing: None,
        capture_error: None,
        deployer: Some(deployer),
        keeper,
        at_work: AtWork::default(),
        due: None,
        asked_by: String::new(),
        changes: VecDeque::new(),
        refresh_is_due: false,
        waiting: Waiting::default(),
        to_take_off: Vec::new(),
        options,
    };
    // Now, and not at the first look: what is dropped until then gets no answer.
    daemon.observe();
    for request in early {
        // None of them ends the daemon.
        let _ = daemon.handle_event(Event::Request(request));
    }
    let result = daemon.run(inputs).await;
    server.abort();
    let _ = server.await;
    result
}

/// What came of the start.
enum Start {
    /// The first policy is in force, and this was asked meanwhile.
    Done(Box<Deployer>, Vec<Request>),
    /// The daemon was asked to end.
    Ended { detach: bool, answer: Ending, was_attached: bool },
}

/// Puts the first policy in force, in a thread: it may take minutes, and whoever wants the daemon to end does not wait for it.
async fn start(
    bus: &Arc<Bus>,
    mut deployer: Deployer,
    signals: &mut Signals,
    requests: &mut mpsc::Receiver<Request>,
) -> Result<Start, Error> {
    let (keeper, was_attached) = (deployer.keeper(), deployer.was_attached());
    let cancel = deployer.begin();
    let publisher = Arc::clone(bus);
    let mut starting = tokio::task::spawn_blocking(move || {
        let result = deployer.start(&mut |notice| publisher.publish(notice));
        (deployer, result)
    });
    let mut early = Vec::new();
    let (detach, answer) = loop {
        tokio::select! {
            biased;
            () = signals.end() => break (false, None),
            request = requests.recv() => match request {
                Some(Request::Stop { detach, answer }) => break (detach, Some(answer)),
                Some(Request::TakeOff { interface, answer }) => match keeper.take_off(&interface) {
                    Some(result) => {
                        result.iter().for_each(|removed| bus.publish(Notice::Removed(removed.clone())));
                        let _ = answer.send(result.map_err(|error| error.to_string()));
                    }
                    None => early.push(Request::TakeOff { interface, answer }),
                },
                Some(request @ (Request::Change(..) | Request::Observe(_) | Request::Reload(..))) => early.push(request),
                None => break (false, None),
            },
            started = &mut starting => {
                let (deployer, result) = started.map_err(io::Error::other)?;
                result?;
                return Ok(Start::Done(Box::new(deployer), early));
            }
        }
    };
    cancel.cancel();
    Ok(Start::Ended { detach, answer, was_attached })
}

/// Lets go of the filter, or removes it, and says so. Whatever is still being compiled comes to nothing.
async fn end(bus: &Bus, keeper: &Keeper, options: &Options, detach: bool, answer: Ending) -> Result<(), Error> {
    // From here on another process may have the pins.
    keeper.end();
    let stopped = deploy::stop(&options.target, detach)?;
    bus.close(Some(Notice::Stopped(stopped.clone())));
    if let Some(answer) = answer {
        let _ = answer.send(stopped);
        tokio::time::sleep(LAST_ANSWER).await;
    }
    Ok(())
}

/// The reload or the change at work.
#[derive(Default)]
struct AtWork {
    /// Ends it early.
    cancel: Cancel,
    /// Why the policy is read again; none for a rollback or a release, which is not ended for anything but the daemon's end.
    occasion: Option<Occasion>,
}

struct Daemon {
    options: Options,
    bus: Arc<Bus>,
    responder: Responder,
    bans: Arc<BanBook>,
    repository: Repository,
    watch: Watch,
    meter: Meter,
    events: EventReader,
    sampling: Sampling,
    talkers: Arc<Talkers>,
    /// Tells the thread that reads captured packets which policy is in force.
    in_force: watch::Sender<Option<Arc<PolicyFacts>>>,
    /// What reads them; none while nobody listens.
    capturing: Option<Capturing>,
    /// Why packets cannot be captured.
    capture_error: Option<String>,
    /// None while a reload works with it.
    deployer: Option<Deployer>,
    keeper: Keeper,
    at_work: AtWork,
    /// A reload that is to begin, and why.
    due: Option<Occasion>,
    /// Who has asked for it, if someone has.
    asked_by: String,
    /// Rollbacks and releases that are to begin.
    changes: VecDeque<(Change, String, oneshot::Sender<ReloadAnswer>)>,
    /// Whether a look for a newer commit is to begin.
    refresh_is_due: bool,
    /// Who has asked for a reload.
    waiting: Waiting,
    /// Interfaces that the filter is to be taken off, and who asked for it.
    to_take_off: Vec<(String, oneshot::Sender<TakeOffAnswer>)>,
}

/// Who has asked for a reload, by what each is waiting for. A look or a reload that had begun before answers nobody: it may
/// have seen the state before.
#[derive(Default)]
struct Waiting {
    for_look: Vec<oneshot::Sender<ReloadAnswer>>,
    in_look: Vec<oneshot::Sender<ReloadAnswer>>,
    for_reload: Vec<oneshot::Sender<ReloadAnswer>>,
    in_reload: Vec<oneshot::Sender<ReloadAnswer>>,
}

fn answer(waiting: &mut Vec<oneshot::Sender<ReloadAnswer>>, answer: &ReloadAnswer) {
    for waiting in waiting.drain(..) {
        let _ = waiting.send(answer.clone());
    }
}

/// Who asked the daemon to end, if it was the API.
type Ending = Option<oneshot::Sender<Stopped>>;

impl Daemon {
    async fn run(mut self, mut inputs: Inputs) -> Result<(), Error> {
        let ending = loop {
            let event = inputs.next().await?;
            if let ControlFlow::Break(ending) = self.handle_event(event) {
                break ending;
            }
            if inputs.refresh.is_none() {
                inputs.refresh = self.begin_refresh();
            }
            if let Some(reload) = self.begin_reload() {
                inputs.reload = Some(reload);
            }
        };
        self.repository.stop();
        // A reload that is nearly done is noted and answered. Another one comes to nothing: it is done again at the next start.
        if inputs.reload.is_some() {
            self.at_work.cancel.cancel();
            if let Ok(reloaded) = tokio::time::timeout(LAST_RELOAD, inputs.reloaded()).await {
                let (deployer, outcome) = reloaded?;
                self.finish_reload(deployer, outcome);
            }
        }
        end(&self.bus, &self.keeper, &self.options, self.options.detach_on_exit, ending).await
    }

    /// Hands an event on to the room that deals with it.
    fn handle_event(&mut self, event: Event) -> ControlFlow<Ending> {
        match event {
            Event::Alive => {
                if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]) {
                    tracing::warn!("failed to notify systemd that the daemon is alive: {error}");
                }
            }
            Event::End => return ControlFlow::Break(None),
            Event::Look => {
                if let Err(error) = self.keeper.keep_time() {
                    tracing::warn!("failed to turn rules on and off by their hours: {error}");
                }
                self.keeper.keep_interfaces().into_iter().for_each(|notice| self.bus.publish(notice));
                self.take_off();
                self.report_source();
                self.observe();
                let settled = self.watch.look_in_time();
                if self.watch.is_restless() {
                    let message = "the policy's files have been changing for half a minute: they are read when they have come to rest";
                    self.bus.publish(Notice::Error { message: message.to_owned() });
                }
                if let Some(fingerprint) = settled {
                    self.ask_for_reload(Occasion::Changed(fingerprint));
                    // What it reads or compiles is not the newest any more.
                    if matches!(self.at_work.occasion, Some(Occasion::Changed(_))) {
                        self.at_work.cancel.cancel();
                    }
                }
            }
            Event::Packets(events) => {
                for (event, frame) in events {
                    self.bus.publish(self.events.read(event, &frame));
                }
            }
            Event::Sampled(events) => {
                for (event, frame) in events {
                    match self.events.read_sample(event, &frame) {
                        Ok(Some(sample)) => self.talkers.note(&sample),
                        Ok(None) => {}
                        Err(Unread) => self.talkers.note_lost(1),
                    }
                }
            }
            Event::Reloaded(deployer, outcome) => self.finish_reload(*deployer, outcome),
            Event::Refreshed(result) => {
                self.report_source();
                match result {
                    Ok(()) => {
                        self.waiting.for_reload.append(&mut self.waiting.in_look);
                        self.ask_for_reload(Occasion::Asked);
                    }
                    Err(error) => answer(&mut self.waiting.in_look, &Notice::SourceError(error)),
                }
            }
            Event::Request(Request::Change(change, by, answer)) => {
                self.changes.push_back((change, by, answer));
                // Whoever takes a policy back does not wait until the next one is compiled. That is begun again afterwards.
                if self.at_work.occasion.is_some() {
                    self.at_work.cancel.cancel();
                }
            }
            Event::Request(Request::Observe(answer)) => {
                let _ = answer.send(self.capture());
            }
            Event::Request(Request::Reload(by, answer)) => {
                self.asked_by = format!("reload, {by}");
                self.waiting.for_look.push(answer);
                self.refresh_is_due = true;
            }
            Event::Request(Request::Stop { detach, answer }) => {
                self.options.detach_on_exit |= detach;
                return ControlFlow::Break(Some(answer));
            }
            Event::Request(Request::TakeOff { interface, answer }) => {
                self.to_take_off.push((interface, answer));
                self.take_off();
            }
            Event::Reload => {
                self.asked_by = "SIGHUP".to_owned();
                self.refresh_is_due = true;
            }
            Event::Sweep => {
                // A full map takes a while.
                let bans = Arc::clone(&self.bans);
                tokio::task::spawn_blocking(move || {
                    if let Err(error) = bans.sweep() {
                        tracing::warn!("failed to remove the bans that have ended: {error}");
                    }
                });
            }
            Event::Tick => {
                self.events.read_clock();
                match self.meter.read() {
                    Ok(table) => self.bus.publish(Notice::Table(table)),
                    Err(error) => tracing::warn!("failed to read the counters: {error}"),
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Reports what is new about where the policy comes from.
    fn report_source(&self) {
        self.repository.notices().into_iter().for_each(|notice| self.bus.publish(notice));
        self.bus.set_source(self.repository.status());
    }

    /// Asks the program for what is listened to.
    fn observe(&mut self) {
        match self.capture() {
            Ok(()) => self.capture_error = None,
            // (It is tried again ten times a second.)
            Err(error) if self.capture_error.as_ref() == Some(&error) => {}
            Err(error) => {
                tracing::warn!("failed to capture packets: {error}");
                self.capture_error = Some(error);
            }
        }
        match self.sampling.adjust() {
            Ok(lost) => self.talkers.note_lost(lost),
            Err(error) => tracing::warn!("failed to ask the program for samples: {error}"),
        }
    }

    /// Captures packets if somebody listens to them.
    fn capture(&mut self) -> Result<(), String> {
        let (answered, passed) = (self.bus.wants(Interest::ANSWERED), self.bus.wants(Interest::PASSED));
        let dropped = passed || self.bus.wants(Interest::CAPTURES);
        let wants = answered || dropped;
        if !wants || self.capturing.as_ref().is_some_and(|capturing| !capturing.is_running()) {
            self.capturing = None;
        }
        let begun = if wants && self.capturing.is_none() {
            let Options { target, edge, .. } = &self.options;
            let (bus, policy) = (Arc::clone(&self.bus), self.in_force.subscribe());
            Capturing::begin(&target.pins, edge.clone(), bus, policy).map(|capturing| self.capturing = Some(capturing))
        } else {
            Ok(())
        };
        let kinds = {
            let is_read = self.capturing.is_some();
            captured_kinds(is_read && answered, is_read && dropped, passed)
        };
        begun.and(self.sampling.capture(kinds)).map_err(|error| error.to_string())
    }

    /// Begins the look for a newer commit that is due. It gets a thread, since it waits for the network.
    fn begin_refresh(&mut self) -> Option<Refresh> {
        if !std::mem::take(&mut self.refresh_is_due) {
            return None;
        }
        self.waiting.in_look.append(&mut self.waiting.for_look);
        let repository = self.repository.clone();
        Some(tokio::task::spawn_blocking(move || repository.refresh()))
    }

    /// Takes the filter off interfaces, unless a policy is being loaded: then afterwards.
    fn take_off(&mut self) {
        for (interface, answer) in std::mem::take(&mut self.to_take_off) {
            let Some(result) = self.keeper.take_off(&interface) else {
                self.to_take_off.push((interface, answer));
                continue;
            };
            if let Ok(removed) = &result {
                self.options.target.interfaces.retain(|known| known.name != interface);
                self.bus.publish(Notice::Removed(removed.clone()));
            }
            let _ = answer.send(result.map_err(|error| error.to_string()));
        }
    }

    fn ask_for_reload(&mut self, occasion: Occasion) {
        self.due = Some(self.due.map_or(occasion, |due| due.and(occasion)));
    }

    /// Begins the reload that is due, unless one is at work. It gets a thread: a policy with a million entries takes
    /// seconds, and the loop continues meanwhile.
    fn begin_reload(&mut self) -> Option<Reload> {
        if self.deployer.is_some()
            && let Some((change, by, answer)) = self.changes.pop_front()
        {
            let mut deployer = self.deployer.take()?;
            self.at_work = AtWork { cancel: deployer.begin(), occasion: None };
            self.waiting.in_reload.push(answer);
            return Some(tokio::task::spawn_blocking(move || {
                let outcome = match change {
                    Change::Release => deployer.release(&by),
                    Change::Rollback(generation) => deployer.rollback(generation, &by),
                };
                (deployer, outcome)
            }));
        }
        let occasion = self.due?;
        let mut deployer = self.deployer.take()?;
        self.at_work = AtWork { cancel: deployer.begin(), occasion: Some(occasion) };
        let by = if occasion == Occasion::Asked { self.asked_by.clone() } else { "change".to_owned() };
        self.due = None;
        if occasion == Occasion::Asked {
            self.waiting.in_reload.append(&mut self.waiting.for_reload);
        }
        self.watch.about_to_read(occasion.fingerprint());
        Some(tokio::task::spawn_blocking(move || {
            let outcome = deployer.reload(occasion, &by);
            (deployer, outcome)
        }))
    }

    fn finish_reload(&mut self, deployer: Deployer, outcome: Outcome) {
        self.deployer = Some(deployer);
        self.take_off();
        let occasion = self.at_work.occasion.take();
        match outcome {
            // To be done again.
            Outcome::Cancelled => {
                if let Some(occasion) = occasion {
                    self.due = Some(self.due.map_or(occasion, |due| occasion.and(due)));
                    self.waiting.for_reload.append(&mut self.waiting.in_reload);
                }
            }
            Outcome::Done { answer: result, notices } => {
                for notice in notices {
                    self.bus.publish(notice);
                }
                let facts = self.deployer.as_ref().and_then(Deployer::facts);
                self.talkers.set_policy(facts.clone());
                self.events.read_policy(facts.clone());
                self.in_force.send_replace(facts.clone());
                self.responder.set_policy(facts);
                self.observe();
                answer(&mut self.waiting.in_reload, &result);
            }
            // The next look notices the change.
            Outcome::Same | Outcome::Superseded => {}
        }
    }
}
