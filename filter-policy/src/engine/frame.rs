//! Builds frames for messages that have none: from a file, or from a capture of another link type.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The most bytes in a UDP datagram over IPv4.
pub const MAX_DATAGRAM: usize = 65_507;

/// Destination and source address of made-up Ethernet headers: locally administered.
pub(crate) const ETHERNET_ADDRESSES: [u8; 12] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];

/// Source and destination of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Source address and port.
    pub source: SocketAddr,
    /// Destination address and port, in the source's address family.
    pub destination: SocketAddr,
}

impl Default for Endpoints {
    /// From 192.0.2.1 to 192.0.2.2 (documentation addresses, RFC 5737), port 5060 at both ends.
    fn default() -> Self {
        let host = |last| SocketAddr::from((Ipv4Addr::new(192, 0, 2, last), 5060));
        Self { source: host(1), destination: host(2) }
    }
}

impl Endpoints {
    /// From port 5060 of `source` to `port` of a documentation address in the same family.
    #[must_use]
    pub fn from_source(source: IpAddr, port: u16) -> Self {
        let destination = match source {
            IpAddr::V4(_) => IpAddr::from([192, 0, 2, 2]),
            IpAddr::V6(_) => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 2]),
        };
        Self { source: SocketAddr::new(source, 5060), destination: SocketAddr::new(destination, port) }
    }
}

/// A UDP datagram in an Ethernet frame. A payload longer than [`MAX_DATAGRAM`] is truncated.
#[must_use]
pub fn datagram(endpoints: &Endpoints, payload: &[u8]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(MAX_DATAGRAM)];
    let length = 8 + payload.len() as u16;
    let mut udp = Vec::with_capacity(8 + payload.len());
    udp.extend_from_slice(&endpoints.source.port().to_be_bytes());
    udp.extend_from_slice(&endpoints.destination.port().to_be_bytes());
    udp.extend_from_slice(&length.to_be_bytes());
    // No checksum: the engine does not look at it, and over IPv4 zero means that there is none (RFC 768).
    udp.extend_from_slice(&[0, 0]);
    udp.extend_from_slice(payload);
    frame(endpoints, 17, &udp)
}

/// A TCP segment (RFC 9293 section 3.1) in an Ethernet frame: one that opens a connection if it has no payload. A payload longer
/// than [`MAX_DATAGRAM`] is truncated.
#[must_use]
pub fn segment(endpoints: &Endpoints, sequence: u32, payload: &[u8]) -> Vec<u8> {
    const SYN: u8 = 0x02;
    const PSH_ACK: u8 = 0x18;
    let payload = &payload[..payload.len().min(MAX_DATAGRAM)];
    let mut tcp = Vec::with_capacity(20 + payload.len());
    tcp.extend_from_slice(&endpoints.source.port().to_be_bytes());
    tcp.extend_from_slice(&endpoints.destination.port().to_be_bytes());
    tcp.extend_from_slice(&sequence.to_be_bytes());
    let flags = if payload.is_empty() { SYN } else { PSH_ACK };
    // No acknowledgement number and no checksum: the engine does not look at them. The header has five words.
    tcp.extend_from_slice(&[0, 0, 0, 0, 5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    tcp.extend_from_slice(payload);
    frame(endpoints, 6, &tcp)
}

/// An IP packet with this protocol in an Ethernet frame.
#[must_use]
pub fn frame(endpoints: &Endpoints, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(54 + payload.len());
    frame.extend_from_slice(&ETHERNET_ADDRESSES);
    match (endpoints.source.ip(), endpoints.destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            frame.extend_from_slice(&[0x08, 0x00, 0x45, 0]);
            frame.extend_from_slice(&(20 + payload.len() as u16).to_be_bytes());
            frame.extend_from_slice(&[0, 0, 0, 0, 64, protocol, 0, 0]);
            frame.extend_from_slice(&source.octets());
            frame.extend_from_slice(&destination.octets());
        }
        (source, destination) => {
            let v6 = |address| match address {
                IpAddr::V4(address) => address.to_ipv6_mapped(),
                IpAddr::V6(address) => address,
            };
            frame.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend_from_slice(&(payload.len() as u16).to_be_bytes());
            frame.extend_from_slice(&[protocol, 64]);
            frame.extend_from_slice(&v6(source).octets());
            frame.extend_from_slice(&v6(destination).octets());
        }
    }
    frame.extend_from_slice(payload);
    frame
}
