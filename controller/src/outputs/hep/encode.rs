//! The wire format (HEP3/EEP, <https://github.com/sipcapture/HEP>, revision 12): `HEP3`, the whole length, and chunks. A chunk is a vendor,
//! a type, its whole length, and the value. Numbers are in network order.

use std::net::IpAddr;

use crate::telemetry::CapturedPacket;

/// The vendor of the generic chunks.
const GENERIC: u16 = 0;
/// The vendor of Ringfence's own chunks: `RF`. Not among those that the protocol's document lists.
const RINGFENCE: u16 = 0x5246;

/// Types of Ringfence's chunks. docs/telemetry.md lists them.
mod own {
    /// Name of the rule that decided.
    pub(super) const RULE: u16 = 1;
    /// Name of the reason.
    pub(super) const REASON: u16 = 2;
    /// `drop`, `reject` or `divert`.
    pub(super) const VERDICT: u16 = 3;
    /// `enforce` or `report`.
    pub(super) const MODE: u16 = 4;
    /// The commit of the policy in force.
    pub(super) const COMMIT: u16 = 5;
    /// The name of the host.
    pub(super) const EDGE: u16 = 6;
}

/// Bytes of the largest message: what a UDP datagram over IPv4 holds.
const LARGEST: usize = 65_507;

/// Bytes of the longest text in a chunk.
const LONGEST_TEXT: usize = 1024;

/// Bytes of a chunk before its value.
const CHUNK_HEADER: usize = 6;

/// `AF_INET` and `AF_INET6`, as Linux numbers them.
const FAMILIES: (u8, u8) = (2, 10);

/// The numbers of the transports (IANA's protocol numbers).
const TCP: u8 = 6;
const UDP: u8 = 17;

/// The protocol type of SIP.
const SIP: u8 = 1;

/// Makes messages.
#[derive(Debug)]
pub(super) struct Encoder {
    pub(super) id: u32,
    pub(super) password: Option<String>,
    pub(super) edge: Option<String>,
}

impl Encoder {
    /// The message for a packet.
    pub(super) fn encode(&self, packet: &CapturedPacket) -> Vec<u8> {
        let event = &packet.event;
        let payload = packet.payload();
        let mut chunks = Chunks(Vec::with_capacity(payload.len() + 512));
        chunks.addresses(event.source, event.destination);
        chunks.generic(0x0002, &[if event.transport == "udp" { UDP } else { TCP }]);
        chunks.generic(0x0007, &event.source_port.to_be_bytes());
        chunks.generic(0x0008, &event.destination_port.to_be_bytes());
        let seconds = u32::try_from(packet.nanoseconds / 1_000_000_000).unwrap_or(u32::MAX);
        let microseconds = (packet.nanoseconds % 1_000_000_000 / 1000) as u32;
        chunks.generic(0x0009, &seconds.to_be_bytes());
        chunks.generic(0x000a, &microseconds.to_be_bytes());
        chunks.generic(0x000b, &[SIP]);
        chunks.generic(0x000c, &self.id.to_be_bytes());
        for (kind, text) in [
            (own::RULE, event.rule.as_deref()),
            (own::REASON, Some(&*event.reason)),
            (own::VERDICT, Some(&*event.verdict)),
            (own::MODE, Some(event.mode.name())),
            (own::COMMIT, event.commit.as_deref()),
            (own::EDGE, self.edge.as_deref()),
        ] {
            if let Some(text) = text {
                chunks.text(RINGFENCE, kind, text);
            }
        }
        // Before generic chunks: Kamailio reads both up to the next zero byte, with which a generic chunk begins.
        if let Some(password) = &self.password {
            chunks.text(GENERIC, 0x000e, password);
        }
        // The event has only its beginning.
        let call_id = call_id(payload).or_else(|| event.call_id.as_deref().map(str::as_bytes));
        if let Some(call_id) = call_id {
            chunks.generic(0x0011, &call_id[..call_id.len().min(LONGEST_TEXT)]);
        }
        let room = LARGEST - HEAD - chunks.0.len() - CHUNK_HEADER;
        chunks.generic(0x000f, &payload[..payload.len().min(room)]);
        message(&chunks.0)
    }
}

/// Bytes before the first chunk.
const HEAD: usize = 6;

fn message(chunks: &[u8]) -> Vec<u8> {
    let length = (HEAD + chunks.len()) as u16;
    [b"HEP3", &length.to_be_bytes()[..], chunks].concat()
}

struct Chunks(Vec<u8>);

impl Chunks {
    fn push(&mut self, vendor: u16, kind: u16, value: &[u8]) {
        let length = (CHUNK_HEADER + value.len()) as u16;
        for number in [vendor, kind, length] {
            self.0.extend_from_slice(&number.to_be_bytes());
        }
        self.0.extend_from_slice(value);
    }

    fn generic(&mut self, kind: u16, value: &[u8]) {
        self.push(GENERIC, kind, value);
    }

    fn text(&mut self, vendor: u16, kind: u16, text: &str) {
        self.push(vendor, kind, &text.as_bytes()[..text.floor_char_boundary(LONGEST_TEXT)]);
    }

    /// Both addresses in one family: a packet has one.
    fn addresses(&mut self, source: IpAddr, destination: IpAddr) {
        if let (IpAddr::V4(source), IpAddr::V4(destination)) = (source, destination) {
            self.generic(0x0001, &[FAMILIES.0]);
            self.generic(0x0003, &source.octets());
            self.generic(0x0004, &destination.octets());
        } else {
            let octets = |address| match address {
                IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                IpAddr::V6(address) => address.octets(),
            };
            self.generic(0x0001, &[FAMILIES.1]);
            self.generic(0x0005, &octets(source));
            self.generic(0x0006, &octets(destination));
        }
    }
}

/// The Call-ID of a message, whole: the value of its first header field of that name.
fn call_id(message: &[u8]) -> Option<&[u8]> {
    let lines = message.split(|&byte| byte == b'\n').skip(1);
    let mut headers = lines.map(<[u8]>::trim_ascii_end).take_while(|line| !line.is_empty());
    headers.find_map(|line| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let name = line[..colon].trim_ascii_end();
        let is_call_id = name.eq_ignore_ascii_case(b"call-id") || name.eq_ignore_ascii_case(b"i");
        let value = line[colon + 1..].trim_ascii();
        (is_call_id && !value.is_empty()).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{PacketEvent, RuleMode};

    const MESSAGE: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nCall-ID: abc@x\r\n\r\n";

    fn ipv4() -> CapturedPacket {
        let mut packet = CapturedPacket::example(MESSAGE);
        packet.event.destination = "192.0.2.1".parse().unwrap();
        packet.nanoseconds = 0x0102_0304 * 1_000_000_000 + 0x0506 * 1000 + 7;
        packet
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    #[test]
    fn a_message_is_these_bytes() {
        let encoder = Encoder { id: 7, password: Some("pw".to_owned()), edge: Some("fra1".to_owned()) };
        let expected = [
            b"HEP3".to_vec(),
            hex("00dd"),
            hex("0000 0001 0007 02"),
            hex("0000 0003 000a 0a140042"),
            hex("0000 0004 000a c0000201"),
            hex("0000 0002 0007 11"),
            hex("0000 0007 0008 13ca"),
            hex("0000 0008 0008 13c4"),
            hex("0000 0009 000a 01020304"),
            hex("0000 000a 000a 00000506"),
            hex("0000 000b 0007 01"),
            hex("0000 000c 000a 00000007"),
            hex("5246 0001 000e"),
            b"scanners".to_vec(),
            hex("5246 0002 000f"),
            b"rule-drop".to_vec(),
            hex("5246 0003 000a"),
            b"drop".to_vec(),
            hex("5246 0004 000d"),
            b"enforce".to_vec(),
            hex("5246 0006 000a"),
            b"fra1".to_vec(),
            hex("0000 000e 0008"),
            b"pw".to_vec(),
            hex("0000 0011 000b"),
            b"abc@x".to_vec(),
            hex("0000 000f 002f"),
            MESSAGE.to_vec(),
        ];
        assert_eq!(encoder.encode(&ipv4()), expected.concat());
    }

    #[test]
    fn what_a_packet_does_not_have_has_no_chunk() {
        let encoder = Encoder { id: 1, password: None, edge: None };
        let mut packet = ipv4();
        packet.event = PacketEvent { rule: None, transport: "tcp".to_owned(), mode: RuleMode::Report, ..packet.event };
        let bytes = encoder.encode(&packet);
        let kinds = kinds(&bytes);
        for (vendor, kind) in [(GENERIC, 0x000e), (RINGFENCE, own::RULE), (RINGFENCE, own::EDGE)] {
            assert!(
                !kinds.contains(&(vendor, kind, Vec::new()))
                    && !kinds.iter().any(|(v, k, _)| (*v, *k) == (vendor, kind))
            );
        }
        assert!(
            kinds.contains(&(GENERIC, 2, vec![TCP])) && kinds.contains(&(RINGFENCE, own::MODE, b"report".to_vec()))
        );
    }

    #[test]
    fn ipv6_has_its_own_chunks() {
        let encoder = Encoder { id: 1, password: None, edge: None };
        let mut packet = CapturedPacket::example(MESSAGE);
        packet.event.source = "2001:db8::66".parse().unwrap();
        let kinds = kinds(&encoder.encode(&packet));
        let source = hex("20010db8000000000000000000000066");
        assert!(kinds.contains(&(GENERIC, 1, vec![10])) && kinds.contains(&(GENERIC, 5, source)));
        assert!(!kinds.iter().any(|(vendor, kind, _)| *vendor == GENERIC && matches!(kind, 3 | 4)));
    }

    #[test]
    fn the_largest_message_fits_a_datagram() {
        let encoder = Encoder { id: 1, password: Some("x".repeat(5000)), edge: None };
        let payload = vec![b'x'; 70_000];
        let bytes = encoder.encode(&CapturedPacket::example(&payload));
        assert_eq!(bytes.len(), LARGEST);
        assert_eq!(kinds(&bytes).last().map(|(_, kind, _)| *kind), Some(0x000f));
    }

    #[test]
    fn the_call_id_is_whole_whatever_its_header_is_called() {
        for (headers, expected) in [
            ("Call-ID: abc@x\r\n", Some("abc@x")),
            ("CALL-id  :\tabc@x  \n", Some("abc@x")),
            ("Via: x\r\ni:abc@x\r\n", Some("abc@x")),
            ("Call-ID:\r\n", None),
            ("Via: Call-ID: no\r\n", None),
            ("\r\nCall-ID: in-the-body\r\n", None),
        ] {
            let message = format!("OPTIONS sip:a SIP/2.0\r\n{headers}\r\n");
            assert_eq!(call_id(message.as_bytes()), expected.map(str::as_bytes), "{headers:?}");
        }
    }

    /// The vendor, type and value of each chunk.
    fn kinds(message: &[u8]) -> Vec<(u16, u16, Vec<u8>)> {
        let number = |bytes: &[u8]| u16::from_be_bytes([bytes[0], bytes[1]]);
        assert_eq!((&message[..4], usize::from(number(&message[4..]))), (&b"HEP3"[..], message.len()));
        let mut chunks = Vec::new();
        let mut rest = &message[6..];
        while !rest.is_empty() {
            let length = usize::from(number(&rest[4..]));
            chunks.push((number(rest), number(&rest[2..]), rest[6..length].to_vec()));
            rest = &rest[length..];
        }
        chunks
    }
}
