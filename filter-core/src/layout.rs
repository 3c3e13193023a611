//! The layout of everything that lies in a map: written by the policy compiler, read by the engine, or the other way round.
//!
//! All types are `repr(C)`, without padding, and little-endian hosts only (the BPF target is `bpfel`).

use core::mem::offset_of;

pub use crate::action::Action;
use crate::limits::{DFA_TABLE, EVENT_TEXT, MAX_PORTS, RULE_WORDS};

macro_rules! layout {
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

/// The version of these layouts and of what the pinned maps mean: a daemon adopts pins of its own version only.
pub const SCHEMA_VERSION: u32 = 4;

/// A set of rules, one bit a rule, in file order: rule `i` is bit `i % 64` of word `i / 64`.
pub type RuleSet = [u64; RULE_WORDS];

/// What a rule can match on, as the engine sees it: one table of rule sets each, indexed by the class of the value.
///
/// Scopes that depend on one value share a dimension: the calling number's prefixes, country, region, SPID and
/// reputation are all properties of the calling number's class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Dimension {
    /// Class of the source address.
    Source = 0,
    /// Class of the destination address.
    Destination = 1,
    /// Index into [`Config::ports`] (transport and port).
    Service = 2,
    /// [`Method`] of the message.
    Method = 3,
    /// Class of the calling number.
    Calling = 4,
    /// Class of the called number.
    Called = 5,
    /// Class of the forwarded number.
    Forwarded = 6,
    /// Class of the From number.
    FromNumber = 7,
    /// Class of the asserted number.
    AssertedNumber = 8,
    /// [`NumberFormat`] of the calling number.
    CallingFormat = 9,
    /// [`NumberFormat`] of the called number.
    CalledFormat = 10,
    /// [`Attestation`] claimed by the message.
    Attestation = 11,
    /// 1 if calling and called number share the configured count of digits, else 0.
    Neighbor = 12,
    /// Bits of [`anomaly`]. It has no table by value: see [`Config::anomaly_row`].
    Anomaly = 13,
    /// Value of the `verstat` parameter ([`Verstat`]).
    Verstat = 14,
}

/// How many [`Dimension`]s there are (rounded up).
pub const DIMENSIONS: usize = 16;

/// The texts that patterns can run over; each has a DFA of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Text {
    /// User-Agent of a request, User-Agent or else Server of a response.
    UserAgent = 0,
    /// Call-ID.
    CallId = 1,
    /// Display name of From, raw, without its quotes.
    FromDisplay = 2,
    /// User part of From, raw.
    FromUser = 3,
    /// User part of To, raw.
    ToUser = 4,
    /// User part of the Request-URI, raw.
    RequestUser = 5,
    /// Subject.
    Subject = 6,
    /// Contact.
    Contact = 7,
    /// Host part of the From URI and what follows it in the URI.
    FromHost = 8,
    /// Host part of the Request-URI and what follows it.
    RequestHost = 9,
    /// The topmost Via.
    Via = 10,
    /// The session name (`s=`) of a session description in the body.
    SdpSession = 11,
    /// The start of the body of a MESSAGE.
    Body = 12,
    /// Server.
    Server = 13,
}

/// How many [`Text`]s there are (rounded up).
pub const TEXTS: usize = 16;

/// Bits of [`Config::needs`]: what this policy needs to be read. The engine reads nothing else.
pub mod need {
    /// The source address's class.
    pub const SOURCE: u32 = 1 << 0;
    /// The destination address's class.
    pub const DESTINATION: u32 = 1 << 1;
    /// A rule names a port or a transport.
    pub const SERVICE: u32 = 1 << 2;
    /// The method; every policy with a rule about messages needs it anyway to tell what a message is.
    pub const METHOD: u32 = 1 << 3;
    /// The calling number.
    pub const CALLING: u32 = 1 << 4;
    /// The called number.
    pub const CALLED: u32 = 1 << 5;
    /// The forwarded number.
    pub const FORWARDED: u32 = 1 << 6;
    /// The From number by itself.
    pub const FROM_NUMBER: u32 = 1 << 7;
    /// The asserted number by itself.
    pub const ASSERTED_NUMBER: u32 = 1 << 8;
    /// The calling number's format.
    pub const CALLING_FORMAT: u32 = 1 << 9;
    /// The called number's format.
    pub const CALLED_FORMAT: u32 = 1 << 10;
    /// The attestation claimed.
    pub const ATTESTATION: u32 = 1 << 11;
    /// The neighbour property.
    pub const NEIGHBOR: u32 = 1 << 12;
    /// Anomalies.
    pub const ANOMALY: u32 = 1 << 13;
    /// The verstat parameter.
    pub const VERSTAT: u32 = 1 << 14;
    /// Some rule looks into the message, so that it is read at all.
    pub const MESSAGE: u32 = 1 << 15;
    /// P-Asserted-Identity (and Remote-Party-ID) can become the calling number.
    pub const ASSERTED_IDENTITY: u32 = 1 << 16;
    /// TCP is among the ports: the flow cache is consulted.
    pub const TCP: u32 = 1 << 17;
    /// Source bans are consulted (some rule bans, or the daemon does).
    pub const BANS: u32 = 1 << 18;
    /// Some rule has a rate (`over`).
    pub const RATES: u32 = 1 << 19;
    /// Everything that `inspect` prints is read, whether a rule needs it or not.
    pub const INSPECT: u32 = 1 << 20;
    /// Some rule that decides asks for nothing but what the first reading of a message takes in: see
    /// [`rule_flag::LATE`](super::rule_flag::LATE).
    pub const FIRST_READING: u32 = 1 << 21;
}

/// Bits of the anomalies of a message or packet.
pub mod anomaly {
    /// The payload is no SIP message, no keep-alive and no STUN.
    pub const NOT_SIP: u32 = 1 << 0;
    /// The start line breaks RFC 3261 section 7.1 or 7.2 but can be read.
    pub const MALFORMED_START_LINE: u32 = 1 << 1;
    /// A SIP version other than 2.0.
    pub const UNSUPPORTED_VERSION: u32 = 1 << 2;
    /// No blank line ends the headers within the inspected length or the packet.
    pub const HEADERS_BEYOND_INSPECTED_LENGTH: u32 = 1 << 3;
    /// A header that may occur once occurs again (From, To, Call-ID, CSeq, Content-Length, ...).
    pub const DUPLICATE_HEADER: u32 = 1 << 4;
    /// From, To, Call-ID, CSeq or Via is missing.
    pub const MISSING_HEADER: u32 = 1 << 5;
    /// A control character in a header's name or start line, or a carriage return that no line feed follows.
    pub const CONTROL_CHARACTER: u32 = 1 << 6;
    /// Content-Length disagrees with the datagram, or is no number.
    pub const CONTENT_LENGTH_MISMATCH: u32 = 1 << 7;
    /// A first fragment too short to hold the start line.
    pub const TINY_FIRST_FRAGMENT: u32 = 1 << 8;
    /// A second message follows the first one in the datagram.
    pub const SEVERAL_MESSAGES: u32 = 1 << 9;
    /// A header line without a colon.
    pub const MALFORMED_HEADER: u32 = 1 << 10;
    /// A URI in From, To or the Request-URI that cannot be read.
    pub const MALFORMED_URI: u32 = 1 << 11;
    /// How many there are.
    pub const COUNT: u32 = 12;
    /// Their names in policies, `inspect`, events and metrics, by bit.
    pub const NAMES: [&str; COUNT as usize] = [
        "not-sip",
        "malformed-start-line",
        "unsupported-version",
        "headers-beyond-inspected-length",
        "duplicate-header",
        "missing-header",
        "control-character",
        "content-length-mismatch",
        "tiny-first-fragment",
        "several-messages",
        "malformed-header",
        "malformed-uri",
    ];
}

/// SIP methods (IANA's registry), `Other` for any other token, `Response` for a status line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "each is the method of its name")]
pub enum Method {
    None = 0,
    Response = 1,
    Other = 2,
    Ack = 3,
    Bye = 4,
    Cancel = 5,
    Info = 6,
    Invite = 7,
    Message = 8,
    Notify = 9,
    Options = 10,
    Prack = 11,
    Publish = 12,
    Refer = 13,
    Register = 14,
    Subscribe = 15,
    Update = 16,
}

impl Method {
    /// How many there are.
    pub const COUNT: usize = 17;
    /// Names as on the wire, by value; `response` as in policies; the first and `other` are never on the wire.
    pub const NAMES: [&str; Self::COUNT] = [
        "none",
        "response",
        "other",
        "ACK",
        "BYE",
        "CANCEL",
        "INFO",
        "INVITE",
        "MESSAGE",
        "NOTIFY",
        "OPTIONS",
        "PRACK",
        "PUBLISH",
        "REFER",
        "REGISTER",
        "SUBSCRIBE",
        "UPDATE",
    ];
}

/// The one format of a number: the first that applies, in the order given in the policy language (see [`Self::NAMES`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[expect(missing_docs, reason = "each is the format of its name in the policy language")]
pub enum NumberFormat {
    Missing = 0,
    Anonymous = 1,
    NotANumber = 2,
    TooLong = 3,
    TooShort = 4,
    InvalidAreaCode = 5,
    UnassignedAreaCode = 6,
    UnassignedBlock = 7,
    Fictional = 8,
    Valid = 9,
}

impl NumberFormat {
    /// How many there are.
    pub const COUNT: usize = 10;
    /// Names in policies and output, by value.
    pub const NAMES: [&str; Self::COUNT] = [
        "missing",
        "anonymous",
        "not-a-number",
        "too-long",
        "too-short",
        "invalid-area-code",
        "unassigned-area-code",
        "unassigned-block",
        "fictional",
        "valid",
    ];
}

/// The unverified claim of the SHAKEN PASSporT in Identity (RFC 8588): A, B, C; none without an Identity header; unknown
/// where there is one from whose first characters no claim can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "each is the attestation of its name")]
pub enum Attestation {
    None = 0,
    A = 1,
    B = 2,
    C = 3,
    Unknown = 4,
}

impl Attestation {
    /// How many there are.
    pub const COUNT: usize = 5;
    /// Names in policies and output, by value.
    pub const NAMES: [&str; Self::COUNT] = ["none", "A", "B", "C", "unknown"];
}

/// The verdict of the terminating provider's verification, as a trusted peer passes it on (`verstat`, 3GPP TS 24.229).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "each is the value of its name")]
pub enum Verstat {
    None = 0,
    TnValidationPassed = 1,
    TnValidationFailed = 2,
    NoTnValidation = 3,
    Other = 4,
}

impl Verstat {
    /// How many there are.
    pub const COUNT: usize = 5;
    /// Names in policies and output, by value.
    pub const NAMES: [&str; Self::COUNT] =
        ["none", "TN-Validation-Passed", "TN-Validation-Failed", "No-TN-Validation", "other"];
}

/// Transport of a signalling port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "each is the transport of its name")]
pub enum Transport {
    Udp = 0,
    Tcp = 1,
    /// TLS or WebSocket over TLS: nothing above TCP is read.
    Tls = 2,
}

impl Transport {
    /// Names in policies and output, by value.
    pub const NAMES: [&str; 3] = ["udp", "tcp", "tls"];
}

layout! {
    /// A signalling port. The port is in host order; unused entries are all zero.
    pub struct Port {
        /// UDP or TCP port, 0 for an unused entry.
        pub port: u16,
        /// [`Transport`].
        pub transport: u8,
        /// Zero.
        pub reserved: u8,
    }
}

layout! {
    /// How numbers are normalised (DESIGN: section 4, number scopes). Digit strings are BCD, first digit in the top nibble.
    pub struct Numbering {
        /// The country code's digits.
        pub country_code: u64,
        /// The international prefix's digits (`011`, `00`).
        pub international_prefix: u64,
        /// The national (trunk) prefix's digits.
        pub national_prefix: u64,
        /// Digits of the country code.
        pub country_code_digits: u8,
        /// Digits of the international prefix; 0 for none.
        pub international_prefix_digits: u8,
        /// Digits of the national prefix; 0 for none.
        pub national_prefix_digits: u8,
        /// 1: other digits are national, 0: they are E.164 without the plus.
        pub bare_national: u8,
        /// Digits that calling and called number share to be neighbours; 0: the scope is not used.
        pub neighbor_digits: u8,
        /// Zero.
        pub reserved: [u8; 3],
    }
}

layout! {
    /// A policy's configuration: the program's read-only data, so that the verifier removes what this policy does not use.
    pub struct Config {
        /// Bits of [`need`].
        pub needs: u32,
        /// Bits `1 << Text` of the texts that patterns run over.
        pub texts: u32,
        /// Words of a rule set in use, 1 to [`RULE_WORDS`].
        pub words: u32,
        /// What happens when no rule ended the walk: 0 pass, 1 drop.
        pub default_drop: u32,
        /// Events a rule may emit a second and CPU; further ones are counted as suppressed.
        pub events_per_second: u32,
        /// First row of each [`Dimension`]'s table in the rows map. A dimension that no rule looks at has 0: the rows from
        /// there on hold every rule, as many rows as there are classes.
        pub rows: [u32; DIMENSIONS],
        /// For each [`Text`]: the row of the rules that hold when no pattern matches. For each match state passed there is a
        /// pair of rows, see [`Dfa::accept`]: the first one's bits (hits) accumulate, the second one's (vetoes) are taken out
        /// of the survivors at once; in the end a rule holds if it is in the base row or among the hits, and has no veto.
        /// (Two rows, so that one rule can both ask for one pattern and exclude another.)
        pub text_rows: [u32; TEXTS],
        /// For each [`Text`]: its table's index in the DFA map.
        pub text_dfas: [u32; TEXTS],
        /// Row of the rules that hold when no anomaly is set; behind it, for each bit, the pair of rows `1 + 2 * bit` (hits)
        /// and `2 + 2 * bit` (vetoes), which work as in [`Self::text_rows`].
        pub anomaly_row: u32,
        /// Row of the rules that need the message read (any condition on it, an anomaly's aside).
        pub message_row: u32,
        /// The lowest signalling port.
        pub lowest_port: u16,
        /// How far the highest one is from it.
        pub port_span: u16,
        /// The signalling ports, in the order of [`Dimension::Service`]'s rows.
        pub ports: [Port; MAX_PORTS],
        /// Number normalisation.
        pub numbering: Numbering,
    }
}

impl Config {
    /// A policy without rules that reads nothing and passes everything.
    pub const EMPTY: Self = Self {
        needs: 0,
        texts: 0,
        words: 1,
        default_drop: 0,
        events_per_second: 0,
        rows: [0; DIMENSIONS],
        text_rows: [0; TEXTS],
        text_dfas: [0; TEXTS],
        anomaly_row: 0,
        message_row: 0,
        lowest_port: 0,
        port_span: 0,
        ports: [Port { port: 0, transport: 0, reserved: 0 }; MAX_PORTS],
        numbering: Numbering {
            country_code: 0,
            international_prefix: 0,
            national_prefix: 0,
            country_code_digits: 0,
            international_prefix_digits: 0,
            national_prefix_digits: 0,
            bare_national: 0,
            neighbor_digits: 0,
            reserved: [0; 3],
        },
    };

    /// Makes these the signalling ports, at most [`MAX_PORTS`].
    pub fn set_ports(&mut self, ports: &[(u16, Transport)]) {
        self.ports = Self::EMPTY.ports;
        let (mut lowest, mut highest) = (u16::MAX, 0);
        for (entry, &(port, transport)) in self.ports.iter_mut().zip(ports) {
            *entry = Port { port, transport: transport as u8, reserved: 0 };
            lowest = lowest.min(port);
            highest = highest.max(port);
        }
        self.lowest_port = lowest;
        self.port_span = highest.saturating_sub(lowest);
    }
}

layout! {
    /// A node of the poptrie, of one of two kinds.
    ///
    /// A branch has 64 children, chosen by the key's next six bits; the inner ones and the leaves are each compressed into a
    /// consecutive run. A path ([`IS_PATH`] in `leaves`) stands for keys that are told apart by whether their next bits are
    /// the expected ones: it compares up to [`MAX_PATH`] bits at once.
    pub struct Node {
        /// Branch: bit `i`, child `i` is an inner node. Path: the expected bits, left-aligned, and in the lowest six bits how
        /// many there are.
        pub inner: u64,
        /// Branch: bit `i`, child `i + 1` is a leaf and begins a run of equal leaves, which is not the first. Path: a mask of the
        /// bits that are compared.
        pub leaf_starts: u64,
        /// Branch: index of the first leaf. Path: [`IS_PATH`], and the class of all keys whose bits are not the expected ones.
        pub leaves: u32,
        /// Branch: [`IS_NODE`], and the index of the first inner child. Path: what the keys with the expected bits have, a class
        /// or, with [`IS_NODE`], the index of the node that goes on behind these bits.
        pub nodes: u32,
    }
}

/// Set in [`Node::leaves`] of a path.
pub const IS_PATH: u32 = 1 << 31;

/// Most bits that a path compares: the six lowest bits of the word say how many.
pub const MAX_PATH: u32 = 58;

/// Set in an entry (of a root table, or at a path's end) that is the index of a node; clear where it is the class itself.
pub const IS_NODE: u32 = 1 << 31;

layout! {
    /// The root tables of all tries: an entry for each value of the key's first bits.
    pub struct Roots {
        /// Of [`Trie::Ipv4`].
        pub ipv4: [u32; 1 << Trie::Ipv4.root_bits()],
        /// Of [`Trie::Ipv6`].
        pub ipv6: [u32; 1 << Trie::Ipv6.root_bits()],
        /// Of [`Trie::Number`].
        pub number: [u32; 1 << Trie::Number.root_bits()],
    }
}

/// A piece of the root tables, as they lie in a map: Linux 6.1 has no array values of more than 4 MiB.
pub type RootPiece = [u32; 1 << ROOT_PIECE_BITS];

/// Bits of a key that index a piece.
pub const ROOT_PIECE_BITS: u32 = 16;

/// Pieces that the root tables are made of.
pub const ROOT_PIECES: usize = size_of::<Roots>() / size_of::<RootPiece>();

const _: () = assert!(size_of::<Roots>() == ROOT_PIECES * size_of::<RootPiece>());

impl Roots {
    /// A trie's root table.
    #[inline(always)]
    #[must_use]
    pub const fn of(&self, trie: Trie) -> &[u32] {
        match trie {
            Trie::Ipv4 => &self.ipv4,
            Trie::Ipv6 => &self.ipv6,
            Trie::Number => &self.number,
        }
    }
}

/// The tries of a policy: each has a root table, they share nodes and leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Trie {
    /// IPv4 addresses: the key's first 32 bits.
    Ipv4 = 0,
    /// IPv6 addresses: 128 bits.
    Ipv6 = 1,
    /// Numbers: 16 BCD nibbles, digits then a terminator; see [`crate::trie::number_key`].
    Number = 2,
}

impl Trie {
    /// The first piece of its root table.
    #[must_use]
    pub const fn root_piece(self) -> u32 {
        let offset = match self {
            Self::Ipv4 => offset_of!(Roots, ipv4),
            Self::Ipv6 => offset_of!(Roots, ipv6),
            Self::Number => offset_of!(Roots, number),
        };
        (offset / size_of::<RootPiece>()) as u32
    }

    /// Bits of a key.
    #[must_use]
    pub const fn key_bits(self) -> u32 {
        match self {
            Self::Ipv4 => 32,
            Self::Ipv6 => 128,
            Self::Number => 64,
        }
    }

    /// Bits of a key that index the root table.
    #[must_use]
    pub const fn root_bits(self) -> u32 {
        match self {
            Self::Ipv4 => 20,
            Self::Ipv6 => 16,
            Self::Number => 16,
        }
    }
}

/// What is true of an address class apart from the rules that it satisfies: bits, and above them the rule that decides about it.
pub mod address_flag {
    /// The asserted identity of this source is believed.
    pub const ASSERTED_BELIEVED: u32 = 1;
    /// This source is never banned.
    pub const NEVER_BAN: u32 = 2;
    /// From this bit on: 1 + the index of the rule that decides about every packet of this source, whatever else is in it; 0
    /// where there is none.
    pub const DECIDER: u32 = 8;

    /// The index of the rule that decides about a class.
    #[inline(always)]
    #[must_use]
    pub const fn decider(class: u32) -> Option<u32> {
        (class >> DECIDER).checked_sub(1)
    }
}

layout! {
    /// What is true of all numbers of a class, apart from the rules they satisfy.
    pub struct NumberClass {
        /// Fewest digits (country code included) of a number that is not too short.
        pub min_digits: u8,
        /// Most digits of a number that is not too long.
        pub max_digits: u8,
        /// [`NumberFormat`] of a number of possible length.
        pub format: u8,
        /// Zero.
        pub flags: u8,
        /// Index of the country in the image's list of countries, 0 for none.
        pub country: u16,
        /// Index of the region, 0 for none.
        pub region: u16,
    }
}

/// Bits of [`Rule::flags`].
pub mod rule_flag {
    /// Report mode: count and emit, and go on behind it.
    pub const REPORT: u8 = 1;
    /// Ends the walk (drop, ban, reject, divert, whitelist).
    pub const FINAL: u8 = 2;
    /// The rule has a condition that only the message can answer.
    pub const MESSAGE: u8 = 4;
    /// The rule has a rate.
    pub const OVER: u8 = 8;
    /// The rule has a condition or a rate that the first reading of a message cannot answer: one about other things than
    /// addresses, ports, the method, the called number and the user agent.
    pub const LATE: u8 = 16;
}

/// What a rate is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "each is the key of its name in the policy language")]
pub enum Per {
    Rule = 0,
    Source = 1,
    Destination = 2,
    Calling = 3,
    Called = 4,
    SourcePrefix = 5,
    CallingPrefix = 6,
    CalledPrefix = 7,
}

layout! {
    /// A rule: what is left of it once its conditions are bits in rows.
    pub struct Rule {
        /// The rules that remain in the walk after this one acted (all ones for report mode).
        pub after: RuleSet,
        /// [`Action`].
        pub action: u8,
        /// [`rule_flag`] bits.
        pub flags: u8,
        /// Counter slot, stable across generations.
        pub slot: u16,
        /// Action's argument: ban seconds, reject status code.
        pub argument: u32,
        /// `over`: nanoseconds between two permitted packets.
        pub over_interval: u64,
        /// `over`: nanoseconds of burst.
        pub over_burst: u64,
        /// `over`: [`Per`].
        pub over_per: u8,
        /// `over`: bits (addresses) or digits (numbers) of a prefix key; 0 all.
        pub over_prefix: u8,
        /// Zero.
        pub reserved: [u8; 6],
    }
}

impl Rule {
    /// What the rule does. (A number that no compiled policy holds counts as a drop.)
    #[inline(always)]
    #[must_use]
    pub const fn action(&self) -> Action {
        match Action::from_number(self.action) {
            Some(action) => action,
            None => Action::Drop,
        }
    }
}

/// Patterns of one text, compiled: `table[(state << shift) | class[byte]]` is the next state.
///
/// State numbers from `first_match` on are those in which patterns have matched: `accept[state - first_match]` is the first
/// of two rows, the rules that ask for one of them (hits), and behind it the rules that exclude one of them (vetoes). They
/// count from the state reached after each byte and once more after `end_class`, which is walked at the end of a value
/// (present, even if empty). Carriage return and line feed leave the state as it is and a tab counts as a space, so that a
/// folded value reads as its unfolded form; white space around the value makes no difference.
#[repr(C)]
#[derive(Clone, Copy)]
#[cfg_attr(
    feature = "bytes",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
pub struct Dfa {
    /// Byte -> class.
    pub class: [u8; 256],
    /// Byte -> 0x80 if it leads out of `home`, else 0.
    pub leaves_home: [u8; 256],
    /// The bytes that lead out of `home`, where [`Self::few_leave`]: they equal one of these, all eight of which are the same,
    /// once the bits in the same place of `folds` are set, which make a letter small.
    pub leaving: [u64; DFA_LEAVING],
    /// See `leaving`.
    pub folds: [u64; DFA_LEAVING],
    /// Start state.
    pub start: u32,
    /// log2 of the classes a state's row has room for.
    pub shift: u32,
    /// States from this one on are match states.
    pub first_match: u32,
    /// The class of the end of the value.
    pub end_class: u32,
    /// The state that the walk is in where nothing of a pattern has been seen, or none can match any more: few bytes lead out
    /// of it.
    pub home: u32,
    /// 1 if no byte leads out of `home`.
    pub home_is_last: u32,
    /// 1 if no more than [`DFA_LEAVING`] bytes lead out of `home`, letters in either case.
    pub few_leave: u32,
    /// 1 if a pattern matches where the value ends in `home`.
    pub home_matches_at_end: u32,
    /// Match state -> first row of its pair in the rows map (absolute).
    pub accept: [u32; DFA_MATCHES],
    /// The transitions.
    pub table: [u16; DFA_TABLE],
}

/// Bytes that are told apart without a table.
pub const DFA_LEAVING: usize = 4;

/// Match states a compiled pattern table may have.
pub const DFA_MATCHES: usize = 4096;

layout! {
    /// Counts of a rule or a reason, a CPU.
    pub struct Counter {
        /// Packets.
        pub packets: u64,
        /// Their bytes, from the Ethernet header on.
        pub bytes: u64,
        /// Events that the limit of the rule kept back.
        pub events_suppressed: u64,
        /// Events that found the ring full.
        pub events_lost: u64,
        /// The second (coarse clock >> 30) that `window_events` counts in.
        pub window: u64,
        /// Events emitted in it.
        pub window_events: u64,
    }
}

layout! {
    /// Key of the verdict cache of fragments: later fragments of a dropped datagram drop too.
    pub struct FragmentKey {
        /// Source; IPv4 as in RFC 4291 section 2.5.5.2 (mapped).
        pub source: [u8; 16],
        /// Destination.
        pub destination: [u8; 16],
        /// Identification (16 bits in IPv4), network order as read.
        pub id: u32,
        /// Protocol of the datagram.
        pub protocol: u32,
    }
}

layout! {
    /// Key of the verdict cache of TCP flows: what follows a dropped segment drops too.
    pub struct FlowKey {
        /// Source; IPv4 mapped.
        pub source: [u8; 16],
        /// Destination.
        pub destination: [u8; 16],
        /// Source port, host order.
        pub source_port: u16,
        /// Destination port, host order.
        pub destination_port: u16,
        /// Zero.
        pub reserved: u32,
    }
}

layout! {
    /// Why a flow or a datagram drops: the rule and reason of the verdict that is remembered.
    pub struct Remembered {
        /// Coarse time of the verdict, ns.
        pub since: u64,
        /// Rule slot, or `NO_RULE`.
        pub slot: u32,
        /// [`crate::reason::Reason`].
        pub reason: u32,
    }
}

layout! {
    /// Key of the ban map.
    pub struct BanKey {
        /// Source; IPv4 mapped.
        pub source: [u8; 16],
    }
}

layout! {
    /// A ban.
    pub struct Ban {
        /// Coarse monotonic time at which it ends, ns.
        pub until: u64,
        /// Slot of the rule that banned, or `NO_RULE` for a ban by hand.
        pub slot: u32,
        /// Zero.
        pub reserved: u32,
    }
}

layout! {
    /// Key of a rate's cell.
    pub struct RateKey {
        /// What it is counted by: an address (IPv4 mapped), or a number's key in the first eight bytes; zero for the rule's.
        pub value: [u8; 16],
        /// Slot of the rule.
        pub slot: u32,
        /// [`Per`].
        pub per: u32,
    }
}

layout! {
    /// A rate's cell: the generic cell rate algorithm (ITU-T I.371) in one number.
    pub struct RateCell {
        /// Theoretical arrival time of the next packet, coarse monotonic ns.
        pub next: u64,
    }
}

/// In place of a rule's slot where no rule decided.
pub const NO_RULE: u32 = u32::MAX;

layout! {
    /// One event: what was dropped, or would have been, and why.
    pub struct Event {
        /// Coarse monotonic time, ns.
        pub time: u64,
        /// Calling number: key of the number trie (digits as BCD, terminator), 0 for none.
        pub calling: u64,
        /// Called number, likewise.
        pub called: u64,
        /// Source; IPv4 mapped.
        pub source: [u8; 16],
        /// Destination.
        pub destination: [u8; 16],
        /// Source port, host order.
        pub source_port: u16,
        /// Destination port, host order.
        pub destination_port: u16,
        /// Counter slot of the rule, or `NO_RULE`.
        pub slot: u32,
        /// Bytes of the packet.
        pub length: u32,
        /// [`anomaly`] bits.
        pub anomalies: u32,
        /// [`crate::reason::Reason`].
        pub reason: u8,
        /// [`Action`] of the rule.
        pub action: u8,
        /// 1 for a rule in report mode: the packet went on.
        pub report: u8,
        /// [`Transport`].
        pub transport: u8,
        /// [`Method`].
        pub method: u8,
        /// [`Attestation`].
        pub attestation: u8,
        /// Bytes used of `user_agent`.
        pub user_agent_length: u8,
        /// Bytes used of `call_id`.
        pub call_id_length: u8,
        /// Start of the User-Agent (or Server).
        pub user_agent: [u8; EVENT_TEXT],
        /// Start of the Call-ID.
        pub call_id: [u8; EVENT_TEXT],
    }
}
