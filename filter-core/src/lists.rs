//! Headers with several values, in one line or in several: the values that count, and their numbers.

use crate::{
    evaluate::{remove, unite},
    find::{ClosingAngle, CommaQuoteAngle, QuoteBackslash, find, skip_blank},
    host::{Host, Step},
    layout::{anomaly, need},
    limits::INSPECTED_LENGTH,
    message::CRLF,
    named::named_number,
    numbers,
    scratch::{
        FIRST_FURTHER_LINE, FURTHER_LINES, HEADERS, Header, NumberOf, Scratch, Span, URIS, Uri, UriOf, uri_flag,
    },
    swar::text,
    uri::{self, Parameter, find_parameter, is_word},
    wanted,
};

named_number! {
    /// The headers with several values that are read.
    pub struct List: u32 {
        /// P-Asserted-Identity (RFC 3325).
        Asserted = 0;
        /// P-Preferred-Identity (RFC 3325).
        Preferred = 1;
        /// Remote-Party-ID (draft-ietf-sip-privacy-04).
        RemoteParty = 2;
        /// Diversion (RFC 5806): the latest comes first.
        Diversion = 3;
        /// History-Info (RFC 7044): the latest comes last, and is the target of this request.
        History = 4;
        /// Route (RFC 3261 section 20.34).
        Route = 5;
    }
}

impl List {
    const fn header(self) -> Header {
        match self {
            Self::Asserted => Header::AssertedIdentity,
            Self::Preferred => Header::PreferredIdentity,
            Self::RemoteParty => Header::RemotePartyId,
            Self::Diversion => Header::Diversion,
            Self::Route => Header::Route,
            _ => Header::HistoryInfo,
        }
    }

    /// The places of the first value (of History-Info: the one before the last), and of the value whose number counts.
    const fn places(self) -> (UriOf, UriOf) {
        match self {
            Self::Asserted => (UriOf::Asserted, UriOf::AssertedNumber),
            Self::Preferred => (UriOf::Preferred, UriOf::PreferredNumber),
            Self::RemoteParty => (UriOf::RemoteParty, UriOf::RemotePartyNumber),
            Self::Diversion => (UriOf::Diversion, UriOf::DiversionNumber),
            // Its values are not kept.
            Self::Route => (UriOf::Entry, UriOf::Last),
            _ => (UriOf::History, UriOf::HistoryNumber),
        }
    }

    /// The bits of [`need`] of which any asks for the list.
    const fn needs(self) -> u32 {
        need::ANOMALY
            | need::INSPECT
            | match self {
                Self::Asserted => {
                    need::ASSERTED_IDENTITY | need::ASSERTED_NUMBER | need::ANY_IDENTITY | need::CALLING_PRIVACY
                }
                Self::Preferred => need::ASSERTED_IDENTITY | need::PREFERRED_NUMBER | need::ANY_IDENTITY,
                Self::RemoteParty => need::ASSERTED_IDENTITY | need::ANY_IDENTITY,
                Self::Route => 0,
                _ => need::FORWARDED,
            }
    }

    /// True for the headers that say who calls.
    const fn is_identity(self) -> bool {
        matches!(self, Self::Asserted | Self::Preferred | Self::RemoteParty)
    }
}

/// Bits of [`need`] of which any asks for one of the lists.
pub const NEEDS: u32 = {
    let (mut needs, mut index) = (0, 0);
    while index < List::COUNT {
        needs |= List::ALL[index].needs();
        index += 1;
    }
    needs
};

/// Reads the values of the lists that the policy needs.
#[inline(always)]
pub fn read<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let needs = host.config().needs;
    let mut left = 0;
    for list in List::ALL {
        if needs & list.needs() != 0 {
            if list != List::Route {
                let (first, counting) = list.places();
                *s.message.uri_mut(first) = Uri::EMPTY;
                *s.message.uri_mut(counting) = Uri::EMPTY;
            }
            // Without a branch, which would double the verifier's paths. Most messages have none or one of them.
            left |= (s.message.seen >> list.header().number() & 1) << list.number();
        }
    }
    if left != 0 {
        s.cursors.left = left;
        s.cursors.value_line_end = 0;
        host.repeat(&mut Values { host, s });
    }
}

/// Begins the next list of those that the message has. False if none is left.
#[inline(always)]
fn begin_list<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> bool {
    let Some(list) = s.cursors.take_left() else { return false };
    s.cursors.list = list;
    let header = List::from_number(list).header();
    let line = s.message.headers[host.masked::<{ HEADERS as u32 - 1 }>(header.number())];
    begin_line(s, line);
    s.cursors.has_last_value = 0;
    s.cursors.further_line = 0;
    true
}

/// The places of the list's URIs, as indices that every kernel's verifier knows to be within the table: LLVM would compute them, and
/// leave the mask out.
#[inline(always)]
fn places<'m, H: Host<'m>>(host: H, list: List) -> (UriOf, UriOf) {
    let (first, counting) = list.places();
    let masked = |of: UriOf| UriOf::from_number(host.masked::<{ URIS as u32 - 1 }>(of.number()) as u32);
    (masked(first), masked(counting))
}

/// Begins to walk over the values of a line.
#[inline(always)]
pub(crate) fn begin_line(s: &mut Scratch, line: Span) {
    s.cursors.value = line.start as u32;
    s.cursors.value_at = line.start as u32;
    s.cursors.value_line_end = line.end as u32;
    s.cursors.value_quoted = 0;
}

/// Begins the next further line of a header. False if there is none.
#[inline(always)]
pub(crate) fn next_line<'m, H: Host<'m>>(host: H, s: &mut Scratch, header: Header) -> bool {
    let mut index = s.cursors.further_line;
    for _ in 0..host.bound(FURTHER_LINES as u32) {
        if index >= s.message.further_lines {
            return false;
        }
        if s.message.further[host.masked::<{ FURTHER_LINES as u32 - 1 }>(index)] as u32 == header.number() {
            break;
        }
        index += 1;
    }
    if index >= s.message.further_lines {
        return false;
    }
    s.cursors.further_line = index + 1;
    let line = s.message.headers[host.masked::<{ HEADERS as u32 - 1 }>(FIRST_FURTHER_LINE + index)];
    begin_line(s, line);
    true
}

/// The walk over the values of the lists: goes from one quote, bracket or comma to the next. One loop, not one in another: the calls
/// that the reading of a URI makes leave no room for more (the kernel allows eight frames).
struct Values<'s, H> {
    host: H,
    s: &'s mut Scratch,
}

impl<'m, H: Host<'m>> Step for Values<'_, H> {
    const TIMES: u32 = INSPECTED_LENGTH as u32 + 2 * List::COUNT as u32;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let (host, s) = (self.host, &mut *self.s);
        if s.cursors.value_line_end == 0 {
            return !begin_list(host, s);
        }
        let (from, end) = (s.cursors.value_at, s.cursors.value_line_end);
        let is_quoted = s.cursors.value_quoted != 0;
        let near = from + (s.byte(from) == b' ') as u32;
        let mut at = if is_quoted {
            find::<QuoteBackslash, H>(host, s, from, end)
        } else if s.byte(near) == b'<' && near < end {
            // Most values begin so: then there is nothing to look for.
            s.cursors.at = near;
            host.fence();
            s.cursors.at
        } else {
            find::<CommaQuoteAngle, H>(host, s, from, end)
        };
        if at < end {
            match s.byte(at) {
                b'"' => {
                    s.cursors.value_quoted = !is_quoted as u32;
                    s.cursors.value_at = at + 1;
                    return false;
                }
                b'\\' => {
                    // Outside of quotes it escapes nothing but a quote, see the walk over a display name.
                    s.cursors.value_at = at + if is_quoted || s.byte(at + 1) == b'"' { 2 } else { 1 };
                    return false;
                }
                b'<' => {
                    let after = find::<ClosingAngle, H>(host, s, at, end) + 1;
                    s.cursors.value_at = after;
                    if after + 2 != end || s.word(after) as u16 != CRLF {
                        return false;
                    }
                    // Mostly the line ends there too, and the value with it.
                    at = end;
                }
                _ => {}
            }
        }
        if is_quoted && !s.message.is_cut_at(end) {
            // These quotes do not end. libre reads values in them.
            s.message.anomalies |= anomaly::MALFORMED_URI;
        }
        s.cursors.value_at = at;
        let is_done = end_value(host, s);
        let at = s.cursors.value_at;
        let is_line_end = at >= s.cursors.value_line_end;
        s.cursors.value = at + 1;
        s.cursors.value_at = at + 1;
        if is_done || is_line_end && !next_line(host, s, List::from_number(s.cursors.list).header()) {
            s.cursors.value_line_end = 0;
        }
        false
    }
}

/// Takes in the value that ends at the cursor. True if no further one of the list can count.
#[inline(always)]
fn end_value<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> bool {
    let (value, value_end) = (s.cursors.value, s.cursors.value_at);
    if skip_blank(host, s, value, value_end) >= value_end {
        return false;
    }
    s.message.note(Header::Entry, Span { start: value as u16, end: value_end as u16 });
    uri::read_one(host, s, UriOf::Entry, Header::Entry);
    if s.cursors.list == List::RemoteParty.number() && is_called_party(host, s) {
        return false;
    }
    keep(host, s)
}

/// True if the Remote-Party-ID that has been read is the called party's: it is not the caller's identity.
#[inline(always)]
fn is_called_party<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> bool {
    let value = s.message.header(Header::Entry);
    let (after, end) = (uri::after(host, s, UriOf::Entry, value), value.end as u32);
    let party = find_parameter(host, s, Parameter::Party, after, end);
    party != 0 && is_word(s, party, end, text(b"called\0\0"), 6)
}

/// Keeps the value that has been read, if it is one of those that count. True if no further one can count.
///
/// A function of its own: copying takes registers, which must not be spilled in the frame of the walk.
#[inline(never)]
fn keep<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> bool {
    let list = List::from_number(s.cursors.list);
    let (first, counting) = places(host, list);
    if list == List::History {
        // The last value does not count, and this may be it: the one before counts now.
        if s.cursors.has_last_value != 0 {
            s.message.copy_uri(UriOf::Last, first);
            if s.message.uri(UriOf::Last).flags & uri_flag::NUMBER != 0 {
                s.message.copy_uri(UriOf::Last, counting);
            }
        }
        s.message.copy_uri(UriOf::Entry, UriOf::Last);
        s.cursors.has_last_value = 1;
        return false;
    }
    let has_number = s.message.uri(UriOf::Entry).flags & uri_flag::NUMBER != 0;
    if list == List::Route {
        if has_number {
            s.message.anomalies |= anomaly::NUMBER_IN_ROUTE;
        }
        return false;
    }
    if s.message.uri(first).flags & uri_flag::PRESENT == 0 {
        s.message.copy_uri(UriOf::Entry, first);
    }
    if has_number && s.message.uri(counting).flags & uri_flag::PRESENT == 0 {
        s.message.copy_uri(UriOf::Entry, counting);
    }
    if host.config().needs & need::ANY_IDENTITY != 0 && list.is_identity() {
        if has_number {
            add_identity(host, s, UriOf::Entry);
        }
        return false;
    }
    has_number && !wanted::anomalies(host.config().needs)
}

/// Adds the rules that ask for any identity of the caller, and for which this one's number is in a set, to the hits, and removes
/// those that exclude it.
#[inline(always)]
pub(crate) fn add_identity<'m, H: Host<'m>>(host: H, s: &mut Scratch, of: UriOf) {
    numbers::set(host, s, NumberOf::Entry, of);
    let first = host.config().identity_row + 1 + 2 * s.message.number(NumberOf::Entry).class;
    if let Some(hits) = host.row(first) {
        unite(host, &mut s.walk.hits, hits);
    }
    if let Some(vetoes) = host.row(first + 1) {
        remove(host, &mut s.walk.candidates, vetoes);
    }
}
