//! The bans of a filter, with what was noted when they were made by hand.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    kernel::{self, BanError, Pins, Prefix},
    telemetry::{Ban, BanList, Unbanned},
};

/// Bytes of the longest comment.
pub const LONGEST_COMMENT: usize = 200;

/// Lists, makes and lifts bans. Comments are kept in this process's memory; the bans themselves are in the kernel.
#[derive(Debug)]
pub struct BanBook {
    bans: kernel::Bans,
    comments: Mutex<HashMap<Prefix, String>>,
}

impl BanBook {
    /// The bans of the filter in these pins, without comments.
    #[must_use]
    pub fn new(pins: Pins) -> Self {
        Self { bans: kernel::Bans::new(pins), comments: Mutex::default() }
    }

    /// The bans in force.
    ///
    /// # Errors
    /// There is no filter, or no permission.
    pub fn list(&self) -> Result<BanList, kernel::Error> {
        let bans = self.bans.list()?;
        let rules = kernel::rule_names(self.bans.pins())?;
        let comments = self.comments();
        let ban = |ban: &kernel::Ban| {
            Ban::new(ban, &rules, comments.get(&ban.prefix).filter(|_| ban.slot.is_none()).cloned())
        };
        Ok(BanList { bans: bans.iter().map(ban).collect() })
    }

    /// Bans sources.
    ///
    /// # Errors
    /// The policy exempts them, prefixes of too many lengths are banned, or the system refuses.
    pub fn ban(&self, prefix: Prefix, seconds: u32, comment: Option<String>) -> Result<Ban, BanError> {
        let ban = self.bans.ban(prefix, seconds)?;
        let mut comments = self.comments();
        match comment.clone() {
            Some(comment) => comments.insert(prefix, comment),
            None => comments.remove(&prefix),
        };
        Ok(Ban::new(&ban, &[], comment))
    }

    /// Lifts every ban that covers one of these sources, or all bans.
    ///
    /// # Errors
    /// There is no filter, or no permission.
    pub fn unban(&self, sources: Option<Prefix>) -> Result<Unbanned, kernel::Error> {
        let freed = self.bans.unban(sources)?;
        let mut comments = self.comments();
        freed.iter().for_each(|prefix| drop(comments.remove(prefix)));
        Ok(Unbanned::by_hand(&freed))
    }

    /// Removes what bans that have ended left.
    ///
    /// # Errors
    /// There is no filter, or no permission.
    pub fn sweep(&self) -> Result<(), kernel::Error> {
        self.bans.sweep()?;
        // Without comments, which is usual, there is nothing to compare.
        if !self.comments().is_empty() {
            let bans = self.bans.list()?;
            self.comments().retain(|prefix, _| bans.iter().any(|ban| ban.prefix == *prefix));
        }
        Ok(())
    }

    fn comments(&self) -> MutexGuard<'_, HashMap<Prefix, String>> {
        // Each holder completes its change in one step.
        self.comments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
