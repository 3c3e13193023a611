//! Digits of telephone numbers as binary-coded decimals: the first digit in the top nibble of a `u64`, unused nibbles zero.

use filter_core::{limits::MAX_DIGITS, number};

/// Packs digits. None if they are not 1 to 15 ASCII digits.
pub(crate) fn pack(digits: &str) -> Option<u64> {
    if digits.is_empty() || digits.len() > MAX_DIGITS as usize {
        return None;
    }
    let mut packed = 0;
    for (index, digit) in digits.bytes().enumerate() {
        packed |= u64::from(digit.is_ascii_digit().then(|| digit - b'0')?) << (60 - 4 * index);
    }
    Some(packed)
}

/// Packs what a phone dials: digits, `*`, `#`, and `,` for a pause. None if it is anything else, or not 1 to 15 long.
pub(crate) fn pack_dialled(text: &str) -> Option<u64> {
    if text.is_empty() || text.len() > MAX_DIGITS as usize {
        return None;
    }
    let nibble = |byte| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'*' => Some(number::STAR),
        b'#' => Some(number::HASH),
        b',' => Some(number::COMMA),
        _ => None,
    };
    text.bytes()
        .enumerate()
        .try_fold(0, |packed, (index, byte)| Some(packed | u64::from(nibble(byte)?) << (60 - 4 * index)))
}

/// The digit at an index from 0 to 15.
pub(crate) fn digit(packed: u64, index: u8) -> u8 {
    (packed >> (60 - 4 * index) & 15) as u8
}

/// The first `length` digits as text.
pub(crate) fn text(packed: u64, length: u8) -> String {
    (0..length).map(|index| char::from(b'0' + digit(packed, index))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_packed_and_unpacked() {
        for digits in ["1", "911", "123456789012345"] {
            let packed = pack(digits).expect("they are digits");
            assert_eq!(text(packed, digits.len() as u8), digits);
        }
        assert_eq!(pack("12"), Some(0x12 << 56));
        for bad in ["", "12a", "+12", "1234567890123456"] {
            assert_eq!(pack(bad), None, "{bad}");
        }
    }
}
