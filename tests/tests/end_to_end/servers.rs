//! Real SIP parsers at the end of a wire: each reads the datagrams that arrive at its socket, and notes what it read.

use std::{
    io::{ErrorKind, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ringfence_servers::{
    Readers, Reading,
    kamailio::{self, logged},
    missing_packages,
};
use ringfence_tests::{
    message::Message,
    netns::Wire,
    process::{Spawned, wait_until},
    say,
};

const PORT: u16 = 5060;

/// The sender of everything: no list of the sample policy has it.
pub(crate) const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 99);

/// Kamailio's is [`Wire::SERVER_IPV4`].
const KAMAILIO: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 1);

/// The programs on SIP libraries, with their addresses.
const READERS: [(&str, Ipv4Addr); 2] = [("sofia", Ipv4Addr::new(10, 20, 0, 2)), ("belle", Ipv4Addr::new(10, 20, 0, 3))];

/// belle-sip's parser needs many seconds for a start line of two kilobytes: it gets none of those.
const LONGEST_LINE: usize = 1_000;

/// Datagrams on the way at once, in number and bytes: well below what a socket's buffer takes.
const BATCH: usize = 32;
const BYTES: usize = 40_000;

/// Long enough for a batch, on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// What arrived, by the sender's port: each message has a port of its own.
type Noted = Arc<Mutex<Vec<(u16, Reading)>>>;

enum Program {
    Kamailio(Spawned),
    Reader(Noted),
}

struct Server {
    name: &'static str,
    address: Ipv4Addr,
    program: Program,
}

impl Server {
    /// Whether it can be asked to read the message.
    fn takes(&self, message: &[u8]) -> bool {
        let line = message.iter().position(|&byte| byte == b'\n').unwrap_or(message.len());
        self.name != "belle" || line <= LONGEST_LINE
    }

    /// What it has read so far.
    fn noted(&self) -> Result<Vec<(u16, Reading)>> {
        match &self.program {
            Program::Reader(noted) => Ok(noted.lock().unwrap_or_else(PoisonError::into_inner).clone()),
            Program::Kamailio(process) => {
                let text = process.stderr();
                // Its last line may not be complete yet.
                let lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
                lines.filter_map(|line| logged(line).transpose()).collect()
            }
        }
    }
}

/// The servers of a wire. Dropping them ends them.
pub(crate) struct Servers {
    servers: Vec<Server>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    next_port: u16,
}

impl Servers {
    /// Starts Kamailio, and the readers whose libraries are installed.
    pub(crate) fn start(wire: &Wire, scratch: &Path) -> Result<Self> {
        wire.add_sender(STRANGER.into())?;
        let mut all = Self { servers: Vec::new(), stop: Arc::default(), threads: Vec::new(), next_port: 10_000 };
        let listen = ["udp", "tcp"].map(|transport| format!("{transport}:{KAMAILIO}:{PORT}"));
        let mut command = kamailio::command(&wire.server, scratch, &listen)?;
        command.current_dir(scratch);
        let program = Program::Kamailio(Spawned::start("kamailio", command, scratch)?);
        all.servers.push(Server { name: "kamailio", address: KAMAILIO, program });
        for (name, address) in READERS {
            if let Some(missing) = missing_packages().iter().find(|missing| missing.starts_with(name)) {
                say(&format!("\n*** LEFT OUT: {missing}: run cargo xtask setup servers ***\n"));
                continue;
            }
            let text = format!("{address}/16");
            wire.server.ip(&["address", "add", &text, "dev", Wire::SERVER_INTERFACE])?;
            let socket = wire.server.within(|| Ok(UdpSocket::bind((address, PORT))?))?;
            let program = Program::Reader(all.read(socket, Readers::start(Some(name))?)?);
            all.servers.push(Server { name, address, program });
        }
        let start = wait_until("answers of all servers", LIMIT, || {
            let first = all.marker(wire)?;
            Ok(all.await_marker(first, Duration::from_millis(500)).ok())
        });
        start.context("the servers do not read")?;
        Ok(all)
    }

    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.servers.iter().map(|server| server.name).collect()
    }

    /// Has a thread read what arrives at the socket.
    fn read(&mut self, socket: UdpSocket, mut readers: Readers) -> Result<Noted> {
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        let (noted, stop) = (Noted::default(), Arc::clone(&self.stop));
        let notes = Arc::clone(&noted);
        self.threads.push(thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while !stop.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                // A message over which it ends is one on which it does not act.
                let reading = readers.read_one(0, &buffer[..length]).unwrap_or_default();
                notes.lock().unwrap_or_else(PoisonError::into_inner).push((from.port(), reading));
            }
        }));
        Ok(noted)
    }

    /// Sends each message to each server in a datagram of its own. Returns what they read: by server, then by message; nothing
    /// where a message did not arrive.
    pub(crate) fn receive(&mut self, wire: &Wire, messages: &[Vec<u8>]) -> Result<Vec<Vec<Reading>>> {
        let mut ports = Vec::with_capacity(messages.len());
        let mut rest = messages;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fitting = rest.iter().take(BATCH).take_while(|message| {
                bytes += message.len();
                bytes <= BYTES
            });
            let (batch, after) = rest.split_at(fitting.count().max(1));
            let first = self.next_port;
            self.send(wire, batch)?;
            ports.extend(first..self.next_port);
            let marker = self.marker(wire)?;
            self.await_marker(marker, LIMIT).context("an ordinary call did not arrive")?;
            rest = after;
        }
        self.servers
            .iter()
            .map(|server| {
                let noted = server.noted()?;
                let of = |port| noted.iter().find(|(from, _)| *from == port).map(|(_, reading)| reading.clone());
                Ok(ports.iter().map(|&port| of(port).unwrap_or_default()).collect())
            })
            .collect()
    }

    fn send(&mut self, wire: &Wire, messages: &[Vec<u8>]) -> Result<()> {
        let first = self.next_port;
        self.next_port = first.checked_add(messages.len() as u16).context("there are no more ports")?;
        let servers = &self.servers;
        wire.network.within(|| {
            for (message, port) in messages.iter().zip(first..) {
                let socket = UdpSocket::bind((STRANGER, port))?;
                for server in servers.iter().filter(|server| server.takes(message)) {
                    let sent = socket.send_to(message, (server.address, PORT))?;
                    ensure!(sent == message.len(), "{sent} of {} bytes were sent", message.len());
                }
            }
            Ok(())
        })
    }

    /// Sends an ordinary call to each server: it arrives after everything that was sent before it. Returns its port.
    fn marker(&mut self, wire: &Wire) -> Result<u16> {
        let port = self.next_port;
        self.send(wire, &[Message::invite().bytes()])?;
        Ok(port)
    }

    fn await_marker(&self, port: u16, limit: Duration) -> Result<()> {
        for server in &self.servers {
            wait_until(&format!("ordinary call at {}", server.name), limit, || {
                Ok(server.noted()?.iter().any(|(from, _)| *from == port).then_some(()))
            })?;
        }
        Ok(())
    }

    /// Opens a connection to Kamailio for each list of segments, and sends them as they are, with a pause between them. The
    /// connections stay open, so that what is dropped is sent again. None for a connection that is not open after `limit`.
    pub(crate) fn connect(&self, wire: &Wire, lists: &[&[Vec<u8>]], limit: Duration) -> Result<Vec<Option<TcpStream>>> {
        wire.send_from(STRANGER.into())?;
        let connect = |segments: &[Vec<u8>]| -> Result<Option<TcpStream>> {
            let place = SocketAddr::from((KAMAILIO, PORT));
            let mut stream = match wire.network.within(|| Ok(TcpStream::connect_timeout(&place, limit)))? {
                Ok(stream) => stream,
                Err(error) if error.kind() == ErrorKind::TimedOut => return Ok(None),
                Err(error) => return Err(error).context("failed to connect"),
            };
            stream.set_nodelay(true)?;
            for segment in segments {
                stream.write_all(segment)?;
                thread::sleep(Duration::from_millis(20));
            }
            Ok(Some(stream))
        };
        lists.iter().map(|segments| connect(segments)).collect()
    }

    /// What Kamailio has read in a connection.
    pub(crate) fn kamailio_read(&self, stream: &TcpStream) -> Result<Vec<Reading>> {
        let port = stream.local_addr()?.port();
        Ok(self.servers[0].noted()?.into_iter().filter(|(from, _)| *from == port).map(|(_, reading)| reading).collect())
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
