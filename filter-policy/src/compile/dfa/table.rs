//! The table that the engine walks, laid out from an automaton.

use std::collections::HashMap;

use filter_core::{
    layout::{DFA_LEAVING, DFA_MATCHES, Dfa},
    limits::DFA_TABLE,
};
use zerocopy::FromZeros as _;

use super::{Compiled, DfaError, Size, automaton::Automaton};

impl Automaton {
    /// Lays the automaton out as a table, if it fits.
    pub(super) fn into_table(self) -> Result<Compiled, DfaError> {
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

        // Match states go last.
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

        let mut dfa = Dfa::new_box_zeroed().expect("there is memory for a table");
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
        let after_home = classes[end_class as usize][home] as usize;
        dfa.home_matches_at_end = u32::from(self.accept[after_home] != 0);
        dfa.home_is_last = u32::from(dfa.leaves_home.iter().all(|&leaves| leaves == 0));
        for (accept, &state) in dfa.accept.iter_mut().zip(&order[first_match..]) {
            *accept = self.accept[state];
        }
        Ok(Compiled { dfa, accepts: self.accepts, size })
    }
}

/// A few bytes, in the form of [`Dfa::leaving`] and [`Dfa::folds`].
struct Leaving {
    bytes: [u64; DFA_LEAVING],
    folds: [u64; DFA_LEAVING],
}

impl Leaving {
    /// The bytes that are marked; None if they are too many.
    fn of(marked: &[u8; 256]) -> Option<Self> {
        const CASE: u8 = 0x20;
        let each = |byte: u8| u64::from_ne_bytes([byte; 8]);
        // Unused places match nothing: no byte is zero once that bit is set.
        let mut few = Self { bytes: [0; DFA_LEAVING], folds: [each(CASE); DFA_LEAVING] };
        let is_marked = |byte: u8| marked[usize::from(byte)] != 0;
        let mut places = few.bytes.iter_mut().zip(&mut few.folds);
        for byte in (0..=u8::MAX).filter(|&byte| is_marked(byte)) {
            let is_pair = is_marked(byte ^ CASE);
            if is_pair && byte & CASE == 0 {
                // The lower-case one represents both.
                continue;
            }
            let (place, fold) = places.next()?;
            *place = each(byte);
            *fold = if is_pair { each(CASE) } else { 0 };
        }
        Some(few)
    }
}
