//! Generic netlink: what the kernel's families `netdev` and `ethtool` answer about an interface.

use std::io;

use netlink_packet_core::{
    DefaultNla, Emitable as _, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NlaBuffer, NlasIterator,
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

/// `GENL_ID_CTRL` of include/uapi/linux/genetlink.h: the family that knows the others.
const CONTROLLER: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;

/// Type of an answer that is an error.
const NLMSG_ERROR: u16 = 2;
/// Bytes of `struct nlmsghdr` and of `struct genlmsghdr`.
const HEADER: usize = 16;
const FAMILY_HEADER: usize = 4;

/// A connection to a family.
pub(super) struct Family {
    socket: Socket,
    id: u16,
}

impl Family {
    /// Finds a family by its name.
    ///
    /// # Errors
    /// The kernel does not have it, or refuses.
    pub(super) fn open(name: &str) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_GENERIC)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        let controller = Self { socket, id: CONTROLLER };
        let name = DefaultNla::new(CTRL_ATTR_FAMILY_NAME, [name.as_bytes(), b"\0"].concat());
        let answer = controller.ask(CTRL_CMD_GETFAMILY, &[name])?;
        let id = number(find(&answer, CTRL_ATTR_FAMILY_ID)).and_then(|id| u16::try_from(id).ok());
        let id = id.ok_or_else(|| unexpected("no family id"))?;
        Ok(Self { socket: controller.socket, id })
    }

    /// Asks a question. Returns the attributes of the answer.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn ask(&self, command: u8, attributes: &[DefaultNla]) -> io::Result<Vec<u8>> {
        let mut header = NetlinkHeader::default();
        header.length = (HEADER + FAMILY_HEADER + attributes.buffer_len()) as u32;
        header.message_type = self.id;
        header.flags = NLM_F_REQUEST;
        let mut message = vec![0; header.length as usize];
        header.emit(&mut message);
        // Version 1 of the family's messages.
        message[HEADER..HEADER + 2].copy_from_slice(&[command, 1]);
        attributes.emit(&mut message[HEADER + FAMILY_HEADER..]);
        self.socket.send(&message, 0)?;
        let (answer, _) = self.socket.recv_from_full()?;
        let answer = NetlinkBuffer::new_checked(&answer).map_err(|error| unexpected(&error.to_string()))?;
        let payload = answer.payload();
        if answer.message_type() == NLMSG_ERROR {
            let code = payload.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
            return Err(io::Error::from_raw_os_error(-code));
        }
        payload.get(FAMILY_HEADER..).map(<[u8]>::to_vec).ok_or_else(|| unexpected("a short answer"))
    }
}

fn unexpected(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("unexpected answer from generic netlink: {what}"))
}

/// All attributes of a kind.
pub(super) fn all(attributes: &[u8], kind: u16) -> impl Iterator<Item = &[u8]> {
    let found = NlasIterator::new(attributes).filter_map(Result::ok).filter(move |attribute| attribute.kind() == kind);
    // The value borrows from the attributes, not from the iterator's item.
    found.map(NlaBuffer::into_inner).map(|inner| {
        let length = NlaBuffer::new(inner).length() as usize;
        inner.get(4..length).unwrap_or_default()
    })
}

/// The first attribute of a kind.
pub(super) fn find(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    all(attributes, kind).next()
}

/// A number of two, four or eight bytes.
pub(super) fn number(value: Option<&[u8]>) -> Option<u64> {
    let value = value?;
    match value.len() {
        2 => value.first_chunk().map(|bytes| u64::from(u16::from_ne_bytes(*bytes))),
        4 => value.first_chunk().map(|bytes| u64::from(u32::from_ne_bytes(*bytes))),
        8 => value.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes)),
        _ => None,
    }
}

/// A text, which the kernel ends with a zero.
pub(super) fn text(value: Option<&[u8]>) -> Option<String> {
    value.map(|bytes| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned())
}
