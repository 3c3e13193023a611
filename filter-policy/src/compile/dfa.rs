//! Patterns of one text: to one table that tells, while it is walked once over the value, which of them match where.

use std::{collections::HashMap, hash::Hash};

use filter_core::{
    layout::{DFA_LEAVING, DFA_MATCHES, Dfa},
    limits::DFA_TABLE,
};
use regex_automata::{
    Anchored, MatchKind,
    dfa::{Automaton, StartKind, dense},
    nfa::thompson,
    util::{primitives::StateID, start, syntax},
};
use regex_syntax::hir::Hir;
use zerocopy::FromZeros;

/// Why patterns have no table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DfaError {
    /// One of them does not parse.
    Pattern {
        /// Its group and its place in it.
        at: (usize, usize),
        /// What the parser says.
        reason: String,
    },
    /// Together they are too large; what they need, in words.
    TooLarge(String),
}

/// How patterns are read: case-insensitive, over bytes. ASCII classes and word boundaries, since Unicode's do not fit a
/// table that is looked at byte by byte.
pub fn syntax() -> syntax::Config {
    syntax::Config::new().case_insensitive(true).unicode(false).utf8(false)
}

/// Parses a pattern as the compiler reads it. For checks before a policy is compiled.
///
/// # Errors
///
/// What the parser says, with the place marked.
pub fn parse(pattern: &str) -> Result<Hir, String> {
    syntax::parse_with(pattern, &syntax()).map_err(|error| error.to_string())
}

/// Size of a compiled table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// States.
    pub states: usize,
    /// Those in which a pattern has matched.
    pub matches: usize,
    /// Classes of bytes, the end of the value among them.
    pub classes: usize,
}

/// A compiled table.
pub struct Compiled {
    /// The table; `accept` holds indices into `accepts`.
    pub dfa: Box<Dfa>,
    /// Groups of which a pattern has matched, ascending.
    pub accepts: Vec<Vec<usize>>,
    /// How large it is.
    pub size: Size,
}

/// States and transitions that are looked at before patterns count as too large: minimising often makes them fit, but
/// must not take minutes to find that out.
const DETERMINIZE_LIMIT: usize = 16 << 20;
const NFA_LIMIT: usize = 8 << 20;

/// Compiles groups of patterns; matches are told apart by group, not by pattern.
pub fn compile(groups: &[Vec<&str>]) -> Result<Compiled, DfaError> {
    let mut alternations = Vec::with_capacity(groups.len());
    for (group, patterns) in groups.iter().enumerate() {
        let mut alternatives = Vec::with_capacity(patterns.len());
        for (index, pattern) in patterns.iter().enumerate() {
            let parsed = parse(pattern).map_err(|reason| DfaError::Pattern { at: (group, index), reason })?;
            alternatives.push(parsed);
        }
        alternations.push(Hir::alternation(alternatives));
    }
    Automat::build(&alternations)?.trimming().minimized().into_table()
}

/// A deterministic automaton over byte classes, before it is laid out.
struct Automat {
    /// Byte -> column; line ends have none.
    columns: [Option<u16>; 256],
    /// Column of the end of the value.
    end: usize,
    /// Transitions by state, one a column.
    transitions: Vec<Vec<u32>>,
    /// By state: index into `accepts`; 0 is "nothing matched".
    accept: Vec<u32>,
    /// By state: the same for the end of the value.
    at_end: Vec<u32>,
    accepts: Vec<Vec<usize>>,
}

const CARRIAGE_RETURN: u8 = b'\r';
const LINE_FEED: u8 = b'\n';
const SPACE: u8 = b' ';
const TAB: u8 = b'\t';

/// Column of the white space, in every automaton.
const BLANK: usize = 0;

impl Automat {
    /// Walks the automaton out of regex-automata. State 0 is the start.
    fn build(patterns: &[Hir]) -> Result<Self, DfaError> {
        let too_large = |what: &dyn std::fmt::Display| DfaError::TooLarge(what.to_string());
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
                    // Every pattern that matches anywhere counts, not the leftmost one.
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
        // White space has a column of its own, even if no pattern tells it from other bytes. A tab reads as a space, as it
        // would had the folded value been sent unfolded.
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
        let mut automat = Self {
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
            automat.accept.push(accept_of(state, &mut automat.accepts));
            let row = representatives.iter().map(|&byte| walk.number(dfa.next_state(state, byte))).collect();
            automat.transitions.push(row);
            automat.at_end.push(accept_of(dfa.next_eoi_state(state), &mut automat.accepts));
        }
        Ok(automat)
    }

    /// The automaton that takes no notice of white space around the value.
    ///
    /// In front it stays where it is. Behind a byte that is none, white space may be the end of the value or not: what the
    /// end would have matched is kept in mind, and what matches with white space at its end is held back until another
    /// byte shows that it stood inside the value. (A match shows one byte late, so that what shows with the first white
    /// space ended before it.)
    fn trimming(mut self) -> Self {
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

    /// Turns what matches at the end into transitions to a state that says so. Behind the end nothing is read: any state
    /// with the right matches will do, one that is there already if possible.
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
    fn minimized(mut self) -> Self {
        let mut class = self.accept.clone();
        let mut count = class.iter().collect::<std::collections::HashSet<_>>().len();
        loop {
            let mut index = HashMap::with_capacity(count);
            let next: Vec<u32> = self
                .transitions
                .iter()
                .zip(&class)
                .map(|(row, &own)| {
                    let signature: Vec<u32> =
                        std::iter::once(own).chain(row.iter().map(|&target| class[target as usize])).collect();
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

    fn into_table(self) -> Result<Compiled, DfaError> {
        let states = self.transitions.len();
        let line_end: Vec<u32> = (0..states as u32).collect();
        let column = |column: usize| self.transitions.iter().map(|row| row[column]).collect::<Vec<_>>();

        // Bytes with equal columns share a class.
        let mut classes: Vec<Vec<u32>> = Vec::new();
        let mut known: HashMap<Vec<u32>, u32> = HashMap::new();
        let mut class_of = |column: Vec<u32>| {
            *known.entry(column).or_insert_with_key(|column| {
                classes.push(column.clone());
                classes.len() as u32 - 1
            })
        };
        let by_column: Vec<u32> = (0..=self.end).map(|index| class_of(column(index))).collect();
        let line_end = class_of(line_end);
        let end_class = by_column[self.end];

        // Match states go to the end.
        let mut order: Vec<usize> = (0..states).collect();
        order.sort_by_key(|&state| self.accept[state] != 0);
        let mut number = vec![0; states];
        for (new, &old) in order.iter().enumerate() {
            number[old] = new as u32;
        }
        let first_match = self.accept.iter().filter(|&&accept| accept == 0).count();

        let size = Size { states, matches: states - first_match, classes: classes.len() };
        let shift = classes.len().next_power_of_two().trailing_zeros();
        if states << shift > DFA_TABLE || size.matches > DFA_MATCHES || states > usize::from(u16::MAX) {
            return Err(DfaError::TooLarge(size.to_string()));
        }

        let mut dfa = Dfa::new_box_zeroed().expect("a quarter of a megabyte can be had");
        for (class, column) in dfa.class.iter_mut().zip(self.columns) {
            *class = column.map_or(line_end, |column| by_column[usize::from(column)]) as u8;
        }
        dfa.start = number[0];
        dfa.shift = shift;
        dfa.first_match = first_match as u32;
        dfa.end_class = end_class;
        for (class, column) in classes.iter().enumerate() {
            for (state, &target) in column.iter().enumerate() {
                dfa.table[((number[state] as usize) << shift) | class] = number[target as usize] as u16;
            }
        }
        let leaves = |state: usize| dfa.class.map(|class| classes[usize::from(class)][state] != state as u32);
        let home = (0..states)
            .filter(|&state| self.accept[state] == 0)
            .min_by_key(|&state| leaves(state).iter().filter(|&&leaves| leaves).count())
            .unwrap_or(0);
        dfa.leaves_home = leaves(home).map(|leaves| if leaves { 0x80 } else { 0 });
        if let Some(few) = Leaving::of(&dfa.leaves_home) {
            (dfa.leaving, dfa.folds, dfa.few_leave) = (few.bytes, few.folds, 1);
        }
        dfa.home = number[home];
        let behind_home = classes[end_class as usize][home] as usize;
        dfa.home_matches_at_end = u32::from(self.accept[behind_home] != 0);
        dfa.home_is_last = u32::from(dfa.leaves_home.iter().all(|&leaves| leaves == 0));
        for (accept, &state) in dfa.accept.iter_mut().zip(&order[first_match..]) {
            *accept = self.accept[state];
        }
        Ok(Compiled { dfa, accepts: self.accepts, size })
    }
}

/// Few bytes, as [`Dfa::leaving`] and [`Dfa::folds`] have them.
struct Leaving {
    bytes: [u64; DFA_LEAVING],
    folds: [u64; DFA_LEAVING],
}

impl Leaving {
    /// Those that are marked, if they are few.
    fn of(marked: &[u8; 256]) -> Option<Self> {
        const CASE: u8 = 0x20;
        let each = |byte: u8| u64::from_ne_bytes([byte; 8]);
        // No byte is zero once that bit is set.
        let mut few = Self { bytes: [0; DFA_LEAVING], folds: [each(CASE); DFA_LEAVING] };
        let is_marked = |byte: u8| marked[usize::from(byte)] != 0;
        let mut places = few.bytes.iter_mut().zip(&mut few.folds);
        for byte in (0..=u8::MAX).filter(|&byte| is_marked(byte)) {
            let is_pair = is_marked(byte ^ CASE);
            if is_pair && byte & CASE == 0 {
                // The other one stands for both.
                continue;
            }
            let (place, fold) = places.next()?;
            *place = each(byte);
            *fold = if is_pair { each(CASE) } else { 0 };
        }
        Some(few)
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let transitions = self.states * self.classes.next_power_of_two();
        write!(
            f,
            "{transitions} transitions ({} states, {} of them matches, by {} classes of bytes)",
            self.states, self.matches, self.classes
        )
    }
}

/// A state of the automaton that takes no notice of white space around the value.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Trimming {
    /// Only white space so far.
    Front,
    /// The last byte was no white space; `released` is what it let out.
    Inside { state: u32, released: u32 },
    /// The last bytes were white space. `end`: what matches if the value ends here; `held`: what matched with some of the
    /// white space; `is_first`: it was one byte.
    Blank { state: u32, end: u32, held: u32, is_first: bool },
}

/// States in the order in which they were met.
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

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    /// Groups that match somewhere in the value, as the engine finds them out.
    fn run(compiled: &Compiled, value: &[u8]) -> Vec<usize> {
        let dfa = &compiled.dfa;
        let mut groups = Vec::new();
        let mut state = dfa.start;
        let steps =
            value.iter().map(|&byte| (u32::from(dfa.class[usize::from(byte)]), dfa.leaves_home[usize::from(byte)]));
        for (index, (class, leaves_home)) in steps.chain([(dfa.end_class, 0)]).enumerate() {
            let next = u32::from(dfa.table[((state << dfa.shift) | class) as usize]);
            // What the engine spares itself makes no difference.
            let makes_no_difference = if index == value.len() {
                dfa.home_matches_at_end != 0 || next < dfa.first_match
            } else {
                next == state || (leaves_home != 0 && dfa.home_is_last == 0)
            };
            assert!(state != dfa.home || makes_no_difference);
            state = next;
            if state >= dfa.first_match {
                groups.extend(&compiled.accepts[dfa.accept[(state - dfa.first_match) as usize] as usize]);
            }
        }
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// The bytes that the engine takes for leaving home are those that do.
    fn assert_leaving_is_as_marked(dfa: &Dfa) {
        let marked = |byte: u8| dfa.leaves_home[usize::from(byte)] != 0;
        let found = |byte: u8| {
            let byte = u64::from_ne_bytes([byte; 8]);
            dfa.leaving.iter().zip(&dfa.folds).any(|(leaving, fold)| byte | fold == *leaving)
        };
        assert!(dfa.few_leave == 0 || (0..=u8::MAX).all(|byte| found(byte) == marked(byte)));
    }

    /// The same from the regex crate, on the value as a folded header line reads, without the white space around it.
    fn naive(groups: &[Vec<&str>], value: &[u8]) -> Vec<usize> {
        let unfolded: Vec<u8> = value
            .iter()
            .filter(|byte| !b"\r\n".contains(byte))
            .map(|&byte| if byte == b'\t' { b' ' } else { byte })
            .collect();
        let matches = |pattern: &&str| {
            regex::bytes::RegexBuilder::new(pattern)
                .case_insensitive(true)
                .unicode(false)
                .build()
                .expect("the generated patterns parse")
                .is_match(unfolded.trim_ascii())
        };
        (0..groups.len()).filter(|&group| groups[group].iter().any(matches)).collect()
    }

    #[test]
    fn a_table_of_more_transitions_than_16_bits_count_is_walked_right() {
        // Twelve letters each, of which no two begin alike for long.
        let literal = |seed: u64| -> String {
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5555_1234;
            let letter = |_| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                char::from(b"abcdefghijklmnopqrstuvwxyz0123456789"[(random >> 33) as usize % 36])
            };
            (0..12).map(letter).collect()
        };
        let literals: Vec<String> = (0..140).map(literal).collect();
        let compiled = compile(&[literals.iter().map(String::as_str).collect()]).expect("it fits");
        let transitions = compiled.size.states << compiled.dfa.shift;
        assert!(transitions > 1 << 16 && transitions <= DFA_TABLE, "{transitions}");
        for literal in &literals {
            assert_eq!(run(&compiled, format!("x {literal} y").as_bytes()), [0], "{literal}");
        }
        assert_eq!(run(&compiled, b"none of them"), [] as [usize; 0]);
    }

    fn pattern() -> impl Strategy<Value = String> {
        let atom = select(vec![
            "a", "b", "c", "ab", " ", "-", "[a-c]", "[^a]", ".", r"\d", r"\w", r"\s", r"\b", r"\B", "1", "Z", r"\x80",
            r"\xff", "^", "$", r"\t", r"\n", "(?-i:A)", "",
        ]);
        let repeat = select(vec!["", "", "", "?", "*", "+", "{2}", "{0,2}", "*?"]);
        let piece = (atom, repeat).prop_map(|(atom, repeat)| format!("(?:{atom}){repeat}"));
        let sequence = vec(piece, 1..5).prop_map(|pieces| pieces.concat());
        vec(sequence, 1..3).prop_map(|alternatives| alternatives.join("|"))
    }

    fn value() -> impl Strategy<Value = Vec<u8>> {
        let around = || vec(select(b" \t\r\n".to_vec()), 0..4);
        let inside = vec(select(b"aabbccABC  --111zZ\t\r\n\x80\xff\x00.".to_vec()), 0..24);
        (around(), inside, around()).prop_map(|(before, inside, behind)| [before, inside, behind].concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]

        #[test]
        fn the_table_matches_what_the_regular_expressions_match(
            groups in vec(vec(pattern(), 1..4), 1..5),
            values in vec(value(), 1..30),
        ) {
            let groups: Vec<Vec<&str>> = groups.iter().map(|group| group.iter().map(String::as_str).collect()).collect();
            let compiled = compile(&groups).expect("small patterns fit");
            assert_leaving_is_as_marked(&compiled.dfa);
            for value in &values {
                prop_assert_eq!(run(&compiled, value), naive(&groups, value), "{:?}", value.escape_ascii().to_string());
            }
        }
    }

    #[test]
    fn four_bytes_and_letters_in_either_case_are_few_that_leave_home() {
        for (patterns, few, is_last) in [
            (vec!["sipvicious"], 1, 0),
            (vec!["'", "%27", "union.*select", "-"], 1, 0),
            (vec!["@", "`"], 1, 0),
            (vec!["^only-here"], 1, 1),
            (vec!["^only-here", "$"], 1, 1),
            (vec!["a", "b", "c", "d", "e"], 0, 0),
        ] {
            let compiled = compile(std::slice::from_ref(&patterns)).unwrap();
            assert_eq!((compiled.dfa.few_leave, compiled.dfa.home_is_last), (few, is_last), "{patterns:?}");
            assert_leaving_is_as_marked(&compiled.dfa);
        }
    }

    #[test]
    fn a_folded_value_reads_as_its_unfolded_form() {
        let compiled = compile(&[vec!["^friendly-scanner$"], vec!["two words"]]).unwrap();
        assert_eq!(run(&compiled, b"FRIENDLY-\r\nscanner\r"), [0]);
        assert_eq!(run(&compiled, b"\r\n\ttwo\r\n\twords"), [1]);
    }

    #[test]
    fn white_space_around_the_value_does_not_count() {
        let compiled = compile(&[vec!["^a b$"], vec![" $", "^ ", "^a b c$"], vec!["b "]]).unwrap();
        assert_eq!(run(&compiled, b"\r\n  a b\t \r\n "), [0]);
        assert_eq!(run(&compiled, b" a b  c "), [2]);
    }

    #[test]
    fn an_empty_value_matches_at_its_end() {
        let compiled = compile(&[vec!["^$"], vec!["x"]]).unwrap();
        assert_eq!(run(&compiled, b""), [0]);
        assert_eq!(run(&compiled, b"x"), [1]);
    }

    #[test]
    fn no_pattern_at_all_matches_nothing() {
        let compiled = compile(&[]).unwrap();
        assert_eq!(run(&compiled, b"anything"), [0usize; 0]);
    }

    #[test]
    fn a_pattern_in_unicode_classes_is_refused_with_a_reason() {
        let error = parse(r"\p{Greek}").unwrap_err();
        assert!(error.contains("Unicode"), "{error}");
    }

    #[test]
    fn a_pattern_that_explodes_is_refused_in_time() {
        let Err(DfaError::TooLarge(need)) = compile(&[vec!["[ab][a-z]{40}[cd].*[0-9]{30}x"]]) else {
            panic!("it fits")
        };
        assert!(need.contains("transitions"), "{need}");
    }

    #[test]
    fn scanners_of_a_public_list_take_a_small_table() {
        let patterns = vec![
            "friendly-scanner",
            "friendly-request",
            "sipvicious",
            "sundayddr",
            "sipcli",
            "sip-cli",
            "sipsak",
            "sip-scan",
            "sipscan",
            "siparmyknife",
            "SIVuS",
            "smap",
            "iWar",
            "Gulp",
            "sipv",
            "pplsip",
            "VaxSIPUserAgent",
            "VaxIPUserAgent",
            "Nmap NSE",
            "Nsauditor",
            "SipReg",
            "fgfdhgfxjfhyjhkj",
            "FourCats",
            "A_B_C",
            "aaaaaaaa",
            "Test Agent",
        ];
        let compiled = compile(&[patterns]).unwrap();
        assert_eq!(run(&compiled, b"Mozilla (friendly-SCANNER)"), [0]);
        assert_eq!(run(&compiled, b"Asterisk PBX 18.2"), [0usize; 0]);
        assert!(compiled.size.states < 300, "{:?}", compiled.size);
    }
}
