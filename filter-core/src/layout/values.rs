//! The values that a message or a port can have, as numbers: rows of rule tables, fields of events.

use crate::named::{named_bits, named_number};

named_number! {
    /// SIP methods (IANA's registry). `Other` is any other token, `Response` a status line.
    ///
    /// The names are those on the wire; `response` is the policy language's, `none` and `other` are never on the wire.
    pub struct Method: u8 {
        None = 0, "none";
        Response = 1, "response";
        Other = 2, "other";
        Ack = 3, "ACK";
        Bye = 4, "BYE";
        Cancel = 5, "CANCEL";
        Info = 6, "INFO";
        Invite = 7, "INVITE";
        Message = 8, "MESSAGE";
        Notify = 9, "NOTIFY";
        Options = 10, "OPTIONS";
        Prack = 11, "PRACK";
        Publish = 12, "PUBLISH";
        Refer = 13, "REFER";
        Register = 14, "REGISTER";
        Subscribe = 15, "SUBSCRIBE";
        Update = 16, "UPDATE";
    }
}

named_number! {
    /// The format of a number: the first that applies, in the order of the policy language.
    pub struct NumberFormat: u8 {
        Missing = 0, "missing";
        Anonymous = 1, "anonymous";
        NotANumber = 2, "not-a-number";
        TooLong = 3, "too-long";
        TooShort = 4, "too-short";
        UnassignedCountryCode = 5, "unassigned-country-code";
        InvalidAreaCode = 6, "invalid-area-code";
        UnassignedAreaCode = 7, "unassigned-area-code";
        UnassignedBlock = 8, "unassigned-block";
        Fictional = 9, "fictional";
        Valid = 10, "valid";
    }
}

named_number! {
    /// The unverified claim of the SHAKEN PASSporT in Identity (RFC 8588): A, B or C. None without an Identity header; unknown
    /// if no claim can be read from the first characters of the one there is; truncated if the header goes on in another fragment.
    pub struct Attestation: u8 {
        None = 0, "none";
        A = 1, "A";
        B = 2, "B";
        C = 3, "C";
        Unknown = 4, "unknown";
        Truncated = 5, "truncated";
    }
}

named_number! {
    /// The result of the terminating provider's verification, as a trusted peer passes it on (`verstat`, 3GPP TS 24.229).
    pub struct Verstat: u8 {
        None = 0, "none";
        TnValidationPassed = 1, "TN-Validation-Passed";
        TnValidationFailed = 2, "TN-Validation-Failed";
        NoTnValidation = 3, "No-TN-Validation";
        Other = 4, "other";
    }
}

named_number! {
    /// Whether a request starts a dialog: it does unless its To has a tag (RFC 3261 section 12.2).
    pub struct Dialog: u8 {
        Initial = 0, "initial";
        Within = 1, "within";
    }
}

named_number! {
    /// Whether the calling number is one of those that the source's upstream may use. Unknown if it has no list of them: rules then
    /// match neither the condition nor its negation.
    pub struct CallerAllowed: u8 {
        Unknown = 0, "unknown";
        No = 1, "false";
        Yes = 2, "true";
    }
}

named_number! {
    /// What a packet to a signalling port carries, as rules see it.
    ///
    /// `None` is a packet that rules about payloads never hold for: an empty one, or a TCP segment in which no message begins.
    pub struct Payload: u8 {
        None = 0, "none";
        Sip = 1, "sip";
        KeepAlive = 2, "keep-alive";
        Stun = 3, "stun";
        Other = 4, "other";
    }
}

named_bits! {
    /// What a message asks to be withheld, and how: the values of Privacy (RFC 3323, RFC 3325, RFC 7044), and an anonymous URI.
    pub mod privacy: u32 {
        /// The network's identities (P-Asserted-Identity) are withheld from the called party.
        ID = 0, "id";
        /// Headers that the caller cannot conceal are concealed by the network.
        HEADER = 1, "header";
        /// As `header`, for session descriptions.
        SESSION = 2, "session";
        /// The network conceals what the caller should have.
        USER = 3, "user";
        /// History-Info is withheld.
        HISTORY = 4, "history";
        /// The call fails if the others cannot be provided. By itself, it withholds nothing.
        CRITICAL = 5, "critical";
        /// The caller's URI says that it is anonymous.
        ANONYMOUS_URI = 6, "anonymous-uri";
    }
}

named_bits! {
    /// The kinds of PASSporT in a message's Identity headers, by their `ppt` (RFC 8225 section 8).
    pub mod passport: u32 {
        /// SHAKEN (RFC 8588): the attestation of the calling number.
        SHAKEN = 0, "shaken";
        /// Diverted calls (RFC 8946).
        DIV = 1, "div";
        /// Resource priority (RFC 8443).
        RPH = 2, "rph";
        /// Any other extension, or none.
        OTHER = 3, "other";
    }
}

named_bits! {
    /// Which packets are captured, by what happens to them.
    pub mod capture: u32 {
        /// Those that are dropped.
        DROPPED = 0, "dropped";
        /// Those that would be dropped, were it not for report mode.
        WOULD = 1, "would";
        /// The others, if they are for a signalling port.
        PASSED = 2, "passed";
    }
}

named_number! {
    /// The transport of a signalling port.
    pub struct Transport: u8 {
        Udp = 0, "udp";
        Tcp = 1, "tcp";
        /// TLS or WebSocket over TLS: nothing above TCP is read.
        Tls = 2, "tls";
    }
}

named_bits! {
    /// The anomalies of a message or packet.
    pub mod anomaly: u32 {
        /// The payload is no SIP message, no keep-alive and no STUN.
        NOT_SIP = 0, "not-sip";
        /// The start line breaks RFC 3261 section 7.1 or 7.2 but can be read.
        MALFORMED_START_LINE = 1, "malformed-start-line";
        /// A SIP version other than 2.0.
        UNSUPPORTED_VERSION = 2, "unsupported-version";
        /// No blank line ends the headers within the inspected length or the packet.
        HEADERS_BEYOND_INSPECTED_LENGTH = 3, "headers-beyond-inspected-length";
        /// A header that may occur once occurs again (From, To, Call-ID, CSeq, Content-Length, ...).
        DUPLICATE_HEADER = 4, "duplicate-header";
        /// From, To, Call-ID, CSeq or Via is missing.
        MISSING_HEADER = 5, "missing-header";
        /// A control character in a header's name or the start line, or a carriage return without a line feed after it.
        CONTROL_CHARACTER = 6, "control-character";
        /// Content-Length disagrees with the datagram, or is no number.
        CONTENT_LENGTH_MISMATCH = 7, "content-length-mismatch";
        /// A first fragment too short to hold the start line.
        TINY_FIRST_FRAGMENT = 8, "tiny-first-fragment";
        /// A second message follows the first one in the datagram, or a message follows something else in a TCP segment.
        SEVERAL_MESSAGES = 9, "several-messages";
        /// A header line without a colon, or with a folded name.
        MALFORMED_HEADER = 10, "malformed-header";
        /// An address or a URI that breaks the grammar, or that servers read in different ways, in any header with an address.
        MALFORMED_URI = 11, "malformed-uri";
        /// A TCP segment that ends within the first bytes of what may be a start line.
        CUT_START_LINE = 12, "cut-start-line";
        /// The first segment of a TCP connection that begins a message, does not hold all its headers, and is shorter than it need
        /// be.
        SPLIT_MESSAGE = 13, "split-message";
        /// A TCP segment with urgent data, of which the receiver takes a byte out of the stream (RFC 6093 section 3.1).
        URGENT_DATA = 14, "urgent-data";
        /// A Route with a number: a proxy that follows a strict route calls it, and not the number of the Request-URI (RFC 3261
        /// section 16.4).
        NUMBER_IN_ROUTE = 15, "number-in-route";
    }
}
