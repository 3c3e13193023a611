//! The journal: notices with their level and their fields, in its own protocol (systemd's documentation, "Native Journal Protocol").

use std::{
    env,
    io::{self, Write},
    os::{fd::AsFd, unix::net::UnixDatagram},
    path::Path,
};

use serde_json::Value;

use super::{Output, terminal};
use crate::telemetry::{Interest, Message, Notice};

/// Where journald listens.
const SOCKET: &str = "/run/systemd/journal/socket";

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
        Self::on(name, Path::new(SOCKET), to, quiet)
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
        let entry = entry(notice, text);
        let whole = socket.send(&entry);
        if whole.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EMSGSIZE)) {
            let end = text.floor_char_boundary(LONGEST);
            return socket.send(&self::entry(notice, &format!("{}\n...", &text[..end]))).map(drop);
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
        if matches!(notice.as_ref(), Notice::Table(_)) || self.quiet && notice.failure().is_none() {
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

/// An entry: the text, its priority, and each field of the notice that is one value, as `RINGFENCE_NAME`.
fn entry(notice: &Notice, text: &str) -> Vec<u8> {
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
    field("PRIORITY", &terminal::priority(notice).to_string());
    field("SYSLOG_IDENTIFIER", "ringfence");
    let Ok(Value::Object(fields)) = serde_json::to_value(notice) else { return entry };
    for (name, value) in fields {
        let value = match value {
            Value::String(value) => value,
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            Value::Array(values) => match values.iter().map(Value::as_str).collect::<Option<Vec<_>>>() {
                Some(values) => values.join(" "),
                // Findings are in the text.
                None => continue,
            },
            Value::Null | Value::Object(_) => continue,
        };
        let end = value.floor_char_boundary(LONGEST);
        field(&format!("RINGFENCE_{}", name.to_ascii_uppercase()), &value[..end]);
    }
    entry
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, os::fd::AsFd as _};

    use super::*;
    use crate::telemetry::{Finding, Gone, PolicyError};

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
