//! The checked-in lists of differences: explained ones, and faults to be fixed.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};

use crate::compare::Difference;

/// One row: `*` in the first four columns matches anything, at the end of a mutation any rest.
#[derive(Clone, Debug)]
struct Row {
    line: usize,
    servers: String,
    field: String,
    what: String,
    mutations: Vec<String>,
}

/// A list of known differences, read from a file with tab-separated values.
#[derive(Clone, Debug)]
pub struct Known {
    file: &'static str,
    rows: Vec<Row>,
}

impl Known {
    /// Differences that stay, each with its reason.
    ///
    /// # Errors
    /// The list cannot be read.
    pub fn explained() -> Result<Self> {
        Self::load("servers/data/explained.tsv")
    }

    /// Faults of the engine that wait to be fixed.
    ///
    /// # Errors
    /// The list cannot be read.
    pub fn to_fix() -> Result<Self> {
        Self::load("servers/data/to-fix.tsv")
    }

    fn load(file: &'static str) -> Result<Self> {
        let path: PathBuf = ringfence_tests::workspace().join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
        Self::parse(file, &text)
    }

    fn parse(file: &'static str, text: &str) -> Result<Self> {
        let mut rows = Vec::new();
        for (index, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let columns: Vec<&str> = line.split('\t').collect();
            ensure!(
                columns.len() == 5,
                "{file}:{}: not servers, field, difference, mutations and reason: {line}",
                index + 1
            );
            ensure!(columns[4].len() > 20, "{file}:{}: no reason", index + 1);
            rows.push(Row {
                line: index + 1,
                servers: columns[0].to_owned(),
                field: columns[1].to_owned(),
                what: columns[2].to_owned(),
                mutations: columns[3].split(' ').map(str::to_owned).collect(),
            });
        }
        Ok(Self { file, rows })
    }

    /// The line of the first row that holds for a difference with one server, after these mutations and no more than needed.
    #[must_use]
    pub fn find(&self, server: &str, difference: &Difference, mutations: &[String]) -> Option<usize> {
        let row = self.rows.iter().find(|row| {
            (row.servers == "*" || row.servers.split(',').any(|one| one == server))
                && (row.field == "*" || row.field.split(',').any(|one| one == difference.field_name()))
                && (row.what == "*" || row.what == difference.what.name())
                && row.mutations.iter().all(|wanted| mutations.iter().any(|mutation| matches(wanted, mutation)))
        })?;
        Some(row.line)
    }

    /// The lines of the rows that are not among these.
    #[must_use]
    pub fn unused(&self, used: &std::collections::BTreeSet<usize>) -> Vec<String> {
        self.rows
            .iter()
            .filter(|row| !used.contains(&row.line))
            .map(|row| format!("{}:{}", self.file, row.line))
            .collect()
    }
}

/// `*` matches any text. A pattern can have several.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            rest.is_empty() || (0..=text.len()).any(|at| text.is_char_boundary(at) && matches(rest, &text[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{compare::What, reading::Field};

    #[test]
    fn a_row_matches_by_server_field_difference_and_mutations() {
        let text = "# servers\nsofia,pjsip\tfrom_user\tmissing\tuser-*:From:*\ta reason that says something\n";
        let known = Known::parse("x.tsv", text).expect("a good list");
        let difference = Difference {
            field: Some(Field::FromUser),
            what: What::Missing,
            flagged: false,
            theirs: String::new(),
            ours: String::new(),
        };
        let mutations = ["user-end:From:nul".to_owned(), "tcp".to_owned()];
        assert_eq!(known.find("sofia", &difference, &mutations), Some(2));
        assert_eq!(known.find("libre", &difference, &mutations), None);
        assert_eq!(known.find("sofia", &difference, &mutations[1..]), None);
        assert_eq!(known.find("sofia", &Difference { what: What::Other, ..difference }, &mutations), None);
    }

    #[test]
    fn a_row_without_a_reason_is_refused() {
        assert!(Known::parse("x.tsv", "sofia\t*\t*\t*\tyes\n").is_err());
        assert!(Known::parse("x.tsv", "sofia\t*\t*\n").is_err());
    }
}
