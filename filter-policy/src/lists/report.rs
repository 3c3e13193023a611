//! What is wrong with list entries, and how it is reported.

use std::{ops::Range, path::PathBuf, sync::Arc};

use super::lines::LONGEST_LINE;
use crate::language::diagnostics::{Code, Diagnostic, Diagnostics, Place, Severity};

/// Errors of one list that are reported in full; further ones are only counted.
pub(super) const LISTED_ERRORS: u64 = 100;

/// Warnings of one list that are reported in full; further ones are only counted.
pub(super) const LISTED_WARNINGS: u64 = 10;

/// What is wrong with an entry. The span is relative to the text that was parsed.
#[derive(Clone, Debug)]
pub(crate) struct Mistake {
    /// What kind of mistake.
    pub(crate) code: Code,
    /// What is wrong.
    pub(crate) message: String,
    /// How to fix it.
    pub(crate) help: Option<String>,
    /// Where in the entry.
    pub(crate) span: Range<usize>,
}

impl Mistake {
    pub(super) fn new(code: Code, span: Range<usize>, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: None, span }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same mistake at another place.
    pub(super) fn at(mut self, span: Range<usize>) -> Self {
        self.span = span;
        self
    }

    /// The same mistake in a text that has `offset` bytes before the one that was parsed.
    pub(super) fn shifted(mut self, offset: usize) -> Self {
        self.span = self.span.start + offset..self.span.end + offset;
        self
    }
}

/// Reports mistakes in one list's lines, each kind up to its limit.
pub(super) struct Reporter<'a> {
    file: &'a Arc<PathBuf>,
    diagnostics: &'a mut Diagnostics,
    errors: u64,
    warnings: u64,
}

impl<'a> Reporter<'a> {
    pub(super) fn new(file: &'a Arc<PathBuf>, diagnostics: &'a mut Diagnostics) -> Self {
        Self { file, diagnostics, errors: 0, warnings: 0 }
    }

    pub(super) fn error(&mut self, line: u32, text: &[u8], mistake: Mistake) {
        self.errors += 1;
        if self.errors > LISTED_ERRORS {
            self.diagnostics.count_unlisted(self.file, Severity::Error, 1);
        } else {
            self.push(Diagnostic::error, line, text, mistake);
        }
    }

    pub(super) fn warning(&mut self, line: u32, text: &[u8], mistake: Mistake) {
        self.warnings += 1;
        if self.warnings > LISTED_WARNINGS {
            self.diagnostics.count_unlisted(self.file, Severity::Warning, 1);
        } else {
            self.push(Diagnostic::warning, line, text, mistake);
        }
    }

    /// Reports a list that has more entries than may still be read, at the first line that is left out.
    pub(super) fn too_many(&mut self, line: u32, text: &[u8]) {
        let mistake = Mistake::new(Code::TooLarge, 0..text.len(), "the lists of this policy have too many entries together")
            .help("the limit is an entry for each 16 bytes of `max_list_bytes`, a key of the daemon's configuration; a range of exact \
                   numbers has an entry for each");
        self.error(line, text, mistake);
    }

    fn push(&mut self, new: fn(Code, String) -> Diagnostic, line: u32, text: &[u8], mistake: Mistake) {
        let (line, text, span) = one_line(line, text, mistake.span);
        // What is shown of a line is short anyway.
        let text = &text[..text.len().min(LONGEST_LINE)];
        let place = Place::new(self.file, line, text, span);
        self.diagnostics.push(new(mistake.code, mistake.message).at(place).maybe_help(mistake.help));
    }
}

/// The line that a span begins in, of a text that may have several, and the part of the span that is in it.
fn one_line(line: u32, text: &[u8], span: Range<usize>) -> (u32, &[u8], Range<usize>) {
    let before = &text[..span.start.min(text.len())];
    let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let length = text[start..].iter().position(|&byte| byte == b'\n').unwrap_or(text.len() - start);
    let number = line + before.iter().filter(|&&byte| byte == b'\n').count() as u32;
    (number, &text[start..start + length], span.start - start..(span.end - start).min(length).max(span.start - start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lists::{addresses, test_lists::file};

    #[test]
    fn mistakes_beyond_the_limit_are_counted() {
        let mut diagnostics = Diagnostics::default();
        addresses(&file("x.txt"), "nonsense\n".repeat(250).as_bytes(), usize::MAX, &mut diagnostics);
        assert_eq!((diagnostics.iter().count(), diagnostics.count(Severity::Error)), (100, 250));
        assert!(diagnostics.render(false, None).contains("x.txt: 150 more errors, not listed"));
    }
}
