//! What an operator on call must see at once.

use jiff::Timestamp;
use ratatui::{
    style::{Color, Style},
    text::{Line, Span},
};

use super::{
    draw::Lines,
    state::{Rates, State},
    text::{Look, rate, short},
};
use crate::telemetry::{self, DaemonState, FilterState, Series, Status, TopSort, short_commit};
use filter_policy::language::quantity;

/// Columns of the names.
const NAME: usize = 13;

/// A line of the view.
struct Fact {
    /// What is wrong about it, in a few words; none if all is well.
    problem: Option<String>,
    name: &'static str,
    text: String,
}

impl Fact {
    fn new(name: &'static str, text: String) -> Self {
        Self { problem: None, name, text }
    }

    /// With a problem, if it is one.
    fn if_bad(self, is_bad: bool, problem: impl Into<String>) -> Self {
        Self { problem: is_bad.then(|| problem.into()), ..self }
    }
}

/// What is wrong, the worst first, each in a few words.
pub(super) fn problems(status: &Status) -> Vec<String> {
    facts(status, Timestamp::UNIX_EPOCH).into_iter().filter_map(|fact| fact.problem).collect()
}

/// What there is to say, the worst first; `now` is for how long ago something was.
fn facts(status: &Status, now: Timestamp) -> Vec<Fact> {
    let mut facts = vec![interfaces(status), mode(status)];
    if status.daemon != DaemonState::Running {
        facts.push(Fact::new("daemon", status.daemon.to_string()).if_bad(true, format!("daemon {}", status.daemon)));
    }
    facts.extend(policy(status, now));
    let lost = status.events_lost;
    let text = format!("{lost} lost, {} suppressed by their rule's limit", status.events_suppressed);
    facts.push(Fact::new("events", text).if_bad(lost > 0, format!("{lost} events lost")));
    facts.push(outputs(status));
    facts.push(Fact::new("bans", format!("{} in force", status.bans)));
    facts
}

fn interfaces(status: &Status) -> Fact {
    let on = status.interfaces.iter().filter(|interface| interface.attached);
    let mut texts: Vec<String> = on.map(|on| format!("{} filtered ({} mode)", on.interface, on.mode)).collect();
    texts.extend(status.unfiltered.iter().map(|name| format!("{name} NOT FILTERED")));
    let problem = match (status.filter, status.unfiltered.is_empty()) {
        (FilterState::NotAttached, _) => "NOTHING IS FILTERED".to_owned(),
        (FilterState::Attached, _) => format!("NOT FILTERED: {}", status.unfiltered.join(", ")),
    };
    if texts.is_empty() {
        texts.push("none is filtered".to_owned());
    }
    Fact::new("interfaces", texts.join(", ")).if_bad(!status.is_filtering(), problem)
}

fn mode(status: &Status) -> Fact {
    let text = if status.report { "REPORT MODE: nothing is dropped" } else { "enforcing" };
    Fact::new("mode", text.to_owned()).if_bad(status.report, "REPORT MODE")
}

fn policy(status: &Status, now: Timestamp) -> Vec<Fact> {
    let mut facts = Vec::new();
    let commit = status
        .commit
        .as_deref()
        .map_or_else(|| "in no repository".to_owned(), |commit| format!("commit {}", short_commit(commit)));
    let age = status.loaded.as_deref().and_then(|loaded| loaded.parse::<Timestamp>().ok()).map(|loaded| {
        let seconds = now.as_second().saturating_sub(loaded.as_second()).max(0).unsigned_abs();
        format!(", in force for {}", quantity::duration_text(seconds))
    });
    let text = match status.generation {
        Some(generation) => format!("generation {generation}, {commit}{}", age.unwrap_or_default()),
        None => "none is in force".to_owned(),
    };
    facts.push(Fact::new("policy", text).if_bad(status.generation.is_none(), "no policy"));
    if let Some(error) = &status.policy_error {
        let text = format!("the newest cannot be used: {error}");
        facts.push(Fact::new("", text).if_bad(true, "policy error"));
    }
    if let Some(held) = &status.held {
        let text = format!("generation {} is HELD since {} by {}", held.generation, held.since, held.by);
        facts.push(Fact::new("", text).if_bad(true, "policy held"));
    }
    if let Some(source) = &status.source {
        let newest = source.commit.as_deref().map_or("none", telemetry::short);
        let age = source
            .age
            .map_or_else(|| "no answer yet".to_owned(), |age| format!("looked {} ago", quantity::duration_text(age)));
        let text = format!("newest commit {newest}, {age}");
        let is_old = source.commit != status.commit && status.held.is_none() && source.error.is_none();
        facts.push(Fact::new("source", text).if_bad(is_old, "newest commit not in force"));
        if let Some(error) = &source.error {
            let since = source.failing_since.as_deref().unwrap_or("?");
            facts.push(Fact::new("", format!("failing since {since}: {error}")).if_bad(true, "source failing"));
        }
    }
    facts
}

fn outputs(status: &Status) -> Fact {
    let texts = status.outputs.iter().map(|output| format!("{} {} lost", output.output, output.lost));
    let texts: Vec<String> = texts.collect();
    let losing = status.outputs.iter().filter(|output| output.lost > 0).map(|output| output.output.as_str());
    let losing: Vec<&str> = losing.collect();
    let text = if texts.is_empty() { "none".to_owned() } else { texts.join(", ") };
    Fact::new("outputs", text).if_bad(!losing.is_empty(), format!("lost by output {}", losing.join(", ")))
}

/// Draws the view.
pub(super) fn draw(state: &State, look: Look, lines: &mut Lines<'_, '_>) {
    let Some(status) = &state.status else {
        lines.push("asking ...");
        return;
    };
    lines.push("");
    traffic(state, status, look, lines);
    lines.push("");
    // A text that has no room in a line goes on below itself.
    let room = lines.width().saturating_sub(3 + NAME);
    for fact in facts(status, state.answered.unwrap_or_default()) {
        let (mark, style) = match fact.problem {
            Some(_) => ("!! ", look.fg(Color::Red)),
            None => ("   ", Style::default()),
        };
        for (index, text) in look.wrapped(&fact.text, room).into_iter().enumerate() {
            let (mark, name) = if index == 0 { (mark, fact.name) } else { ("   ", "") };
            lines.push(Line::from(vec![
                Span::styled(mark, style),
                Span::raw(format!("{name:NAME$}")),
                Span::styled(text, style),
            ]));
        }
    }
}

/// What became of packets: by the kernel's counters, which are exact; and by the samples, over time.
fn traffic(state: &State, status: &Status, look: Look, lines: &mut Lines<'_, '_>) {
    let last = quantity::duration_text(state.seconds());
    let header = format!("   {:NAME$}{:>8}{:>10}  last {last}", "packets", "per sec", "in all");
    lines.push(Line::styled(header, Look::bold()));
    let room = lines.width().saturating_sub(3 + NAME + 20).min(60);
    let series = state.top.as_ref().and_then(|top| Some((top.series.as_ref()?, top.covered_seconds.max(1.0))));
    let mut row = |name: &str, [per_second, all]: [String; 2], sort, colour| {
        let series = series.map(|(series, _)| series.of(sort)).unwrap_or_default();
        lines.push(Line::from(vec![
            Span::raw(format!("   {name:NAME$}{per_second:>8}{all:>10}  ")),
            Span::styled(look.sparkline(&series, room), look.fg(colour)),
        ]));
    };
    let unknown = || "-".to_owned();
    let exact = |of: fn(&Rates) -> f64, all: u64| {
        [state.rates.as_ref().map_or_else(unknown, |rates| rate(of(rates))), short(all as f64)]
    };
    // Of those that passed. Nothing counts what rules in report mode alone would drop: it is estimated.
    let would = if status.report {
        exact(|rates| rates.would, status.would_drop)
    } else {
        let estimate =
            |(series, seconds): (&Series, f64)| format!("~{}", rate(series.would.iter().sum::<f64>() / seconds));
        [series.map_or_else(unknown, estimate), unknown()]
    };
    row("passed", exact(|rates| rates.passed, status.passed), TopSort::Passed, Color::Green);
    row("would drop", would, TopSort::Would, Color::Yellow);
    row("dropped", exact(|rates| rates.dropped, status.dropped), TopSort::Dropped, Color::Red);
}
