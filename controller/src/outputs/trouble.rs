//! What an output says when it fails: once, and once more when it works again.

use std::fmt::Display;

/// The state of an output that may fail, and the messages it has lost.
#[derive(Debug)]
pub(super) struct Trouble {
    /// What fails, as the log names it.
    name: String,
    lost: u64,
    /// What had been lost when it began to fail; none while it works.
    failing_since: Option<u64>,
}

impl Trouble {
    pub(super) fn new(name: String) -> Self {
        Self { name, lost: 0, failing_since: None }
    }

    /// Counts a message that is lost for this reason.
    pub(super) fn lose(&mut self, error: &dyn Display) {
        if self.failing_since.is_none() {
            tracing::warn!("{}: {error}; messages are lost until it works again", self.name);
            self.failing_since = Some(self.lost);
        }
        self.lost += 1;
    }

    /// Notes that a message was taken.
    pub(super) fn end(&mut self) {
        if let Some(before) = self.failing_since.take() {
            tracing::warn!("{}: works again; {} messages were lost", self.name, self.lost - before);
        }
    }

    /// Messages lost since the beginning.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// True if the last message was lost.
    #[cfg(test)]
    pub(super) fn is_failing(&self) -> bool {
        self.failing_since.is_some()
    }
}
