//! What there is to report about a deployment.

use std::path::{Path, PathBuf};

use filter_policy::language::diagnostics::Diagnostics;

use super::{InForce, Refusal, Refused, keeper::Now};
use crate::{
    kernel::{Installed, State},
    repository::{Entry, Repository},
    telemetry::{
        Finding, Notice, PolicyError, PolicyWarning, Reattached, Reloaded, Removed, Started, Unbanned, Unchanged,
    },
};

/// Where a policy comes from, for people.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// In notices.
    pub(super) name: String,
    /// The source alone.
    pub(super) policy: String,
    /// The directory of its files, if that is where they are.
    directory: Option<PathBuf>,
}

impl Origin {
    /// The source's newest policy, or that of an earlier generation.
    pub(super) fn of(entry: Option<&Entry>, repository: &Repository) -> Self {
        match entry {
            None => Self {
                name: repository.source().to_string(),
                policy: repository.source().to_string(),
                directory: repository.source().directory().map(Path::to_owned),
            },
            Some(entry) => Self {
                name: format!("of generation {} ({})", entry.generation, entry.policy),
                policy: entry.policy.clone(),
                directory: None,
            },
        }
    }
}

/// The first policy is in force.
pub(super) fn start_notices(origin: &Origin, in_force: &InForce) -> Vec<Notice> {
    let InForce { installed, hash, commit, rules, report, warnings } = in_force;
    let started = installed.interfaces.iter().map(|attached| {
        Notice::Started(Started {
            interface: attached.interface.clone(),
            mode: attached.mode,
            note: attached.note.clone(),
            adopted: !attached.created,
            policy: Some(origin.name.clone()),
            policy_hash: hash.clone(),
            commit: commit.clone(),
            generation: installed.generation,
            rules: Some(*rules),
            report: *report,
            verified_instructions: installed.verified_instructions,
        })
    });
    warning(origin, warnings).into_iter().chain(started).chain(removed(installed)).chain(freed(installed)).collect()
}

/// The daemon begins with the filter it found, and its policy. `report` says that it was to drop nothing.
pub(super) fn adopted(state: &State, report: bool) -> Vec<Notice> {
    let note = (report && !state.report)
        .then(|| "that policy is enforced, and goes on dropping until the new one can be used".to_owned());
    let started = |deployment: &crate::kernel::Deployment| {
        Notice::Started(Started {
            interface: deployment.interface.clone(),
            mode: deployment.mode,
            note: note.clone(),
            adopted: true,
            policy: None,
            policy_hash: state.policy_hash.clone(),
            commit: state.commit.clone(),
            generation: state.generation,
            rules: None,
            report: state.report,
            verified_instructions: state.verified_instructions,
        })
    };
    state.deployments.iter().map(started).collect()
}

/// Another policy is in force.
pub(super) fn reloaded(origin: &Origin, in_force: &InForce) -> Reloaded {
    Reloaded {
        policy_hash: in_force.hash.clone(),
        commit: in_force.commit.clone(),
        generation: in_force.installed.generation,
        rules: in_force.rules,
        report: in_force.report,
        verified_instructions: in_force.installed.verified_instructions,
        milliseconds: in_force.installed.took.as_millis() as u64,
        policy: origin.name.clone(),
    }
}

/// The policy is the one in force.
pub(super) fn unchanged(origin: &Origin, now: Now) -> Unchanged {
    let Now { generation, policy_hash, commit } = now;
    Unchanged { policy_hash, commit, generation, policy: origin.name.clone() }
}

/// All there is to report about another policy.
pub(super) fn reload_notices(origin: &Origin, in_force: &InForce, answer: Notice) -> Vec<Notice> {
    let reattached = in_force.installed.interfaces.iter().filter_map(|attached| {
        let note = attached.note.clone()?;
        Some(Notice::Reattached(Reattached { interface: attached.interface.clone(), mode: attached.mode, note }))
    });
    warning(origin, &in_force.warnings)
        .into_iter()
        .chain([answer])
        .chain(reattached)
        .chain(removed(&in_force.installed))
        .chain(freed(&in_force.installed))
        .collect()
}

/// The notice of a refused policy.
pub(super) fn policy_error(origin: &Origin, refused: &Refused) -> PolicyError {
    let (message, report, diagnostics) = match &refused.why {
        Refusal::Kernel(error) => {
            let help = error.help().map_or_else(String::new, |help| format!("\n{help}"));
            (error.to_string(), format!("{error}{help}"), Vec::new())
        }
        Refusal::Policy(diagnostics) => {
            (diagnostics.totals(), diagnostics.render(false, origin.directory.as_deref()), Finding::all(diagnostics))
        }
    };
    PolicyError { message, diagnostics, commit: refused.commit.clone(), report, policy: origin.name.clone() }
}

fn warning(origin: &Origin, warnings: &Diagnostics) -> Option<Notice> {
    let notice = || {
        Notice::PolicyWarning(PolicyWarning {
            message: warnings.totals(),
            diagnostics: Finding::all(warnings),
            report: warnings.render(false, origin.directory.as_deref()),
        })
    };
    (!warnings.is_empty()).then(notice)
}

fn removed(installed: &Installed) -> impl Iterator<Item = Notice> {
    installed.removed.iter().map(|interface| Notice::Removed(Removed { interface: interface.clone() }))
}

fn freed(installed: &Installed) -> Option<Notice> {
    Unbanned::by_policy(&installed.freed).map(Notice::Unbanned)
}
