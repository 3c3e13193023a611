//! Where an output sends to, and its connection there.

use std::{
    fmt,
    io::{self, Write as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket},
    os::unix::net::UnixDatagram,
    path::PathBuf,
    time::{Duration, Instant},
};

use filter_policy::language::printable;

/// How long a TCP connection may take to be made, and a write to it to be accepted.
const PATIENCE: Duration = Duration::from_secs(2);

/// The shortest and the longest time between two attempts to connect.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Where an output sends its messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// `tcp:HOST:PORT`.
    Tcp(String),
    /// `udp:HOST:PORT`.
    Udp(String),
    /// `unix:PATH`, a datagram socket.
    Unix(PathBuf),
}

impl Destination {
    /// Reads the text of a configuration. None if it is no destination.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, place) = text.split_once(':')?;
        match kind {
            "tcp" if is_host_and_port(place) => Some(Self::Tcp(place.to_owned())),
            "udp" if is_host_and_port(place) => Some(Self::Udp(place.to_owned())),
            "unix" if place.starts_with('/') => Some(Self::Unix(place.into())),
            _ => None,
        }
    }
}

/// True for `192.0.2.60:514`, `[2001:db8::60]:514` and `log.example.net:514`.
fn is_host_and_port(text: &str) -> bool {
    if text.parse::<SocketAddr>().is_ok_and(|address| address.port() != 0) {
        return true;
    }
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
    // What looks like an address would have been one.
    let is_number = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    is_name && !is_number && !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(place) => write!(f, "tcp:{place}"),
            Self::Udp(place) => write!(f, "udp:{place}"),
            Self::Unix(path) => write!(f, "unix:{}", printable::path(path)),
        }
    }
}

/// A connection that is made when it is needed, and made again when it has failed.
#[derive(Debug)]
pub(super) struct Connection {
    to: Destination,
    open: Option<Open>,
    /// No attempt to connect before this time; none after a success.
    pause: Option<Pause>,
}

#[derive(Debug)]
enum Open {
    Tcp(TcpStream),
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

/// The time after an attempt to connect that has failed.
#[derive(Clone, Copy, Debug)]
struct Pause {
    until: Instant,
    length: Duration,
}

impl Connection {
    pub(super) fn new(to: Destination) -> Self {
        Self { to, open: None, pause: None }
    }

    /// Sends a message whole, or fails. What has failed on a connection that was there already is tried once on a new one.
    pub(super) fn send(&mut self, message: &[u8]) -> io::Result<()> {
        if let Some(mut open) = self.open.take_if(|open| open.is_open()) {
            match open.send(message) {
                Ok(()) => {
                    self.open = Some(open);
                    return Ok(());
                }
                // It is too long, on whatever connection.
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                    self.open = Some(open);
                    return Err(error);
                }
                // A stream that has taken a part of a message cannot be used any more.
                Err(_) => {}
            }
        }
        self.open = None;
        let mut open = self.connect()?;
        open.send(message)?;
        self.open = Some(open);
        Ok(())
    }

    fn connect(&mut self) -> io::Result<Open> {
        let now = Instant::now();
        if self.pause.is_some_and(|pause| now < pause.until) {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "not connected"));
        }
        let made = Open::new(&self.to);
        self.pause = match &made {
            Ok(_) => None,
            Err(_) => {
                let (shortest, longest) = BACK_OFF;
                let length = self.pause.map_or(shortest, |pause| (pause.length * 2).min(longest));
                Some(Pause { until: Instant::now() + length, length })
            }
        };
        made
    }
}

impl Open {
    fn new(to: &Destination) -> io::Result<Self> {
        Ok(match to {
            Destination::Tcp(place) => Self::Tcp(each_address(place, |address| {
                let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
                stream.set_write_timeout(Some(PATIENCE))?;
                stream.set_nodelay(true)?;
                Ok(stream)
            })?),
            Destination::Udp(place) => Self::Udp(each_address(place, |address| {
                let any: SocketAddr = match address {
                    SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                    SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
                };
                let socket = UdpSocket::bind(any)?;
                socket.connect(address)?;
                Ok(socket)
            })?),
            Destination::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                socket.set_write_timeout(Some(PATIENCE))?;
                Self::Unix(socket)
            }
        })
    }

    /// False if a TCP peer has closed the connection: the next write would be lost without an error.
    fn is_open(&self) -> bool {
        let Self::Tcp(stream) = self else { return true };
        let peek = || {
            stream.set_nonblocking(true)?;
            let peeked = stream.peek(&mut [0]);
            stream.set_nonblocking(false)?;
            peeked
        };
        match peek() {
            Ok(length) => length > 0,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }

    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(message),
            Self::Udp(socket) => match socket.send(message) {
                // What an earlier datagram has met (ICMP): this one has not been sent.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => socket.send(message).map(drop),
                sent => sent.map(drop),
            },
            Self::Unix(socket) => socket.send(message).map(drop),
        }
    }
}

/// Tries the addresses of a host in their order, and returns the first success or the last error.
fn each_address<T>(place: &str, mut connect: impl FnMut(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in place.to_socket_addrs()? {
        match connect(address) {
            Ok(made) => return Ok(made),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, net::TcpListener};

    use super::*;

    #[test]
    fn a_destination_is_a_host_and_a_port_or_a_path() {
        for text in ["udp:192.0.2.60:514", "tcp:[2001:db8::60]:9060", "udp:log.example.net:514", "unix:/dev/log"] {
            assert_eq!(Destination::parse(text).map(|to| to.to_string()).as_deref(), Some(text));
        }
        for text in [
            "192.0.2.60:514",
            "udp:192.0.2.60",
            "udp:192.0.2:514",
            "udp:192.0.2.60:0",
            "udp:192.0.2.60:70000",
            "udp:2001:db8::60:514",
            "udp::514",
            "tls:192.0.2.60:514",
            "unix:dev/log",
            "",
        ] {
            assert_eq!(Destination::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_connection_that_the_peer_has_closed_is_made_again_without_a_loss() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut connection = Connection::new(Destination::Tcp(listener.local_addr().unwrap().to_string()));
        for message in [b"first", b"again"] {
            connection.send(message).unwrap();
            let (mut peer, _) = listener.accept().unwrap();
            let mut received = [0; 5];
            peer.read_exact(&mut received).unwrap();
            assert_eq!(&received, message);
            drop(peer);
            // Until the end has arrived here.
            while connection.open.as_ref().is_some_and(Open::is_open) {
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn after_a_failure_the_pauses_become_longer_and_the_next_success_ends_them() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let mut connection = Connection::new(Destination::Tcp(address.to_string()));
        let mut lengths = Vec::new();
        for _ in 0..8 {
            connection.send(b"x").unwrap_err();
            let pause = connection.pause.unwrap();
            lengths.push(pause.length.as_millis());
            assert_eq!(connection.send(b"x").unwrap_err().kind(), io::ErrorKind::NotConnected, "no attempt meanwhile");
            connection.pause = Some(Pause { until: Instant::now(), ..pause });
        }
        assert_eq!(lengths, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        let _listener = TcpListener::bind(address).unwrap();
        connection.send(b"x").unwrap();
        assert!(connection.pause.is_none());
    }
}
