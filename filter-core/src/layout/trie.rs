//! The tries of addresses and numbers, as they lie in maps. [`crate::trie`] looks values up in them.

use core::mem::offset_of;

use super::{NumberFormat, layout};
use crate::named::named_enum;

named_enum! {
    /// The tries of a policy. Each has a root table; they share nodes and leaves.
    pub enum Trie: u8 {
        /// IPv4 addresses: the key's first 32 bits.
        Ipv4 = 0, "ipv4";
        /// IPv6 addresses: 128 bits.
        Ipv6 = 1, "ipv6";
        /// Numbers: 16 BCD nibbles, digits then a terminator; see [`crate::trie::number_key`].
        Number = 2, "number";
    }
}

impl Trie {
    /// The first piece of its root table.
    #[must_use]
    pub const fn root_piece(self) -> u32 {
        let offset = match self {
            Self::Ipv4 => offset_of!(Roots, ipv4),
            Self::Ipv6 => offset_of!(Roots, ipv6),
            Self::Number => offset_of!(Roots, number),
        };
        (offset / size_of::<RootPiece>()) as u32
    }

    /// Bits of a key.
    #[must_use]
    pub const fn key_bits(self) -> u32 {
        match self {
            Self::Ipv4 => 32,
            Self::Ipv6 => 128,
            Self::Number => 64,
        }
    }

    /// Bits of a key that index the root table.
    #[must_use]
    pub const fn root_bits(self) -> u32 {
        match self {
            Self::Ipv4 => 20,
            Self::Ipv6 => 16,
            Self::Number => 16,
        }
    }
}

/// Set in [`Node::leaves`] of a path.
pub const IS_PATH: u32 = 1 << 31;

/// Most bits that a path compares: the six lowest bits of the word hold their number.
pub const MAX_PATH: u32 = 58;

/// Set in an entry (of a root table, or at a path's end) that is the index of a node; clear if it is the class itself.
pub const IS_NODE: u32 = 1 << 31;

/// A piece of the root tables, as they lie in a map: Linux 6.1 has no array values of more than 4 MiB.
pub type RootPiece = [u32; 1 << ROOT_PIECE_BITS];

/// Bits of a key that index a piece.
pub const ROOT_PIECE_BITS: u32 = 16;

/// Pieces that the root tables are made of.
pub const ROOT_PIECES: usize = size_of::<Roots>() / size_of::<RootPiece>();

const _: () = assert!(size_of::<Roots>() == ROOT_PIECES * size_of::<RootPiece>());

layout! {
    pub(super) const LAYOUTS;

    /// A node of the poptrie, of one of two kinds.
    ///
    /// A branch has 64 children, chosen by the key's next six bits. The inner ones and the leaves are each compressed into a
    /// consecutive run. A path ([`IS_PATH`] in `leaves`) tells apart the keys whose next bits are the expected ones from all
    /// others: it compares up to [`MAX_PATH`] bits at once.
    #[derive(Debug)]
    pub struct Node {
        /// Branch: bit `i`, child `i` is an inner node. Path: the expected bits, left-aligned, and in the lowest six bits their
        /// number.
        pub inner: u64,
        /// Branch: bit `i`, child `i + 1` is a leaf and begins a run of equal leaves, which is not the first. Path: a mask of the
        /// bits that are compared.
        pub leaf_starts: u64,
        /// Branch: index of the first leaf. Path: [`IS_PATH`], and the class of all keys whose bits are not the expected ones.
        pub leaves: u32,
        /// Branch: [`IS_NODE`], and the index of the first inner child. Path: the entry for the keys with the expected bits, a
        /// class or, with [`IS_NODE`], the index of the node for the bits that follow.
        pub nodes: u32,
    }

    /// The root tables of all tries: an entry for each value of the key's first bits.
    #[derive(Debug)]
    pub struct Roots {
        /// Of [`Trie::Ipv4`].
        pub ipv4: [u32; 1 << Trie::Ipv4.root_bits()],
        /// Of [`Trie::Ipv6`].
        pub ipv6: [u32; 1 << Trie::Ipv6.root_bits()],
        /// Of [`Trie::Number`].
        pub number: [u32; 1 << Trie::Number.root_bits()],
    }

    /// Properties of all numbers of a class, apart from the rules that they satisfy.
    #[derive(Debug)]
    pub struct NumberClass {
        /// Fewest digits (country code included) of a number that is not too short.
        pub min_digits: u8,
        /// Most digits of a number that is not too long.
        pub max_digits: u8,
        /// Format of a number of possible length.
        pub format: NumberFormat,
        /// Always zero: no flag is defined.
        pub flags: u8,
        /// Index of the country in the image's list of countries, 0 for none.
        pub country: u16,
        /// Index of the region, 0 for none.
        pub region: u16,
    }
}

impl Roots {
    /// A trie's root table.
    #[inline(always)]
    #[must_use]
    pub const fn of(&self, trie: Trie) -> &[u32] {
        match trie {
            Trie::Ipv4 => &self.ipv4,
            Trie::Ipv6 => &self.ipv6,
            Trie::Number => &self.number,
        }
    }
}
