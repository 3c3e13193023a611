//! A policy's configuration: what its rules can match on, what the engine reads for it, and its ports.

use super::{BanLengths, Transport, anomaly, layout};
use crate::{
    limits::{
        BAN_LENGTHS, INTERNATIONAL_PREFIXES, MAX_DIGITS, MAX_PORTS, NAME_WORDS, NAMED_HEADERS, NUMBERING_PLANS,
        STRIP_PREFIXES,
    },
    named::{named_bits, named_number},
    scratch::Header,
    text::TEXTS,
};

named_number! {
    /// What a rule can match on, as the engine sees it. Each has a table of rule sets, indexed by the class of the value.
    ///
    /// Scopes that depend on one value share a dimension: the calling number's prefixes, country, region, SPID and
    /// reputation are all properties of the calling number's class.
    pub struct Dimension: u32 {
        /// The class of the source address.
        Source = 0;
        /// The class of the destination address.
        Destination = 1;
        /// The index into [`Config::ports`] (transport and port); [`MAX_PORTS`] for a packet whose port is unknown.
        Service = 2;
        /// The [`Method`](super::Method) of the message.
        Method = 3;
        /// The class of the calling number.
        Calling = 4;
        /// The class of the called number.
        Called = 5;
        /// The class of the forwarded number.
        Forwarded = 6;
        /// The class of the From number.
        FromNumber = 7;
        /// The class of the asserted number.
        AssertedNumber = 8;
        /// The [`NumberFormat`](super::NumberFormat) of the calling number.
        CallingFormat = 9;
        /// The [`NumberFormat`](super::NumberFormat) of the called number.
        CalledFormat = 10;
        /// The [`Attestation`](super::Attestation) that the message claims.
        Attestation = 11;
        /// 1 if calling and called number share the configured count of digits, else 0.
        Neighbor = 12;
        /// The bits of [`anomaly`]. It has no table by value: see [`Config::anomaly_row`].
        Anomaly = 13;
        /// The value of the `verstat` parameter ([`Verstat`](super::Verstat)).
        Verstat = 14;
        /// The class of the number in P-Preferred-Identity.
        PreferredNumber = 15;
        /// The class of the number in To.
        ToNumber = 16;
        /// The classes of all identities of the caller. It has no table by value: see [`Config::identity_row`].
        AnyIdentity = 17;
        /// The bits of [`privacy`](super::privacy).
        CallingPrivacy = 18;
        /// Whether the request is within a dialog ([`Dialog`](super::Dialog)).
        Dialog = 19;
        /// What the packet carries ([`Payload`](super::Payload)).
        Payload = 20;
        /// The bits of [`passport`](super::passport).
        Passport = 21;
        /// Time. Its table is one row, the rules that are on now, which whoever runs the engine rewrites; row 0, which has every
        /// rule, if all rules are always on.
        Time = 22;
        /// Whether the caller's upstream may use the calling number ([`CallerAllowed`](super::CallerAllowed)).
        CallerAllowed = 23;
    }
}

/// The number of [`Dimension`]s, rounded up.
pub const DIMENSIONS: usize = 24;

const _: () = assert!(Dimension::COUNT <= DIMENSIONS && anomaly::COUNT <= 32);

named_bits! {
    /// Bits of [`Config::needs`](super::Config::needs): what this policy needs to be read. The engine reads nothing else.
    pub mod need: u32 {
        /// The source address's class.
        SOURCE = 0;
        /// The destination address's class.
        DESTINATION = 1;
        /// A rule names a port or a transport.
        SERVICE = 2;
        /// A rule names a method. (Every policy with a rule about messages reads it, to tell what a message is.)
        METHOD = 3;
        /// The calling number.
        CALLING = 4;
        /// The called number.
        CALLED = 5;
        /// The forwarded number.
        FORWARDED = 6;
        /// The From number by itself.
        FROM_NUMBER = 7;
        /// The asserted number by itself.
        ASSERTED_NUMBER = 8;
        /// The calling number's format.
        CALLING_FORMAT = 9;
        /// The called number's format.
        CALLED_FORMAT = 10;
        /// The attestation claimed.
        ATTESTATION = 11;
        /// Whether calling and called number are neighbours.
        NEIGHBOR = 12;
        /// Anomalies.
        ANOMALY = 13;
        /// The `verstat` parameter.
        VERSTAT = 14;
        /// Some rule looks into the message, so that it is read at all.
        MESSAGE = 15;
        /// P-Asserted-Identity (and Remote-Party-ID) can become the calling number.
        ASSERTED_IDENTITY = 16;
        /// TCP is among the ports: the flow cache is consulted.
        TCP = 17;
        /// Source bans are consulted (some rule bans, or the daemon does).
        BANS = 18;
        /// Some rule has a rate (`over`).
        RATES = 19;
        /// Everything that `inspect` prints is read, whether a rule needs it or not.
        INSPECT = 20;
        /// Some rule that decides needs nothing but what the first reading of a message takes in: see
        /// [`rule_flag::LATE`](super::super::rule_flag::LATE).
        FIRST_READING = 21;
        /// The number of P-Preferred-Identity by itself.
        PREFERRED_NUMBER = 22;
        /// The number of To.
        TO_NUMBER = 23;
        /// Every identity of the caller.
        ANY_IDENTITY = 24;
        /// What the caller asks to be withheld.
        CALLING_PRIVACY = 25;
        /// Whether a request is within a dialog.
        DIALOG = 26;
        /// What a packet carries.
        PAYLOAD = 27;
        /// The kinds of PASSporT.
        PASSPORT = 28;
        /// The called number is To's, whatever the Request-URI says.
        CALLED_FROM_TO = 29;
        /// Several numbering plans: which one applies is a property of the source.
        PLANS = 30;
        /// Some numbering plan has prefixes to take off before a number is read, see [`Numbering::strip`].
        STRIP = 31;
    }
}

layout! {
    pub(super) const LAYOUTS;

    /// A signalling port. The port is in host order; unused entries are all zero.
    #[derive(Debug)]
    pub struct Port {
        /// UDP or TCP port, 0 for an unused entry.
        pub port: u16,
        /// What is spoken there.
        pub transport: Transport,
        /// Padding, always zero.
        pub reserved: u8,
    }

    /// A header that the policy names, to match its value. An unused entry is all zero.
    #[derive(Debug, PartialEq)]
    pub struct NamedHeader {
        /// The name in lower case, eight bytes a word, with zeroes after its end.
        pub words: [u64; NAME_WORDS],
        /// The bits of each word that are compared.
        pub used: [u64; NAME_WORDS],
        /// The case bits of the name's letters.
        pub case: [u64; NAME_WORDS],
        /// Bytes of the name; 0 for a header that is read for every policy.
        pub length: u32,
        /// The letter of the compact form (RFC 3261 section 7.3.3), in lower case; 0 if there is none.
        pub compact: u8,
        /// Padding, always zero.
        pub reserved: [u8; 3],
    }

    /// A numbering plan: how digits become E.164 numbers. Prefixes are BCD, first digit in the top nibble, with their lengths; one
    /// of no digits is unused. Lists of prefixes are sorted, the longest first, so that the first one that fits counts.
    #[derive(Debug)]
    pub struct Numbering {
        /// The country code's digits.
        pub country_code: u64,
        /// The national (trunk) prefix's digits.
        pub national_prefix: u64,
        /// What is dialled for an outside line.
        pub outside_prefix: u64,
        /// The international prefixes' digits (`011`, `00`).
        pub international_prefixes: [u64; INTERNATIONAL_PREFIXES],
        /// Technical prefixes, taken off before anything else. The symbols `*`, `#` and `,` are the nibbles 0xA, 0xB and 0xC.
        pub strip: [u64; STRIP_PREFIXES],
        /// The number of digits of the country code.
        pub country_code_digits: u8,
        /// The number of digits of the national prefix; 0 for none.
        pub national_prefix_digits: u8,
        /// The number of digits of the outside prefix; 0 for none.
        pub outside_prefix_digits: u8,
        /// 1: other digits are national. 0: they are E.164 without the plus.
        pub bare_national: u8,
        /// The fewest digits of the country's numbers, country code included.
        pub fewest_digits: u8,
        /// The most digits of the country's numbers, country code included.
        pub most_digits: u8,
        /// The numbers of digits of the international prefixes.
        pub international_prefix_digits: [u8; INTERNATIONAL_PREFIXES],
        /// The numbers of digits and symbols of the technical prefixes.
        pub strip_digits: [u8; STRIP_PREFIXES],
        /// Padding, always zero.
        pub reserved: [u8; 6],
    }

    /// A policy's configuration: the program's read-only data, so that the verifier removes what this policy does not use.
    #[derive(Debug)]
    pub struct Config {
        /// Bits of [`need`].
        pub needs: u32,
        /// A bit for each [`Text`](crate::text::Text) that patterns run over.
        pub texts: u32,
        /// The words of a rule set in use, 1 to [`RULE_WORDS`](crate::limits::RULE_WORDS).
        pub words: u32,
        /// What happens when no rule ended the walk: 0 pass, 1 drop.
        pub default_drop: u32,
        /// Events that a rule may emit per second and CPU. Further ones are counted as suppressed.
        pub events_per_second: u32,
        /// For each [`Dimension`]: the first row of its table in the rows map. A dimension that no rule uses has 0: the
        /// rows from there on hold every rule, as many rows as there are classes.
        pub rows: [u32; DIMENSIONS],
        /// For each [`Text`](crate::text::Text): the row of the rules that hold when no pattern matches. Each match state that
        /// the automaton passes has a pair of rows, see [`Dfa::accept`](super::Dfa::accept): the bits of the first (hits)
        /// accumulate, those of the second (vetoes) leave the candidates at once. In the end a rule holds if it is in the base
        /// row or among the hits, and has no veto. (Two rows, so that a rule can both ask for one pattern and exclude another.)
        pub text_rows: [u32; TEXTS],
        /// For each [`Text`](crate::text::Text): its table's index in the DFA map.
        pub text_dfas: [u32; TEXTS],
        /// The row of the rules that hold when no anomaly is set. It is followed by a pair of rows for each bit, `1 + 2 * bit`
        /// (hits) and `2 + 2 * bit` (vetoes), which work as in [`Self::text_rows`].
        pub anomaly_row: u32,
        /// The row of the rules that hold when the caller has no identity in any of their sets. It is followed by a pair of rows for
        /// each class of numbers, `1 + 2 * class` (hits) and `2 + 2 * class` (vetoes), which work as in [`Self::text_rows`].
        pub identity_row: u32,
        /// The first row of a table by class of calling numbers, or 0 if no rule asks for it. Its rows are sets of upstreams and not of
        /// rules: those that may use the number, each as the bit of its number less one.
        pub callers_row: u32,
        /// The upstreams whose numbers are known: those with a number up to this one.
        pub callers: u32,
        /// The first row of a table by upstream, from number 1 on, or 0 if no limit is counted by upstream. The first word of a row is
        /// what limits know the upstream by, whatever its number is in this policy.
        pub upstream_row: u32,
        /// The row of the rules that need the message read (any condition on it, an anomaly's aside).
        pub message_row: u32,
        /// The number of leading digits that neighbours share; 0 if the scope is not used.
        pub neighbor_digits: u32,
        /// 1 if emergency calls come before bans.
        pub ban_passes_emergency: u32,
        /// The lowest signalling port, of any transport.
        pub lowest_port: u16,
        /// The distance from the lowest port to the highest.
        pub port_span: u16,
        /// The lengths of the prefixes that the policy's rules ban.
        pub ban_lengths: BanLengths,
        /// How many of [`Self::headers`] are in use.
        pub named_headers: u32,
        /// Those of them of which a message may have several lines, as bits of [`Header`].
        pub repeated_headers: u32,
        /// 1 for report mode as a whole: nothing is dropped, and nothing is banned.
        pub report: u32,
        /// Padding, always zero.
        pub reserved: u32,
        /// Where the values of the headers that the policy names are noted: a number of [`Header`] in each byte.
        pub header_places: u64,
        /// The names of these headers.
        pub headers: [NamedHeader; NAMED_HEADERS],
        /// The signalling ports, in the order of [`Dimension::Service`]'s rows.
        pub ports: [Port; MAX_PORTS],
        /// The numbering plans. The first one is that of sources that have none of their own.
        pub numbering: [Numbering; NUMBERING_PLANS],
    }
}

impl NamedHeader {
    /// An unused entry.
    pub const EMPTY: Self = Self {
        words: [0; NAME_WORDS],
        used: [0; NAME_WORDS],
        case: [0; NAME_WORDS],
        length: 0,
        compact: 0,
        reserved: [0; 3],
    };
}

impl Numbering {
    /// A plan without prefixes: digits are E.164.
    pub const EMPTY: Self = Self {
        country_code: 0,
        national_prefix: 0,
        outside_prefix: 0,
        international_prefixes: [0; INTERNATIONAL_PREFIXES],
        strip: [0; STRIP_PREFIXES],
        country_code_digits: 0,
        national_prefix_digits: 0,
        outside_prefix_digits: 0,
        bare_national: 0,
        fewest_digits: 0,
        most_digits: MAX_DIGITS as u8,
        international_prefix_digits: [0; INTERNATIONAL_PREFIXES],
        strip_digits: [0; STRIP_PREFIXES],
        reserved: [0; 6],
    };
}

impl Config {
    /// A policy without rules: it reads nothing and passes everything.
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
        identity_row: 0,
        callers_row: 0,
        callers: 0,
        upstream_row: 0,
        message_row: 0,
        neighbor_digits: 0,
        ban_passes_emergency: 0,
        lowest_port: 0,
        port_span: 0,
        ban_lengths: BanLengths { ipv4: [0; BAN_LENGTHS], ipv6: [0; BAN_LENGTHS] },
        named_headers: 0,
        repeated_headers: 0,
        report: 0,
        reserved: 0,
        header_places: 0,
        headers: [NamedHeader::EMPTY; NAMED_HEADERS],
        ports: [Port { port: 0, transport: Transport::Udp, reserved: 0 }; MAX_PORTS],
        numbering: [Numbering::EMPTY; NUMBERING_PLANS],
    };

    /// Where the value of a header that the policy names is noted.
    #[inline(always)]
    #[must_use]
    pub const fn header_place(&self, index: u32) -> Header {
        Header::from_number((self.header_places >> (8 * (index & (NAMED_HEADERS as u32 - 1)))) as u8 as u32)
    }

    /// Makes these the signalling ports, at most [`MAX_PORTS`].
    pub fn set_ports(&mut self, ports: &[(u16, Transport)]) {
        self.ports = Self::EMPTY.ports;
        let (mut lowest, mut highest) = (u16::MAX, 0);
        for (entry, &(port, transport)) in self.ports.iter_mut().zip(ports) {
            *entry = Port { port, transport, reserved: 0 };
            lowest = lowest.min(port);
            highest = highest.max(port);
        }
        self.lowest_port = lowest;
        self.port_span = highest.saturating_sub(lowest);
    }
}
