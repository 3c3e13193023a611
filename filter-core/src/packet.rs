//! From the Ethernet header to the transport header: who sends to whom.
//!
//! What passes at once, and what meets rules about addresses though nothing else of it can be read: a packet whose headers say
//! that it is for another protocol or another port is none of the filter's business, whoever sent it. A packet whose headers
//! leave that open may be for a signalling port. If it has a source, the rules about addresses and the bans apply to it. That
//! costs other programs nothing if a header or a length cannot be right, since Linux drops such packets itself. Two kinds of
//! packets without a port are real ones: those with more IPv6 extension headers than are followed here, all of which Linux
//! follows, and fragments whose first fragment has not been seen, see [`remembered`](crate::remembered).

use crate::{
    host::{Host, Step},
    layout::Transport,
    limits::MAX_PORTS,
    reason::Reason,
    scratch::Packet,
    transport::{read_transport, service_of, set_datagram},
};

/// Headers are followed up to this offset in the packet: through any headers that a packet of 1,500 bytes can have. A bound
/// on extension headers that is lower than the kernel's own would let everything after more of them pass unread.
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
pub(crate) const PROTOCOL_TCP: u32 = 6;
pub(crate) const PROTOCOL_UDP: u32 = 17;
const PROTOCOL_ROUTING: u32 = 43;
const PROTOCOL_FRAGMENT: u32 = 44;
const PROTOCOL_AUTHENTICATION: u32 = 51;
const PROTOCOL_DESTINATION_OPTIONS: u32 = 60;
const PROTOCOL_MOBILITY: u32 = 135;

/// IPv6 extension headers that are followed: enough of the shortest ones to reach the offset above.
const MAX_EXTENSIONS: u32 = (MAX_HEADER_OFFSET + 1) / 8;

/// Bits of the IPv4 flags and fragment offset field.
const MORE_FRAGMENTS: u16 = 0x2000;
const FRAGMENT_OFFSET: u16 = 0x1fff;

/// VLAN tags that are followed. Linux itself removes any number of them, one for each interface that is configured for it.
const MAX_TAGS: usize = 8;

/// What the headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// The packet is certainly for no signalling port, or it has no addresses that could be read.
    Done(Reason),
    /// The packet may be for a signalling port. Its addresses are in the scratch memory, but no payload can be read.
    Unreadable(Reason),
    /// A fragment that is not the first.
    LaterFragment,
    /// A payload for a signalling port, described in the scratch memory.
    Payload,
}

/// A field in network order.
#[inline(always)]
pub(crate) fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// What the first look at a packet finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It is certainly for no signalling port. On a media host, nearly every packet is not.
    Elsewhere,
    /// A whole UDP datagram for this signalling port (its index), directly after an IPv4 header without options.
    Ipv4Datagram(u32),
    /// The same, directly after an IPv6 header.
    Ipv6Datagram(u32),
    /// Anything else, which takes longer to read.
    Other,
}

/// Takes the first look. It costs a few loads, no call and no memory; [`read`] would find the same.
#[inline(always)]
pub fn look<'m, H: Host<'m>>(host: H) -> Look {
    // The shortest datagram. Anything shorter need not be fast.
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

/// Looks up the port of a UDP datagram or a TCP segment. `length` includes the `ip_header` bytes of the IP header.
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
    // Signalling ports are close together, and media ports are apart from them.
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

/// Reads the headers of a packet that may be for a signalling port. Nothing is written to the scratch memory before the packet
/// is known to be IP.
#[inline(always)]
pub fn read<'m, H: Host<'m>>(host: H, p: &mut Packet, look: Look) -> Read {
    match look {
        Look::Ipv4Datagram(service) => {
            if let Some(frame) = host.load_start::<{ IPV4_PAYLOAD as usize }>() {
                set_ipv4(p, &frame[14..], ETHERNET_HEADER + be16(frame, 16) as u32);
                set_datagram(p, service, &frame[34..], IPV4_PAYLOAD);
                return Read::Payload;
            }
        }
        Look::Ipv6Datagram(service) => {
            if let Some(frame) = host.load_start::<{ IPV6_PAYLOAD as usize }>() {
                set_ipv6(p, &frame[14..], ETHERNET_HEADER + 40 + be16(frame, 18) as u32);
                set_datagram(p, service, &frame[54..], IPV6_PAYLOAD);
                return Read::Payload;
            }
        }
        _ => {}
    }
    read_all(host, p)
}

/// Notes the addresses of an IPv4 header, and where its datagram ends.
#[inline(always)]
fn set_ipv4(p: &mut Packet, ip: &[u8], end: u32) {
    p.ip_version = 4;
    // Written as words, since they are read as words: a processor stalls if it reads bytes that it has just written as a word.
    p.source = mapped([0; 4]);
    p.source[12..].copy_from_slice(&ip[12..16]);
    p.destination = mapped([0; 4]);
    p.destination[12..].copy_from_slice(&ip[16..20]);
    p.datagram_end = end;
}

/// As [`set_ipv4`], for IPv6.
#[inline(always)]
fn set_ipv6(p: &mut Packet, ip: &[u8], end: u32) {
    p.ip_version = 6;
    p.source.copy_from_slice(&ip[8..24]);
    p.destination.copy_from_slice(&ip[24..40]);
    p.datagram_end = end;
}

/// Reads the headers one by one.
#[inline(always)]
fn read_all<'m, H: Host<'m>>(host: H, p: &mut Packet) -> Read {
    let Some(ethernet) = host.load::<14>(0) else { return Read::Done(Reason::EthernetTruncated) };
    // What a packet that is not read to its end leaves unset must not be taken from an earlier packet.
    p.service = MAX_PORTS as u32;
    p.source_port = 0;
    p.destination_port = 0;
    let mut ethertype = be16(ethernet, 12);
    let mut offset = ETHERNET_HEADER;
    for _ in 0..MAX_TAGS {
        if !ETHERTYPE_VLAN.contains(&ethertype) {
            break;
        }
        let Some(tag) = host.load::<4>(offset) else { return Read::Done(Reason::EthernetTruncated) };
        ethertype = be16(tag, 2);
        offset += 4;
    }
    p.offset = offset;
    host.fence();
    let offset = p.offset;
    let done = match ethertype {
        ETHERTYPE_IPV4 => read_ipv4(host, p, offset),
        ETHERTYPE_IPV6 => read_ipv6(host, p, offset),
        _ if ETHERTYPE_VLAN.contains(&ethertype) => Some(Read::Done(Reason::VlanTooDeep)),
        _ => Some(Read::Done(Reason::NotSignalling)),
    };
    let read = match done {
        Some(read) => read,
        None => read_transport(host, p),
    };
    if p.service == MAX_PORTS as u32 {
        p.transport = if p.protocol == PROTOCOL_TCP { Transport::Tcp } else { Transport::Udp };
    }
    // A packet that is cut off was read only to find the port that it is for.
    match read {
        _ if p.otherwise == 0 => read,
        Read::Done(_) => Read::Done(truncated(p)),
        _ => Read::Unreadable(truncated(p)),
    }
}

/// Why a packet that is shorter than its IP header says cannot be read.
#[inline(always)]
const fn truncated(p: &Packet) -> Reason {
    if p.ip_version == 4 { Reason::Ipv4Truncated } else { Reason::Ipv6Truncated }
}

/// True if the packet has `end` bytes. If its first buffer has them, as nearly always, this makes no call.
#[inline(always)]
fn has<'m, H: Host<'m>>(host: H, end: u32) -> bool {
    end <= host.first_buffer_length() || end <= host.packet_length()
}

/// None if the transport header follows.
#[inline(always)]
fn read_ipv4<'m, H: Host<'m>>(host: H, p: &mut Packet, offset: u32) -> Option<Read> {
    let Some(ip) = host.load::<20>(offset) else { return Some(Read::Done(Reason::Ipv4Truncated)) };
    let protocol = ip[9] as u32;
    if protocol != PROTOCOL_UDP && protocol != PROTOCOL_TCP {
        return Some(Read::Done(Reason::NotSignalling));
    }
    let header_length = (ip[0] & 0x0f) as u32 * 4;
    let total_length = be16(ip, 2) as u32;
    let end = offset + total_length;
    set_ipv4(p, ip, end);
    p.protocol = protocol;
    if ip[0] >> 4 != 4 || header_length < 20 || total_length < header_length {
        return Some(Read::Unreadable(Reason::Ipv4Malformed));
    }
    if !has(host, end) {
        p.otherwise = Reason::Ipv4Truncated.number() as u32;
    }
    p.offset = offset + header_length;
    let fragment = be16(ip, 6);
    p.fragment = (fragment & (MORE_FRAGMENTS | FRAGMENT_OFFSET) != 0) as u32;
    if p.fragment != 0 {
        p.fragment_id = be16(ip, 4) as u32;
        if fragment & FRAGMENT_OFFSET != 0 {
            p.fragment = 0;
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

/// None if the transport header follows.
#[inline(always)]
fn read_ipv6<'m, H: Host<'m>>(host: H, p: &mut Packet, offset: u32) -> Option<Read> {
    let Some(ip) = host.load::<40>(offset) else { return Some(Read::Done(Reason::Ipv6Truncated)) };
    let payload_length = be16(ip, 4) as u32;
    let next = ip[6] as u32;
    let is_version_6 = ip[0] >> 4 == 6;
    let direct = next == PROTOCOL_UDP || next == PROTOCOL_TCP;
    if is_version_6 && !direct && !is_extension(next) {
        return Some(Read::Done(Reason::NotSignalling));
    }
    set_ipv6(p, ip, offset + 40 + payload_length);
    p.protocol = next;
    if !is_version_6 {
        return Some(Read::Unreadable(Reason::Ipv6Malformed));
    }
    if payload_length == 0 {
        if next != PROTOCOL_HOP_BY_HOP {
            return Some(Read::Unreadable(Reason::Ipv6Malformed));
        }
        // A jumbogram (RFC 2675) is longer than any frame. But with a Hop-by-Hop header, whatever its options are, Linux
        // takes a length of zero to mean the rest of the frame, and so must we.
        p.datagram_end = host.packet_length();
    } else if !has(host, offset + 40 + payload_length) {
        p.otherwise = Reason::Ipv6Truncated.number() as u32;
    }
    p.offset = offset + 40;
    if direct {
        return None;
    }
    p.truncated = 0;
    p.fragment_offset = 0;
    host.repeat(&mut Extensions { host, packet: p });
    if p.fragment != 0 && p.fragment_offset != 0 {
        p.fragment = 0;
        return Some(Read::LaterFragment);
    }
    if p.protocol == PROTOCOL_UDP || p.protocol == PROTOCOL_TCP {
        return None;
    }
    if is_extension(p.protocol) {
        let reason = if p.truncated != 0 { Reason::Ipv6Truncated } else { Reason::Ipv6TooManyExtensions };
        return Some(Read::Unreadable(reason));
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

/// Goes from extension header to extension header. Ends with the protocol after the last one in `protocol`.
struct Extensions<'s, H> {
    host: H,
    packet: &'s mut Packet,
}

impl<'m, H: Host<'m>> Step for Extensions<'_, H> {
    const TIMES: u32 = MAX_EXTENSIONS;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let p = &mut *self.packet;
        let protocol = p.protocol;
        if !is_extension(protocol) {
            return true;
        }
        let offset = p.offset;
        if offset > MAX_HEADER_OFFSET {
            return true;
        }
        let Some(header) = self.host.load::<8>(offset) else {
            p.truncated = 1;
            return true;
        };
        let mut length = (header[1] as u32 + 1) * 8;
        if protocol == PROTOCOL_FRAGMENT {
            length = 8;
            let field = be16(header, 2);
            p.fragment_offset = (field & !7) as u32;
            // Offset 0 and nothing to follow is a whole datagram (an atomic fragment, RFC 6946).
            if field & !6 != 0 {
                p.fragment = 1;
                p.fragment_id = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
            }
        } else if protocol == PROTOCOL_AUTHENTICATION {
            length = (header[1] as u32 + 2) * 4;
        }
        p.protocol = header[0] as u32;
        p.offset = offset + length;
        // In a later fragment, the fragment header is followed by data, not headers.
        protocol == PROTOCOL_FRAGMENT && p.fragment_offset != 0
    }
}
