//! HEP3 to Homer and other capture servers: the messages that were dropped or would have been, with their bytes.

mod encode;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use filter_policy::language::printable;

use self::encode::Encoder;
use super::{
    Output,
    destination::{Connection, Destination},
    trouble::Trouble,
};
use crate::telemetry::{CapturedPacket, Interest, Message};

/// The capture id unless the configuration has another.
pub const DEFAULT_ID: u32 = 1;

/// What the output sends where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HepOptions {
    /// Where the capture server listens: UDP or TCP.
    pub to: Destination,
    /// A file with the key with which it lets this host in.
    pub password_file: Option<PathBuf>,
    /// The number of this host at the server.
    pub id: u32,
}

/// The password cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to read the password for HEP from {}: {error}", printable::path(path))]
pub struct PasswordError {
    /// The file.
    path: PathBuf,
    /// Why.
    error: io::Error,
}

impl PasswordError {
    /// What the operator can do about it.
    #[must_use]
    pub fn help(&self) -> String {
        let path = printable::path(&self.path);
        format!(
            "write the password into it, and let the daemon's user read it: `install -m 0400 -o USER /dev/stdin {path}`"
        )
    }
}

/// Reads a password: the file without the white space at its end.
fn password(path: &Path) -> Result<String, PasswordError> {
    let failed = |error| PasswordError { path: path.to_owned(), error };
    let text = fs::read_to_string(path).map_err(failed)?;
    let password = text.trim_end();
    if password.is_empty() {
        return Err(failed(io::Error::other("it is empty")));
    }
    Ok(password.to_owned())
}

/// Sends each captured packet with a SIP message that was dropped, or would have been.
#[derive(Debug)]
pub(super) struct Hep {
    connection: Connection,
    encoder: Encoder,
    trouble: Trouble,
    /// Packets that are not SIP.
    left_out: u64,
}

impl Hep {
    /// `edge` is this host's name.
    ///
    /// # Errors
    /// The password cannot be read.
    pub(super) fn new(options: HepOptions, edge: Option<String>) -> Result<Self, PasswordError> {
        let HepOptions { to, password_file, id } = options;
        let password = password_file.as_deref().map(password).transpose()?;
        let trouble = Trouble::new(format!("HEP to {to}"));
        Ok(Self { connection: Connection::new(to), encoder: Encoder { id, password, edge }, trouble, left_out: 0 })
    }
}

impl Output for Hep {
    fn name(&self) -> &'static str {
        "hep"
    }

    fn interest(&self) -> Interest {
        Interest::CAPTURES
    }

    fn lost(&self) -> u64 {
        self.trouble.lost()
    }

    fn left_out(&self) -> u64 {
        self.left_out
    }

    fn write(&mut self, message: &Message) {
        let Message::Captured(packet) = message else { return };
        // Samples of what passes are not for Homer: what passes is captured by the servers.
        if packet.event.verdict == "pass" {
            return;
        }
        if !is_message(packet) {
            self.left_out += 1;
            return;
        }
        match self.connection.send(&self.encoder.encode(packet)) {
            Ok(()) => self.trouble.end(),
            Err(error) => self.trouble.lose(&error),
        }
    }
}

/// True for a SIP message. A handshake, a later fragment and noise are none.
fn is_message(packet: &CapturedPacket) -> bool {
    !packet.payload().is_empty() && (packet.event.method != "none" || may_be_sip(packet))
}

/// True if the first line speaks of SIP. What is dropped by its source alone has not been read.
fn may_be_sip(packet: &CapturedPacket) -> bool {
    let first = packet.payload().split(|byte| *byte == b'\n').next().unwrap_or_default();
    first.windows(4).any(|window| window.eq_ignore_ascii_case(b"SIP/"))
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read as _,
        net::{TcpListener, UdpSocket},
    };

    use super::*;
    use crate::telemetry::PacketEvent;

    const OPTIONS: &[u8] = b"OPTIONS sip:a@b SIP/2.0\r\nCall-ID: x\r\n\r\n";

    fn options(to: Destination) -> HepOptions {
        HepOptions { to, password_file: None, id: 7 }
    }

    fn message(payload: &[u8]) -> Message {
        CapturedPacket::example(payload).into()
    }

    #[test]
    fn only_messages_that_were_dropped_or_would_have_been_are_sent() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = Destination::Udp(receiver.local_addr().unwrap().to_string());
        let mut output = Hep::new(options(to), None).unwrap();
        let event = PacketEvent::example();
        for (event, payload) in [
            (PacketEvent { verdict: "pass".to_owned(), ..event.clone() }, OPTIONS),
            (PacketEvent { method: "none".to_owned(), ..event.clone() }, b"\x16\x03\x01 no message"),
        ] {
            output.write(&CapturedPacket { event, ..CapturedPacket::example(payload) }.into());
        }
        output.write(&message(b""));
        output.write(&PacketEvent::example().into());
        // (Its source alone has decided, so that its method is not known.)
        let reject = PacketEvent { verdict: "reject".to_owned(), method: "none".to_owned(), ..event };
        output.write(&CapturedPacket { event: reject, ..CapturedPacket::example(OPTIONS) }.into());
        let mut datagram = vec![0; 1 << 16];
        let length = receiver.recv(&mut datagram).unwrap();
        assert!(datagram[..length].windows(6).any(|window| window == b"reject"), "it is the first that arrived");
        assert_eq!((output.lost(), output.left_out()), (0, 2), "noise, and a packet without a payload");
    }

    #[test]
    fn over_tcp_each_message_has_its_length_and_what_cannot_be_sent_is_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut output = Hep::new(options(Destination::Tcp(address.to_string())), None).unwrap();
        output.write(&message(OPTIONS));
        output.write(&message(b"BYE sip:a@b SIP/2.0\r\n\r\n"));
        let (mut peer, _) = listener.accept().unwrap();
        for expected in [&b"OPTIONS"[..], b"BYE"] {
            let mut head = [0; 6];
            peer.read_exact(&mut head).unwrap();
            assert_eq!(&head[..4], b"HEP3");
            let mut rest = vec![0; usize::from(u16::from_be_bytes([head[4], head[5]])) - 6];
            peer.read_exact(&mut rest).unwrap();
            assert!(rest.windows(expected.len()).any(|window| window == expected));
        }
        drop((peer, listener));
        // A write after the peer has gone fails at the latest when its answer is there.
        while output.lost() < 3 {
            output.write(&message(OPTIONS));
        }
        assert!(output.trouble.is_failing());
    }

    #[test]
    fn the_password_is_the_file_without_its_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let error = password(&path).unwrap_err();
        assert!(error.to_string().contains("No such file") && error.help().contains("install -m 0400"), "{error}");
        fs::write(&path, "\n").unwrap();
        assert!(password(&path).unwrap_err().to_string().ends_with("it is empty"));
        fs::write(&path, "my Homer\r\n").unwrap();
        assert_eq!(password(&path).unwrap(), "my Homer");
        let to = Destination::Udp("127.0.0.1:9".to_owned());
        let hep = Hep::new(HepOptions { to, password_file: Some(path), id: 7 }, None).unwrap();
        assert_eq!(hep.encoder.password.as_deref(), Some("my Homer"));
    }
}
