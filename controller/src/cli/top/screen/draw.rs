//! How the screen looks.

use jiff::Timestamp;
use ratatui::{
    Frame,
    layout::Rect,
    style::{Color, Modifier, Style},
    text::{Line, Span},
};

use super::{
    health, rows,
    state::State,
    text::{Look, rate, width},
    view::View,
};
use crate::telemetry::{Fate, TopBy};
use filter_policy::language::quantity;

/// The smallest terminal in which everything has its place.
const LEAST: (u16, u16) = (60, 15);

/// What the keys do.
const HELP: [(&str, &str); 14] = [
    ("1 to 9, 0, -", "a view; Tab, Left and Right: the one beside it"),
    ("Up, Down, k, j", "choose a row; PgUp, PgDn, Home, End"),
    ("Enter", "only the packets of that row: a rule's sources, ..."),
    ("Backspace, Esc", "back to where Enter was pressed"),
    ("/", "only rows with a text; Enter keeps it, Esc clears it"),
    ("s", "sort by packets, dropped, would drop, passed"),
    ("f", "only dropped, would drop, passed; all of them"),
    ("t", "the last 10 s, 1 min, 10 min"),
    ("u", "packets, or packets a second"),
    ("Space, p", "pause, go on"),
    ("Ctrl-L", "draw the screen again"),
    ("?, h", "this help"),
    ("q, Ctrl-C, Esc", "leave"),
    ("", "Numbers are estimates from samples: (low-high) holds 95 in 100."),
];

impl Look {
    /// A colour, where colours are wanted. It never says anything alone.
    pub(super) fn fg(self, colour: Color) -> Style {
        if self.colour { Style::default().fg(colour) } else { Style::default() }
    }

    pub(super) fn bold() -> Style {
        Style::default().add_modifier(Modifier::BOLD)
    }

    pub(super) fn reversed() -> Style {
        Style::default().add_modifier(Modifier::REVERSED)
    }
}

/// The lines of a frame, from the top.
pub(super) struct Lines<'a, 'b> {
    frame: &'a mut Frame<'b>,
    rest: Rect,
}

impl<'a, 'b> Lines<'a, 'b> {
    fn new(frame: &'a mut Frame<'b>) -> Self {
        let rest = frame.area();
        Self { frame, rest }
    }

    pub(super) fn width(&self) -> usize {
        self.rest.width.into()
    }

    pub(super) fn height(&self) -> usize {
        self.rest.height.into()
    }

    /// Draws the next line, if there is room.
    pub(super) fn push<'l>(&mut self, line: impl Into<Line<'l>>) {
        if self.rest.height > 0 {
            self.frame.render_widget(line.into(), Rect { height: 1, ..self.rest });
            self.rest = Rect { y: self.rest.y + 1, height: self.rest.height - 1, ..self.rest };
        }
    }

    /// Draws the last line, if there is room.
    fn push_last<'l>(&mut self, line: impl Into<Line<'l>>) {
        if self.rest.height > 0 {
            self.rest.height -= 1;
            self.frame.render_widget(line.into(), Rect { y: self.rest.bottom(), height: 1, ..self.rest });
        }
    }
}

/// Draws everything.
pub(super) fn draw(state: &State, look: Look, frame: &mut Frame<'_>) {
    let Rect { width, height, .. } = frame.area();
    let mut lines = Lines::new(frame);
    if (width, height) != (width.max(LEAST.0), height.max(LEAST.1)) {
        lines.push(format!("{width}x{height} is too small"));
        lines.push(format!("needs {}x{}", LEAST.0, LEAST.1));
        lines.push("q: leave");
        return;
    }
    title(state, look, &mut lines);
    counters(state, look, &mut lines);
    tabs(state, &mut lines);
    footer(state, look, &mut lines);
    if state.is_help {
        lines.push("");
        for (keys, does) in HELP {
            lines.push(Line::from(vec![Span::styled(format!("  {keys:<14}  "), Look::bold()), Span::raw(does)]));
        }
        return;
    }
    lines.push(Line::styled(look.cut(&question(state), lines.width()), Look::bold()));
    match state.view {
        View::Health => health::draw(state, look, &mut lines),
        View::Rows(by) => rows::draw(state, by, look, &mut lines),
    }
}

/// The time of day in UTC.
pub(super) fn clock(time: Timestamp) -> String {
    time.strftime("%H:%M:%S").to_string()
}

/// Who answers, when it last did, and whether what is shown stays.
fn title(state: &State, look: Look, lines: &mut Lines<'_, '_>) {
    let edge = state.status.as_ref().and_then(|status| status.edge.as_deref());
    let edge = edge.map_or_else(String::new, |edge| format!("  {}", look.cut(edge, 20)));
    let answered = state.answered.map_or_else(String::new, |time| format!("  {} UTC", clock(time)));
    let left = format!("ringfence top{edge}{answered}");
    let right = match (&state.failure, state.paused) {
        (Some((since, _)), _) => format!("NO ANSWER since {}", clock(*since)),
        (None, Some(since)) => format!("PAUSED since {}", clock(since)),
        (None, None) => String::new(),
    };
    let gap = lines.width().saturating_sub(width(&left) + width(&right)).max(1);
    lines.push(Line::from(vec![
        Span::styled(left, Look::bold()),
        Span::raw(" ".repeat(gap)),
        Span::styled(right, Look::reversed()),
    ]));
}

/// What all packets came to, and what is wrong.
fn counters(state: &State, look: Look, lines: &mut Lines<'_, '_>) {
    if let Some((_, why)) = &state.failure {
        let text = format!("!! {why}; trying again every second");
        lines.push(Line::styled(look.cut(&text, lines.width()), look.fg(Color::Red)));
        return;
    }
    let mut spans = vec![Span::raw("counting packets a second")];
    if let Some(rates) = state.rates {
        spans = vec![Span::styled(format!("passed {}/s", rate(rates.passed)), look.fg(Color::Green))];
        // Nothing counts what rules in report mode alone would drop; the samples know it.
        if state.status.as_ref().is_some_and(|status| status.report) {
            spans.push(Span::styled(format!(" (would drop {}/s)", rate(rates.would)), look.fg(Color::Yellow)));
        }
        spans.push(Span::styled(format!("  dropped {}/s", rate(rates.dropped)), look.fg(Color::Red)));
    }
    let problems = state.status.as_ref().map(health::problems).unwrap_or_default();
    if let Some(first) = problems.first() {
        let more = if problems.len() > 1 { format!(" (7: {} more)", problems.len() - 1) } else { String::new() };
        let used: usize = spans.iter().map(Span::width).sum();
        let room = lines.width().saturating_sub(used + 2 + more.len());
        spans.push(Span::styled(format!("  {}{more}", look.cut(&format!("!! {first}"), room)), look.fg(Color::Red)));
    }
    lines.push(Line::from(spans));
}

/// The views with their keys, in as many lines as they take.
fn tabs(state: &State, lines: &mut Lines<'_, '_>) {
    let mut line: Vec<Span<'_>> = Vec::new();
    let mut used = 0;
    for (key, name, view) in View::ALL {
        let is_shown = view == state.view;
        let text = if is_shown { format!("[{key} {name}]") } else { format!(" {key} {name} ") };
        if used + text.len() > lines.width() {
            lines.push(Line::from(std::mem::take(&mut line)));
            used = 0;
        }
        used += text.len();
        line.push(Span::styled(text, if is_shown { Look::reversed() } else { Style::default() }));
    }
    lines.push(Line::from(line));
}

/// What is asked, in words.
fn question(state: &State) -> String {
    let last = quantity::duration_text(state.seconds());
    if state.view == View::Health {
        return format!("health, the last {last}");
    }
    let mut text = format!("{}, last {last}, by {}", state.view.name(), rows::sorted(state.sort()));
    for by in TopBy::ALL {
        match state.asked.only(by) {
            None => {}
            Some("") => text += &format!(", no {}", by.name()),
            Some(key) => text += &format!(", {} {key}", by.name()),
        }
    }
    match state.asked.fate {
        None => {}
        Some(Fate::Dropped) => text += ", only dropped",
        Some(Fate::Passed) => text += ", only passed",
        Some(Fate::Would) => text += ", only would drop",
    }
    if let Some(part) = state.asked.contains.as_deref().filter(|_| !state.is_typing) {
        text += &format!(", with \"{part}\"");
    }
    text
}

/// What is typed, or what the keys do.
fn footer(state: &State, look: Look, lines: &mut Lines<'_, '_>) {
    if state.is_typing {
        let text = look.cut(state.asked.contains.as_deref().unwrap_or_default(), lines.width().saturating_sub(40));
        let typed = Span::styled(format!("/{text}_"), Look::bold());
        lines.push_last(Line::from(vec![typed, Span::raw("  Enter: keep  Esc: clear")]));
        return;
    }
    let pause = if state.paused.is_some() { "Space go on" } else { "Space pause" };
    let keys = match state.view {
        View::Health => format!("q leave  {pause}  t time  Tab view  ? help"),
        View::Rows(_) => {
            format!("q leave  {pause}  Enter narrow  s sort  f fate  t time  / find  ? help")
        }
    };
    if keys.len() <= lines.width() {
        lines.push_last(Line::styled(keys, Look::reversed()));
    } else {
        lines.push_last(Line::styled(format!("q leave  {pause}  Enter narrow  / find  ? help"), Look::reversed()));
    }
}
