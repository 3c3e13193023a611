//! Whose numbers a message has: the URIs of its headers, and which of them is the calling, the called, the forwarding one.

use filter_core::{
    layout::{Method, NumberFormat, Verstat, anomaly, privacy},
    scratch::{Header, Kind, UriOf},
};
use filter_policy::model::{NumberingPlan, Policy};

use super::{
    address::{name_addr, request_uri, values},
    fields::Fields,
    frame::Packet,
    message::Message,
    number::{emergency_urn, number},
    parameters::{parameters, value},
    plan::plan_of,
    start_line::StartLine,
    uri::{Place, Uri},
};
use crate::evaluate;

/// The URIs of a message.
pub(super) struct Uris {
    pub(super) request: Uri,
    pub(super) from: Uri,
    pub(super) to: Uri,
    pub(super) contact: Uri,
    asserted: Vec<Uri>,
    preferred: Vec<Uri>,
    remote: Vec<Uri>,
    diversion: Vec<Uri>,
    /// Without the last entry, which is the current target (RFC 7044 section 5).
    history: Vec<Uri>,
}

/// Reads the URIs, and sets the anomalies of any of them.
pub(super) fn read_uris(
    message: &mut Message,
    bytes: &[u8],
    start: &StartLine,
    fields: &Fields<'_>,
    plan: &NumberingPlan,
) -> Uris {
    // What ends with the message may continue in another packet.
    let is_cut = |value: &[u8]| fields.body.is_none() && value.as_ptr_range().end == bytes.as_ptr_range().end;
    let name_addr = |value: &[u8], place| name_addr(value, place, is_cut(value), plan);
    let request = start.uri.clone().map(|range| request_uri(&bytes[range.clone()], is_cut(&bytes[range]), plan));
    let single = |header: Header| fields.first(header).map(|value| name_addr(value, Place::Single)).unwrap_or_default();
    let all = |header: Header| -> Vec<Uri> {
        let mut uris = Vec::new();
        for field in fields.all(header) {
            let (values, is_open) = values(field);
            uris.extend(values.into_iter().map(|value| name_addr(value, Place::List)));
            // libre reads values in these quotes.
            if let Some(last) = uris.last_mut().filter(|_| is_open && !is_cut(field)) {
                last.is_malformed = true;
            }
        }
        uris
    };
    let mut uris = Uris {
        request: request.unwrap_or_default(),
        from: single(Header::From),
        to: single(Header::To),
        contact: fields.first(Header::Contact).map(|field| name_addr(field, Place::Contact)).unwrap_or_default(),
        asserted: all(Header::AssertedIdentity),
        preferred: all(Header::PreferredIdentity),
        remote: all(Header::RemotePartyId),
        diversion: all(Header::Diversion),
        history: all(Header::HistoryInfo),
    };
    let routes = all(Header::Route);
    if routes.iter().any(|uri| uri.number.is_some()) {
        message.anomalies |= anomaly::NUMBER_IN_ROUTE;
    }
    let alone = [&uris.request, &uris.from, &uris.to, &uris.contact];
    let lists = [&uris.asserted, &uris.preferred, &uris.remote, &uris.diversion, &uris.history, &routes];
    for uri in alone.into_iter().chain(lists.into_iter().flatten()) {
        if uri.is_malformed {
            message.anomalies |= anomaly::MALFORMED_URI;
        }
        if uri.has_control_character {
            message.anomalies |= anomaly::CONTROL_CHARACTER;
        }
    }
    uris.history.pop();
    // An entity that is called is not the caller.
    let is_called = |party: &[u8]| value(party).eq_ignore_ascii_case(b"called");
    uris.remote.retain(|uri| !parameters(&uri.after, "party").next().is_some_and(is_called));
    uris
}

impl Uris {
    /// The URI that has this number in the engine.
    pub(super) fn of(&self, of: UriOf) -> Uri {
        let first = |uris: &[Uri]| first_present(uris).cloned().unwrap_or_default();
        match of {
            UriOf::Request => self.request.clone(),
            UriOf::From => self.from.clone(),
            UriOf::To => self.to.clone(),
            UriOf::Asserted => first(&self.asserted),
            UriOf::AssertedNumber => with_number(&self.asserted).cloned().unwrap_or_default(),
            UriOf::PreferredNumber => with_number(&self.preferred).cloned().unwrap_or_default(),
            UriOf::RemotePartyNumber => with_number(&self.remote).cloned().unwrap_or_default(),
            UriOf::DiversionNumber => with_number(&self.diversion).cloned().unwrap_or_default(),
            UriOf::RemoteParty => first(&self.remote),
            UriOf::Diversion => first(&self.diversion),
            UriOf::HistoryNumber => with_number_last(&self.history).cloned().unwrap_or_default(),
            UriOf::History => self.history.last().cloned().unwrap_or_default(),
            UriOf::Contact => self.contact.clone(),
            UriOf::Preferred => first(&self.preferred),
            _ => Uri::default(),
        }
    }
}

/// The first URI that can be read.
fn first_present(uris: &[Uri]) -> Option<&Uri> {
    uris.iter().find(|uri| uri.is_present)
}

/// The first URI with a number.
fn with_number(uris: &[Uri]) -> Option<&Uri> {
    uris.iter().find(|uri| uri.number.is_some())
}

/// The last URI with a number.
fn with_number_last(uris: &[Uri]) -> Option<&Uri> {
    uris.iter().rev().find(|uri| uri.number.is_some())
}

pub(super) fn read_identities(policy: &Policy, packet: &Packet, message: &mut Message, uris: &Uris) {
    let plan = plan_of(policy, packet.source);
    let dialled = |uri: &Uri| number(policy, plan, uri, true);
    let number = |uri: &Uri| number(policy, plan, uri, false);
    let first_number = |uris: &[Uri]| with_number(uris).and_then(|uri| number(uri).0);

    // A request without a user part is for the number in To, then for that in From, as FreeSWITCH takes it. Of URNs, only those of
    // emergency services say who is called.
    let is_request = message.kind == Kind::Request && message.method != Method::Register;
    let is_named =
        !uris.request.user.is_empty() && (!uris.request.is_urn || emergency_urn(&uris.request.user).is_some());
    let called = if is_request
        && (!is_named || policy.numbering.called_from_to && !uris.request.is_urn)
        && !uris.to.user.is_empty()
    {
        &uris.to
    } else if message.method == Method::Invite && !is_named && !uris.from.user.is_empty() {
        &uris.from
    } else {
        &uris.request
    };
    (message.numbers.called, message.called_format) = dialled(called);
    const EMERGENCY: [&str; 9] = ["000", "110", "112", "118", "119", "911", "933", "988", "999"];
    let is_emergency = |number: &str| number.starts_with("aa") || EMERGENCY.contains(&number);
    message.is_emergency_call =
        message.method == Method::Invite && dialled(&uris.request).0.is_some_and(|number| is_emergency(&number));
    message.numbers.to = dialled(&uris.to).0;
    message.numbers.from = number(&uris.from).0;
    message.numbers.asserted = first_number(&uris.asserted);
    message.numbers.preferred = first_number(&uris.preferred);

    let is_believed = evaluate::in_addresses(&policy.numbering.asserted_identity_from, packet.source);
    let claimed = [&uris.asserted, &uris.preferred, &uris.remote];
    let believed = claimed.iter().filter(|_| is_believed).find_map(|uris| with_number(uris));
    let identity = believed.unwrap_or(&uris.from);
    (message.numbers.calling, message.calling_format) = number(identity);
    // What the sender says about privacy hides no number.
    if message.calling_format == NumberFormat::NotANumber && identity.is_anonymous {
        message.calling_format = NumberFormat::Anonymous;
    }
    if identity.is_anonymous || uris.from.is_anonymous {
        message.privacy |= privacy::ANONYMOUS_URI;
    }
    let identities = std::iter::once(&uris.from).chain(claimed.into_iter().flatten());
    message.numbers.identities = identities.filter_map(|uri| number(uri).0).collect();

    let forwarded = with_number(&uris.diversion).or(with_number_last(&uris.history));
    // An emergency service is a number only where there is no other.
    let forwarded = forwarded.or(first_present(&uris.diversion)).or(uris.history.last());
    message.numbers.forwarded = forwarded.and_then(|uri| number(uri).0);

    let verified = first_present(&uris.asserted).filter(|_| is_believed).unwrap_or(&uris.from);
    message.verstat = verstat(&verified.parameters);
}

/// The first `verstat` parameter (3GPP TS 24.229 section 7.2A.20).
fn verstat(parameters: &[u8]) -> Verstat {
    if let Some(value) = super::parameters::parameters(parameters, "verstat").next() {
        let value = value.to_ascii_lowercase();
        return if value.starts_with(b"tn-validation-p") {
            Verstat::TnValidationPassed
        } else if value.starts_with(b"tn-validation-f") {
            Verstat::TnValidationFailed
        } else if value.starts_with(b"no-tn-va") {
            Verstat::NoTnValidation
        } else {
            Verstat::Other
        };
    }
    Verstat::None
}
