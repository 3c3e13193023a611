//! Which sources the policy in force never bans: read from its pinned maps.

use std::{
    cell::RefCell,
    collections::{HashMap, hash_map::Entry},
    fmt,
};

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
        exemption(self, prefix)
    }
}

/// The address tries of a policy, and what their classes mean.
trait Classes {
    /// An entry of a root table.
    fn root(&self, trie: Trie, index: u32) -> Result<u32, Error>;
    fn node(&self, index: u32) -> Result<Node, Error>;
    fn leaf(&self, index: u32) -> Result<u32, Error>;
    /// Why a class of sources is exempt.
    fn exemption_of(&self, class: u32) -> Result<Option<Exemption>, Error>;
}

/// Why every address of a prefix is exempt; none if there is an address that is not.
fn exemption(classes: &impl Classes, prefix: Prefix) -> Result<Option<Exemption>, Error> {
    let trie = if prefix.is_ipv4() { Trie::Ipv4 } else { Trie::Ipv6 };
    let mut search = Search { classes, key_bits: trie.key_bits(), found: None };
    let (key, length, root_bits) = (prefix.trie_key(), u32::from(prefix.length()), trie.root_bits());
    let first = (key >> (128 - root_bits)) as u32;
    let count = 1u32 << root_bits.saturating_sub(length);
    for index in first..first + count {
        let place = Place { rest: key << root_bits, given: length.saturating_sub(root_bits), passed: root_bits };
        if !search.all(classes.root(trie, index)?, place)? {
            return Ok(None);
        }
    }
    Ok(search.found)
}

impl Classes for Sources {
    fn root(&self, trie: Trie, index: u32) -> Result<u32, Error> {
        let piece = trie.root_piece() + (index >> ROOT_PIECE_BITS);
        let mut pieces = self.pieces.borrow_mut();
        let bytes = match pieces.entry(piece) {
            Entry::Occupied(read) => read.into_mut(),
            Entry::Vacant(unread) => unread.insert(self.roots.bytes(piece)?),
        };
        let offset = (index as usize & ((1 << ROOT_PIECE_BITS) - 1)) * size_of::<u32>();
        let entry = bytes.get(offset..).and_then(|bytes| bytes.first_chunk());
        entry.map(|bytes| u32::from_ne_bytes(*bytes)).ok_or_else(|| Error::Internal("a short root table".to_owned()))
    }

    fn node(&self, index: u32) -> Result<Node, Error> {
        self.nodes.get(index)
    }

    fn leaf(&self, index: u32) -> Result<u32, Error> {
        self.leaves.get(index)
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
struct Search<'a, C> {
    classes: &'a C,
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

impl<C: Classes> Search<'_, C> {
    /// True if all keys from this entry on are exempt.
    fn all(&mut self, entry: u32, place: Place) -> Result<bool, Error> {
        if entry & IS_NODE == 0 {
            return self.class(entry);
        }
        // (A table that is incomplete: no trie is this deep.)
        if place.passed >= self.key_bits {
            return self.class(0);
        }
        let node = self.classes.node(entry & !IS_NODE)?;
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
                let class = self.classes.leaf(leaf)?;
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
        let exemption = self.classes.exemption_of(class)?;
        let is_exempt = exemption.is_some();
        if self.found.is_none() {
            self.found = exemption;
        }
        Ok(is_exempt)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use filter_core::trie;
    use filter_policy::{files, image::Image};

    use super::*;

    /// A policy in memory.
    struct InMemory(Image);

    impl Classes for InMemory {
        fn root(&self, trie: Trie, index: u32) -> Result<u32, Error> {
            Ok(self.0.roots.of(trie)[index as usize])
        }

        fn node(&self, index: u32) -> Result<Node, Error> {
            Ok(self.0.nodes[index as usize])
        }

        fn leaf(&self, index: u32) -> Result<u32, Error> {
            Ok(self.0.leaves[index as usize])
        }

        fn exemption_of(&self, class: u32) -> Result<Option<Exemption>, Error> {
            let facts = self.0.address_classes[class as usize];
            let decider = address_flag::decider(facts).map(|rule| rule as usize);
            let passes = decider.filter(|&rule| !self.0.rules[rule].action().drops());
            Ok(if facts & address_flag::NEVER_BAN != 0 {
                Some(Exemption::NeverBan)
            } else {
                passes.map(|rule| Exemption::Rule(self.0.rule_names[rule].clone()))
            })
        }
    }

    /// What the engine looks addresses up in.
    impl trie::Tables for InMemory {
        fn root(&self, trie: Trie, index: usize) -> u32 {
            self.0.roots.of(trie)[index]
        }

        fn node(&self, index: u32) -> Option<&Node> {
            self.0.nodes.get(index as usize)
        }

        fn leaf(&self, index: u32) -> Option<u32> {
            self.0.leaves.get(index as usize).copied()
        }
    }

    impl InMemory {
        fn new() -> Self {
            let built = filter_policy::build(&files::Table(POLICY), filter_policy::today());
            Self(built.unwrap_or_else(|error| panic!("{}", error.render(false, None))).image)
        }

        fn is_exempt(&self, prefix: &str) -> bool {
            exemption(self, Prefix::exactly(prefix).unwrap()).unwrap().is_some()
        }

        /// Looks all addresses up, one by one.
        fn are_all_exempt(&self, first: IpAddr, count: u128) -> bool {
            (0..count).all(|offset| {
                let class = match first {
                    IpAddr::V4(address) => {
                        trie::lookup(self, Trie::Ipv4, (u64::from(address.to_bits()) + offset as u64) << 32, 0)
                    }
                    IpAddr::V6(address) => {
                        let bits = address.to_bits() + offset;
                        trie::lookup(self, Trie::Ipv6, (bits >> 64) as u64, bits as u64)
                    }
                };
                self.exemption_of(class).unwrap().is_some()
            })
        }
    }

    const POLICY: &[(&str, &[u8])] = &[(
        "policy.toml",
        br#"version = 1
never_ban = ["10.0.0.0/8", "192.0.2.0/25", "192.0.2.128/26", "192.0.2.192/27", "192.0.2.224", "198.51.100.6", "198.51.100.7",
    "203.0.113.0/25", "2001:db8::/47", "2001:db8:2::/48", "2001:db8:3::7", "2001:db8:4::/127", "2001:db8:4::3"]

[network]
udp = [5060]

[[rule]]
name = "partners"
match.source = ["203.0.113.128/25", "2001:db8:4::2"]
action = "whitelist"

[[rule]]
name = "blocked"
match.source = ["198.51.100.0/28", "192.0.2.230/31", "2001:db8:4::8/125"]
action = "drop"
"#,
    )];

    #[test]
    fn a_prefix_is_exempt_if_all_its_addresses_are() {
        let policy = InMemory::new();
        for exempt in [
            "10.0.0.0/8",
            "10.1.2.3",
            "192.0.2.0/25",
            "192.0.2.128/26",
            "198.51.100.6/31",
            "203.0.113.0/24",
            "2001:db8::/47",
            "2001:db8:2::/48",
            "2001:db8:1:2::/64",
            "2001:db8:3::7",
            "2001:db8:4::/126",
        ] {
            assert!(policy.is_exempt(exempt), "{exempt}");
        }
        for other in [
            "10.0.0.0/7",
            "128.0.0.0/1",
            "192.0.2.0/24",
            "192.0.2.224/31",
            "198.51.100.4/30",
            "198.51.100.8",
            "203.0.112.0/23",
            "2001:db8::/46",
            "2001:db8:3::/64",
            "2001:db8:3::6/127",
            "2001:db8:4::/125",
            "2001::/16",
            "8000::/1",
        ] {
            assert!(!policy.is_exempt(other), "{other}");
        }
    }

    #[test]
    fn it_agrees_with_looking_up_each_address() {
        let policy = InMemory::new();
        let mut exempt = 0;
        for network in ["10.255.255.0", "192.0.2.0", "198.51.100.0", "203.0.113.0", "203.0.112.0"] {
            let network: IpAddr = network.parse().unwrap();
            let IpAddr::V4(base) = network else { panic!("{network}") };
            for length in 24..=32u8 {
                for block in 0..1u32 << (length - 24) {
                    let first = std::net::Ipv4Addr::from_bits(base.to_bits() + (block << (32 - length)));
                    let found = policy.is_exempt(&format!("{first}/{length}"));
                    assert_eq!(found, policy.are_all_exempt(first.into(), 1 << (32 - length)), "{first}/{length}");
                    exempt += usize::from(found);
                }
            }
        }
        for network in ["2001:db8:3::", "2001:db8:4::", "2001:db8:1::"] {
            let base: Ipv6Addr = network.parse().unwrap();
            for length in 122..=128u8 {
                for block in 0..1u128 << (length - 122) {
                    let first = Ipv6Addr::from_bits(base.to_bits() + (block << (128 - length)));
                    let found = policy.is_exempt(&format!("{first}/{length}"));
                    assert_eq!(found, policy.are_all_exempt(first.into(), 1 << (128 - length)), "{first}/{length}");
                    exempt += usize::from(found);
                }
            }
        }
        assert!(exempt > 1000, "{exempt}");
    }

    #[test]
    fn the_reason_names_the_rule() {
        let policy = InMemory::new();
        let reason = |prefix: &str| exemption(&policy, Prefix::exactly(prefix).unwrap()).unwrap();
        assert_eq!(reason("203.0.113.200"), Some(Exemption::Rule("partners".to_owned())));
        assert_eq!(reason("10.0.0.1"), Some(Exemption::NeverBan));
        assert_eq!(reason("198.51.100.1"), None, "a rule that drops everything does not exempt");
    }
}
