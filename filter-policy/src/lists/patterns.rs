//! Pattern lists: one regular expression a line.

use std::{ops::Range, path::PathBuf, sync::Arc};

use regex_automata::util::syntax;
use regex_syntax::hir::Hir;

use super::{
    lines::{lines, too_long},
    report::{Mistake, Reporter},
};
use crate::{
    language::diagnostics::{Code, Diagnostics},
    model::PatternEntry,
};

/// Reads a pattern list: one regular expression a line. A `#` at the start of a line begins a comment. More than `most` entries are an
/// error.
pub(crate) fn patterns(
    file: &Arc<PathBuf>,
    content: &[u8],
    most: usize,
    diagnostics: &mut Diagnostics,
) -> Vec<PatternEntry> {
    let mut reporter = Reporter::new(file, diagnostics);
    let mut entries = Vec::new();
    for (number, line) in lines(content) {
        if let Some(mistake) = too_long(line) {
            reporter.error(number, line, mistake);
            continue;
        }
        let text = line.trim_ascii();
        if text.is_empty() || text.starts_with(b"#") {
            continue;
        }
        let start = line.len() - line.trim_ascii_start().len();
        match pattern(text) {
            Ok(_) if entries.len() >= most => {
                reporter.too_many(number, line);
                break;
            }
            Ok((pattern, warning)) => {
                if let Some(mistake) = warning {
                    reporter.warning(number, line, mistake.shifted(start));
                }
                entries.push(PatternEntry { pattern, line: number });
            }
            Err(mistake) => reporter.error(number, line, mistake.shifted(start)),
        }
    }
    entries
}

/// How patterns are read: over bytes and case-insensitive. Classes and word boundaries are ASCII, since Unicode's do not fit
/// into a table that is walked byte by byte.
pub(crate) fn syntax() -> syntax::Config {
    syntax::Config::new().case_insensitive(true).unicode(false).utf8(false).nest_limit(64)
}

/// Parses a pattern.
///
/// # Errors
///
/// What the parser says.
#[expect(clippy::result_large_err, reason = "the parser's own error, which every caller turns into a text at once")]
pub(crate) fn parse(pattern: &str) -> Result<Hir, regex_syntax::Error> {
    syntax::parse_with(pattern, &syntax())
}

/// Checks a pattern. Returns it, with a warning if it is valid but probably not what was meant.
///
/// # Errors
///
/// What is wrong with it, and where.
pub(crate) fn pattern(text: &[u8]) -> Result<(String, Option<Mistake>), Mistake> {
    let bad = |span: Range<usize>, message: String| Mistake::new(Code::BadPattern, span, message);
    let Ok(text) = std::str::from_utf8(text) else {
        return Err(bad(0..text.len(), "this pattern is not UTF-8".into()).help("write bytes as \\xNN"));
    };
    if text.is_empty() {
        return Err(Mistake::new(Code::Empty, 0..0, "an empty pattern matches every value")
            .help("leave the condition out to match any value; `^$` matches an empty one"));
    }
    let parsed = parse(text).map_err(|error| {
        let (span, reason) = match &error {
            regex_syntax::Error::Parse(error) => (*error.span(), error.kind().to_string()),
            regex_syntax::Error::Translate(error) => (*error.span(), error.kind().to_string()),
            other => return bad(0..text.len(), format!("this regular expression cannot be read: {other}")),
        };
        let mut mistake =
            bad(span.start.offset..span.end.offset, format!("this regular expression cannot be read: {reason}"));
        mistake.help = help(text, &reason).map(ToOwned::to_owned);
        mistake
    })?;
    let properties = parsed.properties();
    let warning = (properties.minimum_len() == Some(0) && properties.look_set().is_empty()).then(|| {
        Mistake::new(Code::MatchesEverything, 0..text.len(), "this pattern matches every value, even an empty one")
            .help("patterns are not anchored: leave out the optional part, or anchor the pattern with `^` and `$`")
    });
    Ok((text.to_owned(), warning))
}

/// How to fix a pattern that the parser rejects for this reason.
fn help(text: &str, reason: &str) -> Option<&'static str> {
    if reason.contains("look-around") {
        return Some(
            "look-around is not supported: put what must not match into its own rule, or use `not.` before the scope",
        );
    }
    if reason.contains("repetition operator missing") {
        return Some(
            "`*`, `+` and `?` repeat what comes before them; to match the characters themselves, write `\\*`, `\\+`, `\\?`",
        );
    }
    if reason.contains("unclosed") || reason.contains("unopened") {
        return Some(if text.contains(['(', ')']) {
            "to match a parenthesis itself, write `\\(` or `\\)`"
        } else {
            "to match a bracket itself, write `\\[`"
        });
    }
    if reason.contains("Unicode") {
        return Some("patterns match bytes: use ASCII classes such as [A-Za-z], and write other bytes as \\xNN");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_that_matches_everything_is_reported() {
        for text in ["a*", "(scan)?", "x{0,3}", "a|"] {
            let (_, warning) = pattern(text.as_bytes()).expect(text);
            assert_eq!(warning.map(|mistake| mistake.code), Some(Code::MatchesEverything), "{text}");
        }
        for text in ["a", "^$", "^a*$", r"\x00", "[^a]"] {
            assert!(pattern(text.as_bytes()).expect(text).1.is_none(), "{text}");
        }
    }
}
