//! Addresses: `name-addr / addr-spec` (RFC 3261 section 25.1), what senders write instead, and lists of them.

use std::ops::Range;

use filter_policy::model::NumberingPlan;

use super::{
    find, is_blank,
    uri::{Form, Place, Uri, known_scheme, uri},
};

/// The values of a header field, separated by commas outside quotes and angle brackets, without empty ones. True if quotes in the last
/// one do not end.
pub(super) fn values(field: &[u8]) -> (Vec<&[u8]>, bool) {
    let mut values = Vec::new();
    let mut start = 0;
    let mut at = 0;
    let mut is_quoted = false;
    while at < field.len() {
        match field[at] {
            b'\\' => at += escaped(field, at, is_quoted),
            b'"' => is_quoted = !is_quoted,
            b'<' if !is_quoted => at = find(field, at + 1, |byte| byte == b'>'),
            b',' if !is_quoted => {
                values.push(&field[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    values.push(&field[start..]);
    values.retain(|value| value.iter().any(|&byte| !is_blank(byte)));
    (values, is_quoted)
}

/// How many bytes after a backslash it escapes: any one byte inside quotes. Outside quotes, where a backslash means nothing,
/// only a quote, because some senders do write `\"`.
fn escaped(text: &[u8], at: usize, is_quoted: bool) -> usize {
    usize::from(is_quoted || text.get(at + 1) == Some(&b'"'))
}

/// Reads a value.
pub(super) fn name_addr(value: &[u8], place: Place, is_cut: bool, plan: &NumberingPlan) -> Uri {
    let start = find(value, 0, |byte| !is_blank(byte));
    let begins_oddly = value[..start].iter().any(|&byte| is_control(byte));
    let value = &value[start..];
    if value.is_empty() {
        return Uri::default();
    }
    let mut uri = visible_name_addr(value, place, is_cut, plan);
    uri.is_malformed |= begins_oddly;
    uri
}

/// A control character that is no white space.
pub(super) fn is_control(byte: u8) -> bool {
    is_blank(byte) && !b" \t\r\n".contains(&byte)
}

/// Reads a value without the white space before it.
fn visible_name_addr(value: &[u8], place: Place, is_cut: bool, plan: &NumberingPlan) -> Uri {
    let bare = Form { is_bracketed: false, place, is_cut, plan };
    let enclosed = Form { is_bracketed: true, place, is_cut, plan };
    if known_scheme(value).is_some() {
        // An addr-spec, unless an angle bracket comes before any quote or parameter: then this is a display name.
        let stop = find(value, 0, |byte| [b'<', b';', b'"'].contains(&byte));
        if place == Place::Contact && value[..stop].iter().any(|byte| b",\\".contains(byte)) {
            // The bracket is the next value's.
            return uri(value, bare);
        }
        if matches!(value.get(stop), Some(b'<' | b'"')) {
            let open = find(value, stop, |byte| byte == b'<');
            let read = if open < value.len() { bracketed(value, open, None, enclosed) } else { uri(value, bare) };
            return Uri { is_malformed: true, ..read };
        }
        return uri(value, bare);
    }
    let mut display = None;
    let mut quote = None;
    let mut at = 0;
    while at < value.len() {
        match (value[at], quote) {
            (b'\\', quote) => at += escaped(value, at, quote.is_some()),
            (b'"', None) => quote = Some(at + 1),
            (b'"', Some(start)) => {
                display = Some(start..at);
                quote = None;
            }
            (b'<', None) => return bracketed(value, at, display, enclosed),
            _ => {}
        }
        at += 1;
    }
    if quote.is_some() {
        // An unterminated string.
        return Uri { is_malformed: true, after: value.to_vec(), ..Uri::default() };
    }
    // `"name" sip:user@host`, or a URI of another scheme.
    let Some(display) = display else { return uri(value, bare) };
    let after = uri(&value[display.end + 1..], bare);
    Uri { display: value[display].to_vec(), is_malformed: true, ..after }
}

/// Reads a value whose first bracket is at `open`. `quoted` is the quoted string before it.
fn bracketed(value: &[u8], open: usize, quoted: Option<Range<usize>>, form: Form<'_>) -> Uri {
    let mut uri = uri(&value[open + 1..], form);
    // An unquoted name is made of tokens.
    let is_odd = match &quoted {
        None => value[..open].iter().any(|byte| b":@".contains(byte)),
        // It is all there is, and only white space follows it.
        Some(quoted) => {
            let visible = find(value, quoted.start, |byte| byte != b' ' && byte != b'\t');
            quoted.start != 1
                || is_control(value[visible])
                || !value[quoted.end + 1..open].iter().all(|byte| b" \t\r\n".contains(byte))
        }
    };
    uri.is_malformed |= is_odd;
    uri.display = value[quoted.unwrap_or(0..open)].to_vec();
    uri
}

/// Reads a Request-URI. The version follows the value.
pub(super) fn request_uri(value: &[u8], is_cut: bool, plan: &NumberingPlan) -> Uri {
    let is_bracketed = value.first() == Some(&b'<');
    let form = Form { is_bracketed, place: Place::Request, is_cut, plan };
    if is_bracketed { bracketed(value, 0, None, form) } else { uri(value, form) }
}
