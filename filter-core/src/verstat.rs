//! Reading the `verstat` parameter.

use crate::{
    host::Host,
    layout::Verstat,
    scratch::{Scratch, UriOf},
    swar::text,
    uri::{Parameter, find_parameter},
};

/// Looks for the `verstat` parameter (3GPP TS 24.229 section 7.2A.20) in a URI's user part and after its host.
#[inline(never)]
pub fn read<'m, H: Host<'m>>(host: H, s: &mut Scratch, of: UriOf) {
    const PASSED: u64 = text(b"ation-p\0");
    const FAILED: u64 = text(b"ation-f\0");
    let uri = *s.message.uri(of);
    // Also if the host part is empty: then it ends at the @.
    let start = if uri.number_end != 0 { uri.number_end } else { uri.host.start };
    let at = find_parameter(host, s, Parameter::Verstat, start as u32, uri.host.end as u32);
    if at == 0 {
        return;
    }
    let (value, rest) = (s.word(at), s.word(at + 8));
    s.message.verstat = if value | 0x2020_2020_2000_2020 == text(b"tn-valid") {
        match (rest | 0x0020_0020_2020_2020) & 0x00ff_ffff_ffff_ffff {
            PASSED => Verstat::TnValidationPassed,
            FAILED => Verstat::TnValidationFailed,
            _ => Verstat::Other,
        }
    } else if value | 0x2020_0020_2000_2020 == text(b"no-tn-va") {
        Verstat::NoTnValidation
    } else {
        Verstat::Other
    };
}
