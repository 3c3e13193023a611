//! The engine's working memory: one value per CPU in the kernel, one per thread in user space.
//!
//! Cursors and results live here and not in registers: what is read back from a map is an unknown number to the verifier,
//! so the states of a loop's iterations merge instead of multiplying (kept in registers, the header scan exceeds one million
//! verified instructions).
//!
//! The memory is divided by phase. Nothing that was read of an earlier packet is used for a later one: each phase has one place that resets
//! what it does not always write, `Scratch::begin` and `begin_payload` for the packet, `Message::begin` and `Walk::begin`.

mod values;

use crate::{
    host::Host,
    layout::{
        Attestation, Event, Method, NO_RULE, NumberFormat, RuleSet, STRATA, STRATUM_PLACES, Transport, Verstat, layout,
    },
    limits::{BUFFER_LENGTH, PADDING, REPORTED_BYTES, WOULD},
    swar::lowest_bit,
    text::TEXTS,
    uri::Form,
};

pub use values::{
    Extent, FIRST_FURTHER_LINE, FURTHER_LINES, HEADERS, Header, Kind, NUMBERS, NumberOf, Outcome, Scheme, URIS, UriOf,
    pause, uri_flag,
};

const MASK: usize = BUFFER_LENGTH - 1;

layout! {
    pub const LAYOUTS;

    /// A piece of the message, as offsets into [`Scratch::buffer`]; empty if `end <= start`.
    #[derive(Debug, Default, PartialEq, Eq)]
    pub struct Span {
        /// Offset of the first byte.
        pub start: u16,
        /// Offset of the byte after the last one.
        pub end: u16,
    }

    /// What is read of a name-addr or addr-spec.
    #[derive(Debug, Default)]
    pub struct Uri {
        /// The number's digits as BCD, first digit on top, up to sixteen.
        pub digits: u64,
        /// Digits seventeen to thirty-two in the same form. Further ones are only counted.
        pub more_digits: u64,
        /// The user part, raw; for tel: the number.
        pub user: Span,
        /// Everything between the user part and the end of the URI: host, port, parameters.
        pub host: Span,
        /// The display name, raw, without quotes.
        pub display: Span,
        /// The end of the user part's number: the user part's end, or its first semicolon.
        pub number_end: u16,
        /// How many digits the number has, including those that are not kept.
        pub digit_count: u16,
        /// The URI's scheme; [`Scheme::None`] if no URI has been read.
        pub scheme: Scheme,
        /// [`uri_flag`] bits.
        pub flags: u8,
        /// Padding, always zero.
        pub reserved: [u8; 6],
    }

    /// A number in its normal form.
    #[derive(Debug, Default)]
    pub struct Number {
        /// Key of the number trie: digits, then a terminator; 0 if there is no number.
        pub key: u64,
        /// Its class in the number trie; 0 if there is no number.
        pub class: u32,
        /// How many digits it has; 255 if there are more.
        pub digits: u8,
        /// Whether it is a valid number, and if not, what is wrong.
        pub format: NumberFormat,
        /// 1 for a short code, which has a key space of its own; 0 for an E.164 number.
        pub short_code: u8,
        /// Padding, always zero.
        pub reserved: u8,
    }

    /// What the walk over the rules has left, and how it ended.
    #[derive(Debug)]
    pub struct Walk {
        /// Rules that can still match.
        pub candidates: RuleSet,
        /// Union of the rows that a text's patterns hit.
        pub hits: RuleSet,
        /// Word of the rule set that the walk is in.
        pub word: u32,
        /// How the walk ended.
        pub outcome: Outcome,
        /// Slot of the rule that decided, or [`NO_RULE`].
        pub slot: u32,
        /// Index of the rule that decided, or [`NO_RULE`].
        pub rule: u32,
        /// Number of the [`Reason`](crate::reason::Reason) of the rule that decided.
        pub reason: u32,
        /// 1 if the rule that matched last lets the packet pass to keep its TCP connection alive.
        pub spared: u32,
        /// Counter slots of the rules that would have dropped the packet, were it not for report mode: the first ones.
        pub would: [u16; WOULD],
        /// How many places of `would` are used.
        pub would_count: u32,
        /// By [`Stratum`](crate::layout::Stratum): how many packets this one stands for, if it is sampled there; else 0.
        pub sampled: [u32; STRATUM_PLACES],
        /// Padding.
        pub reserved: u32,
    }

    /// What the message says. Only what the policy needs is read.
    #[derive(Debug)]
    pub struct Message {
        /// The URIs, by number of [`UriOf`].
        pub uris: [Uri; URIS],
        /// The numbers, by number of [`NumberOf`].
        pub numbers: [Number; NUMBERS],
        /// The headers' values as they are on the wire, with the white space around them and the folding in them.
        pub headers: [Span; HEADERS],
        /// For each further line of a header with several values, the number of its [`Header`]. The lines are in the order of the
        /// message, in the places of [`Self::headers`] from [`FIRST_FURTHER_LINE`] on.
        pub further: [u8; FURTHER_LINES],
        /// How many further lines there are.
        pub further_lines: u32,
        /// Bytes of the message in the buffer.
        pub length: u32,
        /// Start of the body, which is the end of the headers; 0 if their end was not found.
        pub body: u32,
        /// A bit for each [`Header`] whose place is noted.
        pub seen: u32,
        /// [`anomaly`](crate::layout::anomaly) bits.
        pub anomalies: u32,
        /// How far the message has been read.
        pub extent: Extent,
        /// Content-Length, or all ones if it is absent or no number.
        pub content_length: u32,
        /// 1 if calling and called are neighbours.
        pub neighbor: u32,
        /// Bits of [`privacy`](crate::layout::privacy): what the message asks to be withheld.
        pub privacy: u32,
        /// Bits of [`passport`](crate::layout::passport): the kinds of PASSporT in the Identity headers.
        pub passports: u32,
        /// Not 0 if To has a tag.
        pub to_tag: u32,
        /// 1 if a text may hold a line end, because a line is folded or the start line is not to the letter.
        pub folded: u32,
        /// 1 if the source's asserted identity is believed.
        pub asserted_believed: u32,
        /// What the payload is: a request, a response or something else.
        pub kind: Kind,
        /// The method; [`Method::Response`] for a response.
        pub method: Method,
        /// The attestation that Identity claims.
        pub attestation: Attestation,
        /// The `verstat` parameter.
        pub verstat: Verstat,
    }

    /// What the headers below SIP say.
    #[derive(Debug)]
    pub struct Packet {
        /// Source address; IPv4 mapped.
        pub source: [u8; 16],
        /// Destination address; IPv4 mapped.
        pub destination: [u8; 16],
        /// Source port; 0 if it is unknown.
        pub source_port: u16,
        /// Destination port; 0 if it is unknown.
        pub destination_port: u16,
        /// Index into the configuration's ports; `MAX_PORTS` if the packet is for none of them, or its port is unknown.
        pub service: u32,
        /// 4 or 6.
        pub ip_version: u32,
        /// The protocol of the payload at `offset`.
        pub protocol: u32,
        /// Offset of the header being read in the packet.
        pub offset: u32,
        /// End of the IP datagram in the packet.
        pub datagram_end: u32,
        /// 1 if the packet is the first one of several fragments.
        pub fragment: u32,
        /// Offset of the fragment, in bytes.
        pub fragment_offset: u32,
        /// Identification of the fragmented datagram.
        pub fragment_id: u32,
        /// The packet's length in bytes.
        pub length: u32,
        /// Offset of the payload in the packet.
        pub payload_offset: u32,
        /// Bytes of payload that the transport header claims and the packet has.
        pub payload_length: u32,
        /// Class of the source address; 0 if the policy does not need it.
        pub source_class: u32,
        /// Class of the destination.
        pub destination_class: u32,
        /// Not 0 for a TCP segment that opens a connection.
        pub opens: u16,
        /// 1 if an extension header is cut off.
        pub truncated: u8,
        /// Transport of the signalling port.
        pub transport: Transport,
        /// Number of the [`Reason`](crate::reason::Reason) for which a packet passes whose payload cannot be read, unless a rule
        /// about addresses decides; 0 if the payload can be read.
        pub otherwise: u32,
        /// Sequence number of a TCP segment.
        pub tcp_sequence: u32,
        /// 1 if a TCP segment holds the connection's first bytes.
        pub is_first: u32,
        /// The length of the prefix in the ban map that the source is in, see
        /// [`BanKey::length`](crate::layout::BanKey::length); 0 if it is not banned.
        pub banned: u32,
        /// Not 0 for a TCP segment with urgent data.
        pub urgent: u32,
        /// Index of the interface that it came in on; 0 if it is unknown.
        pub interface: u32,
        /// 1 + the number of the [`Reason`](crate::reason::Reason) for which the packet passes or is dropped, where its message is only
        /// read to report it; else 0.
        pub settled: u32,
    }

    /// Positions of the loops, which have no meaning once these have ended.
    #[derive(Debug)]
    pub struct Cursors {
        /// Cursor of the loop over the message.
        pub line: u32,
        /// Cursor of the loop inside a line.
        pub at: u32,
        /// The header whose value continues until the next line that is not folded.
        pub open_header: Header,
        /// The header after which the reading pauses, see [`pause`].
        pub pause: Header,
        /// The header whose name has been read.
        pub name: Header,
        /// What a loop over a few things has still to do, as bits.
        pub left: u32,
        /// State of the automaton that is running.
        pub state: u32,
        /// General purpose, for loops inside loops.
        pub register: u32,
        /// The URI that is being read.
        pub uri: UriOf,
        /// Its form, as a number of [`Form`](crate::uri::Form).
        pub uri_form: Form,
        /// Where it begins, then where its user part and its host part begin.
        pub uri_at: u32,
        /// The end of the value that holds it.
        pub uri_limit: u32,
        /// Where the walk over a header's values is.
        pub value_at: u32,
        /// The start of the value that this walk is in.
        pub value: u32,
        /// The end of the line that this walk is in.
        pub value_line_end: u32,
        /// Not 0 if the walk has passed a value of History-Info.
        pub has_last_value: u32,
        /// The further line to which this walk goes next.
        pub further_line: u32,
        /// Not 0 while this walk is within quotes.
        pub value_quoted: u32,
        /// The end of the text that the patterns run over.
        pub text_end: u32,
        /// Its start, without white space.
        pub text_start: u32,
        /// The end of the part in which literals are looked for.
        pub text_reach: u32,
        /// How often a literal may still be begun in it before the automaton has to read it; 0 if it is not searched for literals.
        pub text_tries: u32,
        /// The texts that an automaton has to read, as bits.
        pub text_rest: u32,
        /// The index of its patterns in the DFA map.
        pub text_dfa: u32,
        /// The index of the place of a literal that is compared next.
        pub place: u32,
        /// The list that this walk is in, as a number of [`List`](crate::lists::List).
        pub list: u32,
        /// The number of digits before the plus of the number that is being read.
        pub prefix_digits: u32,
        /// Padding, always zero.
        pub reserved: u32,
        /// These digits, as BCD.
        pub prefix: u64,
        /// Where the texts are, by number. One that the message does not have ends at 0.
        pub spans: [Span; TEXTS],
    }

    /// What a limit is counted by. It has no meaning once that is done.
    #[derive(Debug)]
    pub struct Limit {
        /// The key, and then its hash in the last word.
        pub key: [u64; 4],
        /// The state of a hash, see [`crate::hash`].
        pub hash: [u64; 4],
        /// The tag of the call.
        pub call: u64,
        /// How much the way matters that matters least.
        pub least: u64,
        /// The way in the bucket.
        pub way: u32,
        /// The call's, while its limit is counted.
        pub call_way: u32,
        /// Padding, always zero.
        pub reserved: u32,
        /// Number of the [`Per`](crate::layout::Per) that the key is of.
        pub by: u32,
    }

    /// All that the engine remembers of the packet it is deciding.
    #[derive(Debug)]
    pub struct Scratch {
        /// The message, followed by zeroes.
        pub buffer: [u8; BUFFER_LENGTH + PADDING],
        /// The walk over the rules.
        pub walk: Walk,
        /// What was read of the message in `buffer`.
        pub message: Message,
        /// What was read of the headers below SIP.
        pub packet: Packet,
        /// [`crate::host::Host::tick`] when `now` was last asked for.
        pub tick: u64,
        /// [`crate::host::Host::now`] at that tick, in ns.
        pub now: u64,
        /// Counts packets, so that a reader can tell a fresh result from an old one.
        pub sequence: u64,
        /// Packets until one is sampled, by [`Stratum`](crate::layout::Stratum); 0 if each is. Kept from packet to packet.
        pub until_sample: [u32; STRATA],
        /// The rates that these were drawn with: one packet in so many. Likewise.
        pub sample_rate: [u32; STRATA],
        /// Packets that were sampled in `sample_window`. Likewise.
        pub samples: [u32; STRATUM_PLACES],
        /// [`Observation::epoch`](crate::layout::Observation::epoch) when they were drawn. Likewise.
        pub sample_epoch: u32,
        /// Packets captured in `capture_window`, by [`Stratum`](crate::layout::Stratum). Likewise.
        pub captures: [u32; STRATUM_PLACES],
        /// Padding, always zero.
        pub reserved: u32,
        /// The window of about an eighth of a second that `samples` are from. Likewise.
        pub sample_window: u64,
        /// The window of about a second in which they were captured. Likewise.
        pub capture_window: u64,
        /// The limit that is counted.
        pub limit: Limit,
        /// Where the running loops are.
        pub cursors: Cursors,
        /// The event that is being made.
        pub event: Event,
        /// The packet that is reported, from the Ethernet header on: what goes with the event. The last field, since what is after so many
        /// bytes would take a further instruction to reach.
        pub frame: [u8; REPORTED_BYTES],
    }
}

/// The most bytes that Linux allocates for each CPU at once (`PCPU_MIN_UNIT_SIZE`).
const PER_CPU: usize = 32 << 10;

const _: () = assert!(size_of::<Scratch>() <= PER_CPU);
const _: () =
    assert!(core::mem::offset_of!(Scratch, frame) == core::mem::offset_of!(Scratch, event) + size_of::<Event>());

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

impl Uri {
    /// A URI of which nothing has been read.
    pub const EMPTY: Self = Self {
        digits: 0,
        more_digits: 0,
        user: Span { start: 0, end: 0 },
        host: Span { start: 0, end: 0 },
        display: Span { start: 0, end: 0 },
        number_end: 0,
        digit_count: 0,
        scheme: Scheme::None,
        flags: 0,
        reserved: [0; 6],
    };
}

impl Message {
    /// Before a message is read: what its readings set only if they find something.
    #[inline(always)]
    pub(crate) const fn begin(&mut self) {
        self.verstat = Verstat::None;
        self.neighbor = 0;
        self.privacy = 0;
        self.passports = 0;
        self.to_tag = 0;
        self.folded = 0;
        self.further_lines = 0;
        self.asserted_believed = 0;
        self.content_length = u32::MAX;
        self.headers = [Span { start: 0, end: 0 }; HEADERS];
        self.seen = 0;
        self.body = 0;
    }

    /// True if the place of a header is noted.
    #[inline(always)]
    #[must_use]
    pub const fn has(&self, header: Header) -> bool {
        self.seen >> (header.number() & 31) & 1 != 0
    }

    /// True if what ends at `end` may go on in another packet: the headers do not end in this one, and it reaches to the message's end.
    #[inline(always)]
    pub(crate) const fn is_cut_at(&self, end: u32) -> bool {
        self.body == 0 && end >= self.length
    }

    /// A header's value.
    #[inline(always)]
    #[must_use]
    pub const fn header(&self, header: Header) -> Span {
        self.headers[header.index() & (HEADERS - 1)]
    }

    /// Notes the place of a header, or of a part of the message that is noted like one.
    #[inline(always)]
    pub(crate) const fn note(&mut self, header: Header, value: Span) {
        self.headers[header.index() & (HEADERS - 1)] = value;
        self.seen |= header.bit();
    }

    /// A URI.
    #[inline(always)]
    #[must_use]
    pub const fn uri(&self, of: UriOf) -> &Uri {
        &self.uris[of.index() & (URIS - 1)]
    }

    /// A URI, to be written.
    #[inline(always)]
    pub(crate) const fn uri_mut(&mut self, of: UriOf) -> &mut Uri {
        &mut self.uris[of.index() & (URIS - 1)]
    }

    /// Copies a URI to another's place, field by field: not through the stack, of which a BPF program has little.
    #[inline(always)]
    pub(crate) const fn copy_uri(&mut self, from: UriOf, to: UriOf) {
        let Uri { digits, more_digits, .. } = *self.uri(from);
        let target = self.uri_mut(to);
        (target.digits, target.more_digits) = (digits, more_digits);
        let Uri { user, host, display, number_end, digit_count, scheme, flags, .. } = *self.uri(from);
        let target = self.uri_mut(to);
        (target.user, target.host, target.display) = (user, host, display);
        (target.number_end, target.digit_count) = (number_end, digit_count);
        (target.scheme, target.flags) = (scheme, flags);
    }

    /// A number, to be read.
    #[inline(always)]
    #[must_use]
    pub const fn number(&self, of: NumberOf) -> &Number {
        &self.numbers[of.index() & (NUMBERS - 1)]
    }

    /// A number, to be written.
    #[inline(always)]
    pub(crate) const fn number_mut(&mut self, of: NumberOf) -> &mut Number {
        &mut self.numbers[of.index() & (NUMBERS - 1)]
    }
}

impl Walk {
    /// Before the walk over the rules: no rule has decided.
    #[inline(always)]
    pub(crate) const fn begin(&mut self) {
        self.word = 0;
        self.outcome = Outcome::Open;
        self.rule = NO_RULE;
        self.slot = NO_RULE;
    }
}

impl Scratch {
    /// The URI that is being read.
    #[inline(always)]
    pub(crate) const fn uri(&self) -> &Uri {
        self.message.uri(self.cursors.uri)
    }

    /// The URI that is being read, to be written.
    #[inline(always)]
    pub(crate) const fn uri_mut(&mut self) -> &mut Uri {
        self.message.uri_mut(self.cursors.uri)
    }

    /// Notes that the URI that is being read is malformed.
    #[inline(always)]
    pub(crate) const fn flag_uri(&mut self) {
        self.uri_mut().flags |= uri_flag::MALFORMED;
    }
}

impl Cursors {
    /// Takes the lowest bit out of [`Self::left`] and returns its index.
    #[inline(always)]
    pub(crate) fn take_left(&mut self) -> Option<u32> {
        let left = self.left;
        if left == 0 {
            return None;
        }
        self.left = left & left.wrapping_sub(1);
        Some(lowest_bit(left as u64))
    }
}

impl Scratch {
    /// Before a packet is read: resets what is not always written.
    #[inline(always)]
    pub(crate) const fn begin(&mut self) {
        self.message.kind = Kind::Unread;
        self.packet.length = 0;
        self.packet.ip_version = 0;
        self.packet.payload_length = 0;
        self.packet.fragment = 0;
        self.packet.otherwise = 0;
    }

    /// Before a payload is examined: resets what events report and verdicts remember of it.
    #[inline(always)]
    pub(crate) const fn begin_payload(&mut self) {
        self.message.extent = Extent::None;
        self.message.anomalies = 0;
        self.message.method = Method::None;
        self.message.attestation = Attestation::None;
        self.walk.slot = NO_RULE;
        self.walk.rule = NO_RULE;
        self.walk.would_count = 0;
        self.packet.settled = 0;
    }

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
        let [word] = self.words(position);
        word
    }

    /// Words that follow each other from `position` on: one bound for all of them.
    #[inline(always)]
    #[must_use]
    pub fn words<const N: usize>(&self, position: u32) -> [u64; N] {
        const { assert!(8 * N <= PADDING) };
        let at = position as usize & MASK;
        let mut words = [0; N];
        let mut index = 0;
        while index < N {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&self.buffer[at + 8 * index..at + 8 * index + 8]);
            words[index] = u64::from_le_bytes(bytes);
            index += 1;
        }
        words
    }

    /// Zeroes what may be read after the message's end.
    #[inline(always)]
    pub fn pad(&mut self) {
        let at = (self.message.length as usize).wrapping_sub(1) & MASK;
        self.buffer[at + 1..at + 1 + PADDING].fill(0);
    }

    /// The time, asked for once per tick.
    #[inline(always)]
    pub fn now<'m, H: Host<'m>>(&mut self, host: H) -> u64 {
        let tick = host.tick();
        if self.tick != tick {
            self.tick = tick;
            self.now = host.now();
        }
        self.now
    }

    /// The bytes of a span.
    #[must_use]
    pub fn bytes(&self, span: Span) -> &[u8] {
        self.buffer.get(span.start as usize..span.end as usize).unwrap_or(&[])
    }

    /// The bytes of a span without the white space (folding and control characters included) around it.
    #[must_use]
    pub fn trimmed(&self, span: Span) -> &[u8] {
        let bytes = self.bytes(span);
        let visible = |byte: &u8| *byte > b' ';
        let start = bytes.iter().position(visible).unwrap_or(bytes.len());
        let end = bytes.iter().rposition(visible).map_or(start, |last| last + 1);
        bytes.get(start..end).unwrap_or(&[])
    }
}
