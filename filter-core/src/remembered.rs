//! Verdicts that packets share: those of a datagram's fragments, of a connection's segments, and of banned sources.

use crate::{
    host::Host,
    layout::{Ban, BanKey, FlowKey, FragmentKey, NO_RULE, Remembered, Rule, Transport, address_flag, anomaly, need},
    limits::{FLOW_TIME, REASSEMBLY_TIME},
    prefix::prefix,
    reason::Reason,
    scratch::{Extent, Kind, Packet, Scratch},
};

/// In [`Remembered::reason`]: the first fragment has passed.
const PASSED: u32 = Reason::NotSignalling.number() as u32;

/// In [`Remembered::reason`]: the connection has been opened, and nothing of it has been dropped.
const OPENED: u32 = Reason::StreamWithoutMessage.number() as u32;

/// How far after a dropped segment others are dropped too, in bytes. They cannot be delivered without it, so this need not be exact.
/// But whoever forges a segment, and does not know the connection's sequence numbers, must not hit its other segments by chance.
const FLOW_WINDOW: u32 = 1 << 16;

/// Bytes of the shortest segment that may be as long as its path allows. No path in use takes less than 1,280 bytes of IPv6 or of
/// IPv4 with tunnels around it.
const FULL_SEGMENT: u32 = 1_000;

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
    let has_passed = first.reason == PASSED || is_void(host, &first);
    Some(if has_passed { Reason::FragmentLater } else { Reason::FragmentOfDropped })
}

/// True if the policy is enforced now, and was in report mode when it would have dropped the packet: the packet has passed, and what
/// belongs to it must.
#[inline(always)]
fn is_void<'m, H: Host<'m>>(host: H, remembered: &Remembered) -> bool {
    host.config().report == 0 && remembered.reported != 0
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
    let value = Remembered {
        since: s.now(host),
        slot: if drops { s.walk.slot } else { NO_RULE },
        reason: if drops { reason.number() as u32 } else { PASSED },
        sequence: s.packet.tcp_sequence,
        reported: host.config().report,
    };
    if s.packet.fragment != 0 {
        host.remember_fragment(&fragment_key(&s.packet), &value);
    }
    if drops && ends_flow(s) {
        host.remember_flow(&flow_key(&s.packet), &value);
    }
}

/// True if this segment covers or follows one that was dropped. It notes where a connection begins, too.
///
/// The receiver never gets the bytes that were dropped, so the connection stalls there, unless a copy of them arrives in a segment that
/// begins elsewhere. Segments without payload can hold nothing: they pass, so that both ends can close the connection. A new
/// connection on the same ports is not affected. (A SYN in the middle of a connection gains nothing: the server's TCP answers it and
/// keeps waiting for the dropped bytes, RFC 9293 section 3.10.7.4.)
#[inline(never)]
pub fn dropped_flow<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> bool {
    let key = flow_key(&s.packet);
    let known = host.dropped_flow(&key);
    let sequence = s.packet.tcp_sequence;
    if s.packet.opens != 0 {
        let notes = host.config().needs & (need::ANOMALY | need::INSPECT) != 0;
        if notes || known.is_some() {
            // The SYN itself takes a sequence number (RFC 9293 section 3.4).
            let first = Remembered {
                since: s.now(host),
                slot: NO_RULE,
                reason: OPENED,
                sequence: sequence.wrapping_add(1),
                reported: 0,
            };
            host.remember_flow(&key, &first);
        }
        s.packet.is_first = notes as u32;
        return false;
    }
    s.packet.is_first = 0;
    let Some(mut flow) = known else { return false };
    if flow.reason == OPENED {
        s.packet.is_first = (flow.sequence == sequence) as u32;
        return false;
    }
    let now = s.now(host);
    if s.packet.payload_length == 0 || now.wrapping_sub(flow.since) >= FLOW_TIME || is_void(host, &flow) {
        return false;
    }
    let covers = flow.sequence.wrapping_sub(sequence) < s.packet.payload_length;
    if covers {
        flow.since = now;
        flow.reported = host.config().report;
        host.remember_flow(&key, &flow);
    }
    covers || sequence.wrapping_sub(flow.sequence) < FLOW_WINDOW
}

/// Notes a connection's first segment if it is shorter than it need be and holds part of a message's headers. Whoever splits a message
/// hides the rest of it: nothing is read across segments.
#[inline(always)]
pub fn note_split(s: &mut Scratch) {
    let is_cut =
        s.message.kind.is_message() && s.message.body == 0 || s.message.anomalies & anomaly::CUT_START_LINE != 0;
    if is_cut && s.packet.is_first != 0 && s.packet.payload_length < FULL_SEGMENT {
        s.message.anomalies |= anomaly::SPLIT_MESSAGE;
    }
}

/// Notes whether the source is banned now, unless the policy never bans it, or an emergency call has suspended the ban. A full map
/// evicts its oldest ban by itself. A ban that has ended stays until then, or until the daemon sweeps it.
#[inline(never)]
pub fn find_ban<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    s.packet.banned = 0;
    let lengths = host.ban_lengths();
    let lengths = if s.packet.ip_version == 4 { lengths.ipv4 } else { lengths.ipv6 };
    for length in lengths {
        if length == 0 {
            break;
        }
        let key = BanKey { source: prefix(&s.packet.source, length as u32), length: length as u32 };
        if let Some(ban) = host.ban(&key) {
            let now = s.now(host);
            if ban.until > now && ban.suspended_until(now).is_none() {
                s.packet.banned = length as u32;
                break;
            }
        }
    }
    // (Few packets get here with a ban.)
    if s.packet.banned != 0 && host.address_class(s.packet.source_class).unwrap_or(0) & address_flag::NEVER_BAN != 0 {
        s.packet.banned = 0;
    }
}

/// Drops a packet from a banned source, and counts it if the policy is enforced: a ban's number is of packets that it has dropped. What has been read of a message, to see whether it is an emergency call, is not a reading.
#[inline(never)]
pub fn banned<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> Reason {
    s.message.kind = Kind::Unread;
    s.message.anomalies = 0;
    if host.config().report == 0 {
        host.count_banned(&ban_key(&s.packet, s.packet.banned));
    }
    Reason::Banned
}

/// Suspends the ban of the packet's source: it makes an emergency call.
#[inline(never)]
pub fn suspend_ban<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let key = ban_key(&s.packet, s.packet.banned);
    if let Some(mut ban) = host.ban(&key) {
        // (0 means none.)
        ban.emergency = s.now(host) | 1;
        host.set_ban(&key, &ban);
    }
    s.packet.banned = 0;
}

/// Bans the source's prefix for the rule's time. An emergency call goes on suspending the ban.
#[inline(never)]
pub fn ban<'m, H: Host<'m>>(host: H, s: &mut Scratch, rule: &Rule) {
    let now = s.now(host);
    let length = if s.packet.ip_version == 4 { rule.ban_ipv4 } else { rule.ban_ipv6 };
    let key = ban_key(&s.packet, length as u32);
    let until = now.wrapping_add(rule.argument as u64 * 1_000_000_000);
    host.set_ban(&key, &Ban::new(host.ban(&key).as_ref(), now, until, rule.slot as u32));
}

#[inline(always)]
fn ban_key(packet: &Packet, length: u32) -> BanKey {
    BanKey { source: prefix(&packet.source, length), length }
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
