//! Places in files: a line, and the part of it that a diagnostic is about.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Code, Diagnostic};
use crate::language::printable;

/// A file's text, with an index of its lines.
#[derive(Debug)]
pub struct SourceFile {
    /// Path relative to the policy's directory.
    pub path: Arc<PathBuf>,
    /// The whole content. Offsets and spans are bytes of it.
    pub text: String,
    line_starts: Vec<usize>,
}

impl SourceFile {
    /// Indexes the lines of a file's text.
    #[must_use]
    pub fn new(path: &Path, text: String) -> Self {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { path: Arc::new(path.to_owned()), text, line_starts }
    }

    /// Indexes the lines of a file's bytes. `kind` is what the file is.
    ///
    /// # Errors
    /// It is not UTF-8.
    #[expect(clippy::result_large_err, reason = "a caller turns it into diagnostics at once")]
    pub fn decode(path: &Path, content: &[u8], kind: &str) -> Result<Self, Diagnostic> {
        const BYTE_ORDER_MARK: char = '\u{feff}';
        let text = std::str::from_utf8(content).map_err(|error| {
            let valid = String::from_utf8_lossy(&content[..error.valid_up_to()]).into_owned();
            let end = valid.len();
            let place = Self::new(path, valid).place(end..end);
            let message = format!("the {kind} is not valid UTF-8 from here on");
            Diagnostic::error(Code::Syntax, message).at(place).help("save the file as UTF-8")
        })?;
        Ok(Self::new(path, text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text).to_owned()))
    }

    /// The number of the line, from 1, that holds the byte at `offset`.
    #[must_use]
    pub fn line(&self, offset: usize) -> u32 {
        u32::try_from(self.line_starts.partition_point(|&start| start <= offset)).unwrap_or(u32::MAX)
    }

    /// The place of a span of bytes. A span of several lines is cut at the end of its first line.
    #[must_use]
    pub fn place(&self, span: Range<usize>) -> Place {
        let start = span.start.min(self.text.len());
        let line = self.line(start);
        let line_start = self.line_starts[line as usize - 1];
        let line_end = self.text[line_start..].find('\n').map_or(self.text.len(), |length| line_start + length);
        let text = &self.text[line_start..line_end];
        Place::new(&self.path, line, text.as_bytes(), start - line_start..span.end.saturating_sub(line_start))
    }
}

/// A place in a file: a part of one line.
///
/// It carries as much of the line as is shown, so that rendering needs no file, and a mistake in a list of a million lines
/// costs one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Path relative to the policy's directory.
    pub file: Arc<PathBuf>,
    /// Line, from 1.
    pub line: u32,
    /// First column of the span, from 1, in characters of the file.
    pub column: u32,
    /// First column after the span.
    pub end_column: u32,
    /// The line, or the part of it that is shown, made printable.
    pub(super) shown: String,
    /// The span in `shown`.
    pub(super) shown_span: Range<usize>,
}

impl Place {
    /// Characters of a line that are shown on each side of the span's start.
    const SHOWN: usize = 120;

    /// The place of `span` (bytes) in a line. Invalid UTF-8 is shown as U+FFFD.
    #[must_use]
    pub fn new(file: &Arc<PathBuf>, line: u32, text: &[u8], span: Range<usize>) -> Self {
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let start = span.start.min(text.len());
        let end = span.end.clamp(start, text.len());
        let before = String::from_utf8_lossy(&text[..start]);
        let inside = String::from_utf8_lossy(&text[start..end]);
        let after = String::from_utf8_lossy(&text[end..]);
        let column = characters(&before).saturating_add(1);
        let end_column = column.saturating_add(characters(&inside).max(1));

        let kept_before = before.char_indices().rev().nth(Self::SHOWN - 1).map_or(0, |(at, _)| at);
        let kept = |part: &str| part.char_indices().nth(Self::SHOWN).map_or(part.len(), |(at, _)| at);
        // Escapes are wider than the characters they replace: the span is taken after escaping, the columns before.
        let before = printable::source_text(&before[kept_before..]);
        let inside = printable::source_text(&inside[..kept(&inside)]);
        let after = printable::source_text(&after[..kept(&after)]);
        let shown_span = before.len()..before.len() + inside.len();
        Self { file: Arc::clone(file), line, column, end_column, shown: format!("{before}{inside}{after}"), shown_span }
    }

    /// First column of the span in what is shown, from 1.
    pub(super) fn shown_column(&self) -> u32 {
        characters(&self.shown[..self.shown_span.start]).saturating_add(1)
    }
}

fn characters(text: &str) -> u32 {
    u32::try_from(text.chars().count()).unwrap_or(u32::MAX)
}
