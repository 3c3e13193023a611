//! The sample policy repository, on disk and inside the binary.

use std::path::Path;

use filter_core::layout::Transport;
use filter_policy::{files, language::action::Action, model::Test, sample_policy, testing::TODAY};

fn on_disk() -> filter_policy::Built {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let files = files::Directory::new(&root).expect("the sample is checked in");
    filter_policy::build(&files, TODAY).unwrap_or_else(|diagnostics| panic!("{diagnostics}"))
}

#[test]
fn the_sample_has_no_errors_and_no_warnings() {
    let built = on_disk();
    assert!(built.diagnostics.is_empty(), "{}", built.diagnostics);
}

#[test]
fn the_sample_inside_the_binary_is_the_one_on_disk() {
    let embedded = filter_policy::build(&files::Table(sample_policy::FILES), TODAY)
        .unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    assert_eq!(embedded.image.hash, on_disk().image.hash);
}

#[test]
fn the_sample_is_read_as_it_is_written() {
    let built = on_disk();
    let rules: Vec<_> = built.policy.rules.iter().collect();
    assert_eq!(
        (rules[0].name.as_str(), rules[0].action.clone()),
        ("emergency", Action::Whitelist),
        "emergency calls come first"
    );
    let reported: Vec<_> = rules.iter().filter(|rule| rule.report).map(|rule| rule.name.as_str()).collect();
    assert!(["strangers", "scanners-risky", "smuggling"].iter().all(|name| reported.contains(name)), "{reported:?}");
    assert!(!built.policy.default_drop);
    assert_eq!(built.policy.ports, [(5060, Transport::Udp), (5060, Transport::Tcp), (5061, Transport::Tls)]);
    assert_eq!(built.policy.never_ban[0].name.as_deref(), Some("trunks"));
    assert_eq!(built.policy.numbering.asserted_identity_from[0].entries.len(), 4);
}

#[test]
fn do_not_originate_numbers_belong_to_the_country() {
    let built = on_disk();
    let rule = built.policy.rules.iter().find(|rule| rule.name == "do-not-originate").expect("it is there");
    assert_eq!(rule.basis.as_deref(), Some("dno"));
    let lists = rule.conditions.iter().find_map(|condition| {
        let Test::AnyIdentity(lists) = &condition.test else { return None };
        Some(lists)
    });
    let entries = &lists.expect("the rule has numbers")[0].entries;
    assert!(entries.iter().all(|entry| entry.digits >> 60 == 1), "every entry starts with the country code");
    let exact = entries.iter().find(|entry| entry.exact).expect("some are exact");
    assert_eq!((exact.digits >> 20, exact.length), (0x120_2555_0100, 11));
}
