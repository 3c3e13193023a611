//! Random policies, and readings that have something to do with them.
//!
//! Everything is drawn from small stocks, so that lists overlap, prefixes nest, and conditions hold about as often as not.

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use filter_core::layout::{Action, Attestation, Method, NumberFormat, Per, TEXTS, Text, Transport, Verstat};
use filter_policy::model::{
    AddressEntry, AddressList, Comparison, Condition, Identity, MethodName, NumberEntry, NumberList, NumberRange,
    Numbering, Origin, Over, PatternEntry, PatternList, Policy, Rule, Test,
};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{Index, select, subsequence},
};

use super::evaluate::{Numbers, Readings};

/// The ports of every generated policy.
pub const PORTS: [(u16, Transport); 4] =
    [(5060, Transport::Udp), (5060, Transport::Tcp), (5061, Transport::Tls), (5080, Transport::Udp)];

pub const ADDRESSES: [&str; 14] = [
    "10.0.0.0",
    "10.0.0.1",
    "10.0.0.2",
    "10.0.128.0",
    "10.0.255.255",
    "10.1.0.0",
    "192.0.2.1",
    "255.255.255.255",
    "2001:db8::",
    "2001:db8::1",
    "2001:db8:0:1::",
    "2001:db8::ffff:ffff",
    "fe80::1",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];

pub const NUMBERS: [&str; 12] = [
    "911",
    "112",
    "1",
    "12",
    "1605562",
    "16055620000",
    "16055621111",
    "12015550100",
    "442071838750",
    "44",
    "20123456789",
    "123456789012345678",
];

pub const PATTERNS: [&str; 9] =
    ["friendly-scanner", "sip(vicious|cli)", "^$", "^a", "b$", "[0-9]{3}", r"\bunion\b", "a.c", " "];

pub const VALUES: [&[u8]; 10] = [
    b"friendly-scanner",
    b"SIPcli/1.8",
    b"",
    b"abc",
    b"a\r\n\tc",
    b"x' union select",
    b"123",
    b"\t ab \r\n ",
    b"unions b",
    b"\xff\x00A C",
];

const COUNTRIES: [&str; 3] = ["US", "GB", "EG"];
const REGIONS: [&str; 3] = ["US-SD", "US-NJ", "CA-MB"];
const SPIDS: [&str; 3] = ["0123", "9999", "ABCD"];
const STAGES: [&str; 3] = ["blacklist", "shield", "fraud"];

const METHODS: [Method; 5] = [Method::Response, Method::Other, Method::Invite, Method::Options, Method::Register];
const FORMATS: [NumberFormat; 4] =
    [NumberFormat::Missing, NumberFormat::Anonymous, NumberFormat::TooShort, NumberFormat::Valid];
const ATTESTATIONS: [Attestation; 5] =
    [Attestation::None, Attestation::A, Attestation::B, Attestation::C, Attestation::Unknown];
const VERSTATS: [Verstat; 3] = [Verstat::None, Verstat::TnValidationPassed, Verstat::TnValidationFailed];
pub const TEXT_SCOPES: [Text; 3] = [Text::UserAgent, Text::FromUser, Text::Body];
const COMPARISONS: [Comparison; 5] =
    [Comparison::AtLeast, Comparison::AtMost, Comparison::Equal, Comparison::Less, Comparison::More];
const IDENTITIES: [Identity; 5] =
    [Identity::Asserted, Identity::Called, Identity::Calling, Identity::Forwarded, Identity::From];

/// Any policy of up to `rules` rules.
pub fn policy(rules: usize) -> impl Strategy<Value = Policy> {
    let lists = (vec(address_list(), 1..5), vec(number_list(), 1..5), vec(pattern_lists(), 1..4));
    lists.prop_flat_map(move |(addresses, numbers, patterns)| {
        let condition = (test(&addresses, &numbers, &patterns), any::<bool>());
        let rules = vec((vec(condition, 0..4), rule()), 0..=rules);
        let believed = subsequence(addresses.clone(), 0..=1);
        let never_ban = subsequence(addresses, 0..=1);
        (any::<bool>(), rules, vec(range(), 0..12), believed, never_ban, 0..8u8).prop_map(
            |(default_drop, rules, ranges, asserted_identity_from, never_ban, neighbor_digits)| Policy {
                default_drop,
                ports: PORTS.to_vec(),
                numbering: Numbering {
                    country_code: "1".into(),
                    international_prefix: "011".into(),
                    national_prefix: String::new(),
                    bare_national: false,
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
            },
        )
    })
}

/// A rule can ask only once for one text, and for anomalies: further conditions exclude.
fn expressible(conditions: Vec<(Test, bool)>) -> Vec<Condition> {
    let mut asked = Vec::new();
    conditions
        .into_iter()
        .map(|(test, mut negated)| {
            let scope = match &test {
                Test::Text(text, _) => Some(*text as usize),
                Test::Anomaly(_) => Some(TEXTS),
                _ => None,
            };
            if let Some(scope) = scope.filter(|_| !negated) {
                negated = asked.contains(&scope);
                asked.push(scope);
            }
            Condition { test, negated, origin: origin() }
        })
        .collect()
}

pub fn origin() -> Origin {
    Origin { file: Arc::new(PathBuf::from("policy.toml")), line: 1 }
}

fn rule() -> impl Strategy<Value = Rule> {
    use Action::{Ban, BypassFraudControl, Continue, Divert, Drop, Reject, Whitelist};
    let action =
        select(vec![Ban, BypassFraudControl, Continue, Continue, Continue, Divert, Drop, Drop, Reject, Whitelist]);
    (action, select(&STAGES[..]), any::<bool>(), option::weighted(0.1, over())).prop_map(
        |(action, stage, report, over)| Rule {
            name: String::new(),
            stage: stage.to_owned(),
            conditions: Vec::new(),
            action,
            argument: 0,
            divert_to: String::new(),
            report,
            over,
            basis: None,
            origin: origin(),
        },
    )
}

fn over() -> impl Strategy<Value = Over> {
    let per = select(vec![Per::Rule, Per::Source, Per::Calling, Per::CalledPrefix]);
    per.prop_map(|per| Over { count: 5, period: 1_000_000_000, burst: 20, per, prefix: 0 })
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
        2 => (identity(), names(&COUNTRIES)).prop_map(|(identity, codes)| Test::Country(identity, codes)),
        1 => (identity(), names(&REGIONS)).prop_map(|(identity, codes)| Test::Region(identity, codes)),
        1 => (identity(), names(&SPIDS)).prop_map(|(identity, codes)| Test::Spid(identity, codes)),
        1 => (select(vec![Identity::Calling, Identity::Called]), subsequence(&FORMATS[..], 1..3))
            .prop_map(|(identity, formats)| Test::Format(identity, formats)),
        2 => (number_lists, select(&COMPARISONS[..]), select(vec![0u32, 20, 50, 80, u32::MAX]))
            .prop_map(|(lists, comparison, score)| Test::Reputation(lists, comparison, score)),
        1 => subsequence(&ATTESTATIONS[..], 1..3).prop_map(Test::Attestation),
        1 => subsequence(&VERSTATS[..], 1..3).prop_map(Test::Verstat),
        1 => any::<bool>().prop_map(Test::Neighbor),
        2 => (0..1u32 << 12).prop_map(|bits| Test::Anomaly(bits & 0xa5)),
    ]
}

fn address_list() -> impl Strategy<Value = Arc<AddressList>> {
    let entry = (select(&ADDRESSES[..]), 0..=16u8).prop_map(|(address, less)| {
        let address: IpAddr = address.parse().expect("an address");
        match address {
            IpAddr::V4(address) => {
                // Mostly long prefixes, now and then everything.
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

/// A number that begins like one of the stock, of 1 to 18 digits.
pub fn number() -> impl Strategy<Value = String> {
    let cut = (select(&NUMBERS[..]), any::<Index>(), "[0-9]{0,11}").prop_map(|(number, length, tail)| {
        let mut digits = number[..=length.index(number.len())].to_owned() + &tail;
        digits.truncate(18);
        digits
    });
    prop_oneof![select(&NUMBERS[..]).prop_map(str::to_owned), cut]
}

/// An address of the stock, or next to one.
pub fn address() -> impl Strategy<Value = IpAddr> {
    (select(&ADDRESSES[..]), select(vec![0u32, 0, 1, 2, 0xff, 0x1_0000])).prop_map(|(address, further)| {
        match address.parse().expect("an address") {
            IpAddr::V4(address) => IpAddr::V4(u32::from(address).wrapping_add(further).into()),
            IpAddr::V6(address) => IpAddr::V6(u128::from(address).wrapping_add(u128::from(further)).into()),
        }
    })
}

/// Readings of any packet.
pub fn readings() -> impl Strategy<Value = Readings> {
    let numbers = (
        option::weighted(0.8, number()),
        option::weighted(0.8, number()),
        option::weighted(0.3, number()),
        option::weighted(0.8, number()),
        option::weighted(0.3, number()),
    )
        .prop_map(|(calling, called, forwarded, from, asserted)| Numbers {
            calling,
            called,
            forwarded,
            from,
            asserted,
        });
    let packet = (address(), address(), select(&PORTS[..]), prop::bool::weighted(0.9));
    let anomalies = prop_oneof![6 => Just(0), 3 => 0..1u32 << 12];
    let message = (
        select(&METHODS[..]),
        vec(option::weighted(0.8, select(&VALUES[..])), TEXT_SCOPES.len()),
        numbers,
        select(&FORMATS[..]),
        select(&FORMATS[..]),
        select(&ATTESTATIONS[..]),
        select(&VERSTATS[..]),
    );
    (packet, anomalies, message, vec(0..20usize, 0..6)).prop_map(|(packet, anomalies, message, exceeded)| {
        let (source, destination, (port, transport), is_message) = packet;
        let (method, values, numbers, calling_format, called_format, attestation, verstat) = message;
        let mut texts: [Option<Vec<u8>>; TEXTS] = std::array::from_fn(|_| None);
        for (scope, value) in TEXT_SCOPES.iter().zip(values) {
            texts[*scope as usize] = value.map(<[u8]>::to_vec);
        }
        Readings {
            source,
            destination,
            transport,
            port,
            is_message,
            anomalies,
            method,
            texts,
            numbers,
            calling_format,
            called_format,
            attestation,
            verstat,
            exceeded,
        }
    })
}
