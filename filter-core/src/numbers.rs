//! The numbers of a message: which URI each is read from, its class and its format.

use crate::{
    host::{Function, FunctionKind, Host},
    layout::{NumberFormat, Numbering, Trie, address_flag, need},
    limits::{MAX_DIGITS, NUMBERING_PLANS},
    number,
    scratch::{Message, Number, NumberOf, Scratch, UriOf, uri_flag},
    trie::{self, number_key},
    wanted,
};

/// Reads the numbers that the policy needs, in their normal form, with their classes.
#[inline(never)]
pub fn read<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let config = host.config();
    let needs = config.needs;
    let inspect = needs & need::INSPECT != 0;
    if !wanted::called_is_read(needs) && (needs & (need::CALLED | need::CALLED_FORMAT | need::NEIGHBOR) != 0 || inspect)
    {
        set(host, s, NumberOf::Called, UriOf::Request);
    }
    if needs & (need::CALLING | need::CALLING_FORMAT | need::NEIGHBOR | need::VERSTAT) != 0 || inspect {
        let mut of = UriOf::From;
        if needs & need::ASSERTED_IDENTITY != 0 {
            let flags = host.address_class(s.packet.source_class).unwrap_or(0);
            if flags & address_flag::ASSERTED_BELIEVED != 0 {
                s.message.asserted_believed = 1;
                of = believed_identity(&s.message);
            }
        }
        set(host, s, NumberOf::Calling, of);
        let format = s.message.number(NumberOf::Calling).format;
        let anonymous = s.message.privacy != 0 || s.message.uri(of).flags & uri_flag::ANONYMOUS != 0;
        if anonymous && format != NumberFormat::Missing {
            s.message.number_mut(NumberOf::Calling).format = NumberFormat::Anonymous;
        }
    }
    if needs & need::FORWARDED != 0 || inspect {
        let diversion = s.message.uri(UriOf::Diversion).flags & uri_flag::PRESENT != 0;
        set(host, s, NumberOf::Forwarded, if diversion { UriOf::Diversion } else { UriOf::History });
    }
    if needs & need::FROM_NUMBER != 0 || inspect {
        set(host, s, NumberOf::From, UriOf::From);
    }
    if needs & need::ASSERTED_NUMBER != 0 || inspect {
        let first = s.message.uri(UriOf::Asserted).flags & uri_flag::NUMBER != 0;
        set(host, s, NumberOf::Asserted, if first { UriOf::Asserted } else { UriOf::SecondAsserted });
    }
    if needs & need::NEIGHBOR != 0 || inspect {
        let (calling, called) = (*s.message.number(NumberOf::Calling), *s.message.number(NumberOf::Called));
        s.message.neighbor = number::neighbors(&calling, &called, config.neighbor_digits) as u32;
    }
}

/// The identity that a believed source asserts: the first one that holds a number, else From.
#[inline(always)]
fn believed_identity(message: &Message) -> UriOf {
    if message.uri(UriOf::Asserted).flags & uri_flag::NUMBER != 0 {
        UriOf::Asserted
    } else if message.uri(UriOf::SecondAsserted).flags & uri_flag::NUMBER != 0 {
        UriOf::SecondAsserted
    } else if message.uri(UriOf::RemoteParty).flags & uri_flag::NUMBER != 0 {
        UriOf::RemoteParty
    } else {
        UriOf::From
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

/// The function of the host that [`set`] calls, with numbers of [`NumberOf`] and [`UriOf`].
pub struct SetNumber;

impl Function for SetNumber {
    const KIND: FunctionKind = FunctionKind::SetNumber;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, of: u32, uri: u32) -> u32 {
        let (of, uri) = (NumberOf::from_number(of), UriOf::from_number(uri));
        // (Where no plan has a prefix for an outside line, the verifier removes what takes it off.)
        let dialled = host.config().needs & need::STRIP != 0 && matches!(of, NumberOf::Called | NumberOf::To);
        let mut number = number::normalise(plan(host, s), s.message.uri(uri), dialled);
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
