//! The table of rule sets.

use std::collections::HashMap;

use filter_core::layout::RuleSet;

/// All rows of an image.
pub struct Rows {
    rows: Vec<RuleSet>,
    pairs: HashMap<(RuleSet, RuleSet), u32>,
}

impl Rows {
    /// Begins with a table of `classes` rows (at least one) that hold every rule.
    pub fn new(classes: usize, all: RuleSet) -> Self {
        Self { rows: vec![all; classes.max(1)], pairs: HashMap::new() }
    }

    /// Adds a row; returns its index.
    pub fn push(&mut self, row: RuleSet) -> u32 {
        self.push_table([row])
    }

    /// Adds consecutive rows; returns the first one's index.
    pub fn push_table(&mut self, rows: impl IntoIterator<Item = RuleSet>) -> u32 {
        let first = self.rows.len() as u32;
        self.rows.extend(rows);
        first
    }

    /// Adds a pair of hits and vetoes, or finds an equal one; returns the first one's index.
    pub fn push_pair(&mut self, hits: RuleSet, vetoes: RuleSet) -> u32 {
        if let Some(&first) = self.pairs.get(&(hits, vetoes)) {
            return first;
        }
        let first = self.push_table([hits, vetoes]);
        self.pairs.insert((hits, vetoes), first);
        first
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn into_rows(self) -> Vec<RuleSet> {
        self.rows
    }
}
