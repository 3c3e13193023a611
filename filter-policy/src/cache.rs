//! What is known from the last time a policy was built, so that the next time only what changed takes time.
//!
//! Of a policy with millions of entries, mostly one list changes at a time. Everything here is a pure function of the key that
//! it is kept under, and the keys hold all that goes into it: a list's key has its whole content (as SHA-256), a trie's key the
//! entries themselves. Names, sizes and times of files are in no key, so that no change of a file can be missed.

use std::{collections::HashMap, path::Path, sync::Arc};

use sha2::{Digest as _, Sha256};

use crate::{
    compile,
    language::diagnostics::Diagnostics,
    language::source::{Set, SetKind},
    lists::{Day, NumberForm},
    model::{AddressList, NumberList},
};

/// What the last build left for the next one: the lists and tries of the last policy. Takes about as much memory as these.
#[derive(Default)]
pub struct Known {
    pub(super) lists: KnownLists,
    pub(super) compiled: compile::Known,
}

/// The lists of the last policy, as they were read.
#[derive(Default)]
pub(super) struct KnownLists {
    last: HashMap<Key, ReadList>,
    /// Those of the policy that is being read.
    next: HashMap<Key, ReadList>,
}

impl KnownLists {
    /// The list that is kept under the key.
    pub(super) fn find(&mut self, key: &Key) -> Option<ReadList> {
        if let Some(list) = self.last.remove(key) {
            self.next.insert(key.clone(), list);
        }
        self.next.get(key).cloned()
    }

    /// Keeps a list that was read.
    pub(super) fn keep(&mut self, key: Key, list: ReadList) {
        self.next.insert(key, list);
    }

    /// Ends the reading of a policy: what it did not have is let go.
    pub(super) fn finish(&mut self) {
        self.last = std::mem::take(&mut self.next);
    }
}

/// A list that was read, and what was said of it.
#[derive(Clone)]
pub(super) struct ReadList {
    pub(super) entries: ReadEntries,
    pub(super) told: Diagnostics,
}

#[derive(Clone)]
pub(super) enum ReadEntries {
    Addresses(Arc<AddressList>),
    Numbers { list: Arc<NumberList>, scored: bool },
}

/// All that reading a list depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    content: [u8; 32],
    /// Its ending says what it is, and what is told names it.
    file: String,
    kind: SetKind,
    name: String,
    label: Option<String>,
    national: bool,
    country_code: String,
    national_prefix: String,
    /// Decides what has expired.
    today: Day,
}

impl Key {
    pub(super) fn new(set: &Set, file: &Path, content: &[u8], form: &NumberForm<'_>, today: Day) -> Self {
        Self {
            content: Sha256::digest(content).into(),
            file: file.display().to_string(),
            kind: set.kind,
            name: set.name.value.clone(),
            label: set.label.as_ref().map(|label| label.value.clone()),
            national: form.national,
            country_code: form.country_code.to_owned(),
            national_prefix: form.national_prefix.to_owned(),
            today,
        }
    }
}
