//! A compiled policy decides as the naive evaluator does.

use std::{collections::HashSet, net::IpAddr, path::PathBuf, sync::Arc};

use filter_core::layout::{Text, address_flag};
use filter_policy::{
    compile::{CompileErrorKind, compile},
    image::Image,
    language::{action::Action, stage::Stage, tcp::OnTcp},
    model::{Condition, Identity, Origin, PatternEntry, PatternList, Policy, Rule, Test},
};
use proptest::{collection::vec, prelude::*, strategy::ValueTree, test_runner::Config};
use ringfence_hosts::policy::text;
use ringfence_oracle::{evaluate, generate, image};

/// The number of policies, each with 100 readings; `RINGFENCE_CASES` overrides it.
fn policies() -> u32 {
    std::env::var("RINGFENCE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(1_000)
}

proptest! {
    #![proptest_config(Config { cases: policies(), failure_persistence: None, ..Config::default() })]

    #[test]
    fn the_compiled_policy_agrees_with_the_naive_evaluator(
        policy in generate::policy(20),
        readings in vec(generate::readings(), 100),
    ) {
        let compiled = compile(&policy).expect("generated policies compile");
        for readings in &readings {
            let outcome = evaluate::evaluate(&policy, readings);
            prop_assert_eq!(
                &image::evaluate(&compiled, readings, &readings.exceeded),
                &outcome,
                "{:#?}", readings
            );
            let decider = decider(&compiled, readings.source);
            prop_assert!(decider.is_none() || decider == outcome.rule, "{:?} {:#?}", decider, readings);
        }
    }

    #[test]
    fn a_class_has_the_lengths_format_country_and_region_of_its_numbers(
        policy in generate::policy(6),
        numbers in vec(generate::number(), 100),
    ) {
        let compiled = compile(&policy).expect("generated policies compile");
        for number in &numbers {
            let class = &compiled.number_classes[image::number_class(&compiled, Some(number)) as usize];
            let facts = evaluate::facts(&policy, number);
            prop_assert_eq!((class.min_digits, class.max_digits), facts.digits, "{}", number);
            prop_assert_eq!(class.format, facts.format, "{}", number);
            // Only names that rules use are kept.
            let known = |names: &[String], name: Option<String>| {
                name.and_then(|name| names.iter().position(|known| *known == name)).unwrap_or(0)
            };
            prop_assert_eq!(usize::from(class.country), known(&compiled.countries, facts.country), "{}", number);
            prop_assert_eq!(usize::from(class.region), known(&compiled.regions, facts.region), "{}", number);
        }
    }

    #[test]
    fn one_policy_has_one_hash(policy in generate::policy(6)) {
        let [first, second] = [(); 2].map(|()| compile(&policy).expect("generated policies compile").hash);
        prop_assert_eq!(first.len(), 64);
        prop_assert_eq!(first, second);
    }
}

/// The generated cases are only useful if they reach every outcome.
#[test]
fn generated_cases_reach_every_outcome() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut reasons = HashSet::new();
    let (mut pinholes, mut would, mut late) = (0, 0, 0);
    for _ in 0..100 {
        let policy = generate::policy(20).new_tree(&mut runner).expect("a policy").current();
        for _ in 0..20 {
            let readings = generate::readings().new_tree(&mut runner).expect("readings").current();
            let outcome = evaluate::evaluate(&policy, &readings);
            reasons.insert(outcome.reason.name());
            pinholes += outcome.pinholes.len();
            would += outcome.would.len();
            late += usize::from(outcome.rule.is_some_and(|rule| rule > 3));
        }
    }
    assert_eq!(reasons.len(), 7, "{reasons:?}");
    assert!(pinholes > 100 && would > 100 && late > 100, "pinholes {pinholes}, would {would}, late {late}");
}

fn origin(line: u32) -> Origin {
    Origin { file: Arc::new(PathBuf::from("policy.toml")), line }
}

fn rule(name: &str, conditions: Vec<Condition>) -> Rule {
    Rule {
        name: name.to_owned(),
        stage: Stage::Blacklist,
        conditions,
        action: Action::Drop,
        report: false,
        over: None,
        hours: Vec::new(),
        until: None,
        basis: None,
        tcp: OnTcp::default(),
        origin: origin(1),
    }
}

fn policy(rules: Vec<Rule>) -> Policy {
    Policy {
        default_drop: false,
        report: false,
        ports: generate::PORTS.to_vec(),
        numbering: filter_policy::model::Numbering {
            plan: filter_policy::model::NumberingPlan {
                country_code: "1".into(),
                international_prefixes: vec!["011".into()],
                ..filter_policy::model::NumberingPlan::default()
            },
            plans: Vec::new(),
            called_from_to: false,
            neighbor_digits: 6,
            asserted_identity_from: Vec::new(),
            ranges: Vec::new(),
        },
        rules,
        never_ban: Vec::new(),
        labelled: Vec::new(),
        upstreams: Vec::new(),
        allow_emergency: true,
        headers: Vec::new(),
    }
}

/// The rule that decides every packet from a source.
fn decider(compiled: &Image, source: IpAddr) -> Option<usize> {
    let class = compiled.address_classes[image::address_class(compiled, source) as usize];
    address_flag::decider(class).map(|rule| rule as usize)
}

#[test]
fn a_source_has_a_decider_if_the_first_rule_it_satisfies_has_no_other_condition() {
    const TEXT: &str = r#"
        version = 1
        [[rule]]
        name = "trusted"
        match.source = "192.0.2.1"
        action = "whitelist"
        [[rule]]
        name = "watched"
        match.source = "192.0.2.2"
        action = "drop"
        mode = "report"
        [[rule]]
        name = "needs-more"
        match = { source = "192.0.2.3", method = "INVITE" }
        action = "drop"
        [[rule]]
        name = "limited"
        match.source = "192.0.2.4"
        over = { rate = "5/s", burst = 20, per = "source" }
        action = "drop"
        [[rule]]
        name = "goes-on"
        match.source = "192.0.2.5"
        action = "continue"
        [[rule]]
        name = "network"
        match = { source = "192.0.2.0/24", not.source = "192.0.2.6" }
        action = "drop"
    "#;
    let compiled = text(TEXT).image;
    let name = |last: u8| {
        let rule = decider(&compiled, IpAddr::from([192, 0, 2, last]))?;
        Some(compiled.rule_names[rule].as_str())
    };
    let names: Vec<_> = (1..=7).map(name).collect();
    assert_eq!(names, [Some("trusted"), None, None, None, None, None, Some("network")]);
    assert_eq!(decider(&compiled, IpAddr::from([198, 51, 100, 1])), None);
}

fn agents(patterns: &[&str], negated: bool) -> Condition {
    let entries =
        (10..).zip(patterns).map(|(line, &pattern)| PatternEntry { pattern: pattern.to_owned(), line }).collect();
    let list = PatternList { name: None, entries, origin: origin(1) };
    let test = Test::Text(Text::UserAgent, vec![Arc::new(list)]);
    Condition { scope: test.scope(), test, negated, origin: origin(7) }
}

#[test]
fn the_pattern_that_makes_the_table_too_large_is_named_with_its_line() {
    let patterns = ["friendly-scanner", "sipvicious", "x[ab][a-z]{9}y", "[ab][a-z]{30}[cd].*[0-9]{30}x", "sipcli"];
    let errors =
        compile(&policy(vec![rule("scanners", vec![agents(&patterns, false)])])).err().expect("it is too large");
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].origin, Some(origin(13)));
    let CompileErrorKind::PatternsTooLarge { pattern, text, count, without, .. } = &errors[0].kind else {
        panic!("{}", errors[0])
    };
    assert_eq!((pattern.as_str(), text.as_str(), *count), (patterns[3], "user_agent", 4));
    assert!(without.as_ref().is_some_and(|without| without.contains("states")), "{without:?}");
}

#[test]
fn two_patterns_that_must_both_match_in_one_rule_are_refused() {
    let both = vec![agents(&["a"], false), agents(&["b"], false)];
    let errors = compile(&policy(vec![rule("both", both)])).err().expect("it cannot be expressed");
    assert_eq!(errors[0].origin, Some(origin(7)));
    assert!(
        matches!(&errors[0].kind, CompileErrorKind::SeveralPositive { scope, .. } if scope == "user_agent"),
        "{}",
        errors[0]
    );
}

#[test]
fn two_sets_that_identities_must_both_meet_in_one_rule_are_refused() {
    let any = |negated| {
        let test = Test::AnyIdentity(Vec::new());
        Condition { scope: test.scope(), test, negated, origin: origin(7) }
    };
    let errors =
        compile(&policy(vec![rule("both", vec![any(false), any(false)])])).err().expect("it cannot be expressed");
    assert_eq!(errors[0].origin, Some(origin(7)));
    assert!(
        matches!(&errors[0].kind, CompileErrorKind::SeveralPositive { scope, .. } if scope == "any_identity"),
        "{}",
        errors[0]
    );
    assert!(compile(&policy(vec![rule("one", vec![any(false), any(true), any(true)])])).is_ok());
}

#[test]
fn every_error_is_reported_at_once() {
    let bad = vec![
        rule("pattern", vec![agents(&[r"\p{Greek}", "("], false)]),
        rule(
            "format",
            vec![{
                let test = Test::Format(Identity::From, Vec::new());
                Condition { scope: test.scope(), test, negated: false, origin: origin(3) }
            }],
        ),
    ];
    let errors = compile(&policy(bad)).err().expect("there are errors");
    assert_eq!(errors.len(), 3, "{errors:#?}");
}

#[test]
fn one_rule_too_many_is_reported_at_its_line() {
    let mut rules: Vec<Rule> = (0..513).map(|index| rule(&format!("rule-{index}"), Vec::new())).collect();
    rules[512].origin = origin(99);
    let errors = compile(&policy(rules)).err().expect("there are too many");
    assert_eq!(errors[0].origin, Some(origin(99)));
    assert_eq!(errors[0].kind, CompileErrorKind::TooManyRules(513));
}

#[test]
fn lists_that_no_rule_distinguishes_share_a_class() {
    let patterns = agents(&["x"], false);
    let compiled = compile(&policy(vec![rule("a", vec![patterns])])).expect("it compiles");
    assert_eq!(compiled.address_classes, [0]);
    assert_eq!(compiled.number_classes.len(), 2);
    assert!(compiled.nodes.is_empty() && compiled.leaves.is_empty());
}
