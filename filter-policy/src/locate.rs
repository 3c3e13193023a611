//! Finding the line of a policy file that something came from.

use crate::{bounds::LIST_BYTES, files::Files, language::diagnostics::Place, model::Origin};

/// The place of `part` in an origin's line, or the whole line if it does not occur there.
pub(crate) fn place_of(origin: &Origin, part: &str, files: &dyn Files) -> Place {
    let content = files.read(&origin.file, LIST_BYTES).unwrap_or_default();
    let index = (origin.line as usize).saturating_sub(1);
    let line = content.split(|&byte| byte == b'\n').nth(index).unwrap_or_default();
    if let Some(at) = line.windows(part.len().max(1)).position(|window| window == part.as_bytes()) {
        return Place::new(&origin.file, origin.line, line, at..at + part.len());
    }
    let start = line.len() - line.trim_ascii_start().len();
    Place::new(&origin.file, origin.line, line, start..line.trim_ascii_end().len())
}
