//! Patterns over a text, as the engine finds them: by literals, and by the automaton alone. Both must agree with the regex crate.

use filter_policy::{
    engine::{Endpoints, Engine, datagram},
    image::Image,
    testing::build,
};
use proptest::{collection::vec, prelude::*, sample::select};

const CASES: u32 = if cfg!(debug_assertions) { 100 } else { 400 };

/// What scanners are called, whole and in parts.
const WORDS: &[&str] = &[
    "friendly-scanner",
    "sipvicious",
    "sip",
    "cli",
    "scan",
    "smap",
    "abc",
    "bca",
    "aaaa",
    "aab",
    "x",
    "Gulp",
    "VaxSIPUserAgent/3.1",
    "a-name-of-exactly-24-byte",
    "a-name-of-more-than-twenty-four-bytes",
    "1234",
    "\u{e9}t\u{e9}",
];

fn pattern() -> impl Strategy<Value = String> {
    let word = || select(WORDS).prop_map(regex::escape);
    prop_oneof![
        4 => word(),
        2 => (select(vec!["^", ""]), word(), select(vec!["$", ""])).prop_map(|(start, word, end)| format!("{start}{word}{end}")),
        1 => vec(word(), 2..4).prop_map(|words| format!("(?:{})", words.join("|"))),
        1 => (word(), select(vec![" ", "[-_ ]?", r"\d+", ".*", r"\s", r"\b", "[^a]", "(?:a|b)"]), word())
            .prop_map(|(first, between, second)| format!("{first}{between}{second}")),
        1 => word().prop_map(|word| format!("(?-i:{word})")),
        1 => word().prop_map(|word| format!("{word}|^$")),
    ]
}

/// A header's value as it is on the wire: what patterns match, beginnings of it, and folds.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => select(WORDS).prop_map(|word| word.as_bytes().to_vec()),
        2 => select(WORDS).prop_map(|word| word.to_uppercase().into_bytes()),
        2 => (select(WORDS), 0..8usize).prop_map(|(word, cut)| word.as_bytes()[..word.len().saturating_sub(cut)].to_vec()),
        3 => select(vec![" ", "\t", "-", "/", "a", "\u{1}", "  "]).prop_map(|text| text.as_bytes().to_vec()),
        1 => Just(b"\r\n ".to_vec()),
        1 => Just(vec![b'z'; 200]),
    ];
    (select(vec!["", " ", "  ", "\t"]), vec(piece, 0..12), select(vec!["", " ", "\t"]))
        .prop_map(|(before, pieces, after)| [before.as_bytes(), &pieces.concat(), after.as_bytes()].concat())
}

/// A policy with a rule for each group of patterns. All rules only report, so each packet meets all of them.
fn policy(groups: &[Vec<String>]) -> Image {
    let mut text = "version = 1\n[network]\nudp = [5060]\n".to_owned();
    let mut lists = Vec::new();
    for (index, patterns) in groups.iter().enumerate() {
        text += &format!("[sets.set-{index}]\npatterns = \"list-{index}.txt\"\n");
        lists.push((format!("list-{index}.txt"), patterns.join("\n")));
    }
    for index in 0..groups.len() {
        text += &format!(
            "[[rule]]\nname = \"rule-{index}\"\nstage = \"blacklist\"\nmatch = {{ user_agent = \"@set-{index}\" }}\n\
             action = \"drop\"\nmode = \"report\"\n"
        );
    }
    let mut files = vec![("policy.toml", text.as_str())];
    files.extend(lists.iter().map(|(path, list)| (path.as_str(), list.as_str())));
    build(&files).unwrap_or_else(|errors| panic!("{text}\n{lists:?}\n{errors:?}")).image
}

/// The rules that match a message with this user agent.
fn matched(engine: &mut Engine<'_>, value: &[u8]) -> Vec<usize> {
    let start = "OPTIONS sip:10.0.0.1 SIP/2.0\r\nFrom: <sip:100@10.0.0.1>;tag=1\r\nUser-Agent:";
    let message = [start.as_bytes(), value, b"\r\nCall-ID: 1\r\nContent-Length: 0\r\n\r\n"].concat();
    let packet = datagram(&Endpoints::default(), &message);
    let decision = engine.decide(&packet);
    assert_eq!(engine.scratch().message.body as usize, message.len(), "the message is read to its end");
    decision.matched
}

/// The same by the regex crate, on the value as it reads unfolded and without white space around it.
fn naive(groups: &[Vec<String>], value: &[u8]) -> Vec<usize> {
    let unfolded: Vec<u8> = value
        .iter()
        .filter(|byte| !b"\r\n".contains(byte))
        .map(|&byte| if byte == b'\t' { b' ' } else { byte })
        .collect();
    let matches = |pattern: &String| {
        let regex = regex::bytes::RegexBuilder::new(pattern).case_insensitive(true).unicode(false).build();
        regex.expect("the generated patterns parse").is_match(unfolded.trim_ascii())
    };
    (0..groups.len()).filter(|&group| groups[group].iter().any(matches)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn literals_and_automaton_agree_with_the_regex_crate(
        groups in vec(vec(pattern(), 1..6), 1..5),
        values in vec(value(), 1..40),
    ) {
        let image = policy(&groups);
        let mut by_automaton = image.clone();
        for dfa in &mut by_automaton.dfas {
            dfa.literal_reach = 0;
        }
        let (mut engine, mut slow) = (Engine::new(&image), Engine::new(&by_automaton));
        for value in &values {
            let (shown, expected) = (value.escape_ascii().to_string(), naive(&groups, value));
            prop_assert_eq!(matched(&mut slow, value), expected.clone(), "by the automaton: {}", shown);
            prop_assert_eq!(matched(&mut engine, value), expected, "by literals: {}", shown);
        }
    }
}

/// The literals decide in the common case, or they would cost time and give nothing.
#[test]
fn ordinary_values_are_decided_by_literals() {
    let mut image = policy(&[vec!["friendly-scanner".into(), "sip.*scan".into()]]);
    // An automaton that matches everything, so that it shows where it was asked.
    for dfa in &mut image.dfas {
        dfa.home_matches_at_end = 1;
        dfa.first_match = 0;
        dfa.accept
            .fill(dfa.literals.iter().map(|literal| literal.row).find(|row| *row != 0 && *row != u32::MAX).unwrap());
    }
    let mut engine = Engine::new(&image);
    let cases: [(&[u8], bool); 7] = [
        (b" Asterisk PBX 18.2", false),
        (b" friendly-scanner", true),
        (b" a scanner", true),
        (b" a sip-phone", false),
        (b"  two spaces", true),
        (b" folded\r\n value", true),
        (b" \xff\xfe", false),
    ];
    for (value, expected) in cases {
        assert_eq!(matched(&mut engine, value), if expected { vec![0] } else { vec![] }, "{}", value.escape_ascii());
    }
}
