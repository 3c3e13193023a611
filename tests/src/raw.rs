//! Sends raw frames, for what SIP software does not send: tags, wrong lengths, fragments out of order.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
};

use anyhow::{Context as _, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::netns::Namespace;

/// Sends each frame, from its Ethernet header on, from `interface` in `namespace`.
///
/// # Errors
/// Not root, no such interface, or a frame is longer than the MTU allows.
pub fn send(namespace: &Namespace, interface: &str, frames: &[Vec<u8>]) -> Result<()> {
    let file = File::open(namespace.path()).context("failed to open the namespace")?;
    // A thread cannot leave a namespace it has entered: this one ends when the frames are sent.
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .context("failed to enter the namespace")?;
            send_here(interface, frames)
        });
        sender.join().expect("sending frames panicked")
    })
}

fn send_here(interface: &str, frames: &[Vec<u8>]) -> Result<()> {
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error()).context("failed to open a packet socket");
    }
    // SAFETY: the kernel has just opened this descriptor for us, and nothing else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let index = rustix::net::netdevice::name_to_index(&socket, interface).with_context(|| format!("no {interface}"))?;
    for frame in frames {
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET.cast_unsigned() as u16,
            sll_protocol: 0,
            sll_ifindex: index.cast_signed(),
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 6,
            sll_addr: [0; 8],
        };
        // SAFETY: frame and address are valid for the lengths passed, and outlive the call.
        let sent = unsafe {
            libc::sendto(
                socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        if sent < 0 {
            return Err(io::Error::last_os_error()).context("failed to send a frame");
        }
    }
    Ok(())
}
