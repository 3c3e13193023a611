//! The socket that frames are sent through.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

/// A packet socket that receives nothing.
#[derive(Debug)]
pub(super) struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Opens one.
    ///
    /// # Errors
    /// The kernel refuses: it needs CAP_NET_RAW.
    pub(super) fn open() -> io::Result<Self> {
        // (With protocol 0, it is handed no packets.)
        // SAFETY: no pointers are passed.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just opened this descriptor for us, and nothing else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sends a frame, from its Ethernet header on, through the interface with this index.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub(super) fn send(&self, interface: u32, frame: &[u8]) -> io::Result<()> {
        let unknown = |_| io::Error::from_raw_os_error(libc::ENODEV);
        let protocol = frame.get(12..14).and_then(|bytes| bytes.try_into().ok()).map_or(0, u16::from_ne_bytes);
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET.cast_unsigned() as u16,
            sll_protocol: protocol,
            sll_ifindex: interface.try_into().map_err(unknown)?,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 6,
            sll_addr: [0; 8],
        };
        // SAFETY: frame and address are valid for the lengths passed, and outlive the call.
        let sent = unsafe {
            libc::sendto(
                self.0.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}
