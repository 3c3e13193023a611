//! Putting policies in force: reading, compiling and installing them, and keeping or removing the filter at the end.
//!
//! All of it blocks; whoever has an event loop calls it from a thread.

mod bans;
mod interfaces;
mod keeper;
mod past;
mod report;

use std::{sync::Arc, time::Instant};

use filter_policy::{
    BuildCache,
    bounds::{Bounds, Cancel},
    facts::PolicyFacts,
    language::diagnostics::Diagnostics,
};
use jiff::Timestamp;

use self::keeper::OnHost;
use self::report::{Origin, adopted, policy_error, reload_notices, reloaded, start_notices, unchanged};
pub use self::{
    bans::{BanBook, LONGEST_COMMENT, ListError, ListedBan},
    keeper::{Found, Keeper},
    past::generations,
};
use crate::{
    kernel::{self, Installed, Interface, Pins, State},
    repository::{Contents, Entry, Fingerprint, History, Reading, Repository, Snapshot},
    telemetry::{FilterState, Held, Hold, Notice, RolledBack, Stopped},
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
    /// It was not wanted any more, and has changed nothing.
    Cancelled,
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

impl Outcome {
    /// An answer that is all there is to report.
    fn only(answer: Notice) -> Self {
        Self::Done { notices: vec![answer.clone()], answer }
    }
}

/// Puts policies in force on one target.
pub struct Deployer {
    repository: Repository,
    history: History,
    /// The generation that is held.
    held: Option<Hold>,
    keeper: Keeper,
    pins: Pins,
    /// Report mode as a whole, whatever the policy says.
    report: bool,
    /// What reading a policy may take; its part that cancels is of the work that is done now.
    bounds: Bounds,
    /// What was on the interfaces before this process.
    found: Found,
    /// From the last policy, so that only what has changed is read and compiled again.
    cache: BuildCache,
    /// What was read last; none if this process has read nothing.
    last: Option<Last>,
    /// True once this process has put a policy in force: only then are the hours of its rules kept.
    has_installed: bool,
    /// What the policy in force says beyond what the kernel decides by; none until this process has put one in force.
    facts: Option<Arc<PolicyFacts>>,
}

/// What was read last.
struct Last {
    contents: Contents,
    /// Whether it is in force.
    in_force: bool,
}

/// What became of a policy that has no errors.
enum Deployed {
    Cancelled,
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
    Kernel(Box<kernel::Error>),
}

impl Refusal {
    fn kernel(error: kernel::Error) -> Self {
        Self::Kernel(Box::new(error))
    }
}

/// A policy that did not come in force, and the commit that it is from.
struct Refused {
    why: Refusal,
    commit: Option<String>,
}

/// What is to be put in force.
struct Attempt {
    snapshot: Snapshot,
    origin: Origin,
    /// What the source looked like; none if that does not matter.
    expected: Option<Fingerprint>,
    /// Who or what wants it.
    by: String,
    /// The generation that it was, if it was in force before.
    generation: Option<u64>,
}

impl Deployer {
    /// Opens the target's pins, or adopts the filter in them. Nothing else works on them until the [`Keeper`] has ended.
    ///
    /// `list_bytes` is how many bytes the lists of a policy may have.
    ///
    /// # Errors
    /// The pins cannot be used.
    pub fn open(
        repository: Repository,
        history: History,
        target: Target,
        list_bytes: u64,
    ) -> Result<Self, kernel::Error> {
        let (pins, report) = (target.pins.clone(), target.report);
        let last = history.entries().last().map_or(0, |entry| entry.generation);
        let (keeper, found) = Keeper::open(target, last)?;
        Ok(Self {
            repository,
            held: history.hold(),
            history,
            keeper,
            pins,
            report,
            bounds: Bounds { list_bytes, ..Bounds::default() },
            found,
            cache: BuildCache::default(),
            last: None,
            has_installed: false,
            facts: None,
        })
    }

    /// What keeps the filter on its interfaces, also while this works.
    #[must_use]
    pub fn keeper(&self) -> Keeper {
        self.keeper.clone()
    }

    /// What the policy in force says beyond what the kernel decides by; none if this process has not put it in force.
    #[must_use]
    pub fn facts(&self) -> Option<Arc<PolicyFacts>> {
        self.facts.clone()
    }

    /// Whether there was a filter before this process.
    #[must_use]
    pub fn was_attached(&self) -> bool {
        self.found != Found::Nothing
    }

    /// What ends the work that is begun next.
    #[must_use]
    pub fn begin(&mut self) -> Cancel {
        self.bounds.cancel = Cancel::default();
        self.bounds.cancel.clone()
    }

    /// Puts the first policy in force: the one that is held, or else the newest. If that has errors and a filter is attached
    /// already, keeps that filter's policy; if none is attached, takes the last one that was in force.
    ///
    /// `report` gets the notices, also those about an error.
    ///
    /// # Errors
    /// The kernel refused, or the policy has errors and there is none to keep. Nothing is attached then that was not
    /// attached before.
    pub fn start(&mut self, report: &mut dyn FnMut(Notice)) -> Result<(), Error> {
        let was_attached = self.was_attached();
        let can_adopt = self.found == Found::Own;
        let entries = self.history.entries();
        if let Some(hold) = self.held.clone() {
            let entry = entries.iter().find(|entry| entry.generation == hold.generation);
            match entry.map(|entry| self.start_with(self.earlier(entry, "start"), report)) {
                Some(Ok(())) => {
                    report(Notice::Held(self.held_notice(&hold)));
                    return Ok(());
                }
                Some(Err(refused)) if can_adopt && matches!(refused.why, Refusal::Policy(_)) => {
                    self.adopt(report)?;
                    report(Notice::PolicyError(policy_error(&Origin::of(entry, &self.repository), &refused)));
                    report(Notice::Held(self.held_notice(&hold)));
                    return Ok(());
                }
                Some(Err(refused)) => {
                    report(Notice::PolicyError(policy_error(&Origin::of(entry, &self.repository), &refused)));
                }
                None => {
                    report(Notice::Error { message: format!("generation {} is not kept any more", hold.generation) });
                }
            }
            // The newest policy is better than no filter.
            self.held = None;
            let _ = self.history.set_hold(None);
        }
        let newest = self.newest(None, "start");
        let origin = newest.origin.clone();
        let refused = match self.start_with(newest, report) {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        let error = policy_error(&origin, &refused);
        let totals = error.message.clone();
        match refused.why {
            Refusal::Policy(_) if can_adopt => {
                self.adopt(report)?;
                report(Notice::PolicyError(error));
                return Ok(());
            }
            Refusal::Policy(_) => {
                report(Notice::PolicyError(error));
                // The last one that was in force, as if the daemon had run on.
                if let Some(entry) = entries.iter().rev().find(|entry| entry.files.is_some()) {
                    let earlier = self.earlier(entry, "start, in place of the newest");
                    if self.start_with(earlier, report).is_ok() {
                        return Ok(());
                    }
                }
            }
            Refusal::Kernel(_) => {}
        }
        let error = match refused.why {
            Refusal::Kernel(error) => (*error).into(),
            Refusal::Policy(_) => Error::Policy { policy: origin.name, totals },
        };
        if self.keeper.end() && !was_attached {
            // Nothing is attached: leave no pins behind.
            kernel::detach(&self.pins)?;
        }
        Err(error)
    }

    /// Puts the first policy in force.
    fn start_with(&mut self, first: Attempt, report: &mut dyn FnMut(Notice)) -> Result<(), Refused> {
        let origin = first.origin.clone();
        match self.deploy(first)? {
            Deployed::InForce(in_force) => {
                start_notices(&origin, &in_force).into_iter().for_each(&mut *report);
                self.keeper.absent(&in_force.installed.absent).into_iter().for_each(report);
            }
            // The others do not happen to the first policy of a process, for which there is no fingerprint to compare with.
            Deployed::Cancelled | Deployed::Superseded | Deployed::Unchanged => {}
        }
        Ok(())
    }

    /// Keeps the filter that was found, with its policy.
    fn adopt(&self, report: &mut dyn FnMut(Notice)) -> Result<(), Error> {
        if let Some(state) = State::read(&self.pins)? {
            adopted(&state, self.report).into_iter().for_each(report);
        }
        Ok(())
    }

    /// Reads the policy again, and puts it in force if it is another one and none is held. If it is refused, the one in force
    /// stays. `by` is who or what asked.
    pub fn reload(&mut self, occasion: Occasion, by: &str) -> Outcome {
        if let Some(expected) = occasion.fingerprint()
            && self.has_same_files(expected)
        {
            return Outcome::Same;
        }
        if let Some(hold) = &self.held {
            return Outcome::only(Notice::Held(self.held_notice(hold)));
        }
        let attempt = self.newest(occasion.fingerprint(), by);
        let origin = attempt.origin.clone();
        match self.deploy(attempt) {
            Ok(Deployed::Cancelled) => Outcome::Cancelled,
            Ok(Deployed::Superseded) => Outcome::Superseded,
            Ok(Deployed::Unchanged) => Outcome::only(Notice::Unchanged(unchanged(&origin, self.keeper.in_force()))),
            Ok(Deployed::InForce(in_force)) => {
                let answer = Notice::Reloaded(reloaded(&origin, &in_force));
                Outcome::Done { notices: self.notices(&origin, &in_force, answer.clone()), answer }
            }
            Err(refused) => Outcome::only(Notice::PolicyError(policy_error(&origin, &refused))),
        }
    }

    /// Brings the policy of a generation back and holds it: of the last one that had another policy, if none is named. `by`
    /// is who asked.
    pub fn rollback(&mut self, generation: Option<u64>, by: &str) -> Outcome {
        let entry = match self.choose(generation, self.history.entries()) {
            Ok(entry) => entry,
            Err(message) => return Outcome::only(Notice::Error { message }),
        };
        // First of all: whatever happens to this process, the newest policy does not come back.
        let since = format!("{:.3}", Timestamp::now());
        let hold = Hold { generation: entry.generation, since, by: by.to_owned() };
        let note = self.history.set_hold(Some(&hold)).err().map(|error| {
            format!("that could not be noted ({error}), so the next start of the daemon loads the newest policy")
        });
        let before = self.held.replace(hold.clone());
        let attempt = self.earlier(&entry, &format!("rollback to generation {}, {by}", entry.generation));
        let origin = attempt.origin.clone();
        let rolled_back = |generation, policy_hash| {
            let Hold { generation: to, since, by } = hold.clone();
            let commit = entry.commit.clone();
            Notice::RolledBack(RolledBack { to, generation, policy_hash, commit, since, by, note: note.clone() })
        };
        match self.deploy(attempt) {
            Ok(Deployed::InForce(in_force)) => {
                let answer = rolled_back(in_force.installed.generation, in_force.hash.clone());
                Outcome::Done { notices: self.notices(&origin, &in_force, answer.clone()), answer }
            }
            Ok(Deployed::Superseded | Deployed::Unchanged) => {
                let now = self.keeper.in_force();
                Outcome::only(rolled_back(now.generation, now.policy_hash))
            }
            // The daemon ends: it is held from the next start on.
            Ok(Deployed::Cancelled) => Outcome::Cancelled,
            Err(refused) => {
                let _ = self.history.set_hold(before.as_ref());
                self.held = before;
                // It is not about the newest policy, so it is none of the daemon's errors, only the answer.
                let answer = Notice::PolicyError(policy_error(&origin, &refused));
                Outcome::Done { answer, notices: Vec::new() }
            }
        }
    }

    /// Holds no generation any more, and puts the newest policy in force.
    pub fn release(&mut self, by: &str) -> Outcome {
        if let Err(error) = self.history.set_hold(None) {
            let message = format!("failed to release the generation that is held: {error}");
            return Outcome::only(Notice::Error { message });
        }
        let released = self.held.take().map(Notice::Released);
        match self.reload(Occasion::Asked, &format!("release, {by}")) {
            Outcome::Done { answer, notices } => {
                Outcome::Done { answer, notices: released.into_iter().chain(notices).collect() }
            }
            outcome @ (Outcome::Cancelled | Outcome::Same | Outcome::Superseded) => outcome,
        }
    }

    /// All there is to report about another policy, and about the interfaces that it could not be attached to.
    fn notices(&self, origin: &Origin, in_force: &InForce, answer: Notice) -> Vec<Notice> {
        let mut notices = reload_notices(origin, in_force, answer);
        notices.extend(self.keeper.absent(&in_force.installed.absent));
        notices
    }

    /// The generation to bring back.
    fn choose(&self, generation: Option<u64>, entries: Vec<Entry>) -> Result<Entry, String> {
        let Some(generation) = generation else {
            let now = self.keeper.in_force();
            let base = self.held.as_ref().map_or(now.generation, |hold| hold.generation);
            let in_force = now.policy_hash;
            let is_earlier =
                |entry: &Entry| entry.generation < base && entry.policy_hash != in_force && entry.files.is_some();
            return entries
                .into_iter()
                .rev()
                .find(is_earlier)
                .ok_or_else(|| "no earlier generation with another policy is kept".to_owned());
        };
        match entries.into_iter().find(|entry| entry.generation == generation) {
            Some(entry) if entry.files.is_some() => Ok(entry),
            Some(_) => Err(format!("the files of generation {generation} could not be kept when it came in force")),
            None => Err(format!("generation {generation} is not kept: `ringfence history` lists those that are")),
        }
    }

    fn held_notice(&self, hold: &Hold) -> Held {
        let Hold { generation, since, by } = hold.clone();
        Held { generation, since, by, newest: self.repository.newest() }
    }

    fn newest(&self, expected: Option<Fingerprint>, by: &str) -> Attempt {
        Attempt {
            snapshot: self.repository.snapshot(),
            origin: Origin::of(None, &self.repository),
            expected,
            by: by.to_owned(),
            generation: None,
        }
    }

    fn earlier(&self, entry: &Entry, by: &str) -> Attempt {
        Attempt {
            snapshot: Snapshot::of_generation(entry, &self.history),
            origin: Origin::of(Some(entry), &self.repository),
            expected: None,
            by: by.to_owned(),
            generation: Some(entry.generation),
        }
    }

    /// True if the files that were read last have the same contents in the source as it looks now. The commit may be another
    /// one.
    fn has_same_files(&mut self, expected: Fingerprint) -> bool {
        let Some(last) = &self.last else { return false };
        let snapshot = self.repository.snapshot();
        if !snapshot.has(&last.contents, &self.bounds) || self.repository.fingerprint() != expected {
            return false;
        }
        if last.in_force {
            let commit = snapshot.commit(&last.contents, &self.bounds);
            if let Some(Err(error)) = self.keeper.with(|on| on.filter.note_commit(commit.as_deref())) {
                tracing::warn!("failed to note the commit of the policy in force: {error}");
            }
        }
        true
    }

    /// Reads, compiles and installs a policy; does nothing if the source no longer looks as expected once it has been
    /// compiled, for then even an error may be one that neither the old nor the new policy has; nor if it is the one in force.
    fn deploy(&mut self, attempt: Attempt) -> Result<Deployed, Refused> {
        let Attempt { snapshot, origin, expected, by, generation: rollback_of } = attempt;
        let start = Instant::now();
        let bounds = self.bounds.clone();
        let Reading { built, contents, kept } = snapshot.read(&bounds, &mut self.cache, Some(&self.history));
        tracing::debug!(after = ?start.elapsed(), "policy built");
        if bounds.cancel.is_cancelled() {
            return Ok(Deployed::Cancelled);
        }
        if expected.is_some_and(|expected| self.repository.fingerprint() != expected) {
            tracing::debug!("the policy's files changed while they were read");
            return Ok(Deployed::Superseded);
        }
        let commit = snapshot.commit(&contents, &bounds);
        let is_newest = rollback_of.is_none();
        if is_newest {
            self.last = Some(Last { contents, in_force: false });
        }
        let refused = |why| Refused { why, commit: commit.clone() };
        let built = built.map_err(Refusal::Policy).map_err(refused)?;
        let mut image = built.image;
        if self.report {
            image.set_report(true);
        }
        // From here on, the filter is not kept on its interfaces meanwhile: for as long as loading takes.
        let has_installed = self.has_installed;
        let installed = self.keeper.with(|OnHost { filter, target, .. }| {
            let is_in_force =
                has_installed && filter.policy_hash().as_ref() == Some(&image.hash) && filter.is_on(&target.interfaces);
            if is_in_force {
                return filter.note_commit(commit.as_deref()).map(|()| None);
            }
            filter.install_unless(&bounds.cancel, &mut image, &target.interfaces, commit.as_deref()).map(Some)
        });
        let installed = match installed {
            None | Some(Err(kernel::Error::Cancelled)) => return Ok(Deployed::Cancelled),
            Some(installed) => installed.map_err(Refusal::kernel).map_err(refused)?,
        };
        // Also of one that decides as the one before: its labels may be others.
        self.facts = Some(Arc::new(PolicyFacts::with_messages(built.policy, self.facts.as_deref())));
        let Some(installed) = installed else {
            self.note_newest(is_newest);
            return Ok(Deployed::Unchanged);
        };
        self.note_newest(is_newest);
        self.has_installed = true;
        tracing::debug!(after = ?start.elapsed(), "policy in force");
        let entry = Entry {
            generation: installed.generation,
            policy: origin.policy,
            policy_hash: image.hash.clone(),
            commit: commit.clone(),
            report: image.is_report(),
            by,
            since: format!("{:.3}", Timestamp::now()),
            rollback_of,
            files: kept,
        };
        if let Err(error) = self.history.record(&entry) {
            tracing::warn!("generation {} cannot be brought back later: failed to note it: {error}", entry.generation);
        }
        Ok(Deployed::InForce(Box::new(InForce {
            installed,
            rules: image.rules.len(),
            report: image.is_report(),
            hash: image.hash,
            commit,
            warnings: built.diagnostics,
        })))
    }

    /// Notes whether what was read last from the source is what is in force.
    fn note_newest(&mut self, is_newest: bool) {
        if let Some(last) = &mut self.last {
            last.in_force = is_newest;
        }
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
