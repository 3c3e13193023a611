//! Durations and rates, as policies write them.

use filter_core::layout::Per;

/// The seconds of `90s`, `10m`, `1h`, `7d`, `1h30m`.
#[must_use]
pub fn duration(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut seconds = 0_u64;
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit())?;
        let count: u64 = rest[..digits].parse().ok()?;
        let unit = seconds_of(rest[digits..].chars().next()?)?;
        seconds = seconds.checked_add(count.checked_mul(unit)?)?;
        rest = &rest[digits + 1..];
    }
    (seconds > 0).then_some(seconds)
}

/// The text of a duration, as [`duration`] reads it: 5400 seconds are `1h30m`.
#[must_use]
pub fn duration_text(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let parts = [(days, 'd'), (hours, 'h'), (minutes, 'm'), (seconds % 60, 's')];
    let text: String =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect();
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// The text of a rate of `count` packets in `seconds`, as [`rate`] reads it.
pub(crate) fn rate_text(count: u32, seconds: u64) -> String {
    let period = duration_text(seconds);
    format!("{count}/{}", period.strip_prefix('1').filter(|unit| unit.len() == 1).unwrap_or(&period))
}

fn seconds_of(unit: char) -> Option<u64> {
    match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3_600),
        'd' => Some(86_400),
        _ => None,
    }
}

/// The count and nanoseconds of `5/s`, `100/m`, `20/10s`.
#[must_use]
pub fn rate(text: &str) -> Option<(u32, u64)> {
    const NANOSECONDS: u64 = 1_000_000_000;
    const MAX_PER_SECOND: u64 = 1_000_000;
    let (count, period) = text.split_once('/')?;
    let count: u32 = count.trim().parse().ok().filter(|count| *count > 0)?;
    let period = period.trim();
    let seconds = match period {
        "s" | "m" | "h" | "d" => seconds_of(period.chars().next()?)?,
        _ => duration(period)?,
    };
    let possible = seconds <= 86_400 && u64::from(count) <= MAX_PER_SECOND * seconds;
    possible.then_some((count, seconds * NANOSECONDS))
}

/// The key of a rate, and the bits or digits of its prefix; 0 for the whole value.
pub(crate) fn rate_key(text: &str) -> Option<(Per, u8)> {
    let (name, prefix) = match text.split_once('/') {
        None => (text, None),
        Some((name, prefix)) => (name, Some(prefix.parse::<u8>().ok().filter(|prefix| *prefix > 0)?)),
    };
    match (name, prefix) {
        ("rule", None) => Some((Per::Rule, 0)),
        ("source", None) => Some((Per::Source, 0)),
        ("source", Some(bits)) if bits <= 128 => Some((Per::SourcePrefix, bits)),
        ("source+called", None) => Some((Per::SourceCalled, 0)),
        ("user-agent", None) => Some((Per::UserAgent, 0)),
        ("upstream", None) => Some((Per::Upstream, 0)),
        ("destination", None) => Some((Per::Destination, 0)),
        ("calling", None) => Some((Per::Calling, 0)),
        ("calling", Some(digits)) if digits <= 15 => Some((Per::CallingPrefix, digits)),
        ("called", None) => Some((Per::Called, 0)),
        ("called", Some(digits)) if digits <= 15 => Some((Per::CalledPrefix, digits)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_rates_are_written_as_they_are_read() {
        for text in ["1s", "90m", "10m", "1h30m", "1d", "7d", "1d1h1m1s"] {
            let seconds = duration(text).unwrap();
            assert_eq!(duration(&duration_text(seconds)), Some(seconds), "{text}");
        }
        assert_eq!(duration_text(5_400), "1h30m");
        for text in ["5/s", "100/m", "1000/h", "20/10s", "3/d", "7/1h30m"] {
            let (count, period) = rate(text).unwrap();
            assert_eq!(rate_text(count, period / 1_000_000_000), text);
        }
    }
}
