//! The scopes of the policy language: what a condition's key may be.

use std::borrow::Cow;

use filter_core::layout::Text;

use super::header::HeaderName;
use crate::model::Identity;

/// What a condition looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the scope of its name; the table below describes it")]
pub enum Scope {
    Anomaly,
    AnyIdentity,
    Attestation,
    CallerAllowed,
    CallingPrivacy,
    Country(Identity),
    Destination,
    Dialog,
    Format(Identity),
    Method,
    Neighbor,
    Number(Identity),
    Passport,
    Payload,
    Port,
    Region(Identity),
    Reputation,
    Source,
    Spid(Identity),
    Text(Text),
    Transport,
    Upstream,
    UpstreamKind,
    UpstreamRmd,
    Verstat,
}

/// A scope: its key, what it is, and which values it takes.
pub type Row = (&'static str, Scope, &'static str);

/// Every scope that has a name of its own: besides these, `header.` may be followed by the name of any header
/// ([`HeaderName`](super::header::HeaderName)). The texts come last; `filter_core`'s table of texts lists them.
pub const SCOPES: &[Row] = &{
    let mut rows = [VALUES[0]; VALUES.len() + Text::COUNT];
    let mut row = 0;
    while row < VALUES.len() {
        rows[row] = VALUES[row];
        row += 1;
    }
    while row < rows.len() {
        let text = Text::ALL[row - VALUES.len()];
        rows[row] = (text.name(), Scope::Text(text), text.values());
        row += 1;
    }
    rows
};

/// The scopes other than texts.
const VALUES: &[Row] = &[
    ("source", Scope::Source, "source address: addresses, CIDRs, address sets"),
    ("destination", Scope::Destination, "destination address: addresses, CIDRs, address sets"),
    ("transport", Scope::Transport, "`udp`, `tcp`, `tls`"),
    ("port", Scope::Port, "destination port, one of the signalling ports"),
    ("method", Scope::Method, "SIP method in capitals, `response` for responses, `other` for unknown methods"),
    ("calling", Scope::Number(Identity::Calling), "calling number: prefixes, exact numbers (`$`), number sets"),
    (
        "called",
        Scope::Number(Identity::Called),
        "called number (Request-URI): prefixes, exact numbers (`$`), number sets",
    ),
    (
        "forwarded",
        Scope::Number(Identity::Forwarded),
        "forwarding number (Diversion, History-Info): values as for `calling`",
    ),
    ("from_number", Scope::Number(Identity::From), "number in From, whoever sent it: values as for `calling`"),
    (
        "asserted_number",
        Scope::Number(Identity::Asserted),
        "number in P-Asserted-Identity, whoever sent it: values as for `calling`",
    ),
    (
        "preferred_number",
        Scope::Number(Identity::Preferred),
        "number in P-Preferred-Identity, whoever sent it: values as for `calling`",
    ),
    ("to_number", Scope::Number(Identity::To), "number in To: values as for `calling`"),
    (
        "any_identity",
        Scope::AnyIdentity,
        "any number in From, P-Asserted-Identity, P-Preferred-Identity and Remote-Party-ID, whoever sent it: values as for \
         `calling`",
    ),
    ("calling_country", Scope::Country(Identity::Calling), "ISO 3166-1 code of the calling number's country"),
    ("called_country", Scope::Country(Identity::Called), "ISO 3166-1 code of the called number's country"),
    ("forwarded_country", Scope::Country(Identity::Forwarded), "ISO 3166-1 code of the forwarding number's country"),
    ("calling_region", Scope::Region(Identity::Calling), "ISO 3166-2 code of the calling number's region (`US-SD`)"),
    ("called_region", Scope::Region(Identity::Called), "ISO 3166-2 code of the called number's region"),
    ("forwarded_region", Scope::Region(Identity::Forwarded), "ISO 3166-2 code of the forwarding number's region"),
    ("calling_spid", Scope::Spid(Identity::Calling), "OCN or SPID that holds the calling number's block"),
    ("called_spid", Scope::Spid(Identity::Called), "OCN or SPID that holds the called number's block"),
    ("forwarded_spid", Scope::Spid(Identity::Forwarded), "OCN or SPID that holds the forwarding number's block"),
    ("calling_format", Scope::Format(Identity::Calling), "format of the calling number"),
    ("called_format", Scope::Format(Identity::Called), "format of the called number"),
    (
        "calling_privacy",
        Scope::CallingPrivacy,
        "what the caller withholds: `none`, `id`, `header`, `session`, `user`, `history`, `critical`, `anonymous-uri`",
    ),
    ("calling_reputation", Scope::Reputation, "the calling number's score in the scored lists: `>= 80` and the like"),
    ("attestation", Scope::Attestation, "the unverified claim in Identity: `A`, `B`, `C`, `none`, `unknown`"),
    ("passport", Scope::Passport, "the PASSporTs in Identity: `none`, `shaken`, `div`, `rph`, `other`"),
    ("verstat", Scope::Verstat, "the `verstat` parameter of the asserted identity"),
    ("neighbor", Scope::Neighbor, "`true` if the calling and the called number share their first digits"),
    ("dialog", Scope::Dialog, "`within` if To has a tag, `initial` if it has none"),
    ("payload", Scope::Payload, "what the packet carries: `sip`, `keep-alive`, `stun`, `other`"),
    ("anomaly", Scope::Anomaly, "a problem in reading the packet or the message"),
    (
        "upstream",
        Scope::Upstream,
        "who the source belongs to: the name of an `[[upstream]]`, or the `label` of an address set",
    ),
    ("upstream_kind", Scope::UpstreamKind, "the kind of the source's upstream: `carrier`, `customer`, `gateway`"),
    (
        "upstream_rmd",
        Scope::UpstreamRmd,
        "the filing of the source's upstream in the Robocall Mitigation Database: its number, `filed` for any, `none`",
    ),
    (
        "caller_allowed",
        Scope::CallerAllowed,
        "`true` if the calling number is among the `callers` of the source's upstream",
    ),
];

impl Scope {
    /// The scope of a key.
    #[must_use]
    pub fn of(key: &str) -> Option<Self> {
        SCOPES.iter().find(|(name, ..)| *name == key).map(|(_, scope, _)| *scope)
    }

    /// The key of the scope, in a policy that names these headers.
    #[must_use]
    pub fn key(self, headers: &[HeaderName]) -> Cow<'static, str> {
        let index = if let Self::Text(text) = self { text.named_index() } else { None };
        index.and_then(|index| headers.get(index)).map_or(self.name().into(), |header| header.scope().into())
    }

    /// The key of the scope; empty for a header that the policy names, which only the policy knows
    /// ([`Self::key`]).
    #[must_use]
    pub fn name(self) -> &'static str {
        SCOPES.iter().find(|(_, scope, _)| *scope == self).map_or("", |(name, ..)| name)
    }
}
