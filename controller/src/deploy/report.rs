//! What there is to report about a deployment.

use filter_policy::language::diagnostics::Diagnostics;

use super::{InForce, Refusal, Refused};
use crate::{
    kernel::{Filter, Installed, State},
    repository::Source,
    telemetry::{
        Finding, Notice, PolicyError, PolicyWarning, Reattached, Reloaded, Removed, Started, Unbanned, Unchanged,
    },
};

/// The first policy is in force.
pub(super) fn start_notices(source: &Source, in_force: &InForce, adopted: bool) -> Vec<Notice> {
    let InForce { installed, hash, commit, rules, report, warnings } = in_force;
    let started = installed.interfaces.iter().map(|attached| {
        Notice::Started(Started {
            interface: attached.interface.clone(),
            mode: attached.mode,
            note: attached.note.clone(),
            adopted,
            policy: Some(source.to_string()),
            policy_hash: hash.clone(),
            commit: commit.clone(),
            generation: installed.generation,
            rules: Some(*rules),
            report: *report,
            verified_instructions: installed.verified_instructions,
        })
    });
    warning(source, warnings).into_iter().chain(started).chain(removed(installed)).chain(freed(installed)).collect()
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
pub(super) fn reloaded(source: &Source, in_force: &InForce) -> Reloaded {
    Reloaded {
        policy_hash: in_force.hash.clone(),
        commit: in_force.commit.clone(),
        generation: in_force.installed.generation,
        rules: in_force.rules,
        report: in_force.report,
        verified_instructions: in_force.installed.verified_instructions,
        milliseconds: in_force.installed.took.as_millis() as u64,
        policy: source.to_string(),
    }
}

/// The policy is the one in force.
pub(super) fn unchanged(source: &Source, filter: &Filter) -> Unchanged {
    Unchanged {
        policy_hash: filter.policy_hash().unwrap_or_default(),
        commit: filter.commit(),
        generation: filter.generation(),
        policy: source.to_string(),
    }
}

/// All there is to report about another policy.
pub(super) fn reload_notices(source: &Source, in_force: &InForce, reloaded: Reloaded) -> Vec<Notice> {
    let reattached = in_force.installed.interfaces.iter().filter_map(|attached| {
        let note = attached.note.clone()?;
        Some(Notice::Reattached(Reattached { interface: attached.interface.clone(), mode: attached.mode, note }))
    });
    warning(source, &in_force.warnings)
        .into_iter()
        .chain([Notice::Reloaded(reloaded)])
        .chain(reattached)
        .chain(removed(&in_force.installed))
        .chain(freed(&in_force.installed))
        .collect()
}

/// The notice of a refused policy.
pub(super) fn policy_error(source: &Source, refused: &Refused) -> PolicyError {
    let (message, report, diagnostics) = match &refused.why {
        Refusal::Kernel(error) => {
            let help = error.help().map_or_else(String::new, |help| format!("\n{help}"));
            (error.to_string(), format!("{error}{help}"), Vec::new())
        }
        Refusal::Policy(diagnostics) => {
            (diagnostics.totals(), diagnostics.render(false, source.directory()), Finding::all(diagnostics))
        }
    };
    PolicyError { message, diagnostics, commit: refused.commit.clone(), report, policy: source.to_string() }
}

fn warning(source: &Source, warnings: &Diagnostics) -> Option<Notice> {
    let notice = || {
        Notice::PolicyWarning(PolicyWarning {
            message: warnings.totals(),
            diagnostics: Finding::all(warnings),
            report: warnings.render(false, source.directory()),
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
