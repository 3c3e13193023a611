//! Numbers: normalisation to E.164 under the policy's numbering, formats, and `verstat`.

use filter_core::{
    layout::{NumberFormat, Verstat},
    scratch::UriOf,
};
use filter_policy::model::{Numbering, Policy};

use super::{
    frame::Packet,
    message::Message,
    uri::{Digits, Uri},
};
use crate::evaluate;

/// E.164 digits, or a short code; none if the international prefix is all there is.
fn normal_form(numbering: &Numbering, number: &Digits) -> Option<String> {
    let digits = &number.digits;
    let without = |prefix: &str| digits.strip_prefix(prefix).filter(|_| !prefix.is_empty());
    let nanp = numbering.country_code == "1";
    let normal = if number.plus || digits.len() <= 6 {
        digits.clone()
    } else if let Some(international) = without(&numbering.international_prefix) {
        international.to_owned()
    } else if nanp && digits.len() == 10 && !digits.starts_with(['0', '1']) {
        format!("1{digits}")
    } else if nanp && digits.len() == 11 && digits.starts_with('1') {
        digits.clone()
    } else if let Some(national) = without(&numbering.national_prefix) {
        format!("{}{national}", numbering.country_code)
    } else if numbering.bare_national {
        format!("{}{digits}", numbering.country_code)
    } else {
        digits.clone()
    };
    (!normal.is_empty()).then_some(normal)
}

/// A URI's number and its format.
fn number(policy: &Policy, uri: &Uri) -> (Option<String>, NumberFormat) {
    if uri.user.is_empty() {
        return (None, NumberFormat::Missing);
    }
    let number = uri.number.as_ref().and_then(|digits| normal_form(&policy.numbering, digits));
    let Some(number) = number else { return (None, NumberFormat::NotANumber) };
    let facts = evaluate::facts(policy, &number);
    let (least, most) = facts.digits;
    let format = if number.len() <= 6 {
        NumberFormat::Valid
    } else if number.len() > usize::from(most).min(15) {
        NumberFormat::TooLong
    } else if number.len() < usize::from(least) {
        NumberFormat::TooShort
    } else {
        facts.format
    };
    (Some(number), format)
}

pub(super) fn read_numbers(policy: &Policy, packet: &Packet, message: &mut Message, uris: &[Uri; UriOf::COUNT]) {
    let of = |of: UriOf| &uris[of.index()];
    let numbering = &policy.numbering;
    (message.numbers.called, message.called_format) = number(policy, of(UriOf::Request));
    let is_believed = evaluate::in_addresses(&numbering.asserted_identity_from, packet.source);
    let identities = [UriOf::Asserted, UriOf::SecondAsserted, UriOf::RemoteParty];
    let asserted = identities.into_iter().map(of).find(|uri| is_believed && uri.number.is_some());
    let identity = asserted.unwrap_or(of(UriOf::From));
    (message.numbers.calling, message.calling_format) = number(policy, identity);
    if message.calling_format != NumberFormat::Missing && (message.privacy || identity.is_anonymous) {
        message.calling_format = NumberFormat::Anonymous;
    }
    let forwarded = if of(UriOf::Diversion).is_present { UriOf::Diversion } else { UriOf::History };
    message.numbers.forwarded = number(policy, of(forwarded)).0;
    message.numbers.from = number(policy, of(UriOf::From)).0;
    let asserted = if of(UriOf::Asserted).number.is_some() { UriOf::Asserted } else { UriOf::SecondAsserted };
    message.numbers.asserted = number(policy, of(asserted)).0;
    let verified = if is_believed && of(UriOf::Asserted).is_present { UriOf::Asserted } else { UriOf::From };
    message.verstat = verstat(&of(verified).parameters);
}

/// The first `verstat` parameter (3GPP TS 24.229 section 7.2A.20).
fn verstat(parameters: &[u8]) -> Verstat {
    for parameter in parameters.split(|&byte| byte == b';').skip(1).take(64) {
        let parameter = parameter.to_ascii_lowercase();
        let Some(value) = parameter.strip_prefix(b"verstat=") else { continue };
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
