//! URIs: `name-addr / addr-spec`, their parts, and the digits of a user part.

use filter_core::{
    layout::anomaly,
    scratch::{Header, Kind, UriOf},
};

use super::{fields::Fields, find, is_blank, message::Message, words};

/// The parts of a URI.
#[derive(Clone, Debug, Default)]
pub(super) struct Uri {
    pub(super) is_present: bool,
    pub(super) is_malformed: bool,
    pub(super) is_anonymous: bool,
    pub(super) display: Vec<u8>,
    pub(super) user: Vec<u8>,
    pub(super) host: Vec<u8>,
    /// Everything from the end of the number to the end of the URI.
    pub(super) parameters: Vec<u8>,
    pub(super) number: Option<Digits>,
}

/// The digits of a user part, and whether they follow a plus.
#[derive(Clone, Debug)]
pub(super) struct Digits {
    pub(super) plus: bool,
    pub(super) digits: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Bare,
    Enclosed,
}

/// The URIs of a message, indexed by `UriOf`.
pub(super) fn read_uris(message: &mut Message, start_line: &[u8], fields: &Fields) -> [Uri; UriOf::COUNT] {
    let request = if message.kind == Kind::Request {
        let at = words(start_line)[1].0;
        let at = at + usize::from(start_line[at] == b'<');
        uri(&start_line[at..], Form::Enclosed)
    } else {
        Uri::default()
    };
    let asserted = fields.all(Header::AssertedIdentity);
    // The second identity is that of the second line, or else the second value of the first line.
    let second = asserted.get(1).copied().or_else(|| asserted.first().and_then(|line| values(line).get(1).copied()));
    let history = fields.all(Header::HistoryInfo);
    // The last entry is the current target (RFC 7044 section 5); the one before it forwarded.
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
        name_addr(fields.first(Header::Contact)),
        name_addr(fields.first(Header::PreferredIdentity)),
    ];
    if [UriOf::Request, UriOf::From, UriOf::To].iter().any(|of| uris[of.index()].is_malformed) {
        message.anomalies |= anomaly::MALFORMED_URI;
    }
    uris
}

/// The values of a header field, separated by commas outside quotes and angle brackets. Each slice runs to the end of the
/// line: reading it stops at the end of its URI. After 256 quotes, brackets and commas, the rest is one value.
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

/// How many bytes after a backslash it escapes: any one byte inside quotes. Outside quotes, where a backslash means nothing,
/// only a quote, because some senders do write `\"`.
fn escaped(text: &[u8], at: usize, is_quoted: bool) -> usize {
    usize::from(is_quoted || text.get(at + 1) == Some(&b'"'))
}

/// The scheme, if it is one whose URIs have a user part.
fn scheme(text: &[u8]) -> Option<&'static [u8]> {
    let begins = |scheme: &&&[u8]| text.len() >= scheme.len() && text[..scheme.len()].eq_ignore_ascii_case(scheme);
    [&b"sip:"[..], b"sips:", b"tel:"].iter().find(begins).copied()
}

/// Reads `name-addr / addr-spec` (RFC 3261 section 25.1), and what senders write instead.
fn name_addr(value: &[u8]) -> Uri {
    let value = &value[find(value, 0, |byte| !is_blank(byte))..];
    if value.is_empty() {
        return Uri::default();
    }
    if scheme(value).is_some() {
        // An addr-spec, unless an angle bracket comes before any quote or parameter: then this is a display name.
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
        // An unterminated string, or more quotes than are followed.
        return Uri { is_malformed: true, ..Uri::default() };
    }
    // `"name" sip:user@host`, or a URI of another scheme.
    let start = display.as_ref().map_or(0, |display| display.end + 1);
    Uri {
        display: display.map(|display| value[display].to_vec()).unwrap_or_default(),
        ..uri(&value[start..], Form::Bare)
    }
}

/// Reads a URI. It ends at `>` or white space; a bare one also ends at its first semicolon or comma.
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
        read.parameters = read.host.clone();
        return read;
    }
    // A semicolon before the @ belongs to the user part; a colon starts a password.
    let stops = |byte: u8| byte == b'@' || byte == b'>' || is_blank(byte);
    let number_end = find(text, 0, |byte| byte == b':' || byte == b';' || stops(byte));
    let user_end = find(text, number_end, |byte| byte == b':' || stops(byte));
    let at = find(text, user_end, stops);
    let mut host_start = 0;
    if text.get(at) == Some(&b'@') {
        // In a bare addr-spec, a header parameter may contain an @. After a number, though, they are user parameters.
        let has_parameters = text[number_end] == b';';
        if !has_parameters || form == Form::Enclosed || digits(&text[..number_end]).is_some() {
            read.set_user(&text[..user_end], number_end);
            host_start = at + 1;
        }
    }
    let end = find(text, host_start, ends);
    read.host = text[host_start..end].to_vec();
    if host_start > 0 {
        read.parameters = text[number_end..end].to_vec();
    } else {
        read.parameters = read.host.clone();
    }
    const ANONYMOUS: &[u8] = b"anonymous.invalid";
    read.is_anonymous |=
        read.host.len() >= ANONYMOUS.len() && read.host[..ANONYMOUS.len()].eq_ignore_ascii_case(ANONYMOUS);
    read
}

impl Uri {
    fn set_user(&mut self, user: &[u8], number_end: usize) {
        self.user = user.to_vec();
        self.number = digits(&user[..number_end]);
        self.is_anonymous = user[..number_end].eq_ignore_ascii_case(b"anonymous");
    }
}

/// The number in a user part: digits and visual separators (RFC 3966 section 3), either of them %-escaped, with an optional
/// plus before the first digit. Not a number if longer than 256 characters.
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
