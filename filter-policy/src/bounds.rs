//! What building a policy may take: nothing that a file holds may use up a host's memory, or keep a daemon from ending.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Bytes of the lists of a policy together, unless another limit is set.
pub const LIST_BYTES: u64 = 1 << 30;

/// Bytes of the largest `policy.toml`.
pub const POLICY_BYTES: u64 = 16 << 20;

/// Bytes of lists for each entry that they may hold: a range takes few bytes and may stand for ten thousand numbers.
const BYTES_PER_ENTRY: u64 = 16;

/// What building a policy may take, and whether it is still wanted.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// The most bytes of all its lists together.
    pub list_bytes: u64,
    /// Ends the work early.
    pub cancel: Cancel,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { list_bytes: LIST_BYTES, cancel: Cancel::default() }
    }
}

impl Bounds {
    /// The most entries of all lists together.
    pub(crate) fn entries(&self) -> usize {
        usize::try_from(self.list_bytes / BYTES_PER_ENTRY).unwrap_or(usize::MAX)
    }
}

/// Tells work that it is not wanted any more. Clones share what they say.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// From now on, the work is not wanted.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// What says so, for work that knows nothing of this type.
    #[must_use]
    pub fn flag(&self) -> &AtomicBool {
        &self.0
    }

    /// Whether it is not wanted any more.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
