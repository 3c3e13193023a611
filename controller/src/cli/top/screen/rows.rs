//! A view's table.

use ratatui::{
    style::{Color, Style},
    text::{Line, Span},
};

use super::{
    draw::Lines,
    state::State,
    text::{Look, rate, short},
};
use crate::{
    cli::SAMPLING_OFF,
    telemetry::{Estimate, Top, TopBy, TopRow, TopSort},
};
use filter_policy::language::quantity;

/// Columns of the numbers, with the space before each: all packets, passed, would drop, dropped.
const NUMBERS: [usize; 4] = [8, 7, 11, 8];

/// Columns of the bounds, with the space before them.
const BOUNDS: usize = 16;

/// The narrowest terminal that has room for bounds.
const WITH_BOUNDS: usize = 76;

/// The columns of a table in this terminal.
struct Columns {
    key: usize,
    has_bounds: bool,
    series: usize,
}

impl Columns {
    fn new(width: usize, is_exact: bool) -> Self {
        let has_bounds = !is_exact && width >= WITH_BOUNDS;
        let used = 2 + NUMBERS.iter().sum::<usize>() + if has_bounds { BOUNDS } else { 0 };
        let rest = width.saturating_sub(used + 1);
        let series = (rest * 35 / 100).clamp(6, 60);
        Self { key: rest.saturating_sub(series), has_bounds, series }
    }
}

/// What rows are sorted by, in words.
pub(super) fn sorted(sort: TopSort) -> &'static str {
    match sort {
        TopSort::Dropped => "dropped",
        TopSort::Packets => "packets",
        TopSort::Passed => "passed",
        TopSort::Would => "would drop",
    }
}

/// A key as it is shown.
fn key(row: &TopRow) -> &str {
    row.key.as_deref().unwrap_or("-")
}

/// Draws the table, and below it what is known of the row that is chosen.
pub(super) fn draw(state: &State, by: TopBy, look: Look, lines: &mut Lines<'_, '_>) {
    let Some(top) = &state.top else {
        lines.push("asking ...");
        return;
    };
    lines.push(look.cut(&summary(top), lines.width()));
    // In a second of the time that is covered, or the number itself.
    let divisor = if state.is_per_second { top.covered_seconds.max(1.0) } else { 1.0 };
    let number = |packets: f64| if state.is_per_second { rate(packets / divisor) } else { short(packets) };
    let is_exact = top.rows.iter().all(|row| row.packets.low == row.packets.high);
    let columns = Columns::new(lines.width(), is_exact);
    let [all, passed, would, dropped] = NUMBERS;
    let unit = if state.is_per_second { "per sec" } else { "packets" };
    let bounds = if columns.has_bounds { format!("{:BOUNDS$}", " (low-high)") } else { String::new() };
    let last = quantity::duration_text(state.seconds());
    let series = format!("last {last}");
    let header = format!(
        "  {}{unit:>all$}{bounds}{:>passed$}{:>would$}{:>dropped$} {}",
        look.column(by.name(), columns.key),
        "passed",
        "would drop",
        "dropped",
        look.column(&series, columns.series)
    );
    lines.push(Line::styled(header, Look::bold()));
    // The last line is about the row that is chosen.
    let room = lines.height().saturating_sub(1);
    let chosen = state.index();
    let first = (chosen + 1).saturating_sub(room);
    if top.rows.is_empty() {
        lines.push(if state.asked.contains.is_some() { "no row has this text" } else { "no packets" });
    }
    for (index, row) in top.rows.iter().enumerate().skip(first).take(room) {
        let is_chosen = index == chosen;
        // What is estimated says so where its bounds have no room.
        let is_rough = row.packets.low < row.packets.high && !columns.has_bounds;
        let total = format!("{}{}", if is_rough { "~" } else { "" }, number(row.packets.packets));
        let bounds = if columns.has_bounds { between(row.packets, number) } else { String::new() };
        let series = row.series.as_ref().map(|series| series.of(state.sort())).unwrap_or_default();
        let paint = |packets: f64, colour| if packets > 0.0 { look.fg(colour) } else { Style::default() };
        let mut line = Line::from(vec![
            Span::raw(if is_chosen { "> " } else { "  " }),
            Span::raw(look.column(key(row), columns.key)),
            Span::raw(format!("{total:>all$}")),
            Span::raw(bounds),
            Span::styled(format!("{:>passed$}", number(row.passed)), paint(row.passed, Color::Green)),
            Span::styled(format!("{:>would$}", number(row.would)), paint(row.would, Color::Yellow)),
            Span::styled(format!("{:>dropped$}", number(row.dropped)), paint(row.dropped, Color::Red)),
            Span::raw(format!(" {}", look.sparkline(&series, columns.series))),
        ]);
        if is_chosen {
            line = line.style(Look::reversed());
        }
        lines.push(line);
    }
    while lines.height() > 1 {
        lines.push("");
    }
    if let Some(row) = top.rows.get(chosen) {
        let text = format!("{} of {}: {}, {} packets", chosen + 1, top.rows.len(), key(row), row.packets);
        lines.push(look.cut(&text, lines.width()));
    }
}

/// ` (low-high)`, in its column; nothing for a number that is exact.
fn between(packets: Estimate, number: impl Fn(f64) -> String) -> String {
    let Estimate { low, high, .. } = packets;
    let text = if low == high { String::new() } else { format!(" ({}-{})", number(low), number(high)) };
    format!("{text:BOUNDS$}")
}

/// What the rows are made from.
fn summary(top: &Top) -> String {
    if top.sampling_off {
        return SAMPLING_OFF.to_owned();
    }
    let seconds = |seconds: f64| quantity::duration_text(seconds.round() as u64);
    let mut text = format!("{} packets in {}", top.packets, seconds(top.covered_seconds));
    if top.covered_seconds < top.window_seconds {
        text += " (all there is)";
    }
    text += &format!(", {} sampled", top.samples);
    if top.lost > 0 {
        text += &format!(", {} LOST", top.lost);
    }
    if top.more > 0 {
        text += &format!("; {} more rows", top.more);
    }
    text
}
