//! From `policy.toml` as written to a [`Policy`]: lists are read, names looked up, values parsed.

mod conditions;
mod hours;
mod network;
mod numbering;
mod rules;
mod sets;
mod upstreams;
mod values;

use std::{collections::BTreeMap, mem, ops::Range, sync::Arc};

use self::sets::SetState;
pub(crate) use self::sets::{readable, reason};
use crate::{
    bounds::Bounds,
    cache::ListCache,
    files::Files,
    language::{
        diagnostics::{Code, Diagnostic, Diagnostics, SourceFile},
        header::HeaderName,
        source::{Located, Source},
    },
    lists::{Day, Mistake},
    model::{Origin, Policy, Upstream},
};

/// A policy, and what else [`lint`](crate::lint) needs to know about it.
pub(crate) struct Resolved {
    pub(crate) policy: Policy,
    /// Sets that neither a rule nor a key uses, in file order: indices in the source's sets.
    pub(crate) unused_sets: Vec<usize>,
    /// The number of entries of each set.
    pub(crate) sizes: BTreeMap<String, usize>,
}

/// Resolves a policy file. What is wrong with it is reported in `diagnostics`; the policy can only be used if that has no
/// errors. Rules that have expired are left out of it, and out of `source` too.
pub(crate) fn resolve(
    file: &SourceFile,
    source: &mut Source,
    files: &dyn Files,
    today: Day,
    bounds: &Bounds,
    cache: &mut ListCache,
    diagnostics: &mut Diagnostics,
) -> Resolved {
    let broken_sets = &mem::take(&mut source.broken_sets);
    let headers = mem::take(&mut source.headers);
    let resolver = Resolver {
        file,
        files,
        today,
        bounds,
        bytes_left: bounds.list_bytes,
        entries_left: bounds.entries(),
        cache,
        diagnostics,
        sets: BTreeMap::new(),
        broken_sets,
        headers,
        upstreams: Vec::new(),
    };
    resolver.resolve(source)
}

struct Resolver<'a> {
    file: &'a SourceFile,
    files: &'a dyn Files,
    today: Day,
    bounds: &'a Bounds,
    /// Bytes of lists that may still be read.
    bytes_left: u64,
    /// Entries of lists that may still be read.
    entries_left: usize,
    cache: &'a mut ListCache,
    diagnostics: &'a mut Diagnostics,
    sets: BTreeMap<String, SetState>,
    broken_sets: &'a [String],
    headers: Vec<HeaderName>,
    upstreams: Vec<Upstream>,
}

impl Resolver<'_> {
    fn resolve(mut self, source: &mut Source) -> Resolved {
        let mut numbering = self.numbering(source);
        self.read_sets(source, &numbering);
        if !self.bounds.cancel.is_cancelled() {
            self.cache.evict_unused();
        }
        self.numbering_sources(source, &mut numbering);
        let never_ban = source.never_ban.as_ref().map(|values| self.addresses("never_ban", values)).unwrap_or_default();
        self.read_upstreams(source, &numbering);
        let ports = self.ports(source);
        let rules = self.rules(source, &numbering);
        // (A label is for reports.)
        let labelled: Vec<_> = self.sets.values().filter_map(SetState::labelled).collect();
        let is_unused = |name: &str| self.sets.get(name).is_some_and(|set| !set.used && set.labelled().is_none());
        let unused_sets = (0..source.sets.len()).filter(|&set| is_unused(&source.sets[set].name.value)).collect();
        let rules = self.without_expired(source, rules);
        self.emptied_sets(source, &never_ban, &numbering.asserted_identity_from, &rules);
        let allow_emergency = source.allow_emergency.unwrap_or(true);
        let headers = self.headers;
        let policy = Policy {
            default_drop: source.default_drop,
            report: source.report,
            ports,
            numbering,
            rules,
            never_ban,
            labelled,
            upstreams: self.upstreams,
            allow_emergency,
            headers,
        };
        let sizes = self.sets.iter().map(|(name, set)| (name.clone(), set.list.len())).collect();
        Resolved { policy, unused_sets, sizes }
    }

    fn error(&mut self, code: Code, span: &Range<usize>, message: impl AsRef<str>, help: Option<String>) {
        let place = self.file.place(span.clone());
        self.diagnostics.push(Diagnostic::error(code, message).at(place).maybe_help(help));
    }

    fn origin(&self, span: &Range<usize>) -> Origin {
        Origin { file: Arc::clone(&self.file.path), line: self.file.line(span.start) }
    }

    /// Reports a mistake inside a string of the policy, at its place within the string if that is written without escapes.
    fn mistake(&mut self, text: &Located<String>, mistake: Mistake, warning: bool) {
        let inside = text.span.start + 1..text.span.end.saturating_sub(1);
        let has_no_escapes = self.file.text.get(inside.clone()) == Some(text.value.as_str());
        let span = if has_no_escapes {
            inside.start + mistake.span.start..inside.start + mistake.span.end
        } else {
            text.span.clone()
        };
        let new = if warning { Diagnostic::warning } else { Diagnostic::error };
        let place = self.file.place(span);
        self.diagnostics.push(new(mistake.code, mistake.message).at(place).maybe_help(mistake.help));
    }
}
