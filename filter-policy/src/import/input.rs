//! Checks common to all formats: the input must be text, and a list.

use super::ImportError;
use crate::{
    foreign::{self, is_web_page},
    language::printable,
    lists::BYTE_ORDER_MARK,
};

/// Largest input that is read, in bytes.
pub const MOST_BYTES: u64 = 1 << 30;

/// Returns the input without its byte order mark, if it could be a list.
pub(super) fn accept(content: &[u8]) -> Result<&[u8], ImportError> {
    if content.len() as u64 > MOST_BYTES {
        return Err(ImportError::new("the input is larger than a gibibyte").with_help("split it into several lists"));
    }
    let utf8 = "convert it first: `iconv -f UTF-16 -t UTF-8 FILE | ringfence import ...`";
    if let Some(kind) = foreign::kind(content) {
        return Err(ImportError::new(format!("the input is {}", kind.what)).with_help(kind.for_list));
    }
    if content.starts_with(b"\xff\xfe") || content.starts_with(b"\xfe\xff") {
        return Err(ImportError::new("the input is UTF-16 text").with_help(utf8));
    }
    let content = content.strip_prefix(BYTE_ORDER_MARK).unwrap_or(content);
    let start = content.trim_ascii_start();
    if start.is_empty() {
        return Err(ImportError::new("the input is empty").with_help("check whether the download failed"));
    }
    if is_web_page(start) {
        return Err(ImportError::new("the input is a web page, not a list")
            .with_help("open it in a browser: it may ask you to log in, or say why there is no list"));
    }
    if start.starts_with(b"<") {
        return Err(ImportError::new("the input is XML, not a list")
            .with_help("look for the same list in text or CSV form, or take its entries out, one a line"));
    }
    // UTF-16 text that has no mark: nearly every other byte is zero, and none between them.
    let start = &content[..content.len().min(1 << 10)];
    let zeros = |first: usize| start.iter().skip(first).step_by(2).filter(|&&byte| byte == 0).count();
    let (even, odd) = (zeros(0), zeros(1));
    if even.min(odd) == 0 && even.max(odd) > start.len() * 2 / 5 {
        return Err(ImportError::new("the input is UTF-16 text").with_help(utf8));
    }
    if content.contains(&0) {
        return Err(ImportError::new("the input is binary, not text").with_help("find out what it is with `file FILE`"));
    }
    Ok(content)
}

/// True if the first character suggests JSON.
pub(super) fn is_json(content: &[u8]) -> bool {
    matches!(content.trim_ascii_start().first(), Some(b'{' | b'['))
}

/// What is in the quotation marks that a text begins with, without them; there are no escapes. None if they are not closed.
pub(super) fn quoted(text: &[u8]) -> Option<&[u8]> {
    let inside = text.strip_prefix(b"\"")?;
    Some(&inside[..inside.iter().position(|&byte| byte == b'"')?])
}

/// Splits a line at the first of the characters that begin a comment. An empty comment is None.
pub(super) fn split_comment<'a>(line: &'a [u8], marks: &[u8]) -> (&'a [u8], Option<String>) {
    match line.iter().position(|byte| marks.contains(byte)) {
        None => (line.trim_ascii(), None),
        Some(at) => (line[..at].trim_ascii(), comment(&line[at + 1..])),
    }
}

/// The name of a column in lower case, reduced to letters and digits.
pub(super) fn column_key(name: &[u8]) -> String {
    name.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(|&byte| char::from(byte.to_ascii_lowercase())).collect()
}

/// The text in a form that can follow an entry of a list file as its comment; None if nothing is left of it.
pub(super) fn comment(text: &[u8]) -> Option<String> {
    const LONGEST: usize = 120;
    let text: String = String::from_utf8_lossy(text)
        .chars()
        .map(|character| if character.is_control() || character == '\u{feff}' { ' ' } else { character })
        .filter(|character| !matches!(character, '#' | ';'))
        .collect();
    let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(LONGEST).collect();
    let text = text.trim_end();
    (!text.is_empty()).then(|| printable::escaped(text))
}
