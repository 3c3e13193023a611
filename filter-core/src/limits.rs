//! Sizes that both hosts and the policy compiler agree on.

/// Rules a policy may hold.
pub const MAX_RULES: usize = 512;

/// 64-bit words of a set of rules.
pub const RULE_WORDS: usize = MAX_RULES / 64;

/// Bytes of the buffer that holds a message. A power of two, so that a mask bounds an offset.
pub const BUFFER_LENGTH: usize = 16_384;

/// Zeroed bytes after the message in the buffer, so that a step of several words may read past the end.
pub const PADDING: usize = 64;

/// Bytes of a message that are read. Headers after this length are not seen, which is itself noted
/// ([`crate::layout::anomaly::HEADERS_BEYOND_INSPECTED_LENGTH`]). An offset just after them is still within the mask.
pub const INSPECTED_LENGTH: usize = BUFFER_LENGTH - PADDING;

/// Signalling ports a policy may name (each a port and a transport).
pub const MAX_PORTS: usize = 16;

/// Digits of a number key: E.164's fifteen, and a terminator.
pub const MAX_DIGITS: u32 = 15;

/// Numbering plans of a policy, a power of two. An address class has the index of its own, see
/// [`crate::layout::address_flag::plan`].
pub const NUMBERING_PLANS: usize = 16;

/// International prefixes of a numbering plan.
pub const INTERNATIONAL_PREFIXES: usize = 4;

/// Technical prefixes of a numbering plan.
pub const STRIP_PREFIXES: usize = 8;

/// Headers that a policy may name besides those that have a text of their own.
pub const NAMED_HEADERS: usize = 8;

/// Eight-byte words of such a header's name.
pub const NAME_WORDS: usize = 5;

/// Entries of one compiled pattern table: states x byte classes.
pub const DFA_TABLE: usize = 1 << 17;

/// Counter slots. A rule's name owns one for as long as the pinned maps live.
pub const RULE_SLOTS: usize = 1024;

/// Places for counters of reasons, a power of two.
pub const REASON_PLACES: usize = 64;

/// Slots for counters of interfaces, a power of two: an interface has that of its index modulo this. There are few interfaces, and their indexes
/// are mostly close together.
pub const INTERFACE_SLOTS: usize = 64;

/// Lengths of prefixes that bans of one IP version may have: each costs a look-up a packet.
pub const BAN_LENGTHS: usize = 4;

/// How long an emergency call suspends a ban, in nanoseconds: the call itself, and the time in which it may be called back.
pub const EMERGENCY_TIME: u64 = 3_600_000_000_000;

/// How long a receiver waits for the fragments of a datagram, in nanoseconds: Linux 30 s, RFC 8200 section 4.5 60 s. After
/// that, the same identification may be another datagram's.
pub const REASSEMBLY_TIME: u64 = 60_000_000_000;

/// How long a dropped segment is remembered after the last copy of it, in nanoseconds. A sender waits for at most two minutes between
/// two copies (RFC 6298 section 2.4 allows a limit of 60 s or more; Linux has 120 s).
pub const FLOW_TIME: u64 = 180_000_000_000;

/// Keys of a bucket, see [`crate::rate::table`].
pub const WAYS: usize = 7;

/// Eight-byte words of a bucket.
pub const BUCKET_WORDS: usize = 16;

/// Buckets of the cells of limits, a power of two.
pub const RATE_BUCKETS: usize = 1 << 16;

/// Buckets of the calls that limits have counted, a power of two.
pub const CALL_BUCKETS: usize = 1 << 15;

/// All buckets. The last one holds the key of the hashes.
pub const BUCKETS: usize = RATE_BUCKETS + CALL_BUCKETS + 1;

/// Bits of a cell's time after the nanosecond. With six, the time of a limit ends after nine years of uptime, and starts over.
pub const TIME_FRACTION: u32 = 6;

/// For how long a call's INVITEs count as one, in nanoseconds. Copies are sent for 32 s (RFC 3261 section 17.1.1.2, 64*T1), and an INVITE with
/// credentials follows at once.
pub const CALL_TIME: u64 = 60_000_000_000;

/// How many of them do: seven copies of two of them, and some more. Otherwise, one Call-ID could be used for any number of calls.
pub const CALL_INVITES: u32 = 16;

/// Bytes of a text value that an event carries.
pub const EVENT_TEXT: usize = 64;

/// The lowest rate of samples: one packet in so many.
pub const MAX_EVERY: u32 = 1 << 20;

/// The longest packet that is reported with all its bytes. Of a longer one, only what some rule asks for is known.
pub const REPORTED_BYTES: usize = 1 << 13;

/// How many rules a sampled packet names that would have dropped it.
pub const WOULD: usize = 8;
