//! Texts that fit into columns.

use filter_policy::language::printable;
use ratatui::text::Span;

/// How texts may look in this terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// Whether colours are wanted.
    pub(super) colour: bool,
    /// Whether the terminal shows more than ASCII.
    pub(super) unicode: bool,
}

/// The columns that a text takes.
pub(super) fn width(text: &str) -> usize {
    Span::raw(text).width()
}

impl Look {
    /// A text that its sender chose, in exactly so many columns: escaped, cut, filled.
    pub(super) fn column(self, text: &str, columns: usize) -> String {
        let mut text = self.cut(text, columns);
        let filled = width(&text);
        text.extend(std::iter::repeat_n(' ', columns.saturating_sub(filled)));
        text
    }

    /// The same in at most so many columns.
    pub(super) fn cut(self, text: &str, columns: usize) -> String {
        let mut text = self.shown(text);
        if width(&text) <= columns {
            return text;
        }
        while width(&text) >= columns.max(1) {
            text.pop();
        }
        if columns > 0 {
            text.push(if self.unicode { '…' } else { '~' });
        }
        text
    }

    /// A text as this terminal can show it.
    fn shown(self, text: &str) -> String {
        let text = printable::escaped(text);
        if self.unicode || text.is_ascii() {
            return text;
        }
        text.chars().map(|c| if c.is_ascii() { c.to_string() } else { c.escape_default().to_string() }).collect()
    }

    /// The lines of a text, each of at most so many columns.
    pub(super) fn wrapped(self, text: &str, columns: usize) -> Vec<String> {
        let mut lines = vec![String::new()];
        for word in self.shown(text).split(' ') {
            let line = lines.last_mut().map(std::mem::take).unwrap_or_default();
            let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
            lines.pop();
            if width(&longer) <= columns || line.is_empty() {
                lines.push(self.cut(&longer, columns));
            } else {
                lines.extend([line, self.cut(word, columns)]);
            }
        }
        lines
    }

    /// Packets over time in at most so many columns: each is as high as its part of the highest. An empty column is one without packets.
    pub(super) fn sparkline(self, series: &[f64], columns: usize) -> String {
        const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        const PLAIN: [char; 8] = ['.', ':', '-', '=', '+', '*', '%', '#'];
        if columns == 0 || series.is_empty() {
            return String::new();
        }
        // Each column stands for the same time, so a part may be in two of them.
        let columns = columns.min(series.len());
        let of_column = |column: usize| -> f64 {
            let (from, to) = (column * series.len(), (column + 1) * series.len());
            let parts = series.iter().enumerate().skip(from / columns).take(to.div_ceil(columns) - from / columns);
            parts
                .map(|(index, part)| {
                    let overlap = to.min((index + 1) * columns) - from.max(index * columns);
                    part * overlap as f64 / columns as f64
                })
                .sum()
        };
        let parts: Vec<f64> = (0..columns).map(of_column).collect();
        let highest = parts.iter().copied().fold(0.0, f64::max);
        let bars = if self.unicode { BARS } else { PLAIN };
        let bar = |part: &f64| {
            // (As high as the highest, in spite of rounding.)
            let height = (part / highest * 8.0 - 1e-9).ceil() as usize;
            if *part > 0.0 { bars[height.clamp(1, 8) - 1] } else { ' ' }
        };
        parts.iter().map(bar).collect()
    }
}

/// A number in at most six characters.
pub(super) fn short(number: f64) -> String {
    let units = [(1e9, 'G'), (1e6, 'M'), (1e3, 'k')];
    if number.round() < 10_000.0 {
        return format!("{number:.0}");
    }
    let (unit, name) = units.into_iter().find(|(unit, _)| number >= 0.99995 * unit).unwrap_or((1.0, ' '));
    let of_unit = number / unit;
    if of_unit < 99.95 { format!("{of_unit:.1}{name}") } else { format!("{of_unit:.0}{name}") }
}

/// A rate in at most six characters.
pub(super) fn rate(number: f64) -> String {
    if number > 0.0 && number < 9.95 { format!("{number:.1}") } else { short(number) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: Look = Look { colour: true, unicode: true };
    const PLAIN: Look = Look { colour: false, unicode: false };

    #[test]
    fn what_a_sender_chose_takes_its_column_and_no_more() {
        for (text, columns, expected) in [
            ("friendly-scanner", 8, "friendl…"),
            ("phone", 8, "phone   "),
            ("a\u{1b}[2Jb", 20, "a\\u{1b}[2Jb         "),
            ("a\u{1b}[2Jb", 5, "a\\u{…"),
            // Each of these takes two columns.
            ("東京東京", 5, "東京…"),
            ("東京東京", 6, "東京… "),
            ("a", 0, ""),
        ] {
            let column = FULL.column(text, columns);
            assert_eq!(column, expected);
            assert_eq!(width(&column), columns, "{text}");
        }
        assert_eq!(PLAIN.column("Zoë phone", 12), "Zo\\u{eb} ph~");
    }

    #[test]
    fn sparklines_sum_up_neighbours_and_leave_out_what_did_not_come() {
        assert_eq!(FULL.sparkline(&[0.0, 1.0, 2.0, 4.0, 8.0], 10), " ▁▂▄█");
        assert_eq!(FULL.sparkline(&[1.0, 1.0, 0.0, 0.0, 4.0, 4.0], 3), "▂ █");
        assert_eq!(FULL.sparkline(&[1.0; 60], 11), "█".repeat(11), "the last column has as much time as the others");
        assert_eq!(FULL.sparkline(&[2.0, 0.0, 4.0], 2), "▄█", "half of what is in the middle is in each");
        assert_eq!(PLAIN.sparkline(&[0.0, 1.0, 8.0], 3), " .#");
        assert_eq!((FULL.sparkline(&[0.0; 3], 3).as_str(), FULL.sparkline(&[1.0], 0).as_str()), ("   ", ""));
    }

    #[test]
    fn numbers_take_at_most_six_characters() {
        for (number, expected) in [
            (0.0, "0"),
            (9_999.4, "9999"),
            (9_999.6, "10.0k"),
            (99_940.0, "99.9k"),
            (99_960.0, "100k"),
            (999_400.0, "999k"),
            (999_990.0, "1.0M"),
            (12_345_678.0, "12.3M"),
            (5e9, "5.0G"),
        ] {
            assert_eq!(short(number), expected);
        }
        assert_eq!(
            (rate(0.0), rate(0.04), rate(9.9), rate(10.2)),
            ("0".into(), "0.0".into(), "9.9".into(), "10".into())
        );
    }

    #[test]
    fn long_texts_are_wrapped_between_words() {
        assert_eq!(FULL.wrapped("the policy has 2 errors", 10), ["the policy", "has 2", "errors"]);
        assert_eq!(FULL.wrapped("abcdefghijkl m", 5), ["abcd…", "m"]);
    }
}
