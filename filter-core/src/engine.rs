//! A packet's path through the engine.

use crate::{
    evaluate::{self, keep_hits, narrow},
    headers,
    host::Host,
    identity,
    layout::{Dimension, Method, Payload, Transport, Trie, anomaly, need},
    limits::{INSPECTED_LENGTH, REASON_PLACES, RULE_WORDS},
    lists, message, number, numbers, observe,
    packet::{self, Look, Read},
    reason::Reason,
    remembered,
    scratch::{Extent, Header, Kind, NumberOf, Outcome, Scratch, UriOf, Walk, pause, uri_flag},
    text::{self, Text},
    trie, upstream,
    uri::{self, Parameter, find_parameter},
    verstat, wanted,
};

/// Decides about the host's packet, counts the decision, and returns it. What was read stays in the scratch memory.
#[inline(always)]
pub fn decide<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> Reason {
    let look = look(host);
    if look == Look::Elsewhere {
        s.message.kind = Kind::Unread;
        return Reason::NotSignalling;
    }
    decide_other(host, s, look)
}

/// Takes the first look at the host's packet. If it is certainly for no signalling port, it is counted and has passed.
/// Every packet of the host pays for this look, so it makes no call and does not touch the scratch memory.
#[inline(always)]
pub fn look<'m, H: Host<'m>>(host: H) -> Look {
    let look = packet::look(host);
    if look == Look::Elsewhere {
        count(host, Reason::NotSignalling.number() as usize, host.first_buffer_length(), 0);
    }
    look
}

/// As [`decide`], for a packet that may be for a signalling port.
#[inline(always)]
pub fn decide_other<'m, H: Host<'m>>(host: H, s: &mut Scratch, look: Look) -> Reason {
    s.begin();
    observe::begin(host, s);
    let reason = reason(host, s, look);
    // Through memory: after this, the verifier follows one path, not one for each reason.
    s.walk.reason = reason.number() as u32;
    host.fence();
    let reason = Reason::from_number(s.walk.reason as u8).unwrap_or(Reason::Internal);
    let length = if s.packet.length != 0 { s.packet.length } else { host.packet_length() };
    let place = host.masked::<{ REASON_PLACES as u32 - 1 }>(reason.number() as u32);
    let would = (s.walk.would_count != 0) as u64 & !(reason.verdict().drops() as u64 | reason.is_reported() as u64);
    count(host, place, length, would);
    s.packet.length = length;
    observe::end(host, s, reason);
    reason
}

/// Counts a packet of this many bytes, at the place of its reason. `would` is 1 if it passes, and a rule in report mode would have dropped it.
#[inline(always)]
fn count<'m, H: Host<'m>>(host: H, place: usize, bytes: u32, would: u64) {
    host.count_packet(|counts| {
        counts.reasons[place].packets += 1;
        counts.reasons[place].bytes += bytes as u64;
        counts.would.packets += would;
        counts.would.bytes += would * bytes as u64;
    });
}

const _: () = assert!(Reason::COUNT <= REASON_PLACES && REASON_PLACES.is_power_of_two());

#[inline(always)]
fn reason<'m, H: Host<'m>>(host: H, s: &mut Scratch, look: Look) -> Reason {
    let known = match packet::read(host, &mut s.packet, look) {
        Read::Done(reason) => Some(reason),
        Read::LaterFragment => {
            s.packet.otherwise = Reason::FragmentLater.number() as u32;
            remembered::later_fragment(host, s)
        }
        Read::Unreadable(reason) => {
            s.packet.otherwise = reason.number() as u32;
            None
        }
        Read::Payload => None,
    };
    s.begin_payload();
    let reason = match known {
        Some(reason) => reason,
        None => packet_reason(host, s),
    };
    remembered::remember(host, s, reason);
    // Only now: up to here a policy in report mode is judged as if it were enforced, so that nothing is counted that would not have
    // got that far.
    if host.config().report != 0 { reason.reported() } else { reason }
}

#[inline(always)]
fn packet_reason<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> Reason {
    let reason = match reason_by_addresses(host, s) {
        Some(reason) if !observe::reads_on(s, reason) => return reason,
        _ => reason_by_payload(host, s),
    };
    match s.packet.settled.checked_sub(1) {
        Some(number) => Reason::from_number(number as u8).unwrap_or(Reason::Internal),
        None => reason,
    }
}

/// Decides by addresses, ports, and what other packets did, as far as the rules allow it.
#[inline(always)]
fn reason_by_addresses<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> Option<Reason> {
    let config = host.config();
    let is_tcp = s.packet.transport != Transport::Udp;
    let is_readable = s.packet.otherwise == 0;
    let is_flow_dropped = is_readable && is_tcp && config.needs & need::TCP != 0 && remembered::dropped_flow(host, s);
    read_source(host, s);
    if config.needs & need::SOURCE != 0
        && let Some(reason) = evaluate::decide_by_source(host, s)
    {
        return Some(reason);
    }
    // Rules that need no message are tried before it is read, as far as they come first: many packets are decided here.
    narrow_by_packet(host, s);
    // Called: inlined here, its frame would add to every chain of calls, which have 512 bytes on Linux 6.1.
    evaluate::walk_on(host, s);
    if s.walk.outcome == Outcome::Decided {
        return Some(decided(&s.walk));
    }
    // What other packets did counts only now: it must not cut off a source that the policy trusts.
    if is_flow_dropped {
        return Some(Reason::FlowOfDropped);
    }
    remembered::find_ban(host, s);
    if s.packet.banned != 0 && !may_call_emergency(host, s) {
        return Some(remembered::banned(host, s));
    }
    None
}

/// Decides by what the packet carries.
#[inline(always)]
fn reason_by_payload<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> Reason {
    let config = host.config();
    let is_tcp = s.packet.transport != Transport::Udp;
    // Loaded again: kept in a register, it would split the verifier's states until here.
    host.fence();
    if s.packet.otherwise != 0
        && let Some(reason) = Reason::from_number(s.packet.otherwise as u8)
    {
        return unreadable(host, s, reason);
    }
    if is_tcp && (s.packet.payload_length == 0 || s.packet.transport == Transport::Tls) {
        s.message.kind = Kind::Empty;
        if s.packet.fragment != 0 {
            s.message.anomalies |= anomaly::TINY_FIRST_FRAGMENT;
        }
        return unreadable(host, s, Reason::StreamWithoutMessage);
    }
    // Constants to the verifier: without a rule about messages, nothing after this is in the program. (Under a default that
    // drops, a TCP segment must be read to tell whether a message begins in it.)
    if !wanted::messages(config) && (config.needs & need::TCP == 0 || config.default_drop == 0) {
        return default(host);
    }
    // (For emergency calls from a banned source, the message must be read.)
    let is_banned = config.ban_passes_emergency != 0 && s.packet.banned != 0;
    let is_open = s.walk.outcome == Outcome::Open && !observe::is_sampled_if_passed(s);
    if is_open && config.needs & need::INSPECT == 0 && !is_tcp && !is_banned {
        return default(host);
    }
    message_reason(host, s)
}

/// True if a packet from a banned source may be an emergency call, or opens a connection for one.
#[inline(always)]
fn may_call_emergency<'m, H: Host<'m>>(host: H, s: &Scratch) -> bool {
    host.config().ban_passes_emergency != 0 && s.packet.transport != Transport::Tls && s.packet.otherwise == 0
}

/// Decides whether a message from a banned source may go on to the rules: it does if it is an emergency call. Then others do too, for a
/// while: what belongs to the call, and what the caller does if it is cut off.
#[inline(never)]
fn is_emergency_call<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> bool {
    if s.message.kind != Kind::Request || s.message.method != Method::Invite {
        return false;
    }
    uri::read(host, s, UriOf::Request.bit());
    numbers::set(host, s, NumberOf::Called, UriOf::Request);
    if !number::is_emergency(s.message.number(NumberOf::Called)) {
        return false;
    }
    remembered::suspend_ban(host, s);
    true
}

/// Decides by the payload. A function of its own, so that all paths to it are one state to the verifier.
#[inline(never)]
fn message_reason<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> Reason {
    let config = host.config();
    let is_tcp = s.packet.transport != Transport::Udp;
    let is_banned = config.ban_passes_emergency != 0 && s.packet.banned != 0;
    if !copy(host, s) {
        return if is_banned { remembered::banned(host, s) } else { Reason::PayloadUnreadable };
    }
    read_start(host, s);
    if is_banned && !is_emergency_call(host, s) {
        return remembered::banned(host, s);
    }
    let is_message = s.message.kind.is_message();
    if is_tcp && s.packet.urgent != 0 {
        s.message.anomalies |= anomaly::URGENT_DATA;
    }
    if is_tcp && !is_message && s.message.kind != Kind::KeepAlive {
        s.message.anomalies &= anomaly::TINY_FIRST_FRAGMENT | anomaly::CUT_START_LINE | anomaly::URGENT_DATA;
        remembered::note_split(s);
        return unreadable(host, s, Reason::MidMessage);
    }
    if config.needs & need::PAYLOAD != 0 {
        let payload = payload(s.message.kind);
        narrow(host, &mut s.walk, Dimension::Payload, payload.number() as u32);
    }
    if is_message {
        // A number with this key would be taken for one whose class is known.
        s.message.number_mut(NumberOf::Calling).key = 0;
        s.cursors.pause = pause::UNFINISHED;
        if wanted::reads_first(config.needs) {
            read_first(host, s);
            // If no rule is left that needs more, nothing more is read.
            match s.walk.outcome {
                Outcome::Decided => return decided(&s.walk),
                Outcome::Open => return default(host),
                _ => {}
            }
        }
        if s.cursors.pause == pause::UNFINISHED {
            message::read_headers(host, s, pause::NONE);
        }
        read_values(host, s);
        narrow_by_message(host, s);
        // Not inside that function: the frames of nested calls share 512 bytes.
        text::narrow(host, s, wanted::later_texts(config.needs));
    } else {
        evaluate::without_message(host, &mut s.walk);
    }
    s.message.extent = Extent::Whole;
    if is_tcp && config.needs & need::TCP != 0 && wanted::anomalies(config.needs) {
        remembered::note_split(s);
    }
    if config.needs & need::ANOMALY != 0 {
        evaluate::narrow_anomalies(host, &mut s.walk, s.message.anomalies);
    }
    // The walk continues where it stopped: the candidates before that are used up.
    evaluate::walk_on(host, s);
    if s.walk.outcome == Outcome::Decided {
        decided(&s.walk)
    } else if s.packet.transport != Transport::Udp && s.message.kind == Kind::KeepAlive {
        Reason::StreamWithoutMessage
    } else {
        default(host)
    }
}

/// What rules about payloads see.
#[inline(always)]
const fn payload(kind: Kind) -> Payload {
    match kind {
        Kind::Request | Kind::Response => Payload::Sip,
        Kind::KeepAlive => Payload::KeepAlive,
        Kind::Stun => Payload::Stun,
        Kind::NotSip => Payload::Other,
        _ => Payload::None,
    }
}

/// Reads what takes little time, and walks on until a rule needs more. Scanners and floods are mostly known by their user agent.
/// What their senders can choose freely and what takes longest (all the headers, URIs and numbers) is then never read.
#[inline(always)]
fn read_first<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let config = host.config();
    if config.texts & Text::FIRST != 0 {
        message::read_headers(host, s, Header::UserAgent);
    }
    if config.needs & need::CALLED != 0 {
        uri::read(host, s, wanted::FIRST_URIS);
        if s.cursors.pause == pause::UNFINISHED && numbers::may_be_called_from_to(host, s) {
            message::read_headers(host, s, pause::NONE);
        }
        numbers::read_called(host, s);
    }
    narrow_by_start_line(host, s);
    text::narrow(host, s, Text::FIRST);
    s.message.extent = Extent::First;
    evaluate::walk_on(host, s);
}

/// Narrows the candidates by the method and the called number.
#[inline(always)]
fn narrow_by_start_line<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let needs = host.config().needs;
    if needs & need::METHOD != 0 {
        narrow(host, &mut s.walk, Dimension::Method, s.message.method.number() as u32);
    }
    // A policy that asks for the format looks up the number too.
    if needs & need::CALLED != 0 {
        let called = *s.message.number(NumberOf::Called);
        narrow(host, &mut s.walk, Dimension::Called, called.class);
        if needs & need::CALLED_FORMAT != 0 {
            narrow(host, &mut s.walk, Dimension::CalledFormat, called.format.number() as u32);
        }
    }
}

/// Decides about a packet in which no message can be read. Rules that need one do not match, but those about addresses do,
/// wherever they are in the policy. The default is for messages only.
#[inline(never)]
fn unreadable<'m, H: Host<'m>>(host: H, s: &mut Scratch, otherwise: Reason) -> Reason {
    s.message.extent = Extent::Whole;
    evaluate::without_message(host, &mut s.walk);
    if host.config().needs & need::PAYLOAD != 0 {
        narrow(host, &mut s.walk, Dimension::Payload, Payload::None.number() as u32);
    }
    if host.config().needs & need::ANOMALY != 0 {
        // There is no anomaly but a first fragment's or a segment's: rules that ask for another one do not match either.
        evaluate::narrow_anomalies(host, &mut s.walk, s.message.anomalies);
    }
    evaluate::walk(host, s);
    s.message.extent = Extent::None;
    if s.walk.outcome == Outcome::Decided { decided(&s.walk) } else { otherwise }
}

/// Reads the source's class: all that rules about sources need.
#[inline(always)]
fn read_source<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    // Bytes after the first buffer count only if the datagram extends into them.
    let first_buffer = host.first_buffer_length();
    s.packet.length = if s.packet.datagram_end <= first_buffer { first_buffer } else { host.packet_length() };
    // A policy that does not ask for the class has only one.
    s.packet.source_class = 0;
    if host.config().needs & (need::SOURCE | need::ASSERTED_IDENTITY | need::BANS | need::INSPECT) != 0 {
        s.packet.source_class = address_class(host, s.packet.ip_version, &s.packet.source);
    }
}

/// Makes the rules that addresses and ports satisfy the candidates.
#[inline(always)]
fn narrow_by_packet<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let needs = host.config().needs;
    evaluate::begin(host, &mut s.walk, s.packet.source_class);
    if host.config().rows[Dimension::Time.index()] != 0 {
        narrow(host, &mut s.walk, Dimension::Time, 0);
    }
    if needs & need::DESTINATION != 0 {
        s.packet.destination_class = address_class(host, s.packet.ip_version, &s.packet.destination);
        narrow(host, &mut s.walk, Dimension::Destination, s.packet.destination_class);
    }
    if needs & need::SERVICE != 0 {
        narrow(host, &mut s.walk, Dimension::Service, s.packet.service);
    }
}

/// The reason that the deciding rule's action gave, see [`Action::reason`](crate::layout::Action::reason).
#[inline(always)]
fn decided(walk: &Walk) -> Reason {
    match Reason::from_number(walk.reason as u8) {
        Some(reason) => reason,
        None => Reason::RuleDrop,
    }
}

#[inline(always)]
fn default<'m, H: Host<'m>>(host: H) -> Reason {
    if host.config().default_drop != 0 { Reason::DefaultDrop } else { Reason::DefaultPass }
}

#[inline(always)]
fn address_class<'m, H: Host<'m>>(host: H, version: u32, address: &[u8; 16]) -> u32 {
    let [_, _, _, _, _, _, _, _, _, _, _, _, a, b, c, d] = *address;
    if version == 4 {
        let key = (u32::from_be_bytes([a, b, c, d]) as u64) << 32;
        trie::lookup(&host, Trie::Ipv4, key, 0)
    } else {
        let mut halves = [[0; 8]; 2];
        halves[0].copy_from_slice(&address[..8]);
        halves[1].copy_from_slice(&address[8..]);
        trie::lookup(&host, Trie::Ipv6, u64::from_be_bytes(halves[0]), u64::from_be_bytes(halves[1]))
    }
}

/// Copies the inspected part of the payload into the buffer.
#[inline(always)]
fn copy<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> bool {
    let length = s.packet.payload_length;
    let length = if length < INSPECTED_LENGTH as u32 { length } else { INSPECTED_LENGTH as u32 };
    s.message.length = length;
    if length != 0 && !host.copy_message(s, s.packet.payload_offset, length) {
        return false;
    }
    s.pad();
    true
}

/// Reads what kind of payload it is.
///
/// A function of its own: inside [`message_reason`] its frame would make that one's larger, which the patterns' chain of calls
/// has no room for on Linux 6.1.
#[inline(never)]
fn read_start<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    message::read_start(host, s);
    // Servers skip line ends before a start line: these too can fill a first fragment.
    if s.packet.fragment != 0 && !s.message.kind.is_message() {
        s.message.anomalies |= anomaly::TINY_FIRST_FRAGMENT;
    }
}

/// Reads the values that the policy needs out of the headers.
#[inline(always)]
fn read_values<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let config = host.config();
    let needs = config.needs;
    let already_read = if wanted::called_is_read(needs) { wanted::FIRST_URIS } else { 0 };
    let wanted = wanted::uris(config) & !already_read;
    if wanted != 0 {
        uri::read(host, s, wanted);
    }
    if needs & need::ANY_IDENTITY != 0 {
        s.walk.hits = [0; RULE_WORDS];
    }
    if needs & lists::NEEDS != 0 {
        lists::read(host, s);
    }
    if needs & need::ANY_IDENTITY != 0 {
        narrow_by_identities(host, s);
    }
    if needs & (need::CALLING_PRIVACY | need::INSPECT) != 0 {
        headers::read_privacy(host, s);
    }
    if needs & (need::ATTESTATION | need::PASSPORT | need::INSPECT) != 0 {
        identity::read(host, s);
    }
    numbers::read(host, s);
    if needs & (need::VERSTAT | need::INSPECT) != 0 {
        // A believed source may also mark From, if it asserts no identity.
        let asserts = s.message.asserted_believed != 0 && s.message.uri(UriOf::Asserted).flags & uri_flag::PRESENT != 0;
        let of = if asserts { UriOf::Asserted } else { UriOf::From };
        verstat::read(host, s, of);
    }
    if wanted::anomalies(needs) {
        headers::note_anomalies(host, s);
    }
    if wanted::body(config) {
        headers::read_body(host, s);
    }
    if needs & (need::DIALOG | need::INSPECT) != 0 {
        read_to_tag(host, s);
    }
}

/// Narrows the candidates by the caller's identities: those of the lists are among the hits already.
#[inline(never)]
fn narrow_by_identities<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    if s.message.uri(UriOf::From).flags & uri_flag::NUMBER != 0 {
        lists::add_identity(host, s, UriOf::From);
    }
    if let Some(base) = host.row(host.config().identity_row) {
        keep_hits(host, &mut s.walk, base);
    }
}

/// Reads whether To has a tag: then the request is within a dialog (RFC 3261 section 12.2).
#[inline(always)]
fn read_to_tag<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    if s.message.has(Header::To) {
        let value = s.message.header(Header::To);
        let start = uri::after(host, s, UriOf::To, value);
        let tag = find_parameter(host, s, Parameter::Tag, start, value.end as u32);
        // An empty one makes no dialog.
        if tag != 0 && tag < value.end as u32 && s.byte(tag) != b';' && s.byte(tag) != b',' {
            s.message.to_tag = 1;
        }
    }
}

/// Narrows the candidates by everything that the message says, apart from texts and from what the first reading (if there was
/// one) has taken in.
#[inline(never)]
fn narrow_by_message<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let needs = host.config().needs;
    if !wanted::reads_first(needs) {
        narrow_by_start_line(host, s);
    }
    narrow_by_number(host, s, need::CALLING, Dimension::Calling, NumberOf::Calling);
    narrow_by_number(host, s, need::FORWARDED, Dimension::Forwarded, NumberOf::Forwarded);
    narrow_by_number(host, s, need::FROM_NUMBER, Dimension::FromNumber, NumberOf::From);
    narrow_by_number(host, s, need::ASSERTED_NUMBER, Dimension::AssertedNumber, NumberOf::Asserted);
    narrow_by_number(host, s, need::PREFERRED_NUMBER, Dimension::PreferredNumber, NumberOf::Preferred);
    narrow_by_number(host, s, need::TO_NUMBER, Dimension::ToNumber, NumberOf::To);
    let message = &s.message;
    if needs & need::CALLING_FORMAT != 0 {
        let format = message.number(NumberOf::Calling).format;
        narrow(host, &mut s.walk, Dimension::CallingFormat, format.number() as u32);
    }
    if needs & need::ATTESTATION != 0 {
        narrow(host, &mut s.walk, Dimension::Attestation, message.attestation.number() as u32);
    }
    if needs & need::CALLING_PRIVACY != 0 {
        narrow(host, &mut s.walk, Dimension::CallingPrivacy, message.privacy);
    }
    if needs & need::PASSPORT != 0 {
        narrow(host, &mut s.walk, Dimension::Passport, message.passports);
    }
    if needs & need::DIALOG != 0 {
        narrow(host, &mut s.walk, Dimension::Dialog, (message.to_tag != 0) as u32);
    }
    if needs & need::NEIGHBOR != 0 {
        narrow(host, &mut s.walk, Dimension::Neighbor, message.neighbor);
    }
    if needs & need::VERSTAT != 0 {
        narrow(host, &mut s.walk, Dimension::Verstat, message.verstat.number() as u32);
    }
    if host.config().callers_row != 0 {
        upstream::narrow_by_caller(host, s);
    }
}

#[inline(always)]
fn narrow_by_number<'m, H: Host<'m>>(host: H, s: &mut Scratch, bit: u32, dimension: Dimension, of: NumberOf) {
    if host.config().needs & bit != 0 {
        narrow(host, &mut s.walk, dimension, s.message.number(of).class);
    }
}
