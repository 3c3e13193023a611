//! The automaton over byte classes: walked out of regex-automata, trimmed and minimized, before it becomes a table.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    hash::Hash,
    iter,
};

use regex_automata::{
    Anchored, MatchKind,
    dfa::{Automaton as _, StartKind, dense},
    nfa::thompson,
    util::{primitives::StateID, start},
};
use regex_syntax::hir::Hir;

use super::DfaError;

/// Limits of the automata before patterns are rejected as too large. Minimizing often makes them fit, but finding out that it
/// does not must not take minutes.
const DETERMINIZE_LIMIT: usize = 16 << 20;
const NFA_LIMIT: usize = 8 << 20;

/// A deterministic automaton over byte classes.
pub(super) struct Automaton {
    /// Byte -> column; CR and LF have none.
    pub(super) columns: [Option<u16>; 256],
    /// Column of the end of the value.
    pub(super) end: usize,
    /// Transitions by state, one for each column.
    pub(super) transitions: Vec<Vec<u32>>,
    /// By state: index into `accepts`; 0 is "nothing matched".
    pub(super) accept: Vec<u32>,
    /// By state: the same if the value ends here.
    at_end: Vec<u32>,
    /// Sets of groups with a match.
    pub(super) accepts: Vec<Vec<usize>>,
}

const CARRIAGE_RETURN: u8 = b'\r';
const LINE_FEED: u8 = b'\n';
const SPACE: u8 = b' ';
const TAB: u8 = b'\t';

/// Column of white space, in every automaton.
const BLANK: usize = 0;

impl Automaton {
    /// Builds the automaton with regex-automata and walks it. State 0 is the start.
    pub(super) fn build(patterns: &[Hir]) -> Result<Self, DfaError> {
        let too_large = |what: &dyn fmt::Display| DfaError::TooLarge(what.to_string());
        let nfa = thompson::Compiler::new()
            .configure(
                thompson::Config::new()
                    .utf8(false)
                    .which_captures(thompson::WhichCaptures::None)
                    .nfa_size_limit(Some(NFA_LIMIT)),
            )
            .build_many_from_hir(patterns)
            .map_err(|error| too_large(&error))?;
        let dfa = dense::Builder::new()
            .configure(
                dense::Config::new()
                    // Every pattern that matches anywhere counts, not only the leftmost match.
                    .match_kind(MatchKind::All)
                    .start_kind(StartKind::Unanchored)
                    .accelerate(false)
                    .dfa_size_limit(Some(DETERMINIZE_LIMIT))
                    .determinize_size_limit(Some(DETERMINIZE_LIMIT)),
            )
            .build_from_nfa(&nfa)
            .map_err(|error| {
                if error.is_size_limit_exceeded() {
                    DfaError::TooLarge(format!("more than {} transitions", DETERMINIZE_LIMIT / size_of::<u32>()))
                } else {
                    too_large(&error)
                }
            })?;

        let mut columns = [None; 256];
        // White space has its own column, even if no pattern distinguishes it from other bytes. A tab reads as a space, as it
        // would if the folded value had been sent unfolded.
        let mut representatives = vec![SPACE];
        columns[usize::from(SPACE)] = Some(BLANK as u16);
        columns[usize::from(TAB)] = Some(BLANK as u16);
        let mut column_of_class = HashMap::new();
        for byte in (0..=u8::MAX).filter(|byte| ![CARRIAGE_RETURN, LINE_FEED, SPACE, TAB].contains(byte)) {
            columns[usize::from(byte)] =
                Some(*column_of_class.entry(dfa.byte_classes().get(byte)).or_insert_with(|| {
                    representatives.push(byte);
                    representatives.len() as u16 - 1
                }));
        }

        let start = dfa.start_state(&start::Config::new().anchored(Anchored::No)).map_err(|error| too_large(&error))?;
        let mut walk = Walk::default();
        walk.number(start);
        let mut automaton = Self {
            columns,
            end: representatives.len(),
            transitions: Vec::new(),
            accept: Vec::new(),
            at_end: Vec::new(),
            accepts: vec![Vec::new()],
        };
        let mut accept_index = HashMap::from([(Vec::new(), 0)]);
        let mut accept_of = |state: StateID, accepts: &mut Vec<Vec<usize>>| {
            let mut matched = Vec::new();
            if dfa.is_match_state(state) {
                matched.extend((0..dfa.match_len(state)).map(|index| dfa.match_pattern(state, index).as_usize()));
                matched.sort_unstable();
            }
            *accept_index.entry(matched).or_insert_with_key(|matched| {
                accepts.push(matched.clone());
                accepts.len() as u32 - 1
            })
        };
        let mut next = 0;
        while let Some(&state) = walk.states.get(next) {
            next += 1;
            automaton.accept.push(accept_of(state, &mut automaton.accepts));
            let row = representatives.iter().map(|&byte| walk.number(dfa.next_state(state, byte))).collect();
            automaton.transitions.push(row);
            automaton.at_end.push(accept_of(dfa.next_eoi_state(state), &mut automaton.accepts));
        }
        Ok(automaton)
    }

    /// The automaton that ignores white space around the value.
    ///
    /// Leading white space does not change its state. White space after other bytes may or may not be the end of the value:
    /// the state keeps what would match if the value ended before it, and holds back matches that end in white space until
    /// another byte shows that they are inside the value. (Matches show up one byte late, so one that shows up with the first
    /// white space ended before it.)
    pub(super) fn trimming(mut self) -> Self {
        let mut walk = Walk::default();
        walk.number(Trimming::Front);
        let mut index: HashMap<Vec<usize>, u32> =
            self.accepts.iter().enumerate().map(|(index, accept)| (accept.clone(), index as u32)).collect();
        let mut united = |accepts: &mut Vec<Vec<usize>>, a: u32, b: u32| {
            if a == b || b == 0 {
                return a;
            }
            let mut union = [&*accepts[a as usize], &*accepts[b as usize]].concat();
            union.sort_unstable();
            union.dedup();
            *index.entry(union).or_insert_with_key(|union| {
                accepts.push(union.clone());
                accepts.len() as u32 - 1
            })
        };
        let (mut transitions, mut accept, mut at_end) = (Vec::new(), Vec::new(), Vec::new());
        let mut next = 0;
        while let Some(&state) = walk.states.get(next) {
            next += 1;
            let (read, own, end) = match state {
                Trimming::Front => (0, 0, self.at_end[0]),
                Trimming::Inside { state, released } => {
                    let own = united(&mut self.accepts, self.accept[state as usize], released);
                    (state, own, self.at_end[state as usize])
                }
                Trimming::Blank { state, end, is_first, .. } => {
                    (state, if is_first { self.accept[state as usize] } else { 0 }, end)
                }
            };
            accept.push(own);
            at_end.push(end);
            let mut row = Vec::with_capacity(self.end);
            for (column, &target) in self.transitions[read as usize].iter().enumerate() {
                let following = match (state, column) {
                    (Trimming::Front, BLANK) => Trimming::Front,
                    (Trimming::Inside { .. }, BLANK) => Trimming::Blank { state: target, end, held: 0, is_first: true },
                    (Trimming::Blank { held, .. }, BLANK) => {
                        let held = united(&mut self.accepts, self.accept[target as usize], held);
                        Trimming::Blank { state: target, end, held, is_first: false }
                    }
                    (Trimming::Blank { held, .. }, _) => Trimming::Inside { state: target, released: held },
                    (Trimming::Front | Trimming::Inside { .. }, _) => Trimming::Inside { state: target, released: 0 },
                };
                row.push(walk.number(following));
            }
            transitions.push(row);
        }
        Self { transitions, accept, at_end, ..self }.with_end_column()
    }

    /// Turns matches at the end of the value into transitions to a state with these matches. Nothing is read after the end, so
    /// any such state will do, preferably one that exists already.
    fn with_end_column(mut self) -> Self {
        let mut state_with = HashMap::new();
        for (state, &accept) in self.accept.iter().enumerate() {
            state_with.entry(accept).or_insert(state as u32);
        }
        for (state, &accept) in self.at_end.iter().enumerate() {
            let target = *state_with.entry(accept).or_insert_with(|| {
                self.accept.push(accept);
                self.transitions.push(Vec::new());
                self.accept.len() as u32 - 1
            });
            self.transitions[state].push(target);
        }
        for (state, row) in self.transitions.iter_mut().enumerate() {
            row.resize(self.end + 1, state as u32);
        }
        self
    }

    /// The smallest automaton with the same matches (Moore's algorithm: split states by what they accept, then by where
    /// they lead, until nothing splits).
    pub(super) fn minimized(mut self) -> Self {
        let mut class = self.accept.clone();
        let mut count = class.iter().collect::<HashSet<_>>().len();
        loop {
            let mut index = HashMap::with_capacity(count);
            let next: Vec<u32> = self
                .transitions
                .iter()
                .zip(&class)
                .map(|(row, &own)| {
                    let signature: Vec<u32> =
                        iter::once(own).chain(row.iter().map(|&target| class[target as usize])).collect();
                    let fresh = index.len() as u32;
                    *index.entry(signature).or_insert(fresh)
                })
                .collect();
            let split = index.len();
            class = next;
            if split == count {
                break;
            }
            count = split;
        }
        let mut transitions = vec![Vec::new(); count];
        let mut accept = vec![0; count];
        for (state, &merged) in class.iter().enumerate() {
            let merged = merged as usize;
            accept[merged] = self.accept[state];
            if transitions[merged].is_empty() {
                transitions[merged] = self.transitions[state].iter().map(|&target| class[target as usize]).collect();
            }
        }
        // Numbers are given in order of appearance: the start is still state 0.
        self.transitions = transitions;
        self.accept = accept;
        self
    }
}

/// A state of the automaton that ignores white space around the value.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Trimming {
    /// Only white space so far.
    Front,
    /// The last byte was not white space. `released` are the held-back matches that it confirmed.
    Inside { state: u32, released: u32 },
    /// The last bytes were white space. `end`: what matches if the value ends here; `held`: matches that end in the white
    /// space; `is_first`: it is one byte so far.
    Blank { state: u32, end: u32, held: u32, is_first: bool },
}

/// Numbers states in the order in which they are met.
struct Walk<S> {
    states: Vec<S>,
    numbers: HashMap<S, u32>,
}

impl<S> Default for Walk<S> {
    fn default() -> Self {
        Self { states: Vec::new(), numbers: HashMap::new() }
    }
}

impl<S: Copy + Eq + Hash> Walk<S> {
    fn number(&mut self, state: S) -> u32 {
        *self.numbers.entry(state).or_insert_with(|| {
            self.states.push(state);
            self.states.len() as u32 - 1
        })
    }
}
