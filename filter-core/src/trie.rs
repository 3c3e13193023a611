//! Look-up of a value's class: one poptrie (Asai and Ohara, "Poptrie", SIGCOMM 2015) for addresses and numbers alike, with
//! the paths of a radix tree (Morrison, "PATRICIA", JACM 1968).
//!
//! The key's first bits index a root table. A branch takes six more: its children are compressed, the inner ones lie
//! consecutively from `Node::nodes`, the leaves from `Node::leaves` with runs of equal ones stored once (inner children in
//! between do not end a run), and the index of a child is the number of marks before it. A path takes up to 58 bits, if all
//! keys but those with exactly these bits are of one class: long lists are mostly single values in wide empty space, and each
//! node less is a cache miss less.

use crate::{
    layout::{IS_NODE, IS_PATH, Node, Trie},
    swar::count_ones,
};

/// The memory that holds the tries: BPF arrays in the kernel, vectors in user space.
pub trait Tables {
    /// Entry of a trie's root table; the index has [`Trie::root_bits`] bits.
    fn root(&self, trie: Trie, index: usize) -> u32;
    /// A node, if there is one of that index.
    fn node(&self, index: u32) -> Option<&Node>;
    /// A leaf (class), if there is one of that index.
    fn leaf(&self, index: u32) -> Option<u32>;
    /// `times`, for the bound of a loop that must not be unrolled: a number that the compiler does not know, but the verifier
    /// does. Code that runs once per packet is not in the instruction cache, so less of it is faster.
    #[inline(always)]
    fn bound(&self, times: u32) -> u32 {
        times
    }
}

/// Bits that a branch takes. A path that does not end in a class takes as many or more.
pub const STRIDE: u32 = 6;

/// The most steps after the root table.
#[must_use]
pub const fn steps(trie: Trie) -> u32 {
    (trie.key_bits() - trie.root_bits()).div_ceil(STRIDE)
}

/// The class of a key, whose bits are left-aligned in `hi`, then `lo` (zero except for IPv6). 0 if a table is incomplete.
#[inline(always)]
pub fn lookup<T: Tables>(tables: &T, trie: Trie, mut hi: u64, mut lo: u64) -> u32 {
    let mut entry = tables.root(trie, (hi >> (64 - trie.root_bits())) as usize);
    (hi, lo) = after(hi, lo, trie.root_bits());
    for _ in 0..tables.bound(steps(trie)) {
        if entry & IS_NODE == 0 {
            return entry;
        }
        let Some(node) = tables.node(entry & !IS_NODE) else { return 0 };
        let bits = if node.leaves & IS_PATH != 0 {
            if (hi ^ node.inner) & node.leaf_starts != 0 {
                return node.leaves & !IS_PATH;
            }
            entry = node.nodes;
            (node.inner & 63) as u32
        } else {
            let chunk = (hi >> (64 - STRIDE)) as u32;
            let before = 1u64.wrapping_shl(chunk).wrapping_sub(1);
            if (node.inner >> chunk) & 1 == 0 {
                return tables.leaf(node.leaves.wrapping_add(count_ones(node.leaf_starts & before))).unwrap_or(0);
            }
            entry = node.nodes.wrapping_add(count_ones(node.inner & before));
            STRIDE
        };
        (hi, lo) = after(hi, lo, bits);
    }
    if entry & IS_NODE == 0 { entry } else { 0 }
}

/// The bits after the first `bits` (1 to 63) of a key.
#[inline(always)]
const fn after(hi: u64, lo: u64, bits: u32) -> (u64, u64) {
    (hi.wrapping_shl(bits) | (lo >> 1).wrapping_shr(63 - bits), lo.wrapping_shl(bits))
}

/// Top nibble of the look-up key of a short code.
pub const SHORT_CODE: u64 = 0xD;

/// Most digits of a short code.
pub const SHORT_CODE_DIGITS: u32 = 6;

/// The look-up key of a number: `packed` holds up to 15 digits as BCD, the first in the top nibble, then a terminator (0xF;
/// 0xE in the last nibble if there were more digits).
///
/// A short code has a key space of its own, after the nibble 0xD, because facts about E.164 ranges do not hold for it: 2000 is
/// an extension, not Egypt. List entries are in both spaces: `911$` is about 911 and about +911.
#[inline(always)]
#[must_use]
pub fn number_key(packed: u64, is_short_code: bool) -> u64 {
    if is_short_code { (packed >> 4) | (SHORT_CODE << 60) } else { packed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_code_gets_a_key_space_of_its_own() {
        assert_eq!(number_key(0x911F_0000_0000_0000, true), 0xD911_F000_0000_0000);
        assert_eq!(number_key(0x1605_562F_0000_0000, false), 0x1605_562F_0000_0000);
    }
}
