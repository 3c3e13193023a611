//! The engine's working memory: one value a CPU in the kernel, one a thread in user space.
//!
//! Cursors and results live here and not in registers: what is read back from a map is an unknown number to the verifier,
//! so the states of a loop's iterations merge instead of multiplying (kept in registers, the header scan exceeds one million
//! verified instructions).

use crate::{
    host::Host,
    layout::{Event, RuleSet},
    limits::{INSPECTED_LENGTH, PADDING},
    swar::lowest_bit,
};

const MASK: usize = INSPECTED_LENGTH - 1;

macro_rules! scratch_layout {
    ($(#[$meta:meta])* pub struct $name:ident { $($body:tt)* }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug)]
        #[cfg_attr(
            feature = "bytes",
            derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
        )]
        pub struct $name { $($body)* }
    };
}

scratch_layout! {
    /// A piece of the message, as offsets into [`Scratch::buffer`]; empty where `end <= start`.
    #[derive(Default, PartialEq, Eq)]
    pub struct Span {
        /// First byte.
        pub start: u16,
        /// First byte behind it.
        pub end: u16,
    }
}

impl Span {
    /// True if there is nothing in it.
    #[inline(always)]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// Bytes in it.
    #[inline(always)]
    #[must_use]
    pub const fn len(self) -> u32 {
        (self.end as u32).saturating_sub(self.start as u32)
    }
}

/// The headers whose place is remembered, and the Request-URI with them. A bit of [`Scratch::seen`] each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "each is the header of its name")]
pub enum Header {
    /// The Request-URI, from the start line.
    RequestUri = 0,
    From = 1,
    To = 2,
    CallId = 3,
    CSeq = 4,
    /// The topmost Via.
    Via = 5,
    /// The first Contact.
    Contact = 6,
    ContentLength = 7,
    UserAgent = 8,
    Server = 9,
    /// The first P-Asserted-Identity line.
    AssertedIdentity = 10,
    /// The second P-Asserted-Identity line.
    SecondAssertedIdentity = 11,
    RemotePartyId = 12,
    /// The first Diversion line.
    Diversion = 13,
    /// The last History-Info line.
    HistoryInfo = 14,
    /// The History-Info line before the last.
    EarlierHistoryInfo = 15,
    Subject = 16,
    Privacy = 17,
    ContentType = 18,
    /// The Identity header whose claim is believed to be the call's.
    Identity = 19,
    /// The status code of a response.
    StatusCode = 20,
    /// The method of a request.
    Method = 21,
    /// The body.
    Body = 22,
    /// The session name of a session description.
    SdpSession = 23,
    /// Not a header that anything needs.
    Other = 31,
}

/// How many [`Header`] places there are.
pub const HEADERS: usize = 32;

/// The URIs that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "each is the URI of the header of its name")]
pub enum UriOf {
    Request = 0,
    From = 1,
    To = 2,
    Asserted = 3,
    /// The second value of P-Asserted-Identity, in its first line or in a second one.
    SecondAsserted = 4,
    RemoteParty = 5,
    Diversion = 6,
    History = 7,
}

/// How many [`UriOf`] there are.
pub const URIS: usize = 8;

/// Bits of [`Uri::flags`].
pub mod uri_flag {
    /// The value or its URI cannot be read.
    pub const MALFORMED: u8 = 1;
    /// The user part is a number: digits, visual separators, escapes of them.
    pub const NUMBER: u8 = 2;
    /// The number begins with `+`.
    pub const PLUS: u8 = 4;
    /// The user part or the host says anonymous.
    pub const ANONYMOUS: u8 = 8;
    /// There is a URI.
    pub const PRESENT: u8 = 16;
    /// The value is an addr-spec without angle brackets: what follows a semicolon belongs to the header.
    pub const BARE: u8 = 32;
}

/// [`Uri::scheme`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "each is the scheme of its name")]
pub enum Scheme {
    None = 0,
    Sip = 1,
    Sips = 2,
    Tel = 3,
    Other = 4,
}

scratch_layout! {
    /// What is read of a name-addr or addr-spec.
    #[derive(Default)]
    pub struct Uri {
        /// The number's digits as BCD, first digit on top, up to sixteen.
        pub digits: u64,
        /// The digits behind those.
        pub more_digits: u64,
        /// User part, raw; for tel: the number.
        pub user: Span,
        /// What stands between the user part and the end of the URI: host, port, parameters.
        pub host: Span,
        /// Display name, raw, without quotes.
        pub display: Span,
        /// End of the user part's number: its end, or its first semicolon.
        pub number_end: u16,
        /// Digits in the number.
        pub digit_count: u16,
        /// [`Scheme`].
        pub scheme: u8,
        /// [`uri_flag`] bits.
        pub flags: u8,
        /// Zero.
        pub reserved: [u8; 6],
    }
}

impl Uri {
    /// Nothing read.
    pub const EMPTY: Self = Self {
        digits: 0,
        more_digits: 0,
        user: Span { start: 0, end: 0 },
        host: Span { start: 0, end: 0 },
        display: Span { start: 0, end: 0 },
        number_end: 0,
        digit_count: 0,
        scheme: 0,
        flags: 0,
        reserved: [0; 6],
    };
}

scratch_layout! {
    /// A number in its normal form.
    #[derive(Default)]
    pub struct Number {
        /// Key of the number trie: digits, then a terminator; 0 where there is no number.
        pub key: u64,
        /// Its class.
        pub class: u32,
        /// Digits.
        pub digits: u8,
        /// [`crate::layout::NumberFormat`].
        pub format: u8,
        /// Zero.
        pub reserved: [u8; 2],
    }
}

/// The numbers of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "each is the number of its name")]
pub enum NumberOf {
    Calling = 0,
    Called = 1,
    Forwarded = 2,
    From = 3,
    Asserted = 4,
}

/// How many [`NumberOf`] there are (rounded up).
pub const NUMBERS: usize = 8;

/// [`Scratch::message_read`].
pub mod extent {
    /// Not at all.
    pub const NONE: u32 = 0;
    /// As far as rules without `rule_flag::LATE` ask.
    pub const FIRST: u32 = 1;
    /// As far as any rule asks.
    pub const WHOLE: u32 = 2;
}

/// [`Scratch::pause`], where it is no [`Header`].
pub mod pause {
    /// The reading of the headers goes on to their end.
    pub const NONE: u32 = 0xff;
    /// It has not begun, or has paused.
    pub const UNFINISHED: u32 = 0xfe;
}

/// What the payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Not looked at.
    Unread = 0,
    /// A SIP request.
    Request = 1,
    /// A SIP response.
    Response = 2,
    /// Line ends or zero bytes only (RFC 5626 section 3.5.1, and what NAT keep-alives use).
    KeepAlive = 3,
    /// STUN (RFC 8489 section 5).
    Stun = 4,
    /// None of these.
    NotSip = 5,
    /// No payload.
    Empty = 6,
}

impl Kind {
    /// Names in output, by value.
    pub const NAMES: [&str; 7] = ["unread", "request", "response", "keep-alive", "stun", "not-sip", "empty"];
}

scratch_layout! {
    /// The working memory.
    pub struct Scratch {
        /// The message, and zeroes behind it.
        pub buffer: [u8; INSPECTED_LENGTH + PADDING],

        /// The event that is being made.
        pub event: Event,
        /// Rules that can still match.
        pub candidates: RuleSet,
        /// Union of the rows that a text's patterns hit.
        pub hits: RuleSet,
        /// The URIs.
        pub uris: [Uri; URIS],
        /// The numbers.
        pub numbers: [Number; NUMBERS],
        /// The headers' values, as they stand: with the white space around them and folding in them.
        pub headers: [Span; HEADERS],

        /// Source address; IPv4 mapped.
        pub source: [u8; 16],
        /// Destination address.
        pub destination: [u8; 16],
        /// [`crate::host::Host::tick`] when `now` was asked for.
        pub tick: u64,
        /// [`crate::host::Host::now`].
        pub now: u64,
        /// Counts packets, so that a reader can tell a fresh result from an old one.
        pub sequence: u64,
        /// Source port.
        pub source_port: u16,
        /// Destination port.
        pub destination_port: u16,
        /// Index into the configuration's ports.
        pub service: u32,
        /// 4 or 6.
        pub ip_version: u32,
        /// The protocol of the payload at `offset`.
        pub protocol: u32,
        /// Offset of the header being read in the packet.
        pub offset: u32,
        /// End of the IP datagram in the packet.
        pub datagram_end: u32,
        /// 1 if the packet is a fragment.
        pub fragment: u32,
        /// Offset of the fragment, in bytes.
        pub fragment_offset: u32,
        /// Identification of the fragmented datagram.
        pub fragment_id: u32,
        /// Bytes of the packet.
        pub packet_length: u32,
        /// Offset of the payload in the packet.
        pub payload_offset: u32,
        /// [`crate::layout::Transport`] of the port.
        pub transport: u32,
        /// Not 0 for a TCP segment that opens a connection.
        pub opens: u32,
        /// Bytes of payload that the transport header claims and the packet has.
        pub payload_length: u32,
        /// Bytes of the message in the buffer.
        pub length: u32,
        /// The end of the headers: the body begins here.
        pub body: u32,
        /// Cursor of the loop over the message.
        pub cursor: u32,
        /// Cursor of the loop inside a line.
        pub at: u32,
        /// The header whose value goes on until the next line that is not folded.
        pub open_header: u32,
        /// The header behind which the reading pauses, see [`pause`].
        pub pause: u32,
        /// The header whose name has been read.
        pub name: u32,
        /// What a loop over a few things has still to do, as bits.
        pub left: u32,
        /// Header lines so far.
        pub lines: u32,
        /// Bits `1 << Header`.
        pub seen: u32,
        /// [`crate::layout::anomaly`] bits.
        pub anomalies: u32,
        /// [`Kind`].
        pub kind: u32,
        /// [`crate::layout::Method`].
        pub method: u32,
        /// [`crate::layout::Attestation`].
        pub attestation: u32,
        /// [`crate::layout::Verstat`].
        pub verstat: u32,
        /// 1 if calling and called are neighbours.
        pub neighbor: u32,
        /// 1 if Privacy asks for the identity to be withheld.
        pub privacy: u32,
        /// 1 if the source's asserted identity is believed.
        pub asserted_believed: u32,
        /// Class of the source.
        pub source_class: u32,
        /// Class of the destination.
        pub destination_class: u32,
        /// Content-Length, or all ones where it is absent or no number.
        pub content_length: u32,
        /// State of the automaton that is running.
        pub state: u32,
        /// Word of the rule set that the walk is in.
        pub word: u32,
        /// How far the message has been read, see [`extent`].
        pub message_read: u32,
        /// How the walk ended, see [`crate::evaluate`].
        pub outcome: u32,
        /// Slot of the rule that decided, or `NO_RULE`.
        pub slot: u32,
        /// Index of the rule that decided, or `NO_RULE`.
        pub rule: u32,
        /// [`crate::reason::Reason`].
        pub reason: u32,
        /// General purpose, for loops inside loops.
        pub register: u32,
        /// Zero.
        pub reserved: u32,
    }
}

impl Scratch {
    /// The byte at `position`.
    #[inline(always)]
    #[must_use]
    pub fn byte(&self, position: u32) -> u8 {
        self.buffer[position as usize & MASK]
    }

    /// Eight bytes at `position`, the first one lowest.
    #[inline(always)]
    #[must_use]
    pub fn word(&self, position: u32) -> u64 {
        let at = position as usize & MASK;
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.buffer[at..at + 8]);
        u64::from_le_bytes(bytes)
    }

    /// Zeroes what may be read behind the message's end.
    #[inline(always)]
    pub fn pad(&mut self) {
        let at = (self.length as usize).wrapping_sub(1) & MASK;
        self.buffer[at + 1..at + 1 + PADDING].fill(0);
    }

    /// The time, asked for once a tick.
    #[inline(always)]
    pub fn now<'m, H: Host<'m>>(&mut self, host: H) -> u64 {
        let tick = host.tick();
        if self.tick != tick {
            self.tick = tick;
            self.now = host.now();
        }
        self.now
    }

    /// Takes the lowest bit out of [`Scratch::left`]; its index.
    #[inline(always)]
    pub fn take_left(&mut self) -> Option<u32> {
        let left = self.left;
        if left == 0 {
            return None;
        }
        self.left = left & left.wrapping_sub(1);
        Some(lowest_bit(left as u64))
    }

    /// A header's value.
    #[inline(always)]
    #[must_use]
    pub fn header(&self, header: u32) -> Span {
        self.headers[header as usize & (HEADERS - 1)]
    }

    /// The slot of a URI.
    #[inline(always)]
    pub fn uri_mut(&mut self, uri: u32) -> &mut Uri {
        &mut self.uris[uri as usize & (URIS - 1)]
    }

    /// The slot of a URI.
    #[inline(always)]
    #[must_use]
    pub fn uri(&self, uri: u32) -> &Uri {
        &self.uris[uri as usize & (URIS - 1)]
    }

    /// Bytes of a span.
    #[must_use]
    pub fn bytes(&self, span: Span) -> &[u8] {
        self.buffer.get(span.start as usize..span.end as usize).unwrap_or(&[])
    }

    /// Bytes of a span without white space (folding and control characters included) around it.
    #[must_use]
    pub fn trimmed(&self, span: Span) -> &[u8] {
        let bytes = self.bytes(span);
        let visible = |byte: &u8| *byte > b' ';
        let start = bytes.iter().position(visible).unwrap_or(bytes.len());
        let end = bytes.iter().rposition(visible).map_or(start, |last| last + 1);
        bytes.get(start..end).unwrap_or(&[])
    }
}
