//! Sends raw frames, for what SIP software does not send: tags, wrong lengths, fragments out of order. Watches those that are sent.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    io::Errno,
    net::{MMsgHdr, SendAncillaryBuffer, SendFlags},
};

use crate::netns::Namespace;

/// Sends each frame, from its Ethernet header on, from `interface` in `namespace`.
///
/// # Errors
/// Not root, no such interface, or a frame is longer than the MTU allows.
pub fn send(namespace: &Namespace, interface: &str, frames: &[Vec<u8>]) -> Result<()> {
    namespace.within(|| send_here(interface, frames))
}

fn send_here(interface: &str, frames: &[Vec<u8>]) -> Result<()> {
    let socket = open(0)?;
    let address = address(&socket, interface, 0)?;
    for frame in frames {
        // SAFETY: frame and address are valid for the lengths passed, and outlive the call.
        let sent = unsafe {
            libc::sendto(
                socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const address).cast(),
                ADDRESS_LENGTH,
            )
        };
        if sent < 0 {
            return Err(io::Error::last_os_error()).context("failed to send a frame");
        }
    }
    Ok(())
}

const ADDRESS_LENGTH: libc::socklen_t = size_of::<libc::sockaddr_ll>() as libc::socklen_t;

/// A packet socket that receives nothing yet.
fn open(flags: libc::c_int) -> Result<OwnedFd> {
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC | flags, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error()).context("failed to open a packet socket");
    }
    // SAFETY: the kernel has just opened this descriptor for us, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn address(socket: &OwnedFd, interface: &str, protocol: u16) -> Result<libc::sockaddr_ll> {
    let index = rustix::net::netdevice::name_to_index(socket, interface).with_context(|| format!("no {interface}"))?;
    Ok(libc::sockaddr_ll {
        sll_family: libc::AF_PACKET.cast_unsigned() as u16,
        sll_protocol: protocol.to_be(),
        sll_ifindex: index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [0; 8],
    })
}

/// Sends frames in turn, again and again, as fast as one CPU can or at a pace.
#[derive(Debug)]
pub struct Flood {
    socket: OwnedFd,
    frames: Vec<Vec<u8>>,
}

/// Messages per system call.
const TOGETHER: usize = 64;

impl Flood {
    /// Opens a socket for frames that leave through `interface` in `namespace`.
    ///
    /// # Errors
    /// Not root, or no such interface.
    pub fn open(namespace: &Namespace, interface: &str, frames: Vec<Vec<u8>>) -> Result<Self> {
        ensure!(!frames.is_empty(), "no frames to send");
        namespace.within(|| {
            let socket = open(0)?;
            let address = address(&socket, interface, 0)?;
            // SAFETY: the address is valid for the length passed, and outlives the call.
            if unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), ADDRESS_LENGTH) } < 0 {
                return Err(io::Error::last_os_error()).context("failed to bind to the interface");
            }
            // Straight to the driver: a queue in between would cost time, and lose packets.
            let on: libc::c_int = 1;
            // SAFETY: the option's value is valid for the length passed, and outlives the call.
            let status = unsafe {
                libc::setsockopt(
                    socket.as_raw_fd(),
                    libc::SOL_PACKET,
                    libc::PACKET_QDISC_BYPASS,
                    (&raw const on).cast(),
                    size_of::<libc::c_int>() as libc::socklen_t,
                )
            };
            if status < 0 {
                return Err(io::Error::last_os_error()).context("failed to bypass the interface's queue");
            }
            Ok(Self { socket, frames })
        })
    }

    /// Sends for this long. Returns how long it took; the interface counts the frames.
    ///
    /// # Errors
    /// The kernel refuses a frame.
    pub fn send_for(&self, duration: Duration) -> Result<Duration> {
        self.send_while(|elapsed| elapsed < duration, None).map(|(_, elapsed)| elapsed)
    }

    /// Sends until `ends` is set, at this many frames a second or as many as it can. Returns how many were sent, and how long it took.
    ///
    /// # Errors
    /// The kernel refuses a frame.
    pub fn send_until(&self, ends: &AtomicBool, pace: Option<u32>) -> Result<(u64, Duration)> {
        self.send_while(|_| !ends.load(Ordering::Relaxed), pace)
    }

    fn send_while(&self, goes_on: impl Fn(Duration) -> bool, pace: Option<u32>) -> Result<(u64, Duration)> {
        // A system call sends this many: all if there is no pace, and a hundredth of a second's otherwise.
        let together = pace.map_or(TOGETHER, |pace| (pace as usize / 100).clamp(1, TOGETHER));
        let contents: Vec<_> = self
            .frames
            .iter()
            .cycle()
            .take(self.frames.len().max(together))
            .map(|frame| [io::IoSlice::new(frame)])
            .collect();
        let mut ancillary: Vec<_> = contents.iter().map(|_| SendAncillaryBuffer::default()).collect();
        let mut messages: Vec<_> =
            contents.iter().zip(&mut ancillary).map(|(content, none)| MMsgHdr::new(content, none)).collect();
        let (start, mut sent, mut next) = (Instant::now(), 0, 0usize);
        while goes_on(start.elapsed()) {
            if let Some(pace) = pace {
                let due = Duration::from_secs_f64(sent as f64 / f64::from(pace));
                thread::sleep(due.saturating_sub(start.elapsed()));
            }
            let end = (next + together).min(messages.len());
            match rustix::net::sendmmsg(&self.socket, &mut messages[next..end], SendFlags::empty()) {
                Ok(count) => {
                    if count < end - next {
                        rustix::thread::sched_yield();
                    }
                    sent += count as u64;
                    next = (next + count) % messages.len();
                }
                Err(Errno::INTR) => {}
                // The other end of a veth pair has no room: on a busy machine, the kernel leaves its work to a thread, which needs
                // this CPU.
                Err(Errno::NOBUFS | Errno::AGAIN) => rustix::thread::sched_yield(),
                Err(error) => return Err(error).context("failed to send a frame"),
            }
        }
        Ok((sent, start.elapsed()))
    }
}

/// Sees the frames that leave through an interface, those of [`send`] included.
#[derive(Debug)]
pub struct Watch {
    socket: OwnedFd,
}

impl Watch {
    /// Watches `interface` in `namespace` from now on.
    ///
    /// # Errors
    /// Not root, or no such interface.
    pub fn start(namespace: &Namespace, interface: &str) -> Result<Self> {
        namespace.within(|| {
            let socket = open(libc::SOCK_NONBLOCK)?;
            let address = address(&socket, interface, libc::ETH_P_ALL as u16)?;
            // SAFETY: the address is valid for the length passed, and outlives the call.
            if unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), ADDRESS_LENGTH) } < 0 {
                return Err(io::Error::last_os_error()).context("failed to watch the interface");
            }
            Ok(Self { socket })
        })
    }

    /// The frames that have left since the last call.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn sent(&mut self) -> Result<Vec<Vec<u8>>> {
        let mut frames = Vec::new();
        let mut frame = vec![0; 1 << 16];
        let mut from = address_of_nothing();
        loop {
            let mut length = ADDRESS_LENGTH;
            // SAFETY: buffer and address are valid for the lengths passed, nothing else uses them, and they outlive the call.
            let received = unsafe {
                libc::recvfrom(
                    self.socket.as_raw_fd(),
                    frame.as_mut_ptr().cast(),
                    frame.len(),
                    0,
                    (&raw mut from).cast(),
                    &raw mut length,
                )
            };
            let Ok(received) = usize::try_from(received) else {
                let error = io::Error::last_os_error();
                return if error.kind() == io::ErrorKind::WouldBlock {
                    Ok(frames)
                } else {
                    Err(error).context("failed to receive a frame")
                };
            };
            if from.sll_pkttype == libc::PACKET_OUTGOING {
                frames.push(frame[..received].to_vec());
            }
        }
    }
}

fn address_of_nothing() -> libc::sockaddr_ll {
    libc::sockaddr_ll {
        sll_family: 0,
        sll_protocol: 0,
        sll_ifindex: 0,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    }
}

/// Frames as a capture file (pcap, Ethernet), all of the same second.
#[must_use]
pub fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    // Magic number, version 2.4, no time zone, longest frame, link type: draft-ietf-opsawg-pcap section 4.
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 1 << 18, 1] {
        file.extend_from_slice(&u32::to_le_bytes(word));
    }
    for frame in frames {
        let length = frame.len() as u32;
        for word in [1_700_000_000, 0, length, length] {
            file.extend_from_slice(&u32::to_le_bytes(word));
        }
        file.extend_from_slice(frame);
    }
    file
}
