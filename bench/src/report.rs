//! What was measured, as tables for people, Markdown and JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// A table: a title, what it says, columns, rows.
#[derive(Clone, Debug, Default)]
pub struct Table {
    pub title: String,
    pub text: String,
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(title: impl Into<String>, text: impl Into<String>, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        Self { title: title.into(), text: text.into(), columns, rows: Vec::new() }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Columns as wide as their widest cell; the first one to the left, numbers to the right.
    fn widths(&self) -> Vec<usize> {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).chain(self.columns.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        (0..self.columns.len()).map(width).collect()
    }

    /// For a terminal.
    pub fn plain(&self) -> String {
        let widths = self.widths();
        let mut text = format!("\n{}\n", self.title);
        for row in std::iter::once(&self.columns).chain(&self.rows) {
            let mut line = String::new();
            for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let _ = if index == 0 { write!(line, "  {cell:<width$}") } else { write!(line, "  {cell:>width$}") };
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// For a document.
    pub fn markdown(&self) -> String {
        let mut text = format!("### {}\n\n", self.title);
        if !self.text.is_empty() {
            let _ = writeln!(text, "{}\n", self.text);
        }
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        text.push_str(&line(&self.columns));
        let rule: Vec<_> = (0..self.columns.len()).map(|index| if index == 0 { "---" } else { "---:" }).collect();
        let _ = writeln!(text, "|{}|", rule.join("|"));
        self.rows.iter().for_each(|row| text.push_str(&line(row)));
        text
    }

    pub fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| self.columns.iter().cloned().zip(row.iter().map(|cell| Value::from(cell.as_str()))).collect())
            .collect();
        json!({ "title": self.title, "rows": rows })
    }
}

/// A figure to reach.
#[derive(Clone, Debug)]
pub struct Target {
    pub name: String,
    /// What was measured; none if it was not, and then why is in `note`.
    pub value: Option<f64>,
    /// In words.
    pub reach: String,
    pub reached: bool,
    pub note: String,
}

impl Target {
    /// A value that may be at most `limit`.
    pub fn at_most(name: &str, value: f64, limit: f64, unit: &str) -> Self {
        Self {
            name: name.to_owned(),
            value: Some(value),
            reach: format!("<= {limit}{unit}"),
            reached: value <= limit,
            note: String::new(),
        }
    }

    /// A value that must be at least `limit`.
    pub fn at_least(name: &str, value: f64, limit: f64, unit: &str) -> Self {
        Self { reach: format!(">= {limit}{unit}"), reached: value >= limit, ..Self::at_most(name, value, limit, unit) }
    }

    /// One that was left out.
    pub fn left_out(name: &str, reach: &str, why: &str) -> Self {
        Self { name: name.to_owned(), value: None, reach: reach.to_owned(), reached: false, note: why.to_owned() }
    }

    #[must_use]
    pub fn noted(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// What is missing to it, in words; none if it is reached.
    pub fn shortfall(&self) -> Option<String> {
        if self.reached {
            return None;
        }
        let Self { name, reach, note, .. } = self;
        Some(match self.value {
            Some(value) => format!("{name}: {value:.2} where {reach} is wanted."),
            None => format!("{name}: not measured ({note})."),
        })
    }

    pub fn json(&self) -> Value {
        let value = self.value.map(|value| (value * 1000.0).round() / 1000.0);
        json!({
            "name": self.name, "value": value, "reach": self.reach, "reached": self.reached, "note": self.note,
        })
    }
}

/// The targets as a table.
pub fn targets(targets: &[Target]) -> Table {
    let mut table = Table::new("Targets", "", &["what", "measured", "to reach", "reached", "how"]);
    for target in targets {
        let value = target.value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
        let reached = match target.value {
            None => "not measured",
            Some(_) if target.reached => "yes",
            Some(_) => "NO",
        };
        table.row([target.name.clone(), value, target.reach.clone(), reached.to_owned(), target.note.clone()]);
    }
    table
}
