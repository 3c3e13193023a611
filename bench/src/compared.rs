//! Filters side by side: rows that take turns, of which some may not be available here.

use anyhow::{Error, Result};

use crate::{
    driver::Measured,
    report::{Table, Target},
    results::{Cost, Costs},
};

/// The row that each other is compared with: the most that any XDP program can reach.
pub(crate) const BARE: &str = "bare XDP_DROP";

/// A row while it is measured.
pub(crate) struct Row<T> {
    pub name: &'static str,
    /// The limits of the filter that its figures do not show.
    pub remark: Option<&'static str>,
    state: Result<T>,
    rounds: Vec<f64>,
}

impl<T> Row<T> {
    pub(crate) fn new(name: &'static str, state: Result<T>) -> Self {
        Self { name, remark: None, state, rounds: Vec::new() }
    }

    #[must_use]
    pub(crate) fn remarked(self, remark: Option<&'static str>) -> Self {
        Self { remark, ..self }
    }

    /// The results so far, or why there are none.
    fn measured(&self) -> Result<Measured, &Error> {
        self.state.as_ref().map(|_| Measured::new(self.name, self.rounds.clone()))
    }
}

/// Runs all rows in turn, `rounds` times, after a round to warm up, whose number is 0. `one` returns nanoseconds per packet. A
/// row that has failed once has no figures, and is not run again.
pub(crate) fn measure<T>(rows: &mut [Row<T>], rounds: u32, mut one: impl FnMut(&mut T, u32) -> Result<f64>) {
    for round in 0..=rounds {
        for row in rows.iter_mut() {
            let Ok(state) = &mut row.state else { continue };
            match one(state, round) {
                Ok(nanoseconds) if round > 0 => row.rounds.push(nanoseconds),
                Ok(_) => {}
                Err(error) => row.state = Err(error),
            }
        }
    }
}

const COLUMNS: [&str; 5] =
    ["filter", "minimum ns", "median ns", "million packets/s", "packets/s against bare XDP_DROP"];

/// The rows as a table, with the remarks, and what went wrong, after the text. `baseline` is the row by which runs are compared.
pub(crate) fn table<T>(title: &str, text: &str, rows: &[Row<T>], baseline: &str) -> Table {
    let mut table = Table::new(title, text, &COLUMNS);
    let bare = minimum(rows, BARE);
    let cost = |row: &Row<T>| {
        let nanoseconds = row.measured().ok()?.minimum();
        Some(Cost { name: row.name.to_owned(), nanoseconds, ringfence: row.name.starts_with("Ringfence") })
    };
    table.costs = Some(Costs {
        title: title.to_owned(),
        baseline: baseline.to_owned(),
        rows: rows.iter().filter_map(cost).collect(),
    });
    for row in rows {
        let problem = match row.measured() {
            Ok(measured) => {
                let (minimum, median) = (measured.minimum(), measured.median());
                table.row([
                    row.name.to_owned(),
                    format!("{minimum:.0}"),
                    format!("{median:.0}"),
                    format!("{:.2}", 1e3 / minimum),
                    bare.map_or_else(|| "-".to_owned(), |bare| format!("{:.2}", bare / minimum)),
                ]);
                None
            }
            Err(error) => {
                table.row([row.name, "no figure", "-", "-", "-"].map(str::to_owned));
                // The first line of the error for the table, and all of it for whoever fixes the problem.
                let problem = format!("{error:#}");
                eprintln!("{}: {problem}", row.name);
                Some(problem.lines().next().unwrap_or_default().chars().take(200).collect::<String>())
            }
        };
        for remark in problem.as_deref().into_iter().chain(row.remark) {
            table.text += &format!("\n- {}: {remark}", row.name);
        }
    }
    table
}

/// The least nanoseconds per packet of a row; `None` if it has no figures.
pub(crate) fn minimum<T>(rows: &[Row<T>], name: &str) -> Option<f64> {
    rows.iter().find(|row| row.name == name)?.measured().ok().map(|measured| measured.minimum())
}

/// The target that `ours`, in nanoseconds per packet, lets through at least `limit` times as many packets per second as `theirs`.
pub(crate) fn target(name: &str, ours: Option<f64>, theirs: Option<f64>, limit: f64) -> Target {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => Target::at_least(name, theirs / ours, limit, " x"),
        _ => Target::left_out(name, &format!(">= {limit} x"), "one of the two has no figure"),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn a_row_that_fails_in_any_round_has_no_figure_and_the_others_have() {
        let mut rows = vec![
            Row::new(BARE, Ok(30.0)),
            Row::new("lossy", Ok(60.0)),
            Row::new("missing", Err(Error::msg("no iptables"))),
        ];
        measure(&mut rows, 2, |state, round| {
            if *state == 60.0 && round == 2 {
                bail!("its counter shows 1 of 64 frames");
            }
            // The round to warm up is slower, and does not count.
            Ok(if round == 0 { 900.0 } else { *state })
        });
        assert_eq!(minimum(&rows, BARE), Some(30.0));
        assert_eq!(minimum(&rows, "lossy"), None);
        let table = table("Title", "Text.", &rows, BARE);
        let firsts: Vec<_> = table.rows.iter().map(|row| row[1].as_str()).collect();
        assert_eq!(firsts, ["30", "no figure", "no figure"]);
        assert!(table.text.contains("- lossy: its counter shows 1 of 64 frames"), "{}", table.text);
        assert!(table.text.contains("- missing: no iptables"), "{}", table.text);
    }

    #[test]
    fn targets_compare_packets_per_second() {
        let target = target("name", Some(50.0), Some(100.0), 1.8);
        assert_eq!((target.value, target.reached), (Some(2.0), true));
        assert_eq!(super::target("name", None, Some(100.0), 1.8).value, None);
    }
}
