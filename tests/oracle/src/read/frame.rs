//! Frames: Ethernet, VLAN tags, IPv4, IPv6 with its extension headers, UDP and TCP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use filter_core::{layout::Transport, reason::Reason};

/// Identifies a fragmented datagram: source, destination, identification.
pub type FragmentKey = (IpAddr, IpAddr, u32);

/// A frame, as far as the filter is concerned.
#[derive(Clone, Debug)]
pub enum Frame {
    /// The filter has no say in it. If it is a first fragment, the later ones are none of its business either.
    Other(Reason, Option<FragmentKey>),
    LaterFragment(Unreadable, FragmentKey),
    /// It may be for a signalling port, but only its addresses can be read.
    Unreadable(Unreadable),
    Packet(Packet),
}

/// A packet without a payload that could be read.
#[derive(Clone, Debug)]
pub struct Unreadable {
    pub reason: Reason,
    pub source: IpAddr,
    pub destination: IpAddr,
    /// The signalling port that it is for, if that can be read.
    pub service: Option<(u16, Transport)>,
    /// Set if this is the first fragment of a datagram.
    pub fragment: Option<FragmentKey>,
}

/// A packet for a signalling port.
#[derive(Clone, Debug)]
pub struct Packet {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub source_port: u16,
    pub port: u16,
    pub transport: Transport,
    /// Set if this is the first fragment of a datagram.
    pub fragment: Option<FragmentKey>,
    /// True for a TCP segment that opens a connection.
    pub opens: bool,
    /// True for a TCP segment with urgent data.
    pub urgent: bool,
    /// Sequence number of a TCP segment.
    pub sequence: u32,
    pub payload: Vec<u8>,
}

impl Packet {
    /// True if there is no message to read.
    pub fn is_closed(&self) -> bool {
        self.transport == Transport::Tls || (self.transport == Transport::Tcp && self.payload.is_empty())
    }
}

impl From<Reason> for Frame {
    fn from(reason: Reason) -> Self {
        Self::Other(reason, None)
    }
}

/// What the IP headers of a packet say.
struct Datagram<'a> {
    source: IpAddr,
    destination: IpAddr,
    fragment: Option<FragmentKey>,
    /// Set if the frame is shorter than the datagram: then only the port is of interest.
    cut: Option<Reason>,
    protocol: u8,
    /// From the transport header to the end of the frame.
    rest: &'a [u8],
    /// Bytes of `rest` that belong to the datagram; negative if the extension headers claim more than it has.
    length: isize,
    /// Offset of `rest` in the frame.
    offset: usize,
}

impl Datagram<'_> {
    fn unreadable(&self, reason: Reason, service: Option<(u16, Transport)>) -> Frame {
        Frame::Unreadable(Unreadable {
            reason: self.cut.unwrap_or(reason),
            source: self.source,
            destination: self.destination,
            service,
            fragment: self.fragment,
        })
    }

    fn not_signalling(&self) -> Frame {
        Frame::Other(self.cut.unwrap_or(Reason::NotSignalling), self.fragment)
    }
}

/// Reads the headers of a frame.
pub fn read_frame(frame: &[u8], ports: &[(u16, Transport)]) -> Frame {
    if frame.len() < 14 {
        return Reason::EthernetTruncated.into();
    }
    let is_tag = |ethertype: u16| [0x8100, 0x88a8, 0x9100].contains(&ethertype);
    let mut ethertype = be16(&frame[12..]);
    let mut offset = 14;
    // Eight tags are followed.
    for _ in 0..8 {
        if is_tag(ethertype) {
            if frame.len() < offset + 4 {
                return Reason::EthernetTruncated.into();
            }
            ethertype = be16(&frame[offset + 2..]);
            offset += 4;
        }
    }
    let datagram = match ethertype {
        0x0800 => read_ipv4(frame, offset),
        0x86dd => read_ipv6(frame, offset),
        _ if is_tag(ethertype) => return Reason::VlanTooDeep.into(),
        _ => return Reason::NotSignalling.into(),
    };
    match datagram.and_then(|datagram| read_transport(&datagram, ports)) {
        Ok(packet) => Frame::Packet(packet),
        Err(other) => other,
    }
}

fn be16(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[0], bytes[1]])
}

fn be32(bytes: &[u8]) -> u32 {
    u32::from(be16(bytes)) << 16 | u32::from(be16(&bytes[2..]))
}

fn read_ipv4(frame: &[u8], offset: usize) -> Result<Datagram<'_>, Frame> {
    let ip = &frame[offset..];
    if ip.len() < 20 {
        return Err(Reason::Ipv4Truncated.into());
    }
    if ip[9] != 6 && ip[9] != 17 {
        return Err(Reason::NotSignalling.into());
    }
    let address = |at: usize| IpAddr::V4(Ipv4Addr::new(ip[at], ip[at + 1], ip[at + 2], ip[at + 3]));
    let (source, destination) = (address(12), address(16));
    let unreadable = |reason| Unreadable { reason, source, destination, service: None, fragment: None };
    let header = usize::from(ip[0] % 16) * 4;
    let total = usize::from(be16(&ip[2..]));
    if ip[0] / 16 != 4 || header < 20 || total < header {
        return Err(Frame::Unreadable(unreadable(Reason::Ipv4Malformed)));
    }
    let cut = (total > ip.len()).then_some(Reason::Ipv4Truncated);
    let key = (source, destination, u32::from(be16(&ip[4..])));
    let (more, place) = (ip[6] & 0x20 != 0, be16(&ip[6..]) & 0x1fff);
    if place != 0 {
        return Err(match cut {
            Some(reason) => Frame::Unreadable(unreadable(reason)),
            None => Frame::LaterFragment(unreadable(Reason::FragmentLater), key),
        });
    }
    Ok(Datagram {
        source,
        destination,
        fragment: more.then_some(key),
        cut,
        protocol: ip[9],
        rest: ip.get(header..).unwrap_or(&[]),
        length: (total - header) as isize,
        offset: offset + header,
    })
}

fn read_ipv6(frame: &[u8], offset: usize) -> Result<Datagram<'_>, Frame> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const AUTHENTICATION: u8 = 51;
    const DESTINATION: u8 = 60;
    const MOBILITY: u8 = 135;
    let is_extension =
        |protocol| [HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION, MOBILITY].contains(&protocol);
    let is_transport = |protocol| [6, 17].contains(&protocol);
    let ip = &frame[offset..];
    if ip.len() < 40 {
        return Err(Reason::Ipv6Truncated.into());
    }
    let address = |at: usize| {
        let bytes: [u8; 16] = ip[at..at + 16].try_into().expect("sixteen bytes");
        IpAddr::V6(Ipv6Addr::from(bytes))
    };
    let (source, destination) = (address(8), address(24));
    let unreadable = |reason| Unreadable { reason, source, destination, service: None, fragment: None };
    if ip[0] / 16 != 6 {
        return Err(Frame::Unreadable(unreadable(Reason::Ipv6Malformed)));
    }
    let mut protocol = ip[6];
    if !is_transport(protocol) && !is_extension(protocol) {
        return Err(Reason::NotSignalling.into());
    }
    let mut length = usize::from(be16(&ip[4..]));
    if length == 0 && protocol == HOP_BY_HOP {
        // Linux takes this as the rest of the frame.
        length = ip.len() - 40;
    } else if length == 0 {
        return Err(Frame::Unreadable(unreadable(Reason::Ipv6Malformed)));
    }
    let cut = (40 + length > ip.len()).then_some(Reason::Ipv6Truncated);
    let mut at = 40;
    let mut fragment = None;
    // Extension headers are followed if they begin in the first two kilobytes.
    let mut followed = 0;
    while is_extension(protocol) && followed < 256 && offset + at <= 2047 {
        followed += 1;
        let Some(header) = ip.get(at..at + 8) else {
            return Err(Frame::Unreadable(Unreadable { fragment, ..unreadable(Reason::Ipv6Truncated) }));
        };
        at += match protocol {
            FRAGMENT => 8,
            AUTHENTICATION => (usize::from(header[1]) + 2) * 4,
            _ => (usize::from(header[1]) + 1) * 8,
        };
        if protocol == FRAGMENT {
            let key = (source, destination, u32::from_be_bytes([header[4], header[5], header[6], header[7]]));
            let (place, more) = (be16(&header[2..]) / 8, header[3] & 1 != 0);
            if place != 0 {
                return Err(match cut {
                    Some(reason) => Frame::Unreadable(unreadable(reason)),
                    None => Frame::LaterFragment(unreadable(Reason::FragmentLater), key),
                });
            }
            // A fragment with no others before or after it is a whole datagram (RFC 6946).
            fragment = more.then_some(key);
        }
        protocol = header[0];
    }
    let datagram = Datagram {
        source,
        destination,
        fragment,
        cut,
        protocol,
        rest: ip.get(at..).unwrap_or(&[]),
        length: 40 + length as isize - at as isize,
        offset: offset + at,
    };
    if is_extension(protocol) {
        return Err(datagram.unreadable(Reason::Ipv6TooManyExtensions, None));
    }
    if !is_transport(protocol) {
        return Err(datagram.not_signalling());
    }
    Ok(datagram)
}

fn read_transport(datagram: &Datagram<'_>, ports: &[(u16, Transport)]) -> Result<Packet, Frame> {
    if datagram.offset > 2047 {
        return Err(datagram.unreadable(Reason::Ipv6TooManyExtensions, None));
    }
    let is_udp = datagram.protocol == 17;
    if !is_udp && datagram.fragment.is_some() && (8..20).contains(&datagram.length) {
        if datagram.rest.len() < 8 {
            return Err(datagram.unreadable(Reason::TcpTruncated, None));
        }
        // A first fragment too short for the TCP header (RFC 1858): it has the ports, the rest comes later.
        let (source_port, port) = (be16(datagram.rest), be16(&datagram.rest[2..]));
        let service = ports.iter().find(|service| service.0 == port && service.1 != Transport::Udp);
        let Some(&(_, transport)) = service else { return Err(datagram.not_signalling()) };
        if let Some(reason) = datagram.cut {
            return Err(datagram.unreadable(reason, Some((port, transport))));
        }
        return Ok(Packet {
            source: datagram.source,
            destination: datagram.destination,
            source_port,
            port,
            transport,
            fragment: datagram.fragment,
            opens: false,
            urgent: false,
            sequence: be32(&datagram.rest[4..]),
            payload: Vec::new(),
        });
    }
    let (header, truncated) = if is_udp { (8, Reason::UdpTruncated) } else { (20, Reason::TcpTruncated) };
    if datagram.rest.len() < header {
        return Err(datagram.unreadable(truncated, None));
    }
    let (source_port, port) = (be16(datagram.rest), be16(&datagram.rest[2..]));
    let service = ports.iter().find(|service| service.0 == port && (service.1 == Transport::Udp) == is_udp);
    let Some(&(_, transport)) = service else { return Err(datagram.not_signalling()) };
    let unreadable = |reason| Err(datagram.unreadable(reason, Some((port, transport))));
    if let Some(reason) = datagram.cut {
        return unreadable(reason);
    }
    if datagram.length < header as isize {
        return unreadable(truncated);
    }
    let bytes = &datagram.rest[..datagram.length as usize];
    let payload = if is_udp {
        let mut length = usize::from(be16(&bytes[4..]));
        if length == 0 && datagram.source.is_ipv6() {
            // Linux takes this as all there is.
            length = bytes.len();
        }
        // A first fragment gives the length of the whole datagram.
        if length < 8 || (length > bytes.len() && datagram.fragment.is_none()) {
            return unreadable(Reason::UdpMalformed);
        }
        &bytes[8..length.min(bytes.len())]
    } else {
        let length = usize::from(bytes[12] / 16) * 4;
        if length < 20 || length > bytes.len() {
            return unreadable(Reason::TcpMalformed);
        }
        &bytes[length..]
    };
    Ok(Packet {
        source: datagram.source,
        destination: datagram.destination,
        source_port,
        port,
        transport,
        fragment: datagram.fragment,
        opens: !is_udp && bytes[13] & 2 != 0,
        urgent: !is_udp && bytes[13] & 0x20 != 0,
        sequence: be32(&bytes[4..]),
        payload: payload.to_vec(),
    })
}
