//! Emergency services, as URNs name them (RFC 5031), among the numbers.
//!
//! A service is a short code that no telephone has: the digits 0xA 0xA, and after them one for the service, if there is one.

use super::bcd;

/// The URN of all services.
pub(crate) const URN: &str = "urn:service:sos";

/// The digits of all services, as BCD, and their number.
pub(crate) const ALL: (u64, u8) = ((MARK as u64) << 60 | (MARK as u64) << 56, 2);

/// The digit of which each service's number begins with two.
const MARK: u8 = 0xa;

/// The services that have a digit of their own, in the order of these digits, from 1.
const SERVICES: [&str; 9] =
    ["ambulance", "animal-control", "fire", "gas", "marine", "mountain", "physician", "poison", "police"];

/// What can be wrong with the URN of a service.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// It is no emergency service.
    NotEmergency,
    /// It is a service without a digit of its own.
    UnknownService,
}

/// The digits, as BCD, and their number, of a text that is a URN. None if it is not one.
pub(crate) fn parse(text: &str) -> Option<Result<(u64, u8), Mistake>> {
    let text = text.to_ascii_lowercase();
    text.starts_with("urn:").then(|| {
        let service = text.strip_prefix(URN).ok_or(Mistake::NotEmergency)?;
        if service.is_empty() {
            return Ok(ALL);
        }
        let service = service.strip_prefix('.').ok_or(Mistake::NotEmergency)?;
        let place = SERVICES.iter().position(|known| *known == service).ok_or(Mistake::UnknownService)?;
        Ok((ALL.0 | (place as u64 + 1) << 52, 3))
    })
}

/// The URN that these digits stand for; None if they are a telephone number.
pub(crate) fn text(digits: u64) -> Option<String> {
    if bcd::digit(digits, 0) != MARK {
        return None;
    }
    Some(match bcd::digit(digits, 2) {
        0 | 0xf => URN.to_owned(),
        digit => {
            let service = SERVICES.get(usize::from(digit) - 1).copied().unwrap_or("other");
            format!("{URN}.{service}")
        }
    })
}

/// How to name a service in a policy.
pub(crate) fn help() -> String {
    format!("use `{URN}` for all emergency services, or add one of: .{}", SERVICES.join(", ."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_has_digits_and_is_shown_by_its_urn() {
        assert_eq!(parse("urn:service:sos"), Some(Ok((0xaa << 56, 2))));
        assert_eq!(parse("URN:Service:SOS.Police"), Some(Ok((0xaa9 << 52, 3))));
        for service in SERVICES {
            let urn = format!("{URN}.{service}");
            let Some(Ok((digits, 3))) = parse(&urn) else { panic!("{urn}") };
            assert_eq!(text(digits), Some(urn));
        }
        assert_eq!(text(0xaaf << 52).as_deref(), Some(URN));
        assert_eq!(text(0xaac << 52).as_deref(), Some("urn:service:sos.other"));
        assert_eq!(text(0x911f << 48), None);
    }

    #[test]
    fn other_urns_are_mistakes() {
        for urn in ["urn:service:counseling", "urn:service:sosx", "urn:", "urn:uuid:1"] {
            assert_eq!(parse(urn), Some(Err(Mistake::NotEmergency)), "{urn}");
        }
        assert_eq!(parse("urn:service:sos.plumber"), Some(Err(Mistake::UnknownService)));
        assert_eq!(parse("911"), None);
    }
}
