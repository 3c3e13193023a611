//! `[[upstream]]`: what becomes of it in the resolved and in the compiled policy, and what is said of it.

use std::net::IpAddr;

use filter_core::layout::{Count, Per};
use filter_policy::{
    Built,
    difference::{Difference, Version},
    facts::PolicyFacts,
    files::Table,
    language::{scope::Scope, stage::Stage, upstream::UpstreamKind},
    model::{Contact, Policy, Rule, Test},
    testing,
};

const HEAD: &str = "version = 1\n[network]\nudp = [5060]\n[numbering]\ncountry_code = \"1\"\n";

fn built(rest: &str) -> Built {
    let text = format!("{HEAD}{rest}");
    testing::build(&[("policy.toml", &text)])
        .unwrap_or_else(|diagnostics| panic!("{}", diagnostics.render(false, None)))
}

fn policy(rest: &str) -> Policy {
    built(rest).policy
}

/// The source addresses of a rule's first condition.
fn sources(rule: &Rule) -> Vec<String> {
    let Test::Source(lists) = &rule.conditions[0].test else { panic!("{rule:?}") };
    lists.iter().flat_map(|list| &list.entries).map(|entry| entry.network().to_string()).collect()
}

#[test]
fn all_that_is_said_of_an_upstream_is_in_the_model() {
    let policy = policy(
        "[sets.acme]\naddresses = [\"192.0.2.1\", \"2001:db8::/48\"]\n[sets.numbers]\nnumbers = [\"1605562\"]\n\
         [[upstream]]\nname = \"acme\"\ndescription = \"since May\"\nkind = \"gateway\"\ntrunks = [\"@acme\", \"192.0.2.9\"]\n\
         frn = \"0012345678\"\nrmd = \"RMD0001410\"\nocn = \"709j\"\nspc = \"0AbC\"\ncallers = [\"@numbers\", \"+44 20\"]\n\
         contacts = [{ role = \"noc\", email = \"noc@acme.example\" }, { name = \"Jo\", telephone = \"+1 (605) 562-0100\" }]\n\
         [[upstream]]\nname = \"beta\"\ntrunks = \"192.0.2.2\"\n",
    );
    let [acme, beta] = policy.upstreams.as_slice() else { panic!("{:?}", policy.upstreams) };
    let trunks: Vec<String> =
        acme.trunks.iter().flat_map(|list| &list.entries).map(|entry| entry.network().to_string()).collect();
    assert_eq!(trunks, ["192.0.2.1/32", "2001:db8::/48", "192.0.2.9/32"]);
    assert_eq!((acme.name.as_str(), acme.kind, acme.origin.line), ("acme", Some(UpstreamKind::Gateway), 11));
    let texts = [&acme.frn, &acme.rmd, &acme.ocn, &acme.spc].map(|text| text.as_deref().unwrap_or_default());
    assert_eq!(texts, ["0012345678", "RMD0001410", "709J", "0ABC"]);
    let callers: usize = acme.callers.iter().flatten().map(|list| list.entries.len()).sum();
    assert_eq!(callers, 2);
    let text = |text: &str| Some(text.to_owned());
    let noc = Contact { role: text("noc"), email: text("noc@acme.example"), ..Contact::default() };
    let jo = Contact { name: text("Jo"), telephone: text("+1 (605) 562-0100"), ..Contact::default() };
    assert_eq!(acme.contacts, [noc, jo]);
    assert!(beta.callers.is_none() && beta.contacts.is_empty() && beta.kind.is_none() && beta.caps.is_empty());
    assert!(policy.rules.is_empty());
}

#[test]
fn caps_are_rules_after_all_others() {
    let policy = policy(
        "[[upstream]]\nname = \"acme\"\ntrunks = \"192.0.2.1\"\ncaps = [\n\
         { calls_per_second = 2, calls_per_day = 5000, until = 2027-01-31, mode = \"enforce\" },\n\
         { calls_per_second = 50, burst = 200, action = { reject = 503 } },\n{ rate = \"300/m\" },\n]\n\
         [[rule]]\nname = \"scanners\"\nmatch.user_agent = \"x\"\naction = \"drop\"\n",
    );
    let names: Vec<&str> = policy.rules.iter().map(|rule| rule.name.as_str()).collect();
    let caps = ["calls-per-second", "calls-per-day", "calls-per-second-2", "rate"];
    let caps = caps.map(|cap| format!("upstream:acme:{cap}"));
    assert_eq!(names[0], "scanners");
    assert_eq!(names[1..], caps);
    assert_eq!(policy.upstreams[0].caps, caps);
    let day = 86_400_000_000_000;
    let limits = [(2, 1_000_000_000, 2), (5_000, day, 5_000), (50, 1_000_000_000, 200), (300, 60_000_000_000, 300)];
    for (rule, limit) in policy.rules[1..].iter().zip(limits) {
        let over = rule.over.as_ref().expect("it is a limit");
        assert_eq!((over.count, over.period, over.burst), limit, "{}", rule.name);
        assert_eq!((over.counts, over.per), (Count::Calls, Per::Rule));
        assert_eq!((rule.stage, rule.basis.as_deref()), (Stage::Fraud, Some("contract")));
        assert_eq!(sources(rule), ["192.0.2.1/32"]);
    }
    // Nothing is enforced that does not say so.
    assert_eq!([1, 2, 3, 4].map(|rule: usize| policy.rules[rule].report), [false, false, true, true]);
    assert_eq!([1, 2, 3, 4].map(|rule: usize| policy.rules[rule].until.is_some()), [true, true, false, false]);
    assert_eq!(policy.rules[3].action.name(), "reject");
}

#[test]
fn a_cap_that_is_over_is_no_rule() {
    // The tests' day is later.
    let policy = policy(
        "[[upstream]]\nname = \"acme\"\ntrunks = \"192.0.2.1\"\n\
         caps = [{ calls_per_second = 1, until = 2026-11-01 }, { calls_per_second = 5 }]\n",
    );
    let names: Vec<&str> = policy.rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["upstream:acme:calls-per-second-2"]);
}

#[test]
fn names_labels_kinds_and_filings_become_the_addresses_of_trunks() {
    const UPSTREAMS: &str = "[sets.acme]\naddresses = [\"192.0.2.1\"]\nlabel = \"acme\"\n\
                             [sets.old]\naddresses = [\"192.0.2.7\"]\nlabel = \"labelled\"\n\
                             [[upstream]]\nname = \"acme\"\nkind = \"carrier\"\ntrunks = [\"@acme\", \"192.0.2.2\"]\nrmd = \"RMD0001410\"\n\
                             [[upstream]]\nname = \"beta\"\nkind = \"customer\"\ntrunks = \"192.0.2.3\"\n\
                             [[upstream]]\nname = \"gamma\"\ntrunks = \"192.0.2.4\"\nrmd = \"RMD0000001\"\n";
    let rule = |condition: &str| {
        let rest = format!("{UPSTREAMS}[[rule]]\nname = \"r\"\nmatch.{condition}\naction = \"drop\"\n");
        policy(&rest).rules[0].clone()
    };
    for (condition, scope, expected) in [
        ("upstream = \"acme\"", Scope::Upstream, &[1, 2][..]),
        ("upstream = [\"labelled\", \"gamma\"]", Scope::Upstream, &[4, 7]),
        ("upstream_kind = \"carrier\"", Scope::UpstreamKind, &[1, 2]),
        ("upstream_kind = [\"CUSTOMER\", \"carrier\"]", Scope::UpstreamKind, &[1, 2, 3]),
        ("upstream_kind = \"gateway\"", Scope::UpstreamKind, &[]),
        ("upstream_rmd = \"filed\"", Scope::UpstreamRmd, &[1, 2, 4]),
        ("upstream_rmd = \"none\"", Scope::UpstreamRmd, &[3]),
        ("upstream_rmd = [\"rmd0000001\", \"none\"]", Scope::UpstreamRmd, &[3, 4]),
        ("upstream_rmd = [\"filed\", \"RMD0000001\"]", Scope::UpstreamRmd, &[1, 2, 4]),
    ] {
        let rule = rule(condition);
        let mut found = sources(&rule);
        found.sort();
        let expected: Vec<String> = expected.iter().map(|last| format!("192.0.2.{last}/32")).collect();
        assert_eq!((found, rule.conditions[0].scope), (expected, scope), "{condition}");
    }
}

#[test]
fn reports_name_the_upstream_and_otherwise_the_first_label() {
    let policy = policy(
        "[sets.one]\naddresses = [\"192.0.2.0/24\"]\nlabel = \"a-label\"\n[sets.two]\naddresses = [\"192.0.2.0/28\"]\nlabel = \"b-label\"\n\
         [[upstream]]\nname = \"x-voice\"\ntrunks = [\"@two\", \"198.51.100.1\"]\n",
    );
    let facts = PolicyFacts::new(&policy);
    for (source, expected) in [
        ("192.0.2.1", Some("x-voice")),
        ("198.51.100.1", Some("x-voice")),
        ("192.0.2.99", Some("a-label")),
        ("203.0.113.1", None),
    ] {
        let source: IpAddr = source.parse().unwrap();
        assert_eq!(facts.upstream(source), expected, "{source}");
    }
}

#[test]
fn what_no_rule_asks_about_upstreams_is_not_in_the_image() {
    let rule = "[[rule]]\nname = \"r\"\nmatch.calling = \"1605\"\naction = \"drop\"\n";
    let without = built(rule);
    let with = built(&format!(
        "[[upstream]]\nname = \"acme\"\nkind = \"carrier\"\ntrunks = \"192.0.2.1\"\ncallers = \"1605562\"\nfrn = \"0012345678\"\n{rule}"
    ));
    assert_eq!(with.image.hash, without.image.hash);
}

#[test]
fn the_limits_of_an_upstream_go_on_when_others_come_before_it() {
    let keys = |upstreams: &str| {
        let image = built(&format!(
            "{upstreams}[[rule]]\nname = \"r\"\nmatch.method = \"INVITE\"\naction = \"drop\"\n\
             over = {{ rate = \"5/s\", per = \"upstream\" }}\n"
        ))
        .image;
        let highest =
            image.address_classes.iter().map(|class| filter_core::layout::address_flag::upstream(*class)).max();
        let first = image.config.upstream_row as usize;
        (0..highest.unwrap_or(0) as usize).map(|number| image.rows[first + number][0]).collect::<Vec<u64>>()
    };
    let acme = "[[upstream]]\nname = \"acme\"\ntrunks = \"192.0.2.1\"\n";
    let beta = "[[upstream]]\nname = \"beta\"\ntrunks = \"192.0.2.2\"\ncallers = \"1\"\n";
    let label = "[sets.s]\naddresses = [\"192.0.2.3\"]\nlabel = \"acme\"\n";
    let [one] = keys(acme)[..] else { panic!("one upstream") };
    let both = keys(&format!("{beta}{acme}"));
    assert!(both.len() == 2 && both.contains(&one) && both[0] != both[1], "{one:x} {both:x?}");
    // Who was a label before is the same upstream.
    assert_eq!(keys(label), [one]);
}

#[test]
fn a_difference_names_upstreams_and_their_sets() {
    let version = |kind: &str, callers: &str, more: &str| {
        format!(
            "{HEAD}[sets.numbers]\nnumbers = {callers}\n[[upstream]]\nname = \"acme\"\nkind = \"{kind}\"\ntrunks = \"192.0.2.1\"\n\
             callers = \"@numbers\"\ncaps = [{{ calls_per_second = 5 }}]\n{more}"
        )
    };
    let beta = "[[upstream]]\nname = \"beta\"\ntrunks = \"192.0.2.2\"\n";
    let (from, to) = (version("carrier", "[\"1605562\"]", ""), version("customer", "[\"1605562\", \"1605563\"]", beta));
    let built = |text: &str| testing::build(&[("policy.toml", text)]).unwrap_or_else(|_| panic!("{text}"));
    let (old, new) = (built(&from), built(&to));
    let (old_files, new_files) = ([("policy.toml", from.as_bytes())], [("policy.toml", to.as_bytes())]);
    let (before, after) = (Version::new(&old, &Table(&old_files)), Version::new(&new, &Table(&new_files)));
    let difference = Difference::between(&before, &after);
    let keys: Vec<&str> = difference.keys.iter().map(|key| key.key.as_str()).collect();
    assert_eq!(keys, ["upstream.acme.kind", "upstream.beta.name", "upstream.beta.trunks"]);
    assert_eq!(difference.sets.len(), 1);
    assert_eq!((difference.sets[0].set.as_str(), difference.sets[0].added), ("@numbers", 1));
}
