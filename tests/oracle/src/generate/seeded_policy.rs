//! Policies from a seed, for random packets, and their images.

use std::{net::IpAddr, sync::Arc};

use filter_core::layout::{Method, Text, anomaly, need};
use filter_policy::timetable::{DAY, Window};
use filter_policy::{
    compile::compile,
    image::Image,
    language::{action::Action, tcp::OnTcp},
    model::{AddressEntry, AddressList, Condition, Identity, MethodName, NumberingPlan, Policy, Test},
};
use jiff::{Timestamp, tz::TimeZone};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::{
    Random,
    policy::{origin, pattern_list, policy as strategy},
    stock::{ADDRESSES, PATTERNS, TEXT_SCOPES},
};

/// A policy with 1 to 12 rules.
pub fn policy(random: &mut Random) -> Policy {
    let mut bytes = [0; 32];
    for chunk in bytes.chunks_exact_mut(8) {
        chunk.copy_from_slice(&random.next_u64().to_le_bytes());
    }
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let rules = 1 + random.below(12);
    let mut policy = strategy(rules).new_tree(&mut runner).expect("a policy").current();
    vary(random, &mut policy);
    policy
}

/// Adds what the strategy's policies lack.
fn vary(random: &mut Random, policy: &mut Policy) {
    // In some policies, every second rule can decide on what the first part of the reading yields.
    let early = random.chance(50);
    // Other texts, all different: a rule can have only one condition on a text.
    let named = (0..policy.headers.len()).map(Text::named);
    let all: Vec<Text> = Text::ALL.into_iter().chain(named).collect();
    let first = random.below(all.len());
    let texts: Vec<_> = (0..TEXT_SCOPES.len()).map(|index| all[(first + 5 * index) % all.len()]).collect();
    let used = texts.iter().filter_map(|text| text.named_index()).max().map_or(0, |last| last + 1);
    policy.headers.truncate(used.max(random.below(policy.headers.len() + 1)));
    let bans = random.chance(20);
    let default_drop = random.chance(30);
    policy.default_drop = default_drop;
    policy.report = random.chance(20);
    policy.allow_emergency = random.chance(80);
    for (index, rule) in policy.rules.iter_mut().enumerate() {
        // A rate depends on the clock.
        rule.over = None;
        rule.tcp = random.pick(&[OnTcp::DropStrangers, OnTcp::Pass, OnTcp::DropConnection]);
        if random.chance(15) {
            rule.hours = (0..=random.below(2)).map(|_| window(random)).collect();
        }
        if random.chance(5) {
            let ends = ["2026-11-26T00:00:00Z", "2026-11-27T12:34:00Z", "2026-11-28T00:00:00Z", "2027-01-01T00:00:00Z"];
            rule.until = random.pick(&ends).parse().ok();
        }
        if let Action::Ban { seconds, prefix4, prefix6 } = &mut rule.action {
            *seconds = if bans { 3600 } else { 0 };
            *prefix4 = random.pick(&[32, 32, 24]);
            *prefix6 = random.pick(&[64, 128, 48]);
        }
        for condition in &mut rule.conditions {
            match &mut condition.test {
                Test::Text(text, _) => {
                    let place = TEXT_SCOPES.iter().position(|scope| scope == text).expect("one of them");
                    *text = texts[place];
                }
                Test::Anomaly(bits) => *bits = 1 << random.below(anomaly::COUNT) | 1 << random.below(anomaly::COUNT),
                Test::Method(methods) => {
                    if random.chance(50) {
                        const FURTHER: [Method; 4] = [Method::Ack, Method::Message, Method::Subscribe, Method::Bye];
                        methods.push(MethodName(random.pick(&FURTHER)));
                    }
                }
                Test::Source(_)
                | Test::Destination(_)
                | Test::Transport(_)
                | Test::Port(_)
                | Test::Number(..)
                | Test::Country(..)
                | Test::Region(..)
                | Test::Spid(..)
                | Test::Format(..)
                | Test::Reputation(..)
                | Test::Attestation(_)
                | Test::CallerAllowed(_)
                | Test::AnyIdentity(_)
                | Test::CallingPrivacy(_)
                | Test::Dialog(_)
                | Test::Passport(_)
                | Test::Payload(_)
                | Test::Verstat(_)
                | Test::Neighbor(_) => {}
            }
        }
        if early && index.is_multiple_of(2) {
            rule.conditions.retain(|condition| {
                matches!(condition.test, Test::Method(_) | Test::Source(_) | Test::Number(Identity::Called, _))
            });
            // Pinholes and rules in report mode decide nothing.
            if random.chance(50) {
                (rule.action, rule.report) = (Action::Drop, false);
            }
            // Not all of them look at the user agent: some are decided by the source alone.
            if rule.conditions.is_empty() || random.chance(60) {
                let patterns = pattern_list(&[random.pick(&PATTERNS), random.pick(&PATTERNS)]);
                let test = Test::Text(Text::UserAgent, vec![patterns]);
                rule.conditions.push(Condition {
                    scope: test.scope(),
                    test,
                    negated: random.chance(20),
                    origin: origin(),
                });
            }
        }
    }
    let numbering = &mut policy.numbering;
    numbering.called_from_to = random.chance(20);
    if random.chance(40) {
        numbering.plan = plan(random);
    }
    if random.chance(30) {
        for _ in 0..=random.below(3) {
            let entry = |address: &str| {
                let address: IpAddr = address.parse().expect("an address");
                AddressEntry { address, prefix: if address.is_ipv4() { 32 } else { 128 }, line: 1 }
            };
            let entries = vec![entry(random.pick(&ADDRESSES)), entry(random.pick(&ADDRESSES))];
            let list = AddressList { name: None, label: None, entries, origin: origin() };
            numbering.plans.push((vec![Arc::new(list)], plan(random)));
        }
    }
}

/// The time for which images are made: a Friday, and in the east already Saturday.
#[must_use]
pub fn time() -> Timestamp {
    "2026-11-27T22:30:00Z".parse().expect("a time")
}

/// Hours that begin or end around [`time`].
fn window(random: &mut Random) -> Window {
    let zone = random.pick(&["UTC", "America/New_York", "Asia/Tokyo", "Asia/Kolkata", "Pacific/Auckland"]);
    let days = random.pick(&[0b111_1111, 0b001_1111, 0b001_0000, 0b010_0000, 0b100_1000]);
    let (from, to) =
        random.pick(&[(0, DAY), (8 * 60, 18 * 60), (22 * 60, 6 * 60), (22 * 60 + 30, 22 * 60 + 31), (60, 0)]);
    Window { days, from, to, zone: TimeZone::get(zone).expect("a time zone") }
}

/// A numbering plan.
fn plan(random: &mut Random) -> NumberingPlan {
    let several = |random: &mut Random, of: &[&str]| {
        let count = random.below(3);
        (0..count).map(|_| random.pick(of).to_owned()).collect()
    };
    let (code, national) =
        random.pick(&[("44", "0"), ("1", "1"), ("1", ""), ("20", ""), ("49", "0"), ("7", "8"), ("34", "")]);
    NumberingPlan {
        country_code: code.to_owned(),
        international_prefixes: several(random, &["00", "000", "011", "0011", "810", "900", "119"]),
        national_prefix: national.to_owned(),
        outside_prefix: random.pick(&["", "", "9", "0", "88"]).to_owned(),
        strip: several(random, &["1111#", "*", "#", "11", "888", "2", "00", "9,"]),
        bare_national: random.chance(30),
    }
}

/// A policy's image, ready to be loaded, with the rules that are on at [`time`].
pub fn image(policy: &Policy, inspect: bool) -> Image {
    let mut image = compile(policy).unwrap_or_else(|errors| panic!("generated policies compile: {errors:?}"));
    image.set_clock(time());
    for (slot, rule) in image.rules.iter_mut().enumerate() {
        rule.slot = slot as u16;
    }
    // If no event is due, a rule may decide before the whole message has been read.
    if policy.rules.len().is_multiple_of(2) {
        image.config.events_per_second = 0;
    }
    if inspect {
        image.config.needs |= need::INSPECT;
        if !policy.numbering.asserted_identity_from.is_empty() {
            image.config.needs |= need::ASSERTED_IDENTITY;
        }
        if policy.numbering.called_from_to {
            image.config.needs |= need::CALLED_FROM_TO;
        }
    }
    image
}
