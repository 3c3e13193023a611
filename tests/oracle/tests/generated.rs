//! The random messages are varied enough: whatever the naive reader can find in a message is in some of them.

use std::{collections::BTreeMap, net::IpAddr};

use filter_core::layout::{NumberFormat, Transport, anomaly, passport, privacy};
use filter_policy::{build, files::Table, today};
use ringfence_oracle::{
    generate::{self, Random},
    read::{Packet, read_payload},
};

/// How many messages are generated, and how many of them must have each value.
const MESSAGES: u64 = 20_000;
const LEAST: usize = 20;

const POLICY: &[u8] = b"version = 1\ndefault = \"pass\"\n[network]\nudp = [5060]\ntcp = [5060]\n\
    [numbering]\nasserted_identity_from = [\"192.0.2.1\"]\n";

#[test]
fn every_value_is_generated() {
    let mut policy = build(&Table(&[("policy.toml", POLICY)]), today()).expect("the policy is valid").policy;
    // Going through all of them for each number takes most of the time.
    policy.numbering.ranges.clear();
    let address = IpAddr::from([192, 0, 2, 1]);
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for number in 0..MESSAGES {
        let packet = Packet {
            source: address,
            destination: address,
            source_port: 5060,
            port: 5060,
            transport: if number % 4 == 0 { Transport::Tcp } else { Transport::Udp },
            fragment: (number % 50 == 1).then_some((address, address, 1)),
            opens: false,
            urgent: false,
            sequence: 1,
            payload: generate::payload(&mut Random(number)).concat(),
        };
        let message = read_payload(&policy, &packet);
        let mut see = |what: &str, is: bool| *seen.entry(what.to_owned()).or_default() += usize::from(is);
        see(&format!("kind {}", message.kind.name()), true);
        let bits = |names: &[&'static str], set: u32, see: &mut dyn FnMut(&str, bool)| {
            // The connection and its segments are not generated here.
            let of_payload = |name: &str| !["split-message", "urgent-data"].contains(&name);
            for (bit, name) in names.iter().enumerate().filter(|(_, name)| of_payload(name)) {
                see(name, set >> bit & 1 != 0);
            }
        };
        bits(&anomaly::NAMES, message.anomalies, &mut see);
        bits(&privacy::NAMES, message.privacy, &mut see);
        bits(&passport::NAMES, message.passports, &mut see);
        see("within a dialog", message.to_tag);
        let numbers = &message.numbers;
        for (name, number) in [
            ("asserted", &numbers.asserted),
            ("preferred", &numbers.preferred),
            ("forwarded", &numbers.forwarded),
            ("to", &numbers.to),
        ] {
            see(name, number.is_some());
        }
        see("four identities", numbers.identities.len() > 3);
        see(
            "asserted, not from",
            numbers.asserted.is_some() && numbers.calling == numbers.asserted && numbers.from.is_none(),
        );
        see("an emergency", numbers.called.as_deref().is_some_and(|number| number.starts_with("aa")));
        see("format anonymous", message.calling_format == NumberFormat::Anonymous);
        see("no anomalies", message.is_sip() && message.anomalies == 0);
        // These never come alone, or seldom.
        let with_others =
            anomaly::CUT_START_LINE | anomaly::SEVERAL_MESSAGES | anomaly::SPLIT_MESSAGE | anomaly::URGENT_DATA;
        for (bit, name) in anomaly::NAMES.iter().enumerate().filter(|(bit, _)| with_others >> bit & 1 == 0) {
            see(&format!("only {name}"), message.anomalies == 1 << bit);
        }
        see(&format!("method {}", message.method.name()), true);
        see("a control character in a user part", message.users.iter().flatten().any(|&byte| byte < b' '));
    }
    let rare: Vec<_> = seen.iter().filter(|seen| *seen.1 < LEAST).collect();
    assert!(rare.is_empty() && seen.len() > 40, "rare: {rare:?}\nall: {seen:#?}");
}
