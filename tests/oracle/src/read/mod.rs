//! The naive reader: from a frame to what a policy can ask about, one step after the other over byte slices.
//!
//! Written from RFC 3261, RFC 3966, RFC 3325 and the documentation of `filter-core`, not from its code: no words of eight
//! bytes, no cursors in shared memory, no tables. Where a message leaves room for two readings, the comments say which one
//! is taken.

mod fields;
mod frame;
mod message;
mod number;
mod uri;
mod values;

pub use frame::{FragmentKey, Frame, Packet, read_frame};
pub use message::{Message, read_payload};

fn is_blank(byte: u8) -> bool {
    byte <= b' '
}

fn is_line_end(byte: u8) -> bool {
    byte == b'\r' || byte == b'\n'
}

/// The position of the first byte from `from` on that is one; the length if there is none.
fn find(bytes: &[u8], from: usize, is: impl Fn(u8) -> bool) -> usize {
    (from..bytes.len()).find(|&at| is(bytes[at])).unwrap_or(bytes.len())
}

pub fn trimmed(bytes: &[u8]) -> &[u8] {
    let start = find(bytes, 0, |byte| !is_blank(byte));
    let end = bytes.iter().rposition(|&byte| !is_blank(byte)).map_or(start, |last| last + 1);
    &bytes[start..end]
}

/// Where the line behind a line end begins, and whether that is odd: a carriage return without a line feed ends a line for
/// some servers and not for others, several before a line feed end the headers for some. Here they end a line, once.
fn behind_line_end(bytes: &[u8], at: usize) -> (usize, bool) {
    if bytes[at] == b'\n' {
        return (at + 1, false);
    }
    if bytes.get(at + 1) == Some(&b'\n') {
        return (at + 2, false);
    }
    let behind = find(bytes, at, |byte| byte != b'\r');
    (behind + usize::from(bytes.get(behind) == Some(&b'\n')), behind < bytes.len())
}

/// The words of a line with their places.
fn words(line: &[u8]) -> Vec<(usize, &[u8])> {
    let mut words = Vec::new();
    let mut at = 0;
    loop {
        let start = find(line, at, |byte| !is_blank(byte));
        if start == line.len() {
            return words;
        }
        let end = find(line, start, is_blank);
        words.push((start, &line[start..end]));
        at = end;
    }
}

/// Lines with their line ends.
fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split_inclusive(|&byte| byte == b'\n').collect()
}
