//! What an answer to a request repeats, as the engine reads it.

use filter_core::{
    host::Host,
    layout::{Method, Transport, anomaly},
    message,
    scratch::{Extent, Header, Kind, Scratch, Span, pause},
};
use zerocopy::FromZeros as _;

use super::{Memory, UserHost, inspection, read_afresh};
use crate::{files::Table, image::Image, language::diagnostics::Diagnostics, today};

/// A request, as far as an answer to it repeats it (RFC 3261 section 8.2.6.2). Values are unfolded, without white space around them, and
/// without control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// The Request-URI, raw.
    pub uri: Vec<u8>,
    /// The value of each Via line, in their order; each may have several values. There is at least one.
    pub vias: Vec<Vec<u8>>,
    /// The value of From.
    pub from: Vec<u8>,
    /// The value of To.
    pub to: Vec<u8>,
    /// The value of Call-ID.
    pub call_id: Vec<u8>,
    /// The value of CSeq.
    pub cseq: Vec<u8>,
    /// True if To has a tag: the request is within a dialog.
    pub within_dialog: bool,
}

/// Why there is nothing to answer in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRequest {
    /// It holds a response.
    Response,
    /// It holds no request that could be answered: no message, one that is cut off, or one without a header that the answer repeats.
    Unreadable,
}

/// The most Via lines that are answered. A request has one for each proxy on its way, and Max-Forwards is 70.
const MOST_VIAS: usize = 70;

/// What a request has if its headers cannot be repeated with certainty: some server may read other ones.
const UNCERTAIN: u32 = anomaly::DUPLICATE_HEADER | anomaly::HEADERS_BEYOND_INSPECTED_LENGTH | anomaly::SEVERAL_MESSAGES;

/// Reads requests with the engine, so that what is answered is what was judged.
pub struct RequestReader {
    /// It reads everything, and decides nothing.
    image: Image,
    scratch: Box<Scratch>,
}

impl RequestReader {
    /// A reader.
    ///
    /// # Errors
    /// The policy without rules that it reads with does not build.
    ///
    /// # Panics
    /// There is no memory for the scratch.
    pub fn new() -> Result<Self, Diagnostics> {
        let built = crate::build(&Table(&[(crate::POLICY_FILE, b"version = 1\n")]), today())?;
        let scratch = Scratch::new_box_zeroed().expect("memory for the engine's scratch");
        Ok(Self { image: inspection(built.image, &[]), scratch })
    }

    /// Reads the request in a frame, given from its Ethernet header on, to a port of this transport.
    ///
    /// # Errors
    /// There is no request that could be answered.
    pub fn read(&mut self, frame: &[u8], port: u16, transport: Transport) -> Result<Request, NoRequest> {
        self.image.config.set_ports(&[(port, transport)]);
        // A new one for each packet: nothing is to be remembered of fragments and connections.
        let memory = Memory::default();
        let host = UserHost::new(&self.image, &memory, frame);
        let s = &mut *self.scratch;
        read_afresh(host, s);
        match s.message.kind {
            Kind::Request => {}
            Kind::Response => return Err(NoRequest::Response),
            _ => return Err(NoRequest::Unreadable),
        }
        // The headers of a signed request may go on in the next fragment. What is repeated comes early (RFC 3261 section 7.3.1).
        let is_fragment = s.packet.fragment != 0;
        let is_cut = s.message.body == 0;
        let uncertain = UNCERTAIN & !if is_fragment { anomaly::HEADERS_BEYOND_INSPECTED_LENGTH } else { 0 };
        if s.message.extent != Extent::Whole || is_cut && !is_fragment || s.message.anomalies & uncertain != 0 {
            return Err(NoRequest::Unreadable);
        }
        let end = if is_cut { s.message.length } else { u32::MAX };
        let value = |header| {
            let span = s.message.header(header);
            (s.message.has(header) && u32::from(span.end) < end)
                .then(|| unfolded(s, span))
                .flatten()
                .ok_or(NoRequest::Unreadable)
        };
        let uri = unfolded(s, s.message.header(Header::RequestUri)).ok_or(NoRequest::Unreadable)?;
        let mut request = Request {
            method: s.message.method,
            uri,
            vias: Vec::new(),
            from: value(Header::From)?,
            to: value(Header::To)?,
            call_id: value(Header::CallId)?,
            cseq: value(Header::CSeq)?,
            within_dialog: s.message.to_tag != 0,
        };
        // Last, since it reads the message again.
        request.vias = vias(host, s, end)?;
        Ok(request)
    }
}

/// The value of each Via line, all of which end before `end`. The engine notes the place of the first one only, so its walk over the headers is stopped after each.
fn vias<'m, H: Host<'m>>(host: H, s: &mut Scratch, end: u32) -> Result<Vec<Vec<u8>>, NoRequest> {
    message::read_start(host, s);
    s.cursors.pause = pause::UNFINISHED;
    let mut vias = Vec::new();
    while s.cursors.pause == pause::UNFINISHED {
        s.message.seen &= !Header::Via.bit();
        message::read_headers(host, s, Header::Via);
        if s.message.has(Header::Via) {
            let span = s.message.header(Header::Via);
            let value = unfolded(s, span).filter(|_| u32::from(span.end) < end);
            vias.push(value.ok_or(NoRequest::Unreadable)?);
        }
        if vias.len() > MOST_VIAS {
            return Err(NoRequest::Unreadable);
        }
    }
    if vias.is_empty() { Err(NoRequest::Unreadable) } else { Ok(vias) }
}

/// A value without line ends, and without white space around it; none if it is empty, or has control characters in it.
fn unfolded(s: &Scratch, span: Span) -> Option<Vec<u8>> {
    let value: Vec<u8> = s.trimmed(span).iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    let is_plain = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
    (!value.is_empty() && value.iter().all(is_plain)).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Endpoints, datagram, segment};

    fn read(message: &str) -> Result<Request, NoRequest> {
        let frame = datagram(&Endpoints::default(), message.as_bytes());
        RequestReader::new().unwrap().read(&frame, 5060, Transport::Udp)
    }

    const ORDINARY: &str = "INVITE sip:+12125550142@h SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
                            From: \"A\" <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: x@y\r\nCSeq: 7 INVITE\r\n\
                            Content-Length: 0\r\n\r\n";

    fn text(values: &[Vec<u8>]) -> Vec<String> {
        values.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect()
    }

    #[test]
    fn an_ordinary_request_is_read_whole() {
        let request = read(ORDINARY).unwrap();
        assert_eq!((request.method, request.within_dialog), (Method::Invite, false));
        assert_eq!(request.uri, b"sip:+12125550142@h");
        assert_eq!(text(&request.vias), ["SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1"]);
        let rest = [request.from, request.to, request.call_id, request.cseq];
        assert_eq!(text(&rest), ["\"A\" <sip:a@h>;tag=1", "<sip:b@h>", "x@y", "7 INVITE"]);
    }

    #[test]
    fn every_via_line_is_found_in_its_order_whatever_its_form() {
        let message = ORDINARY.replace(
            "From:",
            "v:SIP/2.0/UDP a,SIP/2.0/UDP b\r\nSubject: Via\r\n Via: no\r\nVIA \t: SIP/2.0/TCP c;\r\n  branch=d\r\nFrom:",
        );
        let message = message.replace("Content-Length: 0\r\n", "Content-Length: 0\r\nVia: SIP/2.0/UDP last\r\n");
        let expected = [
            "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1",
            "SIP/2.0/UDP a,SIP/2.0/UDP b",
            "SIP/2.0/TCP c;  branch=d",
            "SIP/2.0/UDP last",
        ];
        assert_eq!(text(&read(&message).unwrap().vias), expected);
        // With bare line feeds, the other walk of the engine reads them.
        assert_eq!(text(&read(&message.replace("\r\n", "\n")).unwrap().vias), expected);
    }

    #[test]
    fn compact_names_are_read_and_bytes_that_are_no_utf_8_are_kept() {
        let message = "OPTIONS sip:h SIP/2.0\r\nv: SIP/2.0/UDP h\r\nf: \u{e9}<sip:a@h>\r\nt: sip:b@h\r\ni: 1\r\nCSeq: 1 OPTIONS\r\n\r\n";
        let latin: Vec<u8> = message.chars().map(|character| u32::from(character) as u8).collect();
        let frame = datagram(&Endpoints::default(), &latin);
        let request = RequestReader::new().unwrap().read(&frame, 5060, Transport::Udp).unwrap();
        assert_eq!((request.method, request.from.as_slice()), (Method::Options, b"\xe9<sip:a@h>".as_slice()));
    }

    #[test]
    fn a_tag_in_to_is_a_dialog() {
        assert!(read(&ORDINARY.replace("To: <sip:b@h>", "To: <sip:b@h>;tag=2")).unwrap().within_dialog);
        assert!(!read(&ORDINARY.replace("To: <sip:b@h>", "To: <sip:b@h;tag=2>")).unwrap().within_dialog);
    }

    #[test]
    fn what_lacks_a_header_or_is_ambiguous_or_cut_off_is_no_request() {
        let without = |name: &str| {
            let lines: Vec<&str> = ORDINARY.split_inclusive("\r\n").filter(|line| !line.starts_with(name)).collect();
            lines.concat()
        };
        let many = ORDINARY.replace("From:", &("Via: SIP/2.0/UDP a\r\n".repeat(MOST_VIAS) + "From:"));
        for message in [
            without("Via"),
            without("From"),
            without("To"),
            without("Call-ID"),
            without("CSeq"),
            ORDINARY.replace("To:", "From: <sip:c@h>\r\nTo:"),
            ORDINARY.replace("x@y", "x\u{7}y"),
            ORDINARY.replace("x@y", ""),
            ORDINARY.trim_end().to_owned(),
            ORDINARY[..60].to_owned(),
            many,
            "\r\n\r\n".to_owned(),
            "garbage".to_owned(),
        ] {
            assert_eq!(read(&message), Err(NoRequest::Unreadable), "{message:?}");
        }
        assert_eq!(
            read(&ORDINARY.replace("INVITE sip:+12125550142@h SIP/2.0", "SIP/2.0 200 OK")),
            Err(NoRequest::Response)
        );
    }

    #[test]
    fn a_first_fragment_is_read_if_what_is_repeated_is_in_it_whole() {
        let read = |message: &str, length: usize| {
            let mut frame = datagram(&Endpoints::default(), message.as_bytes());
            frame.truncate(frame.len() - message.len() + length);
            let total = (frame.len() - 14) as u16;
            frame[16..18].copy_from_slice(&total.to_be_bytes());
            // More fragments.
            frame[20] = 0x20;
            RequestReader::new().unwrap().read(&frame, 5060, Transport::Udp)
        };
        let signed = ORDINARY.replace("Content-Length", "Identity: eyJhbGciOiJFUzI1NiJ9\r\nContent-Length");
        let at = |text: &str| signed.find(text).unwrap();
        let whole = read(&signed, signed.len()).unwrap();
        assert_eq!(read(&signed, at("hbGci")).as_ref(), Ok(&whole));
        assert_eq!(read(&signed, at(" INVITE\r\n")), Err(NoRequest::Unreadable), "CSeq is cut off");
        assert_eq!(read(&signed, at("CSeq")), Err(NoRequest::Unreadable));
        let late = signed.replace("Identity", "Via: SIP/2.0/UDP other\r\nIdentity");
        assert_eq!(read(&late, late.find("other").unwrap()), Err(NoRequest::Unreadable), "a Via is cut off");
    }

    #[test]
    fn a_huge_request_is_read_as_far_as_its_headers_are_inspected() {
        let subject = |length| ORDINARY.replace("CSeq", &format!("Subject: {}\r\nCSeq", "x".repeat(length)));
        assert!(read(&subject(10_000)).is_ok());
        assert_eq!(read(&subject(20_000)), Err(NoRequest::Unreadable));
    }

    #[test]
    fn a_segment_is_read_like_a_datagram_and_readings_do_not_mix() {
        let mut reader = RequestReader::new().unwrap();
        let endpoints = Endpoints::default();
        let first = reader.read(&segment(&endpoints, 1, ORDINARY.as_bytes()), 5060, Transport::Tcp).unwrap();
        assert_eq!(first.call_id, b"x@y");
        assert_eq!(reader.read(&segment(&endpoints, 1, b"garbage"), 5060, Transport::Tcp), Err(NoRequest::Unreadable));
        assert_eq!(reader.read(&segment(&endpoints, 1, b""), 5060, Transport::Tcp), Err(NoRequest::Unreadable));
        let other = ORDINARY.replace("x@y", "z");
        let other = reader.read(&datagram(&endpoints, other.as_bytes()), 5060, Transport::Udp).unwrap();
        assert_eq!((other.call_id.as_slice(), other.vias.len()), (b"z".as_slice(), 1));
    }
}
