//! Payloads: their kind, and the message that was read.

use filter_core::{
    layout::{Attestation, Method, NumberFormat, TEXTS, Verstat, anomaly},
    limits::{INSPECTED_LENGTH, NAMED_HEADERS},
    scratch::{Header, Kind, UriOf},
};
use filter_policy::model::Policy;

use super::{
    find,
    frame::Packet,
    is_blank, is_line_end,
    start_line::{has_version, is_cut, method, read_start_line},
    values::read_fields,
};
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
    /// The headers that only the policy names, by their index in it.
    pub named: [Option<Vec<u8>>; NAMED_HEADERS],
    /// Indexed by `UriOf`; empty if the message has none.
    pub users: [Vec<u8>; UriOf::COUNT],
    pub numbers: Numbers,
    pub calling_format: NumberFormat,
    pub called_format: NumberFormat,
    pub attestation: Attestation,
    pub verstat: Verstat,
    /// Bits of `filter_core::layout::privacy`.
    pub privacy: u32,
    /// Bits of `filter_core::layout::passport`.
    pub passports: u32,
    /// True if To has a tag.
    pub to_tag: bool,
    /// True for an INVITE to an emergency service.
    pub is_emergency_call: bool,
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
            named: std::array::from_fn(|_| None),
            users: std::array::from_fn(|_| Vec::new()),
            numbers: Numbers::default(),
            calling_format: NumberFormat::Missing,
            called_format: NumberFormat::Missing,
            attestation: Attestation::None,
            verstat: Verstat::None,
            privacy: 0,
            passports: 0,
            to_tag: false,
            is_emergency_call: false,
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
    // eXosip's.
    if inspected == b"jaK" || inspected == b"jaK\0" {
        message.kind = Kind::KeepAlive;
        return message;
    }
    if visible != start {
        // RFC 8489 section 5: two zero bits and the magic cookie. RFC 3489 section 11.1 has no cookie.
        let has_cookie = |header: &[u8]| header[0] < 0x40 && header[4..8] == [0x21, 0x12, 0xa4, 0x42];
        let is_request = |header: &[u8]| {
            let length = u16::from_be_bytes([header[2], header[3]]);
            header[..2] == [0, 1] && 20 + usize::from(length) == inspected.len()
        };
        let is_stun = inspected.get(..20).is_some_and(|header| has_cookie(header) || is_request(header));
        // Servers look for a message after it.
        if is_stun && !has_version(inspected) {
            message.kind = Kind::Stun;
            return message;
        }
        if visible == inspected.len() {
            if inspected.iter().all(|byte| b" \t\r\n\0".contains(byte)) {
                message.kind = Kind::KeepAlive;
            } else {
                message.anomalies |= anomaly::NOT_SIP;
            }
            return message;
        }
        message.anomalies |= anomaly::MALFORMED_START_LINE;
    }
    let Some(start_line) = read_start_line(packet, inspected, visible) else {
        message.anomalies = anomaly::NOT_SIP;
        if packet.fragment.is_none() && is_cut(packet, inspected, visible) {
            message.anomalies |= anomaly::CUT_START_LINE;
        }
        return message;
    };
    message.kind = start_line.kind;
    message.anomalies |= start_line.anomalies;
    message.written_method = inspected[start_line.word.clone()].to_vec();
    message.method = if message.kind == Kind::Response { Method::Response } else { method(&message.written_method) };
    read_fields(policy, packet, &mut message, &start_line, inspected);
    message
}
