//! What the screen shows, and how each input changes it. Nothing here draws, waits or asks.

use jiff::Timestamp;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::view::{View, inside};
use crate::{
    api::TopRequest,
    telemetry::{Fate, Status, Top, TopBy, TopRow, TopSort},
};

/// The windows that a key chooses among, in seconds.
const WINDOWS: [u64; 3] = [10, 60, 600];

/// The most rows that are asked for.
const ROWS: usize = 200;

/// Rows that a page has.
const PAGE: usize = 10;

/// Rates are of at least so many milliseconds: a key lets the daemon be asked sooner.
const RATE_MILLISECONDS: i64 = 900;

/// What can happen.
pub(super) enum Input {
    /// The daemon has answered this request, or failed to: then in a line, why.
    Answer(Box<TopRequest>, Result<Box<(Status, Top)>, String>),
    /// A key was pressed.
    Key(KeyEvent),
    /// A second has passed.
    Tick,
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Ask the daemon.
    Ask,
    /// End.
    End,
    /// Nothing but drawing.
    Nothing,
    /// Draw every cell again.
    Redraw,
}

/// Packets a second, by the kernel's counters: exact.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rates {
    pub(super) passed: f64,
    /// Of those that passed, the ones that a policy in report mode as a whole would have dropped.
    pub(super) would: f64,
    pub(super) dropped: f64,
}

/// A view to go back to.
struct Step {
    view: View,
    asked: TopRequest,
    chosen: Option<Option<String>>,
}

/// What the screen shows.
pub(super) struct State {
    pub(super) view: View,
    /// What is asked, apart from what the view says of it.
    pub(super) asked: TopRequest,
    back: Vec<Step>,
    /// The key of the row that was chosen; the first row is, unless another was.
    chosen: Option<Option<String>>,
    /// Whether keys are letters of the filter.
    pub(super) is_typing: bool,
    pub(super) is_help: bool,
    pub(super) is_per_second: bool,
    /// Since when what is shown stays.
    pub(super) paused: Option<Timestamp>,
    pub(super) top: Option<Top>,
    pub(super) status: Option<Status>,
    /// When the daemon last answered.
    pub(super) answered: Option<Timestamp>,
    pub(super) rates: Option<Rates>,
    /// The counters that the next rates are the growth of.
    counted: Option<(Timestamp, [u64; 3])>,
    /// Since when the daemon has not answered, and why.
    pub(super) failure: Option<(Timestamp, String)>,
}

impl State {
    pub(super) fn new(view: View, asked: TopRequest) -> Self {
        Self {
            view,
            asked: TopRequest { by: None, rows: None, buckets: None, ..asked },
            back: Vec::new(),
            chosen: None,
            is_typing: false,
            is_help: false,
            is_per_second: false,
            paused: None,
            top: None,
            status: None,
            answered: None,
            rates: None,
            counted: None,
            failure: None,
        }
    }

    /// What the daemon is to be asked.
    pub(super) fn request(&self) -> TopRequest {
        let seconds = self.seconds();
        // A column of a wide terminal has a second or more.
        let buckets = Some(if seconds <= 10 { 20 } else { 60 });
        match self.view {
            // It is about everything.
            View::Health => TopRequest {
                by: Some(TopBy::Reason),
                seconds: Some(seconds),
                rows: Some(0),
                buckets,
                ..TopRequest::default()
            },
            View::Rows(by) => TopRequest { by: Some(by), rows: Some(ROWS), buckets, ..self.asked.clone() },
        }
    }

    pub(super) fn seconds(&self) -> u64 {
        self.asked.seconds.unwrap_or(TopRequest::SECONDS)
    }

    pub(super) fn sort(&self) -> TopSort {
        self.asked.sort.unwrap_or_default()
    }

    /// The rows that are shown.
    pub(super) fn rows(&self) -> &[TopRow] {
        self.top.as_ref().map_or(&[], |top| &top.rows)
    }

    /// The index of the row that is chosen.
    pub(super) fn index(&self) -> usize {
        let chosen = self.chosen.as_ref().and_then(|key| self.rows().iter().position(|row| row.key == *key));
        chosen.unwrap_or(0)
    }

    /// Notes what has happened, and says what is to be done.
    pub(super) fn update(&mut self, input: Input, now: Timestamp) -> Effect {
        match input {
            Input::Answer(request, Ok(answer)) => {
                self.answered(&request, *answer, now);
                Effect::Nothing
            }
            Input::Answer(_, Err(why)) => {
                let since = self.failure.as_ref().map_or(now, |(since, _)| *since);
                self.failure = Some((since, why));
                (self.rates, self.counted) = (None, None);
                Effect::Nothing
            }
            Input::Key(key) if key.kind == KeyEventKind::Release => Effect::Nothing,
            Input::Key(key) => self.key(key, now),
            Input::Tick if self.paused.is_some() => Effect::Nothing,
            Input::Tick => Effect::Ask,
        }
    }

    fn answered(&mut self, request: &TopRequest, (status, top): (Status, Top), now: Timestamp) {
        let counts = [status.passed, status.would_drop, status.dropped];
        match self.counted {
            Some((then, before)) => {
                let milliseconds = now.as_millisecond() - then.as_millisecond();
                // The wall clock may be set, and a filter may be loaded again: then nothing is known.
                let has_restarted = milliseconds < 0 || counts.iter().zip(before).any(|(now, before)| *now < before);
                if has_restarted {
                    (self.rates, self.counted) = (None, Some((now, counts)));
                } else if milliseconds >= RATE_MILLISECONDS {
                    let [passed, would, dropped] =
                        [0, 1, 2].map(|index| (counts[index] - before[index]) as f64 * 1_000.0 / milliseconds as f64);
                    self.rates = Some(Rates { passed, would, dropped });
                    self.counted = Some((now, counts));
                }
            }
            None => self.counted = Some((now, counts)),
        }
        self.status = Some(status);
        self.failure = None;
        self.answered = Some(now);
        if *request == self.request() {
            self.top = Some(top);
            // What was asked for in a pause is as old as its answer.
            if let Some(since) = &mut self.paused {
                *since = now;
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "a terminal knows many keys")]
    fn key(&mut self, key: KeyEvent, now: Timestamp) -> Effect {
        let before = self.request();
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        let effect = match key.code {
            KeyCode::Char('c') if is_control => Effect::End,
            KeyCode::Char('l') if is_control => Effect::Redraw,
            KeyCode::Char(_) if is_control || key.modifiers.contains(KeyModifiers::ALT) => Effect::Nothing,
            code if self.is_typing => self.typed(code),
            KeyCode::Char(letter) => self.letter(letter, now),
            code => self.other(code),
        };
        let request = self.request();
        if effect != Effect::Nothing || request == before {
            return effect;
        }
        // Until the answer comes, the rows of another kind would stand under the wrong name.
        if request.by != before.by || TopBy::ALL.iter().any(|by| request.only(*by) != before.only(*by)) {
            self.top = None;
        }
        Effect::Ask
    }

    /// A key while the filter is typed.
    #[expect(clippy::wildcard_enum_match_arm, reason = "a terminal knows many keys")]
    fn typed(&mut self, code: KeyCode) -> Effect {
        let mut text = self.asked.contains.take().unwrap_or_default();
        match code {
            KeyCode::Char(letter) => text.push(letter),
            KeyCode::Backspace => {
                text.pop();
            }
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                text.clear();
            }
            _ => {}
        }
        self.asked.contains = Some(text).filter(|text| !text.is_empty());
        Effect::Nothing
    }

    fn letter(&mut self, letter: char, now: Timestamp) -> Effect {
        let is_rows = self.view != View::Health;
        match letter {
            'q' => return Effect::End,
            '?' | 'h' => self.is_help = !self.is_help,
            ' ' | 'p' => {
                self.paused = if self.paused.is_some() { None } else { Some(now) };
                if self.paused.is_none() {
                    return Effect::Ask;
                }
            }
            's' if is_rows => self.asked.sort = Some(after(&TopSort::ALL, self.sort())),
            'f' if is_rows => {
                let fates = [None, Some(Fate::Dropped), Some(Fate::Would), Some(Fate::Passed)];
                self.asked.fate = after(&fates, self.asked.fate);
            }
            't' => self.asked.seconds = Some(after(&WINDOWS, self.seconds())),
            'u' => self.is_per_second = !self.is_per_second,
            '/' if is_rows => self.is_typing = true,
            'j' => self.choose(1),
            'k' => self.choose(-1),
            letter => {
                if let Some(view) = View::of_key(letter) {
                    self.go(view);
                }
            }
        }
        Effect::Nothing
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "a terminal knows many keys")]
    fn other(&mut self, code: KeyCode) -> Effect {
        match code {
            KeyCode::Esc if self.is_help => self.is_help = false,
            KeyCode::Esc if self.asked.contains.is_some() => self.asked.contains = None,
            KeyCode::Esc if self.back.is_empty() => return Effect::End,
            KeyCode::Esc | KeyCode::Backspace => self.back(),
            KeyCode::Tab | KeyCode::Right => self.go(self.view.next()),
            KeyCode::BackTab | KeyCode::Left => self.go(self.view.previous()),
            KeyCode::Up => self.choose(-1),
            KeyCode::Down => self.choose(1),
            KeyCode::PageUp => self.choose(-(PAGE as isize)),
            KeyCode::PageDown => self.choose(PAGE as isize),
            KeyCode::Home => self.chosen = None,
            KeyCode::End => self.choose(isize::MAX),
            KeyCode::Enter => self.narrow(),
            _ => {}
        }
        Effect::Nothing
    }

    fn go(&mut self, view: View) {
        if view != self.view {
            (self.view, self.chosen, self.asked.contains) = (view, None, None);
        }
    }

    fn choose(&mut self, by: isize) {
        let last = self.rows().len().saturating_sub(1);
        let index = self.index().saturating_add_signed(by).min(last);
        // At the top the choice is the heaviest row, whichever that is.
        self.chosen = if index == 0 { None } else { self.rows().get(index).map(|row| row.key.clone()) };
    }

    /// Only the packets of the row that is chosen.
    fn narrow(&mut self) {
        let Some(by) = self.view.by() else { return };
        let Some(row) = self.rows().get(self.index()) else { return };
        // An empty text is the key of packets that have none.
        let key = row.key.clone().unwrap_or_default();
        self.back.push(Step { view: self.view, asked: self.asked.clone(), chosen: self.chosen.take() });
        self.asked.set_only(by, Some(key));
        self.asked.contains = None;
        self.view = inside(by);
    }

    fn back(&mut self) {
        if let Some(Step { view, asked, chosen }) = self.back.pop() {
            (self.view, self.chosen) = (view, chosen);
            // The window and the order stay as they were last chosen.
            self.asked = TopRequest { seconds: self.asked.seconds, sort: self.asked.sort, ..asked };
        }
    }
}

/// The one after this, or the first.
fn after<T: Copy + PartialEq>(all: &[T], this: T) -> T {
    let next = all.iter().position(|one| *one == this).map_or(0, |index| (index + 1) % all.len());
    all[next]
}
