//! Payloads: their kind, the start line, and the message that was read.

use filter_core::{
    layout::{Attestation, Method, NumberFormat, TEXTS, Verstat, anomaly},
    limits::INSPECTED_LENGTH,
    scratch::{Header, Kind, UriOf},
};
use filter_policy::model::Policy;

use super::{after_line_end, find, frame::Packet, is_blank, is_line_end, values::read_fields, words};
use crate::evaluate::Numbers;

/// A payload: its kind, and the values read from it.
#[derive(Clone, Debug)]
pub struct Message {
    pub kind: Kind,
    pub anomalies: u32,
    pub method: Method,
    /// The method or the status code as written.
    pub written_method: Vec<u8>,
    /// Indexed by `Text`.
    pub texts: [Option<Vec<u8>>; TEXTS],
    /// Indexed by `UriOf`; empty if the message has none.
    pub users: [Vec<u8>; UriOf::COUNT],
    pub numbers: Numbers,
    pub calling_format: NumberFormat,
    pub called_format: NumberFormat,
    pub attestation: Attestation,
    pub verstat: Verstat,
    pub privacy: bool,
    pub content_length: Option<u32>,
    /// The known header fields, in order.
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

pub fn read_payload(policy: &Policy, packet: &Packet) -> Message {
    let mut message = read_whole_payload(policy, packet);
    // A first fragment without a start line could be anything, even if it holds only line ends.
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
        // RFC 8489 section 5: two zero bits and the magic cookie.
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
    let (mut next, mut odd) = (end, false);
    if end < inspected.len() {
        (next, odd) = after_line_end(inspected, end);
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
    read_fields(policy, packet, &mut message, request_uri, &inspected[next..], next);
    message
}

/// True for a token of the form `SIP/2.0`, in any case and of any version.
fn is_version(word: &[u8]) -> bool {
    word.len() == 7
        && word[..4].eq_ignore_ascii_case(b"SIP/")
        && word[4].is_ascii_digit()
        && word[5] == b'.'
        && word[6].is_ascii_digit()
}

/// RFC 3261 sections 7.1 and 7.2. White space other than single spaces is skipped, and an anomaly.
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
    // Any word after the URI may be the version: a URI with a space in it is an anomaly, but is read.
    let Some(version) = (2..words.len().min(2 + 1 + 32)).find(|&index| is_version(words[index].1)) else { return };
    message.kind = Kind::Request;
    message.written_method = first.to_vec();
    message.method = method(first);
    if &words[version].1[4..] != b"2.0" {
        message.anomalies |= anomaly::UNSUPPORTED_VERSION;
    }
    let rest = &line[words[version].0 + 7..];
    let well_formed = version == 2 && single(0, 1) && single(1, 2) && rest.is_empty() && words[1].1[0] != b'<';
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
