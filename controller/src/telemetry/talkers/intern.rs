//! Texts that many samples share, each kept once and as long as a sample has it.

use std::{collections::HashMap, sync::Arc};

/// The most texts that are kept of those that senders choose.
pub(super) const MOST: usize = 1 << 14;

/// What texts are called for which there is no room.
pub(super) const OTHERS: &str = "(others)";

/// A text, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key(u32);

impl Key {
    /// No text.
    pub(super) const NONE: Self = Self(0);
    /// A text for which there was no room.
    const OTHERS: Self = Self(u32::MAX);
}

/// The texts, and how many samples have each.
#[derive(Debug, Default)]
pub(super) struct Interner {
    keys: HashMap<Arc<str>, Key>,
    /// By key less one. Those that no sample has are free.
    texts: Vec<(Arc<str>, u32)>,
    free: Vec<Key>,
}

impl Interner {
    /// The key of a text that the sender has chosen, for one more sample.
    pub(super) fn key_of_sender(&mut self, text: &str) -> Key {
        if self.keys.len() >= MOST && !self.keys.contains_key(text) {
            return Key::OTHERS;
        }
        self.key(text)
    }

    /// The key of a text of the policy or the program, for one more sample. There is always room: there are few, and no sender may take their
    /// places.
    pub(super) fn key(&mut self, text: &str) -> Key {
        if let Some(&key) = self.keys.get(text) {
            if let Some((_, samples)) = self.entry(key) {
                *samples += 1;
            }
            return key;
        }
        let text: Arc<str> = text.into();
        let key = self.free.pop().unwrap_or(Key(self.texts.len() as u32 + 1));
        match self.entry(key) {
            Some(entry) => *entry = (Arc::clone(&text), 1),
            None => self.texts.push((Arc::clone(&text), 1)),
        }
        self.keys.insert(text, key);
        key
    }

    /// One sample less has this text.
    pub(super) fn release(&mut self, key: Key) {
        let Some((text, samples)) = self.entry(key) else { return };
        *samples -= 1;
        if *samples == 0 {
            let text = Arc::clone(text);
            self.keys.remove(&text);
            self.free.push(key);
        }
    }

    /// The key of a text that samples have.
    pub(super) fn find(&self, text: &str) -> Option<Key> {
        self.keys.get(text).copied()
    }

    /// A key's text.
    pub(super) fn text(&self, key: Key) -> Option<&str> {
        if key == Key::OTHERS {
            return Some(OTHERS);
        }
        self.texts.get(key.0.checked_sub(1)? as usize).map(|(text, _)| text.as_ref())
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    fn entry(&mut self, key: Key) -> Option<&mut (Arc<str>, u32)> {
        self.texts.get_mut(key.0.checked_sub(1)? as usize)
    }
}
