//! docs/policy.md agrees with the program.

use std::fmt::Write as _;

use filter_core::layout::{Action, NumberFormat};
use filter_policy::language::{scope::SCOPES, source};

const REFERENCE: &str = include_str!("../../docs/policy.md");

#[test]
fn the_table_of_scopes_is_the_programs() {
    let start =
        REFERENCE.find("<!-- scopes:").and_then(|at| Some(at + REFERENCE[at..].find("|---|---|\n")? + 10)).unwrap();
    let end = REFERENCE.find("<!-- end of scopes -->").unwrap();
    let expected = SCOPES.iter().fold(String::new(), |mut rows, (name, _, values)| {
        let _ = writeln!(rows, "| `{name}` | {values} |");
        rows
    });
    assert_eq!(&REFERENCE[start..end], expected, "put these rows into docs/policy.md");
}

#[test]
fn every_key_action_and_format_is_in_the_reference() {
    let names = [
        source::TOP_KEYS,
        source::NETWORK_KEYS,
        source::NUMBERING_KEYS,
        source::PLAN_KEYS,
        source::SET_KEYS,
        source::UPSTREAM_KEYS,
        source::CONTACT_KEYS,
        source::CAP_KEYS,
        source::RULE_KEYS,
        source::OVER_KEYS,
        source::HOURS_KEYS,
    ]
    .concat()
    .into_iter()
    .chain(Action::NAMES)
    .chain(NumberFormat::NAMES);
    let missing: Vec<&str> = names.filter(|name| !REFERENCE.contains(name)).collect();
    assert!(missing.is_empty(), "docs/policy.md does not mention {missing:?}");
}
