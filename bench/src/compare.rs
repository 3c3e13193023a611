//! A run beside an older one.
//!
//! Absolute times mean nothing across machines, and little across days. So each row is divided by the baseline row of its own
//! table in its own run, and these quotients are compared.

use anyhow::{Result, ensure};

use crate::{
    report::Table,
    results::{Costs, Results},
};

/// The part by which a row may cost more than before.
pub(crate) const TOLERANCE: f64 = 0.05;

/// By how much a figure may be off because the kernel cuts off fractions of nanoseconds. A figure over the empty program is the
/// difference of two such figures.
const ROUNDING: f64 = 1.0;

/// A row of both runs.
#[derive(Clone, Debug)]
struct Pair<'a> {
    part: &'a str,
    table: &'a str,
    name: &'a str,
    ringfence: bool,
    old: f64,
    new: f64,
    /// The baselines of the two runs, if both have one.
    baselines: Option<(f64, f64)>,
}

impl Pair<'_> {
    /// How much the row costs now, as a multiple of what it cost, in units of each run's baseline.
    fn relative(&self) -> Option<f64> {
        let (old, new) = self.baselines?;
        (old > 0.0 && new > 0.0 && self.old > 0.0).then(|| (self.new / new) / (self.old / old))
    }

    /// Whether it costs more than is tolerated, even if all four figures were rounded in its disfavour.
    fn is_worse(&self) -> bool {
        let Some((old, new)) = self.baselines else { return false };
        let now = (self.new - ROUNDING) / (new + ROUNDING);
        let then = (self.old + ROUNDING) / (old - ROUNDING).max(f64::MIN_POSITIVE);
        self.ringfence && now > then * (1.0 + TOLERANCE)
    }
}

/// The rows that both runs have.
fn pairs<'a>(old: &'a Results, new: &'a Results) -> Vec<Pair<'a>> {
    let mut pairs = Vec::new();
    for (part, measured) in &new.parts {
        let Some(before) = old.parts.get(part) else { continue };
        for table in &measured.tables {
            let Some(earlier) = before.tables.iter().find(|earlier| earlier.title == table.title) else { continue };
            pairs.extend(pairs_of(part, earlier, table));
        }
    }
    pairs
}

fn pairs_of<'a>(part: &'a str, old: &'a Costs, new: &'a Costs) -> impl Iterator<Item = Pair<'a>> {
    // A table whose baseline has changed is compared by the new one, which the old run may have as well.
    let baselines = old.of(&new.baseline).zip(new.of(&new.baseline));
    new.rows.iter().filter_map(move |row| {
        let before = old.of(&row.name)?;
        Some(Pair {
            part,
            table: &new.title,
            name: &row.name,
            ringfence: row.ringfence,
            old: before,
            new: row.nanoseconds,
            baselines,
        })
    })
}

/// Both runs as tables: nanoseconds, their ratio, and the ratio relative to each run's baseline.
pub(crate) fn tables(old: &Results, new: &Results) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    for pair in pairs(old, new) {
        let title = format!("{}: {}, compared", pair.part, pair.table);
        if tables.last().is_none_or(|table| table.title != title) {
            tables.push(Table::new(title, "", &["row", "then ns", "now ns", "ratio", "ratio over the baseline's"]));
        }
        let ratio = |ratio: Option<f64>| ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        let cells = [
            pair.name.to_owned(),
            format!("{:.0}", pair.old),
            format!("{:.0}", pair.new),
            ratio((pair.old > 0.0).then(|| pair.new / pair.old)),
            ratio(pair.relative()) + if pair.is_worse() { " WORSE" } else { "" },
        ];
        if let Some(table) = tables.last_mut() {
            table.row(cells);
        }
    }
    tables
}

/// Rows of Ringfence's that the older run has and this one has not, in tables that both have.
fn missing(old: &Results, new: &Results) -> Vec<String> {
    let mut missing = Vec::new();
    for (part, measured) in &new.parts {
        for table in &measured.tables {
            let earlier = old.parts.get(part).and_then(|part| part.tables.iter().find(|one| one.title == table.title));
            let rows = earlier.into_iter().flat_map(|earlier| &earlier.rows);
            let gone = rows.filter(|row| row.ringfence && table.of(&row.name).is_none());
            missing.extend(gone.map(|row| format!("\n  {part}: {}: {}", table.title, row.name)));
        }
    }
    missing
}

/// Fails if a row of Ringfence's costs more than is tolerated, has no figure any more, or if nothing of it can be
/// compared.
pub(crate) fn check(old: &Results, new: &Results) -> Result<()> {
    let pairs = pairs(old, new);
    let judged = pairs.iter().filter(|pair| pair.ringfence && pair.relative().is_some()).count();
    ensure!(judged > 0, "the two runs have no row of Ringfence's, with its baseline, in common");
    let missing = missing(old, new);
    ensure!(missing.is_empty(), "rows of the older run have no figure now:{}", missing.concat());
    let worse: Vec<_> = pairs
        .iter()
        .filter(|pair| pair.is_worse())
        .map(|pair| {
            let (part, table, name) = (pair.part, pair.table, pair.name);
            format!("\n  {part}: {table}: {name}: {:.2} times as much", pair.relative().unwrap_or(f64::INFINITY))
        })
        .collect();
    ensure!(
        worse.is_empty(),
        "{} of {judged} rows cost over {:.0} % more than in the older run, relative to each run's baseline:{}",
        worse.len(),
        100.0 * TOLERANCE,
        worse.concat()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rows: &[(&str, f64, bool)]) -> Results {
        let rows: Vec<_> = rows
            .iter()
            .map(|(name, nanoseconds, ringfence)| {
                serde_json::json!({ "name": name, "nanoseconds": nanoseconds, "ringfence": ringfence })
            })
            .collect();
        let table = serde_json::json!({ "title": "An INVITE", "baseline": "copy", "rows": rows });
        let part = serde_json::json!({ "machine": "a machine", "kind": "Safe RET", "tables": [table] });
        serde_json::from_value(serde_json::json!({ "format": 1, "parts": { "packet": part } })).unwrap()
    }

    fn ours(copy: f64, verdict: f64) -> Results {
        run(&[("copy", copy, false), ("64 rules", verdict, true)])
    }

    #[test]
    fn a_slower_machine_is_not_a_slower_filter() {
        check(&ours(100.0, 1000.0), &ours(200.0, 2000.0)).unwrap();
    }

    #[test]
    fn a_slower_filter_fails_on_a_faster_machine_as_well() {
        let error = check(&ours(200.0, 2000.0), &ours(100.0, 1100.0)).unwrap_err().to_string();
        assert!(error.starts_with("1 of 1 rows cost over 5 % more"), "{error}");
        assert!(error.contains("packet: An INVITE: 64 rules: 1.10 times as much"), "{error}");
    }

    #[test]
    fn five_percent_are_tolerated() {
        check(&ours(1000.0, 10_000.0), &ours(1000.0, 10_480.0)).unwrap();
        check(&ours(1000.0, 10_000.0), &ours(1000.0, 10_600.0)).unwrap_err();
    }

    #[test]
    fn rounded_nanoseconds_are_no_difference() {
        // 2 ns instead of 1 ns may be 2.0 instead of 1.9.
        check(&ours(30.0, 1.0), &ours(30.0, 2.0)).unwrap();
        check(&ours(30.0, 1.0), &ours(30.0, 6.0)).unwrap_err();
    }

    #[test]
    fn rows_of_others_are_shown_and_not_judged() {
        let old = run(&[("copy", 100.0, false), ("lpm", 900.0, false), ("64 rules", 1000.0, true)]);
        let new = run(&[("copy", 100.0, false), ("lpm", 1800.0, false), ("64 rules", 1000.0, true)]);
        check(&old, &new).unwrap();
        let tables = tables(&old, &new);
        assert_eq!(tables.len(), 1);
        assert_eq!(tables[0].rows[1], ["lpm", "900", "1800", "2.00", "2.00"]);
    }

    #[test]
    fn a_comparison_of_nothing_fails() {
        let nothing = run(&[("copy", 100.0, false), ("another policy", 900.0, true)]);
        assert!(check(&ours(100.0, 1000.0), &nothing).is_err());
        // The same row, without the baseline that makes it comparable.
        assert!(check(&run(&[("64 rules", 1000.0, true)]), &ours(100.0, 1000.0)).is_err());
    }

    #[test]
    fn a_row_that_is_gone_fails() {
        let old = run(&[("copy", 100.0, false), ("64 rules", 1000.0, true), ("sample policy", 900.0, true)]);
        let error = check(&old, &ours(100.0, 1000.0)).unwrap_err().to_string();
        assert!(error.contains("packet: An INVITE: sample policy"), "{error}");
        // New rows are not in the older run, and do not matter.
        check(&ours(100.0, 1000.0), &old).unwrap();
    }

    #[test]
    fn the_table_marks_what_is_worse() {
        let tables = tables(&ours(100.0, 1000.0), &ours(100.0, 2000.0));
        assert_eq!(tables[0].rows[1], ["64 rules", "1000", "2000", "2.00", "2.00 WORSE"]);
    }
}
