//! The way of a packet through the engine.

use crate::{
    evaluate::{self, outcome},
    host::{Function, FunctionKind, Host},
    layout::{
        Attestation, BanKey, Dimension, FlowKey, FragmentKey, Method, NO_RULE, NumberFormat, Remembered, Text,
        Transport, Trie, Verstat, address_flag, anomaly, need,
    },
    limits::INSPECTED_LENGTH,
    message, number,
    packet::{self, Look, Read},
    reason::Reason,
    scratch::{HEADERS, Header, Kind, NUMBERS, Number, NumberOf, Scratch, URIS, UriOf, extent, pause, uri_flag},
    text,
    trie::{self, number_key},
    uri,
};

/// Decides about the host's packet, counts the decision, and returns it. What was read stays in the scratch memory.
#[inline(always)]
pub fn decide<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> Reason {
    let look = look(host);
    if look == Look::Elsewhere {
        s.kind = Kind::Unread as u32;
        return Reason::NotSignalling;
    }
    decide_other(host, s, look)
}

/// Takes the first look at the host's packet, and counts it if it is certainly for no signalling port: then it has passed.
/// Without a call and without the scratch memory, since this is what costs every packet of the host.
#[inline(always)]
pub fn look<'m, H: Host<'m>>(host: H) -> Look {
    let look = packet::look(host);
    if look == Look::Elsewhere {
        count(host, Reason::NotSignalling, host.first_buffer_length());
    }
    look
}

/// As [`decide`], for a packet that the first look did not find elsewhere.
#[inline(always)]
pub fn decide_other<'m, H: Host<'m>>(host: H, s: &mut Scratch, look: Look) -> Reason {
    // What the packet before left must not be taken for this one's reading.
    s.kind = Kind::Unread as u32;
    s.packet_length = 0;
    let reason = reason(host, s, look);
    count(host, reason, if s.packet_length != 0 { s.packet_length } else { host.packet_length() });
    reason
}

/// Counts a packet of this many bytes.
#[inline(always)]
fn count<'m, H: Host<'m>>(host: H, reason: Reason, bytes: u32) {
    host.count_reason(reason as u32, |counter| {
        counter.packets += 1;
        counter.bytes += bytes as u64;
    });
}

#[inline(always)]
fn reason<'m, H: Host<'m>>(host: H, s: &mut Scratch, look: Look) -> Reason {
    match packet::read(host, s, look) {
        Read::Done(reason) => reason,
        Read::LaterFragment => later_fragment(host, s),
        Read::Payload => {
            // What was true of the packet before must not be remembered of this one.
            s.message_read = extent::NONE;
            s.slot = NO_RULE;
            let reason = payload_reason(host, s);
            if reason.verdict().drops() {
                remember(host, s, reason);
            } else if s.fragment != 0 {
                forget_fragment(host, s);
            }
            reason
        }
    }
}

/// A fragment that is not the first shares the verdict of the first.
#[inline(never)]
fn later_fragment<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> Reason {
    match host.dropped_fragment(&fragment_key(s)) {
        Some(first) if first.reason != FORGOTTEN && s.now(host).wrapping_sub(first.since) < REASSEMBLY_TIME => {
            Reason::FragmentOfDropped
        }
        _ => Reason::FragmentLater,
    }
}

/// How long a receiver waits for the fragments of a datagram, in nanoseconds: Linux 30 s, RFC 8200 section 4.5 60 s. Behind
/// that the identification is another datagram's.
const REASSEMBLY_TIME: u64 = 60_000_000_000;

/// In [`Remembered::reason`]: what was remembered no longer holds.
const FORGOTTEN: u32 = Reason::NotSignalling as u32;

/// Lets the later fragments of a datagram pass, whose identification may have been that of a dropped one.
#[inline(never)]
fn forget_fragment<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let key = fragment_key(s);
    if host.dropped_fragment(&key).is_some() {
        host.remember_fragment(&key, &Remembered { since: s.now(host), slot: NO_RULE, reason: FORGOTTEN });
    }
}

#[inline(always)]
fn fragment_key(s: &Scratch) -> FragmentKey {
    FragmentKey { source: s.source, destination: s.destination, id: s.fragment_id, protocol: s.ip_version }
}

#[inline(always)]
fn flow_key(s: &Scratch) -> FlowKey {
    FlowKey {
        source: s.source,
        destination: s.destination,
        source_port: s.source_port,
        destination_port: s.destination_port,
        reserved: 0,
    }
}

/// Lets the later fragments of this datagram, or the further segments of this connection, drop too.
#[inline(always)]
fn remember<'m, H: Host<'m>>(host: H, s: &mut Scratch, reason: Reason) {
    // A connection that address rules drop from its first segment on needs no memory; neither does a remembered one.
    let ends_flow = s.transport == Transport::Tcp as u32 && s.message_read != extent::NONE;
    if s.fragment == 0 && !ends_flow {
        return;
    }
    let value = Remembered { since: s.now(host), slot: s.slot, reason: reason as u32 };
    if s.fragment != 0 {
        host.remember_fragment(&fragment_key(s), &value);
    }
    if ends_flow {
        host.remember_flow(&flow_key(s), &value);
    }
}

#[inline(always)]
fn payload_reason<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> Reason {
    let config = host.config();
    let is_tcp = s.transport != Transport::Udp as u32;
    if is_tcp && config.needs & need::TCP != 0 && dropped_flow(host, s) {
        return Reason::FlowOfDropped;
    }
    if config.needs & need::BANS != 0 && is_banned(host, s) {
        return Reason::Banned;
    }
    begin_payload(host, s);
    if config.needs & need::SOURCE != 0
        && let Some(reason) = evaluate::decide_by_source(host, s)
    {
        return reason;
    }
    // Rules that need no message come first where they stand first: many packets are decided here.
    narrow_by_packet(host, s);
    evaluate::walk(host, s);
    if s.outcome == outcome::DECIDED {
        return decided(s);
    }
    if is_tcp && (s.payload_length == 0 || s.transport == Transport::Tls as u32) {
        s.kind = Kind::Empty as u32;
        if s.fragment != 0 {
            s.anomalies |= anomaly::TINY_FIRST_FRAGMENT;
        }
        return unreadable(host, s, Reason::StreamWithoutMessage);
    }
    let reads = config.needs & (need::MESSAGE | need::ANOMALY | need::INSPECT) != 0;
    // Constants to the verifier: without a rule about messages nothing behind this is in the program. (Under a default that
    // drops, a TCP segment must be read to tell whether a message begins in it.)
    if !reads && (config.needs & need::TCP == 0 || config.default_drop == 0) {
        return default(host);
    }
    if s.outcome == outcome::OPEN && config.needs & need::INSPECT == 0 && !is_tcp {
        return default(host);
    }
    message_reason(host, s)
}

/// Decides by what the payload holds. A function of its own, so that what leads here is one state to the verifier.
#[inline(never)]
fn message_reason<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> Reason {
    let config = host.config();
    let is_tcp = s.transport != Transport::Udp as u32;
    if !copy(host, s) {
        return Reason::PayloadUnreadable;
    }
    read_start(host, s);
    let is_message = s.kind == Kind::Request as u32 || s.kind == Kind::Response as u32;
    if is_tcp && !is_message && s.kind != Kind::KeepAlive as u32 {
        s.anomalies &= anomaly::TINY_FIRST_FRAGMENT;
        return unreadable(host, s, Reason::MidMessage);
    }
    if is_message {
        // No number is taken for one whose class is known.
        s.numbers[NumberOf::Calling as usize].key = 0;
        s.pause = pause::UNFINISHED;
        if reads_first(config.needs) {
            read_first(host, s);
            // What no rule is left for needs no more reading.
            match s.outcome {
                outcome::DECIDED => return decided(s),
                outcome::OPEN => return default(host),
                _ => {}
            }
        }
        if s.pause == pause::UNFINISHED {
            message::read_headers(host, s, pause::NONE);
        }
        read_values(host, s);
        narrow_by_message(host, s);
        // Not in there: frames of nested calls share 512 bytes.
        text::narrow(host, s, !if reads_first(config.needs) { FIRST_TEXTS } else { 0 });
    } else {
        evaluate::without_message(host, s);
    }
    s.message_read = extent::WHOLE;
    if config.needs & need::ANOMALY != 0 {
        evaluate::narrow_anomalies(host, s);
    }
    // The walk goes on where it stopped: candidates before it are used up.
    evaluate::walk_on(host, s);
    if s.outcome == outcome::DECIDED {
        decided(s)
    } else if s.transport != Transport::Udp as u32 && s.kind == Kind::KeepAlive as u32 {
        Reason::StreamWithoutMessage
    } else {
        default(host)
    }
}

/// Texts that the first reading takes in.
const FIRST_TEXTS: u32 = 1 << Text::UserAgent as u32;

/// URIs that the first reading takes in where the called number is asked for.
const FIRST_URIS: u32 = 1 << UriOf::Request as u32;

/// Reads what takes little, and walks on until a rule needs more. Scanners and floods are mostly known by their user agent; what
/// their senders can choose freely and what takes longest, all the headers, URIs and numbers, is then never read.
#[inline(always)]
fn read_first<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let config = host.config();
    if config.texts & FIRST_TEXTS != 0 {
        message::read_headers(host, s, Header::UserAgent as u32);
    }
    if config.needs & need::CALLED != 0 {
        uri::read(host, s, FIRST_URIS);
        set_number(host, s, NumberOf::Called, UriOf::Request as u32);
    }
    narrow_by_start_line(host, s);
    text::narrow(host, s, FIRST_TEXTS);
    s.message_read = extent::FIRST;
    evaluate::walk_on(host, s);
}

/// Narrows the candidates by the method and the called number.
#[inline(always)]
fn narrow_by_start_line<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let needs = host.config().needs;
    if needs & need::METHOD != 0 {
        evaluate::narrow(host, s, Dimension::Method, s.method);
    }
    // A policy that asks for the format looks the number up.
    if needs & need::CALLED != 0 {
        let called = s.numbers[NumberOf::Called as usize];
        evaluate::narrow(host, s, Dimension::Called, called.class);
        if needs & need::CALLED_FORMAT != 0 {
            evaluate::narrow(host, s, Dimension::CalledFormat, called.format as u32);
        }
    }
}

/// Decides about a segment that no message can be read in: rules that ask for one do not match, but those about addresses do,
/// wherever they stand. The default is for messages.
#[inline(never)]
fn unreadable<'m, H: Host<'m>>(host: H, s: &mut Scratch, otherwise: Reason) -> Reason {
    s.message_read = extent::WHOLE;
    evaluate::without_message(host, s);
    if host.config().needs & need::ANOMALY != 0 {
        // There is none but a fragment's: rules that ask for others do not match either.
        evaluate::narrow_anomalies(host, s);
    }
    evaluate::walk(host, s);
    s.message_read = extent::NONE;
    if s.outcome == outcome::DECIDED { decided(s) } else { otherwise }
}

/// True if the source is banned now. The map forgets the oldest ban by itself when it is full; one that has ended stays until
/// then, or until the daemon sweeps it.
#[inline(never)]
fn is_banned<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> bool {
    match host.ban(&BanKey { source: s.source }) {
        Some(ban) => ban.until > s.now(host),
        None => false,
    }
}

/// True if this segment belongs to a connection in which a message was dropped. A new connection on the same ports is another
/// one: nothing is held against it. (A SYN in the middle of a connection gains nothing: the server's TCP answers it and goes
/// on waiting for the dropped bytes, RFC 9293 section 3.10.7.4.)
#[inline(never)]
fn dropped_flow<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> bool {
    let key = flow_key(s);
    let Some(flow) = host.dropped_flow(&key) else { return false };
    if s.opens != 0 {
        host.remember_flow(&key, &Remembered { since: s.now(host), slot: NO_RULE, reason: FORGOTTEN });
        return false;
    }
    flow.reason != FORGOTTEN
}

/// Forgets what the message before said, and reads the source's class: all that rules about sources and their events need.
#[inline(always)]
fn begin_payload<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    // What goes on behind the first buffer is nobody's, where the datagram does not.
    let first_buffer = host.first_buffer_length();
    s.packet_length = if s.datagram_end <= first_buffer { first_buffer } else { host.packet_length() };
    s.anomalies = 0;
    s.method = Method::None as u32;
    s.attestation = Attestation::None as u32;
    // A policy that does not ask for the class knows but one.
    s.source_class = 0;
    if host.config().needs & (need::SOURCE | need::ASSERTED_IDENTITY | need::BANS | need::INSPECT) != 0 {
        s.source_class = address_class(host, s.ip_version, &s.source);
    }
}

/// The candidates are the rules that addresses and ports satisfy.
#[inline(always)]
fn narrow_by_packet<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let needs = host.config().needs;
    evaluate::begin(host, s);
    if needs & need::DESTINATION != 0 {
        s.destination_class = address_class(host, s.ip_version, &s.destination);
        evaluate::narrow(host, s, Dimension::Destination, s.destination_class);
    }
    if needs & need::SERVICE != 0 {
        evaluate::narrow(host, s, Dimension::Service, s.service);
    }
}

#[inline(always)]
fn decided(s: &Scratch) -> Reason {
    // A rule's action gave it: see `Action::reason`.
    match Reason::from_number(s.reason as u8) {
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

/// Copies what is inspected of the payload into the buffer.
#[inline(always)]
fn copy<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> bool {
    let length = s.payload_length;
    let length = if length < INSPECTED_LENGTH as u32 { length } else { INSPECTED_LENGTH as u32 };
    s.length = length;
    if length != 0 && !host.copy_message(s, s.payload_offset, length) {
        return false;
    }
    s.pad();
    true
}

/// Finds out what the payload is.
#[inline(always)]
fn read_start<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    s.verstat = Verstat::None as u32;
    s.neighbor = 0;
    s.privacy = 0;
    s.asserted_believed = 0;
    s.content_length = u32::MAX;
    message::read_start(host, s);
    // Line ends in front of a start line are skipped by servers: they too can fill a first fragment.
    if s.fragment != 0 && s.kind != Kind::Request as u32 && s.kind != Kind::Response as u32 {
        s.anomalies |= anomaly::TINY_FIRST_FRAGMENT;
    }
}

/// URIs that the policy needs.
#[inline(always)]
fn wanted_uris(needs: u32, texts: u32) -> u32 {
    let mut wanted = 0;
    if needs & need::INSPECT != 0 {
        return (1 << URIS as u32) - 1;
    }
    if needs & (need::CALLED | need::CALLED_FORMAT | need::NEIGHBOR) != 0
        || texts & (1 << Text::RequestUser as u32 | 1 << Text::RequestHost as u32) != 0
    {
        wanted |= 1 << UriOf::Request as u32;
    }
    if needs & (need::CALLING | need::CALLING_FORMAT | need::NEIGHBOR | need::FROM_NUMBER | need::VERSTAT) != 0
        || texts & (1 << Text::FromDisplay as u32 | 1 << Text::FromUser as u32 | 1 << Text::FromHost as u32) != 0
    {
        wanted |= 1 << UriOf::From as u32;
    }
    if texts & (1 << Text::ToUser as u32) != 0 {
        wanted |= 1 << UriOf::To as u32;
    }
    if needs & (need::ASSERTED_IDENTITY | need::ASSERTED_NUMBER) != 0 {
        wanted |= 1 << UriOf::Asserted as u32 | 1 << UriOf::SecondAsserted as u32;
    }
    if needs & need::ASSERTED_IDENTITY != 0 {
        wanted |= 1 << UriOf::RemoteParty as u32;
    }
    if needs & need::FORWARDED != 0 {
        wanted |= 1 << UriOf::Diversion as u32 | 1 << UriOf::History as u32;
    }
    if needs & need::ANOMALY != 0 {
        wanted |= 1 << UriOf::Request as u32 | 1 << UriOf::From as u32 | 1 << UriOf::To as u32;
    }
    wanted
}

/// True if there is a first reading. An inspection reads everything of every message.
#[inline(always)]
const fn reads_first(needs: u32) -> bool {
    needs & need::FIRST_READING != 0 && needs & need::INSPECT == 0
}

/// True if the first reading has taken in the called number.
#[inline(always)]
const fn called_is_read(needs: u32) -> bool {
    reads_first(needs) && needs & need::CALLED != 0
}

/// Reads the values that the policy needs out of the headers.
#[inline(always)]
fn read_values<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let config = host.config();
    let needs = config.needs;
    if needs & (need::ASSERTED_IDENTITY | need::ASSERTED_NUMBER | need::FORWARDED | need::INSPECT) != 0 {
        uri::split_values(host, s);
    }
    let called_is_read = called_is_read(needs);
    let wanted = wanted_uris(needs, config.texts) & !if called_is_read { FIRST_URIS } else { 0 };
    if wanted != 0 {
        uri::read(host, s, wanted);
    }
    if needs & (need::CALLING_FORMAT | need::INSPECT) != 0 {
        crate::headers::read_privacy(host, s);
    }
    read_numbers(host, s);
    if needs & (need::VERSTAT | need::INSPECT) != 0 {
        // A believed source may also mark From, if it asserts no identity.
        let asserts = s.asserted_believed != 0 && s.uri(UriOf::Asserted as u32).flags & uri_flag::PRESENT != 0;
        let of = if asserts { UriOf::Asserted } else { UriOf::From };
        uri::read_verstat(host, s, of as u32);
    }
    if needs & (need::ANOMALY | need::INSPECT) != 0 {
        crate::headers::note_anomalies(host, s);
    }
    if config.texts & (1 << Text::Body as u32 | 1 << Text::SdpSession as u32) != 0 || needs & need::INSPECT != 0 {
        crate::headers::read_body(host, s);
    }
}

/// The numbers of the message, in their normal form, with their classes.
#[inline(never)]
fn read_numbers<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let config = host.config();
    let needs = config.needs;
    let inspect = needs & need::INSPECT != 0;
    if !called_is_read(needs) && (needs & (need::CALLED | need::CALLED_FORMAT | need::NEIGHBOR) != 0 || inspect) {
        set_number(host, s, NumberOf::Called, UriOf::Request as u32);
    }
    if needs & (need::CALLING | need::CALLING_FORMAT | need::NEIGHBOR | need::VERSTAT) != 0 || inspect {
        let mut of = UriOf::From as u32;
        if needs & need::ASSERTED_IDENTITY != 0 {
            let flags = host.address_class(s.source_class).unwrap_or(0);
            if flags & address_flag::ASSERTED_BELIEVED != 0 {
                s.asserted_believed = 1;
                of = believed_identity(s);
            }
        }
        set_number(host, s, NumberOf::Calling, of);
        let format = s.numbers[NumberOf::Calling as usize].format;
        let anonymous = s.privacy != 0 || s.uri(of).flags & uri_flag::ANONYMOUS != 0;
        if anonymous && format != NumberFormat::Missing as u8 {
            s.numbers[NumberOf::Calling as usize].format = NumberFormat::Anonymous as u8;
        }
    }
    if needs & need::FORWARDED != 0 || inspect {
        let diversion = s.uri(UriOf::Diversion as u32).flags & uri_flag::PRESENT != 0;
        set_number(
            host,
            s,
            NumberOf::Forwarded,
            if diversion { UriOf::Diversion as u32 } else { UriOf::History as u32 },
        );
    }
    if needs & need::FROM_NUMBER != 0 || inspect {
        set_number(host, s, NumberOf::From, UriOf::From as u32);
    }
    if needs & need::ASSERTED_NUMBER != 0 || inspect {
        let first = s.uri(UriOf::Asserted as u32).flags & uri_flag::NUMBER != 0;
        let of = if first { UriOf::Asserted } else { UriOf::SecondAsserted };
        set_number(host, s, NumberOf::Asserted, of as u32);
    }
    if needs & need::NEIGHBOR != 0 || inspect {
        let (calling, called) = (s.numbers[NumberOf::Calling as usize], s.numbers[NumberOf::Called as usize]);
        s.neighbor = number::neighbors(&calling, &called, config.numbering.neighbor_digits as u32) as u32;
    }
}

/// The identity that a believed source asserts: the first that holds a number, else From.
#[inline(always)]
fn believed_identity(s: &Scratch) -> u32 {
    if s.uri(UriOf::Asserted as u32).flags & uri_flag::NUMBER != 0 {
        UriOf::Asserted as u32
    } else if s.uri(UriOf::SecondAsserted as u32).flags & uri_flag::NUMBER != 0 {
        UriOf::SecondAsserted as u32
    } else if s.uri(UriOf::RemoteParty as u32).flags & uri_flag::NUMBER != 0 {
        UriOf::RemoteParty as u32
    } else {
        UriOf::From as u32
    }
}

/// Sets a number from a URI.
#[inline(always)]
fn set_number<'m, H: Host<'m>>(host: H, s: &mut Scratch, of: NumberOf, uri: u32) {
    host.call::<SetNumber>(s, of as u32, uri);
}

/// What sets a number from a URI: takes [`NumberOf`] and [`UriOf`].
pub struct SetNumber;

impl Function for SetNumber {
    const KIND: FunctionKind = FunctionKind::SetNumber;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, of: u32, uri: u32) -> u32 {
        let mut number = number::normalise(&host.config().numbering, s.uri(uri));
        number.class = 0;
        if number.key != 0 {
            // From and P-Asserted-Identity mostly hold the calling number, whose class is known by then.
            let calling = s.numbers[NumberOf::Calling as usize];
            number.class = if calling.key == number.key && calling.digits == number.digits {
                calling.class
            } else {
                trie::lookup(&host, Trie::Number, number_key(number.key, number.digits as u32), 0)
            };
            if let Some(class) = host.number_class(number.class) {
                number.format = format(&number, class.min_digits, class.max_digits, class.format);
            }
        }
        s.numbers[of as usize & (NUMBERS - 1)] = number;
        0
    }
}

/// The format of a number, from its class's facts. A short code has no length limits.
#[inline(always)]
fn format(number: &Number, min: u8, max: u8, format: u8) -> u8 {
    if number.digits as u32 <= trie::SHORT_CODE_DIGITS {
        NumberFormat::Valid as u8
    } else if number.digits > max || number.digits as u32 > crate::limits::MAX_DIGITS {
        NumberFormat::TooLong as u8
    } else if number.digits < min {
        NumberFormat::TooShort as u8
    } else {
        format
    }
}

/// Narrows the candidates by everything that the message says, texts aside, and the first reading, if there was one, has not
/// taken in.
#[inline(never)]
fn narrow_by_message<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let needs = host.config().needs;
    if !reads_first(needs) {
        narrow_by_start_line(host, s);
    }
    narrow_by_number(host, s, need::CALLING, Dimension::Calling, NumberOf::Calling);
    narrow_by_number(host, s, need::FORWARDED, Dimension::Forwarded, NumberOf::Forwarded);
    narrow_by_number(host, s, need::FROM_NUMBER, Dimension::FromNumber, NumberOf::From);
    narrow_by_number(host, s, need::ASSERTED_NUMBER, Dimension::AssertedNumber, NumberOf::Asserted);
    if needs & need::CALLING_FORMAT != 0 {
        evaluate::narrow(host, s, Dimension::CallingFormat, s.numbers[NumberOf::Calling as usize].format as u32);
    }
    if needs & need::ATTESTATION != 0 {
        evaluate::narrow(host, s, Dimension::Attestation, s.attestation);
    }
    if needs & need::NEIGHBOR != 0 {
        evaluate::narrow(host, s, Dimension::Neighbor, s.neighbor);
    }
    if needs & need::VERSTAT != 0 {
        evaluate::narrow(host, s, Dimension::Verstat, s.verstat);
    }
}

#[inline(always)]
fn narrow_by_number<'m, H: Host<'m>>(host: H, s: &mut Scratch, bit: u32, dimension: Dimension, of: NumberOf) {
    if host.config().needs & bit != 0 {
        evaluate::narrow(host, s, dimension, s.numbers[of as usize].class);
    }
}

const _: () = assert!(Header::Other as usize == HEADERS - 1);
