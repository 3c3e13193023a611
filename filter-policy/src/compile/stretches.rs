//! Stretches of the key space: prefixes, cut into runs of keys with equal value.
//!
//! Keys are left-aligned in 128 bits, so that addresses and numbers share this code.

/// A prefix that belongs to an item (a list, a number range).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    /// The prefix's bits, left-aligned; zero after its length.
    pub key: u128,
    /// Bits of the prefix.
    pub length: u8,
    /// Number of the item, as the caller counts them.
    pub item: u32,
}

/// Every key from `start` up to the next stretch's start has this value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    /// First key, left-aligned.
    pub start: u128,
    /// The state of the keys, or what [`relabel`] replaced it with.
    pub value: u32,
}

/// Cuts the key space into stretches of equal state.
///
/// The state of a key results from `initial` by adding, with `add`, the items of all prefixes that cover the key: shorter
/// prefixes first, the items of one prefix in ascending order.
pub(super) fn flatten(mut entries: Vec<Entry>, initial: u32, mut add: impl FnMut(u32, u32) -> u32) -> Vec<Stretch> {
    // In this order, a prefix comes directly before everything that it covers.
    entries.sort_unstable();
    entries.dedup();
    let mut stretches = Stretches { stretches: Vec::with_capacity(entries.len() + 1) };
    stretches.push(0, initial);
    // The prefixes that cover the current key, outermost first: each one's last key, and state.
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

/// Ends the open prefixes that lie wholly before `key`; all of them if it is None.
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

/// The distinct values of stretches, in order of first appearance. All must be less than `count`.
pub(super) fn values_of<'a>(stretches: impl Iterator<Item = &'a Stretch>, count: usize) -> Vec<u32> {
    let mut seen = vec![false; count];
    let unseen = |value: &u32| !std::mem::replace(&mut seen[*value as usize], true);
    stretches.map(|stretch| stretch.value).filter(unseen).collect()
}

/// Gives every stretch a new value and merges neighbours that become equal.
pub(super) fn relabel(stretches: &mut Vec<Stretch>, value: impl Fn(u32) -> u32) {
    stretches.iter_mut().for_each(|stretch| stretch.value = value(stretch.value));
    stretches.dedup_by_key(|stretch| stretch.value);
}

struct Stretches {
    stretches: Vec<Stretch>,
}

impl Stretches {
    /// Begins a stretch. An earlier one that begins at the same key is empty and is removed.
    fn push(&mut self, start: u128, value: u32) {
        if self.stretches.last().is_some_and(|last| last.start == start) {
            self.stretches.pop();
        }
        if self.stretches.last().is_none_or(|last| last.value != value) {
            self.stretches.push(Stretch { start, value });
        }
    }
}
