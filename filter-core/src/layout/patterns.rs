//! The patterns over one text: their automaton, and the literals that are looked for before it.

use super::layout;
use crate::{limits::DFA_TABLE, named::named_bits, swar::LETTERS};

/// Bytes that can be compared without a table.
pub const DFA_LEAVING: usize = 4;

/// Match states that a compiled pattern table may have.
pub const DFA_MATCHES: usize = 4096;

/// Literals of one text's patterns, a power of two. The first one is unused.
pub const DFA_LITERALS: usize = 256;

/// Bits of a gram's hash.
const GRAM_BITS: u32 = 12;

/// Hashes of grams.
pub const DFA_GRAMS: usize = 1 << GRAM_BITS;

/// Places of literals that are found by the hash of a gram, a power of two. The first one is unused.
pub const DFA_PLACES: usize = 1024;

/// The most places whose grams have the same hash.
pub const GRAM_CHAIN: u32 = 4;

/// Bytes of a literal that are compared.
pub const LITERAL_BYTES: usize = 8 * LITERAL_WORDS;

/// Eight-byte words of a literal.
pub const LITERAL_WORDS: usize = 3;

/// Bytes of a gram.
pub const GRAM_BYTES: usize = 3;

/// [`Literal::row`] of a literal that does not tell by itself which patterns match.
pub const LITERAL_NEEDS_AUTOMATON: u32 = u32::MAX;

/// The hash of the gram in the lowest [`GRAM_BYTES`] bytes of a word. It is the same for both cases of a letter.
#[inline(always)]
#[must_use]
pub const fn gram_hash(word: u64) -> usize {
    // Only the gram's bytes are in the top of the product.
    (((word | LETTERS) << (64 - 8 * GRAM_BYTES)).wrapping_mul(0x9e_3779) >> (64 - GRAM_BITS)) as usize
}

named_bits! {
    /// Bits of [`Literal::flags`].
    pub mod literal_flag: u32 {
        /// It is at the start of the value.
        START = 0;
        /// It is at the end of the value.
        END = 1;
    }
}

layout! {
    pub(super) const LAYOUTS;

    /// A literal that is in every text which some pattern matches.
    #[derive(Debug)]
    pub struct Literal {
        /// Its bytes, letters in lower case, with zeroes after its end.
        pub words: [u64; LITERAL_WORDS],
        /// The bits of each word that are compared.
        pub used: [u64; LITERAL_WORDS],
        /// The case bits of its letters.
        pub case: [u64; LITERAL_WORDS],
        /// Bytes of it.
        pub length: u32,
        /// Bits of [`literal_flag`].
        pub flags: u32,
        /// The first of the pair of rows of the patterns that match wherever the literal is, see [`Dfa::accept`];
        /// [`LITERAL_NEEDS_AUTOMATON`] if only the automaton can tell.
        pub row: u32,
        /// Padding, always zero.
        pub reserved: u32,
    }

    /// A place in a literal: a gram that is looked for.
    #[derive(Debug)]
    pub struct Place {
        /// The literal's index.
        pub literal: u16,
        /// The place, in bytes after the literal's start.
        pub offset: u16,
        /// The index of the next place whose gram has the same hash; 0 if there is none.
        pub next: u16,
        /// Padding, always zero.
        pub reserved: u16,
    }

    /// The patterns of one text, compiled: `table[(state << shift) | class[byte]]` is the next state.
    ///
    /// States from `first_match` on are those in which patterns have matched: `accept[state - first_match]` is the first
    /// of two rows, the rules that ask for one of these patterns (hits) and the rules that exclude one of them (vetoes). They
    /// count in the state reached after each byte and once more after `end_class`, which is walked at the end of a value
    /// (present, even if empty). Carriage return and line feed leave the state as it is and a tab counts as a space, so that a
    /// folded value reads as its unfolded form. White space around the value makes no difference.
    pub struct Dfa {
        /// Byte -> class.
        pub class: [u8; 256],
        /// Byte -> 0x80 if it leads out of `home`, else 0.
        pub leaves_home: [u8; 256],
        /// The bytes that lead out of `home`, if [`Self::few_leave`]. Each word repeats one of them eight times; a byte of the
        /// text equals it once the bits of the same word of `folds`, which make a letter small, are set.
        pub leaving: [u64; DFA_LEAVING],
        /// See `leaving`.
        pub folds: [u64; DFA_LEAVING],
        /// The state before the first byte of the value.
        pub start: u32,
        /// log2 of the classes that a state's row has room for.
        pub shift: u32,
        /// States from this one on are match states.
        pub first_match: u32,
        /// The class of the end of the value.
        pub end_class: u32,
        /// The state in which nothing of a pattern has been seen, or none can match any more: few bytes lead out of it.
        pub home: u32,
        /// 1 if no byte leads out of `home`.
        pub home_is_last: u32,
        /// 1 if no more than [`DFA_LEAVING`] bytes lead out of `home`, counting both cases of a letter as one.
        pub few_leave: u32,
        /// 1 if a pattern matches a value that ends in `home`.
        pub home_matches_at_end: u32,
        /// Where the literals are looked for: this many bytes from the value's start on; 0 if there are patterns without a literal, so
        /// that the automaton reads every value.
        pub literal_reach: u32,
        /// Padding, always zero.
        pub reserved: u32,
        /// The literals of all patterns.
        pub literals: [Literal; DFA_LITERALS],
        /// The places in them that are looked for. Of two that follow each other in a literal, one is at an even place of the value.
        pub places: [Place; DFA_PLACES],
        /// Hash of a gram -> index of the first place with such a gram, or 0.
        pub grams: [u16; DFA_GRAMS],
        /// Match state -> first row of its pair in the rows map (absolute).
        pub accept: [u32; DFA_MATCHES],
        /// `state << shift | class` -> next state.
        pub table: [u16; DFA_TABLE],
    }
}
