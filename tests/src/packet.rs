//! Packets in words: `Packet::udp(message).from("203.0.113.66").qinq(7, 100).frame()`.
//!
//! What is not said is as a well-behaved sender would have it, checksums included, so that a real interface takes it too.
//! The `claim_` methods make a packet lie about itself: nothing else in it changes.

use std::net::{IpAddr, SocketAddr};

/// Bytes of an Ethernet header, of a VLAN tag, of IPv4's and IPv6's fixed headers, of UDP's and of TCP's.
pub const ETHERNET: usize = 14;
/// See [`ETHERNET`].
pub const TAG: usize = 4;
/// See [`ETHERNET`].
pub const IPV4: usize = 20;
/// See [`ETHERNET`].
pub const IPV6: usize = 40;
/// See [`ETHERNET`].
pub const UDP: usize = 8;
/// See [`ETHERNET`].
pub const TCP: usize = 20;

/// TCP flags (RFC 9293 section 3.1).
pub mod flag {
    /// No more from the sender.
    pub const FIN: u8 = 0x01;
    /// Opens a connection.
    pub const SYN: u8 = 0x02;
    /// Resets it.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement field counts.
    pub const ACK: u8 = 0x10;
}

/// An IPv6 extension header (RFC 8200 section 4, RFC 4302, RFC 6275). A number is its length in bytes, a multiple of 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// Hop-by-Hop Options, filled with padding.
    HopByHop(usize),
    /// Routing, of type 0 with no segments left.
    Routing(usize),
    /// Destination Options, filled with padding.
    DestinationOptions(usize),
    /// Authentication Header; its length counts in units of four bytes.
    Authentication(usize),
    /// Mobility, filled with padding.
    Mobility(usize),
    /// A Fragment header around a whole datagram (an atomic fragment, RFC 6946), with this identification.
    AtomicFragment(u32),
}

impl Extension {
    const fn number(self) -> u8 {
        match self {
            Self::HopByHop(_) => 0,
            Self::Routing(_) => 43,
            Self::AtomicFragment(_) => FRAGMENT,
            Self::Authentication(_) => 51,
            Self::DestinationOptions(_) => 60,
            Self::Mobility(_) => 135,
        }
    }

    fn bytes(self, next: u8) -> Vec<u8> {
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

const FRAGMENT: u8 = 44;

fn fragment_header(next: u8, offset: usize, more: bool, id: u32) -> Vec<u8> {
    let mut header = vec![next, 0];
    header.extend_from_slice(&(offset as u16 | u16::from(more)).to_be_bytes());
    header.extend_from_slice(&id.to_be_bytes());
    header
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Udp,
    Tcp {
        flags: u8,
        sequence: u32,
    },
    /// What the payload is instead.
    Other(u8),
}

/// A packet that is being described.
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

    /// A TCP segment within a connection, between the same, from port 40,000.
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

    /// From this address. The destination becomes 192.0.2.2 or 2001:db8::2, whichever is of the same family, unless it is
    /// already.
    ///
    /// # Panics
    /// It is no address.
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

    /// To this address, of the source's family.
    ///
    /// # Panics
    /// It is no address.
    #[must_use]
    pub fn to(mut self, address: &str) -> Self {
        self.destination.set_ip(address.parse().unwrap_or_else(|error| panic!("{address}: {error}")));
        self
    }

    /// From this port.
    #[must_use]
    pub fn from_port(mut self, port: u16) -> Self {
        self.source.set_port(port);
        self
    }

    /// To this port.
    #[must_use]
    pub fn to_port(mut self, port: u16) -> Self {
        self.destination.set_port(port);
        self
    }

    /// From 2001:db8::1 to 2001:db8::2.
    #[must_use]
    pub fn over_ipv6(self) -> Self {
        self.from("2001:db8::1")
    }

    /// From this Ethernet address to that one.
    #[must_use]
    pub fn between(mut self, source: [u8; 6], destination: [u8; 6]) -> Self {
        self.macs[..6].copy_from_slice(&destination);
        self.macs[6..].copy_from_slice(&source);
        self
    }

    /// One more tag (the innermost so far) of this EtherType.
    #[must_use]
    pub fn tag(mut self, ethertype: u16, id: u16) -> Self {
        self.tags.push((ethertype, id));
        self
    }

    /// An IEEE 802.1Q tag.
    #[must_use]
    pub fn vlan(self, id: u16) -> Self {
        self.tag(0x8100, id)
    }

    /// A service tag (IEEE 802.1ad) and a customer's in it.
    #[must_use]
    pub fn qinq(self, outer: u16, inner: u16) -> Self {
        self.tag(0x88a8, outer).vlan(inner)
    }

    /// IPv4 options, padded to a multiple of four bytes with End of Option List.
    #[must_use]
    pub fn ipv4_options(mut self, options: &[u8]) -> Self {
        self.ipv4_options = options.to_vec();
        self.ipv4_options.resize(options.len().next_multiple_of(4), 0);
        self
    }

    /// One more IPv6 extension header, behind those so far.
    #[must_use]
    pub fn extension(mut self, extension: Extension) -> Self {
        self.extensions.push(extension);
        self
    }

    /// TCP flags, see [`flag`].
    #[must_use]
    pub fn flags(mut self, flags: u8) -> Self {
        if let Transport::Tcp { flags: field, .. } = &mut self.transport {
            *field = flags;
        }
        self
    }

    /// TCP sequence number.
    #[must_use]
    pub fn sequence(mut self, sequence: u32) -> Self {
        if let Transport::Tcp { sequence: field, .. } = &mut self.transport {
            *field = sequence;
        }
        self
    }

    /// TCP options, padded to a multiple of four bytes.
    #[must_use]
    pub fn tcp_options(mut self, options: &[u8]) -> Self {
        self.tcp_options = options.to_vec();
        self.tcp_options.resize(options.len().next_multiple_of(4), 0);
        self
    }

    /// Bytes behind the IP datagram, as short Ethernet frames have them.
    #[must_use]
    pub fn padding(mut self, padding: impl Into<Vec<u8>>) -> Self {
        self.padding = padding.into();
        self
    }

    /// The identification of the datagram, for its fragments.
    #[must_use]
    pub fn id(mut self, id: u32) -> Self {
        self.id = id;
        self
    }

    /// Another EtherType than that of what follows.
    #[must_use]
    pub fn claim_ethertype(mut self, ethertype: u16) -> Self {
        self.claims.ethertype = Some(ethertype);
        self
    }

    /// Another IP version in the header.
    #[must_use]
    pub fn claim_ip_version(mut self, version: u8) -> Self {
        self.claims.ip_version = Some(version);
        self
    }

    /// Another IPv4 header length, in units of four bytes.
    #[must_use]
    pub fn claim_ipv4_header_words(mut self, words: u8) -> Self {
        self.claims.ipv4_header_words = Some(words);
        self
    }

    /// Another total length (IPv4) or payload length (IPv6).
    #[must_use]
    pub fn claim_ip_length(mut self, length: u16) -> Self {
        self.claims.ip_length = Some(length);
        self
    }

    /// Another UDP length.
    #[must_use]
    pub fn claim_udp_length(mut self, length: u16) -> Self {
        self.claims.udp_length = Some(length);
        self
    }

    /// Another TCP data offset, in units of four bytes.
    #[must_use]
    pub fn claim_tcp_header_words(mut self, words: u8) -> Self {
        self.claims.tcp_header_words = Some(words);
        self
    }

    /// The payload's offset in the frame.
    #[must_use]
    pub fn payload_offset(&self) -> usize {
        self.transport_offset()
            + match self.transport {
                Transport::Udp => UDP,
                Transport::Tcp { .. } => TCP + self.tcp_options.len(),
                Transport::Other(_) => 0,
            }
    }

    /// The transport header's offset in the frame.
    #[must_use]
    pub fn transport_offset(&self) -> usize {
        let ip = if self.source.is_ipv4() {
            IPV4 + self.ipv4_options.len()
        } else {
            IPV6 + self.extensions.iter().map(|extension| extension.bytes(0).len()).sum::<usize>()
        };
        ETHERNET + TAG * self.tags.len() + ip
    }

    /// The whole frame.
    ///
    /// # Panics
    /// The two addresses are not of one family.
    #[must_use]
    pub fn frame(&self) -> Vec<u8> {
        self.framed(&self.transport_bytes(), None)
    }

    /// The datagram in two fragments, of which the first carries `first` bytes (a multiple of 8) of UDP header and payload.
    ///
    /// # Panics
    /// It has no more than that.
    #[must_use]
    pub fn fragments(&self, first: usize) -> [Vec<u8>; 2] {
        assert_eq!(first % 8, 0, "fragments are cut at multiples of eight bytes");
        let all = self.transport_bytes();
        let (head, tail) = all.split_at(first);
        [self.framed(head, Some((0, true))), self.framed(tail, Some((first, false)))]
    }

    /// The fragment of these bytes alone, at this offset in the datagram.
    #[must_use]
    pub fn fragment(&self, offset: usize, more: bool, bytes: &[u8]) -> Vec<u8> {
        self.framed(bytes, Some((offset, more)))
    }

    fn framed(&self, transport: &[u8], fragment: Option<(usize, bool)>) -> Vec<u8> {
        let mut frame = self.macs.to_vec();
        for (ethertype, id) in &self.tags {
            frame.extend_from_slice(&ethertype.to_be_bytes());
            frame.extend_from_slice(&id.to_be_bytes());
        }
        let ethertype = if self.source.is_ipv4() { 0x0800 } else { 0x86dd };
        frame.extend_from_slice(&self.claims.ethertype.unwrap_or(ethertype).to_be_bytes());
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend_from_slice(&self.ipv4_header(source.octets(), destination.octets(), transport, fragment));
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let (next, extensions) = self.extension_headers(fragment);
                let length = (extensions.len() + transport.len()) as u16;
                frame.extend_from_slice(&[self.claims.ip_version.unwrap_or(6) << 4, 0, 0, 0]);
                frame.extend_from_slice(&self.claims.ip_length.unwrap_or(length).to_be_bytes());
                frame.extend_from_slice(&[next, 64]);
                frame.extend_from_slice(&source.octets());
                frame.extend_from_slice(&destination.octets());
                frame.extend_from_slice(&extensions);
            }
            (source, destination) => panic!("{source} cannot send to {destination}"),
        }
        frame.extend_from_slice(transport);
        frame.extend_from_slice(&self.padding);
        frame
    }

    fn ipv4_header(
        &self,
        source: [u8; 4],
        destination: [u8; 4],
        transport: &[u8],
        fragment: Option<(usize, bool)>,
    ) -> Vec<u8> {
        let length = IPV4 + self.ipv4_options.len();
        let words = self.claims.ipv4_header_words.unwrap_or((length / 4) as u8);
        let total = self.claims.ip_length.unwrap_or((length + transport.len()) as u16);
        let (offset, more) = fragment.unwrap_or((0, false));
        let mut header = vec![self.claims.ip_version.unwrap_or(4) << 4 | words & 0xf, 0];
        header.extend_from_slice(&total.to_be_bytes());
        header.extend_from_slice(&(self.id as u16).to_be_bytes());
        header.extend_from_slice(&((offset / 8) as u16 | u16::from(more) << 13).to_be_bytes());
        header.extend_from_slice(&[64, self.protocol(), 0, 0]);
        header.extend_from_slice(&source);
        header.extend_from_slice(&destination);
        header.extend_from_slice(&self.ipv4_options);
        let sum = checksum(&[&header]);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        header
    }

    /// The number of the first extension header (or of the transport), and all of them.
    fn extension_headers(&self, fragment: Option<(usize, bool)>) -> (u8, Vec<u8>) {
        let mut next = self.protocol();
        let mut headers = Vec::new();
        if let Some((offset, more)) = fragment {
            headers = fragment_header(next, offset, more, self.id);
            next = FRAGMENT;
        }
        for extension in self.extensions.iter().rev() {
            let mut header = extension.bytes(next);
            header.append(&mut headers);
            headers = header;
            next = extension.number();
        }
        (next, headers)
    }

    fn protocol(&self) -> u8 {
        match self.transport {
            Transport::Tcp { .. } => 6,
            Transport::Udp => 17,
            Transport::Other(protocol) => protocol,
        }
    }

    /// Transport header and payload.
    fn transport_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.transport {
            Transport::Other(_) => {
                bytes.extend_from_slice(&self.payload);
                return bytes;
            }
            Transport::Udp => {
                bytes.extend_from_slice(&self.source.port().to_be_bytes());
                bytes.extend_from_slice(&self.destination.port().to_be_bytes());
                let length = (UDP + self.payload.len()) as u16;
                bytes.extend_from_slice(&self.claims.udp_length.unwrap_or(length).to_be_bytes());
                bytes.extend_from_slice(&[0, 0]);
            }
            Transport::Tcp { flags, sequence } => {
                bytes.extend_from_slice(&self.source.port().to_be_bytes());
                bytes.extend_from_slice(&self.destination.port().to_be_bytes());
                bytes.extend_from_slice(&sequence.to_be_bytes());
                bytes.extend_from_slice(&[0, 0, 0, 1]);
                let words = ((TCP + self.tcp_options.len()) / 4) as u8;
                bytes.push(self.claims.tcp_header_words.unwrap_or(words) << 4);
                bytes.push(flags);
                bytes.extend_from_slice(&[0xff, 0xff, 0, 0, 0, 0]);
                bytes.extend_from_slice(&self.tcp_options);
            }
        }
        bytes.extend_from_slice(&self.payload);
        let at = if self.transport == Transport::Udp { 6 } else { 16 };
        let sum = match checksum(&[&self.pseudo_header(bytes.len()), &bytes]) {
            // Zero means none in UDP; its complement is the same number (RFC 768).
            0 => 0xffff,
            sum => sum,
        };
        bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// What a transport checksum covers besides (RFC 9293 section 3.1, RFC 8200 section 8.1).
    fn pseudo_header(&self, length: usize) -> Vec<u8> {
        let mut header = Vec::new();
        for address in [self.source.ip(), self.destination.ip()] {
            match address {
                IpAddr::V4(address) => header.extend_from_slice(&address.octets()),
                IpAddr::V6(address) => header.extend_from_slice(&address.octets()),
            }
        }
        header.extend_from_slice(&(length as u32).to_be_bytes());
        header.extend_from_slice(&[0, 0, 0, self.protocol()]);
        header
    }
}

/// The Internet checksum (RFC 1071) over pieces of which all but the last have an even length.
fn checksum(pieces: &[&[u8]]) -> u16 {
    let mut sum: u32 = 0;
    for piece in pieces {
        for pair in piece.chunks(2) {
            sum += u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from);
        }
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_a_known_header_is_the_known_one() {
        // From RFC 1071's worked examples, as it stands in many textbooks: 4500 0073 0000 4000 4011 .... c0a8 0001 c0a8 00c7.
        let header = [0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7];
        assert_eq!(checksum(&[&header]), 0xb861);
    }

    #[test]
    fn offsets_point_at_what_they_name() {
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
    fn two_fragments_make_the_datagram() {
        let packet = Packet::udp([7; 100]).id(9);
        let [first, second] = packet.fragments(24);
        let whole = packet.frame();
        assert_eq!(first[ETHERNET + IPV4..], whole[ETHERNET + IPV4..][..24]);
        assert_eq!(second[ETHERNET + IPV4..], whole[ETHERNET + IPV4 + 24..]);
        assert_eq!(first[ETHERNET + 6..][..2], [0x20, 0]);
        assert_eq!(second[ETHERNET + 6..][..2], [0, 3]);
    }
}
