//! Diagnostics as text, as compilers print them, and as JSON.

use std::{fmt, path::Path};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::{Diagnostic, Diagnostics, Severity};
use crate::language::printable::escaped;

impl Diagnostics {
    /// The text for people: each diagnostic with its source line, then the number of those not listed. Paths are shown below
    /// `directory`, if given, so that editors and terminals can open them.
    #[must_use]
    pub fn render(&self, styled: bool, directory: Option<&Path>) -> String {
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        for entry in &self.entries {
            text.push_str(entry.render(&renderer, directory).trim_end());
            text.push_str("\n\n");
        }
        for ((file, severity), count) in &self.unlisted {
            let file = escaped(&file.to_string_lossy());
            text.push_str(&format!("{file}: {count} more {}, not listed\n\n", severity.noun(*count)));
        }
        text
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.render(false, None))?;
        formatter.write_str(&self.totals())
    }
}

impl Diagnostic {
    fn render(&self, renderer: &Renderer, directory: Option<&Path>) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(&self.message).id(self.code.name());
        let Some(place) = &self.place else {
            let help = self.help.as_ref().map(|help| Level::HELP.message(help));
            return renderer.render(&[title.elements(help)]);
        };
        let path = directory.map_or_else(|| place.file.to_path_buf(), |directory| directory.join(&*place.file));
        let path = escaped(&path.to_string_lossy());
        let span = place.shown_span.clone();
        let mut group = title.element(
            Snippet::source(place.shown.as_str())
                .line_start(place.line as usize)
                .path(path.as_str())
                .annotation(AnnotationKind::Primary.span(span).label(self.label.as_deref())),
        );
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help));
        }
        let text = renderer.render(&[group]);
        // The renderer takes the column from the text that is shown, in which characters may be escaped and the start of a
        // long line is missing. The place is on the line after the title.
        match text.split_once('\n') {
            Some((title, rest)) if place.shown_column() != place.column => {
                let shown = format!("{path}:{}:{}", place.line, place.shown_column());
                let in_file = format!("{path}:{}:{}", place.line, place.column);
                format!("{title}\n{}", rest.replacen(&shown, &in_file, 1))
            }
            Some(_) | None => text,
        }
    }

    /// One JSON object: `severity, code, message, file, line, column, end_column, help`; absent values are `null`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let place = self.place.as_ref();
        serde_json::json!({
            "severity": self.severity.name(),
            "code": self.code.name(),
            "message": match &self.label {
                Some(label) => format!("{}: {label}", self.message),
                None => self.message.clone(),
            },
            "file": place.map(|place| place.file.display().to_string()),
            "line": place.map(|place| place.line),
            "column": place.map(|place| place.column),
            "end_column": place.map(|place| place.end_column),
            "help": self.help,
        })
    }
}
