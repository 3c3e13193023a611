//! The filter between two policies: kept on its interfaces and on time, whatever is being read or compiled meanwhile.

use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use jiff::Timestamp;

use super::{Target, interfaces::Interfaces};
use crate::{
    kernel::{self, Filter},
    telemetry::{Notice, Removed},
};

/// A filter that one thread may put a policy in force on while another one keeps it as it is. Clones share it.
#[derive(Clone, Debug)]
pub struct Keeper(Arc<Mutex<Option<OnHost>>>);

/// A filter with where it is to be.
#[derive(Debug)]
pub(super) struct OnHost {
    pub(super) filter: Filter,
    pub(super) target: Target,
    interfaces: Interfaces,
}

/// What was on the interfaces before this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// No filter.
    Nothing,
    /// A filter of an older version, which stays until this one's first policy takes its place.
    Older,
    /// A filter that can be kept as it is.
    Own,
}

/// What is in force.
#[derive(Debug, Default)]
pub(super) struct Now {
    pub(super) generation: u64,
    pub(super) policy_hash: String,
    pub(super) commit: Option<String>,
}

impl Keeper {
    /// Opens the target's pins, or adopts the filter in them. `last` is the last generation that is known of. Returns what
    /// was found on the interfaces.
    pub(super) fn open(target: Target, last: u64) -> Result<(Self, Found), kernel::Error> {
        let mut filter = Filter::open(target.pins.clone())?;
        let found = match (filter.is_attached()?, filter.can_be_adopted()) {
            (false, _) => Found::Nothing,
            (true, true) => Found::Own,
            (true, false) => Found::Older,
        };
        filter.continue_after(last);
        let on = OnHost { filter, target, interfaces: Interfaces::default() };
        Ok((Self(Arc::new(Mutex::new(Some(on)))), found))
    }

    /// Works with the filter; none if that has ended. Waits while a policy is being loaded.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut OnHost) -> T) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(work)
    }

    /// As [`Self::with`]; none, too, while a policy is being loaded.
    fn try_with<T>(&self, work: impl FnOnce(&mut OnHost) -> T) -> Option<T> {
        match self.0.try_lock() {
            Ok(mut on) => on.as_mut().map(work),
            Err(TryLockError::Poisoned(on)) => on.into_inner().as_mut().map(work),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Turns rules on and off whose hours have begun or ended. A policy that is being loaded will be right when it comes in force.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn keep_time(&self) -> Result<(), kernel::Error> {
        self.try_with(|on| on.filter.keep_time(Timestamp::now())).unwrap_or(Ok(()))
    }

    /// Attaches the filter again to interfaces that were gone and are back. Returns what has changed.
    #[must_use]
    pub fn keep_interfaces(&self) -> Vec<Notice> {
        let keep = |OnHost { filter, target, interfaces }: &mut OnHost| {
            // Before the first policy, there is nothing to attach.
            if filter.policy_hash().is_none() {
                return Vec::new();
            }
            let kept = target.interfaces.iter().map(|interface| (interface, filter.keep(interface)));
            kept.filter_map(|(interface, kept)| interfaces.note(&interface.name, kept)).collect()
        };
        self.try_with(keep).unwrap_or_default()
    }

    /// Takes the filter off an interface, until the daemon starts again. None while a policy is being loaded.
    pub fn take_off(&self, interface: &str) -> Option<Result<Removed, kernel::Error>> {
        self.try_with(|on| {
            on.filter.take_off(interface)?;
            on.target.interfaces.retain(|known| known.name != interface);
            Ok(Removed { interface: interface.to_owned() })
        })
    }

    /// Lets go of the filter, which stays as it is: from here on another process may work with its pins. Waits while a policy is being
    /// loaded. False if that was done before.
    pub fn end(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }

    /// What there is to say about the interfaces that did not exist when a policy came in force.
    pub(super) fn absent(&self, absent: &[String]) -> Vec<Notice> {
        self.with(|on| on.interfaces.absent(absent)).unwrap_or_default()
    }

    pub(super) fn in_force(&self) -> Now {
        let now = |on: &mut OnHost| Now {
            generation: on.filter.generation(),
            policy_hash: on.filter.policy_hash().unwrap_or_default(),
            commit: on.filter.commit(),
        };
        self.with(now).unwrap_or_default()
    }
}
