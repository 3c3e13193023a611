//! Kamailio: a server that runs in a network namespace of its own, and logs what it reads.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::AsFd,
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use ringfence_tests::netns::{Namespace, ensure_root};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::reading::{Field, Reading};

const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5060);

/// Messages on the way at once, each from a port of its own: Kamailio's log names the port, whatever else it read.
const PORTS: usize = 64;

/// Bytes on the way at once, well below what a socket's buffer takes.
const BYTES: usize = 48_000;

/// Kamailio may take this long for a batch.
const PATIENCE: Duration = Duration::from_secs(10);

const CONFIGURATION: &str = include_str!("../readers/kamailio.cfg");

/// A Kamailio that listens there (`udp:ADDRESS:PORT`), answers nothing, and logs on standard error what it reads.
///
/// # Errors
/// Its configuration cannot be written into the folder.
pub fn command(namespace: &Namespace, folder: &Path, listen: &[String]) -> Result<Command> {
    let file = folder.join("kamailio.cfg");
    fs::write(&file, CONFIGURATION)?;
    let is_tcp = listen.iter().any(|place| place.starts_with("tcp:"));
    let mut command = namespace.command("kamailio");
    command.args(["-DD", "-E", "-m", "64", "-M", "16", "-f"]).arg(&file);
    command.arg("-P").arg(folder.join("kamailio.pid")).arg("-Y").arg(folder);
    // One process reads all connections; without, there is no TCP.
    command.args(if is_tcp { &["-N", "1"][..] } else { &["-T"] });
    for place in listen {
        command.args(["-l", place]);
    }
    Ok(command)
}

/// What a line of its log says that it has read, and the sender's port; none for another line.
///
/// # Errors
/// The line is not as its configuration writes it.
pub fn logged(line: &str) -> Result<Option<(u16, Reading)>> {
    let Some((_, read)) = line.split_once("READ\t") else { return Ok(None) };
    let parse = || {
        let (port, read) = read.split_once('\t')?;
        Some((port.parse().ok()?, Reading::parse(&read.replace("<null>", "-"))?))
    };
    parse().map(Some).with_context(|| format!("kamailio's line {line:?}"))
}

/// A Kamailio that runs.
pub(crate) struct Kamailio {
    child: Child,
    /// The last is for the marker that ends a batch.
    sockets: Vec<UdpSocket>,
    lines: Receiver<String>,
    markers: u64,
    _folder: tempfile::TempDir,
    _namespace: Namespace,
}

impl Kamailio {
    /// Whether it can run here.
    pub(crate) fn available() -> Result<()> {
        ensure_root()?;
        let folders = ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"];
        ensure!(
            folders.iter().any(|folder| fs::exists(format!("{folder}/kamailio")).unwrap_or(false)),
            "not installed"
        );
        Ok(())
    }

    /// Starts it, and waits until it reads.
    pub(crate) fn start() -> Result<Self> {
        let namespace = Namespace::new("kamailio")?;
        let folder = tempfile::Builder::new().prefix("ringfence-kamailio-").tempdir()?;
        let mut child = command(&namespace, folder.path(), &[format!("udp:{ADDRESS}")])?
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("failed to start kamailio")?;
        let stderr = child.stderr.take().context("no standard error")?;
        let (sender, lines) = channel();
        thread::spawn(move || forward(stderr, &sender));
        let sockets = sockets(&namespace)?;
        let mut kamailio = Self { child, sockets, lines, markers: 0, _folder: folder, _namespace: namespace };
        let start = Instant::now();
        while kamailio.batch(&[], Duration::from_millis(300)).is_err() {
            if let Some(status) = kamailio.child.try_wait()? {
                bail!("kamailio has ended ({status})");
            }
            ensure!(start.elapsed() < Duration::from_secs(20), "kamailio does not answer");
        }
        Ok(kamailio)
    }

    /// What it reads in these messages.
    pub(crate) fn read(&mut self, messages: &[Vec<u8>]) -> Result<Vec<Reading>> {
        let mut readings = Vec::with_capacity(messages.len());
        let mut rest = messages;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fitting = rest.iter().take(PORTS).take_while(|message| {
                bytes += message.len() + 700;
                bytes <= BYTES
            });
            let count = fitting.count().max(1);
            let (batch, after) = rest.split_at(count);
            readings.extend(self.batch(batch, PATIENCE)?);
            rest = after;
        }
        Ok(readings)
    }

    /// Sends each message from a port of its own, then a marker; what was logged until the marker's line is the result.
    fn batch(&mut self, messages: &[Vec<u8>], patience: Duration) -> Result<Vec<Reading>> {
        self.markers += 1;
        let marker_user = format!("marker{}", self.markers);
        let marker = format!(
            "OPTIONS sip:{marker_user}@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKm\r\nFrom: <sip:m@h>;tag=1\r\n\
             To: <sip:m@h>\r\nCall-ID: m\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        );
        let mut readings = vec![Reading::default(); messages.len()];
        for (message, socket) in messages.iter().zip(&self.sockets) {
            // What does not fit into a datagram, no server on UDP reads.
            if !message.is_empty() && message.len() < 65_000 {
                // An error is an earlier message's: the port was not open yet.
                let _ = socket.send(message);
            }
        }
        let ports: Vec<u16> =
            self.sockets.iter().map(|socket| Ok(socket.local_addr()?.port())).collect::<Result<_>>()?;
        let _ = self.sockets[PORTS].send(marker.as_bytes());
        let deadline = Instant::now() + patience;
        loop {
            let line = match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => bail!("kamailio did not answer within {patience:?}"),
                Err(RecvTimeoutError::Disconnected) => bail!("kamailio has ended"),
            };
            let Some((port, read)) = logged(&line)? else { continue };
            if port == ports[PORTS] {
                // An earlier marker's line comes late where kamailio was slow to start.
                if read.of(Field::RequestUser).first().is_some_and(|user| user == marker_user.as_bytes()) {
                    return Ok(readings);
                }
                continue;
            }
            let place = ports.iter().position(|&one| one == port);
            if let Some(reading) = place.and_then(|place| readings.get_mut(place)) {
                *reading = read;
            }
        }
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        if let Some(id) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

fn forward(stderr: ChildStderr, sender: &std::sync::mpsc::Sender<String>) {
    for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
        if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
            return;
        }
    }
}

/// Sockets inside of the namespace.
fn sockets(namespace: &Namespace) -> Result<Vec<UdpSocket>> {
    let file = File::open(namespace.path()).context("failed to open the namespace")?;
    // A namespace is entered by a thread for good: this one ends with the work.
    thread::scope(|scope| {
        let work = scope.spawn(|| -> Result<Vec<UdpSocket>> {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .context("failed to enter the namespace")?;
            (0..=PORTS)
                .map(|_| {
                    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
                    socket.connect(ADDRESS)?;
                    Ok(socket)
                })
                .collect()
        });
        work.join().expect("opening sockets does not panic")
    })
}
