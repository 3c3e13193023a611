//! Parameters of header fields: `;name=value`.

use super::{find, is_blank};

/// What follows the equals sign of each parameter with this name. Those in quoted strings are none.
pub(super) fn parameters<'a>(text: &'a [u8], name: &'static str) -> impl Iterator<Item = &'a [u8]> {
    let mut semicolons = Vec::new();
    let mut is_quoted = false;
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'"' => is_quoted = !is_quoted,
            b'\\' if is_quoted => at += 1,
            b';' if !is_quoted => semicolons.push(at),
            _ => {}
        }
        at += 1;
    }
    semicolons.into_iter().filter_map(move |semicolon| {
        let start = find(text, semicolon + 1, |byte| !is_blank(byte));
        let end = start + name.len();
        text.get(start..end).filter(|found| found.eq_ignore_ascii_case(name.as_bytes()))?;
        let equals = find(text, end, |byte| !is_blank(byte));
        text.get(equals).filter(|&&byte| byte == b'=')?;
        Some(&text[find(text, equals + 1, |byte| !is_blank(byte))..])
    })
}

/// The token at the start of the text.
pub(super) fn token(text: &[u8]) -> &[u8] {
    &text[..find(text, 0, |byte| b"\";,".contains(&byte) || is_blank(byte))]
}

/// The value at the start of the text, without quotes.
pub(super) fn value(text: &[u8]) -> &[u8] {
    token(text.strip_prefix(b"\"").unwrap_or(text))
}
