//! Policies as proptest strategies.

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use filter_core::layout::{Count, Dialog, NumberFormat, Payload, Per, TEXTS, Transport, passport, privacy};
use filter_policy::language::{action::Action, header::HeaderName, tcp::OnTcp};
use filter_policy::model::{
    AddressEntry, AddressList, Condition, Flags, Identity, MethodName, NumberEntry, NumberList, NumberRange, Numbering,
    NumberingPlan, Origin, Over, PatternEntry, PatternList, Policy, Rule, Test, Upstream,
};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{select, subsequence},
};

use super::stock::{
    ADDRESSES, ATTESTATIONS, COMPARISONS, COUNTRIES, FORMATS, HEADER_NAMES, IDENTITIES, METHODS, NUMBERS, PATTERNS,
    PORTS, REGIONS, SPIDS, STAGES, TEXT_SCOPES, VERSTATS,
};

/// Any policy with up to `rules` rules.
pub fn policy(rules: usize) -> impl Strategy<Value = Policy> {
    let lists = (vec(address_list(), 1..5), vec(number_list(), 1..5), vec(pattern_lists(), 1..4));
    lists.prop_flat_map(move |(addresses, numbers, patterns)| {
        let condition = (test(&addresses, &numbers, &patterns), any::<bool>());
        let rules = vec((vec(condition, 0..4), rule()), 0..=rules);
        let believed = subsequence(addresses.clone(), 0..=1);
        let never_ban = subsequence(addresses.clone(), 0..=1);
        let upstreams = vec(upstream(&addresses, &numbers), 0..4);
        (any::<bool>(), rules, vec(range(), 0..12), believed, never_ban, upstreams, 0..8u8).prop_map(
            |(default_drop, rules, ranges, asserted_identity_from, never_ban, upstreams, neighbor_digits)| Policy {
                default_drop,
                report: false,
                ports: PORTS.to_vec(),
                numbering: Numbering {
                    plan: NumberingPlan {
                        country_code: "1".into(),
                        international_prefixes: vec!["011".into()],
                        ..NumberingPlan::default()
                    },
                    plans: Vec::new(),
                    called_from_to: false,
                    neighbor_digits,
                    asserted_identity_from,
                    ranges,
                },
                rules: rules
                    .into_iter()
                    .enumerate()
                    .map(|(index, (conditions, mut rule))| {
                        rule.name = format!("rule-{index}");
                        rule.origin.line = index as u32 + 1;
                        rule.conditions = expressible(conditions);
                        rule
                    })
                    .collect(),
                never_ban,
                labelled: Vec::new(),
                upstreams: named(upstreams),
                allow_emergency: true,
                headers: HEADER_NAMES.iter().filter_map(|name| HeaderName::new(name)).collect(),
            },
        )
    })
}

/// An upstream without a name. Unlike those of a policy's file, several may have the same trunks: the first one counts.
fn upstream(addresses: &[Arc<AddressList>], numbers: &[Arc<NumberList>]) -> impl Strategy<Value = Upstream> + use<> {
    let trunks = subsequence(addresses.to_vec(), 1..=addresses.len().min(2));
    let callers = option::weighted(0.7, subsequence(numbers.to_vec(), 0..=numbers.len().min(2)));
    (trunks, callers).prop_map(|(trunks, callers)| Upstream {
        name: String::new(),
        trunks,
        kind: None,
        frn: None,
        rmd: None,
        ocn: None,
        spc: None,
        contacts: Vec::new(),
        callers,
        caps: Vec::new(),
        origin: origin(),
    })
}

/// Gives each a name.
fn named(mut upstreams: Vec<Upstream>) -> Vec<Upstream> {
    for (index, upstream) in upstreams.iter_mut().enumerate() {
        upstream.name = format!("upstream-{index}");
    }
    upstreams
}

/// A rule can have one positive condition on a text, one on anomalies and one on any identity: further ones are negated.
fn expressible(conditions: Vec<(Test, bool)>) -> Vec<Condition> {
    let mut asked = Vec::new();
    conditions
        .into_iter()
        .map(|(test, mut negated)| {
            let scope = match &test {
                Test::Text(text, _) => Some(text.index()),
                Test::Anomaly(_) => Some(TEXTS),
                Test::AnyIdentity(_) => Some(TEXTS + 1),
                Test::Source(_)
                | Test::Destination(_)
                | Test::Transport(_)
                | Test::Port(_)
                | Test::Method(_)
                | Test::Number(..)
                | Test::Country(..)
                | Test::Region(..)
                | Test::Spid(..)
                | Test::Format(..)
                | Test::Reputation(..)
                | Test::Attestation(_)
                | Test::CallerAllowed(_)
                | Test::CallingPrivacy(_)
                | Test::Dialog(_)
                | Test::Passport(_)
                | Test::Payload(_)
                | Test::Verstat(_)
                | Test::Neighbor(_) => None,
            };
            if let Some(scope) = scope.filter(|_| !negated) {
                negated = asked.contains(&scope);
                asked.push(scope);
            }
            Condition { scope: test.scope(), test, negated, origin: origin() }
        })
        .collect()
}

pub fn origin() -> Origin {
    Origin { file: Arc::new(PathBuf::from("policy.toml")), line: 1 }
}

fn rule() -> impl Strategy<Value = Rule> {
    use Action::{BypassFraudControl, Continue, Drop, Whitelist};
    let ban = Action::Ban { seconds: 0, prefix4: 32, prefix6: 64 };
    let divert = Action::Divert { uri: "sip:captcha@example.com".to_owned() };
    let reject = Action::Reject { status: 603 };
    let action =
        select(vec![ban, BypassFraudControl, Continue, Continue, Continue, divert, Drop, Drop, reject, Whitelist]);
    (action, select(&STAGES[..]), any::<bool>(), option::weighted(0.1, over())).prop_map(
        |(action, stage, report, over)| Rule {
            name: String::new(),
            stage,
            conditions: Vec::new(),
            action,
            report,
            over,
            hours: Vec::new(),
            until: None,
            basis: None,
            tcp: OnTcp::default(),
            origin: origin(),
        },
    )
}

fn over() -> impl Strategy<Value = Over> {
    let per = select(vec![Per::Rule, Per::Source, Per::Upstream, Per::Calling, Per::CalledPrefix]);
    per.prop_map(|per| Over { count: 5, period: 1_000_000_000, burst: 20, counts: Count::Packets, per, prefix: 0 })
}

fn test(
    addresses: &[Arc<AddressList>],
    numbers: &[Arc<NumberList>],
    patterns: &[Arc<PatternList>],
) -> impl Strategy<Value = Test> + use<> {
    let address_lists = subsequence(addresses.to_vec(), 1..=addresses.len().min(2));
    let number_lists = subsequence(numbers.to_vec(), 1..=numbers.len().min(2));
    let pattern_lists = subsequence(patterns.to_vec(), 1..=patterns.len().min(2));
    let names = |names: &'static [&'static str]| {
        subsequence(names, 1..=2).prop_map(|names| names.into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    let identity = || select(&IDENTITIES[..]);
    prop_oneof![
        3 => address_lists.clone().prop_map(Test::Source),
        1 => address_lists.prop_map(Test::Destination),
        1 => select(vec![Transport::Udp, Transport::Tcp, Transport::Tls]).prop_map(|it| Test::Transport(vec![it])),
        1 => select(vec![5060u16, 5061, 5080, 9]).prop_map(|port| Test::Port(vec![port])),
        2 => subsequence(&METHODS[..], 1..4)
            .prop_map(|methods| Test::Method(methods.into_iter().map(MethodName).collect())),
        4 => (select(&TEXT_SCOPES[..]), pattern_lists).prop_map(|(text, lists)| Test::Text(text, lists)),
        4 => (identity(), number_lists.clone()).prop_map(|(identity, lists)| Test::Number(identity, lists)),
        2 => number_lists.clone().prop_map(Test::AnyIdentity),
        2 => (identity(), names(&COUNTRIES)).prop_map(|(identity, codes)| Test::Country(identity, codes)),
        1 => (identity(), names(&REGIONS)).prop_map(|(identity, codes)| Test::Region(identity, codes)),
        1 => (identity(), names(&SPIDS)).prop_map(|(identity, codes)| Test::Spid(identity, codes)),
        1 => (select(vec![Identity::Calling, Identity::Called]), subsequence(&FORMATS[..], 1..3))
            .prop_map(|(identity, formats)| Test::Format(identity, formats)),
        2 => (number_lists, select(&COMPARISONS[..]), select(vec![0u32, 20, 50, 80, u32::MAX]))
            .prop_map(|(lists, comparison, score)| Test::Reputation(lists, comparison, score)),
        1 => subsequence(&ATTESTATIONS[..], 1..3).prop_map(Test::Attestation),
        1 => subsequence(&VERSTATS[..], 1..3).prop_map(Test::Verstat),
        2 => any::<bool>().prop_map(Test::CallerAllowed),
        1 => any::<bool>().prop_map(Test::Neighbor),
        1 => flags(privacy::COUNT).prop_map(Test::CallingPrivacy),
        1 => flags(passport::COUNT).prop_map(Test::Passport),
        1 => subsequence(&Dialog::ALL[..], 1..=2).prop_map(Test::Dialog),
        1 => subsequence(&Payload::ALL[Payload::Sip.index()..], 1..=3).prop_map(Test::Payload),
        2 => (0..1u32 << 12).prop_map(|bits| Test::Anomaly(bits & 0xa5)),
    ]
}

fn flags(count: usize) -> impl Strategy<Value = Flags> {
    (any::<bool>(), 0..1u32 << count, 0..1u32 << count).prop_map(|(none, one, other)| Flags { none, bits: one & other })
}

fn address_list() -> impl Strategy<Value = Arc<AddressList>> {
    let entry = (select(&ADDRESSES[..]), 0..=16u8).prop_map(|(address, less)| {
        let address: IpAddr = address.parse().expect("an address");
        match address {
            IpAddr::V4(address) => {
                // Mostly long prefixes, sometimes all addresses.
                let prefix = if less == 16 { 0 } else { 32 - 2 * less };
                let bits = u32::from(address) & u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                AddressEntry { address: IpAddr::V4(bits.into()), prefix, line: 1 }
            }
            IpAddr::V6(address) => {
                let prefix = 128 - 8 * less;
                let bits = u128::from(address) & u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                AddressEntry { address: IpAddr::V6(bits.into()), prefix, line: 1 }
            }
        }
    });
    vec(entry, 0..5).prop_map(|entries| Arc::new(AddressList { name: None, label: None, entries, origin: origin() }))
}

fn number_list() -> impl Strategy<Value = Arc<NumberList>> {
    let entry = (select(&NUMBERS[..]), 1..=15usize, any::<bool>(), select(vec![0u32, 20, 50, 80, 100])).prop_map(
        |(number, length, exact, score)| {
            let digits = &number[..length.min(number.len())];
            NumberEntry { digits: packed(digits), length: digits.len() as u8, exact, score, line: 1 }
        },
    );
    vec(entry, 0..6).prop_map(|entries| Arc::new(NumberList { name: None, entries, origin: origin() }))
}

fn packed(digits: &str) -> u64 {
    u64::from_str_radix(&format!("{digits:0<16}"), 16).expect("digits")
}

fn pattern_lists() -> impl Strategy<Value = Arc<PatternList>> {
    subsequence(&PATTERNS[..], 0..4).prop_map(|patterns| pattern_list(&patterns))
}

pub fn pattern_list(patterns: &[&str]) -> Arc<PatternList> {
    let entries = patterns.iter().map(|&pattern| PatternEntry { pattern: pattern.to_owned(), line: 1 }).collect();
    Arc::new(PatternList { name: None, entries, origin: origin() })
}

fn range() -> impl Strategy<Value = NumberRange> {
    let name = |names: &'static [&'static str]| option::of(select(names).prop_map(Arc::from));
    let format = select(vec![NumberFormat::InvalidAreaCode, NumberFormat::UnassignedAreaCode, NumberFormat::Valid]);
    let digits = option::weighted(0.3, (1..12u8, 9..16u8));
    let prefix = (select(&NUMBERS[..]), 1..=9usize).prop_map(|(number, length)| &number[..length.min(number.len())]);
    (prefix, name(&COUNTRIES), name(&REGIONS), name(&SPIDS), digits, option::weighted(0.3, format)).prop_map(
        |(prefix, country, region, spid, digits, format)| NumberRange {
            prefix: prefix.to_owned(),
            country,
            region,
            spid,
            digits,
            format,
        },
    )
}
