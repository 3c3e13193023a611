//! Putting policies in force: reading, compiling and installing them, and keeping or removing the filter at the end.
//!
//! All of it blocks; whoever has an event loop calls it from a thread.

mod bans;
mod report;

use std::time::Instant;

use filter_policy::{BuildCache, language::diagnostics::Diagnostics};
use jiff::Timestamp;

pub use self::bans::{BanBook, LONGEST_COMMENT};
use self::report::{adopted, policy_error, reload_notices, reloaded, start_notices, unchanged};
use crate::{
    kernel::{self, Filter, Installed, Interface, Pins, State},
    repository::{Contents, Fingerprint, Reading, Repository},
    telemetry::{FilterState, Notice, Stopped},
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
pub enum Outcome {
    /// There is something to report.
    Done {
        /// The answer to whoever asked for it: the policy in force, or why none was put in force.
        answer: Notice,
        /// Everything there is to report, the answer included, in order.
        notices: Vec<Notice>,
    },
    /// No file that the policy uses has changed.
    Same,
    /// The source has changed since the occasion: what was read may be half the old and half the new policy. The change is
    /// an occasion of its own.
    Superseded,
}

/// Puts policies in force on one target. It alone works on the target's pins while it lives.
pub struct Deployer {
    repository: Repository,
    target: Target,
    filter: Filter,
    /// From the last policy, so that only what has changed is read and compiled again.
    cache: BuildCache,
    /// What was read last; none if this process has read nothing.
    last: Option<Last>,
    /// True once this process has put a policy in force: only then are the hours of its rules kept.
    has_installed: bool,
}

/// What was read last.
struct Last {
    contents: Contents,
    /// Whether it is in force.
    in_force: bool,
}

/// What became of a policy that has no errors.
enum Deployed {
    InForce(Box<InForce>),
    /// The source changed meanwhile.
    Superseded,
    /// It is the one in force.
    Unchanged,
}

/// A policy that came in force.
struct InForce {
    installed: Installed,
    hash: String,
    commit: Option<String>,
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

/// A policy that did not come in force, and the commit that it is from.
struct Refused {
    why: Refusal,
    commit: Option<String>,
}

impl Deployer {
    /// Puts the policy in force. If it has errors and a filter is attached already, keeps that filter's policy.
    ///
    /// `report` gets the notices, also those about an error.
    ///
    /// # Errors
    /// The kernel refused, or the policy has errors and there is none to keep. Nothing is attached then that was not
    /// attached before.
    pub fn start(repository: Repository, target: Target, report: &mut dyn FnMut(Notice)) -> Result<Self, Error> {
        let filter = Filter::open(target.pins.clone())?;
        let was_attached = filter.is_attached()?;
        let mut deployer =
            Self { repository, target, filter, cache: BuildCache::default(), last: None, has_installed: false };
        let source = deployer.repository.source().clone();
        match deployer.put_in_force(None) {
            Ok(Deployed::InForce(in_force)) => {
                start_notices(&source, &in_force, was_attached).into_iter().for_each(report);
                Ok(deployer)
            }
            // Neither happens to the first policy of a process, for which there is no fingerprint to compare with.
            Ok(Deployed::Superseded | Deployed::Unchanged) => Ok(deployer),
            Err(refused) if was_attached && matches!(refused.why, Refusal::Policy(_)) => {
                if let Some(state) = State::read(&deployer.target.pins)? {
                    adopted(&state, deployer.target.report).into_iter().for_each(&mut *report);
                }
                report(Notice::PolicyError(policy_error(&source, &refused)));
                Ok(deployer)
            }
            Err(refused) => {
                let refused_policy = policy_error(&source, &refused);
                let error = match refused.why {
                    Refusal::Kernel(error) => error.into(),
                    Refusal::Policy(_) => {
                        let totals = refused_policy.message.clone();
                        report(Notice::PolicyError(refused_policy));
                        Error::Policy { policy: source.to_string(), totals }
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

    /// Reads the policy again, and puts it in force if it is another one. If it is refused, the one in force stays.
    pub fn reload(&mut self, occasion: Occasion) -> Outcome {
        if let Some(expected) = occasion.fingerprint()
            && self.has_same_files(expected)
        {
            return Outcome::Same;
        }
        let result = self.put_in_force(occasion.fingerprint());
        let source = self.repository.source();
        match result {
            Ok(Deployed::Superseded) => Outcome::Superseded,
            Ok(Deployed::Unchanged) => {
                let answer = Notice::Unchanged(unchanged(source, &self.filter));
                Outcome::Done { notices: vec![answer.clone()], answer }
            }
            Ok(Deployed::InForce(in_force)) => {
                let reloaded = reloaded(source, &in_force);
                let notices = reload_notices(source, &in_force, reloaded.clone());
                Outcome::Done { answer: Notice::Reloaded(reloaded), notices }
            }
            Err(refused) => {
                let answer = Notice::PolicyError(policy_error(source, &refused));
                Outcome::Done { notices: vec![answer.clone()], answer }
            }
        }
    }

    /// True if the files that were read last have the same contents in the source as it looks now. The commit may be another
    /// one.
    fn has_same_files(&mut self, expected: Fingerprint) -> bool {
        let Some(last) = &self.last else { return false };
        let snapshot = self.repository.snapshot();
        if !snapshot.has(&last.contents) || self.repository.fingerprint() != expected {
            return false;
        }
        if last.in_force {
            let commit = snapshot.commit(&last.contents);
            if let Err(error) = self.filter.note_commit(commit.as_deref()) {
                tracing::warn!("failed to note the commit of the policy in force: {error}");
            }
        }
        true
    }

    /// Reads, compiles and installs the policy; does nothing if the source no longer looks like `expected` once it has
    /// been compiled, for then even an error may be one that neither the old nor the new policy has; nor if it is the one
    /// in force.
    fn put_in_force(&mut self, expected: Option<Fingerprint>) -> Result<Deployed, Refused> {
        let start = Instant::now();
        let snapshot = self.repository.snapshot();
        let Reading { built, contents } = snapshot.read(&mut self.cache);
        tracing::debug!(after = ?start.elapsed(), "policy built");
        if expected.is_some_and(|expected| self.repository.fingerprint() != expected) {
            tracing::debug!("the policy's files changed while they were read");
            return Ok(Deployed::Superseded);
        }
        let commit = snapshot.commit(&contents);
        let last = self.last.insert(Last { contents, in_force: false });
        let refused = |why| Refused { why, commit: commit.clone() };
        let built = built.map_err(Refusal::Policy).map_err(refused)?;
        let mut image = built.image;
        if self.target.report {
            image.set_report(true);
        }
        if self.has_installed
            && self.filter.policy_hash().as_ref() == Some(&image.hash)
            && self.filter.is_on(&self.target.interfaces)
        {
            self.filter.note_commit(commit.as_deref()).map_err(Refusal::Kernel).map_err(refused)?;
            last.in_force = true;
            return Ok(Deployed::Unchanged);
        }
        let installed = self
            .filter
            .install(&mut image, &self.target.interfaces, commit.as_deref())
            .map_err(Refusal::Kernel)
            .map_err(refused)?;
        last.in_force = true;
        self.has_installed = true;
        tracing::debug!(after = ?start.elapsed(), "policy in force");
        Ok(Deployed::InForce(Box::new(InForce {
            installed,
            rules: image.rules.len(),
            report: image.is_report(),
            hash: image.hash,
            commit,
            warnings: built.diagnostics,
        })))
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
    use std::path::Path;

    use super::*;
    use crate::repository::Source;

    #[test]
    fn a_request_outlasts_a_change_that_is_noticed_after_it() {
        let repository = Repository::open(Source::Sample, Path::new("/nonexistent")).unwrap();
        let changed = Occasion::Changed(repository.fingerprint());
        assert_eq!(Occasion::Asked.and(changed), Occasion::Asked);
        assert_eq!(changed.and(Occasion::Asked), Occasion::Asked);
        assert_eq!(changed.and(changed), changed);
    }
}
