//! The commit that is checked out.

use std::{fs, path::Path};

/// The commit that is checked out, if the directory is in a git repository.
pub(super) fn of(directory: &Path) -> Option<String> {
    let directory = fs::canonicalize(directory).ok()?;
    directory.ancestors().find_map(|folder| head_of(&folder.join(".git")))
}

/// The commit that a repository's HEAD names. `.git` may be a file that names the directory (worktrees, submodules).
///
/// Read by hand: git refuses to read repositories that another user owns, and the daemon's usually are.
fn head_of(git: &Path) -> Option<String> {
    let git = if git.is_file() {
        let text = fs::read_to_string(git).ok()?;
        git.parent()?.join(text.strip_prefix("gitdir:")?.trim())
    } else {
        git.to_path_buf()
    };
    let head = fs::read_to_string(git.join("HEAD")).ok()?;
    let Some(reference) = head.trim().strip_prefix("ref: ") else { return commit(&head) };
    let common = match fs::read_to_string(git.join("commondir")) {
        Ok(text) => git.join(text.trim()),
        Err(_) => git,
    };
    if let Ok(text) = fs::read_to_string(common.join(reference)) {
        return commit(&text);
    }
    let packed = fs::read_to_string(common.join("packed-refs")).ok()?;
    let (found, _) = packed.lines().filter_map(|line| line.split_once(' ')).find(|(_, name)| *name == reference)?;
    commit(found)
}

/// A commit ID: 40 or 64 hexadecimal digits.
fn commit(text: &str) -> Option<String> {
    let text = text.trim();
    (matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| text.to_owned())
}
