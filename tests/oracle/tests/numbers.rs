//! Numbers under random numbering plans: the engine and the naive reader bring them into the same form.

use std::net::IpAddr;

use filter_core::{layout::need, scratch::NumberOf};
use filter_policy::{
    engine::{Endpoints, Engine, datagram},
    testing,
};
use ringfence_oracle::{
    compare::{Digits, of_oracle, readings},
    decide::{Memory, decide},
    generate::{self, Random, seeded_policy},
};

/// Sources, so that several plans apply: some that no plan names, and some of the stock that plans draw from.
const SOURCES: [&str; 6] = ["198.51.100.1", "10.0.0.0", "10.0.0.1", "10.0.0.2", "192.0.2.1", "255.255.255.255"];

fn number_of(environment: &str, otherwise: u64) -> u64 {
    std::env::var(environment).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

/// A number whose format is that of the reading under test.
fn number(numbers: &[Option<Digits>], of: NumberOf) -> Option<Digits> {
    numbers[of.index()].clone()
}

#[test]
fn both_readers_bring_numbers_into_the_same_form() {
    let seed = number_of("RINGFENCE_SEED", 1);
    for case in 0..number_of("RINGFENCE_CASES", 300) {
        let mut random = Random(seed.wrapping_mul(1_000_003).wrapping_add(case));
        let mut policy = seeded_policy::policy(&mut random);
        policy.rules.clear();
        policy.numbering.called_from_to = false;
        if random.chance(30) {
            policy.numbering.ranges =
                testing::load(&[("policy.toml", "version = 1\n")]).expect("it is right").0.numbering.ranges;
        }
        let image = seeded_policy::image(&policy, true);
        assert!(image.config.needs & need::INSPECT != 0);
        let mut engine = Engine::new(&image);
        for _ in 0..40 {
            let (called, calling) = (generate::dialled(&mut random), generate::dialled(&mut random));
            let source: IpAddr = random.pick(&SOURCES).parse().expect("an address");
            let text = format!("INVITE sip:{called}@h SIP/2.0\r\nFrom: <sip:{calling}@h>;tag=1\r\n\r\n");
            let frame = datagram(&Endpoints::from_source(source, 5060), text.as_bytes());
            engine.decide(&frame);
            let engine_read = readings(engine.scratch()).message.expect("it is a message");
            let (_, message) = decide(&policy, true, &mut Memory::at(seeded_policy::time()), &frame);
            let oracle_read = of_oracle(&message.expect("it is read")).message.expect("it is a message");
            for of in [NumberOf::Called, NumberOf::From] {
                assert_eq!(
                    number(&engine_read.numbers, of),
                    number(&oracle_read.numbers, of),
                    "engine, oracle: {of:?} in case {case}, from {source}:\n{text}{:#?}\n{:#?}",
                    policy.numbering.plan,
                    policy.numbering.plans,
                );
            }
            // (What is anonymous is no matter of numbering.)
            let formats = |formats: [_; 2]| formats[1];
            assert_eq!(
                formats(engine_read.formats),
                formats(oracle_read.formats),
                "engine, oracle: called_format in case {case}, from {source}:\n{text}{:#?}\n{:#?}",
                policy.numbering.plan,
                policy.numbering.plans,
            );
        }
    }
}
