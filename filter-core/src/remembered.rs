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

/// In [`Remembered::reason`]: what was remembered no longer holds.
const FORGOTTEN: u32 = Reason::NotSignalling.number() as u32;

/// Decides about a fragment that is not the first: it shares the verdict of the first.
#[inline(never)]
pub fn later_fragment<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> Reason {
    match host.dropped_fragment(&fragment_key(&s.packet)) {
        Some(first) if first.reason != FORGOTTEN && s.now(host).wrapping_sub(first.since) < REASSEMBLY_TIME => {
            Reason::FragmentOfDropped
        }
        _ => Reason::FragmentLater,
    }
}

/// Lets the later fragments of a datagram pass, which may have the same identification as a dropped one.
#[inline(never)]
pub fn forget_fragment<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let key = fragment_key(&s.packet);
    if host.dropped_fragment(&key).is_some() {
        host.remember_fragment(&key, &Remembered { since: s.now(host), slot: NO_RULE, reason: FORGOTTEN });
    }
}

/// Makes the later fragments of this datagram, or the further segments of this connection, drop too.
#[inline(always)]
pub fn remember<'m, H: Host<'m>>(host: H, s: &mut Scratch, reason: Reason) {
    if s.packet.fragment != 0 || ends_flow(s) {
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
    let value = Remembered { since: s.now(host), slot: s.walk.slot, reason: reason.number() as u32 };
    if s.packet.fragment != 0 {
        host.remember_fragment(&fragment_key(&s.packet), &value);
    }
    if ends_flow(s) {
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
        host.remember_flow(&key, &Remembered { since: s.now(host), slot: NO_RULE, reason: FORGOTTEN });
        return false;
    }
    flow.reason != FORGOTTEN
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
