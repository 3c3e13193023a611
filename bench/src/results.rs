//! Results as a file, to compare a later run with: the cost of each row in nanoseconds per packet.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::{document::Section, machine::Machine};

/// Raised when a reader of this format would misread a newer file.
const FORMAT: u32 = 1;

/// A results file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Results {
    format: u32,
    /// Each part that was measured, by its name on the command line.
    pub parts: BTreeMap<String, Part>,
}

/// The results of a part, which may be from another day than those of another part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    /// The machine, as the document describes it.
    pub machine: String,
    /// Its kind, see [`crate::machine::Kind`].
    pub kind: String,
    pub tables: Vec<Costs>,
}

/// The costs of a table's rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Costs {
    pub title: String,
    /// The row that does not depend on Ringfence: what the machine and the day make of the same work.
    pub baseline: String,
    pub rows: Vec<Cost>,
}

/// What a row costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cost {
    pub name: String,
    /// Over the empty program, if the table has one. The kernel rounds them.
    pub nanoseconds: f64,
    /// Whether it is Ringfence's.
    pub ringfence: bool,
}

impl Costs {
    /// The cost of a row.
    pub(crate) fn of(&self, name: &str) -> Option<f64> {
        self.rows.iter().find(|row| row.name == name).map(|row| row.nanoseconds)
    }
}

impl Results {
    /// The results of these sections. Tables without costs (rates, times of policy changes) are left out.
    pub(crate) fn new(sections: &[Section], machine: &Machine) -> Self {
        let mut results = Self { format: FORMAT, parts: BTreeMap::new() };
        for section in sections {
            let tables: Vec<_> = section.tables.iter().filter_map(|table| table.costs.clone()).collect();
            if !tables.is_empty() {
                let part = Part { machine: machine.text(), kind: machine.kind().name().to_owned(), tables };
                results.parts.insert(section.part.name(), part);
            }
        }
        results
    }

    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
        let results: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} is not a file that `--save` or `--write` has written", path.display()))?;
        ensure!(results.format == FORMAT, "{} has format {}, not {FORMAT}", path.display(), results.format);
        Ok(results)
    }

    /// Writes the parts into the file, and leaves the other parts in it alone.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let mut all = if path.exists() { Self::read(path)? } else { Self { format: FORMAT, parts: BTreeMap::new() } };
        all.parts.extend(self.parts.clone());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
        }
        let text = serde_json::to_string_pretty(&all)? + "\n";
        fs::write(path, text).with_context(|| format!("failed to write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(part: &str, nanoseconds: f64) -> Results {
        let rows = vec![Cost { name: "64 rules".to_owned(), nanoseconds, ringfence: true }];
        let tables = vec![Costs { title: "A table".to_owned(), baseline: "copy".to_owned(), rows }];
        let measured = Part { machine: "a machine".to_owned(), kind: "Safe RET".to_owned(), tables };
        Results { format: FORMAT, parts: BTreeMap::from([(part.to_owned(), measured)]) }
    }

    #[test]
    fn a_part_is_replaced_in_the_file_and_the_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("benchmarks/safe-ret.json");
        one("packet", 900.0).write(&path).unwrap();
        one("live", 200.0).write(&path).unwrap();
        one("packet", 800.0).write(&path).unwrap();
        let read = Results::read(&path).unwrap();
        assert_eq!(read.parts["packet"], one("packet", 800.0).parts["packet"]);
        assert_eq!(read.parts["live"], one("live", 200.0).parts["live"]);
    }

    #[test]
    fn other_files_are_refused_with_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("BENCHMARKS.md");
        fs::write(&path, "# Benchmarks\n").unwrap();
        assert!(format!("{:#}", Results::read(&path).unwrap_err()).contains("BENCHMARKS.md is not a file that"));
        fs::write(&path, "{\"format\": 2, \"parts\": {}}").unwrap();
        assert!(format!("{:#}", Results::read(&path).unwrap_err()).contains("has format 2, not 1"));
    }
}
