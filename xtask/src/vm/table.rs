//! The checked-in table of the verifier's counts.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    fs,
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    guest::{Cost, Report},
    kernels::{lock, version_key},
    workspace,
};

/// Its path in the repository.
pub(crate) const PATH: &str = "tests/data/kernels.tsv";

/// The document that shows the table, between two marker lines.
const DOCUMENT: &str = "docs/kernels.md";
const MARK: &str = "<!-- written by `cargo xtask vm --record` -->\n";
const END: &str = "<!-- end -->\n";

const HEADING: &str = "series\tkernel\tpolicy\tverified_instructions\tstates\tpeak_states\tload_ms\n";

/// The most instructions that the verifier may process: a quarter of the kernel's limit.
const BUDGET: u64 = 250_000;

/// The growth over the table, in percent, that is accepted.
const GROWTH: u64 = 10;

/// By series: the kernel that was measured, and the cost of each policy's program.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Table(BTreeMap<String, Recorded>);

#[derive(Debug, Default, PartialEq)]
struct Recorded {
    kernel: String,
    costs: BTreeMap<String, Cost>,
}

impl Table {
    /// Reads the checked-in table.
    pub(crate) fn read() -> Result<Self> {
        let path = workspace::root().join(PATH);
        if !path.exists() {
            return Ok(Self::default());
        }
        Self::parse(&fs::read_to_string(&path)?).with_context(|| format!("failed to read {PATH}"))
    }

    /// Writes the table into its file and into the document.
    fn write(&self) -> Result<()> {
        let root = workspace::root();
        fs::write(root.join(PATH), self.to_string()).with_context(|| format!("failed to write {PATH}"))?;
        let document = root.join(DOCUMENT);
        let text = fs::read_to_string(&document).with_context(|| format!("failed to read {DOCUMENT}"))?;
        fs::write(&document, self.shown_in(&text)?).with_context(|| format!("failed to write {DOCUMENT}"))
    }

    /// The document's text with this table in it.
    fn shown_in(&self, text: &str) -> Result<String> {
        let (front, rest) = text.split_once(MARK).with_context(|| format!("{DOCUMENT} has no line {MARK:?}"))?;
        let (_, back) = rest.split_once(END).with_context(|| format!("{DOCUMENT} has no line {END:?}"))?;
        let mut table = String::from(
            "| kernel | policy | instructions | of a million | states | held at once | loaded in |\n\
             |---|---|---:|---:|---:|---:|---:|\n",
        );
        for (_, Recorded { kernel, costs }) in self.by_kernel() {
            for (policy, Cost { instructions, states, peak_states, load_ms }) in costs {
                let tenths = instructions / 1_000;
                let [instructions, states, peak_states, load_ms] =
                    [*instructions, *states, *peak_states, *load_ms].map(in_thousands);
                writeln!(
                    table,
                    "| {kernel} | {policy} | {instructions} | {}.{} % | {states} | {peak_states} | {load_ms} ms |",
                    tenths / 10,
                    tenths % 10
                )?;
            }
        }
        Ok(format!("{front}{MARK}{table}{END}{back}"))
    }

    /// Sorted from the oldest kernel to the newest.
    fn by_kernel(&self) -> Vec<(&String, &Recorded)> {
        let mut series: Vec<_> = self.0.iter().collect();
        series.sort_by_key(|(_, recorded)| version_key(&recorded.kernel));
        series
    }

    /// Records the measurements on a kernel, in place of those of its series.
    pub(crate) fn record(series: &str, report: &Report) -> Result<()> {
        // Two runs may record at the same time.
        let _lock = lock()?;
        let mut table = Self::read()?;
        table.insert(series, report)?;
        table.write()
    }

    fn insert(&mut self, series: &str, report: &Report) -> Result<()> {
        within_budget(report)?;
        let recorded = Recorded { kernel: report.version.clone(), costs: report.costs.clone() };
        self.0.insert(series.to_owned(), recorded);
        Ok(())
    }

    /// Compares the measurements on a kernel with those recorded for its series. The patch version may differ: new ones
    /// appear all the time.
    pub(crate) fn check(&self, series: &str, report: &Report) -> Result<()> {
        within_budget(report)?;
        let nothing = Recorded::default();
        let known = self.0.get(series).unwrap_or(&nothing);
        let mut problems = Vec::new();
        for (policy, cost) in &report.costs {
            match known.costs.get(policy) {
                None => problems.push(format!("{policy} is not in {PATH} for {series}")),
                Some(known) if cost.instructions * 100 > known.instructions * (100 + GROWTH) => {
                    problems.push(format!(
                        "{policy}: {} instructions verified, {} in the table: growth of more than {GROWTH} %",
                        cost.instructions, known.instructions
                    ));
                }
                Some(_) => {}
            }
        }
        let missing = known.costs.keys().filter(|policy| !report.costs.contains_key(*policy));
        problems.extend(missing.map(|policy| format!("{policy} is in {PATH}, but was not measured")));
        ensure!(
            problems.is_empty(),
            "{} (if that is intended, `cargo xtask vm --load-only --record` updates the table)",
            problems.join("; "),
        );
        Ok(())
    }

    fn parse(text: &str) -> Result<Self> {
        let rows = text.strip_prefix(HEADING).context("its first line is not the expected heading")?;
        let mut table = Self::default();
        for line in rows.lines() {
            let columns: Vec<_> = line.split('\t').collect();
            let [series, kernel, policy, instructions, states, peak_states, load_ms] = columns[..] else {
                bail!("a line with {} columns: {line:?}", columns.len());
            };
            let number = |text: &str| text.parse().with_context(|| format!("{text:?} is not a number"));
            let cost = Cost {
                instructions: number(instructions)?,
                states: number(states)?,
                peak_states: number(peak_states)?,
                load_ms: number(load_ms)?,
            };
            let recorded = table.0.entry(series.to_owned()).or_default();
            kernel.clone_into(&mut recorded.kernel);
            recorded.costs.insert(policy.to_owned(), cost);
        }
        Ok(table)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEADING)?;
        for (series, Recorded { kernel, costs }) in self.by_kernel() {
            for (policy, Cost { instructions, states, peak_states, load_ms }) in costs {
                writeln!(f, "{series}\t{kernel}\t{policy}\t{instructions}\t{states}\t{peak_states}\t{load_ms}")?;
            }
        }
        Ok(())
    }
}

/// Whatever the table says, no kernel may come close to its limit.
fn within_budget(report: &Report) -> Result<()> {
    let over: Vec<_> = report
        .costs
        .iter()
        .filter(|(_, cost)| cost.instructions > BUDGET)
        .map(|(policy, cost)| format!("{policy}: {} instructions verified, the budget is {BUDGET}", cost.instructions))
        .collect();
    ensure!(over.is_empty(), "{}", over.join("; "));
    Ok(())
}

fn in_thousands(number: u64) -> String {
    if number < 1_000 { number.to_string() } else { format!("{},{:03}", in_thousands(number / 1_000), number % 1_000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(instructions: u64) -> Report {
        let cost = Cost { instructions, states: 900, peak_states: 90, load_ms: 71 };
        Report { costs: BTreeMap::from([("sample policy".to_owned(), cost)]), ..Report::default() }
    }

    #[test]
    fn growth_over_a_tenth_fails_and_so_does_a_series_that_was_never_recorded() {
        let mut table = Table::default();
        assert!(table.check("6.1", &report(1000)).is_err());
        table.insert("6.1", &report(1000)).unwrap();
        assert!(table.check("6.1", &report(1100)).is_ok());
        assert!(table.check("6.1", &report(1101)).is_err());
        assert!(table.check("6.12", &report(1000)).is_err(), "each series is compared with its own record");
    }

    #[test]
    fn a_recorded_policy_that_is_no_longer_measured_fails() {
        let mut table = Table::default();
        table.insert("6.1", &report(1000)).unwrap();
        assert!(table.check("6.1", &Report::default()).is_err());
        table.insert("6.1", &Report::default()).unwrap();
        assert!(table.check("6.1", &Report::default()).is_ok(), "recording removes policies that are gone");
    }

    #[test]
    fn more_than_the_budget_fails_and_is_not_recorded() {
        let mut table = Table::default();
        assert!(table.insert("6.1", &report(BUDGET)).is_ok());
        assert!(table.insert("6.1", &report(BUDGET + 1)).is_err());
        assert_eq!(table.0["6.1"].costs["sample policy"].instructions, BUDGET);
    }

    #[test]
    fn the_table_can_be_read_back_and_is_sorted_by_kernel() {
        let mut table = Table::default();
        for (series, version) in [("newest", "7.3.4-1~bpo13+1"), ("6.12", "6.12.57-1"), ("6.1", "6.1.158-1")] {
            table.insert(series, &Report { version: version.to_owned(), ..report(9) }).unwrap();
        }
        let text = table.to_string();
        assert_eq!(Table::parse(&text).unwrap(), table);
        let series: Vec<_> = text.lines().skip(1).map(|line| line.split('\t').next().unwrap()).collect();
        assert_eq!(series, ["6.1", "6.12", "newest"]);
    }

    #[test]
    fn the_table_in_the_repository_has_every_series() {
        let table = Table::read().unwrap();
        for series in super::super::SERIES {
            assert!(table.0.contains_key(series.name), "no {}", series.name);
        }
        let most = table.0.values().flat_map(|recorded| recorded.costs.values()).map(|cost| cost.instructions).max();
        assert!(most.is_some_and(|most| most <= BUDGET), "{most:?}");
    }

    #[test]
    fn the_document_shows_the_table_in_the_repository() {
        let text = fs::read_to_string(workspace::root().join(DOCUMENT)).unwrap();
        assert_eq!(Table::read().unwrap().shown_in(&text).unwrap(), text);
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!([7, 999, 1_000, 1_234_056].map(in_thousands), ["7", "999", "1,000", "1,234,056"]);
    }
}
