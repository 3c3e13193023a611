//! Putting policies in force: reading, compiling and installing them, and keeping or removing the filter at the end.
//!
//! All of it blocks; whoever has an event loop calls it from a thread.

mod bans;
mod report;

use std::time::Instant;

use filter_policy::{BuildCache, language::diagnostics::Diagnostics};
use jiff::Timestamp;

pub use self::bans::{BanBook, LONGEST_COMMENT};
use self::report::{adopted, policy_error, reload_notices, reloaded, start_notices};
use crate::{
    kernel::{self, Filter, Installed, Interface, Pins, State},
    repository::{Fingerprint, Source},
    telemetry::{FilterState, Notice, PolicyError, Reloaded, Stopped},
};

/// Where the filter is to be.
#[derive(Clone, Debug)]
pub struct Target {
    /// Directory of the filter's pins.
    pub pins: Pins,
    /// The interfaces to attach to. Attaching removes the filter from all others that have a pin there.
    pub interfaces: Vec<Interface>,
    /// Report mode as a whole, whatever the policy says: nothing is dropped.
    pub report: bool,
}

/// Why no policy could be put in force at the start, or the filter could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel's side refused.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    /// The policy has errors, which have been reported, and none is in force that could be kept.
    #[error("the policy {policy} cannot be used ({totals})")]
    Policy {
        /// Where it comes from.
        policy: String,
        /// How many errors and warnings.
        totals: String,
    },
}

/// Why the policy is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// Someone asked: whatever is there now comes in force.
    Asked,
    /// The source has changed, and looked like this.
    Changed(Fingerprint),
}

impl Occasion {
    /// One occasion for both: a request is never lost to a change noticed later.
    #[must_use]
    pub fn and(self, later: Self) -> Self {
        if self == Self::Asked { self } else { later }
    }

    /// What the source looked like, if that is why.
    #[must_use]
    pub fn fingerprint(self) -> Option<Fingerprint> {
        match self {
            Self::Asked => None,
            Self::Changed(fingerprint) => Some(fingerprint),
        }
    }
}

/// The outcome of a reload.
#[derive(Debug)]
pub struct Outcome {
    /// The answer to whoever asked for it.
    pub answer: Result<Reloaded, PolicyError>,
    /// Everything there is to report, the answer included, in order.
    pub notices: Vec<Notice>,
}

/// Puts policies in force on one target. It alone works on the target's pins while it lives.
pub struct Deployer {
    source: Source,
    target: Target,
    filter: Filter,
    /// From the last policy, so that only what has changed is read and compiled again.
    cache: BuildCache,
}

/// A policy that came in force.
struct InForce {
    installed: Installed,
    hash: String,
    rules: usize,
    report: bool,
    warnings: Diagnostics,
}

/// Why a policy did not come in force.
enum Refusal {
    /// Its files have errors, which are among these diagnostics.
    Policy(Diagnostics),
    /// The program was not loaded or not attached.
    Kernel(kernel::Error),
}

impl Deployer {
    /// Puts the policy in force. If it has errors and a filter is attached already, keeps that filter's policy.
    ///
    /// `report` gets the notices, also those about an error.
    ///
    /// # Errors
    /// The kernel refused, or the policy has errors and there is none to keep. Nothing is attached then that was not
    /// attached before.
    pub fn start(source: Source, target: Target, report: &mut dyn FnMut(Notice)) -> Result<Self, Error> {
        let filter = Filter::open(target.pins.clone())?;
        let was_attached = filter.is_attached()?;
        let mut deployer = Self { source, target, filter, cache: BuildCache::default() };
        match deployer.put_in_force(None) {
            Ok(Some(in_force)) => {
                start_notices(&deployer.source, &in_force, was_attached).into_iter().for_each(report);
                Ok(deployer)
            }
            // Without a fingerprint to compare with, it is always current.
            Ok(None) => Ok(deployer),
            Err(refusal @ Refusal::Policy(_)) if was_attached => {
                if let Some(state) = State::read(&deployer.target.pins)? {
                    adopted(&state, deployer.target.report).into_iter().for_each(&mut *report);
                }
                report(Notice::PolicyError(policy_error(&deployer.source, &refusal)));
                Ok(deployer)
            }
            Err(refusal) => {
                let error = match refusal {
                    Refusal::Kernel(error) => error.into(),
                    Refusal::Policy(_) => {
                        let error = policy_error(&deployer.source, &refusal);
                        let totals = error.message.clone();
                        report(Notice::PolicyError(error));
                        Error::Policy { policy: deployer.source.to_string(), totals }
                    }
                };
                let pins = deployer.target.pins.clone();
                drop(deployer);
                if !was_attached {
                    // Nothing is attached: leave no pins behind.
                    kernel::detach(&pins)?;
                }
                Err(error)
            }
        }
    }

    /// Turns rules on and off whose hours have begun or ended.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn keep_time(&mut self) -> Result<(), kernel::Error> {
        self.filter.keep_time(Timestamp::now())
    }

    /// Reads the policy again and puts it in force. If it is refused, the one in force stays.
    ///
    /// Returns nothing if the source has changed since the occasion: what was read may then be half the old and half the
    /// new policy. The change is an occasion of its own.
    pub fn reload(&mut self, occasion: Occasion) -> Option<Outcome> {
        match self.put_in_force(occasion.fingerprint()) {
            Ok(None) => None,
            Ok(Some(in_force)) => {
                let answer = reloaded(&self.source, &in_force);
                let notices = reload_notices(&self.source, &in_force, answer.clone());
                Some(Outcome { answer: Ok(answer), notices })
            }
            Err(refusal) => {
                let error = policy_error(&self.source, &refusal);
                Some(Outcome { answer: Err(error.clone()), notices: vec![Notice::PolicyError(error)] })
            }
        }
    }

    /// Reads, compiles and installs the policy; does nothing if the source no longer looks like `expected` once it has
    /// been compiled. Then even an error may be one that neither the old nor the new policy has.
    fn put_in_force(&mut self, expected: Option<Fingerprint>) -> Result<Option<InForce>, Refusal> {
        let start = Instant::now();
        let built = self.source.build_cached(&mut self.cache);
        tracing::debug!(after = ?start.elapsed(), "policy built");
        if expected.is_some_and(|expected| self.source.fingerprint() != expected) {
            tracing::debug!("the policy's files changed while they were read");
            return Ok(None);
        }
        let built = built.map_err(Refusal::Policy)?;
        let commit = self.source.commit();
        let mut image = built.image;
        if self.target.report {
            image.set_report(true);
        }
        let installed =
            self.filter.install(&mut image, &self.target.interfaces, commit.as_deref()).map_err(Refusal::Kernel)?;
        tracing::debug!(after = ?start.elapsed(), "policy in force");
        Ok(Some(InForce {
            installed,
            rules: image.rules.len(),
            report: image.is_report(),
            hash: image.hash,
            warnings: built.diagnostics,
        }))
    }
}

/// Ends: the filter stays, or is removed with everything it keeps in the kernel. A deployer of these pins must have been
/// dropped.
///
/// # Errors
/// The system refuses to remove it.
pub fn stop(target: &Target, detach: bool) -> Result<Stopped, Error> {
    let (filter, report) = if detach {
        kernel::detach(&target.pins)?;
        (FilterState::NotAttached, false)
    } else {
        (FilterState::Attached, State::read(&target.pins)?.is_some_and(|state| state.report))
    };
    let is_default = target.pins == Pins::default();
    Ok(Stopped {
        filter,
        report,
        interfaces: target.interfaces.iter().map(|interface| interface.name.clone()).collect(),
        pins: (!is_default).then(|| target.pins.root().to_path_buf()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_outlasts_a_change_that_is_noticed_after_it() {
        let changed = Occasion::Changed(Source::Sample.fingerprint());
        assert_eq!(Occasion::Asked.and(changed), Occasion::Asked);
        assert_eq!(changed.and(Occasion::Asked), Occasion::Asked);
        assert_eq!(changed.and(changed), changed);
    }
}
