//! What is allowed, and probably not what was meant.

use std::collections::BTreeMap;

use super::{
    diagnostics::Diagnostics, diagnostics::SourceFile, files::Files, lists::Day, model::Policy, resolve::SetState,
    source::Source,
};

/// Adds the warnings about a whole policy.
pub(super) fn lint(
    _policy: &Policy,
    _source: &Source,
    _file: &SourceFile,
    _files: &dyn Files,
    _sets: &BTreeMap<String, SetState>,
    _today: Day,
    _diagnostics: &mut Diagnostics,
) {
}
