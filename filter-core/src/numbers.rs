//! The numbers of a message: which URI each is read from, its class and its format.

use crate::{
    host::{Function, FunctionKind, Host},
    layout::{Method, NumberFormat, Numbering, Trie, address_flag, need, privacy},
    limits::{MAX_DIGITS, NUMBERING_PLANS},
    number,
    scratch::{Kind, Message, Number, NumberOf, Scheme, Scratch, Uri, UriOf, uri_flag},
    trie::{self, number_key},
    uri, wanted,
};

/// Reads the numbers that the policy needs, in their normal form, with their classes.
#[inline(never)]
pub fn read<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let config = host.config();
    let needs = config.needs;
    let inspect = needs & need::INSPECT != 0;
    if !wanted::called_is_read(needs) && (needs & (need::CALLED | need::CALLED_FORMAT | need::NEIGHBOR) != 0 || inspect)
    {
        read_called(host, s);
    }
    let reads_calling = inspect
        || needs & (need::CALLING | need::CALLING_FORMAT | need::NEIGHBOR | need::VERSTAT | need::CALLING_PRIVACY) != 0;
    if reads_calling {
        let mut of = UriOf::From;
        if needs & need::ASSERTED_IDENTITY != 0 {
            let flags = host.address_class(s.packet.source_class).unwrap_or(0);
            if flags & address_flag::ASSERTED_BELIEVED != 0 {
                s.message.asserted_believed = 1;
                of = believed_identity(&s.message);
            }
        }
        // Through memory: after this, the verifier follows one path, not one for each identity.
        s.cursors.uri = of;
        host.fence();
        let of = s.cursors.uri;
        if needs & need::ANY_IDENTITY != 0 && is_same(s.message.uri(of), s.message.uri(UriOf::From)) {
            // From's was the last of the identities.
            *s.message.number_mut(NumberOf::Calling) = *s.message.number(NumberOf::Entry);
        } else {
            set(host, s, NumberOf::Calling, of);
        }
        let is_anonymous = s.message.uri(of).flags & uri_flag::ANONYMOUS != 0;
        let number = s.message.number_mut(NumberOf::Calling);
        // Where there is a number, it is judged as a number: its sender chooses what else the message says.
        if is_anonymous && number.format == NumberFormat::NotANumber {
            number.format = NumberFormat::Anonymous;
        }
        if is_anonymous || s.message.uri(UriOf::From).flags & uri_flag::ANONYMOUS != 0 {
            s.message.privacy |= privacy::ANONYMOUS_URI;
        }
    }
    if needs & need::FORWARDED != 0 || inspect {
        let of = forwarding(&s.message);
        set_present(host, s, NumberOf::Forwarded, of);
    }
    if needs & need::FROM_NUMBER != 0 || inspect {
        set_like_calling(host, s, NumberOf::From, UriOf::From, reads_calling);
    }
    if needs & need::ASSERTED_NUMBER != 0 || inspect {
        set_like_calling(host, s, NumberOf::Asserted, UriOf::AssertedNumber, reads_calling);
    }
    if needs & need::PREFERRED_NUMBER != 0 || inspect {
        set_present(host, s, NumberOf::Preferred, UriOf::PreferredNumber);
    }
    if needs & need::TO_NUMBER != 0 || inspect {
        let reads_called = needs & (need::CALLED | need::CALLED_FORMAT | need::NEIGHBOR) != 0 || inspect;
        // A Request-URI with a number says who is called.
        let is_called = reads_called && needs & need::CALLED_FROM_TO == 0;
        if is_called && is_same(s.message.uri(UriOf::To), s.message.uri(UriOf::Request)) {
            *s.message.number_mut(NumberOf::To) = *s.message.number(NumberOf::Called);
        } else {
            set_present(host, s, NumberOf::To, UriOf::To);
        }
    }
    if needs & need::NEIGHBOR != 0 || inspect {
        let (calling, called) = (*s.message.number(NumberOf::Calling), *s.message.number(NumberOf::Called));
        s.message.neighbor = number::neighbors(&calling, &called, config.neighbor_digits) as u32;
    }
}

/// True if the called number may be that of To: if the policy says so and the Request-URI is no emergency service's URN, or if the Request-URI has no user part, as FreeSWITCH does. A URN
/// has none, but that of an emergency service says itself who is called. To of a REGISTER is the address that is registered: nobody
/// calls it.
#[inline(always)]
pub fn may_be_called_from_to<'m, H: Host<'m>>(host: H, s: &Scratch) -> bool {
    let is_call = s.message.kind == Kind::Request && s.message.method != Method::Register;
    let from_to =
        host.config().needs & need::CALLED_FROM_TO != 0 && s.message.uri(UriOf::Request).scheme != Scheme::Urn;
    is_call && (from_to || !names_called(s))
}

/// True if the Request-URI says who is called.
#[inline(always)]
fn names_called(s: &Scratch) -> bool {
    let request = s.message.uri(UriOf::Request);
    !request.user.is_empty() && (request.scheme != Scheme::Urn || number::names_emergency(s, request.user))
}

/// Reads the called number. The place of To is known.
#[inline(always)]
pub fn read_called<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let mut of = UriOf::Request;
    if may_be_called_from_to(host, s) {
        uri::read(host, s, UriOf::To.bit());
        if !s.message.uri(UriOf::To).user.is_empty() {
            of = UriOf::To;
        } else if s.message.method == Method::Invite && !names_called(s) {
            // The last that FreeSWITCH asks.
            uri::read(host, s, UriOf::From.bit());
            if !s.message.uri(UriOf::From).user.is_empty() {
                of = UriOf::From;
            }
        }
    }
    set(host, s, NumberOf::Called, of);
}

/// The identity that a believed source asserts: the first one that holds a number, else From.
#[inline(always)]
fn believed_identity(message: &Message) -> UriOf {
    let has_number = |of: UriOf| message.uri(of).flags & uri_flag::NUMBER != 0;
    if has_number(UriOf::AssertedNumber) {
        UriOf::AssertedNumber
    } else if has_number(UriOf::PreferredNumber) {
        UriOf::PreferredNumber
    } else if has_number(UriOf::RemotePartyNumber) {
        UriOf::RemotePartyNumber
    } else {
        UriOf::From
    }
}

/// Who forwarded the call: the first value with a number. An anonymous one hides none.
#[inline(always)]
fn forwarding(message: &Message) -> UriOf {
    let is_present = |of: UriOf| message.uri(of).flags & uri_flag::PRESENT != 0;
    if is_present(UriOf::DiversionNumber) {
        UriOf::DiversionNumber
    } else if is_present(UriOf::HistoryNumber) {
        UriOf::HistoryNumber
    } else if is_present(UriOf::Diversion) {
        UriOf::Diversion
    } else {
        UriOf::History
    }
}

/// The numbering plan of the packet's source.
#[inline(always)]
pub fn plan<'m, H: Host<'m>>(host: H, s: &Scratch) -> &'m Numbering {
    let config = host.config();
    let mut index = 0;
    // A constant to the verifier: a policy with one plan looks nothing up.
    if config.needs & need::PLANS != 0 {
        index = address_flag::plan(host.address_class(s.packet.source_class).unwrap_or(0));
    }
    &config.numbering[index & (NUMBERING_PLANS - 1)]
}

/// Sets a number from a URI.
#[inline(always)]
pub fn set<'m, H: Host<'m>>(host: H, s: &mut Scratch, of: NumberOf, uri: UriOf) {
    host.call::<SetNumber>(s, of.number(), uri.number());
}

/// As [`set`], for a URI that most messages lack.
#[inline(always)]
fn set_present<'m, H: Host<'m>>(host: H, s: &mut Scratch, of: NumberOf, uri: UriOf) {
    if s.message.uri(uri).user.is_empty() {
        *s.message.number_mut(of) = Number { format: NumberFormat::Missing, ..Number::default() };
    } else {
        set(host, s, of, uri);
    }
}

/// As [`set`], for a URI that mostly holds the calling number. Where that is read, the cursor says from which URI.
#[inline(always)]
fn set_like_calling<'m, H: Host<'m>>(host: H, s: &mut Scratch, of: NumberOf, uri: UriOf, reads_calling: bool) {
    if reads_calling && is_same(s.message.uri(s.cursors.uri), s.message.uri(uri)) {
        *s.message.number_mut(of) = *s.message.number(NumberOf::Calling);
    } else {
        set_present(host, s, of, uri);
    }
}

/// True if two URIs hold the same number, so that its normal form, class and format are the same too.
#[inline(always)]
fn is_same(first: &Uri, second: &Uri) -> bool {
    const KIND: u8 = uri_flag::NUMBER | uri_flag::PLUS;
    let differs = (first.digits ^ second.digits)
        | (first.more_digits ^ second.more_digits)
        | (first.digit_count ^ second.digit_count) as u64
        | ((first.flags ^ second.flags) & KIND) as u64;
    differs == 0 && first.flags & uri_flag::NUMBER != 0
}

/// The function of the host that [`set`] calls, with numbers of [`NumberOf`] and [`UriOf`].
pub struct SetNumber;

impl Function for SetNumber {
    const KIND: FunctionKind = FunctionKind::SetNumber;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, of: u32, uri: u32) -> u32 {
        let (of, uri) = (NumberOf::from_number(of), UriOf::from_number(uri));
        // (Where no plan has a prefix for an outside line, the verifier removes what takes it off.)
        let dialled = host.config().needs & need::STRIP != 0 && matches!(of, NumberOf::Called | NumberOf::To);
        let read = s.message.uri(uri);
        let emergency = if read.scheme == Scheme::Urn { number::emergency_urn(s, read.user) } else { None };
        let mut number = match emergency {
            Some(number) => number,
            None => number::normalise(plan(host, s), read, dialled),
        };
        number.class = 0;
        if number.key != 0 {
            // From and P-Asserted-Identity mostly hold the calling number, whose class is known by then.
            let calling = *s.message.number(NumberOf::Calling);
            number.class = if calling.key == number.key
                && calling.digits == number.digits
                && calling.short_code == number.short_code
            {
                calling.class
            } else {
                trie::lookup(&host, Trie::Number, number_key(number.key, number.short_code != 0), 0)
            };
            if let Some(class) = host.number_class(number.class) {
                number.format = format(&number, class.min_digits, class.max_digits, class.format);
            }
        }
        *s.message.number_mut(of) = number;
        0
    }
}

/// The format of a number, from its class's properties. A short code is in no range, so it keeps its own.
#[inline(always)]
fn format(number: &Number, min: u8, max: u8, format: NumberFormat) -> NumberFormat {
    if number.short_code != 0 {
        number.format
    } else if number.digits > max || number.digits as u32 > MAX_DIGITS {
        NumberFormat::TooLong
    } else if number.digits < min {
        NumberFormat::TooShort
    } else {
        format
    }
}
