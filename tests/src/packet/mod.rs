//! Packets in words: `Packet::udp(message).from("203.0.113.66").qinq(7, 100).frame()`.
//!
//! Whatever is not set is as a well-behaved sender would write it, checksums included, so that real interfaces accept it too. The
//! `claim_` methods put a wrong value into one header field: nothing else changes.

mod extension;
mod frame;

pub use extension::Extension;

use std::net::{IpAddr, SocketAddr};

/// Bytes of an Ethernet header.
pub const ETHERNET: usize = 14;
/// Bytes of a VLAN tag.
pub const TAG: usize = 4;
/// Bytes of an IPv4 header without options.
pub const IPV4: usize = 20;
/// Bytes of an IPv6 header without extension headers.
pub const IPV6: usize = 40;
/// Bytes of a UDP header.
pub const UDP: usize = 8;
/// Bytes of a TCP header without options.
pub const TCP: usize = 20;

/// TCP flags (RFC 9293 section 3.1).
pub mod flag {
    /// The sender has no more data.
    pub const FIN: u8 = 0x01;
    /// Opens a connection.
    pub const SYN: u8 = 0x02;
    /// Resets the connection.
    pub const RST: u8 = 0x04;
    /// The data is to be passed on at once.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement number is valid.
    pub const ACK: u8 = 0x10;
    /// There is urgent data.
    pub const URG: u8 = 0x20;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Udp,
    Tcp {
        flags: u8,
        sequence: u32,
    },
    /// Another protocol; its packet is the payload.
    Other(u8),
}

/// A packet under construction.
#[derive(Clone, Debug)]
pub struct Packet {
    source: SocketAddr,
    destination: SocketAddr,
    macs: [u8; 12],
    tags: Vec<(u16, u16)>,
    ipv4_options: Vec<u8>,
    extensions: Vec<Extension>,
    transport: Transport,
    tcp_options: Vec<u8>,
    payload: Vec<u8>,
    padding: Vec<u8>,
    id: u32,
    claims: Claims,
}

#[derive(Clone, Copy, Debug, Default)]
struct Claims {
    ethertype: Option<u16>,
    ip_version: Option<u8>,
    ipv4_header_words: Option<u8>,
    ip_length: Option<u16>,
    udp_length: Option<u16>,
    tcp_header_words: Option<u8>,
}

impl Packet {
    /// A UDP datagram from 192.0.2.1 to 192.0.2.2 (RFC 5737), port 5060 on both ends.
    #[must_use]
    pub fn udp(payload: impl Into<Vec<u8>>) -> Self {
        Self::new(Transport::Udp, payload.into())
    }

    /// A TCP segment within a connection, between the same hosts, from port 40,000.
    #[must_use]
    pub fn tcp(payload: impl Into<Vec<u8>>) -> Self {
        let mut packet = Self::new(Transport::Tcp { flags: flag::ACK | flag::PSH, sequence: 1 }, payload.into());
        packet.source.set_port(40_000);
        packet
    }

    /// An IP packet of another protocol.
    #[must_use]
    pub fn of_protocol(protocol: u8, payload: impl Into<Vec<u8>>) -> Self {
        Self::new(Transport::Other(protocol), payload.into())
    }

    fn new(transport: Transport, payload: Vec<u8>) -> Self {
        Self {
            source: SocketAddr::from(([192, 0, 2, 1], 5060)),
            destination: SocketAddr::from(([192, 0, 2, 2], 5060)),
            macs: [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1],
            tags: Vec::new(),
            ipv4_options: Vec::new(),
            extensions: Vec::new(),
            transport,
            tcp_options: Vec::new(),
            payload,
            padding: Vec::new(),
            id: 0,
            claims: Claims::default(),
        }
    }

    /// Sets the source address. A destination of the other family becomes 192.0.2.2 or 2001:db8::2.
    ///
    /// # Panics
    /// It is not an address.
    #[must_use]
    pub fn from(mut self, address: &str) -> Self {
        let address: IpAddr = address.parse().unwrap_or_else(|error| panic!("{address}: {error}"));
        self.source.set_ip(address);
        if address.is_ipv4() != self.destination.is_ipv4() {
            let same_family: IpAddr = match address {
                IpAddr::V4(_) => [192, 0, 2, 2].into(),
                IpAddr::V6(_) => [0x2001, 0xdb8, 0, 0, 0, 0, 0, 2].into(),
            };
            self.destination.set_ip(same_family);
        }
        self
    }

    /// Sets the destination address, which must be of the source's family.
    ///
    /// # Panics
    /// It is not an address.
    #[must_use]
    pub fn to(mut self, address: &str) -> Self {
        self.destination.set_ip(address.parse().unwrap_or_else(|error| panic!("{address}: {error}")));
        self
    }

    /// Sets the source port.
    #[must_use]
    pub fn from_port(mut self, port: u16) -> Self {
        self.source.set_port(port);
        self
    }

    /// Sets the destination port.
    #[must_use]
    pub fn to_port(mut self, port: u16) -> Self {
        self.destination.set_port(port);
        self
    }

    /// Sends it from 2001:db8::1 to 2001:db8::2.
    #[must_use]
    pub fn over_ipv6(self) -> Self {
        self.from("2001:db8::1")
    }

    /// Sets the Ethernet addresses.
    #[must_use]
    pub fn between(mut self, source: [u8; 6], destination: [u8; 6]) -> Self {
        self.macs[..6].copy_from_slice(&destination);
        self.macs[6..].copy_from_slice(&source);
        self
    }

    /// Adds a tag of this EtherType, inside those added before.
    #[must_use]
    pub fn tag(mut self, ethertype: u16, id: u16) -> Self {
        self.tags.push((ethertype, id));
        self
    }

    /// Adds an IEEE 802.1Q tag.
    #[must_use]
    pub fn vlan(self, id: u16) -> Self {
        self.tag(0x8100, id)
    }

    /// Adds a service tag (IEEE 802.1ad) and a customer tag inside it.
    #[must_use]
    pub fn qinq(self, outer: u16, inner: u16) -> Self {
        self.tag(0x88a8, outer).vlan(inner)
    }

    /// Sets the IPv4 options, padded to a multiple of four bytes with End of Option List.
    #[must_use]
    pub fn ipv4_options(mut self, options: &[u8]) -> Self {
        self.ipv4_options = options.to_vec();
        self.ipv4_options.resize(options.len().next_multiple_of(4), 0);
        self
    }

    /// Adds an IPv6 extension header, after those added before.
    #[must_use]
    pub fn extension(mut self, extension: Extension) -> Self {
        self.extensions.push(extension);
        self
    }

    /// Sets the TCP flags, see [`flag`].
    #[must_use]
    pub fn flags(mut self, flags: u8) -> Self {
        if let Transport::Tcp { flags: field, .. } = &mut self.transport {
            *field = flags;
        }
        self
    }

    /// Sets the TCP sequence number.
    #[must_use]
    pub fn sequence(mut self, sequence: u32) -> Self {
        if let Transport::Tcp { sequence: field, .. } = &mut self.transport {
            *field = sequence;
        }
        self
    }

    /// Replaces the payload.
    #[must_use]
    pub fn payload(mut self, payload: impl Into<Vec<u8>>) -> Self {
        self.payload = payload.into();
        self
    }

    /// Sets the TCP options, padded to a multiple of four bytes.
    #[must_use]
    pub fn tcp_options(mut self, options: &[u8]) -> Self {
        self.tcp_options = options.to_vec();
        self.tcp_options.resize(options.len().next_multiple_of(4), 0);
        self
    }

    /// Adds bytes after the IP datagram, as short Ethernet frames have them.
    #[must_use]
    pub fn padding(mut self, padding: impl Into<Vec<u8>>) -> Self {
        self.padding = padding.into();
        self
    }

    /// Sets the identification of the datagram, for its fragments.
    #[must_use]
    pub fn id(mut self, id: u32) -> Self {
        self.id = id;
        self
    }

    /// Claims another EtherType.
    #[must_use]
    pub fn claim_ethertype(mut self, ethertype: u16) -> Self {
        self.claims.ethertype = Some(ethertype);
        self
    }

    /// Claims another IP version.
    #[must_use]
    pub fn claim_ip_version(mut self, version: u8) -> Self {
        self.claims.ip_version = Some(version);
        self
    }

    /// Claims another IPv4 header length, in units of four bytes.
    #[must_use]
    pub fn claim_ipv4_header_words(mut self, words: u8) -> Self {
        self.claims.ipv4_header_words = Some(words);
        self
    }

    /// Claims another total length (IPv4) or payload length (IPv6).
    #[must_use]
    pub fn claim_ip_length(mut self, length: u16) -> Self {
        self.claims.ip_length = Some(length);
        self
    }

    /// Claims another UDP length.
    #[must_use]
    pub fn claim_udp_length(mut self, length: u16) -> Self {
        self.claims.udp_length = Some(length);
        self
    }

    /// Claims another TCP data offset, in units of four bytes.
    #[must_use]
    pub fn claim_tcp_header_words(mut self, words: u8) -> Self {
        self.claims.tcp_header_words = Some(words);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::{frame::checksum, *};

    #[test]
    fn the_checksum_of_a_known_header_is_the_known_one() {
        // The worked example of many textbooks: 4500 0073 0000 4000 4011 .... c0a8 0001 c0a8 00c7.
        let header = [0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7];
        assert_eq!(checksum(&[&header]), 0xb861);
    }

    #[test]
    fn offsets_point_at_the_payload_and_the_transport_header() {
        let packets = [
            Packet::udp("INVITE"),
            Packet::udp("INVITE").qinq(7, 100).ipv4_options(&[1, 1, 1]),
            Packet::tcp("INVITE").tcp_options(&[1; 12]).vlan(5),
            Packet::udp("INVITE")
                .over_ipv6()
                .extension(Extension::HopByHop(8))
                .extension(Extension::Authentication(24)),
        ];
        for packet in packets {
            let frame = packet.frame();
            assert_eq!(frame[packet.payload_offset()..], *b"INVITE");
            let port = &frame[packet.transport_offset() + 2..][..2];
            assert_eq!(port, 5060u16.to_be_bytes());
        }
    }

    #[test]
    fn the_two_fragments_add_up_to_the_datagram() {
        let packet = Packet::udp([7; 100]).id(9);
        let [first, second] = packet.fragments(24);
        let whole = packet.frame();
        assert_eq!(first[ETHERNET + IPV4..], whole[ETHERNET + IPV4..][..24]);
        assert_eq!(second[ETHERNET + IPV4..], whole[ETHERNET + IPV4 + 24..]);
        assert_eq!(first[ETHERNET + 6..][..2], [0x20, 0]);
        assert_eq!(second[ETHERNET + 6..][..2], [0, 3]);
    }
}
