//! Where telemetry goes.
//!
//! Each output has a thread, a bounded queue on the [`Bus`], and a count of the messages it lost, which `ringfence status`
//! shows. A slow or dead reader costs that output messages; it never holds up the daemon or another output.

mod destination;
mod fields;
mod file;
mod hep;
mod journal;
mod json_lines;
mod log;
mod prometheus;
mod syslog;
mod terminal;
mod trouble;

use std::{
    env,
    ffi::OsStr,
    fmt,
    io::{self, IsTerminal as _},
    path::PathBuf,
    thread,
    time::Duration,
};

use tokio::sync::oneshot;

pub use self::{
    destination::Destination,
    hep::{DEFAULT_ID, HepOptions, PasswordError},
    journal::{JOURNAL, is_journal},
    log::Log,
    prometheus::{Exporter, ListenError, Prometheus},
};
use self::{
    file::EventsFile,
    hep::Hep,
    journal::{Journal, JournalEvents},
    json_lines::JsonLines,
    syslog::Syslog,
    terminal::Terminal,
};
use crate::telemetry::{Bus, Interest, Message, Notice, QUEUE};

/// How long the daemon waits at its end for the outputs to write what is in their queues.
const FLUSH: Duration = Duration::from_secs(1);

/// Something that takes messages. It may block: it has a thread of its own.
pub trait Output: Send {
    /// Its name in the status.
    fn name(&self) -> &'static str;

    /// Which messages it wants.
    fn interest(&self) -> Interest;

    /// Takes a message. Failures are its own: a reader that goes away ends nothing.
    fn write(&mut self, message: &Message);

    /// How many of the messages that it took did not get out. It counts only what it knows of.
    fn lost(&self) -> u64 {
        0
    }

    /// How many of the messages that it took it has left out, because they are not for it.
    fn left_out(&self) -> u64 {
        0
    }
}

/// The outputs beside standard output: those that are named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputOptions {
    /// The file for packet events and notices.
    pub file: Option<PathBuf>,
    /// The journal's socket.
    pub journal: Option<PathBuf>,
    /// The syslog server.
    pub syslog: Option<Destination>,
    /// The capture server.
    pub hep: Option<HepOptions>,
}

/// What outputs say of this host, and what they need of it.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its name in the configuration.
    pub edge: Option<String>,
    /// The group that may read files of telemetry.
    pub group: Option<u32>,
    /// True if standard output is JSON.
    pub json: bool,
}

/// The outputs that are named.
///
/// # Errors
/// A file with a password cannot be read.
pub fn named(options: OutputOptions, host: Host) -> Result<Vec<Box<dyn Output>>, PasswordError> {
    let OutputOptions { file, journal, syslog, hep } = options;
    let Host { edge, group, json } = host;
    let mut outputs: Vec<Box<dyn Output>> = Vec::new();
    if let Some(path) = file {
        outputs.push(Box::new(EventsFile::new(path, group)));
    }
    if let Some(socket) = journal {
        // Where standard output is the journal, the notices are there already.
        let notices = json || !is_journal(io::stdout());
        outputs.push(Box::new(JournalEvents::new(socket, notices)));
    }
    if let Some(to) = syslog {
        let node = rustix::system::uname();
        let host = edge.clone().unwrap_or_else(|| node.nodename().to_string_lossy().into_owned());
        outputs.push(Box::new(Syslog::new(to, &host)));
    }
    if let Some(options) = hep {
        outputs.push(Box::new(Hep::new(options, edge)?));
    }
    Ok(outputs)
}

/// True for the periodic table of counters.
fn is_table(notice: &Notice) -> bool {
    matches!(notice, Notice::Table(_))
}

/// Standard output: JSON lines if asked for, else text; its failures go to standard error, unless both are the journal. `quiet` leaves only
/// failures in the text. The table needs a terminal whose cursor can be moved.
#[must_use]
pub fn stdout(json: bool, quiet: bool) -> Box<dyn Output> {
    let (stdout, stderr) = (io::stdout(), io::stderr());
    if json {
        return Box::new(JsonLines::new("stdout", stdout));
    }
    if is_journal(&stdout) {
        return Box::new(Journal::new("stdout", stdout, quiet));
    }
    let is_log = quiet || !stdout.is_terminal() || is_dumb(env::var_os("TERM").as_deref());
    let (to, failures): (Stream, Stream) = (Box::new(stdout), Box::new(stderr));
    Box::new(if is_log {
        Terminal::log("stdout", to, failures, quiet)
    } else {
        Terminal::redrawn("stdout", to, failures)
    })
}

/// True if a terminal of this type (`TERM`) only prints what it gets.
fn is_dumb(terminal: Option<&OsStr>) -> bool {
    terminal.is_none_or(|name| name.is_empty() || name == "dumb")
}

type Stream = Box<dyn io::Write + Send>;

/// The outputs that were started, each with a thread of its own.
pub struct Outputs {
    /// Each resolves when its output has written everything.
    finished: Vec<oneshot::Receiver<()>>,
}

impl fmt::Debug for Outputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outputs").field("count", &self.finished.len()).finish()
    }
}

impl Outputs {
    /// Subscribes each output to the bus and starts its thread.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn start(bus: &Bus, outputs: Vec<Box<dyn Output>>) -> io::Result<Self> {
        let mut finished = Vec::with_capacity(outputs.len());
        for mut output in outputs {
            let mut subscription = bus.subscribe(output.name(), output.interest(), QUEUE);
            let (sender, receiver) = oneshot::channel::<()>();
            thread::Builder::new().name(format!("output-{}", output.name())).spawn(move || {
                while let Some(message) = subscription.next_blocking() {
                    output.write(&message);
                    subscription.set_lost(output.lost());
                    subscription.set_left_out(output.left_out());
                }
                drop(sender);
            })?;
            finished.push(receiver);
        }
        Ok(Self { finished })
    }

    /// Waits until the outputs have written everything; call it after [`Bus::close`]. An output whose reader does not read
    /// is abandoned after a second.
    pub async fn finish(self) {
        let all = async {
            for finished in self.finished {
                // The sender is only ever dropped.
                let _ = finished.await;
            }
        };
        if tokio::time::timeout(FLUSH, all).await.is_err() {
            tracing::warn!("an output did not take its last messages");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, mpsc};

    use super::*;
    use crate::telemetry::Missed;

    /// Writes down what it gets, once it is let.
    struct Gated {
        gate: mpsc::Receiver<()>,
        written: Written,
    }

    impl Output for Gated {
        fn name(&self) -> &'static str {
            "gated"
        }

        fn interest(&self) -> Interest {
            Interest::NOTICES | Interest::PACKETS
        }

        fn write(&mut self, message: &Message) {
            // Fails at once when the gate is gone: then it is open for good.
            let _ = self.gate.recv();
            self.written.lock().unwrap().push(message.clone());
        }
    }

    type Written = Arc<Mutex<Vec<Message>>>;

    fn gated() -> (mpsc::Sender<()>, Written, Box<dyn Output>) {
        let (sender, gate) = mpsc::channel();
        let written = Written::default();
        (sender, Arc::clone(&written), Box::new(Gated { gate, written }))
    }

    fn missed(events: u64) -> Notice {
        Notice::Missed(Missed { events, ..Missed::default() })
    }

    fn finish(outputs: Outputs) {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(outputs.finish());
    }

    #[test]
    fn a_terminal_that_cannot_move_its_cursor_gets_a_log() {
        for (terminal, expected) in
            [(None, true), (Some(""), true), (Some("dumb"), true), (Some("xterm-256color"), false)]
        {
            assert_eq!(is_dumb(terminal.map(OsStr::new)), expected, "{terminal:?}");
        }
    }

    #[test]
    fn a_stalled_output_holds_up_neither_the_publisher_nor_the_end() {
        let bus = Bus::new(String::new(), None);
        let (gate, written, output) = gated();
        let outputs = Outputs::start(&bus, vec![output]).unwrap();
        let published = QUEUE as u64 * 2;
        for events in 0..published {
            bus.publish(missed(events));
        }
        let lost = bus.facts().outputs[0].lost;
        // The thread may have taken one message out of the queue.
        assert!((published - QUEUE as u64 - 1..=published - QUEUE as u64).contains(&lost), "{lost} lost");
        bus.close(Some(missed(u64::MAX)));
        finish(outputs);
        assert!(written.lock().unwrap().is_empty());
        drop(gate);
    }

    #[test]
    fn what_is_in_the_queue_at_the_end_is_written_the_last_notice_too() {
        let bus = Bus::new(String::new(), None);
        let (gate, written, output) = gated();
        let outputs = Outputs::start(&bus, vec![output]).unwrap();
        bus.publish(missed(1));
        bus.close(Some(missed(2)));
        drop(gate);
        finish(outputs);
        assert_eq!(*written.lock().unwrap(), [missed(1).into(), missed(2).into()]);
    }
}
