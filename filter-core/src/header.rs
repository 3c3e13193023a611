//! Names of header fields: which are known, and how one is read at the start of a line.

use crate::{
    host::{Function, FunctionKind, Host},
    layout::NamedHeader,
    limits::{NAME_WORDS, NAMED_HEADERS},
    scratch::{Header, Scratch},
};

/// A header field's name, ready for comparison word by word.
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

    /// True if the line at `line` begins with this name, in any case (the colon is not checked).
    #[inline(always)]
    fn is_at(&self, scratch: &Scratch, line: u32) -> bool {
        let mut index = 0;
        while index < self.words.len() {
            let (value, used, case) = self.words[index];
            if used != 0 && (scratch.word(line + 8 * index as u32) & used) | case != value {
                return false;
            }
            index += 1;
        }
        true
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
const SERVER: Name = Name::new(Header::Server, b"server");
const SUBJECT: Name = Name::new(Header::Subject, b"subject");
const TO: Name = Name::new(Header::To, b"to");
const USER_AGENT: Name = Name::new(Header::UserAgent, b"user-agent");
const VIA: Name = Name::new(Header::Via, b"via");

/// The first four bytes of a name as a match key, with the case bits set so that both cases match. Other bytes can collide; the
/// comparison of the whole name rules those out.
const fn key(start: &[u8; 4]) -> u32 {
    u32::from_le_bytes(*start)
}

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

/// Reads the name of the header line at `line`, of which `word` holds the first eight bytes.
#[inline(always)]
pub fn read_name(scratch: &Scratch, line: u32, word: u64) -> NameRead {
    // Compact forms (RFC 3261 section 7.3.3, RFC 8224 section 4, RFC 6665 and others): a letter, then a colon or white space.
    let second = (word >> 8) as u8;
    if second == b':' || is_gap(second) {
        let header = match word as u8 | 0x20 {
            b'c' => Header::ContentType,
            b'f' => Header::From,
            b'i' => Header::CallId,
            b'l' => Header::ContentLength,
            b'm' => Header::Contact,
            b's' => Header::Subject,
            b't' => Header::To,
            b'v' => Header::Via,
            b'y' => Header::Identity,
            _ => Header::Other,
        };
        return NameRead { header, length: 1 };
    }
    let start = word as u32 | 0x2020_2020;
    if start & 0xffff == key(b"to\0\0") {
        return check(&TO, scratch, line);
    }
    const CALL: u32 = key(b"call");
    const CONT: u32 = key(b"cont");
    const CSEQ4: u32 = key(b"cseq");
    const DIVE: u32 = key(b"dive");
    const FROM4: u32 = key(b"from");
    const HIST: u32 = key(b"hist");
    const IDEN: u32 = key(b"iden");
    const P_AS: u32 = key(b"p-as");
    const P_PR: u32 = key(b"p-pr");
    const PRIV: u32 = key(b"priv");
    const REMO: u32 = key(b"remo");
    const SERV: u32 = key(b"serv");
    const SUBJ: u32 = key(b"subj");
    const USER: u32 = key(b"user");
    match start {
        CALL => check(&CALL_ID, scratch, line),
        CONT => {
            // contact, content-length, content-type
            if CONTACT.is_at(scratch, line) {
                check(&CONTACT, scratch, line)
            } else if CONTENT_LENGTH.is_at(scratch, line) {
                check(&CONTENT_LENGTH, scratch, line)
            } else {
                check(&CONTENT_TYPE, scratch, line)
            }
        }
        CSEQ4 => check(&CSEQ, scratch, line),
        DIVE => check(&DIVERSION, scratch, line),
        FROM4 => check(&FROM, scratch, line),
        HIST => check(&HISTORY_INFO, scratch, line),
        IDEN => check(&IDENTITY, scratch, line),
        P_AS => check(&P_ASSERTED_IDENTITY, scratch, line),
        P_PR => check(&P_PREFERRED_IDENTITY, scratch, line),
        PRIV => check(&PRIVACY, scratch, line),
        REMO => check(&REMOTE_PARTY_ID, scratch, line),
        SERV => check(&SERVER, scratch, line),
        SUBJ => check(&SUBJECT, scratch, line),
        USER => check(&USER_AGENT, scratch, line),
        _ if start & 0xff_ffff == key(b"via\0") => check(&VIA, scratch, line),
        _ => NameRead { header: Header::Other, length: 0 },
    }
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

#[inline(always)]
fn check(name: &'static Name, scratch: &Scratch, line: u32) -> NameRead {
    if name.is_at(scratch, line) {
        NameRead { header: name.header, length: name.length }
    } else {
        NameRead { header: Header::Other, length: 0 }
    }
}
