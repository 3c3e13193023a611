//! The parts of a message that are read, and the states of reading it, as numbers.

use crate::{
    layout::need,
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
        /// The second P-Asserted-Identity line.
        SecondAssertedIdentity = 11;
        /// Remote-Party-ID.
        RemotePartyId = 12;
        /// The first Diversion line.
        Diversion = 13;
        /// The last History-Info line.
        HistoryInfo = 14;
        /// The History-Info line before the last.
        EarlierHistoryInfo = 15;
        /// Subject.
        Subject = 16;
        /// Privacy.
        Privacy = 17;
        /// Content-Type.
        ContentType = 18;
        /// The Identity header whose claim is believed to be the call's.
        Identity = 19;
        /// The status code of a response.
        StatusCode = 20;
        /// The method of a request.
        Method = 21;
        /// The body, from the end of the headers on.
        Body = 22;
        /// The session name of a session description.
        SdpSession = 23;
        /// The first P-Preferred-Identity line.
        PreferredIdentity = 24;
        /// A header that nothing needs.
        Other = 31;
    }
}

/// The number of [`Header`] places.
pub const HEADERS: usize = 32;

const _: () = assert!(Header::Other.index() == HEADERS - 1);

/// Values of [`Cursors::pause`](super::Cursors::pause) that are no header of a message.
pub mod pause {
    use super::Header;

    /// The headers are read to their end.
    pub const NONE: Header = Header::from_number(0xff);
    /// Reading the headers has not begun, or has paused.
    pub const UNFINISHED: Header = Header::from_number(0xfe);
}

/// Defines the URIs that are read: the header that holds each, and the bits of [`need`] that ask for it. Texts ask for URIs
/// too, see [`Text::OF_URIS`](crate::text::Text::OF_URIS).
macro_rules! uris {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $header:ident, $needs:expr;)*) => {
        named_number! {
            /// The URIs that are read.
            pub struct UriOf: u32 { $($(#[$doc])* $name = $value;)* }
        }

        impl UriOf {
            /// For each URI, the header whose value holds it.
            pub const HEADERS: [Header; Self::COUNT] = [$(Header::$header,)*];

            /// For each URI, the bits of [`need`] of which any asks for it.
            pub const NEEDS: [u32; Self::COUNT] = [$($needs,)*];
        }
    };
}

uris! {
    /// The Request-URI.
    Request = 0, RequestUri, need::CALLED | need::CALLED_FORMAT | need::NEIGHBOR | need::ANOMALY;
    /// The URI of From.
    From = 1, From,
        need::CALLING | need::CALLING_FORMAT | need::NEIGHBOR | need::FROM_NUMBER | need::VERSTAT | need::ANOMALY;
    /// The URI of To.
    To = 2, To, need::ANOMALY;
    /// The first value of P-Asserted-Identity.
    Asserted = 3, AssertedIdentity, need::ASSERTED_IDENTITY | need::ASSERTED_NUMBER;
    /// The second value of P-Asserted-Identity, in its first line or in a second one.
    SecondAsserted = 4, SecondAssertedIdentity, need::ASSERTED_IDENTITY | need::ASSERTED_NUMBER;
    /// The URI of Remote-Party-ID.
    RemoteParty = 5, RemotePartyId, need::ASSERTED_IDENTITY;
    /// The first URI of Diversion.
    Diversion = 6, Diversion, need::FORWARDED;
    /// The entry of History-Info before the last.
    History = 7, HistoryInfo, need::FORWARDED;
    /// The URI of the first Contact. Only texts ask for it.
    Contact = 8, Contact, 0;
    /// The first value of P-Preferred-Identity.
    Preferred = 9, PreferredIdentity, need::ASSERTED_IDENTITY | need::PREFERRED_NUMBER;
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
