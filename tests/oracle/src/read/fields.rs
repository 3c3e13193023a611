//! Header lines: names, folding, and the blank line that ends them.

use filter_core::{layout::anomaly, scratch::Header};
use filter_policy::{language::header::HeaderName, model::Policy};

use super::{address::is_control, after_line_end, find, is_blank, is_line_end, start_line::is_token, words};

/// The known header fields: long name, compact name, and whether a message may have several.
const FIELDS: [(Header, &[u8], &[u8], bool); 19] = [
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
    (Header::PreferredIdentity, b"p-preferred-identity", b"", true),
    (Header::Privacy, b"privacy", b"", true),
    (Header::RemotePartyId, b"remote-party-id", b"", true),
    (Header::Route, b"route", b"", true),
    (Header::Server, b"server", b"", false),
    (Header::Subject, b"subject", b"s", false),
    (Header::To, b"to", b"t", false),
    (Header::UserAgent, b"user-agent", b"", false),
    (Header::Via, b"via", b"v", true),
];

/// The header fields of which every line counts. The first line of each is kept.
const REPEATED: [Header; 8] = [
    Header::AssertedIdentity,
    Header::PreferredIdentity,
    Header::RemotePartyId,
    Header::Diversion,
    Header::HistoryInfo,
    Header::Identity,
    Header::Privacy,
    Header::Route,
];

/// How many further lines of these fields are kept, in all.
const FURTHER_LINES: usize = 32;

/// The header field with this name, in any case: one that is always read, or one that the policy names.
pub(super) fn known(policy: &Policy, name: &[u8]) -> Option<Header> {
    let name = name.to_ascii_lowercase();
    if name.is_empty() {
        return None;
    }
    if let Some(field) = FIELDS.iter().find(|field| name == field.1 || name == field.2) {
        return Some(field.0);
    }
    let is = |header: &HeaderName| {
        name == header.as_str().as_bytes() || header.compact().is_some_and(|letter| name == [letter])
    };
    policy.headers.iter().position(is).map(|index| Header::named(index as u32))
}

/// The header fields of a message, in order, their values from the colon to the next header line.
pub(super) struct Fields<'a> {
    policy: &'a Policy,
    pub(super) fields: Vec<(Header, &'a [u8])>,
    /// Offset of the body in the message; none without a blank line.
    pub(super) body: Option<usize>,
    pub(super) anomalies: u32,
}

impl<'a> Fields<'a> {
    pub(super) fn all(&self, header: Header) -> Vec<&'a [u8]> {
        self.fields.iter().filter(|field| field.0 == header).map(|field| field.1).collect()
    }

    pub(super) fn first(&self, header: Header) -> Option<&'a [u8]> {
        self.all(header).first().copied()
    }
}

/// Reads the header lines after the first line end from `version` on, which is the position of the start line's version.
pub(super) fn read_lines<'a>(policy: &'a Policy, message: &'a [u8], version: usize) -> Fields<'a> {
    let mut fields = Fields { policy, fields: Vec::new(), body: None, anomalies: 0 };
    let mut at = fields.pass_line(message, version);
    // Folded lines right after the start line belong to it.
    at = fields.pass_folds(message, at);
    while at < message.len() {
        if is_line_end(message[at]) {
            fields.blank_line(message, at);
            break;
        }
        let start = at;
        let first_end = find(message, start, is_line_end);
        at = fields.pass_line(message, start);
        at = fields.pass_folds(message, at);
        fields.header(&message[start..at], &message[start..first_end]);
    }
    fields.keep_few();
    if fields.body.is_none() {
        fields.anomalies |= anomaly::HEADERS_BEYOND_INSPECTED_LENGTH;
    }
    for (header, _, _, multiple) in FIELDS {
        if !multiple && fields.all(header).len() > 1 {
            fields.anomalies |= anomaly::DUPLICATE_HEADER;
        }
    }
    for (index, header) in policy.headers.iter().enumerate() {
        if !header.is_list() && fields.all(Header::named(index as u32)).len() > 1 {
            fields.anomalies |= anomaly::DUPLICATE_HEADER;
        }
    }
    fields
}

impl<'a> Fields<'a> {
    /// Drops further lines of repeated fields.
    fn keep_few(&mut self) {
        let mut seen = Vec::new();
        let mut further = 0;
        let before = self.fields.len();
        self.fields.retain(|&(header, _)| {
            let is_further = REPEATED.contains(&header) && seen.contains(&header);
            seen.push(header);
            further += usize::from(is_further);
            !is_further || further <= FURTHER_LINES
        });
        if self.fields.len() < before {
            self.anomalies |= anomaly::DUPLICATE_HEADER | anomaly::MALFORMED_HEADER;
        }
    }

    /// Where the line after the next line end begins.
    fn pass_line(&mut self, message: &[u8], at: usize) -> usize {
        let end = find(message, at, is_line_end);
        if end == message.len() {
            return end;
        }
        let (next, is_odd) = after_line_end(message, end);
        if is_odd {
            self.anomalies |= anomaly::CONTROL_CHARACTER;
        }
        next
    }

    /// Where the first line begins that is not folded (RFC 3261 section 7.3.1).
    fn pass_folds(&mut self, message: &[u8], mut at: usize) -> usize {
        while let Some(b' ' | b'\t') = message.get(at) {
            let line = &message[at..find(message, at, is_line_end)];
            let name = find(line, 0, |byte| byte != b' ' && byte != b'\t');
            let name_end = find(line, name, |byte| [b':', b' ', b'\t'].contains(&byte));
            let colon = at + name_end + find(&message[at + name_end..], 0, |byte| byte > b' ');
            // A header for a server that does not unfold.
            if message.get(colon) == Some(&b':') && known(self.policy, &line[name..name_end]).is_some() {
                self.anomalies |= anomaly::MALFORMED_HEADER;
            }
            self.anomalies |= odd_start(line);
            at = self.pass_line(message, at);
        }
        at
    }

    /// Reads the blank line at `at`.
    fn blank_line(&mut self, message: &[u8], at: usize) {
        let line_feed = message[at..].starts_with(b"\r\n");
        self.body = Some(at + if line_feed { 2 } else { 1 });
        if message[at] == b'\r' && !line_feed && at + 1 < message.len() {
            self.anomalies |= anomaly::CONTROL_CHARACTER;
        }
        let mixed = if line_feed {
            message[..at].ends_with(b"\n") && !message[..at].ends_with(b"\r\n")
        } else {
            // Two line feeds, where the first line of all ends in another way.
            let first = find(message, 0, |byte| byte == b'\n');
            message[at] == b'\n' && (message[..at].ends_with(b"\r\n") || message[..first].ends_with(b"\r"))
        };
        if mixed {
            self.anomalies |= anomaly::MALFORMED_HEADER;
        }
    }

    /// Reads a header with its folded lines. `first` is its first line, without the line end.
    fn header(&mut self, lines: &'a [u8], first: &[u8]) {
        let name_end = find(first, 0, |byte| [b':', b' ', b'\t'].contains(&byte));
        let Some(header) = known(self.policy, &first[..name_end]) else {
            self.anomalies |= unknown_line(first);
            return;
        };
        // Any white space, and folds.
        let colon = find(lines, name_end, |byte| ![b' ', b'\t', b'\r', b'\n'].contains(&byte));
        let is_folded = colon > first.len();
        if lines.get(colon) == Some(&b':') {
            self.anomalies |= odd_start(&lines[colon + 1..]);
            self.fields.push((header, &lines[colon + 1..]));
        }
        if lines.get(colon) != Some(&b':') || is_folded {
            self.anomalies |= anomaly::MALFORMED_HEADER;
        }
    }
}

/// A bracket that is not closed on its line, or a comment in the headers for which PJSIP has comments. PJSIP looks for the other half on
/// the lines after, and in the body.
pub(super) fn open_pairs(head: &[u8]) -> u32 {
    let mut at = 0;
    loop {
        let open = find(head, at, |byte| b"[(".contains(&byte));
        if open == head.len() {
            return 0;
        }
        let closing = if head[open] == b'[' { b']' } else { b')' };
        let end = find(head, open, |byte| byte == closing || is_line_end(byte));
        let is_closed = head.get(end) == Some(&closing);
        if !is_closed && pair_matters(head, open) {
            return anomaly::MALFORMED_HEADER;
        }
        at = (end + 1).min(head.len());
    }
}

/// Whether an opening byte counts in the header that it is in.
fn pair_matters(head: &[u8], open: usize) -> bool {
    let begins_line = |&at: &usize| {
        at == 0 || is_line_end(head[at - 1]) && !is_line_end(head[at]) && head[at] != b' ' && head[at] != b'\t'
    };
    let line = (0..=open).rev().find(begins_line).unwrap_or(0);
    let name_end = find(head, line, |byte| [b':', b' ', b'\t', b'\r', b'\n'].contains(&byte));
    let name = head[line..name_end].to_ascii_lowercase();
    let is = |names: &[&[u8]]| names.contains(&name.as_slice());
    if head[open] == b'[' {
        return !is(&[b"call-id", b"i", b"server", b"subject", b"s", b"user-agent"]);
    }
    let is_known = FIELDS.iter().any(|field| is(&[field.1, field.2]));
    is(&[b"via", b"v"]) || !is_known && name.first() == Some(&b'r')
}

/// A control character where a value, or a further line of it, begins.
fn odd_start(line: &[u8]) -> u32 {
    let visible = find(line, 0, |byte| byte != b' ' && byte != b'\t');
    if line.get(visible).is_some_and(|&byte| is_control(byte)) { anomaly::CONTROL_CHARACTER } else { 0 }
}

/// What is wrong with the name of an unknown header field: no colon, a control character, white space anywhere but at its end,
/// or another byte that is no part of a token.
fn unknown_line(line: &[u8]) -> u32 {
    let Some(colon) = line.iter().position(|&byte| byte == b':') else { return anomaly::MALFORMED_HEADER };
    let name = &line[..colon];
    match name.iter().find(|&&byte| is_blank(byte) || !(is_token(byte) || b"()".contains(&byte))) {
        Some(b' ' | b'\t') if words(name).len() < 2 && !is_blank(name[0]) => 0,
        Some(b' ' | b'\t') => anomaly::MALFORMED_HEADER,
        Some(&byte) if is_blank(byte) => anomaly::CONTROL_CHARACTER,
        Some(_) => anomaly::MALFORMED_HEADER,
        None => 0,
    }
}
