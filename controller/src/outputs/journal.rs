//! The journal: notices and packet events with their level and their fields, in its own protocol (systemd's documentation, "Native Journal Protocol").

use std::{
    env,
    io::{self, Write},
    os::{fd::AsFd, unix::net::UnixDatagram},
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{
    Output,
    destination::{Connection, Destination},
    fields::fields,
    is_table, terminal,
    trouble::Trouble,
};
use crate::telemetry::{Interest, Message, Notice};

/// Where journald listens.
pub const JOURNAL: &str = "/run/systemd/journal/socket";

/// The priority of a packet event, from syslog(3): informational.
const PACKET: u8 = 6;

/// Bytes of a text that fit into a datagram, whatever the limits of the socket are.
const LONGEST: usize = 16 << 10;

/// True if what is written there goes to the journal: systemd says of which file that is so (systemd.exec(5)).
#[must_use]
pub fn is_journal(file: impl AsFd) -> bool {
    env::var("JOURNAL_STREAM").is_ok_and(|stream| is_stream(file, &stream))
}

/// True if the file is the one of this device and inode.
fn is_stream(file: impl AsFd, stream: &str) -> bool {
    rustix::fs::fstat(file).is_ok_and(|file| stream == format!("{}:{}", file.st_dev, file.st_ino))
}

/// Sends each notice as an entry with fields. What the journal does not take goes to `to`, with its priority before each line.
#[derive(Debug)]
pub(super) struct Journal<W> {
    name: &'static str,
    socket: Option<UnixDatagram>,
    to: W,
    /// Only failures.
    quiet: bool,
    /// See [`terminal::is_repeated`].
    said: [String; 2],
}

impl<W: Write> Journal<W> {
    pub(super) fn new(name: &'static str, to: W, quiet: bool) -> Self {
        Self::on(name, Path::new(JOURNAL), to, quiet)
    }

    fn on(name: &'static str, path: &Path, to: W, quiet: bool) -> Self {
        let connect = || {
            let socket = UnixDatagram::unbound()?;
            socket.connect(path)?;
            io::Result::Ok(socket)
        };
        Self { name, socket: connect().ok(), to, quiet, said: <[String; 2]>::default() }
    }

    fn send(&self, notice: &Notice, text: &str) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Err(io::ErrorKind::NotConnected.into()) };
        let priority = terminal::priority(notice);
        let whole = socket.send(&entry(notice, text, priority));
        if whole.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EMSGSIZE)) {
            return socket.send(&entry(notice, &cut(text), priority)).map(drop);
        }
        whole.map(drop)
    }
}

impl<W: Write + Send> Output for Journal<W> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn interest(&self) -> Interest {
        Interest::NOTICES
    }

    fn write(&mut self, message: &Message) {
        let Message::Notice(notice) = message else { return };
        if is_table(notice) || self.quiet && notice.failure().is_none() {
            return;
        }
        let text = notice.to_string();
        if terminal::is_repeated(notice, &text, &mut self.said) {
            return;
        }
        if self.send(notice, &text).is_err() {
            let lines = terminal::log_lines(&text, Some(terminal::priority(notice)));
            // A reader that goes away ends nothing: the filter matters more.
            let _ = self.to.write_all(lines.as_bytes()).and_then(|()| self.to.flush());
        }
    }
}

/// Sends packet events as entries with fields, and notices too where standard output does not.
#[derive(Debug)]
pub(super) struct JournalEvents {
    connection: Connection,
    notices: bool,
    trouble: Trouble,
}

impl JournalEvents {
    /// `socket` is where journald listens.
    pub(super) fn new(socket: PathBuf, notices: bool) -> Self {
        let to = Destination::Unix(socket);
        let trouble = Trouble::new(format!("the journal at {to}"));
        Self { connection: Connection::new(to), notices, trouble }
    }

    fn send(&mut self, message: &impl Serialize, text: &str, priority: u8) {
        let mut sent = self.connection.send(&entry(message, text, priority));
        if sent.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EMSGSIZE)) {
            sent = self.connection.send(&entry(message, &cut(text), priority));
        }
        match sent {
            Ok(()) => self.trouble.end(),
            Err(error) => self.trouble.lose(&error),
        }
    }
}

impl Output for JournalEvents {
    fn name(&self) -> &'static str {
        "journal"
    }

    fn interest(&self) -> Interest {
        if self.notices { Interest::NOTICES | Interest::PACKETS } else { Interest::PACKETS }
    }

    fn lost(&self) -> u64 {
        self.trouble.lost()
    }

    fn write(&mut self, message: &Message) {
        match message {
            Message::Captured(_) => {}
            Message::Notice(notice) if is_table(notice) => {}
            Message::Notice(notice) => self.send(notice.as_ref(), &notice.to_string(), terminal::priority(notice)),
            Message::Packet(event) => self.send(event.as_ref(), &event.line(), PACKET),
        }
    }
}

/// A text that fits into a datagram.
fn cut(text: &str) -> String {
    format!("{}\n...", &text[..text.floor_char_boundary(LONGEST)])
}

/// An entry: the text, its priority, and each field of the message that is one value, as `RINGFENCE_NAME`.
fn entry(message: &impl Serialize, text: &str, priority: u8) -> Vec<u8> {
    let mut entry = Vec::new();
    let mut field = |name: &str, value: &str| {
        // With its length, so that a value can hold line breaks.
        entry.extend_from_slice(name.as_bytes());
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
        entry.extend_from_slice(value.as_bytes());
        entry.push(b'\n');
    };
    field("MESSAGE", text);
    field("PRIORITY", &priority.to_string());
    field("SYSLOG_IDENTIFIER", "ringfence");
    for (name, value) in fields(message) {
        let end = value.floor_char_boundary(LONGEST);
        field(&format!("RINGFENCE_{}", name.to_ascii_uppercase()), &value[..end]);
    }
    entry
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, os::fd::AsFd as _, process::Command};

    use super::*;
    use crate::telemetry::{Finding, Gone, PacketEvent, PolicyError};

    /// The fields of an entry, as journald reads them.
    fn fields(mut entry: &[u8]) -> BTreeMap<String, String> {
        let mut fields = BTreeMap::new();
        while let Some(end) = entry.iter().position(|&byte| byte == b'\n') {
            let name = String::from_utf8(entry[..end].to_vec()).unwrap();
            let length = u64::from_le_bytes(entry[end + 1..end + 9].try_into().unwrap()) as usize;
            let value = &entry[end + 9..end + 9 + length];
            assert_eq!(entry[end + 9 + length], b'\n');
            fields.insert(name, String::from_utf8(value.to_vec()).unwrap());
            entry = &entry[end + 10 + length..];
        }
        fields
    }

    fn policy_error(report: &str) -> Message {
        Notice::PolicyError(PolicyError {
            message: "1 error".to_owned(),
            diagnostics: vec![Finding {
                severity: "error".to_owned(),
                code: "unknown-set".to_owned(),
                message: "x".to_owned(),
                file: None,
                line: None,
                column: None,
                end_column: None,
                help: None,
            }],
            commit: Some("8c1f2e9b7a3d".to_owned()),
            report: report.to_owned(),
            policy: "/etc/policy".to_owned(),
        })
        .into()
    }

    #[test]
    fn an_entry_has_its_text_its_level_and_its_fields() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let journald = UnixDatagram::bind(&path).unwrap();
        let mut output = Journal::on("test", &path, Vec::new(), false);
        let mut next = |message: &Message| {
            output.write(message);
            let mut entry = vec![0; 1 << 20];
            let length = journald.recv(&mut entry).unwrap();
            fields(&entry[..length])
        };
        let entry = next(&policy_error("line 1\nline 2"));
        assert!(entry["MESSAGE"].starts_with("line 1\nline 2\nthe policy /etc/policy at commit"), "{entry:?}");
        for (name, value) in [
            ("PRIORITY", "3"),
            ("SYSLOG_IDENTIFIER", "ringfence"),
            ("RINGFENCE_EVENT", "policy-error"),
            ("RINGFENCE_MESSAGE", "1 error"),
            ("RINGFENCE_COMMIT", "8c1f2e9b7a3d"),
        ] {
            assert_eq!(entry[name], value, "{name}");
        }
        assert!(!entry.contains_key("RINGFENCE_DIAGNOSTICS"));
        let entry = next(&Notice::Gone(Gone { interface: "eth1".to_owned() }).into());
        assert_eq!((&*entry["PRIORITY"], &*entry["RINGFENCE_INTERFACE"]), ("4", "eth1"));
        // Longer than a datagram can be.
        let entry = next(&policy_error(&"x".repeat(4 << 20)));
        assert_eq!(entry["MESSAGE"].len(), LONGEST + 4);
        assert!(output.to.is_empty());
    }

    #[test]
    fn a_packet_event_has_its_fields_and_no_value_can_make_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let journald = UnixDatagram::bind(&path).unwrap();
        let mut output = JournalEvents::new(path, true);
        let agent = "a\nPRIORITY=0\nb";
        let event = PacketEvent { user_agent: Some(agent.to_owned()), ..PacketEvent::example() };
        output.write(&event.clone().into());
        let next = || {
            let mut entry = vec![0; 1 << 20];
            let length = journald.recv(&mut entry).unwrap();
            fields(&entry[..length])
        };
        let entry = next();
        for (name, value) in [
            ("MESSAGE", &*event.line()),
            ("PRIORITY", "6"),
            ("RINGFENCE_EVENT", "packet"),
            ("RINGFENCE_RULE", "scanners"),
            ("RINGFENCE_SOURCE", "10.20.0.66"),
            ("RINGFENCE_SOURCE_PORT", "5066"),
            ("RINGFENCE_REASON", "rule-drop"),
            ("RINGFENCE_CALLING", "13125550100"),
            ("RINGFENCE_USER_AGENT", agent),
        ] {
            assert_eq!(entry[name], value, "{name}");
        }
        assert!(!entry.contains_key("RINGFENCE_CALLED"), "{entry:?}");
        output.write(&policy_error("line 1"));
        assert_eq!(next()["RINGFENCE_EVENT"], "policy-error");
        assert_eq!(output.lost(), 0);
    }

    #[test]
    fn what_the_journal_does_not_take_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let mut output = JournalEvents::new(folder.path().join("none"), false);
        output.write(&PacketEvent::example().into());
        assert_eq!(output.lost(), 1);
        assert_eq!(output.interest(), Interest::PACKETS, "standard output sends the notices");
    }

    /// Asks systemd's own journal what has arrived. Needs one that runs.
    #[test]
    fn systemds_journal_finds_an_event_by_its_fields() {
        let has_journalctl = Command::new("journalctl").arg("--version").output().is_ok();
        if !has_journalctl || UnixDatagram::unbound().and_then(|socket| socket.connect(JOURNAL)).is_err() {
            eprintln!("SKIPPED: systemd's journal is not running here");
            return;
        }
        let rule = format!("test-{}", std::process::id());
        let mut output = JournalEvents::new(JOURNAL.into(), false);
        output.write(&PacketEvent { rule: Some(rule.clone()), ..PacketEvent::example() }.into());
        for _ in 0..200 {
            let found = Command::new("journalctl")
                .args(["--output", "json", &format!("RINGFENCE_RULE={rule}")])
                .output()
                .unwrap();
            let text = String::from_utf8(found.stdout).unwrap();
            if text.contains("\"RINGFENCE_SOURCE\":\"10.20.0.66\"") {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("journalctl finds no event of the rule {rule}");
    }

    #[test]
    fn without_a_journal_the_lines_have_their_priority() {
        let folder = tempfile::tempdir().unwrap();
        let mut output = Journal::on("test", &folder.path().join("none"), Vec::new(), true);
        output.write(&Notice::Gone(Gone { interface: "eth1".to_owned() }).into());
        output.write(&policy_error("line 1"));
        let text = String::from_utf8(output.to).unwrap();
        assert!(text.starts_with("<3>line 1\n<3>the policy"), "{text}");
    }

    #[test]
    fn the_journal_is_the_file_that_systemd_names_and_no_other() {
        use std::os::unix::fs::MetadataExt as _;
        let file = tempfile::tempfile().unwrap();
        let metadata = file.metadata().unwrap();
        let stream = format!("{}:{}", metadata.dev(), metadata.ino());
        assert!(is_stream(file.as_fd(), &stream));
        assert!(!is_stream(tempfile::tempfile().unwrap().as_fd(), &stream));
        assert!(!is_stream(file.as_fd(), "8:x"));
    }
}
