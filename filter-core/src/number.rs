//! Numbers in their normal form: E.164 digits, or a short code, as a key of the number trie.

use crate::{
    layout::{NumberFormat, Numbering},
    limits::MAX_DIGITS,
    scratch::{Number, Scratch, Span, Uri, uri_flag},
    swar::{LETTERS, filled_after},
    trie::SHORT_CODE_DIGITS,
    trunk_zero::TRUNK_ZERO,
};

/// Nibble after the digits of a number of at most fifteen digits.
const TERMINATOR: u64 = 0xf;

/// Last nibble of a number of more than fifteen digits.
const OVERFLOW: u64 = 0xe;

/// The nibble of `*` in a technical prefix.
pub const STAR: u8 = 0xa;
/// The nibble of `#`.
pub const HASH: u8 = 0xb;
/// The nibble of `,`, which is a pause in dialling.
pub const COMMA: u8 = 0xc;

/// How many digits of a user part are kept. Further ones are only counted.
pub(crate) const KEPT: u32 = 32;

/// The digits of a number that is being normalised.
#[derive(Clone, Copy)]
struct Digits {
    /// The first sixteen, as BCD.
    first: u64,
    /// Sixteen more.
    more: u64,
    count: u32,
}

impl Digits {
    /// True if they begin with the `count` digits of `prefix`, and there is such a prefix.
    #[inline(always)]
    fn begin_with(&self, prefix: u64, count: u32) -> bool {
        count != 0 && count <= self.count && (self.first ^ prefix) >> (64 - 4 * (count & 15)) == 0
    }

    /// Takes the first `count` digits (1 to 15) out.
    #[inline(always)]
    fn take(&mut self, count: u32) {
        let shift = 4 * (count & 15);
        self.first = self.first << shift | self.more >> (64 - shift);
        self.more <<= shift;
        self.count -= count;
    }

    /// True if one of these prefixes fits, and more digits follow.
    #[inline(always)]
    fn begin_with_any<const N: usize>(mut self, prefixes: &[u64; N], counts: &[u8; N]) -> bool {
        self.take_first(prefixes, counts)
    }

    /// Takes out the first of these prefixes that fits, if more digits follow; true if there is one.
    #[inline(always)]
    fn take_first<const N: usize>(&mut self, prefixes: &[u64; N], counts: &[u8; N]) -> bool {
        for index in 0..N {
            let count = counts[index] as u32;
            if count < self.count && self.begin_with(prefixes[index], count) {
                self.take(count);
                return true;
            }
        }
        false
    }

    /// Puts the country code in front.
    #[inline(always)]
    fn put_country_code(&mut self, numbering: &Numbering) {
        let count = numbering.country_code_digits as u32;
        self.first = numbering.country_code | self.first >> (4 * (count & 15));
        self.count += count;
    }

    /// Takes out the national prefix 0 after a country code, which is not dialled from abroad: `+44 020...` is `+44 20...`. Senders
    /// leave it in, and servers and carriers take it out. After two zeros comes something else. `enough` is 1 if the digits are enough
    /// for such a number, and 0 otherwise.
    #[inline(always)]
    fn take_trunk_zero(&mut self, enough: u64) {
        // Without branches, so that there is one path for the verifier to follow. No country code begins with another one.
        let (two, three) = (bit(&TWO_DIGITS, self.first >> 56), bit(&THREE_DIGITS, self.first >> 52));
        let code = 8 * two + 12 * three;
        let after = self.first << code >> 56;
        let is_zero = 1 ^ (after.wrapping_sub(1) | 9u64.wrapping_sub(after)) >> 63;
        let taken = enough & is_zero & (two | three);
        let rest = u64::MAX >> code;
        self.first = self.first & !rest | ((self.first << (4 * taken)) | ((self.more >> 60) * taken)) & rest;
        self.more <<= 4 * taken;
        self.count -= taken as u32;
    }

    /// True if there are symbols among them.
    #[inline(always)]
    const fn have_symbols(&self) -> bool {
        // A nibble above nine: its highest bit is set, and one of the next two.
        const HIGHEST: u64 = 0x8888_8888_8888_8888;
        let (first, more) = (self.first, self.more);
        ((first & (first << 1 | first << 2)) | (more & (more << 1 | more << 2))) & HIGHEST != 0
    }
}

/// The country codes of [`TRUNK_ZERO`] that have two digits, each a bit by its BCD.
static TWO_DIGITS: [u64; 4] = codes(10);

/// Those of three digits.
static THREE_DIGITS: [u64; 64] = codes(100);

/// The country codes from `from` to ten times as much.
const fn codes<const N: usize>(from: u16) -> [u64; N] {
    let (mut bits, mut index) = ([0; N], 0);
    while index < TRUNK_ZERO.len() {
        let code = TRUNK_ZERO[index];
        if code >= from && code < 10 * from {
            let bcd = (code / 100 * 256 + code / 10 % 10 * 16 + code % 10) as usize;
            bits[bcd / 64] |= 1 << (bcd % 64);
        }
        index += 1;
    }
    bits
}

/// The bit of this number.
#[inline(always)]
fn bit<const N: usize>(bits: &[u64; N], number: u64) -> u64 {
    bits[(number >> 6) as usize & (N - 1)] >> (number & 63) & 1
}

/// True for a plan of the North American Numbering Plan.
#[inline(always)]
const fn is_nanp(numbering: &Numbering) -> bool {
    numbering.country_code_digits == 1 && numbering.country_code >> 60 == 1
}

/// Takes the technical prefix off the number that was read for a URI. False if symbols remain: it is no number.
#[inline(always)]
pub(crate) fn strip(numbering: &Numbering, uri: &mut Uri) -> bool {
    let mut digits = Digits { first: uri.digits, more: uri.more_digits, count: uri.digit_count as u32 };
    let nanp = is_nanp(numbering);
    // Ten digits are a North American number: 888 is an area code.
    let is_national = nanp && digits.count == 10 && digits.first >> 60 >= 2 && !digits.have_symbols();
    if uri.flags & uri_flag::PLUS == 0 && digits.count <= KEPT && !is_national {
        digits.take_first(&numbering.strip, &numbering.strip_digits);
        uri.digits = digits.first;
        uri.more_digits = digits.more;
        uri.digit_count = digits.count as u16;
    }
    !digits.have_symbols()
}

/// The number of digits from which a number without a plus needs no context: it is a whole national number. Servers take no notice of a
/// `phone-context`.
#[inline(always)]
pub(crate) fn whole_digits(numbering: &Numbering) -> u32 {
    const MOST_LOCAL: u32 = 10;
    let national = (numbering.most_digits as u32).wrapping_sub(numbering.country_code_digits as u32);
    if national < MOST_LOCAL { national } else { MOST_LOCAL }
}

/// True if a plus may follow this prefix: a technical one, the one for an outside line, or an international one. `*9+39...` and
/// `00+39...` begin with one.
#[inline(always)]
pub(crate) fn may_precede_plus(numbering: &Numbering, prefix: u64, count: u32) -> bool {
    let mut is_known = numbering.outside_prefix == prefix && numbering.outside_prefix_digits as u32 == count;
    for index in 0..numbering.strip.len() {
        is_known |= numbering.strip[index] == prefix && numbering.strip_digits[index] as u32 == count;
    }
    for index in 0..numbering.international_prefixes.len() {
        is_known |= numbering.international_prefixes[index] == prefix
            && numbering.international_prefix_digits[index] as u32 == count;
    }
    is_known
}

/// What a number is, apart from its digits.
#[derive(Clone, Copy)]
struct Form {
    /// It has a plus.
    plus: bool,
    /// It is what a caller dials: it may have a prefix for an outside line.
    dialled: bool,
    /// It may be a short code. A prefix of a number never is.
    may_be_short: bool,
}

/// Brings the number of a URI's user part into its normal form. The key is 0 if there is no number; the format is then final.
/// Otherwise it is `Valid` until the number's class is known, except for a short code, whose format is final.
///
/// `dialled` is true for what a caller dials, which may have a prefix for an outside line.
#[inline(always)]
#[must_use]
pub fn normalise(numbering: &Numbering, uri: &Uri, dialled: bool) -> Number {
    let mut number = Number { format: NumberFormat::Missing, ..Number::default() };
    if uri.user.is_empty() {
        return number;
    }
    if uri.flags & uri_flag::NUMBER == 0 {
        number.format = NumberFormat::NotANumber;
        return number;
    }
    normal_form(numbering, uri, Form { plus: uri.flags & uri_flag::PLUS != 0, dialled, may_be_short: true })
}

/// As [`normalise`], for the first digits of a number as a list has them: they are no short code.
#[must_use]
pub fn normalise_prefix(numbering: &Numbering, uri: &Uri) -> Number {
    normal_form(numbering, uri, Form { plus: uri.flags & uri_flag::PLUS != 0, dialled: false, may_be_short: false })
}

/// The first digits of an E.164 number as a list has them, and how many there are, without a national prefix after the country code.
#[must_use]
pub fn without_trunk_zero(first: u64, count: u32) -> (u64, u32) {
    let mut digits = Digits { first, more: 0, count };
    digits.take_trunk_zero(1);
    (digits.first, digits.count)
}

#[inline(always)]
fn normal_form(numbering: &Numbering, uri: &Uri, form: Form) -> Number {
    let mut number = Number { format: NumberFormat::Valid, ..Number::default() };
    let mut digits = Digits { first: uri.digits, more: uri.more_digits, count: uri.digit_count as u32 };
    let nanp = is_nanp(numbering);
    if form.dialled && !form.plus && digits.count <= KEPT {
        take_outside_prefix(numbering, &mut digits, nanp);
    }
    let is_short = form.may_be_short
        && digits.count <= SHORT_CODE_DIGITS
        && (!form.plus || is_service_number(digits.first, digits.count));
    if is_short {
        number.short_code = 1;
        if digits.count > LONGEST_ZEROS && digits.first == 0 {
            number.format = NumberFormat::UnassignedCountryCode;
        }
    } else if form.plus {
        // Senders put a plus before what was dialled. No country code begins with 0, so this is an international prefix.
        if digits.first >> 60 == 0 {
            digits.take_first(&numbering.international_prefixes, &numbering.international_prefix_digits);
        }
    } else {
        to_e164(numbering, &mut digits, nanp, form.may_be_short);
    }
    // Fewer digits may be no more than a local number.
    let is_too_short = (digits.count.wrapping_sub(FEWEST_WITH_COUNTRY) >> 31) & form.may_be_short as u32;
    digits.take_trunk_zero(1 ^ is_too_short as u64);
    let count = digits.count;
    number.digits = if count < 255 { count as u8 } else { 255 };
    number.key = if count > MAX_DIGITS {
        digits.first & !0xf | OVERFLOW
    } else {
        let shift = 60 - 4 * (count & 15);
        digits.first & (!0xf << shift) | TERMINATOR << shift
    };
    number
}

/// Takes the prefix for an outside line off what a caller dials, if what follows is dialled too: the number may also begin with
/// these digits by chance, as +972 without its plus does with 9.
#[inline(always)]
fn take_outside_prefix(numbering: &Numbering, digits: &mut Digits, nanp: bool) {
    let count = numbering.outside_prefix_digits as u32;
    // Ten digits are a North American number: 917 is an area code.
    let is_national = nanp && digits.count == 10 && digits.first >> 60 >= 2;
    if is_national || !digits.begin_with(numbering.outside_prefix, count) {
        return;
    }
    let mut rest = *digits;
    rest.take(count);
    // 9000 is an extension.
    let is_emergency = rest.count == 3 && rest.first != 0 && is_emergency_code((rest.first >> 52) as u32);
    let national = numbering.national_prefix_digits as u32;
    let is_dialled = rest.count > SHORT_CODE_DIGITS
        && (numbering.bare_national != 0
            || (nanp && is_north_american(&rest))
            || rest.begin_with(numbering.national_prefix, national)
            || rest.begin_with_any(&numbering.international_prefixes, &numbering.international_prefix_digits));
    if is_emergency || is_dialled {
        *digits = rest;
    }
}

/// True for the lengths in which North American numbers are dialled: with an area code, with a 1 before it, or without one.
#[inline(always)]
const fn is_north_american(digits: &Digits) -> bool {
    let first = digits.first >> 60;
    matches!((digits.count, first), (7 | 10, 2..=9) | (11, 1))
}

/// Makes digits without a plus E.164. `is_complete` is true for a number, and false for a prefix of one, whose length says nothing.
#[inline(always)]
fn to_e164(numbering: &Numbering, digits: &mut Digits, nanp: bool, is_complete: bool) {
    if digits.take_first(&numbering.international_prefixes, &numbering.international_prefix_digits) {
        return;
    }
    let first = digits.first >> 60;
    let national = numbering.national_prefix_digits as u32;
    if nanp && digits.count == 10 && first >= 2 {
        digits.put_country_code(numbering);
    } else if nanp && digits.count == 11 && first == 1 {
        // Already E.164.
    } else if digits.begin_with(numbering.national_prefix, national) && !(is_complete && is_whole(numbering, digits)) {
        digits.take(national);
        digits.put_country_code(numbering);
    } else if numbering.bare_national != 0 && !has_country_code(numbering, digits, nanp, is_complete) {
        digits.put_country_code(numbering);
    }
}

/// The fewest digits of a number of which the first ones are taken for a country code followed by a national prefix.
const FEWEST_WITH_COUNTRY: u32 = 9;

/// True if national digits that begin like the national prefix would be too few without it: 812 5550102 in Russia, whose prefix is 8.
/// No number of a country with the prefix 0 begins with it.
#[inline(always)]
fn is_whole(numbering: &Numbering, digits: &Digits) -> bool {
    let (code, national) = (numbering.country_code_digits as u32, numbering.national_prefix_digits as u32);
    numbering.bare_national != 0
        && numbering.national_prefix >> 60 != 0
        && digits.count + code < numbering.fewest_digits as u32 + national
}

/// True if digits that are national otherwise already begin with the country code: a national number of this country begins with its
/// national prefix (or, in North America, with 2 to 9), or would be too long with a second country code. Too few digits for a whole
/// number do not: 777 5550102 in Kazakhstan, whose country code is 7.
#[inline(always)]
fn has_country_code(numbering: &Numbering, digits: &Digits, nanp: bool, is_complete: bool) -> bool {
    let code = numbering.country_code_digits as u32;
    let is_enough = !is_complete || digits.count >= numbering.fewest_digits as u32;
    let is_known = numbering.national_prefix_digits != 0 && is_enough;
    digits.begin_with(numbering.country_code, code)
        && (nanp || is_known || digits.count + code > numbering.most_digits as u32)
}

/// The most zeros that are dialled: the operator's 0, and 000. More of them are what callers without a number send.
const LONGEST_ZEROS: u32 = 3;

/// True for a number that is dialled as it is in many countries, so that a plus before it was put there by mistake: the emergency
/// numbers that handsets know (3GPP TS 22.101 section 10.1.1), the North American service codes (N11 and 988, 47 CFR 52.15), and
/// 933, by which emergency calling is tested.
///
/// 000 is none of them: with a plus, only callers without a number send it. A list entry `000$` is about both.
#[inline(always)]
fn is_service_number(digits: u64, count: u32) -> bool {
    let code = (digits >> 52) as u32;
    let n11 = code & 0xff == 0x11 && code >= 0x211;
    count == 3 && (n11 || matches!(code, 0x110 | 0x112 | 0x118 | 0x119 | 0x933 | 0x988 | 0x999))
}

/// The bits that make the letters of `service` small. The byte after them stays.
const SERVICE_CASE: u64 = 0x0020_2020_2020_2020;

/// Bytes of `service:sos`.
const SERVICE_SOS_LENGTH: u32 = 11;

/// The emergency services of RFC 5031 section 4.2, each as up to sixteen small letters. The digit of each is its place, from 1.
const EMERGENCY_SERVICES: [[u64; 2]; 9] = [
    service(b"ambulance"),
    service(b"animal-control"),
    service(b"fire"),
    service(b"gas"),
    service(b"marine"),
    service(b"mountain"),
    service(b"physician"),
    service(b"poison"),
    service(b"police"),
];

/// The digit of any other emergency service.
const OTHER_EMERGENCY_SERVICE: u64 = 0xc;

/// The two digits with which the keys of emergency services begin.
const EMERGENCY: u64 = 0xaa;

const fn service(name: &[u8]) -> [u64; 2] {
    let mut words = [0; 2];
    let mut at = 0;
    while at < name.len() {
        words[at / 8] |= (name[at] as u64) << (8 * (at % 8));
        at += 1;
    }
    words
}

/// True if `user` is the rest of an emergency service's URN, see [`emergency_urn`].
#[inline(always)]
pub(crate) fn names_emergency(s: &Scratch, user: Span) -> bool {
    let start = user.start as u32;
    let length = user.len();
    let separator = s.byte(start + 7);
    length >= SERVICE_SOS_LENGTH
        && (s.word(start) | SERVICE_CASE) & 0x00ff_ffff_ffff_ffff == service(b"service")[0]
        && (separator == b':' || separator == b'.')
        && (s.word(start + 8) | 0x20_2020) & 0xff_ffff == service(b"sos")[0]
        && (length == SERVICE_SOS_LENGTH || s.byte(start + SERVICE_SOS_LENGTH) == b'.')
}

/// The number that stands for an emergency service, if `user` is the rest of such a URN after `urn:` (RFC 5031): `service:sos`, or
/// with a service, such as `service:sos.police`, in any case. Some phones write `service.sos`.
///
/// It is a short code of its own: the digits 0xA 0xA, then one for the service, if there is one.
#[inline(always)]
#[must_use]
pub fn emergency_urn(s: &Scratch, user: Span) -> Option<Number> {
    if !names_emergency(s, user) {
        return None;
    }
    let start = user.start as u32;
    let length = user.len();
    let mut number = Number { format: NumberFormat::Valid, short_code: 1, digits: 2, ..Number::default() };
    if length == SERVICE_SOS_LENGTH {
        number.key = EMERGENCY << 56 | TERMINATOR << 52;
        return Some(number);
    }
    let name = start + SERVICE_SOS_LENGTH + 1;
    let rest = length - SERVICE_SOS_LENGTH - 1;
    let first = filled_after(s.word(name), rest, 0) | filled_after(LETTERS, rest, 0);
    let second =
        if rest > 8 { filled_after(s.word(name + 8), rest - 8, 0) | filled_after(LETTERS, rest - 8, 0) } else { 0 };
    let mut digit = OTHER_EMERGENCY_SERVICE;
    let mut place = 0;
    for [one, two] in EMERGENCY_SERVICES {
        place += 1;
        if (first ^ one) | (second ^ two) == 0 && rest <= 16 {
            digit = place;
        }
    }
    number.digits = 3;
    number.key = EMERGENCY << 56 | digit << 52 | TERMINATOR << 48;
    Some(number)
}

/// True for what large providers send in place of a number that is withheld or unknown: after a plus, `ANONYMOUS`, `RESTRICTED`,
/// `BLOCKED`, `UNKNOWN` or `UNAVAILABLE` on a keypad. `digits` are the first sixteen.
#[inline(always)]
pub(crate) const fn spells_withheld(digits: u64, count: u16) -> bool {
    matches!(
        (digits, count),
        (0x2666_9668_7000_0000, 9)
            | (0x7378_7428_3300_0000, 10)
            | (0x2562_5330_0000_0000, 7)
            | (0x8656_6960_0000_0000, 7)
            | (0x8628_2452_2530_0000, 11)
    )
}

/// True for the number of an emergency service, as it is dialled where it is one, or as a URN names it. 933, by which emergency calling
/// is tested, and 988, the crisis lifeline, are among them.
#[inline(always)]
#[must_use]
pub const fn is_emergency(number: &Number) -> bool {
    let code = (number.key >> 52) as u32;
    number.short_code != 0 && (number.key >> 56 == EMERGENCY || number.digits == 3 && is_emergency_code(code))
}

/// The same for a number of which only the key is known: it has no more digits than those before the first `f`.
#[must_use]
pub const fn is_emergency_key(key: u64) -> bool {
    key >> 56 == EMERGENCY || (key >> 48) & 0xf == 0xf && is_emergency_code((key >> 52) as u32)
}

/// True for three digits that are dialled for an emergency service.
#[inline(always)]
const fn is_emergency_code(code: u32) -> bool {
    matches!(code, 0x000 | 0x110 | 0x112 | 0x118 | 0x119 | 0x911 | 0x933 | 0x988 | 0x999)
}

/// True if the first `count` digits of two keys are the same and both have that many.
#[inline(always)]
#[must_use]
pub fn neighbors(a: &Number, b: &Number, count: u32) -> bool {
    count != 0
        && a.digits as u32 >= count
        && b.digits as u32 >= count
        && (a.key ^ b.key) >> (64 - 4 * (count & 15)) == 0
}
