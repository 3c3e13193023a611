//! Results as tables for terminals, Markdown and JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::{machine::Kind, results::Costs};

/// A table with a title and an explanation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub title: String,
    pub text: String,
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
    /// The same as numbers, to compare runs; `None` if the rows are not costs.
    pub costs: Option<Costs>,
}

impl Table {
    pub(crate) fn new(title: impl Into<String>, text: impl Into<String>, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        Self { title: title.into(), text: text.into(), columns, rows: Vec::new(), costs: None }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The width of each column: that of its widest cell.
    fn widths(&self) -> Vec<usize> {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).chain(self.columns.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        (0..self.columns.len()).map(width).collect()
    }

    /// For a terminal: the first column is aligned to the left, numbers to the right.
    pub(crate) fn plain(&self) -> String {
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

    /// As Markdown, with the machine that it was measured on.
    pub(crate) fn markdown(&self, machine: &str) -> String {
        let mut text = format!("### {}\n\nOn {machine}.\n\n", self.title);
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

    pub(crate) fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| self.columns.iter().cloned().zip(row.iter().map(|cell| Value::from(cell.as_str()))).collect())
            .collect();
        json!({ "title": self.title, "rows": rows })
    }
}

/// A target for a measured value.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub name: String,
    /// The measured value. If there is none, `note` says why.
    pub value: Option<f64>,
    /// The limit, as text.
    pub reach: String,
    pub reached: bool,
    pub note: String,
    /// The kind of machine that it was set for; `None` if it holds on all of them.
    pub only_on: Option<Kind>,
    /// Set for another kind of machine than this one.
    pub not_judged: bool,
}

impl Target {
    /// The value must not exceed `limit`.
    pub(crate) fn at_most(name: &str, value: f64, limit: f64, unit: &str) -> Self {
        Self {
            name: name.to_owned(),
            value: Some(value),
            reach: format!("<= {limit}{unit}"),
            reached: value <= limit,
            note: String::new(),
            only_on: None,
            not_judged: false,
        }
    }

    /// The value must be at least `limit`.
    pub(crate) fn at_least(name: &str, value: f64, limit: f64, unit: &str) -> Self {
        Self { reach: format!(">= {limit}{unit}"), reached: value >= limit, ..Self::at_most(name, value, limit, unit) }
    }

    /// A target that was not measured.
    pub(crate) fn left_out(name: &str, reach: &str, why: &str) -> Self {
        let (name, reach, note) = (name.to_owned(), reach.to_owned(), why.to_owned());
        Self { name, value: None, reach, reached: false, note, only_on: None, not_judged: false }
    }

    /// Adds a note, after the reason if it was not measured.
    #[must_use]
    pub(crate) fn noted(mut self, note: impl Into<String>) -> Self {
        if !self.note.is_empty() {
            self.note.push_str("; ");
        }
        self.note.push_str(&note.into());
        self
    }

    /// The target was set for this kind of machine.
    #[must_use]
    pub(crate) fn on(self, kind: Kind) -> Self {
        Self { only_on: Some(kind), ..self }
    }

    /// The target on a machine of this kind.
    #[must_use]
    pub(crate) fn judged_on(self, kind: Kind) -> Self {
        let not_judged = self.only_on.is_some_and(|only| only != kind);
        Self { not_judged, ..self }
    }

    /// A sentence about a target that is not reached.
    pub(crate) fn shortfall(&self) -> Option<String> {
        if self.reached || self.not_judged {
            return None;
        }
        let Self { name, reach, note, .. } = self;
        Some(match self.value {
            Some(value) => format!("{name}: {value:.2}, target {reach}."),
            None => format!("{name}: not measured ({note})."),
        })
    }

    pub(crate) fn json(&self) -> Value {
        let value = self.value.map(|value| (value * 1000.0).round() / 1000.0);
        let only_on = self.only_on.map(Kind::name);
        json!({
            "name": self.name, "value": value, "reach": self.reach, "reached": self.reached, "note": self.note,
            "only_on": only_on, "judged": !self.not_judged,
        })
    }
}

/// The targets as a table.
pub(crate) fn targets(targets: &[Target]) -> Table {
    let mut table = Table::new("Targets", "", &["what", "measured", "target", "reached", "note"]);
    for target in targets {
        let value = target.value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
        let reached = match target.value {
            _ if target.not_judged => "not judged here",
            None => "not measured",
            Some(_) if target.reached => "yes",
            Some(_) => "NO",
        };
        let reach = match target.only_on {
            Some(kind) => format!("{} ({})", target.reach, kind.name()),
            None => target.reach.clone(),
        };
        table.row([target.name.clone(), value, reach, reached.to_owned(), target.note.clone()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_judged_only_on_the_kind_of_machine_that_it_was_set_for() {
        let target = Target::at_most("scanner", 500.0, 160.0, " ns").on(Kind::NoSafeRet);
        let [here, there] = [Kind::NoSafeRet, Kind::SafeRet].map(|kind| target.clone().judged_on(kind));
        let table = targets(&[here.clone(), there.clone()]);
        assert_eq!(table.rows[0][2..4], ["<= 160 ns (no Safe RET)", "NO"]);
        assert_eq!(table.rows[1][2..4], ["<= 160 ns (no Safe RET)", "not judged here"]);
        assert!(here.shortfall().is_some() && there.shortfall().is_none());
        let left_out = Target::left_out("flood", ">= 1.8 x", "no iptables").noted("sample policy");
        assert_eq!(left_out.note, "no iptables; sample policy");
        // Without a kind, it holds everywhere.
        assert!(Target::at_most("rules", 2.0, 1.3, " x").judged_on(Kind::SafeRet).shortfall().is_some());
    }
}
