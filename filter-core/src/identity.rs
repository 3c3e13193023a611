//! The attestation that the Identity header claims, unverified.

use crate::{
    find::{Blank, Dot, find, skip_blank},
    host::{Function, FunctionKind, Host},
    layout::Attestation,
    scratch::Scratch,
};

/// Base64url of `{"attest":"`: keys of a PASSporT's payload are in lexicographic order without white space (RFC 8225
/// section 9), so a SHAKEN payload (RFC 8588) begins so, and twelve bytes fill sixteen characters.
const CLAIM: [u64; 2] = [u64::from_le_bytes(*b"eyJhdHRl"), u64::from_le_bytes(*b"c3QiOiJ\0")];

/// Reads the Identity header whose value is `start..end`. The first header with a claim counts.
///
/// Everything else is unknown: a `div` PASSporT (RFC 8946), whose payload begins with `dest`; the compact form, whose payload
/// is empty; garbage.
#[inline(always)]
pub fn read<'m, H: Host<'m>>(host: H, s: &mut Scratch, start: u32, end: u32) {
    host.call::<ReadIdentity>(s, start, end);
}

/// The function of the host that [`read`] calls. It runs within the walk over the header lines: read there, Identity would be
/// verified once for each path that the walk can take.
pub struct ReadIdentity;

impl Function for ReadIdentity {
    const KIND: FunctionKind = FunctionKind::ReadIdentity;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, start: u32, end: u32) -> u32 {
        let attestation = s.message.attestation;
        if attestation == Attestation::None || attestation == Attestation::Unknown {
            s.message.attestation = claim(host, s, start, end);
        }
        0
    }
}

#[inline(always)]
fn claim<'m, H: Host<'m>>(host: H, s: &mut Scratch, start: u32, end: u32) -> Attestation {
    let token = skip_blank(host, s, start, end);
    let token_end = find::<Blank, H>(host, s, token, end);
    let dot = find::<Dot, H>(host, s, token, token_end);
    if token_end.wrapping_sub(dot) < 18 {
        return Attestation::Unknown;
    }
    let second = s.word(dot + 9);
    if s.word(dot + 1) != CLAIM[0] || second & 0x00ff_ffff_ffff_ffff != CLAIM[1] {
        return Attestation::Unknown;
    }
    match (second >> 56) as u8 {
        b'B' => Attestation::A,
        b'C' => Attestation::B,
        b'D' => Attestation::C,
        _ => Attestation::Unknown,
    }
}
