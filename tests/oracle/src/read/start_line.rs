//! Start lines: RFC 3261 sections 7.1 and 7.2, and what some server takes for one.

use std::ops::Range;

use filter_core::{
    layout::{Method, Transport, anomaly},
    scratch::Kind,
};

use super::{address::is_control, after_line_end, find, frame::Packet, is_blank, is_line_end, uri::known_scheme};

/// The methods of IANA's registry, as they are written.
const METHODS: [(&[u8], Method); 14] = [
    (b"ACK", Method::Ack),
    (b"BYE", Method::Bye),
    (b"CANCEL", Method::Cancel),
    (b"INFO", Method::Info),
    (b"INVITE", Method::Invite),
    (b"MESSAGE", Method::Message),
    (b"NOTIFY", Method::Notify),
    (b"OPTIONS", Method::Options),
    (b"PRACK", Method::Prack),
    (b"PUBLISH", Method::Publish),
    (b"REFER", Method::Refer),
    (b"REGISTER", Method::Register),
    (b"SUBSCRIBE", Method::Subscribe),
    (b"UPDATE", Method::Update),
];

/// A start line that has been read. The positions are those in the message.
pub(super) struct StartLine {
    pub(super) kind: Kind,
    /// The method, or the status code.
    pub(super) word: Range<usize>,
    /// From the first byte of the Request-URI to the version.
    pub(super) uri: Option<Range<usize>>,
    /// Where the version is. The headers begin after the first line end from there on.
    pub(super) version: usize,
    pub(super) anomalies: u32,
}

/// Reads the line that begins at `start`. If a datagram's first line is not one, then its second one. Then the first later line that
/// looks like a request.
pub(super) fn read_start_line(packet: &Packet, message: &[u8], start: usize) -> Option<StartLine> {
    let mut anomalies = 0;
    let end = line_end(message, start, &mut anomalies);
    let mut read = read_line(packet, message, start, end.map(|end| end.0));
    let mut rest = end.map(|(_, next)| next);
    if read.is_none()
        && packet.transport == Transport::Udp
        && let Some(next) = rest
    {
        let start = find(message, next, |byte| !is_blank(byte));
        let end = line_end(message, start, &mut anomalies);
        read = read_line(packet, message, start, end.map(|end| end.0));
        anomalies |= anomaly::MALFORMED_START_LINE;
        rest = end.map(|(_, next)| next);
    }
    if read.is_none()
        && let Some(start) = rest.and_then(|next| find_request(message, next))
    {
        let end = line_end(message, start, &mut anomalies);
        read = read_line(packet, message, start, end.map(|end| end.0));
        // What is before it in a segment may be the end of another message.
        let is_datagram = packet.transport == Transport::Udp;
        anomalies |= if is_datagram { anomaly::MALFORMED_START_LINE } else { anomaly::SEVERAL_MESSAGES };
    }
    let mut read = read?;
    read.anomalies |= anomalies;
    Some(read)
}

/// The first line that begins with a method and has a version after the first byte of its second word.
fn find_request(message: &[u8], from: usize) -> Option<usize> {
    let mut start = find(message, from, |byte| !is_blank(byte));
    while start < message.len() {
        let end = find(message, start, is_line_end);
        let line = &message[start..end];
        let method_end = find(line, 0, is_blank);
        let second = find(line, method_end, |byte| !is_blank(byte));
        let has_version =
            (0..line.len()).any(|at| line[at] == b'/' && mark(line, at).is_some_and(|mark| mark > second));
        if method(&line[..method_end]) != Method::Other && has_version {
            return Some(start);
        }
        start = find(message, end, |byte| !is_blank(byte));
    }
    None
}

/// The first line end that is not a fold, and where the next line begins.
fn line_end(message: &[u8], start: usize, anomalies: &mut u32) -> Option<(usize, usize)> {
    let mut at = start;
    loop {
        let end = find(message, at, is_line_end);
        if end == message.len() {
            return None;
        }
        let (next, is_odd) = after_line_end(message, end);
        if is_odd {
            *anomalies |= anomaly::CONTROL_CHARACTER;
        }
        at = next;
        // A carriage return alone ends no first line: for some servers it is white space.
        let is_end = message[at - 1] == b'\n' || at == message.len();
        if is_end && !matches!(message.get(at), Some(b' ' | b'\t')) {
            return Some((end, at));
        }
    }
}

/// Reads a line, folds included. `end` is none if nothing ends it.
fn read_line(packet: &Packet, message: &[u8], start: usize, end: Option<usize>) -> Option<StartLine> {
    let is_tcp = packet.transport == Transport::Tcp;
    if end.is_none() && packet.fragment.is_some() && !is_tcp && !is_exact_request(&message[start..]) {
        // The rest of the line is in another packet.
        return None;
    }
    let line = &message[start..end.unwrap_or(message.len())];
    let may_be_cut = end.is_none() && (is_tcp || packet.payload.len() > message.len());
    let read = read_words(line, end.is_some(), may_be_cut);
    let mut read = read.or_else(|| read_over_line_ends(&message[start..]).filter(|_| end.is_some()))?;
    read.word = moved(read.word, start);
    read.uri = read.uri.map(|uri| moved(uri, start));
    read.version += start;
    Some(read)
}

fn moved(range: Range<usize>, by: usize) -> Range<usize> {
    range.start + by..range.end + by
}

/// Reads a line; the positions are those in the line.
fn read_words(line: &[u8], is_ended: bool, may_be_cut: bool) -> Option<StartLine> {
    let method_end = find(line, 0, is_blank);
    let slashes = (0..line.len()).filter(|&at| line[at] == b'/');
    let marks: Vec<usize> = slashes.filter_map(|slash| mark(line, slash)).collect();
    if let Some(&mark) = marks.first()
        && mark < method_end
    {
        return status_line(line, mark);
    }
    let uri = find(line, method_end, |byte| !is_blank(byte));
    if uri == line.len() {
        return None;
    }
    let uri_end = find(line, uri, is_blank);
    let name = after_odd_bytes(&line[..method_end]);
    let first_mark = |from: usize| marks.iter().copied().find(|&mark| mark >= from);
    let request = |version: usize, anomalies: u32| StartLine {
        kind: Kind::Request,
        word: name..method_end,
        uri: Some(uri..if find(line, uri_end, |byte| !is_blank(byte)) == version { uri_end } else { version }),
        version,
        anomalies,
    };
    // A URI may contain what looks like a version: one after it comes first.
    if let Some(version) = first_mark(uri_end).or(marks.first().copied().filter(|&mark| mark > uri)) {
        return Some(request(version, problems(line, method_end, uri, uri_end, version)));
    }
    // An empty URI: two blanks before a version that ends the line.
    let is_last = find(line, uri_end, |byte| !is_blank(byte)) == line.len();
    if marks.first() == Some(&uri) && uri > method_end + 1 && is_last && is_ended {
        return Some(request(uri, problems(line, method_end, uri, uri_end, uri)));
    }
    let target = &line[uri..uri_end];
    let is_sip_uri = known_scheme(target).is_some();
    let is_foreign = [&b"http"[..], b"rtsp"]
        .iter()
        .any(|name| target.len() >= name.len() && target[..name.len()].eq_ignore_ascii_case(name));
    let known = method(&line[name..method_end]);
    // HTTP and SSDP send these with methods that SIP has, too.
    let is_shared = target.starts_with(b"/") || target.starts_with(b"*");
    let is_sip_request = known != Method::Other && !is_shared;
    if let Some(version) = other_version(line, uri_end)
        && (is_sip_uri || is_sip_request || (target.contains(&b'@') && !is_foreign))
    {
        return Some(request(version, problems(line, method_end, uri, uri_end, version)));
    }
    // For some servers the URI goes on after a control character.
    let goes_on = if is_ended { !is_last } else { may_be_cut };
    if goes_on && known != Method::Other && is_sip_uri {
        return Some(request(line.len(), anomaly::MALFORMED_START_LINE));
    }
    None
}

/// Where a known method begins that a byte is before which is in no token.
fn after_odd_bytes(word: &[u8]) -> usize {
    let odd = word.iter().rposition(|&byte| !is_token(byte)).map_or(0, |odd| odd + 1);
    if method(&word[odd..]) == Method::Other { 0 } else { odd }
}

/// A method, a space or a fold, a Request-URI that may have line ends in it but no space, a space, the version and a line end.
fn read_over_line_ends(text: &[u8]) -> Option<StartLine> {
    let (name, begin) = method_and_space(text)?;
    let mut words = text[begin..].splitn(2, |&byte| byte == b' ');
    let (target, rest) = (words.next()?, words.next()?);
    let version = &rest[..find(rest, 0, is_blank)];
    let is_last = rest.get(version.len()).copied().is_some_and(is_line_end);
    let number = version.get(4..)?;
    let has_mark = version[..4].eq_ignore_ascii_case(b"SIP/") && !number.contains(&b'/');
    let skipped = target.iter().position(|&byte| !is_blank(byte))?;
    let is_request = method(name) != Method::Other && has_mark && is_last;
    let is_supported = version.eq_ignore_ascii_case(b"SIP/2.0");
    is_request.then(|| StartLine {
        kind: Kind::Request,
        word: 0..name.len(),
        uri: Some(begin + skipped..begin + target.len()),
        version: begin + target.len() + 1,
        anomalies: anomaly::MALFORMED_START_LINE | if is_supported { 0 } else { anomaly::UNSUPPORTED_VERSION },
    })
}

/// The first word, and where what follows the space after it begins. A fold counts as one.
fn method_and_space(text: &[u8]) -> Option<(&[u8], usize)> {
    let name = find(text, 0, is_blank);
    if text.get(name) == Some(&b' ') {
        return Some((&text[..name], name + 1));
    }
    let next = find(text, name, |byte| !is_blank(byte));
    let is_fold = text.get(name).copied().is_some_and(is_line_end) && matches!(text[next - 1], b' ' | b'\t');
    is_fold.then_some((&text[..name], next))
}

/// True if there is a version anywhere.
pub(super) fn has_version(text: &[u8]) -> bool {
    (0..text.len()).any(|at| text[at] == b'/' && mark(text, at).is_some())
}

/// The position of `SIP`, any white space, and this slash.
fn mark(line: &[u8], slash: usize) -> Option<usize> {
    let mut end = slash;
    while end > 0 && is_blank(line[end - 1]) {
        end -= 1;
    }
    let begins = |name: &[u8]| {
        let start = end.checked_sub(name.len())?;
        line[start..end].eq_ignore_ascii_case(name).then_some(start)
    };
    begins(b"SIP").or_else(|| begins(b"SIPS"))
}

/// Where the third word begins, if it has a slash inside.
fn other_version(line: &[u8], uri_end: usize) -> Option<usize> {
    let third = find(line, uri_end, |byte| !is_blank(byte));
    let word = &line[third..find(line, third, is_blank)];
    word.iter().position(|&byte| byte == b'/').filter(|&slash| slash > 0).map(|_| third)
}

/// The anomalies of a request line whose words are at these positions.
fn problems(line: &[u8], method_end: usize, uri: usize, uri_end: usize, version: usize) -> u32 {
    let version_end = find(line, version, is_blank);
    let is_single_space = |from: usize, to: usize| to == from + 1 && line[from] == b' ';
    let well_formed = is_single_space(method_end, uri)
        && is_single_space(uri_end, version)
        && line.get(version_end).is_none_or(|&byte| is_line_end(byte))
        && line[version..version_end].contains(&b'/')
        && line[uri] != b'<'
        && line[..method_end].iter().all(|&byte| is_token(byte))
        && method_end <= 64;
    let mut anomalies = 0;
    if !well_formed {
        anomalies |= anomaly::MALFORMED_START_LINE;
    }
    if !line[version..version_end].eq_ignore_ascii_case(b"SIP/2.0") {
        anomalies |= anomaly::UNSUPPORTED_VERSION;
    }
    anomalies
}

/// A character of a token (RFC 3261 section 25.1).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte)
}

/// Reads a status line, if the version is one and a number may follow it: `SIP/2.0/UDP 192.0.2.1` is part of a Via.
fn status_line(line: &[u8], mark: usize) -> Option<StartLine> {
    let slash = find(line, mark, |byte| byte == b'/');
    let version = find(line, slash + 1, |byte| !is_blank(byte));
    let token = &line[version..find(line, version, is_blank)];
    let is_joined = token.starts_with(b"2.0") && token.get(3).is_some_and(u8::is_ascii_digit);
    let version_end = version + if is_joined { 3 } else { token.len() };
    let code = find(line, version_end, |byte| !is_blank(byte));
    let code_end = find(line, code, is_blank);
    let written = &line[code..code_end];
    let unsigned = written.strip_prefix(b"-").or(written.strip_prefix(b"+")).unwrap_or(written);
    if token.iter().skip(1).any(|&byte| byte == b'/') || !unsigned.first().is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let well_formed = mark == 0
        && slash == 3
        && version == 4
        && line[version_end..code] == *b" "
        && written.len() == 3
        && written.iter().all(u8::is_ascii_digit);
    let mut anomalies = 0;
    if !well_formed {
        anomalies |= anomaly::MALFORMED_START_LINE;
    }
    if is_joined || !line[mark..version_end].eq_ignore_ascii_case(b"SIP/2.0") {
        anomalies |= anomaly::UNSUPPORTED_VERSION;
    }
    Some(StartLine { kind: Kind::Response, word: code..code_end, uri: None, version: mark, anomalies })
}

/// Method names are case-sensitive, but servers are not: `invite` starts a call.
pub(super) fn method(name: &[u8]) -> Method {
    let known = METHODS.iter().find(|method| method.0.eq_ignore_ascii_case(name));
    known.map_or(Method::Other, |method| method.1)
}

/// True for a request line to the letter.
fn is_exact_request(text: &[u8]) -> bool {
    let line = &text[..find(text, 0, |byte| byte == b'\r')];
    let words: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    let [name, uri, version] = words[..] else { return false };
    text.get(line.len() + 1) == Some(&b'\n')
        && method(name) != Method::Other
        && !uri.starts_with(b"<")
        && !uri.is_empty()
        && !uri.iter().any(|&byte| is_blank(byte))
        && version == b"SIP/2.0"
}

/// True if what is inspected of a message ends in its start line, before it is clear whether it is one.
pub(super) fn is_cut(packet: &Packet, inspected: &[u8], start: usize) -> bool {
    if packet.transport == Transport::Tcp {
        let rest = &inspected[start..];
        return is_beginning(rest) || ends_in_version(rest) || ends_over_line_ends(rest);
    }
    // Of a datagram, only what is longer than that. It may begin in its second line.
    let second = line_end(inspected, start, &mut 0).map(|(_, next)| find(inspected, next, |byte| !is_blank(byte)));
    packet.payload.len() > inspected.len()
        && [Some(start), second].into_iter().flatten().any(|start| ends_in_version(&inspected[start..]))
}

/// True for the beginning of a version or of a method, and for a method and nothing else.
fn is_beginning(payload: &[u8]) -> bool {
    let name = find(payload, 0, is_blank);
    let is_name = find(payload, name, |byte| !is_blank(byte)) == payload.len();
    begins_line(payload) || (is_name && method(&payload[..name]) != Method::Other)
}

/// True for a method, the second word or a part of it, and perhaps a part of the version, or anything if that word has an @ or ends with a
/// control character.
fn ends_in_version(payload: &[u8]) -> bool {
    let name = find(payload, 0, is_blank);
    let uri = find(payload, name, |byte| !is_blank(byte));
    let uri_end = find(payload, uri, is_blank);
    let version = find(payload, uri_end, |byte| !is_blank(byte));
    let is_odd = payload[uri..uri_end].contains(&b'@') || payload.get(uri_end).is_some_and(|&byte| is_control(byte));
    method(&payload[..name]) != Method::Other
        && uri < payload.len()
        && line_end(payload, 0, &mut 0).is_none()
        && (is_odd || begins_line(&payload[version..]))
}

/// True for a method, a space or a fold, and no space after that, or only a part of the version.
fn ends_over_line_ends(text: &[u8]) -> bool {
    let Some((name, begin)) = method_and_space(text) else { return false };
    let rest = text[begin..].iter().position(|&byte| byte == b' ').map(|space| &text[begin + space + 1..]);
    method(name) != Method::Other && line_end(text, 0, &mut 0).is_some() && rest.is_none_or(begins_line)
}

fn begins_line(text: &[u8]) -> bool {
    let begins = |start: &[u8]| text.len() <= start.len() && start[..text.len()].eq_ignore_ascii_case(text);
    begins(b"SIP/2.0 ") || METHODS.iter().any(|method| begins(&[method.0, b" "].concat()))
}
