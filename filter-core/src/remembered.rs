//! Verdicts that packets share: those of a datagram's fragments, of a connection's segments, and of a banned source.

use crate::{
    host::Host,
    layout::{BanKey, FlowKey, FragmentKey, NO_RULE, Remembered, Transport},
    reason::Reason,
    scratch::{Extent, Packet, Scratch},
};

/// How long a receiver waits for the fragments of a datagram, in nanoseconds: Linux 30 s, RFC 8200 section 4.5 60 s. After
/// that, the same identification may be another datagram's.
const REASSEMBLY_TIME: u64 = 60_000_000_000;

/// In [`Remembered::reason`]: the first fragment has passed, or the connection is a new one.
const PASSED: u32 = Reason::NotSignalling.number() as u32;

/// The reason of a fragment that is not the first: it shares the verdict of the first. None if the first has not been seen, or
/// not lately.
///
/// Only the first fragment has the port. If it was for another port, the rules must not be applied to the rest of its datagram;
/// if it was for a signalling port, they have been applied.
#[inline(never)]
pub fn later_fragment<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> Option<Reason> {
    let first = host.first_fragment(&fragment_key(&s.packet))?;
    if s.now(host).wrapping_sub(first.since) >= REASSEMBLY_TIME {
        return None;
    }
    Some(if first.reason == PASSED { Reason::FragmentLater } else { Reason::FragmentOfDropped })
}

/// Makes the later fragments of this datagram share its verdict, and the further segments of this connection, if a message
/// in it was dropped.
#[inline(always)]
pub fn remember<'m, H: Host<'m>>(host: H, s: &mut Scratch, reason: Reason) {
    if s.packet.fragment != 0 || (reason.verdict().drops() && ends_flow(s)) {
        set(host, s, reason);
    }
}

/// A connection that address rules drop from its first segment on needs no memory; neither does a remembered one.
#[inline(always)]
fn ends_flow(s: &Scratch) -> bool {
    s.packet.transport == Transport::Tcp && s.message.extent != Extent::None
}

/// Few packets need it, and its keys need stack.
#[inline(never)]
fn set<'m, H: Host<'m>>(host: H, s: &mut Scratch, reason: Reason) {
    let drops = reason.verdict().drops();
    let slot = if drops { s.walk.slot } else { NO_RULE };
    let value = Remembered { since: s.now(host), slot, reason: if drops { reason.number() as u32 } else { PASSED } };
    if s.packet.fragment != 0 {
        host.remember_fragment(&fragment_key(&s.packet), &value);
    }
    if drops && ends_flow(s) {
        host.remember_flow(&flow_key(&s.packet), &value);
    }
}

/// True if this segment belongs to a connection in which a message was dropped. A new connection on the same ports is not
/// affected by the verdict on the old one. (A SYN in the middle of a connection gains nothing: the server's TCP answers it and
/// keeps waiting for the dropped bytes, RFC 9293 section 3.10.7.4.)
#[inline(never)]
pub fn dropped_flow<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> bool {
    let key = flow_key(&s.packet);
    let Some(flow) = host.dropped_flow(&key) else { return false };
    if s.packet.opens != 0 {
        host.remember_flow(&key, &Remembered { since: s.now(host), slot: NO_RULE, reason: PASSED });
        return false;
    }
    flow.reason != PASSED
}

/// True if the source is banned now. A full map evicts its oldest ban by itself. A ban that has ended stays until then, or
/// until the daemon sweeps it.
#[inline(never)]
pub fn is_banned<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> bool {
    match host.ban(&BanKey { source: s.packet.source }) {
        Some(ban) => ban.until > s.now(host),
        None => false,
    }
}

#[inline(always)]
fn fragment_key(packet: &Packet) -> FragmentKey {
    FragmentKey {
        source: packet.source,
        destination: packet.destination,
        id: packet.fragment_id,
        protocol: packet.ip_version,
    }
}

#[inline(always)]
fn flow_key(packet: &Packet) -> FlowKey {
    FlowKey {
        source: packet.source,
        destination: packet.destination,
        source_port: packet.source_port,
        destination_port: packet.destination_port,
        reserved: 0,
    }
}
