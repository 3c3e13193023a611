//! Numbers: normalisation to E.164 under the policy's numbering, and formats.

use filter_core::layout::NumberFormat;
use filter_policy::model::{NumberingPlan, Policy};

use super::{plan::normal_form, uri::Uri};
use crate::evaluate;

/// The services that emergency URNs name, in the order of their nibbles from 1 on (RFC 5031 section 4.2).
const EMERGENCY_SERVICES: [&[u8]; 9] =
    [b"ambulance", b"animal-control", b"fire", b"gas", b"marine", b"mountain", b"physician", b"poison", b"police"];

/// The key of `urn:service:sos` and its services, from what follows `urn:`. Its digits are no decimal ones: lists name it by
/// the URN.
pub(super) fn emergency_urn(user: &[u8]) -> Option<String> {
    let user = user.to_ascii_lowercase();
    // Some phones write a full stop for the second colon.
    let service = user.strip_prefix(b"service:sos").or(user.strip_prefix(b"service.sos"))?;
    if service.is_empty() {
        return Some("aa".to_owned());
    }
    let service = service.strip_prefix(b".")?;
    let place = EMERGENCY_SERVICES.iter().position(|name| *name == service);
    Some(place.map_or_else(|| "aac".to_owned(), |place| format!("aa{}", place + 1)))
}

/// A URI's number and its format. `dialled` is true for what the caller dials.
pub(super) fn number(
    policy: &Policy,
    plan: &NumberingPlan,
    uri: &Uri,
    dialled: bool,
) -> (Option<String>, NumberFormat) {
    if uri.user.is_empty() {
        return (None, NumberFormat::Missing);
    }
    if uri.is_urn
        && let Some(key) = emergency_urn(&uri.user)
    {
        return (Some(key), NumberFormat::Valid);
    }
    let number = uri.number.as_ref().map(|digits| normal_form(plan, digits, dialled));
    let Some(number) = number else { return (None, NumberFormat::NotANumber) };
    let facts = evaluate::facts(policy, &number);
    let (least, most) = facts.digits;
    let length = number.trim_start_matches('+').len();
    let format = if number.len() <= 6 && !number.starts_with('+') {
        let is_zeros = number.len() > 3 && number.bytes().all(|digit| digit == b'0');
        if is_zeros { NumberFormat::UnassignedCountryCode } else { NumberFormat::Valid }
    } else if length > usize::from(most).min(15) {
        NumberFormat::TooLong
    } else if length < usize::from(least) {
        NumberFormat::TooShort
    } else {
        facts.format
    };
    (Some(number), format)
}
