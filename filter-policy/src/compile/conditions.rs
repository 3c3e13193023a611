//! What conditions on lists have in common.

use std::{collections::HashMap, sync::Arc};

/// The lists that rules name, each once.
pub(super) struct Lists<T> {
    /// The lists, by id.
    pub lists: Vec<Arc<T>>,
    ids: HashMap<*const T, u32>,
}

/// True if two sequences of lists have the same entries.
pub(super) fn same<'a, T: 'a, E: PartialEq>(
    one: impl ExactSizeIterator<Item = &'a Arc<T>>,
    other: impl ExactSizeIterator<Item = &'a Arc<T>>,
    entries: impl Fn(&T) -> &[E],
) -> bool {
    // Equal addresses mean the same list: both sides keep theirs alive, so neither allocation can have been reused.
    one.len() == other.len()
        && one.zip(other).all(|(one, other)| Arc::ptr_eq(one, other) || entries(one) == entries(other))
}

impl<T> Default for Lists<T> {
    fn default() -> Self {
        Self { lists: Vec::new(), ids: HashMap::new() }
    }
}

impl<T> Lists<T> {
    /// The list's id. Lists are identified by their address: `lists` keeps them allocated.
    pub(super) fn id(&mut self, list: &Arc<T>) -> u32 {
        *self.ids.entry(Arc::as_ptr(list)).or_insert_with(|| {
            self.lists.push(Arc::clone(list));
            (self.lists.len() - 1) as u32
        })
    }
}
