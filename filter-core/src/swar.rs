//! Bytes, eight at a time: which bytes of a word have a property, as a mask with the top bit of each such byte set.
//!
//! BPF has neither SIMD nor a count-trailing-zeros instruction; words are little-endian, so the first byte in memory is the
//! lowest.

/// The lowest bit of every byte.
pub const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;
const LOW7: u64 = 0x7f7f_7f7f_7f7f_7f7f;

/// Eight bytes as a word, to compare one of the message with. Fewer are followed by zeroes.
#[inline(always)]
#[must_use]
pub const fn text(bytes: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*bytes)
}

/// The case bits of a word of letters.
pub const LETTERS: u64 = ONES * 0x20;

/// The mask of a word's first bytes.
#[inline(always)]
#[must_use]
pub const fn first_bytes(count: u32) -> u64 {
    if count >= 8 { !0 } else { (1u64 << (8 * (count & 7))).wrapping_sub(1) }
}

/// Marks bytes equal to `byte`. Exact up to and including the first one; later marks may be wrong.
#[inline(always)]
#[must_use]
pub const fn equal(word: u64, byte: u8) -> u64 {
    zeros(word ^ (ONES * byte as u64))
}

/// Marks bytes that are zero. Exact up to and including the first one.
#[inline(always)]
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGH
}

/// Marks bytes that equal one of several. Each word of `bytes` repeats one of them eight times; a byte is compared with it after
/// the bits in the same word of `folds` have been set. Exact up to and including the first one.
#[inline(always)]
#[must_use]
pub const fn equal_any<const N: usize>(word: u64, bytes: &[u64; N], folds: &[u64; N]) -> u64 {
    let mut marks = 0;
    let mut index = 0;
    while index < N {
        marks |= zeros((word | folds[index]) ^ bytes[index]);
        index += 1;
    }
    marks
}

/// Marks bytes below `bound` (at most 128). Exact up to and including the first one.
#[inline(always)]
#[must_use]
pub const fn below(word: u64, bound: u8) -> u64 {
    word.wrapping_sub(ONES * bound as u64) & !word & HIGH
}

/// Marks bytes that are `bound` (at most 128) or more. Exact.
#[inline(always)]
#[must_use]
pub const fn at_least(word: u64, bound: u8) -> u64 {
    ((word & LOW7).wrapping_add(ONES * (128 - bound as u64)) | word) & HIGH
}

/// Marks bytes equal to `byte`. Exact everywhere.
#[inline(always)]
#[must_use]
pub const fn exactly(word: u64, byte: u8) -> u64 {
    let zeros = word ^ (ONES * byte as u64);
    !(((zeros & LOW7).wrapping_add(LOW7)) | zeros) & HIGH
}

/// Index, 0 to 7, of the first marked byte of a mask that is not zero.
#[inline(always)]
#[must_use]
pub const fn first(mask: u64) -> u32 {
    let below = (mask & mask.wrapping_neg()).wrapping_sub(1) & ONES;
    ((below.wrapping_mul(ONES) >> 56) as u32).wrapping_sub(1)
}

/// Index of the lowest set bit of a word that is not zero.
#[inline(always)]
#[must_use]
pub const fn lowest_bit(word: u64) -> u32 {
    count_ones((word & word.wrapping_neg()).wrapping_sub(1))
}

/// The number of set bits. BPF has no such instruction, and LLVM compiles `count_ones` to a loop or a library call there.
#[inline(always)]
#[must_use]
pub const fn count_ones(word: u64) -> u32 {
    let pairs = word - ((word >> 1) & 0x5555_5555_5555_5555);
    let nibbles = (pairs & 0x3333_3333_3333_3333) + ((pairs >> 2) & 0x3333_3333_3333_3333);
    let bytes = (nibbles + (nibbles >> 4)) & 0x0f0f_0f0f_0f0f_0f0f;
    (bytes.wrapping_mul(ONES) >> 56) as u32
}

/// The first `count` bytes of a word, with `filler` in place of the others.
#[inline(always)]
#[must_use]
pub const fn filled_after(word: u64, count: u32, filler: u8) -> u64 {
    let keep = first_bytes(count);
    (word & keep) | ((ONES * filler as u64) & !keep)
}

/// True if all eight bytes are ASCII digits.
#[inline(always)]
#[must_use]
pub const fn all_digits(word: u64) -> bool {
    let values = word ^ (ONES * b'0' as u64);
    (values.wrapping_add(ONES * 0x76) | values) & HIGH == 0
}

/// Eight ASCII digits, the first in memory at the lowest byte, as 32 bits of BCD with the first digit on top.
#[inline(always)]
#[must_use]
pub const fn pack_digits(word: u64) -> u64 {
    let values = word.swap_bytes() & 0x0f0f_0f0f_0f0f_0f0f;
    let pairs = (values | (values >> 4)) & 0x00ff_00ff_00ff_00ff;
    let quads = (pairs | (pairs >> 8)) & 0x0000_ffff_0000_ffff;
    (quads | (quads >> 16)) & 0xffff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_marks_agree_with_a_search_by_byte() {
        // Every pair of neighbouring bytes, at every position, since a borrow from one byte to the next could be mistaken for a mark.
        for a in 0..=255u8 {
            for b in 0..=255u8 {
                for at in 0..7 {
                    let mut bytes = [b'x'; 8];
                    bytes[at] = a;
                    bytes[at + 1] = b;
                    let word = u64::from_le_bytes(bytes);
                    let naive = |f: &dyn Fn(u8) -> bool| bytes.iter().position(|&c| f(c)).map(|i| i as u32);
                    let marked = |mask: u64| (mask != 0).then(|| first(mask));
                    assert_eq!(marked(equal(word, b'@')), naive(&|c| c == b'@'), "{bytes:?}");
                    assert_eq!(marked(below(word, 0x21)), naive(&|c| c < 0x21), "{bytes:?}");
                    assert_eq!(marked(at_least(word, 0x21)), naive(&|c| c >= 0x21), "{bytes:?}");
                    assert_eq!(marked(exactly(word, b'\n')), naive(&|c| c == b'\n'), "{bytes:?}");
                    let folds = [ONES * 0x20, 0];
                    let either = equal_any(word, &[ONES * b's' as u64, ONES * b'%' as u64], &folds);
                    assert_eq!(marked(either), naive(&|c| matches!(c, b's' | b'S' | b'%')), "{bytes:?}");
                    assert_eq!(marked(!exactly(word, b'x') & HIGH), naive(&|c| c != b'x'), "{bytes:?}");
                }
            }
        }
    }

    #[test]
    fn digits_are_distinguished_from_other_bytes_and_packed() {
        for byte in 0..=255u8 {
            for at in 0..8 {
                let mut bytes = *b"12345678";
                bytes[at] = byte;
                assert_eq!(all_digits(u64::from_le_bytes(bytes)), byte.is_ascii_digit(), "{byte:#x} at {at}");
            }
        }
        assert_eq!(pack_digits(u64::from_le_bytes(*b"16055621")), 0x1605_5621);
    }

    #[test]
    fn bits_are_counted() {
        for bit in 0..64 {
            assert_eq!(lowest_bit(1 << bit), bit);
            assert_eq!(lowest_bit(!0 << bit), bit);
            assert_eq!(count_ones((1u64 << bit).wrapping_sub(1)), bit);
        }
        for x in [0, 1, u64::MAX, 0x8000_0000_0000_0001, 0x0123_4567_89ab_cdef, 0xffff_0000_ffff_0000] {
            assert_eq!(count_ones(x), x.count_ones(), "{x:#x}");
        }
        assert_eq!(count_ones(!0), 64);
    }
}
