//! The parts of a message that are read, and the states of reading it, as numbers.

use crate::{
    layout::need,
    limits::NAMED_HEADERS,
    named::{named_bits, named_number},
};

named_number! {
    /// The headers whose place is noted, and other parts of the message that are noted like a header.
    pub struct Header: u32 {
        /// The Request-URI, from the start line.
        RequestUri = 0;
        /// From.
        From = 1;
        /// To.
        To = 2;
        /// Call-ID.
        CallId = 3;
        /// CSeq.
        CSeq = 4;
        /// The topmost Via.
        Via = 5;
        /// The first Contact.
        Contact = 6;
        /// Content-Length.
        ContentLength = 7;
        /// User-Agent.
        UserAgent = 8;
        /// Server.
        Server = 9;
        /// The first P-Asserted-Identity line.
        AssertedIdentity = 10;
        /// The first Remote-Party-ID line.
        RemotePartyId = 11;
        /// The first P-Preferred-Identity line.
        PreferredIdentity = 12;
        /// The first Diversion line.
        Diversion = 13;
        /// The first History-Info line.
        HistoryInfo = 14;
        /// The value of a header with several that is being read.
        Entry = 15;
        /// Subject.
        Subject = 16;
        /// Privacy.
        Privacy = 17;
        /// Content-Type.
        ContentType = 18;
        /// The Identity header whose claim is believed to be the call's.
        Identity = 19;
        /// The first Route line.
        Route = 20;
        /// The method of a request, or the status code of a response.
        MethodOrCode = 21;
        /// The body, from the end of the headers on.
        Body = 22;
        /// The session name of a session description.
        SdpSession = 23;
        /// A header that nothing needs. It has no place.
        Other = 0xfd;
    }
}

impl Header {
    /// The place of a header that the policy names and that has no place of its own, by its index in
    /// [`Config::headers`](crate::layout::Config::headers).
    #[inline(always)]
    #[must_use]
    pub const fn named(index: u32) -> Self {
        Self::from_number(FIRST_NAMED_HEADER + index)
    }
}

/// The place of the first header that only the policy names.
const FIRST_NAMED_HEADER: u32 = FIRST_FURTHER_LINE - NAMED_HEADERS as u32;

const _: () = {
    let mut index = 0;
    while index < Header::COUNT {
        let header = Header::ALL[index].number();
        assert!(header < FIRST_NAMED_HEADER || header == Header::Other.number(), "the place belongs to a named header");
        index += 1;
    }
};

/// The number of [`Header`] places: those of the headers, and those of the further lines of headers with several values.
pub const HEADERS: usize = 64;

/// The first place of a further line.
pub const FIRST_FURTHER_LINE: u32 = 32;

/// The number of further lines that are kept.
pub const FURTHER_LINES: usize = 32;

const _: () = assert!(FIRST_FURTHER_LINE as usize + FURTHER_LINES == HEADERS);

/// Values of [`Cursors::pause`](super::Cursors::pause) that are no header of a message.
pub mod pause {
    use super::Header;

    /// The headers are read to their end.
    pub const NONE: Header = Header::from_number(0xff);
    /// Reading the headers has not begun, or has paused.
    pub const UNFINISHED: Header = Header::from_number(0xfe);
}

named_number! {
    /// The URIs that are read. Those of headers with several values are read by [`crate::lists`].
    pub struct UriOf: u32 {
        /// The Request-URI.
        Request = 0;
        /// The URI of From.
        From = 1;
        /// The URI of To.
        To = 2;
        /// The URI of the first Contact.
        Contact = 3;
        /// The first value of P-Asserted-Identity.
        Asserted = 4;
        /// The first value of P-Asserted-Identity that holds a number.
        AssertedNumber = 5;
        /// The first value of P-Preferred-Identity.
        Preferred = 6;
        /// The first value of P-Preferred-Identity that holds a number.
        PreferredNumber = 7;
        /// The first value of Remote-Party-ID that is about the caller.
        RemoteParty = 8;
        /// The first such value that holds a number.
        RemotePartyNumber = 9;
        /// The first value of Diversion.
        Diversion = 10;
        /// The first value of Diversion that holds a number.
        DiversionNumber = 11;
        /// The entry of History-Info before the last.
        History = 12;
        /// The latest entry of History-Info, but for the last, that holds a number.
        HistoryNumber = 13;
        /// The value of a header with several that is being read.
        Entry = 14;
        /// The last value of History-Info so far.
        Last = 15;
    }
}

impl UriOf {
    /// The URIs of headers with one value: each with its header, and the bits of [`need`] of which any asks for it. Texts ask for
    /// URIs too, see [`Text::OF_URIS`](crate::text::Text::OF_URIS).
    pub const SINGLE: [(Self, Header, u32); 4] = [
        (Self::Request, Header::RequestUri, need::CALLED | need::CALLED_FORMAT | need::NEIGHBOR | need::ANOMALY),
        (
            Self::From,
            Header::From,
            need::CALLING
                | need::CALLING_FORMAT
                | need::NEIGHBOR
                | need::FROM_NUMBER
                | need::VERSTAT
                | need::ANOMALY
                | need::ANY_IDENTITY
                | need::CALLING_PRIVACY,
        ),
        (Self::To, Header::To, need::ANOMALY | need::TO_NUMBER | need::DIALOG),
        (Self::Contact, Header::Contact, need::ANOMALY),
    ];
}

/// The number of [`UriOf`], rounded up to a power of two.
pub const URIS: usize = 16;

const _: () = assert!(UriOf::COUNT <= URIS && URIS.is_power_of_two());

named_bits! {
    /// Bits of [`Uri::flags`](crate::scratch::Uri::flags).
    pub mod uri_flag: u8 {
        /// The value or its URI cannot be read.
        MALFORMED = 0;
        /// The user part is a number: digits, visual separators, escapes of them.
        NUMBER = 1;
        /// The number begins with `+`.
        PLUS = 2;
        /// The user part or the host says anonymous.
        ANONYMOUS = 3;
        /// There is a URI.
        PRESENT = 4;
        /// The value is an addr-spec without angle brackets: what follows a semicolon belongs to the header.
        BARE = 5;
    }
}

named_number! {
    /// The scheme of a URI.
    pub struct Scheme: u8 {
        /// No URI has been read.
        None = 0;
        /// `sip:`.
        Sip = 1;
        /// `sips:`.
        Sips = 2;
        /// `tel:`.
        Tel = 3;
        /// Any other scheme.
        Other = 4;
        /// `urn:`.
        Urn = 5;
    }
}

named_number! {
    /// The numbers of a message.
    pub struct NumberOf: u32 {
        /// The calling number: that of From, or of the identity that a believed source asserts.
        Calling = 0;
        /// The called number: that of the Request-URI.
        Called = 1;
        /// The forwarding number: that of Diversion, or of History-Info if there is no Diversion.
        Forwarded = 2;
        /// The number of From.
        From = 3;
        /// The number of the first P-Asserted-Identity value, or of the second if the first holds none.
        Asserted = 4;
        /// The number of the first P-Preferred-Identity value that holds one.
        Preferred = 5;
        /// The number of To.
        To = 6;
        /// The number of the value that is being read.
        Entry = 7;
    }
}

/// The number of [`NumberOf`], rounded up to a power of two.
pub const NUMBERS: usize = 8;

const _: () = assert!(NumberOf::COUNT <= NUMBERS && NUMBERS.is_power_of_two());

named_number! {
    /// What the payload is.
    pub struct Kind: u8 {
        /// The payload has not been examined.
        Unread = 0, "unread";
        /// A SIP request.
        Request = 1, "request";
        /// A SIP response.
        Response = 2, "response";
        /// Line ends or zero bytes only (RFC 5626 section 3.5.1, and what NAT keep-alives use).
        KeepAlive = 3, "keep-alive";
        /// STUN (RFC 8489 section 5).
        Stun = 4, "stun";
        /// None of these.
        NotSip = 5, "not-sip";
        /// No payload.
        Empty = 6, "empty";
    }
}

impl Kind {
    /// True for a request or a response.
    #[inline(always)]
    #[must_use]
    pub const fn is_message(self) -> bool {
        matches!(self, Self::Request | Self::Response)
    }
}

named_number! {
    /// How far a message has been read.
    pub struct Extent: u32 {
        /// Not at all.
        None = 0;
        /// As far as rules without [`rule_flag::LATE`](crate::layout::rule_flag::LATE) need.
        First = 1;
        /// As far as any rule needs.
        Whole = 2;
    }
}

named_number! {
    /// How the walk over the rules ended.
    pub struct Outcome: u32 {
        /// It has not ended, or no rule was left.
        Open = 0;
        /// The next rule needs the message, which has not been read.
        NeedsMessage = 1;
        /// A rule decided: [`Walk::rule`](super::Walk::rule) is its index.
        Decided = 2;
    }
}
