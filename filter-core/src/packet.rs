//! From the Ethernet header to the payload: who sends what to which signalling port.

use crate::{
    host::{Host, Step},
    layout::{Port, Transport},
    limits::MAX_PORTS,
    reason::Reason,
    scratch::Scratch,
};

/// Headers are followed up to this offset in the packet: through any headers that a packet of 1,500 bytes can have. A bound
/// on extension headers that is lower than the kernel's own would let everything behind more of them pass unread.
pub const MAX_HEADER_OFFSET: u32 = 2047;

/// Bytes of an Ethernet header.
pub const ETHERNET_HEADER: u32 = 14;

/// Where a datagram's payload begins in a frame whose IP header has no options and no extension headers.
const IPV4_PAYLOAD: u32 = ETHERNET_HEADER + 20 + 8;
const IPV6_PAYLOAD: u32 = ETHERNET_HEADER + 40 + 8;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// IEEE 802.1Q, 802.1ad, and the tag that was used before 802.1ad.
const ETHERTYPE_VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];

const PROTOCOL_HOP_BY_HOP: u32 = 0;
const PROTOCOL_TCP: u32 = 6;
const PROTOCOL_UDP: u32 = 17;
const PROTOCOL_ROUTING: u32 = 43;
const PROTOCOL_FRAGMENT: u32 = 44;
const PROTOCOL_AUTHENTICATION: u32 = 51;
const PROTOCOL_DESTINATION_OPTIONS: u32 = 60;
const PROTOCOL_MOBILITY: u32 = 135;

/// IPv6 extension headers that are followed: as many of the shortest ones as reach the offset above.
const MAX_EXTENSIONS: u32 = (MAX_HEADER_OFFSET + 1) / 8;

/// Bits of the IPv4 flags and fragment offset field.
const MORE_FRAGMENTS: u16 = 0x2000;
const FRAGMENT_OFFSET: u16 = 0x1fff;

const TCP_SYN: u8 = 0x02;

/// What the headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// The packet is none of ours, or cannot be read.
    Done(Reason),
    /// A fragment that is not the first.
    LaterFragment,
    /// A payload for a signalling port, described in the scratch memory.
    Payload,
}

/// Network-order fields.
#[inline(always)]
fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// What the first look at a packet finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It is certainly for no signalling port: what nearly every packet on a media host is.
    Elsewhere,
    /// A whole UDP datagram for this signalling port (its index), directly behind an IPv4 header without options.
    Ipv4Datagram(u32),
    /// The same, directly behind an IPv6 header.
    Ipv6Datagram(u32),
    /// Anything else, which takes longer to read.
    Other,
}

/// Takes the first look. It costs a few loads, no call and no memory; [`read`] would find the same.
#[inline(always)]
pub fn look<'m, H: Host<'m>>(host: H) -> Look {
    // The shortest datagram: whatever is shorter is no matter of speed.
    let Some(frame) = host.load_start::<{ IPV4_PAYLOAD as usize }>() else { return Look::Other };
    match be16(frame, 12) {
        ETHERTYPE_IPV4 => {
            let is_fragment = be16(frame, 20) & (MORE_FRAGMENTS | FRAGMENT_OFFSET) != 0;
            let length = be16(frame, 16) as u32;
            if frame[14] != 0x45 || is_fragment || ETHERNET_HEADER + length > host.first_buffer_length() {
                return Look::Other;
            }
            let udp_length = be16(frame, 38) as u32;
            look_at_port(host, frame[23] as u32, be16(frame, 36), length, 20, udp_length, Look::Ipv4Datagram)
        }
        ETHERTYPE_IPV6 => {
            let Some(frame) = host.load_start::<{ IPV6_PAYLOAD as usize }>() else { return Look::Other };
            let length = be16(frame, 18) as u32;
            if frame[14] >> 4 != 6 || ETHERNET_HEADER + 40 + length > host.first_buffer_length() {
                return Look::Other;
            }
            let udp_length = be16(frame, 58) as u32;
            look_at_port(host, frame[20] as u32, be16(frame, 56), length, 0, udp_length, Look::Ipv6Datagram)
        }
        ethertype if ETHERTYPE_VLAN.contains(&ethertype) => Look::Other,
        _ => Look::Elsewhere,
    }
}

/// Looks a UDP datagram's or a TCP segment's port up. `length` counts the bytes of which `ip_header` are the IP header's.
#[inline(always)]
fn look_at_port<'m, H: Host<'m>>(
    host: H,
    protocol: u32,
    port: u16,
    length: u32,
    ip_header: u32,
    udp_length: u32,
    datagram: impl Fn(u32) -> Look,
) -> Look {
    let config = host.config();
    // Signalling ports lie close together, media ports apart from them.
    let is_apart = (port as u32).wrapping_sub(config.lowest_port as u32) > config.port_span as u32;
    match protocol {
        PROTOCOL_UDP if length >= ip_header + 8 => {
            if is_apart {
                return Look::Elsewhere;
            }
            match service_of(host, port, true) {
                None => Look::Elsewhere,
                Some(service) if udp_length >= 8 && udp_length <= length - ip_header => datagram(service),
                Some(_) => Look::Other,
            }
        }
        PROTOCOL_TCP if length >= ip_header + 20 => {
            if is_apart || service_of(host, port, false).is_none() {
                Look::Elsewhere
            } else {
                Look::Other
            }
        }
        _ => Look::Other,
    }
}

/// Reads the headers of a packet that the first look did not find elsewhere. Nothing is written to the scratch memory before
/// the packet is known to be IP.
#[inline(always)]
pub fn read<'m, H: Host<'m>>(host: H, s: &mut Scratch, look: Look) -> Read {
    match look {
        Look::Ipv4Datagram(service) => {
            if let Some(frame) = host.load_start::<{ IPV4_PAYLOAD as usize }>() {
                set_ipv4(s, &frame[14..], ETHERNET_HEADER + be16(frame, 16) as u32);
                set_datagram(s, service, &frame[34..], IPV4_PAYLOAD);
                return Read::Payload;
            }
        }
        Look::Ipv6Datagram(service) => {
            if let Some(frame) = host.load_start::<{ IPV6_PAYLOAD as usize }>() {
                set_ipv6(s, &frame[14..], ETHERNET_HEADER + 40 + be16(frame, 18) as u32);
                set_datagram(s, service, &frame[54..], IPV6_PAYLOAD);
                return Read::Payload;
            }
        }
        _ => {}
    }
    read_all(host, s)
}

/// Notes what a whole datagram's UDP header says, which ends at `payload`.
#[inline(always)]
fn set_datagram(s: &mut Scratch, service: u32, udp: &[u8], payload: u32) {
    s.fragment = 0;
    s.service = service;
    set_udp(s, udp, payload);
    s.payload_length = be16(udp, 4) as u32 - 8;
}

/// Notes what a UDP header says, but for the length.
#[inline(always)]
fn set_udp(s: &mut Scratch, udp: &[u8], payload: u32) {
    s.source_port = be16(udp, 0);
    s.destination_port = be16(udp, 2);
    s.payload_offset = payload;
    s.transport = Transport::Udp as u32;
    s.opens = 0;
}

/// Notes the addresses of an IPv4 header, and where its datagram ends.
#[inline(always)]
fn set_ipv4(s: &mut Scratch, ip: &[u8], end: u32) {
    s.ip_version = 4;
    // As a word each, since they are read as words: a processor waits where bytes that it has just written are read as one.
    s.source = mapped([0; 4]);
    s.source[12..].copy_from_slice(&ip[12..16]);
    s.destination = mapped([0; 4]);
    s.destination[12..].copy_from_slice(&ip[16..20]);
    s.datagram_end = end;
}

/// The same for IPv6.
#[inline(always)]
fn set_ipv6(s: &mut Scratch, ip: &[u8], end: u32) {
    s.ip_version = 6;
    s.source.copy_from_slice(&ip[8..24]);
    s.destination.copy_from_slice(&ip[24..40]);
    s.datagram_end = end;
}

/// Reads the headers one after another.
#[inline(always)]
fn read_all<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> Read {
    let Some(ethernet) = host.load::<14>(0) else { return Read::Done(Reason::EthernetTruncated) };
    let mut ethertype = be16(ethernet, 12);
    let mut offset = ETHERNET_HEADER;
    for _ in 0..2 {
        if !ETHERTYPE_VLAN.contains(&ethertype) {
            break;
        }
        let Some(tag) = host.load::<4>(offset) else { return Read::Done(Reason::EthernetTruncated) };
        ethertype = be16(tag, 2);
        offset += 4;
    }
    s.offset = offset;
    host.fence();
    let offset = s.offset;
    let done = match ethertype {
        ETHERTYPE_IPV4 => read_ipv4(host, s, offset),
        ETHERTYPE_IPV6 => read_ipv6(host, s, offset),
        _ if ETHERTYPE_VLAN.contains(&ethertype) => Some(Read::Done(Reason::VlanTooDeep)),
        _ => Some(Read::Done(Reason::NotSignalling)),
    };
    match done {
        Some(read) => read,
        None => read_transport(host, s),
    }
}

/// True if the packet has `end` bytes. Where its first buffer has them, which is nearly always, this takes no call.
#[inline(always)]
fn has<'m, H: Host<'m>>(host: H, end: u32) -> bool {
    end <= host.first_buffer_length() || end <= host.packet_length()
}

/// None where the transport header follows.
#[inline(always)]
fn read_ipv4<'m, H: Host<'m>>(host: H, s: &mut Scratch, offset: u32) -> Option<Read> {
    let Some(ip) = host.load::<20>(offset) else { return Some(Read::Done(Reason::Ipv4Truncated)) };
    let protocol = ip[9] as u32;
    if protocol != PROTOCOL_UDP && protocol != PROTOCOL_TCP {
        return Some(Read::Done(Reason::NotSignalling));
    }
    let header_length = (ip[0] & 0x0f) as u32 * 4;
    let total_length = be16(ip, 2) as u32;
    if ip[0] >> 4 != 4 || header_length < 20 || total_length < header_length {
        return Some(Read::Done(Reason::Ipv4Malformed));
    }
    let end = offset + total_length;
    if !has(host, end) {
        return Some(Read::Done(Reason::Ipv4Truncated));
    }
    set_ipv4(s, ip, end);
    s.protocol = protocol;
    s.offset = offset + header_length;
    let fragment = be16(ip, 6);
    s.fragment = (fragment & (MORE_FRAGMENTS | FRAGMENT_OFFSET) != 0) as u32;
    if s.fragment != 0 {
        s.fragment_id = be16(ip, 4) as u32;
        if fragment & FRAGMENT_OFFSET != 0 {
            return Some(Read::LaterFragment);
        }
    }
    None
}

/// IPv4 address in an IPv6 one (RFC 4291 section 2.5.5.2).
#[inline(always)]
#[must_use]
pub const fn mapped(address: [u8; 4]) -> [u8; 16] {
    let [a, b, c, d] = address;
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

/// None where the transport header follows.
#[inline(always)]
fn read_ipv6<'m, H: Host<'m>>(host: H, s: &mut Scratch, offset: u32) -> Option<Read> {
    let Some(ip) = host.load::<40>(offset) else { return Some(Read::Done(Reason::Ipv6Truncated)) };
    if ip[0] >> 4 != 6 {
        return Some(Read::Done(Reason::Ipv6Malformed));
    }
    let payload_length = be16(ip, 4) as u32;
    let next = ip[6] as u32;
    let direct = next == PROTOCOL_UDP || next == PROTOCOL_TCP;
    if !direct && !is_extension(next) {
        return Some(Read::Done(Reason::NotSignalling));
    }
    let end = if payload_length != 0 {
        offset + 40 + payload_length
    } else if next == PROTOCOL_HOP_BY_HOP {
        // A jumbogram (RFC 2675) is longer than any frame. But with a Hop-by-Hop header, whatever its options are, Linux
        // takes a length of zero for the rest of the frame, and so must we.
        host.packet_length()
    } else {
        return Some(Read::Done(Reason::Ipv6Malformed));
    };
    if !has(host, end) {
        return Some(Read::Done(Reason::Ipv6Truncated));
    }
    set_ipv6(s, ip, end);
    s.protocol = next;
    s.offset = offset + 40;
    s.fragment = 0;
    if direct {
        return None;
    }
    s.reason = Reason::Ipv6TooManyExtensions as u32;
    s.fragment_offset = 0;
    host.repeat(&mut Extensions { host, s });
    if s.fragment != 0 && s.fragment_offset != 0 {
        return Some(Read::LaterFragment);
    }
    if s.protocol == PROTOCOL_UDP || s.protocol == PROTOCOL_TCP {
        return None;
    }
    if is_extension(s.protocol) {
        return Some(Read::Done(if s.reason == Reason::Ipv6Truncated as u32 {
            Reason::Ipv6Truncated
        } else {
            Reason::Ipv6TooManyExtensions
        }));
    }
    Some(Read::Done(Reason::NotSignalling))
}

/// Extension headers that are followed (RFC 8200 section 4, RFC 4302, RFC 6275).
#[inline(always)]
const fn is_extension(protocol: u32) -> bool {
    matches!(
        protocol,
        PROTOCOL_HOP_BY_HOP
            | PROTOCOL_ROUTING
            | PROTOCOL_FRAGMENT
            | PROTOCOL_AUTHENTICATION
            | PROTOCOL_DESTINATION_OPTIONS
            | PROTOCOL_MOBILITY
    )
}

/// Goes from extension header to extension header; ends with the protocol behind them in `protocol`.
struct Extensions<'s, H> {
    host: H,
    s: &'s mut Scratch,
}

impl<'m, H: Host<'m>> Step for Extensions<'_, H> {
    const TIMES: u32 = MAX_EXTENSIONS;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let s = &mut *self.s;
        let protocol = s.protocol;
        if !is_extension(protocol) {
            return true;
        }
        let offset = s.offset;
        if offset > MAX_HEADER_OFFSET {
            return true;
        }
        let Some(header) = self.host.load::<8>(offset) else {
            s.reason = Reason::Ipv6Truncated as u32;
            return true;
        };
        let mut length = (header[1] as u32 + 1) * 8;
        if protocol == PROTOCOL_FRAGMENT {
            length = 8;
            let field = be16(header, 2);
            s.fragment_offset = (field & !7) as u32;
            // Offset 0 and nothing to follow is a whole datagram (an atomic fragment, RFC 6946).
            if field & !6 != 0 {
                s.fragment = 1;
                s.fragment_id = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
            }
        } else if protocol == PROTOCOL_AUTHENTICATION {
            length = (header[1] as u32 + 2) * 4;
        }
        s.protocol = header[0] as u32;
        s.offset = offset + length;
        // Behind a fragment header of a later fragment stands data, not headers.
        protocol == PROTOCOL_FRAGMENT && s.fragment_offset != 0
    }
}

#[inline(always)]
fn read_transport<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> Read {
    host.fence();
    let offset = s.offset;
    if offset > MAX_HEADER_OFFSET {
        return Read::Done(Reason::Ipv6TooManyExtensions);
    }
    if s.protocol == PROTOCOL_UDP { read_udp(host, s, offset) } else { read_tcp(host, s, offset) }
}

#[inline(always)]
fn read_udp<'m, H: Host<'m>>(host: H, s: &mut Scratch, offset: u32) -> Read {
    let Some(udp) = host.load::<8>(offset) else { return Read::Done(Reason::UdpTruncated) };
    if !find_service(host, s, be16(udp, 2), true) {
        return Read::Done(Reason::NotSignalling);
    }
    set_udp(s, udp, offset + 8);
    let available = s.datagram_end.wrapping_sub(offset);
    let mut length = be16(udp, 4) as u32;
    if s.datagram_end < offset + 8 {
        return Read::Done(Reason::UdpTruncated);
    }
    if length == 0 && s.ip_version == 6 {
        // Meant for jumbograms (RFC 2675 section 4), but Linux takes it for all there is in any IPv6 packet.
        length = available;
    }
    // A first fragment claims the length of the whole datagram. Elsewhere the kernel drops what claims more than there is.
    if length < 8 || (length > available && s.fragment == 0) {
        return Read::Done(Reason::UdpMalformed);
    }
    let length = if length < available { length } else { available };
    s.payload_length = length - 8;
    Read::Payload
}

#[inline(always)]
fn read_tcp<'m, H: Host<'m>>(host: H, s: &mut Scratch, offset: u32) -> Read {
    if s.fragment != 0 && s.datagram_end >= offset + 8 && s.datagram_end < offset + 20 {
        return read_tcp_fragment(host, s, offset);
    }
    let Some(tcp) = host.load::<20>(offset) else { return Read::Done(Reason::TcpTruncated) };
    if !find_service(host, s, be16(tcp, 2), false) {
        return Read::Done(Reason::NotSignalling);
    }
    set_tcp_ports(host, s, tcp);
    let header_length = (tcp[12] >> 4) as u32 * 4;
    let available = s.datagram_end.wrapping_sub(offset);
    if s.datagram_end < offset + 20 {
        return Read::Done(Reason::TcpTruncated);
    }
    if header_length < 20 || header_length > available {
        return Read::Done(Reason::TcpMalformed);
    }
    s.payload_offset = offset + header_length;
    s.payload_length = available - header_length;
    s.opens = (tcp[13] & TCP_SYN) as u32;
    Read::Payload
}

/// A first fragment too short for the header (RFC 1858): its ports tell whom it is for. What it carries comes later.
#[inline(always)]
fn read_tcp_fragment<'m, H: Host<'m>>(host: H, s: &mut Scratch, offset: u32) -> Read {
    let Some(tcp) = host.load::<8>(offset) else { return Read::Done(Reason::TcpTruncated) };
    if !find_service(host, s, be16(tcp, 2), false) {
        return Read::Done(Reason::NotSignalling);
    }
    set_tcp_ports(host, s, tcp);
    s.payload_offset = offset;
    s.payload_length = 0;
    s.opens = 0;
    Read::Payload
}

/// Notes the ports of a TCP header, and what is spoken there.
#[inline(always)]
fn set_tcp_ports<'m, H: Host<'m>>(host: H, s: &mut Scratch, tcp: &[u8]) {
    s.source_port = be16(tcp, 0);
    s.destination_port = be16(tcp, 2);
    s.transport = host.config().ports[s.service as usize & (MAX_PORTS - 1)].transport as u32;
}

/// True if this is the signalling port.
#[inline(always)]
fn serves(entry: &Port, port: u16, udp: bool) -> bool {
    entry.port == port && (entry.transport == Transport::Udp as u8) == udp
}

/// False for the entries behind the last one: what looks at them is not in the program, since they are constants to the verifier.
/// (Their port is 0, which no packet that is answered has.)
#[inline(always)]
fn is_used(entry: &Port) -> bool {
    entry.port != 0
}

/// Finds the signalling port; false if it is none.
#[inline(always)]
fn find_service<'m, H: Host<'m>>(host: H, s: &mut Scratch, port: u16, udp: bool) -> bool {
    s.service = service_of(host, port, udp).unwrap_or(MAX_PORTS as u32);
    host.fence();
    s.service < MAX_PORTS as u32
}

/// The index of a signalling port.
#[inline(always)]
fn service_of<'m, H: Host<'m>>(host: H, port: u16, udp: bool) -> Option<u32> {
    for (index, entry) in host.config().ports.iter().enumerate() {
        if !is_used(entry) {
            break;
        }
        if serves(entry, port, udp) {
            return Some(index as u32);
        }
    }
    None
}
