//! The answer as a table.

use std::fmt::Write as _;

use crate::{
    cli::SAMPLING_OFF,
    telemetry::{Top, TopRow},
};
use filter_policy::language::{printable, quantity};

/// The answer as a table.
pub(super) fn render(top: &Top) -> String {
    if top.sampling_off {
        return format!("{SAMPLING_OFF}\n");
    }
    let mut text = format!("{} packets in {}", top.packets, seconds(top.covered_seconds));
    if top.covered_seconds < top.window_seconds {
        let _ = write!(text, " (all that is kept of the last {})", seconds(top.window_seconds));
    }
    let _ = writeln!(text, ", {} of them sampled", top.samples);
    if top.lost > 0 {
        let _ = writeln!(text, "{} samples were lost: all numbers are too low", top.lost);
    }
    if top.rows.is_empty() {
        return text;
    }
    let key = |row: &TopRow| row.key.as_deref().map_or_else(|| "-".to_owned(), printable::escaped);
    let keys: Vec<String> = top.rows.iter().map(key).collect();
    let counts: Vec<String> = top.rows.iter().map(|row| row.packets.to_string()).collect();
    let width =
        |texts: &[String], least: usize| texts.iter().map(|text| text.chars().count()).max().unwrap_or(0).max(least);
    let (first, second) = (width(&keys, top.by.name().len()), width(&counts, "packets".len()));
    let _ = writeln!(
        text,
        "\n{:first$}  {:>second$}  {:>10}  {:>10}  {:>10}",
        top.by.name(),
        "packets",
        "passed",
        "would drop",
        "dropped"
    );
    for ((row, key), count) in top.rows.iter().zip(&keys).zip(&counts) {
        let _ = writeln!(
            text,
            "{key:first$}  {count:>second$}  {:>10.0}  {:>10.0}  {:>10.0}",
            row.passed, row.would, row.dropped
        );
    }
    if top.more > 0 {
        let _ = writeln!(text, "and {} more", top.more);
    }
    text
}

fn seconds(seconds: f64) -> String {
    quantity::duration_text(seconds.round() as u64)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::{Estimate, Talkers, TopBy, TopQuery};

    #[test]
    fn the_table_shows_estimates_with_their_bounds_and_escapes_what_senders_chose() {
        let exact = |packets| Estimate { packets, low: packets, high: packets };
        let row = |key: Option<&str>, packets, passed, dropped| TopRow {
            key: key.map(str::to_owned),
            packets,
            passed,
            would: 0.0,
            dropped,
            series: None,
        };
        let top = Top {
            by: TopBy::Agent,
            window_seconds: 60.0,
            covered_seconds: 12.4,
            samples: 140,
            sampling_off: false,
            lost: 0,
            packets: Estimate { packets: 4012.0, low: 3812.4, high: 4211.6 },
            rows: vec![
                row(Some("friendly\u{1b}[2J"), Estimate { packets: 4000.0, low: 3800.0, high: 4200.0 }, 0.0, 4000.0),
                row(None, exact(12.0), 12.0, 0.0),
            ],
            more: 3,
            series: None,
        };
        let expected = "\
4012 (3812 to 4212) packets in 12s (all that is kept of the last 1m), 140 of them sampled

agent                          packets      passed  would drop     dropped
friendly\\u{1b}[2J  4000 (3800 to 4200)           0           0        4000
-                                   12          12           0           0
and 3 more
";
        assert_eq!(render(&top), expected);
    }

    #[test]
    fn without_samples_the_table_says_that_there_are_none_by_the_configuration() {
        let top = Talkers::default();
        top.set_sampled(false);
        let top = top.top(&TopQuery::new(TopBy::Source, Duration::from_secs(60), 10));
        assert_eq!(render(&top), format!("{SAMPLING_OFF}\n"));
        let json = printable::json_line(&top);
        assert!(json.contains(r#""sampling_off":true"#), "{json}");
    }
}
