//! The naive reader: from a frame to what a policy can ask about, one step after the other over byte slices.
//!
//! Written from RFC 3261, RFC 3966, RFC 3325 and the documentation of `filter-core`, not from its code: no words of eight
//! bytes, no cursors in shared memory, no tables. Where a message leaves room for two readings, the comments say which one
//! is taken.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use filter_core::{
    layout::{Attestation, Method, NumberFormat, Per, TEXTS, Text, Transport, Verstat, anomaly},
    limits::{INSPECTED_LENGTH, MAX_HEADER_LINES},
    reason::{Reason, Verdict},
    scratch::{Header, Kind, UriOf},
};
use filter_policy::model::{Numbering, Policy, Rule, Test};

use super::evaluate::{self, Numbers, Outcome, Readings};

/// What comes of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub reason: Reason,
    pub rule: Option<usize>,
    /// Rules in report mode that matched, in order.
    pub would: Vec<usize>,
    /// All rules that matched, in order.
    pub matched: Vec<usize>,
}

impl Decision {
    fn without_rule(reason: Reason) -> Self {
        Self { reason, rule: None, would: Vec::new(), matched: Vec::new() }
    }
}

/// What outlives a packet.
#[derive(Debug, Default)]
pub struct Memory {
    fragments: HashSet<FragmentKey>,
    flows: HashSet<FlowKey>,
    banned: HashSet<IpAddr>,
}

type FragmentKey = (IpAddr, IpAddr, u32);
type FlowKey = (IpAddr, IpAddr, u16, u16);

/// Decides about a frame. The message is returned where the payload was looked at.
/// `inspect` says that messages are read whether a rule asks about them or not.
pub fn decide(policy: &Policy, inspect: bool, memory: &mut Memory, frame: &[u8]) -> (Decision, Option<Message>) {
    let packet = match read_frame(frame, &policy.ports) {
        Frame::Other(reason) => return (Decision::without_rule(reason), None),
        Frame::LaterFragment(key) => {
            let dropped = memory.fragments.contains(&key);
            let reason = if dropped { Reason::FragmentOfDropped } else { Reason::FragmentLater };
            return (Decision::without_rule(reason), None);
        }
        Frame::Packet(packet) => packet,
    };
    let flow = (packet.source, packet.destination, packet.source_port, packet.port);
    let is_stream = packet.transport != Transport::Udp;
    if is_stream && packet.opens {
        // Another connection on the same ports: nothing is held against it.
        memory.flows.remove(&flow);
    }
    if is_stream && memory.flows.contains(&flow) {
        packet.fragment.map(|key| memory.fragments.insert(key));
        return (Decision::without_rule(Reason::FlowOfDropped), None);
    }
    if memory.banned.contains(&packet.source) {
        packet.fragment.map(|key| memory.fragments.insert(key));
        return (Decision::without_rule(Reason::Banned), None);
    }
    let mut message = read_payload(policy, &packet);
    if is_stream && !message.is_sip() && message.kind != Kind::KeepAlive {
        // The rest of a message that began in another segment says nothing of itself.
        message.anomalies &= anomaly::TINY_FIRST_FRAGMENT;
    }
    let readings = readings(&packet, &message);
    let outcome = evaluate::evaluate(policy, &readings);
    let before_message = outcome.rule.is_some() && !needs_message(policy, &readings, &outcome);
    let reason = match (outcome.rule, message.kind) {
        (Some(_), _) | (None, Kind::Request | Kind::Response) => outcome.reason,
        // In a stream the default is for messages.
        (None, Kind::Empty) if is_stream => Reason::StreamWithoutMessage,
        (None, Kind::KeepAlive)
            if is_stream && (inspect || policy.default_drop || policy.rules.iter().any(asks_message)) =>
        {
            Reason::StreamWithoutMessage
        }
        // Without a rule about messages it need not be known whether this is one.
        (None, _) if is_stream && !inspect && !policy.default_drop && !policy.rules.iter().any(asks_message) => {
            outcome.reason
        }
        (None, _) if is_stream => Reason::MidMessage,
        (None, _) => outcome.reason,
    };
    if let Some(rule) = outcome.rule.filter(|_| reason == Reason::RuleBan)
        && policy.rules[rule].argument > 0
        && !evaluate::in_addresses(&policy.never_ban, packet.source)
    {
        memory.banned.insert(packet.source);
    }
    if reason.verdict() == Verdict::Drop {
        packet.fragment.map(|key| memory.fragments.insert(key));
        let is_read = !before_message && (message.is_sip() || message.kind == Kind::KeepAlive);
        if packet.transport == Transport::Tcp && is_read {
            memory.flows.insert(flow);
        }
    } else if let Some(key) = packet.fragment {
        // The identification is in use again, for a datagram that passes.
        memory.fragments.remove(&key);
    }
    let mut matched = [outcome.would.clone(), outcome.pinholes, outcome.rule.into_iter().collect()].concat();
    matched.sort_unstable();
    (Decision { reason, rule: outcome.rule, would: outcome.would, matched }, (!before_message).then_some(message))
}

/// True if a rule had to be asked that only a message can answer, before one decided.
fn needs_message(policy: &Policy, readings: &Readings, outcome: &Outcome) -> bool {
    let mut skipped: Vec<&str> = Vec::new();
    for (index, rule) in policy.rules.iter().enumerate() {
        if Some(index) > outcome.rule {
            break;
        }
        if skipped.contains(&rule.stage.as_str()) || !packet_conditions_hold(policy, rule, readings) {
            continue;
        }
        if asks_message(rule) || Some(index) == outcome.rule {
            return asks_message(rule);
        }
        if outcome.pinholes.contains(&index) {
            skipped.push(&rule.stage);
            if rule.action == filter_core::layout::Action::BypassFraudControl {
                skipped.push("fraud");
            }
        }
    }
    false
}

fn is_packet_test(test: &Test) -> bool {
    matches!(test, Test::Source(_) | Test::Destination(_) | Test::Transport(_) | Test::Port(_))
}

fn packet_conditions_hold(policy: &Policy, rule: &Rule, readings: &Readings) -> bool {
    let mut conditions = rule.conditions.iter().filter(|condition| is_packet_test(&condition.test));
    conditions.all(|condition| evaluate::holds(policy, condition, readings))
}

fn asks_message(rule: &Rule) -> bool {
    let of_number = |per: Per| matches!(per, Per::Called | Per::CalledPrefix | Per::Calling | Per::CallingPrefix);
    rule.conditions.iter().any(|condition| !is_packet_test(&condition.test))
        || rule.over.as_ref().is_some_and(|over| of_number(over.per))
}

// ---------------------------------------------------------------------------------------------------------------- packets

/// What a frame is.
#[derive(Clone, Debug)]
pub enum Frame {
    Other(Reason),
    LaterFragment(FragmentKey),
    Packet(Packet),
}

/// A packet for a signalling port.
#[derive(Clone, Debug)]
pub struct Packet {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub source_port: u16,
    pub port: u16,
    pub transport: Transport,
    /// The first fragment of this datagram.
    pub fragment: Option<FragmentKey>,
    /// A TCP segment that opens a connection.
    pub opens: bool,
    pub payload: Vec<u8>,
}

impl Packet {
    /// Nothing in it can be read.
    fn is_closed(&self) -> bool {
        self.transport == Transport::Tls || (self.transport == Transport::Tcp && self.payload.is_empty())
    }
}

/// The IP header's part of a packet.
struct Datagram<'a> {
    source: IpAddr,
    destination: IpAddr,
    fragment: Option<FragmentKey>,
    protocol: u8,
    /// From the transport header to the end of the frame.
    rest: &'a [u8],
    /// Bytes of `rest` that belong to the datagram; negative if its headers claim more than it has.
    length: isize,
    /// Offset of `rest` in the frame.
    offset: usize,
}

/// Reads the headers of a frame.
pub fn read_frame(frame: &[u8], ports: &[(u16, Transport)]) -> Frame {
    if frame.len() < 14 {
        return Frame::Other(Reason::EthernetTruncated);
    }
    let is_tag = |ethertype: u16| [0x8100, 0x88a8, 0x9100].contains(&ethertype);
    let mut ethertype = be16(&frame[12..]);
    let mut offset = 14;
    for _ in 0..2 {
        if is_tag(ethertype) {
            if frame.len() < offset + 4 {
                return Frame::Other(Reason::EthernetTruncated);
            }
            ethertype = be16(&frame[offset + 2..]);
            offset += 4;
        }
    }
    let datagram = match ethertype {
        0x0800 => read_ipv4(frame, offset),
        0x86dd => read_ipv6(frame, offset),
        _ if is_tag(ethertype) => return Frame::Other(Reason::VlanTooDeep),
        _ => return Frame::Other(Reason::NotSignalling),
    };
    match datagram {
        Ok(datagram) => read_transport(&datagram, ports).map_or_else(Frame::Other, Frame::Packet),
        Err(other) => other,
    }
}

fn be16(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[0], bytes[1]])
}

fn read_ipv4(frame: &[u8], offset: usize) -> Result<Datagram<'_>, Frame> {
    let ip = &frame[offset..];
    if ip.len() < 20 {
        return Err(Frame::Other(Reason::Ipv4Truncated));
    }
    if ip[9] != 6 && ip[9] != 17 {
        return Err(Frame::Other(Reason::NotSignalling));
    }
    let header = usize::from(ip[0] % 16) * 4;
    let total = usize::from(be16(&ip[2..]));
    if ip[0] / 16 != 4 || header < 20 || total < header {
        return Err(Frame::Other(Reason::Ipv4Malformed));
    }
    if total > ip.len() {
        return Err(Frame::Other(Reason::Ipv4Truncated));
    }
    let address = |at: usize| IpAddr::V4(Ipv4Addr::new(ip[at], ip[at + 1], ip[at + 2], ip[at + 3]));
    let (source, destination) = (address(12), address(16));
    let key = (source, destination, u32::from(be16(&ip[4..])));
    let (more, place) = (ip[6] & 0x20 != 0, be16(&ip[6..]) & 0x1fff);
    if place != 0 {
        return Err(Frame::LaterFragment(key));
    }
    Ok(Datagram {
        source,
        destination,
        fragment: more.then_some(key),
        protocol: ip[9],
        rest: &ip[header..],
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
        return Err(Frame::Other(Reason::Ipv6Truncated));
    }
    if ip[0] / 16 != 6 {
        return Err(Frame::Other(Reason::Ipv6Malformed));
    }
    let mut protocol = ip[6];
    if !is_transport(protocol) && !is_extension(protocol) {
        return Err(Frame::Other(Reason::NotSignalling));
    }
    let mut length = usize::from(be16(&ip[4..]));
    if length == 0 && protocol == HOP_BY_HOP {
        // What Linux makes of it: the rest of the frame.
        length = ip.len() - 40;
    } else if length == 0 {
        return Err(Frame::Other(Reason::Ipv6Malformed));
    }
    if 40 + length > ip.len() {
        return Err(Frame::Other(Reason::Ipv6Truncated));
    }
    let address = |at: usize| {
        let bytes: [u8; 16] = ip[at..at + 16].try_into().expect("sixteen bytes");
        IpAddr::V6(Ipv6Addr::from(bytes))
    };
    let (source, destination) = (address(8), address(24));
    let mut at = 40;
    let mut fragment = None;
    // Extension headers are followed as far as they begin in the first two kilobytes.
    let mut followed = 0;
    while is_extension(protocol) && followed < 256 && offset + at <= 2047 {
        followed += 1;
        let Some(header) = ip.get(at..at + 8) else { return Err(Frame::Other(Reason::Ipv6Truncated)) };
        at += match protocol {
            FRAGMENT => 8,
            AUTHENTICATION => (usize::from(header[1]) + 2) * 4,
            _ => (usize::from(header[1]) + 1) * 8,
        };
        if protocol == FRAGMENT {
            let key = (source, destination, u32::from_be_bytes([header[4], header[5], header[6], header[7]]));
            let (place, more) = (be16(&header[2..]) / 8, header[3] & 1 != 0);
            if place != 0 {
                return Err(Frame::LaterFragment(key));
            }
            // One that is neither followed nor preceded by others is a whole datagram (RFC 6946).
            fragment = more.then_some(key);
        }
        protocol = header[0];
    }
    if is_extension(protocol) {
        return Err(Frame::Other(Reason::Ipv6TooManyExtensions));
    }
    if !is_transport(protocol) {
        return Err(Frame::Other(Reason::NotSignalling));
    }
    Ok(Datagram {
        source,
        destination,
        fragment,
        protocol,
        rest: ip.get(at..).unwrap_or(&[]),
        length: 40 + length as isize - at as isize,
        offset: offset + at,
    })
}

fn read_transport(datagram: &Datagram<'_>, ports: &[(u16, Transport)]) -> Result<Packet, Reason> {
    if datagram.offset > 2047 {
        return Err(Reason::Ipv6TooManyExtensions);
    }
    let is_udp = datagram.protocol == 17;
    if !is_udp && datagram.fragment.is_some() && (8..20).contains(&datagram.length) {
        // A first fragment too short for the header (RFC 1858): its ports are there, what it carries comes later.
        let (source_port, port) = (be16(datagram.rest), be16(&datagram.rest[2..]));
        let service = ports.iter().find(|service| service.0 == port && service.1 != Transport::Udp);
        let &(_, transport) = service.ok_or(Reason::NotSignalling)?;
        return Ok(Packet {
            source: datagram.source,
            destination: datagram.destination,
            source_port,
            port,
            transport,
            fragment: datagram.fragment,
            opens: false,
            payload: Vec::new(),
        });
    }
    let (header, truncated) = if is_udp { (8, Reason::UdpTruncated) } else { (20, Reason::TcpTruncated) };
    if datagram.rest.len() < header {
        return Err(truncated);
    }
    let (source_port, port) = (be16(datagram.rest), be16(&datagram.rest[2..]));
    let service = ports.iter().find(|service| service.0 == port && (service.1 == Transport::Udp) == is_udp);
    let Some(&(_, transport)) = service else { return Err(Reason::NotSignalling) };
    if datagram.length < header as isize {
        return Err(truncated);
    }
    let bytes = &datagram.rest[..datagram.length as usize];
    let payload = if is_udp {
        let mut length = usize::from(be16(&bytes[4..]));
        if length == 0 && datagram.source.is_ipv6() {
            // What Linux makes of it: all there is.
            length = bytes.len();
        }
        // A first fragment claims the length of the whole datagram.
        if length < 8 || (length > bytes.len() && datagram.fragment.is_none()) {
            return Err(Reason::UdpMalformed);
        }
        &bytes[8..length.min(bytes.len())]
    } else {
        let length = usize::from(bytes[12] / 16) * 4;
        if length < 20 || length > bytes.len() {
            return Err(Reason::TcpMalformed);
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
        payload: payload.to_vec(),
    })
}

// --------------------------------------------------------------------------------------------------------------- messages

/// What a payload is, and what it says.
#[derive(Clone, Debug)]
pub struct Message {
    pub kind: Kind,
    pub anomalies: u32,
    pub method: Method,
    /// The method or the status code as written.
    pub written_method: Vec<u8>,
    /// By `Text`, without the white space around it.
    pub texts: [Option<Vec<u8>>; TEXTS],
    /// By `UriOf`; empty where there is none.
    pub users: [Vec<u8>; 8],
    pub numbers: Numbers,
    pub calling_format: NumberFormat,
    pub called_format: NumberFormat,
    pub attestation: Attestation,
    pub verstat: Verstat,
    pub privacy: bool,
    pub content_length: Option<u32>,
    /// Header fields that were there.
    pub seen: Vec<Header>,
}

impl Message {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            anomalies: 0,
            method: Method::None,
            written_method: Vec::new(),
            texts: std::array::from_fn(|_| None),
            users: std::array::from_fn(|_| Vec::new()),
            numbers: Numbers::default(),
            calling_format: NumberFormat::Missing,
            called_format: NumberFormat::Missing,
            attestation: Attestation::None,
            verstat: Verstat::None,
            privacy: false,
            content_length: None,
            seen: Vec::new(),
        }
    }

    /// True for a request or a response.
    pub fn is_sip(&self) -> bool {
        matches!(self.kind, Kind::Request | Kind::Response)
    }
}

/// What rules are asked about.
fn readings(packet: &Packet, message: &Message) -> Readings {
    Readings {
        source: packet.source,
        destination: packet.destination,
        transport: packet.transport,
        port: packet.port,
        is_message: message.is_sip(),
        anomalies: message.anomalies,
        method: message.method,
        texts: message.texts.clone(),
        numbers: message.numbers.clone(),
        calling_format: message.calling_format,
        called_format: message.called_format,
        attestation: message.attestation,
        verstat: message.verstat,
        exceeded: Vec::new(),
    }
}

fn is_blank(byte: u8) -> bool {
    byte <= b' '
}

fn is_line_end(byte: u8) -> bool {
    byte == b'\r' || byte == b'\n'
}

/// The position of the first byte from `from` on that is one; the length if there is none.
fn find(bytes: &[u8], from: usize, is: impl Fn(u8) -> bool) -> usize {
    (from..bytes.len()).find(|&at| is(bytes[at])).unwrap_or(bytes.len())
}

pub fn trimmed(bytes: &[u8]) -> &[u8] {
    let start = find(bytes, 0, |byte| !is_blank(byte));
    let end = bytes.iter().rposition(|&byte| !is_blank(byte)).map_or(start, |last| last + 1);
    &bytes[start..end]
}

fn read_payload(policy: &Policy, packet: &Packet) -> Message {
    let mut message = read_whole_payload(policy, packet);
    // What a first fragment is without its start line cannot be told, even if it holds line ends only.
    if packet.fragment.is_some() && !message.is_sip() {
        message.anomalies |= anomaly::TINY_FIRST_FRAGMENT;
    }
    message
}

fn read_whole_payload(policy: &Policy, packet: &Packet) -> Message {
    if packet.is_closed() || packet.payload.is_empty() {
        return Message::new(Kind::Empty);
    }
    let inspected = &packet.payload[..packet.payload.len().min(INSPECTED_LENGTH)];
    let mut message = Message::new(Kind::NotSip);
    let start = find(inspected, 0, |byte| !is_line_end(byte));
    let visible = find(inspected, start, |byte| !is_blank(byte));
    if start == inspected.len() {
        message.kind = Kind::KeepAlive;
        return message;
    }
    if visible != start {
        // RFC 8489 section 5: two zero bits, and the magic cookie.
        if inspected.len() >= 20 && inspected[0] < 0x40 && inspected[4..8] == [0x21, 0x12, 0xa4, 0x42] {
            message.kind = Kind::Stun;
            return message;
        }
        if visible == inspected.len() {
            message.kind = Kind::KeepAlive;
            return message;
        }
        message.anomalies |= anomaly::MALFORMED_START_LINE;
    }
    let end = find(inspected, visible, is_line_end);
    let (mut behind, mut odd) = (end, false);
    if end < inspected.len() {
        (behind, odd) = behind_line_end(inspected, end);
        read_start_line(&mut message, &inspected[visible..end]);
    }
    if odd {
        message.anomalies |= anomaly::CONTROL_CHARACTER;
    }
    if message.kind == Kind::NotSip {
        message.anomalies = anomaly::NOT_SIP;
        return message;
    }
    let request_uri = &inspected[visible..end];
    read_fields(policy, packet, &mut message, request_uri, &inspected[behind..], behind);
    message
}

/// Where the line behind a line end begins, and whether that is odd: a carriage return without a line feed ends a line for
/// some servers and not for others, several before a line feed end the headers for some. Here they end a line, once.
fn behind_line_end(bytes: &[u8], at: usize) -> (usize, bool) {
    if bytes[at] == b'\n' {
        return (at + 1, false);
    }
    if bytes.get(at + 1) == Some(&b'\n') {
        return (at + 2, false);
    }
    let behind = find(bytes, at, |byte| byte != b'\r');
    (behind + usize::from(bytes.get(behind) == Some(&b'\n')), behind < bytes.len())
}

/// A token of the form `SIP/2.0`, of any case and version.
fn is_version(word: &[u8]) -> bool {
    word.len() == 7
        && word[..4].eq_ignore_ascii_case(b"SIP/")
        && word[4].is_ascii_digit()
        && word[5] == b'.'
        && word[6].is_ascii_digit()
}

/// The words of a line with their places.
fn words(line: &[u8]) -> Vec<(usize, &[u8])> {
    let mut words = Vec::new();
    let mut at = 0;
    loop {
        let start = find(line, at, |byte| !is_blank(byte));
        if start == line.len() {
            return words;
        }
        let end = find(line, start, is_blank);
        words.push((start, &line[start..end]));
        at = end;
    }
}

/// RFC 3261 section 7.1 and 7.2. White space other than single spaces is read over, and an anomaly.
fn read_start_line(message: &mut Message, line: &[u8]) {
    let words = words(line);
    let single = |a: usize, b: usize| words[b].0 - (words[a].0 + words[a].1.len()) == 1;
    let first = words[0].1;
    if first.len() >= 4 && first[..4].eq_ignore_ascii_case(b"SIP/") {
        let Some((_, code)) = words.get(1) else { return };
        if !code[0].is_ascii_digit() {
            return;
        }
        message.kind = Kind::Response;
        message.method = Method::Response;
        message.written_method = code.to_vec();
        if first.len() != 7 || &first[4..] != b"2.0" {
            message.anomalies |= anomaly::UNSUPPORTED_VERSION;
        }
        if code.len() != 3 || !single(0, 1) {
            message.anomalies |= anomaly::MALFORMED_START_LINE;
        }
        return;
    }
    // The version is looked for among the words behind the URI; a URI with a space in it is an anomaly, but is read.
    let Some(version) = (2..words.len().min(2 + 1 + 32)).find(|&index| is_version(words[index].1)) else { return };
    message.kind = Kind::Request;
    message.written_method = first.to_vec();
    message.method = method(first);
    if &words[version].1[4..] != b"2.0" {
        message.anomalies |= anomaly::UNSUPPORTED_VERSION;
    }
    let behind = &line[words[version].0 + 7..];
    let well_formed = version == 2 && single(0, 1) && single(1, 2) && behind.is_empty() && words[1].1[0] != b'<';
    if !well_formed {
        message.anomalies |= anomaly::MALFORMED_START_LINE;
    }
}

/// Method names are case-sensitive, but servers are not: `invite` starts a call.
fn method(name: &[u8]) -> Method {
    match name.to_ascii_uppercase().as_slice() {
        b"ACK" => Method::Ack,
        b"BYE" => Method::Bye,
        b"CANCEL" => Method::Cancel,
        b"INFO" => Method::Info,
        b"INVITE" => Method::Invite,
        b"MESSAGE" => Method::Message,
        b"NOTIFY" => Method::Notify,
        b"OPTIONS" => Method::Options,
        b"PRACK" => Method::Prack,
        b"PUBLISH" => Method::Publish,
        b"REFER" => Method::Refer,
        b"REGISTER" => Method::Register,
        b"SUBSCRIBE" => Method::Subscribe,
        b"UPDATE" => Method::Update,
        _ => Method::Other,
    }
}

/// Header fields that are known: long name, compact name, and whether a message may have several.
const FIELDS: [(Header, &[u8], &[u8], bool); 17] = [
    (Header::AssertedIdentity, b"p-asserted-identity", b"", true),
    (Header::CSeq, b"cseq", b"", false),
    (Header::CallId, b"call-id", b"i", false),
    (Header::Contact, b"contact", b"m", true),
    (Header::ContentLength, b"content-length", b"l", false),
    (Header::ContentType, b"content-type", b"c", false),
    (Header::Diversion, b"diversion", b"", true),
    (Header::From, b"from", b"f", false),
    (Header::HistoryInfo, b"history-info", b"", true),
    (Header::Identity, b"identity", b"y", true),
    (Header::Privacy, b"privacy", b"", true),
    (Header::RemotePartyId, b"remote-party-id", b"", true),
    (Header::Server, b"server", b"", false),
    (Header::Subject, b"subject", b"s", false),
    (Header::To, b"to", b"t", false),
    (Header::UserAgent, b"user-agent", b"", false),
    (Header::Via, b"via", b"v", true),
];

/// The header fields of a message, in order.
struct Fields {
    fields: Vec<(Header, Vec<u8>)>,
    /// Offset of the body in what was given; none without a blank line.
    body: Option<usize>,
    anomalies: u32,
}

impl Fields {
    fn all(&self, header: Header) -> Vec<&[u8]> {
        self.fields.iter().filter(|field| field.0 == header).map(|field| field.1.as_slice()).collect()
    }

    fn first(&self, header: Header) -> Option<&[u8]> {
        self.all(header).first().copied()
    }
}

/// Lines with their line ends.
fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split_inclusive(|&byte| byte == b'\n').collect()
}

fn read_lines(bytes: &[u8]) -> Fields {
    let mut fields = Fields { fields: Vec::new(), body: None, anomalies: 0 };
    let mut is_open = false;
    let mut next = 0;
    for _ in 0..=MAX_HEADER_LINES {
        let at = next;
        if at >= bytes.len() {
            break;
        }
        if is_line_end(bytes[at]) {
            fields.body = Some(at + if bytes[at..].starts_with(b"\r\n") { 2 } else { 1 });
            break;
        }
        let end = find(bytes, at, is_line_end);
        if end < bytes.len() {
            let (behind, odd) = behind_line_end(bytes, end);
            next = behind;
            if odd {
                fields.anomalies |= anomaly::CONTROL_CHARACTER;
            }
        } else {
            next = end;
        }
        let line = &bytes[at..next];
        if line[0] == b' ' || line[0] == b'\t' {
            // Folded (RFC 3261 section 7.3.1).
            if let Some((_, value)) = fields.fields.last_mut().filter(|_| is_open) {
                value.extend_from_slice(line);
            }
            continue;
        }
        is_open = false;
        let name_end = find(line, 0, |byte| [b':', b' ', b'\t'].contains(&byte));
        let colon = find(line, name_end, |byte| byte != b' ' && byte != b'\t');
        let name = line[..name_end].to_ascii_lowercase();
        let known = FIELDS.iter().find(|field| name == field.1 || (name == field.2 && !name.is_empty()));
        match known {
            Some(field) if line.get(colon) == Some(&b':') => {
                fields.fields.push((field.0, line[colon + 1..].to_vec()));
                is_open = true;
            }
            Some(_) => fields.anomalies |= anomaly::MALFORMED_HEADER,
            None => fields.anomalies |= unknown_line(&bytes[at..end]),
        }
    }
    if fields.body.is_none() {
        fields.anomalies |= anomaly::HEADERS_BEYOND_INSPECTED_LENGTH;
    }
    for (header, _, _, multiple) in FIELDS {
        if !multiple && fields.all(header).len() > 1 {
            fields.anomalies |= anomaly::DUPLICATE_HEADER;
        }
    }
    fields
}

/// What is wrong with the name of an unknown header field: no colon, a control character, white space but at its end.
fn unknown_line(line: &[u8]) -> u32 {
    let Some(colon) = line.iter().position(|&byte| byte == b':') else { return anomaly::MALFORMED_HEADER };
    let name = &line[..colon];
    match name.iter().find(|&&byte| is_blank(byte)) {
        Some(b' ' | b'\t') if words(name).len() < 2 && !is_blank(name[0]) => 0,
        Some(b' ' | b'\t') => anomaly::MALFORMED_HEADER,
        Some(_) => anomaly::CONTROL_CHARACTER,
        None => 0,
    }
}

fn read_fields(
    policy: &Policy,
    packet: &Packet,
    message: &mut Message,
    start_line: &[u8],
    bytes: &[u8],
    offset: usize,
) {
    let fields = read_lines(bytes);
    message.anomalies |= fields.anomalies;
    message.seen = fields.fields.iter().map(|field| field.0).collect();
    let mandatory = [Header::From, Header::To, Header::CallId, Header::CSeq, Header::Via];
    if fields.body.is_some() && mandatory.iter().any(|header| fields.first(*header).is_none()) {
        message.anomalies |= anomaly::MISSING_HEADER;
    }
    read_attestation(message, &fields);
    if let Some(privacy) = fields.first(Header::Privacy) {
        message.privacy = privacy.split(|&byte| byte == b';').take(16).any(|value| {
            let value = &value[find(value, 0, |byte| !is_blank(byte))..];
            let end = find(value, 0, |byte| is_blank(byte) || byte == b',');
            value[..end].eq_ignore_ascii_case(b"id")
        });
    }
    let uris = read_uris(message, start_line, &fields);
    read_numbers(policy, packet, message, &uris);
    read_texts(message, &fields, &uris);
    for (user, uri) in message.users.iter_mut().zip(&uris) {
        *user = uri.user.clone();
    }
    read_body(message, &fields, bytes);
    read_content_length(packet, message, &fields, bytes, offset);
}

/// RFC 8225 section 9: the payload of a SHAKEN PASSporT begins with its attestation; in base64url these are sixteen
/// characters behind the first full stop. Nothing else is a claim.
fn read_attestation(message: &mut Message, fields: &Fields) {
    for value in fields.all(Header::Identity) {
        if matches!(message.attestation, Attestation::A | Attestation::B | Attestation::C) {
            break;
        }
        message.attestation = Attestation::Unknown;
        let Some((_, token)) = words(value).into_iter().next() else { continue };
        let Some(dot) = token.iter().position(|&byte| byte == b'.') else { continue };
        let payload = &token[dot + 1..];
        if payload.len() > 16 && payload.starts_with(b"eyJhdHRlc3QiOiJ") {
            message.attestation = match payload[15] {
                b'B' => Attestation::A,
                b'C' => Attestation::B,
                b'D' => Attestation::C,
                _ => Attestation::Unknown,
            };
        }
    }
}

// ------------------------------------------------------------------------------------------------------------------- URIs

/// What is read of the URI of a header field.
#[derive(Clone, Debug, Default)]
struct Uri {
    is_present: bool,
    is_malformed: bool,
    is_anonymous: bool,
    display: Vec<u8>,
    user: Vec<u8>,
    host: Vec<u8>,
    /// What stands between the number and the end of the URI.
    behind_number: Vec<u8>,
    number: Option<Digits>,
}

/// The digits of a user part, and whether a plus stands before them.
#[derive(Clone, Debug)]
struct Digits {
    plus: bool,
    digits: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Bare,
    Enclosed,
}

/// The URIs, by `UriOf`.
fn read_uris(message: &mut Message, start_line: &[u8], fields: &Fields) -> [Uri; 8] {
    let request = if message.kind == Kind::Request {
        let at = words(start_line)[1].0;
        let at = at + usize::from(start_line[at] == b'<');
        uri(&start_line[at..], Form::Enclosed)
    } else {
        Uri::default()
    };
    let asserted = fields.all(Header::AssertedIdentity);
    // The second identity: of the second line, else the second value of the first.
    let second = asserted.get(1).copied().or_else(|| asserted.first().and_then(|line| values(line).get(1).copied()));
    let history = fields.all(Header::HistoryInfo);
    // The entry before the last, which is the current target (RFC 7044 section 5).
    let entries: Vec<&[u8]> = history.iter().rev().take(2).rev().flat_map(|line| values(line)).collect();
    let earlier = entries.len().checked_sub(2).map(|index| entries[index]);
    let name_addr = |value: Option<&[u8]>| value.map(name_addr).unwrap_or_default();
    let uris = [
        request,
        name_addr(fields.first(Header::From)),
        name_addr(fields.first(Header::To)),
        name_addr(asserted.first().copied()),
        name_addr(second),
        name_addr(fields.first(Header::RemotePartyId)),
        name_addr(fields.first(Header::Diversion)),
        name_addr(earlier),
    ];
    if [UriOf::Request, UriOf::From, UriOf::To].iter().any(|of| uris[*of as usize].is_malformed) {
        message.anomalies |= anomaly::MALFORMED_URI;
    }
    uris
}

/// The values of a header field: what commas separate outside of quotes and angle brackets, each to the end of the line
/// (reading one ends where its URI does). After 256 quotes, brackets and commas the rest is one value.
fn values(line: &[u8]) -> Vec<&[u8]> {
    let mut starts = vec![0];
    let mut at = 0;
    let mut is_quoted = false;
    for _ in 0..256 {
        at = find(line, at, |byte| match byte {
            b'"' | b'\\' => true,
            b',' | b'<' => !is_quoted,
            _ => false,
        });
        match line.get(at) {
            None => break,
            Some(b'\\') => at += escaped(line, at, is_quoted),
            Some(b'"') => is_quoted = !is_quoted,
            Some(b'<') => at = find(line, at + 1, |byte| byte == b'>' || is_blank(byte)),
            Some(_) => starts.push(at + 1),
        }
        at += 1;
    }
    starts.into_iter().map(|start| &line[start..]).collect()
}

/// How many bytes a backslash takes with it: in quotes any one, outside (where it means nothing) a quote, which some senders
/// mean as such.
fn escaped(text: &[u8], at: usize, is_quoted: bool) -> usize {
    usize::from(is_quoted || text.get(at + 1) == Some(&b'"'))
}

/// True if the text begins with a scheme whose URIs have a user part.
fn scheme(text: &[u8]) -> Option<&'static [u8]> {
    let begins = |scheme: &&&[u8]| text.len() >= scheme.len() && text[..scheme.len()].eq_ignore_ascii_case(scheme);
    [&b"sip:"[..], b"sips:", b"tel:"].iter().find(begins).copied()
}

/// `name-addr / addr-spec` (RFC 3261 section 25.1), and what is sent in their place.
fn name_addr(value: &[u8]) -> Uri {
    let value = &value[find(value, 0, |byte| !is_blank(byte))..];
    if value.is_empty() {
        return Uri::default();
    }
    if scheme(value).is_some() {
        // An addr-spec, unless an angle bracket follows before quotes and parameters: then that was a display name.
        let stop = find(value, 0, |byte| [b'<', b';', b'"'].contains(&byte));
        if value.get(stop) != Some(&b'<') {
            return uri(value, Form::Bare);
        }
        return Uri { display: value[..stop].to_vec(), ..uri(&value[stop + 1..], Form::Enclosed) };
    }
    let mut display = None;
    let mut quote = None;
    let mut at = 0;
    for _ in 0..256 {
        at = find(value, at, |byte| byte == b'"' || byte == b'\\' || (byte == b'<' && quote.is_none()));
        match (value.get(at), quote) {
            (None, _) => break,
            (Some(b'\\'), quote) => at += escaped(value, at, quote.is_some()),
            (Some(b'"'), None) => quote = Some(at + 1),
            (Some(b'"'), Some(start)) => {
                display = Some(start..at);
                quote = None;
            }
            (Some(_), _) => {
                let display = display.unwrap_or(0..at);
                return Uri { display: value[display].to_vec(), ..uri(&value[at + 1..], Form::Enclosed) };
            }
        }
        at += 1;
    }
    if quote.is_some() || at < value.len() {
        // A string that does not end, or more quotes than are followed.
        return Uri { is_malformed: true, ..Uri::default() };
    }
    // `"name" sip:user@host`, or a URI of another scheme.
    let start = display.as_ref().map_or(0, |display| display.end + 1);
    Uri {
        display: display.map(|display| value[display].to_vec()).unwrap_or_default(),
        ..uri(&value[start..], Form::Bare)
    }
}

/// Reads a URI. In angle brackets and in a request line it ends at `>` or white space; a bare one ends at its first
/// semicolon or comma too.
fn uri(text: &[u8], form: Form) -> Uri {
    let mut read = Uri { is_present: true, ..Uri::default() };
    let text = &text[find(text, 0, |byte| !is_blank(byte))..];
    let Some(scheme) = scheme(text) else { return read };
    let text = &text[scheme.len()..];
    let ends = |byte: u8| byte == b'>' || is_blank(byte) || (form == Form::Bare && (byte == b';' || byte == b','));
    if scheme == b"tel:" {
        let end = find(text, 0, |byte| [b';', b'>', b'?', b','].contains(&byte) || is_blank(byte));
        read.host = text[end..find(text, end, ends)].to_vec();
        read.set_user(&text[..end], end);
        read.behind_number = read.host.clone();
        return read;
    }
    // A semicolon before the @ belongs to the user part; behind a colon stands a password.
    let stops = |byte: u8| byte == b'@' || byte == b'>' || is_blank(byte);
    let number_end = find(text, 0, |byte| byte == b':' || byte == b';' || stops(byte));
    let user_end = find(text, number_end, |byte| byte == b':' || stops(byte));
    let at = find(text, user_end, stops);
    let mut host_start = 0;
    if text.get(at) == Some(&b'@') {
        // In a bare addr-spec parameters of the header may hold an @; but a number in front of them has user parameters.
        let has_parameters = text[number_end] == b';';
        if !has_parameters || form == Form::Enclosed || digits(&text[..number_end]).is_some() {
            read.set_user(&text[..user_end], number_end);
            host_start = at + 1;
        }
    }
    let end = find(text, host_start, ends);
    read.host = text[host_start..end].to_vec();
    if host_start > 0 {
        read.behind_number = text[number_end..end].to_vec();
    } else {
        read.behind_number = read.host.clone();
    }
    const NOBODY: &[u8] = b"anonymous.invalid";
    read.is_anonymous |= read.host.len() >= NOBODY.len() && read.host[..NOBODY.len()].eq_ignore_ascii_case(NOBODY);
    read
}

impl Uri {
    fn set_user(&mut self, user: &[u8], number_end: usize) {
        self.user = user.to_vec();
        self.number = digits(&user[..number_end]);
        self.is_anonymous = user[..number_end].eq_ignore_ascii_case(b"anonymous");
    }
}

/// The number that a user part is: digits, with visual separators (RFC 3966 section 3), %-escapes of both, a plus before the
/// first digit. Up to 256 characters are looked at.
fn digits(user: &[u8]) -> Option<Digits> {
    let mut number = Digits { plus: false, digits: String::new() };
    let mut at = 0;
    let mut characters = 0;
    while at < user.len() {
        let mut byte = user[at];
        at += 1;
        if byte == b'%' {
            let escaped = std::str::from_utf8(user.get(at..at + 2)?).ok()?;
            if !escaped.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            byte = u8::from_str_radix(escaped, 16).ok()?;
            at += 2;
        }
        characters += 1;
        match byte {
            b'0'..=b'9' => number.digits.push(char::from(byte)),
            b'-' | b'.' | b'(' | b')' | b' ' => {}
            b'+' if number.digits.is_empty() && !number.plus => number.plus = true,
            _ => return None,
        }
    }
    (!number.digits.is_empty() && characters <= 256).then_some(number)
}

// ---------------------------------------------------------------------------------------------------------------- numbers

/// E.164 digits, or a short code; none if nothing is left behind the international prefix.
fn normal_form(numbering: &Numbering, number: &Digits) -> Option<String> {
    let digits = &number.digits;
    let behind = |prefix: &str| digits.strip_prefix(prefix).filter(|_| !prefix.is_empty());
    let nanp = numbering.country_code == "1";
    let normal = if number.plus || digits.len() <= 6 {
        digits.clone()
    } else if let Some(international) = behind(&numbering.international_prefix) {
        international.to_owned()
    } else if nanp && digits.len() == 10 && !digits.starts_with(['0', '1']) {
        format!("1{digits}")
    } else if nanp && digits.len() == 11 && digits.starts_with('1') {
        digits.clone()
    } else if let Some(national) = behind(&numbering.national_prefix) {
        format!("{}{national}", numbering.country_code)
    } else if numbering.bare_national {
        format!("{}{digits}", numbering.country_code)
    } else {
        digits.clone()
    };
    (!normal.is_empty()).then_some(normal)
}

/// The number of a URI and its format.
fn number(policy: &Policy, uri: &Uri) -> (Option<String>, NumberFormat) {
    if uri.user.is_empty() {
        return (None, NumberFormat::Missing);
    }
    let number = uri.number.as_ref().and_then(|digits| normal_form(&policy.numbering, digits));
    let Some(number) = number else { return (None, NumberFormat::NotANumber) };
    let facts = evaluate::facts(policy, &number);
    let (least, most) = facts.digits;
    let format = if number.len() <= 6 {
        NumberFormat::Valid
    } else if number.len() > usize::from(most).min(15) {
        NumberFormat::TooLong
    } else if number.len() < usize::from(least) {
        NumberFormat::TooShort
    } else {
        facts.format
    };
    (Some(number), format)
}

fn read_numbers(policy: &Policy, packet: &Packet, message: &mut Message, uris: &[Uri; 8]) {
    let of = |of: UriOf| &uris[of as usize];
    let numbering = &policy.numbering;
    (message.numbers.called, message.called_format) = number(policy, of(UriOf::Request));
    let is_believed = evaluate::in_addresses(&numbering.asserted_identity_from, packet.source);
    let identities = [UriOf::Asserted, UriOf::SecondAsserted, UriOf::RemoteParty];
    let asserted = identities.into_iter().map(of).find(|uri| is_believed && uri.number.is_some());
    let identity = asserted.unwrap_or(of(UriOf::From));
    (message.numbers.calling, message.calling_format) = number(policy, identity);
    if message.calling_format != NumberFormat::Missing && (message.privacy || identity.is_anonymous) {
        message.calling_format = NumberFormat::Anonymous;
    }
    let forwarded = if of(UriOf::Diversion).is_present { UriOf::Diversion } else { UriOf::History };
    message.numbers.forwarded = number(policy, of(forwarded)).0;
    message.numbers.from = number(policy, of(UriOf::From)).0;
    let asserted = if of(UriOf::Asserted).number.is_some() { UriOf::Asserted } else { UriOf::SecondAsserted };
    message.numbers.asserted = number(policy, of(asserted)).0;
    let verified = if is_believed && of(UriOf::Asserted).is_present { UriOf::Asserted } else { UriOf::From };
    message.verstat = verstat(&of(verified).behind_number);
}

/// The first `verstat` parameter (3GPP TS 24.229 section 7.2A.20) of a user part or a URI.
fn verstat(parameters: &[u8]) -> Verstat {
    for parameter in parameters.split(|&byte| byte == b';').skip(1).take(64) {
        let parameter = parameter.to_ascii_lowercase();
        let Some(value) = parameter.strip_prefix(b"verstat=") else { continue };
        return if value.starts_with(b"tn-validation-p") {
            Verstat::TnValidationPassed
        } else if value.starts_with(b"tn-validation-f") {
            Verstat::TnValidationFailed
        } else if value.starts_with(b"no-tn-va") {
            Verstat::NoTnValidation
        } else {
            Verstat::Other
        };
    }
    Verstat::None
}

// ------------------------------------------------------------------------------------------------------------------ texts

fn read_texts(message: &mut Message, fields: &Fields, uris: &[Uri; 8]) {
    let kind = message.kind;
    let mut set = |text: Text, value: Option<&[u8]>| message.texts[text as usize] = value.map(<[u8]>::to_vec);
    let mut agent = fields.first(Header::UserAgent);
    if kind == Kind::Response {
        agent = agent.or(fields.first(Header::Server));
    }
    set(Text::UserAgent, agent);
    set(Text::CallId, fields.first(Header::CallId));
    set(Text::Contact, fields.first(Header::Contact));
    set(Text::Server, fields.first(Header::Server));
    set(Text::Subject, fields.first(Header::Subject));
    set(Text::Via, fields.first(Header::Via));
    let mut part = |text: Text, value: &Vec<u8>| set(text, Some(value.as_slice()).filter(|value| !value.is_empty()));
    part(Text::FromDisplay, &uris[UriOf::From as usize].display);
    part(Text::FromHost, &uris[UriOf::From as usize].host);
    part(Text::FromUser, &uris[UriOf::From as usize].user);
    part(Text::RequestHost, &uris[UriOf::Request as usize].host);
    part(Text::RequestUser, &uris[UriOf::Request as usize].user);
    part(Text::ToUser, &uris[UriOf::To as usize].user);
}

fn read_body(message: &mut Message, fields: &Fields, bytes: &[u8]) {
    let Some(body) = fields.body.map(|body| &bytes[body..]).filter(|body| !body.is_empty()) else { return };
    if message.method == Method::Message {
        message.texts[Text::Body as usize] = Some(body[..body.len().min(512)].to_vec());
    }
    let session = lines(body).into_iter().take(64).find_map(|line| line.strip_prefix(b"s="));
    message.texts[Text::SdpSession as usize] = session.map(<[u8]>::to_vec);
}

/// Content-Length against what the packet has (RFC 3261 section 18.3).
fn read_content_length(packet: &Packet, message: &mut Message, fields: &Fields, bytes: &[u8], offset: usize) {
    let Some(value) = fields.first(Header::ContentLength) else { return };
    let words = words(value);
    let is_number = |word: &[u8]| word.len() <= 9 && word.iter().all(u8::is_ascii_digit);
    if let [(_, word)] = words[..]
        && is_number(word)
    {
        message.content_length = std::str::from_utf8(word).ok().and_then(|word| word.parse().ok());
    }
    // The rest of a fragmented datagram is elsewhere.
    let Some(body) = fields.body.filter(|_| packet.fragment.is_none()) else { return };
    let available = packet.payload.len() - offset - body;
    let Some(claimed) = message.content_length.map(|length| length as usize) else {
        message.anomalies |= anomaly::CONTENT_LENGTH_MISMATCH;
        return;
    };
    if claimed > available {
        // In a stream the rest comes with the next segment.
        if packet.transport == Transport::Udp {
            message.anomalies |= anomaly::CONTENT_LENGTH_MISMATCH;
        }
        return;
    }
    if claimed == available {
        return;
    }
    // Line ends behind the message are padding; a start line is another message.
    let behind = bytes.get(body + claimed..).unwrap_or(&[]);
    let behind = &behind[find(behind, 0, |byte| !is_line_end(byte))..];
    if behind.is_empty() {
        if packet.payload.len() > INSPECTED_LENGTH {
            message.anomalies |= anomaly::CONTENT_LENGTH_MISMATCH;
        }
        return;
    }
    let line = lines(behind)[0];
    let is_request = line.strip_suffix(b"\n").is_some_and(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        line.len() > 7 && line.ends_with(b"SIP/2.0")
    });
    let is_message = line.starts_with(b"SIP/") || is_request;
    message.anomalies |= if is_message { anomaly::SEVERAL_MESSAGES } else { anomaly::CONTENT_LENGTH_MISMATCH };
}
