//! The transport header, and the signalling port that it names.

use crate::{
    host::Host,
    layout::{Port, Transport},
    limits::MAX_PORTS,
    packet::{MAX_HEADER_OFFSET, PROTOCOL_UDP, Read, be16},
    reason::Reason,
    scratch::Packet,
};

const TCP_SYN: u8 = 0x02;
const TCP_URG: u8 = 0x20;

/// Reads the transport header, at the packet's `offset`.
#[inline(always)]
pub fn read_transport<'m, H: Host<'m>>(host: H, p: &mut Packet) -> Read {
    host.fence();
    let offset = p.offset;
    if offset > MAX_HEADER_OFFSET {
        return Read::Unreadable(Reason::Ipv6TooManyExtensions);
    }
    if p.protocol == PROTOCOL_UDP { read_udp(host, p, offset) } else { read_tcp(host, p, offset) }
}

/// Notes the UDP header of a whole datagram, which ends at `payload`.
#[inline(always)]
pub fn set_datagram(p: &mut Packet, service: u32, udp: &[u8], payload: u32) {
    p.fragment = 0;
    p.service = service;
    set_udp(p, udp, payload);
    p.payload_length = be16(udp, 4) as u32 - 8;
}

/// Notes a UDP header, except for its length.
#[inline(always)]
fn set_udp(p: &mut Packet, udp: &[u8], payload: u32) {
    p.source_port = be16(udp, 0);
    p.destination_port = be16(udp, 2);
    p.payload_offset = payload;
    p.transport = Transport::Udp;
    p.opens = 0;
}

#[inline(always)]
fn read_udp<'m, H: Host<'m>>(host: H, p: &mut Packet, offset: u32) -> Read {
    let Some(udp) = host.load::<8>(offset) else { return Read::Unreadable(Reason::UdpTruncated) };
    if !find_service(host, p, be16(udp, 2), true) {
        return Read::Done(Reason::NotSignalling);
    }
    set_udp(p, udp, offset + 8);
    let available = p.datagram_end.wrapping_sub(offset);
    let mut length = be16(udp, 4) as u32;
    if p.datagram_end < offset + 8 {
        return Read::Unreadable(Reason::UdpTruncated);
    }
    if length == 0 && p.ip_version == 6 {
        // Meant for jumbograms (RFC 2675 section 4), but Linux takes it to mean the rest of any IPv6 packet.
        length = available;
    }
    // A first fragment claims the length of the whole datagram. Any other packet that claims more than it has is dropped by
    // the kernel.
    if length < 8 || (length > available && p.fragment == 0) {
        return Read::Unreadable(Reason::UdpMalformed);
    }
    let length = if length < available { length } else { available };
    p.payload_length = length - 8;
    Read::Payload
}

#[inline(always)]
fn read_tcp<'m, H: Host<'m>>(host: H, p: &mut Packet, offset: u32) -> Read {
    if p.fragment != 0 && p.datagram_end >= offset + 8 && p.datagram_end < offset + 20 {
        return read_tcp_fragment(host, p, offset);
    }
    let Some(tcp) = host.load::<20>(offset) else { return Read::Unreadable(Reason::TcpTruncated) };
    if !find_service(host, p, be16(tcp, 2), false) {
        return Read::Done(Reason::NotSignalling);
    }
    set_tcp_ports(host, p, tcp);
    let header_length = (tcp[12] >> 4) as u32 * 4;
    let available = p.datagram_end.wrapping_sub(offset);
    if p.datagram_end < offset + 20 {
        return Read::Unreadable(Reason::TcpTruncated);
    }
    if header_length < 20 || header_length > available {
        return Read::Unreadable(Reason::TcpMalformed);
    }
    p.payload_offset = offset + header_length;
    p.payload_length = available - header_length;
    p.opens = (tcp[13] & TCP_SYN) as u16;
    p.urgent = (tcp[13] & TCP_URG) as u32;
    Read::Payload
}

/// A first fragment too short for the header (RFC 1858): its ports tell whom it is for. Its payload comes later.
#[inline(always)]
fn read_tcp_fragment<'m, H: Host<'m>>(host: H, p: &mut Packet, offset: u32) -> Read {
    let Some(tcp) = host.load::<8>(offset) else { return Read::Unreadable(Reason::TcpTruncated) };
    if !find_service(host, p, be16(tcp, 2), false) {
        return Read::Done(Reason::NotSignalling);
    }
    set_tcp_ports(host, p, tcp);
    p.payload_offset = offset;
    p.payload_length = 0;
    p.opens = 0;
    p.urgent = 0;
    Read::Payload
}

/// Notes the ports of a TCP header, and the transport that is spoken there.
#[inline(always)]
fn set_tcp_ports<'m, H: Host<'m>>(host: H, p: &mut Packet, tcp: &[u8]) {
    p.source_port = be16(tcp, 0);
    p.destination_port = be16(tcp, 2);
    p.tcp_sequence = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
    p.transport = host.config().ports[p.service as usize & (MAX_PORTS - 1)].transport;
}

/// True if this is the signalling port.
#[inline(always)]
fn serves(entry: &Port, port: u16, udp: bool) -> bool {
    entry.port == port && (entry.transport == Transport::Udp) == udp
}

/// False for the entries after the last one: the code for them is not in the program, since they are constants to the verifier.
/// (Their port is 0, which no packet that gets an answer has.)
#[inline(always)]
fn is_used(entry: &Port) -> bool {
    entry.port != 0
}

/// Finds the signalling port. False if the port is not one.
#[inline(always)]
fn find_service<'m, H: Host<'m>>(host: H, p: &mut Packet, port: u16, udp: bool) -> bool {
    p.service = service_of(host, port, udp).unwrap_or(MAX_PORTS as u32);
    host.fence();
    p.service < MAX_PORTS as u32
}

/// The index of a signalling port.
#[inline(always)]
pub fn service_of<'m, H: Host<'m>>(host: H, port: u16, udp: bool) -> Option<u32> {
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
