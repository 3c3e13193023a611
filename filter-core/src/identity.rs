//! What Identity headers claim, unverified: the kinds of PASSporT, and the attestation of the SHAKEN one.

use crate::{
    find::{Blank, ClosingAngle, Comma, Dot, SemicolonComma, find, skip_blank},
    host::{Function, FunctionKind, Host, Step},
    layout::{Attestation, passport},
    lists,
    scratch::{FURTHER_LINES, Header, Scratch},
    swar::text,
    uri::{Parameter, find_parameter, is_word},
};

/// Base64url of `{"attest":"`: keys of a PASSporT's payload are in lexicographic order without white space (RFC 8225
/// section 9), so a SHAKEN payload (RFC 8588) begins so, and twelve bytes fill sixteen characters.
const CLAIM: [u64; 2] = [text(b"eyJhdHRl"), text(b"c3QiOiJ\0")];

/// Reads the Identity headers. The first one with a claim counts.
///
/// Every other claim is unknown: a `div` PASSporT (RFC 8946), whose payload begins with `dest`; the compact form, whose payload
/// is empty; a value without `info` or without a signature, which every verifier rejects (RFC 8224 section 4); garbage. So is a value that is cut off,
/// unless the rest of it is in another fragment.
#[inline(always)]
pub fn read<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    if s.message.has(Header::Identity) {
        let line = s.message.header(Header::Identity);
        lists::begin_line(s, line);
        s.cursors.further_line = 0;
        host.repeat(&mut Lines { host, s });
    }
}

/// Goes from one Identity header to the next.
struct Lines<'s, H> {
    host: H,
    s: &'s mut Scratch,
}

impl<'m, H: Host<'m>> Step for Lines<'_, H> {
    const TIMES: u32 = FURTHER_LINES as u32 + 1;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let (host, s) = (self.host, &mut *self.s);
        let (start, end) = (s.cursors.value, s.cursors.value_line_end);
        host.call::<ReadIdentity>(s, start, end);
        !lists::next_line(host, s, Header::Identity)
    }
}

/// The function of the host that reads an Identity header, with the ends of its value.
pub struct ReadIdentity;

impl Function for ReadIdentity {
    const KIND: FunctionKind = FunctionKind::ReadIdentity;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, start: u32, end: u32) -> u32 {
        let is_cut = s.message.is_cut_at(end);
        let token = skip_blank(host, s, start, end);
        let token_end = find::<Blank, H>(host, s, token, end);
        let claim = if !is_cut {
            claim(host, s, token, token_end, end)
        } else if s.packet.fragment != 0 {
            Attestation::Truncated
        } else {
            Attestation::Unknown
        };
        s.message.passports |= kind(host, s, token, end, claim);
        let attestation = s.message.attestation;
        if attestation == Attestation::None || attestation == Attestation::Unknown {
            s.message.attestation = claim;
        }
        0
    }
}

#[inline(always)]
fn claim<'m, H: Host<'m>>(host: H, s: &mut Scratch, token: u32, token_end: u32, end: u32) -> Attestation {
    let dot = find::<Dot, H>(host, s, token, token_end);
    if token_end.wrapping_sub(dot) < 18 {
        return Attestation::Unknown;
    }
    let second = s.word(dot + 9);
    if s.word(dot + 1) != CLAIM[0] || second & 0x00ff_ffff_ffff_ffff != CLAIM[1] {
        return Attestation::Unknown;
    }
    let claim = match (second >> 56) as u8 {
        b'B' => Attestation::A,
        b'C' => Attestation::B,
        b'D' => Attestation::C,
        _ => return Attestation::Unknown,
    };
    // The claim is one letter: after it come its closing quote and a comma or a brace.
    if s.byte(dot + 17) != b'I' || !matches!(s.byte(dot + 18), b'g'..=b'v') {
        return Attestation::Unknown;
    }
    // A PASSporT ends with its signature.
    let payload = dot + 1;
    let token_end = find::<SemicolonComma, H>(host, s, payload, token_end);
    let signature = find::<Dot, H>(host, s, payload, token_end) + 1;
    let info = find_parameter(host, s, Parameter::Info, token, end);
    if signature >= token_end || info == 0 || info >= end || is_empty(s, info) {
        return Attestation::Unknown;
    }
    // Identity is no list (RFC 8224 section 4): joined with another one, neither can be verified.
    let address_end = find::<ClosingAngle, H>(host, s, info, end);
    let from = if address_end < end { address_end } else { info };
    if find::<Comma, H>(host, s, from, end) < end { Attestation::Unknown } else { claim }
}

/// True if no certificate is named at `info`: `info=;`, `info=<>`, `info=""`.
#[inline(always)]
fn is_empty(s: &Scratch, info: u32) -> bool {
    let (first, second) = (s.byte(info), s.byte(info + 1));
    let is_opened = matches!(first, b'<' | b'"');
    matches!(first, b';' | b',') || is_opened && (second <= b' ' || matches!(second, b'<' | b'>' | b'"'))
}

/// The kind of PASSporT: its `ppt`. Without it, a readable claim shows a SHAKEN one.
#[inline(always)]
fn kind<'m, H: Host<'m>>(host: H, s: &mut Scratch, token: u32, end: u32, claim: Attestation) -> u32 {
    let value = find_parameter(host, s, Parameter::Ppt, token, end);
    if value == 0 {
        let is_readable = matches!(claim, Attestation::A | Attestation::B | Attestation::C);
        return if is_readable { passport::SHAKEN } else { passport::OTHER };
    }
    let is = |kind: &[u8; 8], letters: u32| is_word(s, value, end, text(kind), letters);
    if is(b"shaken\0\0", 6) {
        passport::SHAKEN
    } else if is(b"div\0\0\0\0\0", 3) {
        passport::DIV
    } else if is(b"rph\0\0\0\0\0", 3) {
        passport::RPH
    } else {
        passport::OTHER
    }
}
