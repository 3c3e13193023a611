//! Building the tries: from stretches of equal value to a poptrie.

use std::{
    hash::{Hash, Hasher},
    ops::RangeInclusive,
};

use filter_core::{
    layout::{IS_NODE, IS_PATH, MAX_PATH, Node, Roots, Trie},
    trie::STRIDE,
};
use rustc_hash::{FxHashMap, FxHasher};
use zerocopy::FromZeros as _;

use super::stretches::Stretch;

/// The tables of all tries.
pub(super) struct Tries {
    pub roots: Box<Roots>,
    pub nodes: Vec<Node>,
    pub leaves: Vec<u32>,
    /// Hash of a run of leaves -> its index.
    known_leaves: FxHashMap<u64, u32>,
    /// Hash of a run of nodes -> its index.
    known_nodes: FxHashMap<u64, u32>,
    /// Nodes whose siblings are not complete yet: a stack of runs.
    pending: Vec<Node>,
}

impl Tries {
    pub(super) fn new() -> Self {
        Self {
            roots: Roots::new_box_zeroed().expect("there is memory for the root tables"),
            nodes: Vec::new(),
            leaves: Vec::new(),
            known_leaves: FxHashMap::default(),
            known_nodes: FxHashMap::default(),
            pending: Vec::new(),
        }
    }

    /// Fills a trie. The first stretch must begin at key 0.
    pub(super) fn build(&mut self, trie: Trie, stretches: &[Stretch]) {
        let bits = trie.root_bits();
        let entries = 1usize << bits;
        let first_of = |index: usize| (index as u128) << (128 - bits);
        let (mut index, mut at) = (0, 0);
        while index < entries {
            if stretches.get(at + 1).is_some_and(|next| next.start == first_of(index)) {
                at += 1;
            }
            // All entries up to the one in which the next stretch begins belong to this stretch.
            let changes = stretches.get(at + 1).map_or(entries, |next| (next.start >> (128 - bits)) as usize);
            root_of(&mut self.roots, trie)[index..changes].fill(stretches[at].value);
            index = changes;
            if index < entries && stretches[at + 1].start != first_of(index) {
                let entry;
                (entry, at) = self.entry(stretches, at, first_of(index), bits);
                root_of(&mut self.roots, trie)[index] = entry;
                index += 1;
            }
        }
    }

    /// Builds the entry for the keys that share their first `depth` bits with `first`: a class, or a node. `at` is the stretch
    /// that holds `first`; the one that holds the last of the keys is returned with the entry.
    fn entry(&mut self, stretches: &[Stretch], at: usize, first: u128, depth: u32) -> (u32, usize) {
        if !begins_within(stretches, at, last_of(first, depth)) {
            return (stretches[at].value, at);
        }
        let pending = self.pending.len();
        let end = self.push_node(stretches, at, first, depth);
        (self.place_nodes(pending) | IS_NODE, end)
    }

    /// Builds the node for the keys that share their first `depth` bits with `first` and differ in value, and pushes it onto the
    /// pending ones. `at` is the stretch that holds `first`; returns the one that holds the last of the keys.
    fn push_node(&mut self, stretches: &[Stretch], at: usize, first: u128, depth: u32) -> usize {
        let end = last_begin(stretches, at, last_of(first, depth));
        match Path::find(stretches, at..=end, first, depth) {
            Some(path) => {
                let (entry, _) = self.entry(stretches, path.at, path.first, depth + path.bits);
                let mask = !(u64::MAX >> path.bits);
                let expected = (path.first << depth >> 64) as u64 & mask;
                self.pending.push(Node {
                    inner: expected | u64::from(path.bits),
                    leaf_starts: mask,
                    leaves: path.otherwise | IS_PATH,
                    nodes: entry,
                });
            }
            None => self.push_branch(stretches, at, first, depth),
        }
        end
    }

    /// Builds a node with 64 children, as described at [`Self::push_node`].
    fn push_branch(&mut self, stretches: &[Stretch], mut at: usize, first: u128, depth: u32) {
        const CHILDREN: u32 = 1 << STRIDE;
        let last = last_of(first, depth);
        let (mut inner, mut leaf_starts) = (0u64, 0u64);
        let mut leaves = [0; CHILDREN as usize];
        let mut leaf_count = 0;
        let pending = self.pending.len();
        // All children before this one are done; `at` is the stretch that holds this one's first key.
        let mut child = 0;
        while child < CHILDREN {
            let next = stretches.get(at + 1).filter(|next| next.start <= last);
            let changes = next.map_or(CHILDREN, |next| child_of(next.start, depth));
            if child < changes {
                let value = stretches[at].value;
                // Inner children do not end a run.
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
        let nodes = self.place_nodes(pending) | IS_NODE;
        let leaves = self.place_leaves(&leaves[..leaf_count]);
        // The first run needs no mark. The others are marked one child early, so that the marks before a leaf count to its index.
        let leaf_starts = (leaf_starts & leaf_starts.wrapping_sub(1)) >> 1;
        self.pending.push(Node { inner, leaf_starts, leaves, nodes });
    }

    /// Copies these tries from `other`. They must be empty here.
    pub(super) fn append(&mut self, other: &Self, tries: &[Trie]) {
        let (nodes, leaves) = (self.nodes.len() as u32, self.leaves.len() as u32);
        let moved = |entry: u32| if entry & IS_NODE == 0 { entry } else { entry + nodes };
        self.nodes.extend(other.nodes.iter().map(|node| {
            // A path has a class where a branch has leaves.
            let leaves = if node.leaves & IS_PATH == 0 { node.leaves + leaves } else { node.leaves };
            Node { nodes: moved(node.nodes), leaves, ..*node }
        }));
        self.leaves.extend_from_slice(&other.leaves);
        for &trie in tries {
            let filled = other.roots.of(trie).iter().map(|&entry| moved(entry));
            root_of(&mut self.roots, trie).iter_mut().zip(filled).for_each(|(entry, filled)| *entry = filled);
        }
    }

    /// Drops what only building needs.
    pub(super) fn finish(&mut self) {
        (self.known_leaves, self.known_nodes, self.pending) = Default::default();
    }

    /// Moves the pending nodes from `from` on to their final place; returns the index of the first one.
    ///
    /// Equal runs are stored once. Long lists of single values end in chains of nodes with one child: there are millions of
    /// these but few different ones, so the tables become several times smaller.
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

    /// Stores a run of leaves, or finds an equal one; returns the index of the first leaf.
    fn place_leaves(&mut self, run: &[u32]) -> u32 {
        let index = *self.known_leaves.entry(hash(run.iter())).or_insert(self.leaves.len() as u32);
        if self.leaves.get(index as usize..index as usize + run.len()) == Some(run) {
            return index;
        }
        self.leaves.extend_from_slice(run);
        (self.leaves.len() - run.len()) as u32
    }
}

/// A run of bits shared by all keys except those of one common value.
struct Path {
    /// How many bits.
    bits: u32,
    /// First key with these bits, and the stretch that holds it.
    first: u128,
    at: usize,
    /// The value of all keys without these bits.
    otherwise: u32,
}

impl Path {
    /// The longest path for the keys that share their first `depth` bits with `first`, if a path is shorter than branches would
    /// be. The keys are in the given stretches, of which there are at least two.
    fn find(stretches: &[Stretch], within: RangeInclusive<usize>, first: u128, depth: u32) -> Option<Self> {
        let (at, end) = within.into_inner();
        let (before, after) = (stretches[at].value, stretches[end].value);
        // The first and last key of another value. Adjacent stretches differ in value, so these bounds are exact.
        let lowest = stretches[at + 1].start;
        let highest = stretches[end].start - 1;
        let candidates = if before == after {
            [(lowest, highest, before); 2]
        } else {
            [(first, highest, after), (lowest, last_of(first, depth), before)]
        };
        let common = |(low, high, _): &(u128, u128, u32)| (low ^ high).leading_zeros();
        let (low, high, otherwise) = candidates.into_iter().max_by_key(common)?;
        let wanted = common(&(low, high, otherwise)).saturating_sub(depth);
        let bits = wanted.min(MAX_PATH);
        let first = low & !last_of(0, depth + bits);
        let at = at + stretches[at + 1..=end].partition_point(|stretch| stretch.start <= first);
        // In fewer bits than a branch's only one that ends in a value saves a node.
        let ends = !begins_within(stretches, at, last_of(first, depth + bits));
        (bits >= STRIDE || bits > 0 && ends).then_some(Self { bits, first, at, otherwise })
    }
}

fn root_of(roots: &mut Roots, trie: Trie) -> &mut [u32] {
    match trie {
        Trie::Ipv4 => &mut roots.ipv4,
        Trie::Ipv6 => &mut roots.ipv6,
        Trie::Number => &mut roots.number,
    }
}

fn content(node: &Node) -> [u64; 3] {
    [node.inner, node.leaf_starts, u64::from(node.leaves) << 32 | u64::from(node.nodes)]
}

/// A collision only stores a run twice, so any hash will do.
fn hash(run: impl ExactSizeIterator<Item = impl Hash>) -> u64 {
    let mut hasher = FxHasher::default();
    // FxHasher ignores leading zeros.
    hasher.write_usize(run.len());
    run.for_each(|item| item.hash(&mut hasher));
    hasher.finish()
}

/// The child of a node at `depth` that a key belongs to.
fn child_of(key: u128, depth: u32) -> u32 {
    (key << depth >> (128 - STRIDE)) as u32
}

/// The bits that select a child of a node at `depth`. The last step of IPv6 reaches two bits past the key's end, where the
/// look-up reads zeros: children that differ only there are equal.
fn child_bits(child: u32, depth: u32) -> u128 {
    let child = u128::from(child);
    match 128u32.checked_sub(depth + STRIDE) {
        Some(remaining) => child << remaining,
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

/// The last stretch that begins at or before `last`, given one (`at`) that does.
fn last_begin(stretches: &[Stretch], at: usize, last: u128) -> usize {
    // It is usually near: double the distance until it is too far, then bisect.
    let mut distance = 1;
    while begins_within(stretches, at + distance - 1, last) {
        distance *= 2;
    }
    let from = at + distance / 2;
    let to = (at + distance).min(stretches.len());
    from + stretches[from..to].partition_point(|stretch| stretch.start <= last) - 1
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use filter_core::trie::{Tables, lookup};
    use proptest::{collection::vec, prelude::*, sample::Index, test_runner::TestRunner};

    use super::{
        super::stretches::{Entry, flatten},
        *,
    };

    impl Tables for &Tries {
        fn root(&self, trie: Trie, index: usize) -> u32 {
            self.roots.of(trie)[index]
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

    /// Entries whose keys mostly differ in few bits, so that many nest, abut or repeat.
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

    /// Keys in, just before and just after the entries, and others.
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
        // Another trie in the same tables must not interfere.
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

    fn is_path(node: &Node) -> bool {
        node.leaves & IS_PATH != 0
    }

    /// A trie with a single entry.
    fn single(trie: Trie, key: u128, length: u8) -> Tries {
        let mut tries = Tries::new();
        tries.build(trie, &flatten(vec![Entry { key, length, item: 1 }], 5, |_, item| item));
        tries
    }

    /// A key, and entries that diverge from it at some bit or not at all: chains, branches at every bit, and classes that
    /// change on the way.
    fn chains(width: u32, unit: u32) -> impl Strategy<Value = (u128, Vec<Entry>)> {
        let units = width / unit;
        let entry = (1..=units, prop::option::of(0..width), 1..4u32);
        (any::<u128>(), vec(entry, 1..8)).prop_map(move |(key, entries)| {
            let key = key & mask(width as u8);
            let entry = |(length, leaves_at, item): (u32, Option<u32>, u32)| {
                let length = (length * unit) as u8;
                let key = leaves_at.map_or(key, |bit| key ^ 1 << (127 - bit));
                Entry { key: key & mask(length), length, item }
            };
            (key, entries.into_iter().map(entry).collect())
        })
    }

    /// The kinds of nodes that occurred in generated tries.
    #[derive(Default)]
    struct Seen {
        to_a_class: Cell<u32>,
        to_a_branch: Cell<u32>,
        to_a_path: Cell<u32>,
        longest: Cell<u32>,
        /// Paths whose mismatches have a class other than the default one.
        otherwise: Cell<u32>,
    }

    impl Seen {
        fn count(&self, nodes: &[Node]) {
            let add = |counter: &Cell<u32>| counter.set(counter.get() + 1);
            for path in nodes.iter().filter(|node| is_path(node)) {
                match path.nodes & IS_NODE != 0 {
                    false => add(&self.to_a_class),
                    true if is_path(&nodes[(path.nodes & !IS_NODE) as usize]) => add(&self.to_a_path),
                    true => add(&self.to_a_branch),
                }
                self.longest.set(self.longest.get().max((path.inner & 63) as u32));
                if path.leaves & !IS_PATH != 0 {
                    add(&self.otherwise);
                }
            }
        }
    }

    /// Looks up every key that differs from the chain's in one bit, with the original and with random bits after it.
    fn chains_agree(trie: Trie, unit: u32, cases: u32) -> Seen {
        let (width, seen) = (trie.key_bits(), Seen::default());
        let mut runner = TestRunner::new(ProptestConfig::with_cases(cases));
        let result = runner.run(&(chains(width, unit), any::<u128>()), |((key, entries), random)| {
            let mut tries = Tries::new();
            tries.build(trie, &flatten(entries.clone(), 0, |_, item| item));
            seen.count(&tries.nodes);
            let leaving = (0..width).flat_map(|bit| {
                let leaving = key ^ 1 << (127 - bit);
                [leaving, leaving ^ random & !mask(bit as u8 + 1) & mask(width as u8)]
            });
            // After other tables, its nodes and leaves have other indices.
            let mut moved = Tries::new();
            moved.nodes.resize(3, Node { inner: 0, leaf_starts: 0, leaves: 0, nodes: 0 });
            moved.leaves.resize(5, 9);
            moved.append(&tries, &[trie]);
            for key in leaving.chain([key]).chain(keys(&entries, width, &[])) {
                prop_assert_eq!(find(&tries, trie, key), naive(&entries, key), "key {:#034x}", key);
                prop_assert_eq!(find(&moved, trie, key), naive(&entries, key), "moved, key {:#034x}", key);
            }
            Ok(())
        });
        result.unwrap_or_else(|error| panic!("{error}"));
        seen
    }

    #[test]
    fn a_look_up_leaves_a_chain_at_every_bit() {
        for (trie, unit) in [(Trie::Ipv4, 1), (Trie::Ipv6, 1), (Trie::Number, 4)] {
            let seen = chains_agree(trie, unit, 400);
            // The test is only meaningful if its tries have all these shapes.
            assert!(seen.to_a_class.get() > 100, "{trie:?}");
            assert!(seen.otherwise.get() > 100, "{trie:?}");
            if trie != Trie::Ipv4 {
                // An IPv4 key has too few bits after the root table.
                assert!(seen.to_a_branch.get() > 20, "{trie:?}");
                assert!(seen.to_a_path.get() > 20, "{trie:?}");
            }
            let longest = MAX_PATH.min(trie.key_bits() - trie.root_bits());
            assert_eq!(seen.longest.get(), longest, "{trie:?}");
        }
    }

    #[test]
    fn a_single_value_takes_one_node_for_each_58_bits() {
        for (trie, key, nodes) in [(Trie::Ipv4, 0x0a00_8001 << 96, 1), (Trie::Ipv6, 0x2001_0db8_u128 << 96 | 7, 2)] {
            let width = trie.key_bits();
            let tries = single(trie, key, width as u8);
            assert_eq!(tries.nodes.len(), nodes, "{trie:?}");
            assert!(tries.nodes.iter().all(is_path));
            assert!(tries.leaves.is_empty());
            assert_eq!(find(&tries, trie, key), 1);
            for bit in 0..width {
                assert_eq!(find(&tries, trie, key ^ 1 << (127 - bit)), 5, "{trie:?}, bit {bit}");
            }
        }
    }

    #[test]
    fn a_path_ends_where_the_class_of_mismatches_changes() {
        // A number in a block of another class, in the default class: two paths in a row.
        let (block, number) = (0x1212_5550 << 96, 0x1212_5550_123f_0000_u128 << 64);
        let entries = vec![Entry { key: block, length: 32, item: 1 }, Entry { key: number, length: 48, item: 2 }];
        let mut tries = Tries::new();
        tries.build(Trie::Number, &flatten(entries, 5, |_, item| item));
        assert_eq!(tries.nodes.iter().map(|path| path.leaves).collect::<Vec<_>>(), [IS_PATH | 1, IS_PATH | 5]);
        assert_eq!(find(&tries, Trie::Number, number), 2);
        assert_eq!(find(&tries, Trie::Number, number ^ 1 << 80), 1);
        assert_eq!(find(&tries, Trie::Number, number ^ 1 << 96), 5);
    }

    #[test]
    fn a_look_up_in_an_incomplete_table_finds_class_0() {
        let (low, high) = (0x1212_0000 << 96, 0x1212_8000 << 96);
        let entries = [low, high].map(|key| Entry { key, length: 32, item: 1 });
        let mut tries = Tries::new();
        tries.build(Trie::Number, &flatten(entries.to_vec(), 5, |_, item| item));
        let without_leaves = Tries { leaves: Vec::new(), ..tries };
        assert_eq!(find(&without_leaves, Trie::Number, 0x1212_4000 << 96), 0);
        let without_nodes = Tries { nodes: Vec::new(), ..without_leaves };
        assert_eq!(find(&without_nodes, Trie::Number, low), 0);
        assert_eq!(find(&without_nodes, Trie::Number, 0), 5);
    }

    #[test]
    fn an_inner_child_does_not_end_a_run_of_leaves() {
        // Two addresses in the middle of a /20: in its node (children of /26) all other children are one run.
        let (one, other) = (0x0a00_0801 << 96, 0x0a00_0c01 << 96);
        let entries = [one, other].map(|key| Entry { key, length: 32, item: 1 });
        let mut tries = Tries::new();
        tries.build(Trie::Ipv4, &flatten(entries.to_vec(), 5, |_, item| item));
        let top = tries.nodes[(tries.roots.ipv4[0x0a000] & !IS_NODE) as usize];
        assert_eq!(top.inner, 1 << 32 | 1 << 48);
        assert_eq!(top.leaf_starts, 0);
        assert_eq!(find(&tries, Trie::Ipv4, 0x0a00_0800 << 96), 5);
        assert_eq!(find(&tries, Trie::Ipv4, one), 1);
        assert_eq!(find(&tries, Trie::Ipv4, 0x0a00_0a00 << 96), 5);
        assert_eq!(find(&tries, Trie::Ipv4, other), 1);
        assert_eq!(find(&tries, Trie::Ipv4, 0x0a00_0fff << 96), 5);
    }

    #[test]
    fn equal_neighbours_need_no_node() {
        let halves = [0u128, 1].map(|half| Entry { key: 0x0a00_0000 << 96 | half << 96, length: 32, item: 3 });
        let mut tries = Tries::new();
        tries.build(Trie::Ipv4, &flatten(halves.to_vec(), 3, |_, item| item));
        assert!(tries.nodes.is_empty());
        assert!(tries.roots.ipv4.iter().all(|&entry| entry == 3));
    }
}
