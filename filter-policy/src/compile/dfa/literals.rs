//! The literals of patterns: what is in every text that a pattern matches, and so can be looked for before the automaton walks.
//!
//! A pattern that is nothing but a literal, or a choice of some, needs no automaton. Others need it where one of their literals is.
//! White space is in no literal: the automaton takes a tab for a space, and does not see the space around a value.

use std::collections::HashMap;

use filter_core::layout::{
    DFA_LITERALS, DFA_PLACES, Dfa, GRAM_BYTES, GRAM_CHAIN, LITERAL_BYTES, LITERAL_NEEDS_AUTOMATON, Literal, Place,
    gram_hash, literal_flag,
};
use regex_automata::util::syntax;
use regex_syntax::hir::{
    Hir, HirKind, Look,
    literal::{ExtractKind, Extractor, Seq},
};
use zerocopy::FromZeros as _;

use crate::lists;

/// A literal that some pattern needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Needed {
    /// The bytes, letters in lower case.
    bytes: Vec<u8>,
    /// Bits of [`literal_flag`].
    flags: u32,
    /// The index of what matches wherever the literal is; None if the automaton has to tell.
    accept: Option<u32>,
}

/// Notes the literals of all patterns in the table, if each pattern has some. [`Literal::row`] becomes an index into `accepts`.
pub(super) fn note(dfa: &mut Dfa, accepts: &mut Vec<Vec<usize>>, groups: &[Vec<&str>]) {
    let mut all = Vec::new();
    for (group, patterns) in groups.iter().enumerate() {
        for pattern in patterns {
            let Some(mut needed) = needed(pattern) else { return };
            if needed.iter().any(|one| one.accept.is_some()) {
                let accept = index_of(accepts, group);
                needed.iter_mut().filter_map(|one| one.accept.as_mut()).for_each(|one| *one = accept);
            }
            all.append(&mut needed);
        }
    }
    all.sort_unstable();
    all.dedup();
    let tables = Tables::build(&all).or_else(|| {
        // Many are told apart by the automaton.
        all.iter_mut().for_each(Needed::shorten);
        all.sort_unstable();
        all.dedup();
        Tables::build(&all)
    });
    if let Some(tables) = tables {
        tables.write(dfa);
    }
}

/// The index of the set that holds only this group.
fn index_of(accepts: &mut Vec<Vec<usize>>, group: usize) -> u32 {
    let index = accepts.iter().position(|accept| *accept == [group]).unwrap_or_else(|| {
        accepts.push(vec![group]);
        accepts.len() - 1
    });
    index as u32
}

/// The literals of which one is in every text that a pattern matches. None if the pattern has no such literals.
fn needed(pattern: &str) -> Option<Vec<Needed>> {
    // In this form a letter stands for both of its cases; with folding, each would be two literals.
    let hir = syntax::parse_with(pattern, &lists::syntax().case_insensitive(false)).ok()?;
    let mut parts = if let HirKind::Concat(parts) = hir.kind() { parts.clone() } else { vec![hir.clone()] };
    let mut flags = 0;
    if parts.first().is_some_and(|part| *part.kind() == HirKind::Look(Look::Start)) {
        parts.remove(0);
        flags |= literal_flag::START;
    }
    if parts.last().is_some_and(|part| *part.kind() == HirKind::Look(Look::End)) {
        parts.pop();
        flags |= literal_flag::END;
    }
    let rest = Hir::concat(parts.clone());
    if !is_folded_otherwise(pattern) && is_choice(&rest) {
        let exact = extract(&rest, ExtractKind::Prefix);
        let exact = exact.as_ref().and_then(|seq| exact_literals(seq, flags));
        if exact.is_some() {
            return exact;
        }
    }
    // Each part of the pattern has to be in the text, so the best of them is enough.
    let kinds = [ExtractKind::Prefix, ExtractKind::Suffix];
    parts
        .iter()
        .chain([&rest])
        .flat_map(|part| kinds.iter().filter_map(|kind| extract(part, kind.clone())))
        .filter_map(|seq| inexact_literals(&seq))
        .max_by_key(|needed| {
            let shortest = needed.iter().map(|one| one.bytes.len()).min().unwrap_or(usize::MAX);
            (shortest.min(Needed::SPECIFIC), usize::MAX - needed.len(), shortest)
        })
}

/// True if flags or a negated class within the pattern may give a letter's cases another meaning than both.
fn is_folded_otherwise(pattern: &str) -> bool {
    pattern.replace("(?:", "").contains("(?") || pattern.contains("[^")
}

/// True if the pattern is nothing but literals one after another, and choices of them.
fn is_choice(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Literal(_) => true,
        HirKind::Capture(capture) => is_choice(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().all(is_choice),
        HirKind::Class(_) | HirKind::Look(_) | HirKind::Repetition(_) => false,
    }
}

fn extract(hir: &Hir, kind: ExtractKind) -> Option<Seq> {
    let seq = Extractor::new().kind(kind).extract(hir);
    seq.is_finite().then_some(seq)
}

/// The literals of a pattern that matches wherever one of them is; None if one cannot be compared as a whole.
fn exact_literals(seq: &Seq, flags: u32) -> Option<Vec<Needed>> {
    let literals = seq.literals()?.iter();
    literals
        .map(|literal| {
            let bytes = literal.as_bytes().to_ascii_lowercase();
            let fits = (GRAM_BYTES..=LITERAL_BYTES).contains(&bytes.len());
            (literal.is_exact() && fits && !bytes.iter().any(is_white)).then_some(Needed {
                bytes,
                flags,
                accept: Some(0),
            })
        })
        .collect()
}

/// The longest piece without white space of each literal; None if one is too short.
fn inexact_literals(seq: &Seq) -> Option<Vec<Needed>> {
    let literals = seq.literals()?.iter();
    literals
        .map(|literal| {
            let piece = literal.as_bytes().split(is_white).max_by_key(|piece| piece.len())?;
            let bytes = piece[..piece.len().min(LITERAL_BYTES)].to_ascii_lowercase();
            (bytes.len() >= GRAM_BYTES).then_some(Needed { bytes, flags: 0, accept: None })
        })
        .collect()
}

/// True for what reads differently in a value, or not at all.
fn is_white(byte: &u8) -> bool {
    *byte <= b' '
}

impl Needed {
    /// The bytes at the beginning that two places need.
    const SHORT: usize = GRAM_BYTES + 1;

    /// Bytes that few texts have by chance.
    const SPECIFIC: usize = 6;

    /// Keeps only the beginning, with which many others may begin.
    fn shorten(&mut self) {
        if self.bytes.len() > Self::SHORT {
            self.bytes.truncate(Self::SHORT);
            (self.flags, self.accept) = (0, None);
        }
    }

    fn literal(&self) -> Literal {
        let mut literal = Literal::new_zeroed();
        for (at, &byte) in self.bytes.iter().enumerate() {
            let case = if byte.is_ascii_lowercase() { 0x20 } else { 0 };
            let (word, shift) = (at / 8, 8 * (at % 8));
            literal.words[word] |= u64::from(byte) << shift;
            literal.used[word] |= 0xff << shift;
            literal.case[word] |= case << shift;
        }
        literal.length = self.bytes.len() as u32;
        literal.flags = self.flags;
        literal.row = self.accept.unwrap_or(LITERAL_NEEDS_AUTOMATON);
        literal
    }

    /// How far from the value's start its end can be.
    fn reach(&self) -> u32 {
        if self.flags & literal_flag::START != 0 { self.bytes.len() as u32 } else { u32::MAX }
    }
}

/// The literals with the places at which they are looked for.
struct Tables {
    literals: Vec<Literal>,
    places: Vec<Place>,
    /// Hash of a gram -> the places that have it, the last one first.
    chains: HashMap<usize, Vec<u16>>,
    reach: u32,
}

impl Tables {
    /// None if there is no room for all of them.
    fn build(all: &[Needed]) -> Option<Self> {
        let mut tables = Self { literals: Vec::new(), places: Vec::new(), chains: HashMap::new(), reach: 1 };
        // The shortest ones have no choice.
        let mut order: Vec<&Needed> = all.iter().collect();
        order.sort_by_key(|needed| needed.bytes.len());
        for needed in order {
            tables.literals.push(needed.literal());
            tables.reach = tables.reach.max(needed.reach());
            let bytes = &needed.bytes;
            if bytes.len() == GRAM_BYTES {
                tables.add(hash(bytes), 0)?;
                // At the next place, whatever follows the literal belongs to the gram.
                let mut hashes: Vec<usize> = (0..=u8::MAX).map(|next| hash(&[bytes[1], bytes[2], next])).collect();
                hashes.sort_unstable();
                hashes.dedup();
                tables.add_everywhere(&hashes, 1)?;
                continue;
            }
            let last = bytes.len() - Needed::SHORT;
            let best = (0..=last).min_by_key(|&at| {
                let load = |at: usize| tables.chains.get(&hash(&bytes[at..])).map_or(0, Vec::len);
                (load(at).max(load(at + 1)), commonness(&bytes[at..at + Needed::SHORT]))
            })?;
            tables.add(hash(&bytes[best..]), best)?;
            tables.add(hash(&bytes[best + 1..]), best + 1)?;
        }
        (tables.literals.len() < DFA_LITERALS && tables.places.len() < DFA_PLACES).then_some(tables)
    }

    /// Adds a place of the last literal. None if too many have its hash.
    fn add(&mut self, hash: usize, offset: usize) -> Option<()> {
        let chain = self.chains.entry(hash).or_default();
        if chain.len() == GRAM_CHAIN as usize {
            return None;
        }
        // Both count from 1.
        let next = chain.last().copied().unwrap_or(0);
        self.places.push(Place { literal: self.literals.len() as u16, offset: offset as u16, next, reserved: 0 });
        chain.push(self.places.len() as u16);
        Some(())
    }

    /// As [`Self::add`], for many hashes. Those that have no other place share one.
    fn add_everywhere(&mut self, hashes: &[usize], offset: usize) -> Option<()> {
        let mut shared = None;
        for &hash in hashes {
            match shared {
                Some(place) if !self.chains.contains_key(&hash) => {
                    self.chains.insert(hash, vec![place]);
                }
                _ => {
                    let is_alone = !self.chains.contains_key(&hash);
                    self.add(hash, offset)?;
                    if is_alone {
                        shared = Some(self.places.len() as u16);
                    }
                }
            }
        }
        Some(())
    }

    fn write(self, dfa: &mut Dfa) {
        dfa.literal_reach = self.reach;
        dfa.literals[1..=self.literals.len()].copy_from_slice(&self.literals);
        dfa.places[1..=self.places.len()].copy_from_slice(&self.places);
        for (hash, chain) in &self.chains {
            dfa.grams[*hash] = *chain.last().expect("a chain has a place");
        }
    }
}

/// The hash of the first [`GRAM_BYTES`] of these bytes.
fn hash(bytes: &[u8]) -> usize {
    gram_hash(u64::from(bytes[0]) | u64::from(bytes[1]) << 8 | u64::from(bytes[2]) << 16)
}

/// How common bytes are in header values; less is better. Only a choice of places depends on it.
fn commonness(bytes: &[u8]) -> usize {
    const LETTERS: &[u8] = b"qxzjkvbwyfgpmcudlhrsnioate";
    let of = |byte: &u8| match byte {
        b'a'..=b'z' => LETTERS.iter().position(|letter| letter == byte).unwrap_or(0) + 4,
        b'0'..=b'9' | b'.' | b'-' | b'/' => 20,
        b'@' | b':' | b'=' | b';' => 12,
        _ => 1,
    };
    bytes.iter().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The literals of a pattern: those that decide with their anchors, and the others in parentheses.
    fn shown(pattern: &str) -> String {
        let Some(needed) = needed(pattern) else { return "none".into() };
        let show = |one: &Needed| {
            let text = String::from_utf8_lossy(&one.bytes).into_owned();
            let anchor = |flag: u32, sign: &'static str| if one.flags & flag == 0 { "" } else { sign };
            if one.accept.is_none() {
                return format!("({text})");
            }
            format!("{}{text}{}", anchor(literal_flag::START, "^"), anchor(literal_flag::END, "$"))
        };
        needed.iter().map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_literal_decides_by_itself() {
        assert_eq!(shown("friendly-scanner"), "friendly-scanner");
        assert_eq!(shown("^SIPVicious$"), "^sipvicious$");
        assert_eq!(shown("(?:sipcli|sipsak)"), "sipcli sipsak");
        assert_eq!(shown("^(sip)(cli|sak)"), "^sipcli ^sipsak");
        assert_eq!(shown(r"A_B\.C"), "a_b.c");
    }

    #[test]
    fn a_part_of_a_pattern_starts_the_automaton() {
        assert_eq!(shown("sip[-_ ]?scan"), "(scan)");
        assert_eq!(shown(r"^pplsip/\d+"), "(pplsip/)");
        assert_eq!(shown(r"[0-9]{3}-scanner[0-9]*"), "(-scanner)");
        assert_eq!(shown(r"\bscan\b"), "(scan)");
        assert_eq!(shown("a literal of more than twenty-four bytes"), "(twenty-four)");
        assert_eq!(shown(&"x".repeat(30)), format!("({})", "x".repeat(LITERAL_BYTES)));
    }

    #[test]
    fn white_space_is_in_no_literal() {
        assert_eq!(shown("Nmap NSE"), "(nmap)");
        assert_eq!(shown(r"agent\x09"), "(agent)");
        assert_eq!(shown("a b c"), "none");
    }

    #[test]
    fn what_gives_letters_another_meaning_does_not_decide() {
        assert_eq!(shown("(?-i)Gulp"), "(gulp)");
        assert_eq!(shown("(?x) Gulp"), "(gulp)");
        assert_eq!(shown(r"Gul[^q]p12"), "(p12)");
    }

    #[test]
    fn a_pattern_may_need_no_literal() {
        for pattern in ["^$", "[0-9]+", "ab", "x|scanner", ".", "^.{40,}$", "(scanner)?"] {
            assert_eq!(shown(pattern), "none", "{pattern}");
        }
    }

    #[test]
    fn places_are_next_to_each_other_and_found_by_their_grams() {
        let all: Vec<Needed> = ["abc", "friendly-scanner", "sipvicious", "smap"]
            .map(|text| Needed { bytes: text.into(), flags: 0, accept: Some(0) })
            .into();
        let tables = Tables::build(&all).unwrap();
        for parity in [0, 1] {
            for (index, literal) in tables.literals.iter().enumerate() {
                let found = tables.places.iter().any(|place| {
                    usize::from(place.literal) == index + 1
                        && place.offset % 2 == parity
                        && u32::from(place.offset) + 2 <= literal.length
                });
                assert!(found, "{literal:?} at places of parity {parity}");
            }
        }
    }

    #[test]
    fn literals_at_the_start_are_looked_for_only_there() {
        let reach = |patterns: &[&str]| {
            let all: Vec<Needed> = patterns.iter().flat_map(|pattern| needed(pattern).unwrap()).collect();
            Tables::build(&all).unwrap().reach
        };
        assert_eq!(reach(&["^asterisk", "^gulp"]), 8);
        assert_eq!(reach(&["^asterisk", "gulp"]), u32::MAX);
        assert_eq!(reach(&[r"^asterisk\d"]), u32::MAX);
    }

    #[test]
    fn more_literals_than_there_is_room_for_are_shortened() {
        let patterns: Vec<String> = (0..2000).map(|index| format!("scanner{index:04}x")).collect();
        let groups = [patterns.iter().map(String::as_str).collect::<Vec<_>>()];
        let (mut dfa, mut accepts) = (Dfa::new_box_zeroed().unwrap(), Vec::new());
        note(&mut dfa, &mut accepts, &groups);
        assert_eq!((dfa.literals[1].length, dfa.literals[1].row), (4, LITERAL_NEEDS_AUTOMATON));
        assert_eq!(dfa.literals[2].length, 0);
    }

    #[test]
    fn one_pattern_without_a_literal_leaves_all_to_the_automaton() {
        let (mut dfa, mut accepts) = (Dfa::new_box_zeroed().unwrap(), Vec::new());
        note(&mut dfa, &mut accepts, &[vec!["scanner", "[0-9]{4}"]]);
        assert_eq!(dfa.literal_reach, 0);
    }
}
