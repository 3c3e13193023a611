//! Which sources the policy in force never bans: read from its pinned maps.

use std::{cell::RefCell, collections::HashMap, fmt};

use filter_core::{
    layout::{IS_NODE, IS_PATH, Node, ROOT_PIECE_BITS, Rule, Trie, address_flag},
    trie::STRIDE,
};

use super::{Error, Pins, pins::CURRENT, prefix::Prefix, state::Slot, table::Table};

/// Why a ban of a source would have no effect, or must have none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exemption {
    /// It is in the policy's `never_ban`.
    NeverBan,
    /// This rule lets everything from it pass.
    Rule(String),
}

impl fmt::Display for Exemption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverBan => f.write_str("the policy's `never_ban` covers it"),
            Self::Rule(rule) => write!(f, "the rule `{rule}` lets everything from it pass"),
        }
    }
}

/// The classes of source addresses in the policy in force.
pub(super) struct Sources {
    roots: Table,
    nodes: Table,
    leaves: Table,
    classes: Table,
    rules: Table,
    slots: Table,
    /// Pieces of the root tables that have been read.
    pieces: RefCell<HashMap<u32, Vec<u8>>>,
    /// The classes that have been looked at.
    known: RefCell<HashMap<u32, Option<Exemption>>>,
}

impl Sources {
    pub(super) fn open(pins: &Pins) -> Result<Self, Error> {
        let open = |name| Table::open(&pins.generation(CURRENT).join(name));
        Ok(Self {
            roots: open("ROOTS")?,
            nodes: open("NODES")?,
            leaves: open("LEAVES")?,
            classes: open("ADDRESS_CLASSES")?,
            rules: open("RULES")?,
            slots: Table::open(&pins.map("SLOTS"))?,
            pieces: RefCell::default(),
            known: RefCell::default(),
        })
    }

    /// Why every address of a prefix is exempt; none if there is an address that is not.
    pub(super) fn exemption(&self, prefix: Prefix) -> Result<Option<Exemption>, Error> {
        let trie = if prefix.is_ipv4() { Trie::Ipv4 } else { Trie::Ipv6 };
        let mut search = Search { sources: self, key_bits: trie.key_bits(), found: None };
        let (key, length, root_bits) = (prefix.trie_key(), u32::from(prefix.length()), trie.root_bits());
        let first = (key >> (128 - root_bits)) as u32;
        let count = 1u32 << root_bits.saturating_sub(length);
        for index in first..first + count {
            let place = Place { rest: key << root_bits, given: length.saturating_sub(root_bits), passed: root_bits };
            if !search.all(self.root(trie, index)?, place)? {
                return Ok(None);
            }
        }
        Ok(search.found)
    }

    fn root(&self, trie: Trie, index: u32) -> Result<u32, Error> {
        let piece = trie.root_piece() + (index >> ROOT_PIECE_BITS);
        let mut pieces = self.pieces.borrow_mut();
        if !pieces.contains_key(&piece) {
            pieces.insert(piece, self.roots.bytes(piece)?);
        }
        let offset = (index as usize & ((1 << ROOT_PIECE_BITS) - 1)) * size_of::<u32>();
        let bytes = pieces[&piece].get(offset..).and_then(|bytes| bytes.first_chunk());
        bytes.map(|bytes| u32::from_ne_bytes(*bytes)).ok_or_else(|| Error::Internal("a short root table".to_owned()))
    }

    fn exemption_of(&self, class: u32) -> Result<Option<Exemption>, Error> {
        if let Some(known) = self.known.borrow().get(&class) {
            return Ok(known.clone());
        }
        let facts: u32 = self.classes.get(class)?;
        let exemption = if facts & address_flag::NEVER_BAN != 0 {
            Some(Exemption::NeverBan)
        } else if let Some(decider) = address_flag::decider(facts) {
            let rule: Rule = self.rules.get(decider)?;
            if rule.action().drops() {
                None
            } else {
                let slot: Slot = self.slots.get(u32::from(rule.slot))?;
                Some(Exemption::Rule(slot.name()))
            }
        } else {
            None
        };
        self.known.borrow_mut().insert(class, exemption.clone());
        Ok(exemption)
    }
}

/// A word whose first bits are set.
fn first_bits(count: u32) -> u64 {
    if count >= 64 { u64::MAX } else { !(u64::MAX >> count) }
}

/// A walk over the part of a trie that a prefix covers. [`filter_core::trie::lookup`] follows one key; this follows all keys with the
/// prefix's bits.
struct Search<'a> {
    sources: &'a Sources,
    key_bits: u32,
    /// Why the first address is exempt.
    found: Option<Exemption>,
}

/// Where a walk is in a key.
#[derive(Clone, Copy)]
struct Place {
    /// The key's bits from here on, left-aligned.
    rest: u128,
    /// How many of them the prefix gives.
    given: u32,
    /// Bits of the key before this place.
    passed: u32,
}

impl Place {
    fn after(self, bits: u32) -> Self {
        Self {
            rest: self.rest.checked_shl(bits).unwrap_or(0),
            given: self.given.saturating_sub(bits),
            passed: self.passed + bits,
        }
    }
}

impl Search<'_> {
    /// True if all keys from this entry on are exempt.
    fn all(&mut self, entry: u32, place: Place) -> Result<bool, Error> {
        if entry & IS_NODE == 0 {
            return self.class(entry);
        }
        // (A table that is incomplete: no trie is this deep.)
        if place.passed >= self.key_bits {
            return self.class(0);
        }
        let node: Node = self.sources.nodes.get(entry & !IS_NODE)?;
        if node.leaves & IS_PATH != 0 { self.path(&node, place) } else { self.branch(&node, place) }
    }

    fn path(&mut self, node: &Node, place: Place) -> Result<bool, Error> {
        let others = node.leaves & !IS_PATH;
        let given = first_bits(place.given);
        let high = (place.rest >> 64) as u64;
        if (high ^ node.inner) & node.leaf_starts & given != 0 {
            return self.class(others);
        }
        // Bits that the prefix leaves open decide between the path and the others. (Bits after the key's end are zero.)
        let open = first_bits(self.key_bits - place.passed) & !given;
        if node.leaf_starts & open != 0 && !self.class(others)? {
            return Ok(false);
        }
        // From the path's bits on, the key has them whether the prefix gives them or not.
        self.all(node.nodes, place.after((node.inner & 63) as u32))
    }

    fn branch(&mut self, node: &Node, place: Place) -> Result<bool, Error> {
        let open = STRIDE.saturating_sub(place.given);
        let first = (place.rest >> (128 - STRIDE)) as u32;
        // Bits after the key's end are zero.
        let step = 1 << STRIDE.saturating_sub(self.key_bits - place.passed);
        for chunk in (first..first + (1 << open)).step_by(step) {
            let before = (1u64 << chunk) - 1;
            let is_exempt = if node.inner >> chunk & 1 == 0 {
                let leaf = node.leaves + (node.leaf_starts & before).count_ones();
                let class = self.sources.leaves.get(leaf)?;
                self.class(class)?
            } else {
                self.all(node.nodes + (node.inner & before).count_ones(), place.after(STRIDE))?
            };
            if !is_exempt {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn class(&mut self, class: u32) -> Result<bool, Error> {
        let exemption = self.sources.exemption_of(class)?;
        let is_exempt = exemption.is_some();
        if self.found.is_none() {
            self.found = exemption;
        }
        Ok(is_exempt)
    }
}
