//! Warnings: what is allowed, but probably not what was meant.
//!
//! A stage of its own, after [`resolve`](crate::resolve) and before [`compile`](crate::compile): it runs only on policies
//! without errors, because a rule that lost a condition to an error would look like another rule. One file for each family of
//! warnings; [`traffic`] and [`cover`] hold the questions that several of them ask.

mod actions;
mod cover;
mod emergency;
pub mod gateway;
mod network;
mod numbering;
mod peers;
mod sets;
mod traffic;
mod unreachable;
mod upstreams;

use std::ops::Range;

use crate::{
    language::{
        diagnostics::{Code, Diagnostic, Diagnostics, SourceFile},
        source::{self, Source},
    },
    lists::Day,
    model::{Condition, Policy, Rule},
    resolve::Resolved,
};

/// Adds the warnings about a policy without errors. `resolved` was made from `source`, so that both have the same rules and
/// conditions.
pub(crate) fn lint(resolved: &Resolved, source: &Source, file: &SourceFile, today: Day, diagnostics: &mut Diagnostics) {
    let mut linter = Linter { policy: &resolved.policy, source, file, diagnostics };
    linter.unused_sets(&resolved.unused_sets);
    linter.numbering_assumed();
    linter.emergency_calls();
    linter.short_codes_as_prefixes();
    linter.actions();
    linter.dropped_connections();
    linter.reviews(today);
    linter.ports();
    linter.numbering_tables();
    linter.stale_area_codes(today);
    linter.own_peers();
    linter.conditions_on_upstreams();
    linter.unreachable_rules();
}

struct Linter<'a> {
    policy: &'a Policy,
    source: &'a Source,
    file: &'a SourceFile,
    diagnostics: &'a mut Diagnostics,
}

impl<'a> Linter<'a> {
    fn warn(&mut self, code: Code, span: &Range<usize>, message: impl AsRef<str>, help: &str) {
        let place = self.file.place(span.clone());
        self.diagnostics.push(Diagnostic::warning(code, message).at(place).help(help));
    }

    /// The rules, resolved and as written.
    fn rules(&self) -> impl Iterator<Item = (&'a Rule, &'a source::Rule)> + use<'a> {
        self.policy.rules.iter().zip(&self.source.rules)
    }

    /// The conditions of all rules, resolved and as written.
    fn conditions(&self) -> impl Iterator<Item = (&'a Condition, &'a source::Condition)> + use<'a> {
        self.rules().flat_map(|(rule, written)| rule.conditions.iter().zip(&written.conditions))
    }
}
