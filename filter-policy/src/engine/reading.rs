//! What the engine read in a message, as text.

use std::collections::HashSet;

use filter_core::{
    layout::{Dialog, Payload, Transport, anomaly, passport, privacy},
    scratch::{Header, Kind, NumberOf, Scratch, UriOf},
    text::{self, Text},
};
use serde_json::{Map, Value, json};

use super::{Facts, explanation::address};
use crate::{language::printable, numbering::number_text};

/// The caller's identities whose numbers the engine keeps: the first one with a number in each header. That of Remote-Party-ID is
/// kept only where it is the calling number.
pub(super) const IDENTITIES: [NumberOf; 4] =
    [NumberOf::From, NumberOf::Asserted, NumberOf::Preferred, NumberOf::Calling];

/// A view of the engine's scratch after a packet.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    scratch: &'a Scratch,
}

impl<'a> Reading<'a> {
    /// A view of this scratch, which may be a copy of the kernel's.
    #[must_use]
    pub fn new(scratch: &'a Scratch) -> Self {
        Self { scratch }
    }

    /// What the payload is, such as `request` or `keep-alive`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.scratch.message.kind.name()
    }

    /// True for a request or a response.
    #[must_use]
    pub fn is_sip(&self) -> bool {
        self.scratch.message.kind.is_message()
    }

    /// The method of a request or the status code of a response, as on the wire.
    #[must_use]
    pub fn method(&self) -> Option<String> {
        let message = &self.scratch.message;
        message.kind.is_message().then(|| printable::text(self.scratch.bytes(message.header(Header::MethodOrCode))))
    }

    /// The method, as rules see it.
    #[must_use]
    pub fn method_class(&self) -> &'static str {
        self.scratch.message.method.name()
    }

    /// The user part of a URI, raw.
    #[must_use]
    pub fn user(&self, of: UriOf) -> Option<String> {
        let span = self.scratch.message.uri(of).user;
        (self.is_sip() && !span.is_empty()).then(|| printable::text(self.scratch.bytes(span)))
    }

    /// A text, as patterns see it: unfolded and without surrounding white space.
    #[must_use]
    pub fn text(&self, of: Text) -> Option<String> {
        if !self.is_sip() {
            return None;
        }
        text::span(&self.scratch.message, of).map(|span| unfolded(self.scratch.trimmed(span)))
    }

    /// A number in its normal form: its digits, or the URN of an emergency service.
    #[must_use]
    pub fn number(&self, of: NumberOf) -> Option<String> {
        let number = *self.scratch.message.number(of);
        if self.is_sip() { number_text(number.key) } else { None }
    }

    /// True if a number is a short code, and not an E.164 number.
    #[must_use]
    pub fn is_short_code(&self, of: NumberOf) -> bool {
        self.scratch.message.number(of).short_code != 0
    }

    /// A number's format.
    #[must_use]
    pub fn format(&self, of: NumberOf) -> Option<&'static str> {
        if !self.is_sip() {
            return None;
        }
        Some(self.scratch.message.number(of).format.name())
    }

    /// The attestation that the message claims.
    #[must_use]
    pub fn attestation(&self) -> &'static str {
        self.scratch.message.attestation.name()
    }

    /// The `verstat` parameter's value.
    #[must_use]
    pub fn verstat(&self) -> &'static str {
        self.scratch.message.verstat.name()
    }

    /// True if the calling and called numbers are neighbours.
    #[must_use]
    pub fn neighbor(&self) -> bool {
        self.scratch.message.neighbor != 0
    }

    /// The different numbers among the caller's identities, as far as the engine keeps them.
    #[must_use]
    pub fn identities(&self) -> Vec<String> {
        let mut numbers: Vec<String> = IDENTITIES.into_iter().filter_map(|of| self.number(of)).collect();
        let mut seen = HashSet::new();
        numbers.retain(|number| seen.insert(number.clone()));
        numbers
    }

    /// What the caller withholds; `none` if that is nothing.
    #[must_use]
    pub fn privacy(&self) -> Vec<&'static str> {
        let bits = self.scratch.message.privacy;
        let none = (bits & !privacy::CRITICAL == 0).then_some("none");
        none.into_iter().chain(privacy::names(bits)).collect()
    }

    /// The kinds of PASSporT; `none` if there is none.
    #[must_use]
    pub fn passports(&self) -> Vec<&'static str> {
        let bits = self.scratch.message.passports;
        let none = (bits == 0).then_some("none");
        none.into_iter().chain(passport::names(bits)).collect()
    }

    /// Whether the message is within a dialog.
    #[must_use]
    pub fn dialog(&self) -> &'static str {
        if self.scratch.message.to_tag != 0 { Dialog::Within } else { Dialog::Initial }.name()
    }

    /// What the packet carries, as rules see it; None if the payload has not been examined.
    #[must_use]
    pub fn payload(&self) -> Option<&'static str> {
        let is_stream = self.scratch.packet.transport != Transport::Udp;
        let payload = match self.scratch.message.kind {
            Kind::Request | Kind::Response => Payload::Sip,
            Kind::KeepAlive => Payload::KeepAlive,
            Kind::Stun if !is_stream => Payload::Stun,
            Kind::Unread => return None,
            Kind::NotSip if !is_stream => Payload::Other,
            _ => Payload::None,
        };
        Some(payload.name())
    }

    /// What is wrong with the message.
    #[must_use]
    pub fn anomalies(&self) -> Vec<&'static str> {
        anomaly::names(self.scratch.message.anomalies).collect()
    }

    /// The scopes whose values come from a policy's tables: facts about what was read.
    #[must_use]
    pub fn known(&self, facts: &Facts<'_>) -> Map<String, Value> {
        facts.scopes(self, self.scratch)
    }

    /// The value of each scope of the policy language that can be read in the packet alone.
    #[must_use]
    pub fn scopes(&self) -> Map<String, Value> {
        let s = self.scratch;
        let sip = self.is_sip();
        // None if the packet could not be read that far. A later fragment has no ports.
        let address = |of| (s.packet.ip_version != 0).then(|| address(of, s.packet.ip_version).to_string());
        let port = (s.packet.destination_port != 0).then_some(s.packet.destination_port);
        let transport = port.map(|_| s.packet.transport.name());
        let mut scopes = object(json!({
            "source": address(&s.packet.source),
            "destination": address(&s.packet.destination),
            "transport": transport,
            "port": port,
            "method": sip.then(|| self.method_class()),
            "calling": self.number(NumberOf::Calling),
            "called": self.number(NumberOf::Called),
            "forwarded": self.number(NumberOf::Forwarded),
            "from_number": self.number(NumberOf::From),
            "asserted_number": self.number(NumberOf::Asserted),
            "preferred_number": self.number(NumberOf::Preferred),
            "to_number": self.number(NumberOf::To),
            "any_identity": self.identities(),
            "calling_format": self.format(NumberOf::Calling),
            "called_format": self.format(NumberOf::Called),
            "calling_privacy": sip.then(|| self.privacy()),
            "attestation": sip.then(|| self.attestation()),
            "passport": sip.then(|| self.passports()),
            "verstat": sip.then(|| self.verstat()),
            "neighbor": sip.then(|| self.neighbor()),
            "dialog": sip.then(|| self.dialog()),
            "payload": self.payload(),
            "anomaly": self.anomalies(),
        }));
        scopes.extend(Text::ALL.map(|text| (text.name().to_owned(), self.text(text).into())));
        scopes
    }

    /// Everything that was read, under the names that `inspect` prints.
    #[must_use]
    pub fn to_json(&self) -> Map<String, Value> {
        object(json!({
            "is_sip": self.is_sip(),
            "kind": self.kind(),
            "method": self.method(),
            "request_uri_user": self.user(UriOf::Request),
            "from_user": self.user(UriOf::From),
            "to_user": self.user(UriOf::To),
            "user_agent": self.header(Header::UserAgent),
            "server": self.header(Header::Server),
            "call_id": self.header(Header::CallId),
            "cseq": self.header(Header::CSeq),
            "contact": self.header(Header::Contact),
            "subject": self.header(Header::Subject),
            "from_display": self.text(Text::FromDisplay),
            "pai_user": self.user(UriOf::Asserted),
            "ppi_user": self.user(UriOf::Preferred),
            "rpid_user": self.user(UriOf::RemoteParty),
            "diversion_user": self.user(UriOf::Diversion),
            "history_user": self.user(UriOf::History),
            "attestation": self.is_sip().then(|| self.attestation()),
            "passports": self.is_sip().then(|| self.passports()),
            "verstat": self.is_sip().then(|| self.verstat()),
            "calling": self.number(NumberOf::Calling),
            "called": self.number(NumberOf::Called),
            "forwarded": self.number(NumberOf::Forwarded),
            "calling_format": self.format(NumberOf::Calling),
            "called_format": self.format(NumberOf::Called),
            "calling_privacy": self.is_sip().then(|| self.privacy()),
            "dialog": self.is_sip().then(|| self.dialog()),
            "payload": self.payload(),
            "neighbor": self.is_sip().then(|| self.neighbor()),
            "sdp_session": self.text(Text::SdpSession),
            "body": self.text(Text::Body),
            "anomalies": self.anomalies(),
        }))
    }

    fn header(&self, header: Header) -> Option<String> {
        let message = &self.scratch.message;
        (self.is_sip() && message.has(header)).then(|| unfolded(self.scratch.trimmed(message.header(header))))
    }
}

/// The members of a value that is a JSON object.
fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(members) = value { members } else { Map::new() }
}

/// A header's value, unfolded: line ends are removed, the white space after them stays.
pub(super) fn unfolded(bytes: &[u8]) -> String {
    let text: Vec<u8> = bytes.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    printable::text(&text)
}
