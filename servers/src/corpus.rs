//! Messages from outside of the repository: a folder that `RINGFENCE_CORPUS` names, by default `../shared/corpus` beside the
//! workspace.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use ringfence_tests::{say, workspace};

/// A message with the name of its file.
#[derive(Clone, Debug)]
pub struct Case {
    /// The file's name.
    pub name: String,
    /// The file's contents, as the sender sent them.
    pub message: Vec<u8>,
}

/// The messages of real senders; none if there is no corpus.
///
/// # Errors
/// A file cannot be read.
pub fn messages() -> Result<Option<Vec<Case>>> {
    files("messages")
}

/// Messages that were made to be read differently; none if there is no corpus.
///
/// # Errors
/// A file cannot be read.
pub fn attacks() -> Result<Option<Vec<Case>>> {
    files("attacks")
}

/// Messages from public reports of what went wrong; none if there is no corpus.
///
/// # Errors
/// A file cannot be read.
pub fn cases() -> Result<Option<Vec<Case>>> {
    files("cases")
}

/// Where the corpus is, if it is there.
#[must_use]
pub fn corpus() -> PathBuf {
    std::env::var_os("RINGFENCE_CORPUS").map_or_else(|| workspace().join("../shared/corpus"), PathBuf::from)
}

fn files(part: &str) -> Result<Option<Vec<Case>>> {
    let corpus = corpus();
    let folder = corpus.join(part);
    if !folder.is_dir() {
        say(&format!("\n*** LEFT OUT: no {part} in {} (RINGFENCE_CORPUS names another place) ***\n", corpus.display()));
        return Ok(None);
    }
    let mut cases = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "sip") {
            cases.push(Case {
                name: name(&path),
                message: fs::read(&path).with_context(|| path.display().to_string())?,
            });
        }
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Some(cases))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
