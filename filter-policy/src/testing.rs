//! Policy repositories for tests, in this crate and in others.

mod random;

use std::{fs, io, path::Path};

use crate::{Built, files::Table, language::diagnostics::Diagnostics, lists::Day, model::Policy};
pub use random::Random;

/// The day that tests build policies on, unless they are about expiry.
pub const TODAY: Day = (2026, 11, 21);

/// Loads a repository of text files, each with its path, without compiling it.
///
/// # Errors
///
/// As for [`load_from`](crate::load_from).
pub fn load(files: &[(&str, &str)]) -> Result<(Policy, Diagnostics), Diagnostics> {
    crate::load_from(&Table(&as_bytes(files)), TODAY)
}

/// Builds a repository of text files, each with its path.
///
/// # Errors
///
/// As for [`build`](crate::build).
pub fn build(files: &[(&str, &str)]) -> Result<Built, Diagnostics> {
    crate::build(&Table(&as_bytes(files)), TODAY)
}

/// Writes a repository of text files below a folder, with the folders that they are in.
///
/// # Errors
///
/// Those of writing files.
pub fn write(folder: &Path, files: &[(&str, &str)]) -> io::Result<()> {
    for (path, text) in files {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)?;
    }
    Ok(())
}

fn as_bytes<'a>(files: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a [u8])> {
    files.iter().map(|(path, text)| (*path, text.as_bytes())).collect()
}
