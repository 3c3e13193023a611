//! The table of rule sets.

use std::collections::HashMap;

use filter_core::layout::RuleSet;

/// All rows of an image.
pub(super) struct Rows {
    rows: Vec<RuleSet>,
    pairs: HashMap<(RuleSet, RuleSet), u32>,
}

impl Rows {
    /// Starts with a table of `classes` rows (at least one), each of which has every rule.
    pub(super) fn new(classes: usize, all: RuleSet) -> Self {
        Self { rows: vec![all; classes.max(1)], pairs: HashMap::new() }
    }

    /// Adds a row; returns its index.
    pub(super) fn push(&mut self, row: RuleSet) -> u32 {
        self.push_table([row])
    }

    /// Adds consecutive rows; returns the first one's index.
    pub(super) fn push_table(&mut self, rows: impl IntoIterator<Item = RuleSet>) -> u32 {
        let first = self.rows.len() as u32;
        self.rows.extend(rows);
        first
    }

    /// Adds a pair of hits and vetoes, or finds an equal one; returns the first one's index.
    pub(super) fn push_pair(&mut self, hits: RuleSet, vetoes: RuleSet) -> u32 {
        if let Some(&first) = self.pairs.get(&(hits, vetoes)) {
            return first;
        }
        let first = self.push_table([hits, vetoes]);
        self.pairs.insert((hits, vetoes), first);
        first
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn into_rows(self) -> Vec<RuleSet> {
        self.rows
    }
}
