//! Names of header fields: which are known, and how one is read at the start of a line.

use crate::{
    host::{Function, FunctionKind, Host},
    layout::NamedHeader,
    limits::{NAME_WORDS, NAMED_HEADERS},
    scratch::{Header, Scratch},
    swar::LETTERS,
};

/// A header field's name, ready for comparison word by word.
#[derive(Clone, Copy)]
pub struct Name {
    /// For each word: the name in lower case, which of its bits are compared, and the case bits of its letters.
    words: [(u64, u64, u64); 3],
    /// Bytes of the name.
    length: u32,
    /// The header that has this name.
    header: Header,
}

impl Name {
    const fn new(header: Header, name: &[u8]) -> Self {
        Self { words: words(name), length: name.len() as u32, header }
    }

    /// True if a line that begins with these words begins with this name, in any case (the colon is not checked).
    #[inline(always)]
    fn is_in(&self, line: &[u64; 3]) -> bool {
        let (mut differs, mut index) = (0, 0);
        while index < self.words.len() {
            let (value, used, case) = self.words[index];
            differs |= ((line[index] & used) | case) ^ value;
            index += 1;
        }
        differs == 0
    }

    /// The name as it is read.
    #[inline(always)]
    const fn read(&self) -> NameRead {
        NameRead { header: self.header, length: self.length }
    }
}

/// For each word of a name in lower case: its bytes, which of its bits are compared, and the case bits of its letters.
const fn words<const N: usize>(name: &[u8]) -> [(u64, u64, u64); N] {
    let mut words = [(0, 0, 0); N];
    let mut index = 0;
    while index < name.len() {
        let shift = (index % 8) * 8;
        let (value, used, case) = words[index / 8];
        let letter = if name[index].is_ascii_lowercase() { 0x20u64 } else { 0 };
        words[index / 8] = (value | (name[index] as u64) << shift, used | 0xff << shift, case | letter << shift);
        index += 1;
    }
    words
}

impl NamedHeader {
    /// The header of this name, in lower case and of at most eight times [`NAME_WORDS`] bytes, with the letter of its compact form
    /// or 0.
    #[must_use]
    pub const fn new(name: &[u8], compact: u8) -> Self {
        let words: [_; NAME_WORDS] = words(name);
        let mut header = Self { length: name.len() as u32, compact, ..Self::EMPTY };
        let mut index = 0;
        while index < NAME_WORDS {
            (header.words[index], header.used[index], header.case[index]) = words[index];
            index += 1;
        }
        header
    }
}

const CALL_ID: Name = Name::new(Header::CallId, b"call-id");
const CONTACT: Name = Name::new(Header::Contact, b"contact");
const CONTENT_LENGTH: Name = Name::new(Header::ContentLength, b"content-length");
const CONTENT_TYPE: Name = Name::new(Header::ContentType, b"content-type");
const CSEQ: Name = Name::new(Header::CSeq, b"cseq");
const DIVERSION: Name = Name::new(Header::Diversion, b"diversion");
const FROM: Name = Name::new(Header::From, b"from");
const HISTORY_INFO: Name = Name::new(Header::HistoryInfo, b"history-info");
const IDENTITY: Name = Name::new(Header::Identity, b"identity");
const P_ASSERTED_IDENTITY: Name = Name::new(Header::AssertedIdentity, b"p-asserted-identity");
const P_PREFERRED_IDENTITY: Name = Name::new(Header::PreferredIdentity, b"p-preferred-identity");
const PRIVACY: Name = Name::new(Header::Privacy, b"privacy");
const REMOTE_PARTY_ID: Name = Name::new(Header::RemotePartyId, b"remote-party-id");
const ROUTE: Name = Name::new(Header::Route, b"route");
const SERVER: Name = Name::new(Header::Server, b"server");
const SUBJECT: Name = Name::new(Header::Subject, b"subject");
const TO: Name = Name::new(Header::To, b"to");
const USER_AGENT: Name = Name::new(Header::UserAgent, b"user-agent");
const VIA: Name = Name::new(Header::Via, b"via");

/// The names of eight bytes or more, and the shorter ones of four or more. Those that begin with `content-` are told apart by what
/// follows.
const LONG_NAMES: [Name; 16] = [
    CALL_ID,
    CONTACT,
    CSEQ,
    DIVERSION,
    FROM,
    HISTORY_INFO,
    IDENTITY,
    P_ASSERTED_IDENTITY,
    P_PREFERRED_IDENTITY,
    PRIVACY,
    REMOTE_PARTY_ID,
    ROUTE,
    SERVER,
    SUBJECT,
    USER_AGENT,
    NO_NAME,
];

/// A name that no line begins with: with no bit compared, its word is not zero.
const NO_NAME: Name = Name { words: [(1, 0, 0), (0, 0, 0), (0, 0, 0)], length: 0, header: Header::Other };

/// Slots of [`TABLE`], a power of two.
const SLOTS: usize = 64;

/// The slot of a name that begins with these four bytes, of either case.
#[inline(always)]
const fn slot(start: u32, multiplier: u32) -> usize {
    ((start | LETTERS as u32).wrapping_mul(multiplier) >> (32 - SLOTS.trailing_zeros())) as usize
}

/// A multiplier with which each name has a slot of its own.
const MULTIPLIER: u32 = {
    let mut multiplier = 0x9e37_79b1u32;
    loop {
        let (mut used, mut index, mut is_perfect) = (0u64, 0, true);
        while index < LONG_NAMES.len() - 1 {
            let bit = 1 << slot(LONG_NAMES[index].words[0].0 as u32, multiplier);
            is_perfect &= used & bit == 0;
            used |= bit;
            index += 1;
        }
        if is_perfect {
            break multiplier;
        }
        multiplier = multiplier.wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35e) | 1;
    }
};

/// The long names by their slots.
static TABLE: [Name; SLOTS] = {
    let mut table = [NO_NAME; SLOTS];
    let mut index = 0;
    while index < LONG_NAMES.len() - 1 {
        table[slot(LONG_NAMES[index].words[0].0 as u32, MULTIPLIER)] = LONG_NAMES[index];
        index += 1;
    }
    table
};

/// The headers of the compact forms (RFC 3261 section 7.3.3, RFC 8224 section 4, RFC 6665 and others), by the low bits of the letter, which both
/// cases share.
static COMPACT: [Header; 32] = {
    const fn index(letter: u8) -> usize {
        (letter & 31) as usize
    }
    let mut table = [Header::Other; 32];
    table[index(b'c')] = Header::ContentType;
    table[index(b'f')] = Header::From;
    table[index(b'i')] = Header::CallId;
    table[index(b'l')] = Header::ContentLength;
    table[index(b'm')] = Header::Contact;
    table[index(b's')] = Header::Subject;
    table[index(b't')] = Header::To;
    table[index(b'v')] = Header::Via;
    table[index(b'y')] = Header::Identity;
    table
};

/// The name at the start of a header line.
pub struct NameRead {
    /// The header, `Other` for one that nothing needs.
    pub header: Header,
    /// Bytes of the name, 0 if it was not measured (`Other`).
    pub length: u32,
}

/// True for a byte that can be between a header's name and its colon: white space, or the beginning of a folded line.
#[inline(always)]
pub const fn is_gap(byte: u8) -> bool {
    byte == b' ' || byte == b'\t' || byte == b'\r' || byte == b'\n'
}

/// Reads the name of the header line at `line`. What follows it is not examined: it may be the beginning of a longer name.
#[inline(always)]
pub fn read_name(scratch: &Scratch, line: u32) -> NameRead {
    let words: [u64; 3] = scratch.words(line);
    // Compact forms: a letter, then a colon or white space.
    let second = (words[0] >> 8) as u8;
    if second == b':' || is_gap(second) {
        let header = COMPACT[words[0] as usize & (COMPACT.len() - 1)];
        let header = if (words[0] as u8).is_ascii_alphabetic() { header } else { Header::Other };
        return NameRead { header, length: 1 };
    }
    if TO.is_in(&words) {
        return TO.read();
    }
    if VIA.is_in(&words) {
        return VIA.read();
    }
    if (words[0] | LETTERS) == CONTENT_LENGTH.words[0].0 {
        if CONTENT_LENGTH.is_in(&words) {
            return CONTENT_LENGTH.read();
        }
        if CONTENT_TYPE.is_in(&words) {
            return CONTENT_TYPE.read();
        }
    }
    let name = &TABLE[slot(words[0] as u32, MULTIPLIER) & (SLOTS - 1)];
    if name.is_in(&words) { name.read() } else { NO_NAME.read() }
}

/// The function of the host that looks for the name of the header line at this position among those that the policy names. It
/// notes the header and the name's length as [`read_name`]'s are noted, if it finds it.
pub struct ReadNamedHeader;

impl Function for ReadNamedHeader {
    const KIND: FunctionKind = FunctionKind::ReadNamedHeader;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, line: u32, _: u32) -> u32 {
        let config = host.config();
        let second = s.byte(line + 1);
        let letter = if second == b':' || is_gap(second) { s.byte(line) | 0x20 } else { 0 };
        for index in 0..NAMED_HEADERS as u32 {
            if index >= config.named_headers {
                break;
            }
            let name = &config.headers[index as usize];
            let is_compact = letter != 0 && letter == name.compact;
            if is_compact || name.length != 0 && is_named(name, s, line) {
                s.cursors.name = config.header_place(index);
                s.cursors.register = if is_compact { 1 } else { name.length };
            }
        }
        0
    }
}

/// True if this name, in any case, is the whole name of the line at `line`. (It may be the beginning of another one.)
#[inline(always)]
fn is_named(name: &NamedHeader, s: &Scratch, line: u32) -> bool {
    let mut differs = 0;
    for index in 0..name.words.len() {
        differs |= (s.word(line + 8 * index as u32) & name.used[index] | name.case[index]) ^ name.words[index];
    }
    let after = s.byte(line + name.length);
    differs == 0 && (after == b':' || is_gap(after))
}
