//! The lines of a list file, and the comments in them.

use super::Mistake;
use crate::language::diagnostics::Code;

/// UTF-8's, which some editors write at the start of a file.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Bytes of the longest line of a list that is read.
pub(super) const LONGEST_LINE: usize = 4096;

/// The lines of a list: numbers from 1, and bytes without the line ending. A byte order mark is skipped.
pub(crate) fn lines(content: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let content = without_mark(content);
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    (1..)
        .zip(content.split(|&byte| byte == b'\n'))
        .map(|(number, line)| (number, line.strip_suffix(b"\r").unwrap_or(line)))
}

/// The part of a line before a `#`, without surrounding white space, and its offset in the line.
pub(super) fn without_comment(line: &[u8]) -> (usize, &[u8]) {
    let end = line.iter().position(|&byte| byte == b'#').unwrap_or(line.len());
    let start = line[..end].iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(end);
    (start, line[start..end].trim_ascii_end())
}

/// The lines that are neither blank nor a comment.
pub(super) fn rows(content: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    lines(content).filter(|(_, line)| !is_comment(line))
}

/// The error about a line, or a record of CSV, that is too long to be an entry.
pub(super) fn too_long(text: &[u8]) -> Option<Mistake> {
    (text.len() > LONGEST_LINE).then(|| {
        let message = format!("this line has {} bytes: a line of a list has at most {LONGEST_LINE}", text.len());
        Mistake::new(Code::LineTooLong, 0..text.len(), message)
            .help("one entry a line; shorten the comment, if there is one")
    })
}

/// True if a line is blank or a comment.
pub(super) fn is_comment(line: &[u8]) -> bool {
    without_comment(line).1.is_empty()
}

/// The content of a file without its byte order mark.
pub(super) fn without_mark(content: &[u8]) -> &[u8] {
    content.strip_prefix(BYTE_ORDER_MARK).unwrap_or(content)
}
