//! The server's socket, which counts what a filter lets through.

use std::{
    net::{SocketAddr, UdpSocket},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::net::sockopt;

use crate::namespace::enter;

/// The pause between two reads of an empty socket. A server under load does not sleep. Waking a sleeping one on another CPU
/// would cost the sender as much as two packets, above all on a virtual machine.
const SINK_PAUSE: Duration = Duration::from_millis(2);

/// The socket's buffer, in bytes: enough for the packets of a pause.
const SINK_BUFFER: usize = 16 << 20;

/// A socket with a thread that counts its packets.
pub(super) struct Sink {
    stop: Arc<AtomicBool>,
    pub(super) ordinary: Arc<AtomicU64>,
    pub(super) scanner: Arc<AtomicU64>,
    thread: Option<thread::JoinHandle<Result<()>>>,
}

impl Sink {
    pub(super) fn start(namespace: &Path, address: &str) -> Result<Self> {
        let address: SocketAddr = address.parse()?;
        let [ordinary, scanner] = [(); 2].map(|()| Arc::new(AtomicU64::new(0)));
        let stop = Arc::new(AtomicBool::new(false));
        let (bound, is_bound) = mpsc::channel();
        let thread = {
            let (stop, ordinary, scanner) = (stop.clone(), ordinary.clone(), scanner.clone());
            let namespace = namespace.to_path_buf();
            thread::spawn(move || {
                enter(&namespace)?;
                let socket = UdpSocket::bind(address).context("failed to open the server's socket")?;
                socket.set_nonblocking(true)?;
                sockopt::set_socket_recv_buffer_size_force(&socket, SINK_BUFFER)
                    .context("failed to enlarge the buffer of the server's socket")?;
                let _ = bound.send(());
                let mut buffer = [0; 2048];
                while !stop.load(Ordering::Relaxed) {
                    let Ok(length) = socket.recv(&mut buffer) else {
                        thread::sleep(SINK_PAUSE);
                        continue;
                    };
                    // The ordinary INVITE has this word in its first line, whoever forwarded it.
                    let line = &buffer[..length.min(32)];
                    let counter = if line.windows(8).any(|word| word == b"ordinary") { &ordinary } else { &scanner };
                    counter.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            })
        };
        let sink = Self { stop, ordinary, scanner, thread: Some(thread) };
        if is_bound.recv().is_err() {
            bail!("failed to open the server's socket");
        }
        Ok(sink)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Err(error)) = self.thread.take().map(|thread| thread.join().expect("the sink panicked")) {
            eprintln!("the server's socket: {error:#}");
        }
    }
}
