//! What is common to the conditions over lists.

use std::{collections::HashMap, sync::Arc};

/// The lists that rules name; one that several name is there once.
pub struct Lists<T> {
    /// The lists, by id.
    pub lists: Vec<Arc<T>>,
    ids: HashMap<*const T, u32>,
}

/// True if two sequences of lists hold the same.
pub fn same<'a, T: 'a, E: PartialEq>(
    one: impl ExactSizeIterator<Item = &'a Arc<T>>,
    other: impl ExactSizeIterator<Item = &'a Arc<T>>,
    entries: impl Fn(&T) -> &[E],
) -> bool {
    // A list that lies where the other one does is that one: both are held, so that neither place can have been given away.
    one.len() == other.len()
        && one.zip(other).all(|(one, other)| Arc::ptr_eq(one, other) || entries(one) == entries(other))
}

impl<T> Default for Lists<T> {
    fn default() -> Self {
        Self { lists: Vec::new(), ids: HashMap::new() }
    }
}

impl<T> Lists<T> {
    /// The list's id. Lists are told apart by where they lie: `lists` keeps them there.
    pub fn id(&mut self, list: &Arc<T>) -> u32 {
        *self.ids.entry(Arc::as_ptr(list)).or_insert_with(|| {
            self.lists.push(Arc::clone(list));
            (self.lists.len() - 1) as u32
        })
    }
}
