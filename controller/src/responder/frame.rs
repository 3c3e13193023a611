//! The frames that answers are sent in: the frame that is answered, turned round.
//!
//! An answer leaves through the interface that the request came in by, to the neighbour that it came from, with the same VLAN tags. So it
//! needs no route, and no socket of the server that the request was for: its addresses need not even be this host's.

use std::net::{IpAddr, SocketAddr};

use crate::telemetry::Unanswered;

const ETHERNET: usize = 14;
const ADDRESSES: usize = 12;
const TAG: usize = 4;
const IPV4: usize = 20;
const IPV6: usize = 40;
const UDP: usize = 8;
const TCP: usize = 20;

const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

const ETHERTYPE_VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;

/// Hops that an answer may take (RFC 1700).
const HOPS: u8 = 64;

/// The lowest port that is answered. SIP is not sent from the ports below it, but services are there that a forged source could set this
/// host on.
const LOWEST_PORT: u16 = 1_024;

/// A frame that is answered.
#[derive(Clone, Debug)]
pub(super) struct Received<'a> {
    frame: &'a [u8],
    /// Where the IP header begins.
    ip: usize,
    source: SocketAddr,
    destination: SocketAddr,
}

impl<'a> Received<'a> {
    /// A frame from its Ethernet header on, with the addresses and ports that were read in it.
    ///
    /// # Errors
    /// Nobody is answered there.
    pub(super) fn new(frame: &'a [u8], source: SocketAddr, destination: SocketAddr) -> Result<Self, Unanswered> {
        let ip = ip_header(frame).ok_or(Unanswered::Address)?;
        let is_group = |address: &[u8]| address.first().is_none_or(|first| first & 1 != 0);
        let is_answerable = source.port() >= LOWEST_PORT
            && destination.port() != 0
            && source.is_ipv4() == destination.is_ipv4()
            && source != destination
            && (source.ip() != destination.ip() || source.ip().is_loopback())
            && is_host(source.ip())
            && is_host(destination.ip())
            && !is_group(frame)
            && !is_group(&frame[ADDRESSES / 2..]);
        if is_answerable { Ok(Self { frame, ip, source, destination }) } else { Err(Unanswered::Address) }
    }

    /// A datagram with this payload, to this port of the sender.
    pub(super) fn datagram(&self, port: u16, payload: &[u8]) -> Option<Vec<u8>> {
        let length = u16::try_from(UDP + payload.len()).ok()?;
        let mut datagram = Vec::with_capacity(UDP + payload.len());
        datagram.extend_from_slice(&self.destination.port().to_be_bytes());
        datagram.extend_from_slice(&port.to_be_bytes());
        datagram.extend_from_slice(&length.to_be_bytes());
        datagram.extend_from_slice(&[0, 0]);
        datagram.extend_from_slice(payload);
        self.frame(PROTOCOL_UDP, datagram, 6)
    }

    /// A segment of the sender's connection with this payload, and one that resets the connection after it; none if the frame holds no
    /// segment with `length` bytes of payload from the middle of a connection.
    pub(super) fn segments(&self, length: u32, payload: &[u8]) -> Option<[Vec<u8>; 2]> {
        let header = self.tcp_header()?;
        let number = |at: usize| header.get(at..at + 4)?.first_chunk().copied().map(u32::from_be_bytes);
        let (sequence, acknowledged) = (number(4)?, number(8)?);
        let flags = *header.get(13)?;
        if flags & ACK == 0 || flags & (SYN | RST | FIN) != 0 {
            return None;
        }
        let next = sequence.wrapping_add(length);
        let end = acknowledged.wrapping_add(u32::try_from(payload.len()).ok()?);
        Some([self.segment(acknowledged, next, PSH | ACK, payload)?, self.segment(end, next, RST | ACK, &[])?])
    }

    /// The TCP header, if it follows the IP header.
    fn tcp_header(&self) -> Option<&'a [u8]> {
        let packet = self.frame.get(self.ip..)?;
        let (protocol, length) = if self.source.is_ipv4() {
            (*packet.get(9)?, usize::from(packet.first()? & 0x0f) * 4)
        } else {
            (*packet.get(6)?, IPV6)
        };
        packet.get(length..).filter(|_| protocol == PROTOCOL_TCP)
    }

    fn segment(&self, sequence: u32, acknowledged: u32, flags: u8, payload: &[u8]) -> Option<Vec<u8>> {
        // The window is what the sender may still send: all that it likes, since nobody waits for it any more.
        const WINDOW: u16 = u16::MAX;
        let mut segment = Vec::with_capacity(TCP + payload.len());
        segment.extend_from_slice(&self.destination.port().to_be_bytes());
        segment.extend_from_slice(&self.source.port().to_be_bytes());
        segment.extend_from_slice(&sequence.to_be_bytes());
        segment.extend_from_slice(&acknowledged.to_be_bytes());
        segment.extend_from_slice(&[(TCP as u8 / 4) << 4, flags]);
        segment.extend_from_slice(&WINDOW.to_be_bytes());
        segment.extend_from_slice(&[0, 0, 0, 0]);
        segment.extend_from_slice(payload);
        self.frame(PROTOCOL_TCP, segment, 16)
    }

    /// The frame turned round, with this content, whose checksum is at this place.
    fn frame(&self, protocol: u8, mut content: Vec<u8>, checksum_at: usize) -> Option<Vec<u8>> {
        let length = u16::try_from(content.len()).ok()?;
        let pseudo_header = [u32::from(protocol), u32::from(length)].map(u32::to_be_bytes).concat();
        let [from, to] = [self.destination, self.source].map(|end| match end.ip() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        });
        let sum = match checksum(&[&from, &to, &pseudo_header, &content]) {
            // Of a datagram, zero means that there is none (RFC 768).
            0 if protocol == PROTOCOL_UDP => u16::MAX,
            sum => sum,
        };
        content.get_mut(checksum_at..checksum_at + 2)?.copy_from_slice(&sum.to_be_bytes());

        let mut frame = Vec::with_capacity(self.ip + IPV6 + content.len());
        frame.extend_from_slice(&self.frame[ADDRESSES / 2..ADDRESSES]);
        frame.extend_from_slice(&self.frame[..ADDRESSES / 2]);
        frame.extend_from_slice(&self.frame[ADDRESSES..self.ip]);
        if self.source.is_ipv4() {
            let total = length.checked_add(IPV4 as u16)?;
            let mut header = vec![0x45, 0];
            header.extend_from_slice(&total.to_be_bytes());
            // Not to be fragmented, so that no identification is needed (RFC 6864).
            header.extend_from_slice(&[0, 0, 0x40, 0, HOPS, protocol, 0, 0]);
            header.extend_from_slice(&from);
            header.extend_from_slice(&to);
            let sum = checksum(&[&header]);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            frame.extend_from_slice(&header);
        } else {
            frame.extend_from_slice(&[0x60, 0, 0, 0]);
            frame.extend_from_slice(&length.to_be_bytes());
            frame.extend_from_slice(&[protocol, HOPS]);
            frame.extend_from_slice(&from);
            frame.extend_from_slice(&to);
        }
        frame.extend_from_slice(&content);
        Some(frame)
    }
}

/// Where the IP header of a frame begins, after its VLAN tags.
fn ip_header(frame: &[u8]) -> Option<usize> {
    let mut at = ETHERNET;
    loop {
        match u16::from_be_bytes(*frame.get(at - 2..at)?.first_chunk()?) {
            ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => return Some(at),
            tag if ETHERTYPE_VLAN.contains(&tag) => at += TAG,
            _ => return None,
        }
    }
}

/// True for an address of one host.
fn is_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_unspecified() && !address.is_multicast() && !address.is_broadcast(),
        IpAddr::V6(address) => !address.is_unspecified() && !address.is_multicast(),
    }
}

/// The Internet checksum (RFC 1071) of parts of even length, except for the last.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let mut sum: u64 =
        words.map(|word| u64::from(u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or_default()]))).sum();
    while sum > u64::from(u16::MAX) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use etherparse::{NetSlice, PacketHeaders, SlicedPacket, TransportHeader, TransportSlice};
    use filter_policy::engine::{Endpoints, datagram, segment};

    use super::*;

    fn endpoints(source: &str, destination: &str) -> Endpoints {
        Endpoints { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    fn received<'a>(frame: &'a [u8], endpoints: &Endpoints) -> Result<Received<'a>, Unanswered> {
        Received::new(frame, endpoints.source, endpoints.destination)
    }

    /// Checks all checksums, by another implementation than the one under test.
    fn assert_sound(frame: &[u8]) {
        let sliced = SlicedPacket::from_ethernet(frame).unwrap();
        match (sliced.net.unwrap(), sliced.transport.unwrap()) {
            (NetSlice::Ipv4(ip), TransportSlice::Udp(udp)) => {
                let header = ip.header().to_header();
                assert_eq!(header.header_checksum, header.calc_header_checksum());
                let sum = udp.to_header().calc_checksum_ipv4(&header, udp.payload()).unwrap();
                assert_eq!(udp.checksum(), sum);
            }
            (NetSlice::Ipv4(ip), TransportSlice::Tcp(tcp)) => {
                let header = ip.header().to_header();
                assert_eq!(header.header_checksum, header.calc_header_checksum());
                assert_eq!(
                    tcp.checksum(),
                    tcp.calc_checksum_ipv4(ip.header().source(), ip.header().destination()).unwrap()
                );
            }
            (NetSlice::Ipv6(ip), TransportSlice::Udp(udp)) => {
                let sum = udp.to_header().calc_checksum_ipv6(&ip.header().to_header(), udp.payload()).unwrap();
                assert_eq!(udp.checksum(), sum);
            }
            (NetSlice::Ipv6(ip), TransportSlice::Tcp(tcp)) => {
                assert_eq!(
                    tcp.checksum(),
                    tcp.calc_checksum_ipv6(ip.header().source(), ip.header().destination()).unwrap()
                );
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_datagram_goes_back_where_it_came_from_whatever_its_length() {
        for (source, destination) in
            [("192.0.2.7:40000", "198.51.100.1:5060"), ("[2001:db8::7]:40000", "[2001:db8::1]:5062")]
        {
            let ends = endpoints(source, destination);
            let frame = datagram(&ends, b"INVITE");
            for payload in [b"SIP/2.0 603".as_slice(), b"even"] {
                let answer = received(&frame, &ends).unwrap().datagram(5070, payload).unwrap();
                assert_sound(&answer);
                assert_eq!((&answer[..6], &answer[6..12]), (&frame[6..12], &frame[..6]));
                let read = PacketHeaders::from_ethernet_slice(&answer).unwrap();
                let Some(TransportHeader::Udp(udp)) = read.transport else { panic!("{answer:?}") };
                assert_eq!((udp.source_port, udp.destination_port), (ends.destination.port(), 5070));
                assert_eq!(read.payload.slice(), payload);
            }
        }
    }

    #[test]
    fn vlan_tags_stay() {
        let ends = endpoints("192.0.2.7:40000", "198.51.100.1:5060");
        let frame = datagram(&ends, b"x");
        let tags = [0x88, 0xa8, 0, 7, 0x81, 0, 0, 100];
        let tagged = [&frame[..12], &tags, &frame[12..]].concat();
        let answer = received(&tagged, &ends).unwrap().datagram(40_000, b"y").unwrap();
        assert_eq!(answer[12..20], tags);
        assert_sound(&answer);
    }

    #[test]
    fn an_answer_in_a_connection_is_followed_by_its_end() {
        for (source, destination) in
            [("192.0.2.7:40000", "198.51.100.1:5060"), ("[2001:db8::7]:40000", "[2001:db8::1]:5060")]
        {
            let ends = endpoints(source, destination);
            let mut frame = segment(&ends, 1_000, b"INVITE");
            let ip = if ends.source.is_ipv4() { IPV4 } else { IPV6 };
            let acknowledged = ETHERNET + ip + 8;
            frame[acknowledged..acknowledged + 4].copy_from_slice(&u32::MAX.to_be_bytes());
            let [answer, reset] = received(&frame, &ends).unwrap().segments(6, b"SIP/2.0 603").unwrap();
            for (frame, sequence, is_reset, payload) in
                [(&answer, u32::MAX, false, b"SIP/2.0 603".as_slice()), (&reset, 10, true, b"")]
            {
                assert_sound(frame);
                let read = PacketHeaders::from_ethernet_slice(frame).unwrap();
                let Some(TransportHeader::Tcp(tcp)) = read.transport else { panic!("{frame:?}") };
                assert_eq!((tcp.source_port, tcp.destination_port), (5060, 40_000));
                assert_eq!((tcp.sequence_number, tcp.acknowledgment_number), (sequence, 1_006));
                assert_eq!((tcp.rst, tcp.ack, tcp.psh), (is_reset, true, !is_reset));
                assert_eq!(read.payload.slice(), payload);
            }
        }
    }

    #[test]
    fn a_segment_that_opens_or_ends_a_connection_is_not_answered() {
        let ends = endpoints("192.0.2.7:40000", "198.51.100.1:5060");
        let frame = segment(&ends, 1, b"INVITE");
        let flags = ETHERNET + IPV4 + 13;
        for value in [0, SYN, SYN | ACK, RST | ACK, FIN | ACK, PSH] {
            let mut frame = frame.clone();
            frame[flags] = value;
            assert!(received(&frame, &ends).unwrap().segments(6, b"x").is_none(), "{value:#x}");
        }
        assert!(received(&datagram(&ends, b"x"), &ends).unwrap().segments(1, b"x").is_none(), "it is no segment");
        assert!(received(&frame[..ETHERNET + IPV4 + 12], &ends).unwrap().segments(6, b"x").is_none(), "it is cut off");
    }

    #[test]
    fn who_cannot_have_sent_a_request_is_not_answered() {
        let good = ("192.0.2.7:40000", "198.51.100.1:5060");
        let frame = datagram(&endpoints(good.0, good.1), b"x");
        for (source, destination) in [
            ("192.0.2.7:53", good.1),
            ("192.0.2.7:0", good.1),
            ("0.0.0.0:40000", good.1),
            ("224.0.0.1:40000", good.1),
            ("255.255.255.255:40000", good.1),
            (good.1, good.1),
            ("198.51.100.1:40000", good.1),
            ("127.0.0.1:5060", "127.0.0.1:5060"),
            (good.0, "224.0.1.75:5060"),
            ("[ff02::1]:40000", "[2001:db8::1]:5060"),
            ("[::]:40000", "[2001:db8::1]:5060"),
        ] {
            let ends = endpoints(source, destination);
            assert!(matches!(received(&frame, &ends), Err(Unanswered::Address)), "{source} to {destination}");
        }
        let ends = endpoints(good.0, good.1);
        for place in [0, 6] {
            let mut group = frame.clone();
            group[place] |= 1;
            assert!(matches!(received(&group, &ends), Err(Unanswered::Address)));
        }
        for length in [0, 13, 17] {
            let mut cut = frame[..length.min(frame.len())].to_vec();
            if length == 17 {
                cut[12..14].copy_from_slice(&[0x81, 0]);
            }
            assert!(matches!(received(&cut, &ends), Err(Unanswered::Address)));
        }
        assert!(received(&frame, &ends).is_ok());
        let local = endpoints("127.0.0.1:40000", "127.0.0.1:5060");
        assert!(received(&datagram(&local, b"x"), &local).is_ok(), "a trial on the loopback interface");
    }
}
