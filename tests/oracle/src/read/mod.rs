//! The naive reader: from a frame to everything a policy can ask about, one step at a time over byte slices.
//!
//! Written from RFC 3261, RFC 3966, RFC 3325 and the documentation of `filter-core`, not from its code: no eight-byte words,
//! no cursors in shared memory, no tables. Where a message can be read in two ways, a comment says which one is used.

mod address;
mod fields;
mod frame;
mod identities;
mod message;
mod number;
mod parameters;
mod plan;
mod start_line;
mod uri;
mod values;

pub use frame::{FragmentKey, Frame, Packet, Unreadable, read_frame};
pub use message::{Message, read_payload};

fn is_blank(byte: u8) -> bool {
    byte <= b' '
}

fn is_line_end(byte: u8) -> bool {
    byte == b'\r' || byte == b'\n'
}

/// The position of the first matching byte at or after `from`; the length if there is none.
fn find(bytes: &[u8], from: usize, is: impl Fn(u8) -> bool) -> usize {
    (from..bytes.len()).find(|&at| is(bytes[at])).unwrap_or(bytes.len())
}

pub fn trimmed(bytes: &[u8]) -> &[u8] {
    let start = find(bytes, 0, |byte| !is_blank(byte));
    let end = bytes.iter().rposition(|&byte| !is_blank(byte)).map_or(start, |last| last + 1);
    &bytes[start..end]
}

/// Where the line after a line end begins, and whether the line end is odd.
///
/// A carriage return without a line feed ends a line for some servers and not for others. Several of them before a line feed
/// end the headers for some. Here they end one line.
fn after_line_end(bytes: &[u8], at: usize) -> (usize, bool) {
    if bytes[at] == b'\n' {
        return (at + 1, false);
    }
    if bytes.get(at + 1) == Some(&b'\n') {
        return (at + 2, false);
    }
    let after = find(bytes, at, |byte| byte != b'\r');
    (after + usize::from(bytes.get(after) == Some(&b'\n')), after < bytes.len())
}

/// The words of a line with their positions.
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

/// The lines, each with its line feed.
fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split_inclusive(|&byte| byte == b'\n').collect()
}
