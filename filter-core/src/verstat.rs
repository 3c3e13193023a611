//! Reading the `verstat` parameter.

use crate::{
    find::{Semicolon, find},
    host::{Host, Step},
    layout::Verstat,
    scratch::{Scratch, UriOf},
};

const fn text(bytes: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*bytes)
}

/// The most parameters of a URI that are checked.
const MAX_PARAMETERS: u32 = 64;

/// Looks for the `verstat` parameter (3GPP TS 24.229 section 7.2A.20) in a URI's user part and after its host.
#[inline(never)]
pub fn read<'m, H: Host<'m>>(host: H, s: &mut Scratch, of: UriOf) {
    let uri = *s.message.uri(of);
    // Also if the host part is empty: then it ends at the @.
    let end = uri.host.end as u32;
    s.cursors.at = uri.number_end as u32;
    if s.cursors.at == 0 {
        s.cursors.at = uri.host.start as u32;
    }
    host.repeat(&mut VerstatSearch { host, s, end });
}

struct VerstatSearch<'s, H> {
    host: H,
    s: &'s mut Scratch,
    end: u32,
}

impl<'m, H: Host<'m>> Step for VerstatSearch<'_, H> {
    const TIMES: u32 = MAX_PARAMETERS;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        const PASSED: u64 = text(b"ation-p\0");
        const FAILED: u64 = text(b"ation-f\0");
        let s = &mut *self.s;
        let from = s.cursors.at;
        let at = find::<Semicolon, H>(self.host, s, from, self.end);
        if at == self.end {
            return true;
        }
        s.cursors.at = at + 1;
        // The equals sign has the case bit set already.
        if s.word(at + 1) | 0x0020_2020_2020_2020 != text(b"verstat=") {
            return false;
        }
        let (value, rest) = (s.word(at + 9), s.word(at + 17));
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
        true
    }
}
