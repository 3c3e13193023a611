//! Takes what must stay private out of texts: addresses and telephone numbers.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr as _,
};

use serde_json::Value;

/// What stands in place of an address, and of a number.
pub const ADDRESS: &str = "<address>";
/// See [`ADDRESS`].
pub const NUMBER: &str = "<number>";

/// Fewer digits than this, without a plus, are a port, an extension or a count, not a telephone number that belongs to somebody.
const DIGITS: usize = 7;

/// Replaces every IP address, hardware address and telephone number. Times in RFC 3339's form, hashes and kernel versions stay.
#[must_use]
pub fn text(text: &str) -> String {
    let mut redacted = String::with_capacity(text.len());
    let mut rest = text;
    let mut previous = ' ';
    while let Some(next) = rest.chars().next() {
        let begins_word = !previous.is_ascii_alphanumeric();
        let kept = if begins_word { time(rest).or_else(|| hash(rest)).or_else(|| version(rest)) } else { None };
        let secret = || {
            let begins_number = next.is_ascii_digit() && !previous.is_ascii_digit();
            let address = if begins_word || begins_number { address(rest) } else { None };
            let number = || if begins_number || next == '+' { number(rest) } else { None };
            address.map(|length| (length, ADDRESS)).or_else(|| number().map(|length| (length, NUMBER)))
        };
        let length = if let Some(length) = kept {
            redacted.push_str(&rest[..length]);
            length
        } else if let Some((length, instead)) = secret() {
            redacted.push_str(instead);
            length
        } else {
            redacted.push(next);
            next.len_utf8()
        };
        previous = rest[..length].chars().next_back().unwrap_or(previous);
        rest = &rest[length..];
    }
    redacted
}

/// The same for every text in a JSON value. Its numbers are counts, and stay.
#[must_use]
pub fn json(value: Value) -> Value {
    match value {
        Value::String(string) => Value::String(text(&string)),
        Value::Array(values) => Value::Array(values.into_iter().map(json).collect()),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, value)| (text(&name), json(value))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

/// The length of a hash at the beginning of a text: SHA-1 or longer, in hexadecimal.
fn hash(text: &str) -> Option<usize> {
    let length = text.bytes().take_while(u8::is_ascii_alphanumeric).count();
    let word = &text[..length];
    let is_hash = length >= 40
        && word.bytes().all(|byte| byte.is_ascii_hexdigit())
        && word.bytes().any(|byte| byte.is_ascii_alphabetic());
    is_hash.then_some(length)
}

/// The length of a distribution's kernel version at the beginning of a text, such as `6.8.0-1012-` of `6.8.0-1012-aws`. Telephone numbers
/// are not grouped like that.
fn version(text: &str) -> Option<usize> {
    let mut rest = text;
    for (most, end) in [(1, '.'), (2, '.'), (3, '-'), (4, '-')] {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 || digits > most {
            return None;
        }
        rest = rest[digits..].strip_prefix(end)?;
    }
    rest.starts_with(|next: char| next.is_ascii_alphabetic()).then_some(text.len() - rest.len())
}

/// The length of a time at the beginning of a text, such as `2026-11-28T10:00:00.123Z`.
fn time(text: &str) -> Option<usize> {
    const FORM: &[u8] = b"0000-00-00";
    let bytes = text.as_bytes();
    let is_date = FORM.iter().zip(bytes).all(|(form, byte)| match form {
        b'0' => byte.is_ascii_digit(),
        form => form == byte,
    });
    if bytes.len() < FORM.len() || !is_date || bytes.get(FORM.len()).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    if !matches!(bytes.get(FORM.len()), Some(b'T' | b't')) {
        return Some(FORM.len());
    }
    // The rest must be a time, so that a date cannot carry anything else.
    let end = bytes.iter().position(|byte| !byte.is_ascii_alphanumeric() && !b"-:.+".contains(byte));
    let whole = &text[..end.unwrap_or(bytes.len())];
    Some(if jiff::Timestamp::from_str(whole).is_ok() { whole.len() } else { FORM.len() })
}

/// The length of an address at the beginning of a text: IPv4, IPv6, either with a port, or a hardware address.
fn address(text: &str) -> Option<usize> {
    let is_part = |byte: u8| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.';
    let run = text.bytes().take_while(|byte| is_part(*byte)).count();
    if !text[..run].contains([':', '.']) {
        return None;
    }
    let is_address =
        |text: &str| IpAddr::from_str(text).is_ok() || SocketAddr::from_str(text).is_ok() || is_hardware_address(text);
    // A sentence may end with it: without the last full stop or colon. A letter after it makes it another word.
    let candidates = (1..=run).rev().filter(|end| !text[*end..].starts_with(|next: char| next.is_alphanumeric()));
    candidates.take(8).find(|end| is_address(&text[..*end]))
}

fn is_hardware_address(text: &str) -> bool {
    let mut pairs = 0;
    text.split(':').all(|pair| {
        pairs += 1;
        pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit())
    }) && pairs == 6
}

/// The length of a telephone number at the beginning of a text: with a plus and at least four digits, or at least seven digits. Digits
/// may be separated as people write them.
fn number(text: &str) -> Option<usize> {
    let has_plus = text.starts_with('+');
    let (mut digits, mut end, mut gap) = (0, 0, 0);
    for (index, byte) in text.bytes().enumerate().skip(usize::from(has_plus)) {
        match byte {
            b'0'..=b'9' => {
                digits += 1;
                gap = 0;
                end = index + 1;
            }
            b' ' | b'-' | b'.' | b'(' | b')' | b'/' if gap < 2 => gap += 1,
            _ => break,
        }
    }
    (digits >= if has_plus { 4 } else { DIGITS }).then_some(end)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn becomes(from: &str, to: &str) {
        assert_eq!(text(from), to, "{from}");
    }

    #[test]
    fn addresses_are_replaced_in_every_form() {
        becomes("from 192.0.2.7.", "from <address>.");
        becomes("192.0.2.0/24,198.51.100.1:5060", "<address>/24,<address>");
        becomes("sip:a@[2001:db8::1]:5060;x", "sip:a@[<address>]:5060;x");
        becomes("2001:DB8:0:0::7: refused", "<address>: refused");
        becomes("::ffff:192.0.2.7", "<address>");
        becomes("eth0 02:fc:00:00:00:01 up", "eth0 <address> up");
        becomes("ip192.0.2.7, face192.0.2.7", "ip<address>, face<address>");
        becomes("\"192.0.2.7\"", "\"<address>\"");
    }

    #[test]
    fn telephone_numbers_are_replaced_in_every_form() {
        becomes("calling +14155552671 to 2125553456", "calling <number> to <number>");
        becomes("tel:+1-415-555-2671;x", "tel:<number>;x");
        becomes("+1 (415) 555-2671, twice", "<number>, twice");
        becomes("sip:004930123456@host", "sip:<number>@host");
        becomes("rule block-12125559000", "rule block-<number>");
        becomes("sip+14155552671", "sip<number>");
        becomes("+1605562 0100-0199", "<number>");
        becomes("call4155552671x", "call<number>x");
        becomes("2026-11-28T4155552671", "2026-11-28T<number>");
    }

    #[test]
    fn times_hashes_versions_and_ports_stay() {
        for same in [
            "2026-11-28T10:00:00Z loaded",
            "until 2026-11-28",
            "Linux 6.18.44-fc-v782",
            "udp = [5060, 5061]",
            "6.8.0-1012-aws",
            "0f3a9bd1c2deadbeef1234567890abcd01234567, a commit",
            "12:30:15",
            "module::path: 3 packets",
            "extension 2000",
            "",
        ] {
            becomes(same, same);
        }
    }

    #[test]
    fn json_keeps_its_counts_and_loses_what_its_texts_hold() {
        let value =
            json!({"packets": 123_456_789, "rules": [{"rule": "from-192.0.2.7", "192.0.2.7": null}], "on": true});
        let expected =
            json!({"packets": 123_456_789, "rules": [{"rule": "from-<address>", "<address>": null}], "on": true});
        assert_eq!(super::json(value), expected);
    }

    #[test]
    fn letters_of_other_scripts_are_not_cut() {
        becomes("東京 +81312345678 é192.0.2.7", "東京 <number> é<address>");
    }
}
