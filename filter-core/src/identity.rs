//! The attestation that the Identity header claims, unverified.

use crate::{
    find::{Blank, Dot, LineEnd, find, skip_blank},
    host::Host,
    layout::Attestation,
    limits::MAX_HEADER_LINES,
    message::{behind_line_end, is_folded},
    scratch::Scratch,
};

/// Base64url of `{"attest":"`: keys of a PASSporT's payload are in lexicographic order without white space (RFC 8225
/// section 9), so a SHAKEN payload (RFC 8588) begins so, and twelve bytes fill sixteen characters.
const CLAIM: [u64; 2] = [u64::from_le_bytes(*b"eyJhdHRl"), u64::from_le_bytes(*b"c3QiOiJ\0")];

/// Reads the Identity header whose value begins at `start`. The first header with a claim counts.
///
/// Everything else is unknown: a `div` PASSporT (RFC 8946), whose payload begins with `dest`, the compact form, whose payload
/// is empty, garbage.
#[inline(always)]
pub fn read<'m, H: Host<'m>>(host: H, s: &mut Scratch, start: u32) {
    let attestation = s.attestation;
    if attestation != Attestation::None as u32 && attestation != Attestation::Unknown as u32 {
        return;
    }
    s.attestation = Attestation::Unknown as u32;
    let length = s.length;
    let token = skip_blank(host, s, start, length);
    // Nearly always one space stands in front.
    let is_close = token.wrapping_sub(start) <= 1 && !is_line_end(s.byte(token.wrapping_sub(1)));
    if !is_close && !is_in_value(host, s, start, token) {
        return;
    }
    let end = find::<Blank, H>(host, s, token, length);
    let dot = find::<Dot, H>(host, s, token, end);
    if end.wrapping_sub(dot) < 18 {
        return;
    }
    let second = s.word(dot + 9);
    if s.word(dot + 1) != CLAIM[0] || second & 0x00ff_ffff_ffff_ffff != CLAIM[1] {
        return;
    }
    s.attestation = match (second >> 56) as u8 {
        b'B' => Attestation::A as u32,
        b'C' => Attestation::B as u32,
        b'D' => Attestation::C as u32,
        _ => Attestation::Unknown as u32,
    };
}

#[inline(always)]
const fn is_line_end(byte: u8) -> bool {
    byte == b'\n' || byte == b'\r'
}

/// True if the first byte that is none to be skipped belongs to the value that begins at `start`: every line end in front of it is
/// folded. Else the value is empty, and what was skipped is another line's, be it blank or not.
#[inline(always)]
fn is_in_value<'m, H: Host<'m>>(host: H, s: &mut Scratch, start: u32, token: u32) -> bool {
    let mut from = start;
    for _ in 0..host.bound(MAX_HEADER_LINES) {
        let line_end = find::<LineEnd, H>(host, s, from, token);
        if line_end == token {
            return true;
        }
        from = behind_line_end(host, s, line_end);
        if !is_folded(s.byte(from)) {
            return false;
        }
    }
    false
}
