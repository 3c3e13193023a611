//! Header lines: names, folding, and the blank line that ends them.

use filter_core::{layout::anomaly, limits::MAX_HEADER_LINES, scratch::Header};

use super::{after_line_end, find, is_blank, is_line_end, words};

/// The known header fields: long name, compact name, and whether a message may have several.
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
pub(super) struct Fields {
    pub(super) fields: Vec<(Header, Vec<u8>)>,
    /// Offset of the body in the bytes that were read; none without a blank line.
    pub(super) body: Option<usize>,
    pub(super) anomalies: u32,
}

impl Fields {
    pub(super) fn all(&self, header: Header) -> Vec<&[u8]> {
        self.fields.iter().filter(|field| field.0 == header).map(|field| field.1.as_slice()).collect()
    }

    pub(super) fn first(&self, header: Header) -> Option<&[u8]> {
        self.all(header).first().copied()
    }
}

pub(super) fn read_lines(bytes: &[u8]) -> Fields {
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
            let (after, odd) = after_line_end(bytes, end);
            next = after;
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

/// What is wrong with the name of an unknown header field: no colon, a control character, or white space anywhere but at
/// its end.
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
