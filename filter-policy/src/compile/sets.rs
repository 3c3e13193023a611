//! Interned sets and values: each is stored once and identified by an index.

use rustc_hash::FxHashMap;

/// Interned sets of list ids. Set 0 is the empty one.
pub(super) struct Sets {
    sets: Vec<Box<[u32]>>,
    index: FxHashMap<Box<[u32]>, u32>,
    /// (set, item) -> the set with the item.
    added: FxHashMap<(u32, u32), u32>,
    /// The last question and its answer: neighbouring list entries usually ask the same.
    last: Option<((u32, u32), u32)>,
}

impl Sets {
    pub(super) fn new() -> Self {
        let empty: Box<[u32]> = Box::default();
        Self {
            sets: vec![empty.clone()],
            index: FxHashMap::from_iter([(empty, 0)]),
            added: FxHashMap::default(),
            last: None,
        }
    }

    /// The set with one more item.
    pub(super) fn with(&mut self, set: u32, item: u32) -> u32 {
        if let Some((question, answer)) = self.last
            && question == (set, item)
        {
            return answer;
        }
        let answer = match self.added.get(&(set, item)) {
            Some(&answer) => answer,
            None => {
                let answer = self.intern_with(set, item);
                self.added.insert((set, item), answer);
                answer
            }
        };
        self.last = Some(((set, item), answer));
        answer
    }

    /// The items of a set, ascending.
    pub(super) fn items(&self, set: u32) -> &[u32] {
        &self.sets[set as usize]
    }

    /// How many sets there are.
    pub(super) fn len(&self) -> usize {
        self.sets.len()
    }

    fn intern_with(&mut self, set: u32, item: u32) -> u32 {
        let items = &self.sets[set as usize];
        let Err(place) = items.binary_search(&item) else { return set };
        let mut larger = Vec::with_capacity(items.len() + 1);
        larger.extend_from_slice(&items[..place]);
        larger.push(item);
        larger.extend_from_slice(&items[place..]);
        let larger = larger.into_boxed_slice();
        if let Some(&known) = self.index.get(&larger) {
            return known;
        }
        let index = self.sets.len() as u32;
        self.sets.push(larger.clone());
        self.index.insert(larger, index);
        index
    }
}

/// Interned values.
pub(super) struct Interned<T> {
    values: Vec<T>,
    index: FxHashMap<T, u32>,
}

impl<T: Clone + Eq + std::hash::Hash> Interned<T> {
    pub(super) fn new() -> Self {
        Self { values: Vec::new(), index: FxHashMap::default() }
    }

    /// The value's index.
    pub(super) fn intern(&mut self, value: T) -> u32 {
        match self.index.get(&value) {
            Some(&index) => index,
            None => self.push(value),
        }
    }

    /// Gives the value a new index even if an equal value has one. Later equal values get the newest index.
    pub(super) fn push(&mut self, value: T) -> u32 {
        let index = self.values.len() as u32;
        self.values.push(value.clone());
        self.index.insert(value, index);
        index
    }

    /// The value of an index.
    pub(super) fn value(&self, index: u32) -> &T {
        &self.values[index as usize]
    }

    /// All values, by index.
    pub(super) fn values(&self) -> &[T] {
        &self.values
    }
}
