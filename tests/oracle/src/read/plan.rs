//! Numbering plans: how the digits of a user part become E.164, or a short code.

use std::net::IpAddr;

use filter_core::trunk_zero::TRUNK_ZERO;
use filter_policy::model::{NumberingPlan, Policy};

use super::uri::Digits;
use crate::evaluate;

/// The numbers that are short codes even after a plus: emergency numbers, North American service codes, and the test of emergency
/// calling.
const SERVICE_NUMBERS: [&str; 15] =
    ["110", "112", "118", "119", "211", "311", "411", "511", "611", "711", "811", "911", "933", "988", "999"];

/// The fewest and the most digits of the numbers of a country, country code included.
pub(super) fn lengths(country_code: &str) -> (usize, usize) {
    let packed = country_code.bytes().fold(0, |packed, digit| packed << 4 | u64::from(digit - b'0'));
    let packed = packed << (64 - 4 * country_code.len());
    filter_policy::numbering::lengths(packed, country_code.len() as u8)
        .map_or((0, 15), |(_, fewest, most)| (fewest.into(), most.into()))
}

/// The plan of a source: the first one whose sources it is among, else that of `[numbering]`.
pub(super) fn plan_of(policy: &Policy, source: IpAddr) -> &NumberingPlan {
    let own = policy.numbering.plans.iter().find(|(lists, _)| evaluate::in_addresses(lists, source));
    own.map_or(&policy.numbering.plan, |(_, plan)| plan)
}

/// The longest of these prefixes with which the number begins and that something follows.
fn longest<'a>(prefixes: &'a [String], number: &str) -> Option<&'a str> {
    let fits = |prefix: &&String| number.starts_with(prefix.as_str()) && number.len() > prefix.len();
    prefixes.iter().filter(fits).max_by_key(|prefix| prefix.len()).map(String::as_str)
}

/// The digits without their technical prefix. None if symbols remain.
pub(super) fn without_technical_prefix(plan: &NumberingPlan, plus: bool, digits: &str) -> Option<String> {
    // Ten digits are a whole North American number.
    let is_national = plan.country_code == "1"
        && digits.len() == 10
        && digits.starts_with(['2', '3', '4', '5', '6', '7', '8', '9'])
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    let prefix = longest(&plan.strip, digits).filter(|_| !plus && digits.len() <= 32 && !is_national);
    let digits = &digits[prefix.map_or(0, str::len)..];
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.to_owned())
}

/// E.164 digits, or a short code. E.164 numbers of six digits or fewer begin with a plus. `dialled` is true for the called number.
pub(super) fn normal_form(plan: &NumberingPlan, number: &Digits, dialled: bool) -> String {
    let mut digits = number.digits.clone();
    if dialled
        && !number.plus
        && let Some(rest) = after_outside_prefix(plan, &digits)
    {
        digits = rest.to_owned();
    }
    if digits.len() <= 6 && (!number.plus || SERVICE_NUMBERS.contains(&digits.as_str())) {
        return digits;
    }
    let normal = if number.plus { after_plus(plan, &digits) } else { e164(plan, &digits) };
    let normal = if normal.len() > 8 { without_trunk_zero(normal) } else { normal };
    if normal.len() <= 6 { format!("+{normal}") } else { normal }
}

/// What is dialled after the prefix for an outside line. None if there is no such prefix, or if the digits after it are nothing that
/// is dialled: the number then begins with its digits by chance.
fn after_outside_prefix<'a>(plan: &NumberingPlan, digits: &'a str) -> Option<&'a str> {
    let is_american = plan.country_code == "1";
    let first = digits.bytes().next()?;
    if plan.outside_prefix.is_empty() || digits.len() > 32 || (is_american && digits.len() == 10 && first >= b'2') {
        return None;
    }
    let rest = digits.strip_prefix(&plan.outside_prefix)?;
    if ["110", "112", "118", "119", "911", "933", "988", "999"].contains(&rest) {
        return Some(rest);
    }
    if rest.len() <= 6 {
        return None;
    }
    let is_local = !rest.starts_with(['0', '1']);
    let is_dialled = plan.bare_national
        || longest(&plan.international_prefixes, rest).is_some()
        || (!plan.national_prefix.is_empty() && rest.starts_with(&plan.national_prefix))
        || match rest.len() {
            7 | 10 => is_american && is_local,
            11 => is_american && rest.starts_with('1'),
            _ => false,
        };
    is_dialled.then_some(rest)
}

/// An international prefix after a plus is taken off if it begins with 0, as no country code does.
fn after_plus(plan: &NumberingPlan, digits: &str) -> String {
    let prefix = longest(&plan.international_prefixes, digits).filter(|prefix| prefix.starts_with('0'));
    digits[prefix.map_or(0, str::len)..].to_owned()
}

/// The number without a national prefix 0 between its country code and something else than a 0.
fn without_trunk_zero(normal: String) -> String {
    let mut codes = TRUNK_ZERO.iter().map(u16::to_string);
    let after = codes.find_map(|code| Some((code.clone(), normal.strip_prefix(&format!("{code}0"))?)));
    match after {
        Some((code, national)) if national.starts_with(['1', '2', '3', '4', '5', '6', '7', '8', '9']) => {
            format!("{code}{national}")
        }
        _ => normal,
    }
}

fn e164(plan: &NumberingPlan, digits: &str) -> String {
    let code = plan.country_code.as_str();
    let is_american = code == "1";
    let (fewest, most) = lengths(code);
    if let Some(prefix) = longest(&plan.international_prefixes, digits) {
        return digits[prefix.len()..].to_owned();
    }
    if is_american && digits.len() == 10 && !digits.starts_with(['0', '1']) {
        return format!("1{digits}");
    }
    if is_american && digits.len() == 11 && digits.starts_with('1') {
        return digits.to_owned();
    }
    if !plan.national_prefix.is_empty()
        && let Some(national) = digits.strip_prefix(&plan.national_prefix)
        // Where it is no 0, national numbers may begin with its digits.
        && (plan.national_prefix.starts_with('0') || !plan.bare_national || code.len() + national.len() >= fewest)
    {
        return format!("{code}{national}");
    }
    // In a country with a national prefix, and in North America, no national number without a prefix begins with the country code.
    let has_code = digits.starts_with(code)
        && (is_american
            || (!plan.national_prefix.is_empty() && digits.len() >= fewest)
            || code.len() + digits.len() > most);
    if plan.bare_national && !has_code { format!("{code}{digits}") } else { digits.to_owned() }
}
