//! Look-up of a value's class: one poptrie (Asai and Ohara, "Poptrie", SIGCOMM 2015) for addresses and numbers alike.
//!
//! The key's first 16 bits index a root table; each further step takes 6 bits. A node's children are compressed: the inner
//! ones lie consecutively from `Node::nodes`, the leaves from `Node::leaves` with runs of equal ones stored once (inner
//! children in between do not end a run). The index of a child is the number of marks up to it.

use crate::{
    layout::{Node, ROOT_IS_NODE, Trie},
    swar::count_ones,
};

/// What stands behind the tries: BPF arrays in the kernel, vectors in user space.
pub trait Tables {
    /// Entry of a trie's root table.
    fn root(&self, trie: Trie, index: u16) -> u32;
    /// A node, if there is one of that index.
    fn node(&self, index: u32) -> Option<&Node>;
    /// A leaf (class), if there is one of that index.
    fn leaf(&self, index: u32) -> Option<u32>;
}

/// Bits that a step takes after the root table.
pub const STRIDE: u32 = 6;

/// Bits that the root table takes.
pub const ROOT_BITS: u32 = 16;

/// Steps at most behind the root table.
#[must_use]
pub const fn steps(trie: Trie) -> u32 {
    match trie {
        Trie::Ipv4 => 3,
        Trie::Ipv6 => 19,
        Trie::Number => 8,
    }
}

/// The class of a key, whose bits are left-aligned in `hi`, then `lo` (zero for all but IPv6); 0 if a table is incomplete.
#[inline(always)]
pub fn lookup<T: Tables>(tables: &T, trie: Trie, hi: u64, lo: u64) -> u32 {
    let entry = tables.root(trie, (hi >> 48) as u16);
    if entry & ROOT_IS_NODE == 0 {
        return entry;
    }
    let mut index = entry & !ROOT_IS_NODE;
    let mut rest = hi << ROOT_BITS;
    for step in 0..steps(trie) {
        // 16 + 8 * 6 = 64: the ninth step begins exactly with the second word.
        if step == 8 {
            rest = lo;
        }
        let chunk = (rest >> 58) as u32;
        rest <<= STRIDE;
        let Some(node) = tables.node(index) else { return 0 };
        let up_to = 2u64.wrapping_shl(chunk).wrapping_sub(1);
        let inner = node.inner;
        if (inner >> chunk) & 1 == 0 {
            let leaf = node.leaves.wrapping_add(count_ones(node.leaf_starts & up_to)).wrapping_sub(1);
            return tables.leaf(leaf).unwrap_or(0);
        }
        index = node.nodes.wrapping_add(count_ones(inner & up_to)).wrapping_sub(1);
    }
    0
}

/// Top nibble of the look-up key of a short code.
pub const SHORT_CODE: u64 = 0xD;

/// Most digits of a short code.
pub const SHORT_CODE_DIGITS: u32 = 6;

/// The look-up key of a number: `packed` holds up to 15 digits as BCD, the first in the top nibble, then a terminator (0xF;
/// 0xE in the last nibble if there were more digits).
///
/// A short code (six digits or fewer) has a key space of its own, behind the nibble 0xD, because facts about E.164 ranges
/// do not hold for it: 2000 is an extension, not Egypt. List entries are in both spaces.
#[inline(always)]
#[must_use]
pub fn number_key(packed: u64, digits: u32) -> u64 {
    if digits <= SHORT_CODE_DIGITS { (packed >> 4) | (SHORT_CODE << 60) } else { packed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_code_gets_a_key_space_of_its_own() {
        assert_eq!(number_key(0x911F_0000_0000_0000, 3), 0xD911_F000_0000_0000);
        assert_eq!(number_key(0x1605_562F_0000_0000, 7), 0x1605_562F_0000_0000);
    }
}
