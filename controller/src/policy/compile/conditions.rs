//! What is common to the conditions over lists.

use std::{collections::HashMap, sync::Arc};

/// The lists that rules name; one that several name is there once.
pub struct Lists<T> {
    /// The lists, by id.
    pub lists: Vec<Arc<T>>,
    ids: HashMap<*const T, u32>,
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
