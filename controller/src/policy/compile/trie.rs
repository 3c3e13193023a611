//! Building the tries: prefixes to stretches of equal value, stretches to a poptrie.
//!
//! Keys of all tries are left-aligned in 128 bits here, so that one builder serves addresses and numbers.

use std::hash::{Hash, Hasher};

use filter_core::{
    layout::{Node, ROOT_IS_NODE, Root, TRIES, Trie},
    limits::TRIE_ROOT,
    trie::{ROOT_BITS, STRIDE},
};
use rustc_hash::{FxHashMap, FxHasher};

/// One prefix that holds one item (a list, a fact about a number range).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The prefix's bits, left-aligned; zero behind its length.
    pub key: u128,
    /// Bits of the prefix.
    pub length: u8,
    /// What it holds.
    pub item: u32,
}

/// From `start` on, up to the next stretch's start, every key has this value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// First key.
    pub start: u128,
    /// Value.
    pub value: u32,
}

/// Cuts the key space into stretches of equal state.
///
/// The state of a key is what `add` makes of `initial` by adding the items of all prefixes that cover it, shorter prefixes
/// first, the items of one prefix in ascending order.
pub fn flatten(mut entries: Vec<Entry>, initial: u32, mut add: impl FnMut(u32, u32) -> u32) -> Vec<Stretch> {
    // In this order a prefix comes directly before everything that it covers.
    entries.sort_unstable();
    entries.dedup();
    let mut stretches = Stretches { stretches: Vec::with_capacity(entries.len() + 1) };
    stretches.push(0, initial);
    // The prefixes that cover the current key, outermost first: last key and state.
    let mut open: Vec<(u128, u32)> = Vec::new();
    for group in entries.chunk_by(|a, b| (a.key, a.length) == (b.key, b.length)) {
        let Entry { key, length, .. } = group[0];
        close(&mut open, &mut stretches, initial, Some(key));
        let outer = open.last().map_or(initial, |&(_, state)| state);
        let state = group.iter().fold(outer, |state, entry| add(state, entry.item));
        stretches.push(key, state);
        open.push((key | u128::MAX.checked_shr(u32::from(length)).unwrap_or(0), state));
    }
    close(&mut open, &mut stretches, initial, None);
    stretches.stretches
}

/// Ends the open prefixes that lie wholly before `key` (all if there is none).
fn close(open: &mut Vec<(u128, u32)>, stretches: &mut Stretches, initial: u32, key: Option<u128>) {
    while let Some(&(last, _)) = open.last() {
        if key.is_some_and(|key| last >= key) {
            return;
        }
        open.pop();
        if let Some(next) = last.checked_add(1) {
            stretches.push(next, open.last().map_or(initial, |&(_, state)| state));
        }
    }
}

/// The values of stretches, each once, in the order of their first appearance. They are less than `count`.
pub fn values_of<'a>(stretches: impl Iterator<Item = &'a Stretch>, count: usize) -> Vec<u32> {
    let mut seen = vec![false; count];
    let unseen = |value: &u32| !std::mem::replace(&mut seen[*value as usize], true);
    stretches.map(|stretch| stretch.value).filter(unseen).collect()
}

/// Gives every stretch a new value and unites neighbours that became equal.
pub fn relabel(stretches: &mut Vec<Stretch>, value: impl Fn(u32) -> u32) {
    stretches.iter_mut().for_each(|stretch| stretch.value = value(stretch.value));
    stretches.dedup_by_key(|stretch| stretch.value);
}

struct Stretches {
    stretches: Vec<Stretch>,
}

impl Stretches {
    /// Begins a stretch; one that begins at the same key was empty and goes.
    fn push(&mut self, start: u128, value: u32) {
        if self.stretches.last().is_some_and(|last| last.start == start) {
            self.stretches.pop();
        }
        if self.stretches.last().is_none_or(|last| last.value != value) {
            self.stretches.push(Stretch { start, value });
        }
    }
}

/// The tables of all tries.
pub struct Tries {
    pub roots: [Box<Root>; TRIES],
    pub nodes: Vec<Node>,
    pub leaves: Vec<u32>,
    /// Hash of a run of leaves -> where it lies.
    known_leaves: FxHashMap<u64, u32>,
    /// Hash of a run of nodes -> where it lies.
    known_nodes: FxHashMap<u64, u32>,
    /// Nodes built whose siblings are not all there yet: a stack of runs.
    pending: Vec<Node>,
}

impl Tries {
    pub fn new() -> Self {
        Self {
            roots: std::array::from_fn(|_| empty_root()),
            nodes: Vec::new(),
            leaves: Vec::new(),
            known_leaves: FxHashMap::default(),
            known_nodes: FxHashMap::default(),
            pending: Vec::new(),
        }
    }

    /// Fills a trie. The first stretch must begin at key 0.
    pub fn build(&mut self, trie: Trie, stretches: &[Stretch]) {
        let mut root = empty_root();
        let mut at = 0;
        for (index, entry) in root.iter_mut().enumerate() {
            let first = (index as u128) << (128 - ROOT_BITS);
            if stretches.get(at + 1).is_some_and(|next| next.start == first) {
                at += 1;
            }
            *entry = if begins_within(stretches, at, last_of(first, ROOT_BITS)) {
                let pending = self.pending.len();
                at = self.push_node(stretches, at, first, ROOT_BITS);
                self.place_nodes(pending) | ROOT_IS_NODE
            } else {
                stretches[at].value
            };
        }
        self.roots[trie as usize] = root;
    }

    /// Builds the node for the keys that share their first `depth` bits with `first`, and puts it onto the pending ones. `at`
    /// is the stretch that holds `first`; returns the one that holds the last of the keys.
    fn push_node(&mut self, stretches: &[Stretch], mut at: usize, first: u128, depth: u32) -> usize {
        const CHILDREN: u32 = 1 << STRIDE;
        let last = last_of(first, depth);
        let (mut inner, mut leaf_starts) = (0u64, 0u64);
        let mut leaves = [0; CHILDREN as usize];
        let mut leaf_count = 0;
        let pending = self.pending.len();
        // All children before this one are done; `at` is the stretch that holds its first key.
        let mut child = 0;
        while child < CHILDREN {
            let next = stretches.get(at + 1).filter(|next| next.start <= last);
            let changes = next.map_or(CHILDREN, |next| child_of(next.start, depth));
            if child < changes {
                let value = stretches[at].value;
                // Inner children in between do not end a run.
                if leaf_count == 0 || leaves[leaf_count - 1] != value {
                    leaf_starts |= 1 << child;
                    leaves[leaf_count] = value;
                    leaf_count += 1;
                }
                child = changes;
                continue;
            }
            let key = first | child_bits(child, depth);
            if next.is_some_and(|next| next.start == key) {
                at += 1;
                if !begins_within(stretches, at, last_of(key, depth + STRIDE)) {
                    continue;
                }
            }
            inner |= 1 << child;
            at = self.push_node(stretches, at, key, depth + STRIDE);
            child += 1;
        }
        let nodes = self.place_nodes(pending);
        let leaves = self.place_leaves(&leaves[..leaf_count]);
        self.pending.push(Node { inner, leaf_starts, leaves, nodes });
        at
    }

    /// Takes over these tries of another, which must not be filled here.
    pub fn append(&mut self, other: &Self, tries: &[Trie]) {
        let (nodes, leaves) = (self.nodes.len() as u32, self.leaves.len() as u32);
        self.nodes.extend(other.nodes.iter().map(|node| Node {
            nodes: node.nodes + nodes,
            leaves: node.leaves + leaves,
            ..*node
        }));
        self.leaves.extend_from_slice(&other.leaves);
        for &trie in tries {
            let moved = |&entry: &u32| if entry & ROOT_IS_NODE == 0 { entry } else { entry + nodes };
            let filled = other.roots[trie as usize].iter().map(moved);
            self.roots[trie as usize].iter_mut().zip(filled).for_each(|(entry, filled)| *entry = filled);
        }
    }

    /// Lets go of what only filling needs.
    pub fn finish(&mut self) {
        (self.known_leaves, self.known_nodes, self.pending) = Default::default();
    }

    /// Moves the pending nodes from `from` on to where they stay; returns the index of the first one.
    ///
    /// Equal runs are stored once. Long lists of single values end in chains of nodes with one child, of which there are
    /// millions but few different ones, so this makes the tables several times smaller.
    fn place_nodes(&mut self, from: usize) -> u32 {
        let run = &self.pending[from..];
        if run.is_empty() {
            return 0;
        }
        let index = *self.known_nodes.entry(hash(run.iter().map(content))).or_insert(self.nodes.len() as u32);
        let known = self.nodes.get(index as usize..index as usize + run.len());
        let index = if known.is_some_and(|known| known.iter().map(content).eq(run.iter().map(content))) {
            index
        } else {
            self.nodes.extend_from_slice(run);
            (self.nodes.len() - run.len()) as u32
        };
        self.pending.truncate(from);
        index
    }

    /// The same for leaves.
    fn place_leaves(&mut self, run: &[u32]) -> u32 {
        let index = *self.known_leaves.entry(hash(run.iter())).or_insert(self.leaves.len() as u32);
        if self.leaves.get(index as usize..index as usize + run.len()) == Some(run) {
            return index;
        }
        self.leaves.extend_from_slice(run);
        (self.leaves.len() - run.len()) as u32
    }
}

fn content(node: &Node) -> [u64; 3] {
    [node.inner, node.leaf_starts, u64::from(node.leaves) << 32 | u64::from(node.nodes)]
}

/// Two runs of one hash are only stored twice, so that any hash will do.
fn hash(run: impl ExactSizeIterator<Item = impl Hash>) -> u64 {
    let mut hasher = FxHasher::default();
    // This hash would not see zeros in front.
    hasher.write_usize(run.len());
    run.for_each(|item| item.hash(&mut hasher));
    hasher.finish()
}

/// The child of a node at `depth` that a key belongs to.
fn child_of(key: u128, depth: u32) -> u32 {
    (key << depth >> (128 - STRIDE)) as u32
}

/// The bits that choose a child of a node at `depth`. The last step of IPv6 reaches two bits past the key's end, where the
/// look-up reads zeros: children that differ only there are alike.
fn child_bits(child: u32, depth: u32) -> u128 {
    let child = u128::from(child);
    match 128u32.checked_sub(depth + STRIDE) {
        Some(behind) => child << behind,
        None => child >> (depth + STRIDE - 128),
    }
}

/// The last key that shares its first `depth` bits with `first`.
fn last_of(first: u128, depth: u32) -> u128 {
    first | u128::MAX.checked_shr(depth).unwrap_or(0)
}

/// True if the next stretch begins at or before `last`.
fn begins_within(stretches: &[Stretch], at: usize, last: u128) -> bool {
    stretches.get(at + 1).is_some_and(|next| next.start <= last)
}

fn empty_root() -> Box<Root> {
    vec![0; TRIE_ROOT].into_boxed_slice().try_into().expect("the slice has the array's length")
}

#[cfg(test)]
mod tests {
    use filter_core::trie::{Tables, lookup};
    use proptest::{collection::vec, prelude::*, sample::Index};

    use super::*;

    impl Tables for &Tries {
        fn root(&self, trie: Trie, index: u16) -> u32 {
            self.roots[trie as usize][usize::from(index)]
        }

        fn node(&self, index: u32) -> Option<&Node> {
            self.nodes.get(index as usize)
        }

        fn leaf(&self, index: u32) -> Option<u32> {
            self.leaves.get(index as usize).copied()
        }
    }

    fn find(tries: &Tries, trie: Trie, key: u128) -> u32 {
        lookup(&tries, trie, (key >> 64) as u64, key as u64)
    }

    fn mask(length: u8) -> u128 {
        !u128::MAX.checked_shr(u32::from(length)).unwrap_or(0)
    }

    /// The item of the longest prefix that holds the key; 0 for none.
    fn naive(entries: &[Entry], key: u128) -> u32 {
        let holding = entries.iter().filter(|entry| key & mask(entry.length) == entry.key);
        holding.max_by_key(|entry| (entry.length, entry.item)).map_or(0, |entry| entry.item)
    }

    /// Entries whose keys differ mostly in few bits, so that they nest, abut and repeat.
    fn entries(lengths: impl Strategy<Value = u8> + Clone, width: u32) -> impl Strategy<Value = Vec<Entry>> {
        let key = (prop::sample::select(vec![0u128, 1, 0x0a00_0000, 0xffff_ffff, u128::MAX]), any::<u128>(), 0..=width)
            .prop_map(move |(base, random, same)| {
                let base = if base == u128::MAX { base } else { base << (128 - width) };
                (base & mask(same as u8)) | (random & !mask(same as u8)) & mask(width as u8)
            });
        vec((key, lengths, 1..5u32), 0..60).prop_map(|entries| {
            entries.into_iter().map(|(key, length, item)| Entry { key: key & mask(length), length, item }).collect()
        })
    }

    /// Keys in, just before and just behind the entries, and others.
    fn keys(entries: &[Entry], width: u32, others: &[(u128, Index)]) -> Vec<u128> {
        let unit = 1u128 << (128 - width);
        let mut keys = vec![0, mask(width as u8)];
        for entry in entries {
            let last = (entry.key | !mask(entry.length)) & mask(width as u8);
            keys.extend([entry.key, entry.key.wrapping_sub(unit), last, last.wrapping_add(unit)]);
        }
        for (random, index) in others {
            keys.push(random & mask(width as u8));
            if !entries.is_empty() {
                let entry = index.get(entries);
                keys.push((entry.key | (random & !mask(entry.length))) & mask(width as u8));
            }
        }
        keys
    }

    fn agrees(trie: Trie, width: u32, entries: Vec<Entry>, others: Vec<(u128, Index)>) -> Result<(), TestCaseError> {
        // The last item that is added wins.
        let stretches = flatten(entries.clone(), 0, |_, item| item);
        let mut tries = Tries::new();
        // Another trie in the same tables must not be in the way.
        tries.build(Trie::Ipv4, &flatten(vec![Entry { key: 1 << 96, length: 32, item: 9 }], 7, |_, item| item));
        tries.build(trie, &stretches);
        for key in keys(&entries, width, &others) {
            prop_assert_eq!(find(&tries, trie, key), naive(&entries, key), "key {:#034x}", key);
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn an_ipv4_look_up_finds_the_longest_prefix(
            entries in entries(0..=32u8, 32),
            others in vec((any::<u128>(), any::<Index>()), 50),
        ) {
            agrees(Trie::Ipv4, 32, entries, others)?;
        }

        #[test]
        fn an_ipv6_look_up_finds_the_longest_prefix(
            entries in entries(0..=128u8, 128),
            others in vec((any::<u128>(), any::<Index>()), 50),
        ) {
            agrees(Trie::Ipv6, 128, entries, others)?;
        }

        #[test]
        fn a_number_look_up_finds_the_longest_prefix(
            entries in entries((0..=16u8).prop_map(|nibbles| 4 * nibbles), 64),
            others in vec((any::<u128>(), any::<Index>()), 50),
        ) {
            agrees(Trie::Number, 64, entries, others)?;
        }

        #[test]
        fn items_of_all_covering_prefixes_add_up(
            entries in entries(0..=32u8, 32),
            others in vec((any::<u128>(), any::<Index>()), 50),
        ) {
            let stretches = flatten(entries.clone(), 0, |state, item| state | 1 << item);
            for key in keys(&entries, 32, &others) {
                let found = stretches[stretches.partition_point(|stretch| stretch.start <= key) - 1].value;
                let holding = entries.iter().filter(|entry| key & mask(entry.length) == entry.key);
                prop_assert_eq!(found, holding.fold(0, |state, entry| state | 1 << entry.item));
            }
            prop_assert!(stretches.windows(2).all(|pair| pair[0].start < pair[1].start && pair[0].value != pair[1].value));
        }
    }

    #[test]
    fn an_inner_child_does_not_end_a_run_of_leaves() {
        // One address in the middle of a /16: in the node of its /16 (children of /22) all other children are one run.
        let entries = vec![Entry { key: 0x0a00_8001 << 96, length: 32, item: 1 }];
        let mut tries = Tries::new();
        tries.build(Trie::Ipv4, &flatten(entries, 5, |_, item| item));
        let top = tries.nodes[(tries.roots[0][0x0a00] & !ROOT_IS_NODE) as usize];
        assert_eq!(top.inner, 1 << 32);
        assert_eq!(top.leaf_starts, 1);
        assert_eq!(find(&tries, Trie::Ipv4, 0x0a00_8000 << 96), 5);
        assert_eq!(find(&tries, Trie::Ipv4, 0x0a00_8001 << 96), 1);
        assert_eq!(find(&tries, Trie::Ipv4, 0x0a00_ffff << 96), 5);
    }

    #[test]
    fn equal_neighbours_need_no_node() {
        let halves = [0u128, 1].map(|half| Entry { key: 0x0a00_0000 << 96 | half << 96, length: 32, item: 3 });
        let mut tries = Tries::new();
        tries.build(Trie::Ipv4, &flatten(halves.to_vec(), 3, |_, item| item));
        assert!(tries.nodes.is_empty());
        assert!(tries.roots[0].iter().all(|&entry| entry == 3));
    }
}
