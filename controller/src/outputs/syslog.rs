//! Syslog: packet events and notices with their fields as structured data (RFC 5424), in datagrams (RFC 5426).

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use super::{
    Output,
    destination::{Connection, Destination},
    fields::fields,
    is_table, terminal,
    trouble::Trouble,
};
use crate::telemetry::{Interest, Message};

/// Bytes of a datagram to another host: what every receiver takes over IPv6 (RFC 5426 section 3.2), and no path fragments.
const LONGEST_UDP: usize = 1180;

/// Bytes of a datagram on this host.
const LONGEST_UNIX: usize = 8192;

/// The facility `daemon` (RFC 5424 section 6.2.1).
const FACILITY: u8 = 3;

/// The severity of a packet event: informational.
const PACKET: u8 = 6;

/// The number of the structured data's name: the one for examples (RFC 5612), since Ringfence has none of its own.
const STRUCTURED_DATA: &str = "ringfence@32473";

/// Characters of the longest host name in a message (RFC 5424 section 6).
const LONGEST_HOST: usize = 255;

/// Sends each packet event and each notice but the table.
#[derive(Debug)]
pub(super) struct Syslog {
    connection: Connection,
    longest: usize,
    host: String,
    trouble: Trouble,
}

impl Syslog {
    /// `host` names this host to the receiver.
    pub(super) fn new(to: Destination, host: &str) -> Self {
        let longest = if matches!(to, Destination::Unix(_)) { LONGEST_UNIX } else { LONGEST_UDP };
        let trouble = Trouble::new(format!("syslog to {to}"));
        Self { connection: Connection::new(to), longest, host: header_field(host, LONGEST_HOST), trouble }
    }
}

impl Output for Syslog {
    fn name(&self) -> &'static str {
        "syslog"
    }

    fn interest(&self) -> Interest {
        Interest::NOTICES | Interest::PACKETS
    }

    fn lost(&self) -> u64 {
        self.trouble.lost()
    }

    fn write(&mut self, message: &Message) {
        let line = match message {
            Message::Captured(_) => return,
            Message::Notice(notice) if is_table(notice) => return,
            Message::Notice(notice) => {
                let entry = Entry { severity: terminal::priority(notice), time: Timestamp::now().to_string() };
                entry.text(&self.host, notice.as_ref(), &notice.to_string(), self.longest)
            }
            Message::Packet(event) => {
                let entry = Entry { severity: PACKET, time: event.time.clone() };
                entry.text(&self.host, event.as_ref(), &event.line(), self.longest)
            }
        };
        match self.connection.send(line.as_bytes()) {
            Ok(()) => self.trouble.end(),
            Err(error) => self.trouble.lose(&error),
        }
    }
}

/// What a message has beside its fields and its text.
struct Entry {
    severity: u8,
    /// RFC 3339.
    time: String,
}

impl Entry {
    /// The message in at most `longest` bytes: first the text is cut, then fields are left out from the end.
    fn text(&self, host: &str, message: &impl Serialize, text: &str, longest: usize) -> String {
        let fields = fields(message);
        let kind = fields.iter().find(|(name, _)| name == "event").map_or("-", |(_, value)| value);
        let priority = FACILITY * 8 + self.severity;
        // At most six digits of a second (RFC 5424 section 6.2.3).
        let time = self.time.parse::<Timestamp>().map_or_else(|_| "-".to_owned(), |time| format!("{time:.3}"));
        let (process, kind) = (std::process::id(), header_field(kind, 32));
        let mut line = format!("<{priority}>1 {time} {host} ringfence {process} {kind} [{STRUCTURED_DATA}");
        for (name, value) in fields.iter().filter(|(name, _)| name != "event") {
            let parameter = format!(" {name}=\"{}\"", escaped(value));
            // With the bracket after the last one.
            if line.len() + parameter.len() < longest {
                line.push_str(&parameter);
            }
        }
        line.push(']');
        // A text that is not ASCII says with a byte order mark that it is UTF-8 (RFC 5424 section 6.4).
        let mark = if text.is_ascii() { " " } else { " \u{feff}" };
        let room = longest.saturating_sub(line.len() + mark.len());
        // One message is one line to most receivers.
        let text = text.trim_end().replace('\n', " | ");
        let end = text.floor_char_boundary(room);
        if end > 0 {
            let _ = write!(line, "{mark}{}", &text[..end]);
        }
        line
    }
}

/// A field of the header: printable ASCII without spaces, or a dash.
fn header_field(text: &str, longest: usize) -> String {
    let field: String = text.chars().filter(char::is_ascii_graphic).take(longest).collect();
    if field.is_empty() { "-".to_owned() } else { field }
}

/// A value of a parameter (RFC 5424 section 6.3.3), without control characters: receivers write them to terminals.
fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        if c.is_control() {
            let _ = write!(escaped, "\\\\u{{{:x}}}", u32::from(c));
            continue;
        }
        if matches!(c, '"' | '\\' | ']') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, os::unix::net::UnixDatagram};

    use super::*;
    use crate::telemetry::{Gone, Notice, PacketEvent};

    fn event() -> PacketEvent {
        PacketEvent { rule: Some("a \"b\" ]\\".to_owned()), ..PacketEvent::example() }
    }

    fn sent(message: &Message) -> String {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = Destination::Udp(receiver.local_addr().unwrap().to_string());
        let mut output = Syslog::new(to, "fra1-sbc2");
        output.write(message);
        assert_eq!(output.lost(), 0);
        let mut datagram = vec![0; 1 << 16];
        let length = receiver.recv(&mut datagram).unwrap();
        String::from_utf8(datagram[..length].to_vec()).unwrap()
    }

    #[test]
    fn an_event_has_its_fields_as_structured_data() {
        let line = sent(&event().into());
        let process = std::process::id();
        let head = format!(
            "<30>1 1970-01-01T00:00:00.000Z fra1-sbc2 ringfence {process} packet [ringfence@32473 time=\"1970-01-01T00:00:00.000Z\" \
             verdict=\"drop\" mode=\"enforce\" reason=\"rule-drop\" rule=\"a \\\"b\\\" \\]\\\\\" "
        );
        assert!(line.starts_with(&head), "{line}\n{head}");
        assert!(line.contains(r#"user_agent="a\\u{1b}[2J" bytes="#), "{line}");
        let text = format!("bytes=\"0\"] {}", event().line());
        assert!(line.ends_with(&text), "{line}");
        assert!(!line.contains("called="), "what it does not have is left out: {line}");
    }

    #[test]
    fn a_notice_has_its_severity() {
        let line = sent(&Notice::Gone(Gone { interface: "eth1".to_owned() }).into());
        assert!(line.starts_with("<28>1 20"), "{line}");
        assert!(line.contains(" gone [ringfence@32473 interface=\"eth1\"] eth1: there is no such interface"), "{line}");
    }

    #[test]
    fn a_long_message_fits_a_datagram_and_its_structured_data_is_whole() {
        for length in [100, 700, 2000] {
            let agent = "]é".repeat(length);
            let event = PacketEvent { user_agent: Some(agent), ..event() };
            let line = sent(&event.into());
            assert!(line.len() <= LONGEST_UDP, "{}", line.len());
            assert_eq!(line.matches("bytes=\"").count(), 1, "a field that is too long hides no other: {line}");
            assert!(line.contains("bytes=\"0\"]"), "{line}");
        }
        let entry = Entry { severity: 6, time: "1970-01-01T00:00:00Z".to_owned() };
        let text = "é".repeat(300);
        let line = entry.text("-", &event(), &text, 700);
        assert!((699..=700).contains(&line.len()) && line.contains("] \u{feff}é"), "{} {line}", line.len());
    }

    #[test]
    fn a_local_daemon_that_is_restarted_gets_the_messages_that_follow() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut output = Syslog::new(Destination::Unix(path.clone()), "");
        output.write(&event().into());
        assert_eq!((output.lost(), output.trouble.is_failing()), (1, true));
        for _ in 0..2 {
            let receiver = UnixDatagram::bind(&path).unwrap();
            receiver.set_nonblocking(true).unwrap();
            let mut datagram = [0; 4096];
            // After a failure it waits a while before it connects again.
            let length = loop {
                output.write(&event().into());
                match receiver.recv(&mut datagram) {
                    Ok(length) => break length,
                    Err(_) => std::thread::sleep(std::time::Duration::from_millis(10)),
                }
            };
            let line = std::str::from_utf8(&datagram[..length]).unwrap();
            assert!(line.contains("Z - ringfence "), "{line}");
            assert!(!output.trouble.is_failing());
            std::fs::remove_file(&path).unwrap();
        }
    }
}
