//! Builds policies for tests, and panics with the diagnostics of those that have errors.

use std::path::Path;

use filter_policy::{
    Built,
    files::{Directory, Files, Table},
};

/// The sample policy of the repository.
#[must_use]
#[track_caller]
pub fn sample() -> Built {
    folder(&ringfence_tests::workspace().join("policies"))
}

/// A policy that uses every scope. Ordinary calls (see [`ringfence_tests::message`]) match none of its rules.
#[must_use]
#[track_caller]
pub fn everything() -> Built {
    text(include_str!("everything.toml"))
}

/// The policy in a folder.
#[must_use]
#[track_caller]
pub fn folder(folder: &Path) -> Built {
    build(&Directory::new(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())), Some(folder))
}

/// A policy of this text and no other file.
#[must_use]
#[track_caller]
pub fn text(text: &str) -> Built {
    files(&[("policy.toml", text)])
}

/// A policy of these files, each a path and a text.
#[must_use]
#[track_caller]
pub fn files(files: &[(&str, &str)]) -> Built {
    let files: Vec<(&str, &[u8])> = files.iter().map(|&(path, text)| (path, text.as_bytes())).collect();
    build(&Table(&files), None)
}

#[track_caller]
fn build(files: &dyn Files, folder: Option<&Path>) -> Built {
    filter_policy::build(files, filter_policy::today())
        .unwrap_or_else(|diagnostics| panic!("{}", diagnostics.render(false, folder)))
}
