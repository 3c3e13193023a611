//! The texts that patterns run over: the one table of what they are and where they are in a message.

mod literals;
mod patterns;

pub use literals::TryPlaces;
pub use patterns::{NarrowTexts, narrow};

use crate::{
    host::Host,
    layout::Config,
    limits::NAMED_HEADERS,
    named::named_number,
    scratch::{HEADERS, Header, Kind, Message, Scratch, Span, UriOf},
};

/// Bytes of a MESSAGE's body that patterns see.
pub const BODY_LENGTH: u32 = 512;

/// Where a text is in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The value of a header, or of a part of the message that is noted like one.
    Header(Header),
    /// The User-Agent. For a response without one, Server.
    Agent,
    /// The display name in front of a URI, raw, without its quotes.
    Display(UriOf),
    /// The user part of a URI, raw.
    User(UriOf),
    /// The host part of a URI and what follows it in the URI.
    Host(UriOf),
}

/// Defines the texts: the number and the name in the policy language, its values in a few words (for the schema, and for
/// editors), and the place in the message. Everything else about a text follows from this table.
macro_rules! texts {
    ($($name:ident = $value:literal, $text:literal, $values:literal, $place:ident $(($of:ident))?;)*) => {
        named_number! {
            /// The texts that patterns can run over. Each has an automaton of its own.
            pub struct Text: u32 { $($name = $value, $text;)* }
        }

        impl Text {
            /// The place of each text in a message, in the order of the texts' numbers.
            const PLACES: [Place; Self::COUNT] = [$(texts!(@place $place $(($of))?),)*];

            /// What the values of the scope are, in a few words.
            #[must_use]
            pub const fn values(self) -> &'static str {
                match self { $(Self::$name => $values,)* _ => "" }
            }

            /// Where the text is in a message; none for a number that is no text's.
            #[inline(always)]
            #[must_use]
            pub const fn place(self) -> Option<Place> {
                match self { $(Self::$name => Some(texts!(@place $place $(($of))?)),)* _ => None }
            }

            /// Hands over each text with its place. Unrolled: a loop would have to look for the place of each.
            #[inline(always)]
            fn each(mut f: impl FnMut(Self, Place)) {
                $(f(Self::$name, texts!(@place $place $(($of))?));)*
            }
        }
    };
    (@place Agent) => { Place::Agent };
    (@place Header($header:ident)) => { Place::Header(Header::$header) };
    (@place $part:ident($of:ident)) => { Place::$part(UriOf::$of) };
}

texts! {
    UserAgent = 0, "user_agent", "User-Agent (of responses also Server): regular expressions, sets", Agent;
    CallId = 1, "header.call-id", "Call-ID", Header(CallId);
    FromDisplay = 2, "header.from-display", "display name of From, without its quotes", Display(From);
    FromUser = 3, "header.from-user", "user part of From, as on the wire", User(From);
    ToUser = 4, "header.to-user", "user part of To, as on the wire", User(To);
    RequestUser = 5, "header.request-user", "user part of the Request-URI, as on the wire", User(Request);
    Subject = 6, "header.subject", "Subject", Header(Subject);
    Contact = 7, "header.contact", "Contact", Header(Contact);
    FromHost = 8, "header.from-host", "host of the From URI, and what follows it in the URI", Host(From);
    RequestHost = 9, "header.request-host", "host of the Request-URI, and what follows it", Host(Request);
    Via = 10, "header.via", "the topmost Via", Header(Via);
    SdpSession = 11, "header.sdp-session", "session name (`s=`) of a session description in the body", Header(SdpSession);
    Body = 12, "body", "start of the body of a MESSAGE: regular expressions, sets", Header(Body);
    Server = 13, "header.server", "Server", Header(Server);
    ContactHost = 14, "header.contact-host", "host of the Contact URI, and what follows it in the URI", Host(Contact);
}

/// The number of [`Text`]s, those of the headers that a policy names included, rounded up to a power of two.
pub const TEXTS: usize = 32;

/// The number of the first text that is a header which the policy names.
const FIRST_NAMED: u32 = (TEXTS - NAMED_HEADERS) as u32;

const _: () = assert!(Text::COUNT <= FIRST_NAMED as usize && TEXTS.is_power_of_two() && TEXTS <= 32);

impl Text {
    /// The value of a header that the policy names, by the header's index in [`Config::headers`]. It is not among [`Self::ALL`].
    #[must_use]
    pub const fn named(index: usize) -> Self {
        Self::from_number(FIRST_NAMED + index as u32)
    }

    /// The index in [`Config::headers`], if this is the value of a header that the policy names.
    #[inline(always)]
    #[must_use]
    pub const fn named_index(self) -> Option<usize> {
        if self.number() >= FIRST_NAMED {
            Some((self.number() - FIRST_NAMED) as usize & (NAMED_HEADERS - 1))
        } else {
            None
        }
    }

    /// The texts that the first reading of a message takes in, as bits.
    pub const FIRST: u32 = Self::UserAgent.bit();

    /// The texts that are read from the body, as bits.
    pub const IN_BODY: u32 = {
        let (mut bits, mut index) = (0, 0);
        while index < Self::COUNT {
            if let Place::Header(Header::Body | Header::SdpSession) = Self::PLACES[index] {
                bits |= Self::ALL[index].bit();
            }
            index += 1;
        }
        bits
    };

    /// For each URI, the texts that need it read, as bits.
    pub const OF_URIS: [u32; UriOf::COUNT] = {
        let (mut bits, mut index) = ([0; UriOf::COUNT], 0);
        while index < Self::COUNT {
            if let Place::Display(of) | Place::User(of) | Place::Host(of) = Self::PLACES[index] {
                bits[of.index()] |= Self::ALL[index].bit();
            }
            index += 1;
        }
        bits
    };

    /// True if the first reading of a message takes this text in.
    #[must_use]
    pub const fn is_first(self) -> bool {
        Self::FIRST & self.bit() != 0
    }
}

/// Notes where the texts are that have patterns. One that the message does not have ends at 0.
#[inline(always)]
fn note_spans<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let config = host.config();
    Text::each(|text, place| {
        // A constant to the verifier. (Which of them are asked for is not.)
        if config.texts & text.bit() != 0 {
            s.cursors.spans[text.index()] = at_place(&s.message, place);
        }
    });
    for index in 0..NAMED_HEADERS as u32 {
        if index < config.named_headers {
            let place = host.masked::<{ HEADERS as u32 - 1 }>(config.header_place(index).number());
            s.cursors.spans[Text::named(index as usize).index() & (TEXTS - 1)] = s.message.headers[place];
        }
    }
}

/// What is at a text's place. It ends at 0 if the message has nothing there: the places of headers are zero, and so is an empty part of
/// a URI.
#[inline(always)]
const fn at_place(message: &Message, place: Place) -> Span {
    match place {
        Place::Header(header) => message.header(header),
        Place::Agent => agent(message),
        Place::Display(of) => non_empty(message.uri(of).display),
        Place::User(of) => non_empty(message.uri(of).user),
        Place::Host(of) => non_empty(message.uri(of).host),
    }
}

/// The User-Agent. For a response without one, Server.
#[inline(always)]
const fn agent(message: &Message) -> Span {
    let is_server = !message.has(Header::UserAgent) && matches!(message.kind, Kind::Response);
    message.header(if is_server { Header::Server } else { Header::UserAgent })
}

/// The text as a span of the message; none if the message has no such value. The configuration says where the headers are
/// that the policy names.
#[inline(always)]
#[must_use]
pub const fn wanted_span(config: &Config, message: &Message, text: Text) -> Option<Span> {
    let Some(index) = text.named_index() else { return span(message, text) };
    let header = config.header_place(index as u32);
    if message.has(header) { Some(message.header(header)) } else { None }
}

/// As [`wanted_span`], for the texts that every policy has.
#[inline(always)]
#[must_use]
pub const fn span(message: &Message, text: Text) -> Option<Span> {
    let Some(place) = text.place() else { return None };
    let span = at_place(message, place);
    if span.end == 0 { None } else { Some(span) }
}

#[inline(always)]
const fn non_empty(span: Span) -> Span {
    if span.is_empty() { Span { start: 0, end: 0 } } else { span }
}
