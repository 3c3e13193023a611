//! The bans of a filter, with what was noted when they were made by hand.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    kernel::{self, BanError, BansError, Pins, Prefix},
    telemetry::{Ban, BanList, Unbanned},
};

/// Bytes of the longest comment.
pub const LONGEST_COMMENT: usize = 200;

/// A ban of a list that is imported.
#[derive(Clone, Debug)]
pub struct ListedBan {
    /// The sources to ban.
    pub prefix: Prefix,
    /// For how long.
    pub seconds: u32,
    /// What the list says of it.
    pub comment: Option<String>,
    /// Its line in the list.
    pub line: u32,
}

/// Why the bans of a list were not made. None of them was.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The system refused.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    /// What is wrong with the list, by lines.
    #[error("{0}")]
    Refused(String),
}

/// How many bans of a list are named that cannot be made.
const NAMED: usize = 20;

impl ListError {
    fn new(error: BansError, list: &[ListedBan]) -> Self {
        let refused = match error {
            BansError::Kernel(error) => return Self::Kernel(error),
            BansError::TooMany { .. } => return Self::Refused(format!("nothing was banned: {error}")),
            BansError::Refused(refused) => refused,
        };
        let mut text = format!("nothing was banned: {} of {} sources cannot be", refused.len(), list.len());
        for (index, error) in refused.iter().take(NAMED) {
            let line = list.get(*index).map_or(0, |ban| ban.line);
            let remedy = if matches!(error, BanError::Exempt { .. }) { "; take it out of the list" } else { "" };
            text += &format!("\n  line {line}: {error}{remedy}");
        }
        if refused.len() > NAMED {
            text += &format!("\n  and {} more", refused.len() - NAMED);
        }
        Self::Refused(text)
    }
}

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

    /// Bans the sources of a list, all or none. Returns the new bans; those that have a longer one already keep it, and their comment. The
    /// prefixes of the list are all different.
    ///
    /// # Errors
    /// One of them cannot be banned, or the system refuses.
    pub fn ban_all(&self, list: &[ListedBan]) -> Result<Vec<Ban>, ListError> {
        let wanted: Vec<(Prefix, u32)> = list.iter().map(|ban| (ban.prefix, ban.seconds)).collect();
        let made = self.bans.ban_all(&wanted).map_err(|error| ListError::new(error, list))?;
        let mut comments = self.comments();
        let made = list.iter().zip(&made).filter_map(|(listed, made)| Some((listed, made.as_ref()?)));
        let note = |(listed, made): (&ListedBan, &kernel::Ban)| {
            match listed.comment.clone() {
                Some(comment) => comments.insert(listed.prefix, comment),
                None => comments.remove(&listed.prefix),
            };
            Ban::new(made, &[], listed.comment.clone())
        };
        Ok(made.map(note).collect())
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
