//! What one build of a policy leaves for the next, so that only what changed takes time.
//!
//! In a policy with millions of entries, usually one list changes at a time. Everything cached here is a pure function of its
//! key, and the key holds every input: a list's key has its whole content (as SHA-256), a trie's key the entries themselves.
//! File names, sizes and times alone decide nothing, so no change to a file can be missed.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
};

use sha2::{Digest as _, Sha256};

use crate::{
    compile::CompileCache,
    language::diagnostics::Diagnostics,
    language::source::{Set, SetKind},
    lists::{Day, NumberForm},
    model::{AddressList, NumberList, NumberingPlan},
};

/// The lists and tries of the last policy that was built. Takes about as much memory as these do.
#[derive(Default)]
pub struct BuildCache {
    pub(super) lists: ListCache,
    pub(super) compiled: CompileCache,
}

/// The lists of the last policy, as they were read.
#[derive(Default)]
pub(super) struct ListCache {
    last: HashMap<ListKey, CachedList>,
    /// Those of the policy that is being read.
    next: HashMap<ListKey, CachedList>,
    /// The number of entries of each set in the last policy without errors.
    sizes: BTreeMap<String, usize>,
}

impl ListCache {
    /// The list with this key. It is now in use by the policy that is being read.
    pub(super) fn get(&mut self, key: &ListKey) -> Option<CachedList> {
        if let Some(list) = self.last.remove(key) {
            self.next.insert(key.clone(), list);
        }
        self.next.get(key).cloned()
    }

    /// Adds a list that was read.
    pub(super) fn insert(&mut self, key: ListKey, list: CachedList) {
        self.next.insert(key, list);
    }

    /// The number of entries that a set had in the last policy without errors.
    pub(super) fn size(&self, set: &str) -> Option<usize> {
        self.sizes.get(set).copied()
    }

    /// Ends the reading of a policy without errors, whose sets have these numbers of entries.
    pub(super) fn keep_sizes(&mut self, sizes: BTreeMap<String, usize>) {
        self.sizes = sizes;
    }

    /// Ends the reading of a policy: lists that it did not use are dropped.
    pub(super) fn evict_unused(&mut self) {
        self.last = std::mem::take(&mut self.next);
    }
}

/// A list that was read, with the diagnostics about it.
#[derive(Clone)]
pub(super) struct CachedList {
    pub(super) entries: CachedEntries,
    pub(super) diagnostics: Diagnostics,
}

#[derive(Clone)]
pub(super) enum CachedEntries {
    Addresses(Arc<AddressList>),
    Numbers { list: Arc<NumberList>, scored: bool },
}

/// Everything that reading a list depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ListKey {
    content: [u8; 32],
    /// Its extension decides the format, and diagnostics name it.
    file: String,
    kind: SetKind,
    name: String,
    label: Option<String>,
    national: bool,
    plan: NumberingPlan,
    /// Decides which entries have expired.
    today: Day,
}

impl ListKey {
    pub(super) fn new(set: &Set, file: &Path, content: &[u8], form: &NumberForm<'_>, today: Day) -> Self {
        Self {
            content: Sha256::digest(content).into(),
            file: file.display().to_string(),
            kind: set.kind,
            name: set.name.value.clone(),
            label: set.label.as_ref().map(|label| label.value.clone()),
            national: form.national,
            plan: form.plan.clone(),
            today,
        }
    }
}
