//! The patterns over one text: compiled to a table that reports which of them match, in one walk over the value.

mod automaton;
mod literals;
mod table;

use std::fmt;

use filter_core::layout::Dfa;
use regex_syntax::hir::Hir;

use self::automaton::Automaton;
use crate::lists;

/// Why patterns have no table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DfaError {
    /// One of them does not parse: what the parser says.
    Pattern(String),
    /// Together they are too large: what they need, in words.
    TooLarge(String),
}

/// Parses a pattern.
///
/// # Errors
///
/// What the parser says, with the place marked.
pub(super) fn parse(pattern: &str) -> Result<Hir, String> {
    lists::parse(pattern).map_err(|error| error.to_string())
}

/// Size of a compiled table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    /// All states, including those that match.
    pub(super) states: usize,
    /// States in which a pattern has matched.
    pub(super) matches: usize,
    /// Classes of bytes. The end of the value has one of them.
    pub(super) classes: usize,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transitions = self.states * self.classes.next_power_of_two();
        write!(
            f,
            "{transitions} transitions ({} states, {} of them matches, by {} classes of bytes)",
            self.states, self.matches, self.classes
        )
    }
}

/// The table of one text's patterns, and what its matching states mean.
pub(super) struct Compiled {
    /// The table; `accept`, and the literals' rows, hold indices into `accepts`.
    pub(super) dfa: Box<Dfa>,
    /// Sets of groups with a match, ascending.
    pub(super) accepts: Vec<Vec<usize>>,
    /// The size of `dfa`, for error messages.
    pub(super) size: Size,
}

/// Compiles groups of patterns. The table tells which groups match, not which patterns.
pub(super) fn compile(groups: &[Vec<&str>]) -> Result<Compiled, DfaError> {
    let mut alternations = Vec::with_capacity(groups.len());
    for patterns in groups {
        let alternatives = patterns.iter().map(|pattern| parse(pattern)).collect::<Result<_, _>>();
        alternations.push(Hir::alternation(alternatives.map_err(DfaError::Pattern)?));
    }
    let mut compiled = Automaton::build(&alternations)?.trimming().minimized().into_table()?;
    literals::note(&mut compiled.dfa, &mut compiled.accepts, groups);
    Ok(compiled)
}

#[cfg(test)]
mod tests {
    use filter_core::limits::DFA_TABLE;
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    /// The groups that match somewhere in the value, found as the engine does.
    fn run(compiled: &Compiled, value: &[u8]) -> Vec<usize> {
        let dfa = &compiled.dfa;
        let mut groups = Vec::new();
        let mut state = dfa.start;
        let steps =
            value.iter().map(|&byte| (u32::from(dfa.class[usize::from(byte)]), dfa.leaves_home[usize::from(byte)]));
        for (index, (class, leaves_home)) in steps.chain([(dfa.end_class, 0)]).enumerate() {
            let next = u32::from(dfa.table[((state << dfa.shift) | class) as usize]);
            // The steps that the engine skips make no difference.
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

    /// Asserts that `leaving` and `folds` find exactly the bytes that `leaves_home` marks.
    fn assert_leaving_is_as_marked(dfa: &Dfa) {
        let marked = |byte: u8| dfa.leaves_home[usize::from(byte)] != 0;
        let found = |byte: u8| {
            let byte = u64::from_ne_bytes([byte; 8]);
            dfa.leaving.iter().zip(&dfa.folds).any(|(leaving, fold)| byte | fold == *leaving)
        };
        assert!(dfa.few_leave == 0 || (0..=u8::MAX).all(|byte| found(byte) == marked(byte)));
    }

    /// The same by the regex crate, on the value as it reads unfolded and without surrounding white space.
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
    fn a_table_with_more_than_65_536_transitions_works() {
        // Twelve letters each, with short common prefixes.
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
        (around(), inside, around()).prop_map(|(before, inside, after)| [before, inside, after].concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]

        #[test]
        fn the_table_matches_where_the_regular_expressions_do(
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
    fn up_to_four_bytes_and_pairs_of_letter_cases_leave_home_as_few() {
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
    fn a_pattern_that_explodes_is_refused_quickly() {
        let Err(DfaError::TooLarge(need)) = compile(&[vec!["[ab][a-z]{40}[cd].*[0-9]{30}x"]]) else {
            panic!("it fits")
        };
        assert!(need.contains("transitions"), "{need}");
    }

    #[test]
    fn a_public_list_of_scanners_takes_a_small_table() {
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
