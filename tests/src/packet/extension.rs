//! IPv6 extension headers.

/// An IPv6 extension header (RFC 8200 section 4, RFC 4302, RFC 6275). The number is its length in bytes, a multiple of 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// Hop-by-Hop Options, filled with padding.
    HopByHop(usize),
    /// Routing, of type 0 with no segments left.
    Routing(usize),
    /// Destination Options, filled with padding.
    DestinationOptions(usize),
    /// Authentication Header, whose length field counts units of four bytes.
    Authentication(usize),
    /// Mobility, filled with padding.
    Mobility(usize),
    /// A Fragment header in front of a whole datagram (an atomic fragment, RFC 6946), with this identification.
    AtomicFragment(u32),
}

impl Extension {
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::HopByHop(_) => 0,
            Self::Routing(_) => 43,
            Self::AtomicFragment(_) => FRAGMENT,
            Self::Authentication(_) => 51,
            Self::DestinationOptions(_) => 60,
            Self::Mobility(_) => 135,
        }
    }

    pub(super) fn bytes(self, next: u8) -> Vec<u8> {
        let options = |length: usize| {
            let mut header = vec![next, (length / 8 - 1) as u8, 1, (length - 4) as u8];
            header.resize(length, 0);
            header
        };
        match self {
            Self::HopByHop(length) | Self::DestinationOptions(length) | Self::Mobility(length) => options(length),
            Self::Routing(length) => {
                let mut header = vec![next, (length / 8 - 1) as u8];
                header.resize(length, 0);
                header
            }
            Self::Authentication(length) => {
                let mut header = vec![next, (length / 4 - 2) as u8];
                header.resize(length, 0);
                header
            }
            Self::AtomicFragment(id) => fragment_header(next, 0, false, id),
        }
    }
}

pub(super) const FRAGMENT: u8 = 44;

pub(super) fn fragment_header(next: u8, offset: usize, more: bool, id: u32) -> Vec<u8> {
    let mut header = vec![next, 0];
    header.extend_from_slice(&(offset as u16 | u16::from(more)).to_be_bytes());
    header.extend_from_slice(&id.to_be_bytes());
    header
}
