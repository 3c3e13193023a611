//! Numbers: normalisation to E.164 under the policy's numbering, and formats.

use filter_core::layout::NumberFormat;
use filter_policy::model::{Numbering, Policy};

use super::uri::{Digits, Uri};
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

/// The services that emergency URNs name, in the order of their nibbles from 1 on (RFC 5031 section 4.2).
const EMERGENCY_SERVICES: [&[u8]; 9] =
    [b"ambulance", b"animal-control", b"fire", b"gas", b"marine", b"mountain", b"physician", b"poison", b"police"];

/// The key of `urn:service:sos` and its services, from what follows `urn:`. Its digits are no decimal ones: lists name it by
/// the URN.
fn emergency_urn(user: &[u8]) -> Option<String> {
    const SOS: &[u8] = b"service:sos";
    let user = user.to_ascii_lowercase();
    let service = user.strip_prefix(SOS)?;
    if service.is_empty() {
        return Some("aa".to_owned());
    }
    let service = service.strip_prefix(b".")?;
    let place = EMERGENCY_SERVICES.iter().position(|name| *name == service);
    Some(place.map_or_else(|| "aac".to_owned(), |place| format!("aa{}", place + 1)))
}

/// A URI's number and its format.
pub(super) fn number(policy: &Policy, uri: &Uri) -> (Option<String>, NumberFormat) {
    if uri.user.is_empty() {
        return (None, NumberFormat::Missing);
    }
    if uri.is_urn
        && let Some(key) = emergency_urn(&uri.user)
    {
        return (Some(key), NumberFormat::Valid);
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
