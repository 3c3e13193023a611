//! Headers that a policy names: `header.x-anything`.

use filter_core::{
    header::{NameRead, read_name},
    layout::NamedHeader,
    limits::NAME_WORDS,
    scratch::{Header, Scratch},
};
use zerocopy::FromZeros as _;

use super::diagnostics::closest;

/// Bytes of the longest name.
pub const LONGEST_HEADER: usize = 8 * NAME_WORDS;

/// Compact forms of header names: those of the IANA registry "Session Initiation Protocol (SIP) Parameters", header fields.
const COMPACT: [(u8, &str); 20] = [
    (b'a', "accept-contact"),
    (b'b', "referred-by"),
    (b'c', "content-type"),
    (b'd', "request-disposition"),
    (b'e', "content-encoding"),
    (b'f', "from"),
    (b'i', "call-id"),
    (b'j', "reject-contact"),
    (b'k', "supported"),
    (b'l', "content-length"),
    (b'm', "contact"),
    (b'n', "identity-info"),
    (b'o', "event"),
    (b'r', "refer-to"),
    (b's', "subject"),
    (b't', "to"),
    (b'u', "allow-events"),
    (b'v', "via"),
    (b'x', "session-expires"),
    (b'y', "identity"),
];

/// Headers of which a message may have several lines, because their value is a list (RFC 3261 section 7.3.1, and the grammar of
/// the RFC that defines each), or because there is one for each realm.
const LISTS: [&str; 44] = [
    "accept",
    "accept-contact",
    "accept-encoding",
    "accept-language",
    "accept-resource-priority",
    "alert-info",
    "allow",
    "allow-events",
    "authentication-info",
    "authorization",
    "call-info",
    "content-encoding",
    "content-language",
    "error-info",
    "feature-caps",
    "geolocation",
    "in-reply-to",
    "p-access-network-info",
    "p-associated-uri",
    "p-media-authorization",
    "p-visited-network-id",
    "path",
    "permission-missing",
    "policy-contact",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-require",
    "reason",
    "record-route",
    "recv-info",
    "reject-contact",
    "request-disposition",
    "require",
    "resource-priority",
    "route",
    "security-client",
    "security-server",
    "security-verify",
    "service-route",
    "supported",
    "trigger-consent",
    "unsupported",
    "warning",
    "www-authenticate",
];

/// A header's name, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderName(String);

impl HeaderName {
    /// The name, if it can be one: the characters of a token (RFC 3261 section 25.1), at most [`LONGEST_HEADER`] of them.
    #[must_use]
    pub fn new(written: &str) -> Option<Self> {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte);
        let possible = (1..=LONGEST_HEADER).contains(&written.len()) && written.bytes().all(is_token);
        possible.then(|| Self(written.to_ascii_lowercase()))
    }

    /// The name that a compact form stands for.
    #[must_use]
    pub fn of_compact(written: &str) -> Option<&'static str> {
        let &[letter] = written.as_bytes() else { return None };
        COMPACT.iter().find(|(compact, _)| *compact == letter.to_ascii_lowercase()).map(|(_, name)| *name)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The letter that can stand for the name.
    #[must_use]
    pub fn compact(&self) -> Option<u8> {
        COMPACT.iter().find(|(_, name)| *name == self.0).map(|(letter, _)| *letter)
    }

    /// True if a message may have several lines of it.
    #[must_use]
    pub fn is_list(&self) -> bool {
        LISTS.contains(&self.0.as_str())
    }

    /// One of these scopes, if this was probably meant to be it.
    pub(crate) fn near_miss<'a>(&self, parts: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
        let is_in_use = ["x-", "p-"].iter().any(|prefix| self.0.starts_with(prefix)) || self.is_list();
        if is_in_use || self.place().is_some() { None } else { closest(&self.0, parts) }
    }

    /// The place of a header that the engine reads for every policy.
    ///
    /// # Panics
    /// There is no memory for the engine's scratch.
    #[must_use]
    pub fn place(&self) -> Option<Header> {
        // The engine itself says what it knows.
        let mut scratch = Scratch::new_box_zeroed().expect("memory for the engine's scratch");
        scratch.buffer[..self.0.len()].copy_from_slice(self.0.as_bytes());
        scratch.buffer[self.0.len()] = b':';
        let NameRead { header, length } = read_name(&scratch, 0);
        (header != Header::Other && length as usize == self.0.len()).then_some(header)
    }

    /// The name as the engine looks for it.
    #[must_use]
    pub fn layout(&self) -> NamedHeader {
        NamedHeader::new(self.0.as_bytes(), self.compact().unwrap_or_default())
    }

    /// The key of its scope.
    #[must_use]
    pub fn scope(&self) -> String {
        format!("header.{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::scope::SCOPES;

    #[test]
    fn a_name_is_a_token_in_lower_case() {
        assert_eq!(HeaderName::new("X-Tenant").unwrap().as_str(), "x-tenant");
        let longest = "x".repeat(LONGEST_HEADER);
        assert!(HeaderName::new(&longest).is_some());
        for bad in ["", "a b", "a:b", "a\u{e9}", "a@b", &(longest + "x")] {
            assert!(HeaderName::new(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_header_that_is_read_anyway_keeps_its_place() {
        let place = |name: &str| HeaderName::new(name).unwrap().place();
        assert_eq!(place("Diversion"), Some(Header::Diversion));
        assert_eq!(place("from"), Some(Header::From));
        assert_eq!(place("History-Info"), Some(Header::HistoryInfo));
        assert_eq!(place("from-x"), None);
        assert_eq!(place("diversio"), None);
        assert_eq!(place("x-tenant"), None);
    }

    #[test]
    fn no_header_in_use_is_taken_for_a_misspelt_scope() {
        // The IANA registry's, and what vendors send.
        const IN_USE: &str = "accept accept-contact accept-encoding accept-language accept-resource-priority \
            additional-identity alert-info allow allow-events answer-mode authentication-info authorization call-id call-info \
            cellular-network-info contact content-disposition content-encoding content-id content-language content-length \
            content-type cseq date dc-info encryption error-info event expires feature-caps flow-timer from geolocation \
            geolocation-error geolocation-routing hide history-info identity identity-info info-package in-reply-to join \
            max-breadth max-forwards mime-version min-expires min-se organization origination-id path permission-missing \
            policy-contact policy-id priority priority-share priority-verstat priv-answer-mode privacy proxy-authenticate \
            proxy-authorization proxy-require rack reason reason-phrase record-route recv-info refer-events-at \
            refer-sub refer-to referred-by reject-contact relayed-charge replaces reply-to request-disposition require \
            resource-priority resource-share response-key response-source restoration-info retry-after route rseq \
            security-client security-server security-verify server service-interact-info service-route session-expires \
            session-id sip-etag sip-if-match subject subscription-state supported suppress-if-match target-dialog timestamp \
            to trigger-consent unsupported user-agent user-to-user via warning www-authenticate diversion \
            remote-party-id cisco-guid alert-info-url tenant customer account trunk route-name";
        let parts = || SCOPES.iter().filter_map(|(name, ..)| name.strip_prefix("header."));
        for name in IN_USE.split_whitespace() {
            assert_eq!(HeaderName::new(name).unwrap().near_miss(parts()), None, "{name}");
        }
        for (written, meant) in [("subjct", "subject"), ("from-usr", "from-user"), ("from_display", "from-display")] {
            assert_eq!(HeaderName::new(written).unwrap().near_miss(parts()), Some(meant), "{written}");
        }
    }

    #[test]
    fn compact_forms_and_names_are_one_to_one() {
        for (letter, name) in COMPACT {
            assert_eq!(HeaderName::new(name).unwrap().compact(), Some(letter));
            assert_eq!(HeaderName::of_compact(&char::from(letter).to_string()), Some(name));
        }
        assert_eq!(HeaderName::of_compact("rr"), None);
        assert!(LISTS.is_sorted());
    }
}
