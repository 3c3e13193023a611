//! Given the same readings, the engine decides as the naive evaluator does.
//!
//! Two engines get each packet. One reads everything and decides nothing: its readings go to the naive evaluator. The other
//! reads what the policy needs, and decides.

use filter_core::{
    layout::{Dialog, TEXTS, Text},
    reason::Reason,
    scratch::{Number, NumberOf, Scratch},
    text,
};
use filter_policy::{
    compile::compile,
    engine::{Engine, inspection},
    model::Policy,
};
use proptest::{collection::vec, prelude::*, test_runner::Config};
use ringfence_oracle::{
    decide::{is_trusted, payload},
    evaluate::{Numbers, Readings, evaluate},
    generate::{
        self,
        message::{self, Packet},
    },
    read::{Frame, read_frame, read_payload},
};

/// The number of policies, each with 100 packets; `RINGFENCE_CASES` overrides it.
fn policies() -> u32 {
    std::env::var("RINGFENCE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300)
}

proptest! {
    #![proptest_config(Config { cases: policies(), failure_persistence: None, max_shrink_iters: 1_000, ..Config::default() })]

    #[test]
    fn the_engine_agrees_with_the_naive_evaluator(
        mut policy in generate::policy(20),
        packets in vec(message::packet(), 100),
    ) {
        // Rates depend on earlier packets.
        policy.rules.iter_mut().for_each(|rule| rule.over = None);
        let image = compile(&policy).expect("generated policies compile");
        let mut quiet = image.clone();
        quiet.config.events_per_second = 0;
        let reader_image = inspection(image.clone(), &generate::PORTS);
        for packet in &packets {
            let frame = packet.frame();
            let mut reader = Engine::new(&reader_image);
            reader.decide(&frame);
            let readings = readings(&policy, identities(&policy, &frame), packet, reader.scratch());
            let expected = evaluate(&policy, &readings);
            let decision = Engine::new(&image).decide(&frame);
            // If no event is due, a rule may decide before the whole message has been read.
            prop_assert_eq!(&decision, &Engine::new(&quiet).decide(&frame));
            if decision.reason == Reason::MidMessage {
                // Passed on purpose: a message cannot be judged by its remainder.
                continue;
            }
            let payload = packet.payload.escape_ascii().to_string();
            let all: Vec<usize> = {
                let mut all = [expected.would.clone(), expected.pinholes.clone()].concat();
                all.extend(expected.rule);
                all.sort_unstable();
                all
            };
            prop_assert_eq!(decision.rule, expected.rule, "{}\n{:#?}\n{:#?}", payload, readings, decision);
            prop_assert_eq!(&decision.matched, &all, "{}\n{:#?}\n{:#?}", payload, readings, decision);
            prop_assert_eq!(&decision.would, &expected.would, "{}\n{:#?}", payload, readings);
            if decision.reason != Reason::StreamWithoutMessage {
                prop_assert_eq!(decision.reason, expected.reason, "{}\n{:#?}", payload, readings);
            }
        }
    }
}

/// The caller's identities, as the naive reader finds them: the engine keeps only those that it needs later.
fn identities(policy: &Policy, frame: &[u8]) -> Vec<String> {
    match read_frame(frame, &policy.ports) {
        Frame::Packet(packet) => read_payload(policy, &packet).numbers.identities,
        Frame::LaterFragment(..) | Frame::Other(..) | Frame::Unreadable(_) => Vec::new(),
    }
}

/// What the engine read.
fn readings(policy: &Policy, identities: Vec<String>, packet: &Packet, scratch: &Scratch) -> Readings {
    let digits = |number: &Number| {
        let key = format!("{:016x}", number.key);
        let digits = key[..usize::from(number.digits).min(15)].to_owned();
        let plus = if number.short_code == 0 && number.digits <= 6 { "+" } else { "" };
        // Digits after the fifteenth are not kept, and no list can match on them.
        (number.key != 0).then(|| format!("{plus}{digits:0<width$}", width = usize::from(number.digits)))
    };
    let number = |of: NumberOf| digits(scratch.message.number(of));
    let is_message = scratch.message.kind.is_message();
    let mut texts: [Option<Vec<u8>>; TEXTS] = std::array::from_fn(|_| None);
    if is_message {
        for of in [Text::UserAgent, Text::FromUser, Text::Body] {
            texts[of.index()] = text::span(&scratch.message, of).map(|span| scratch.trimmed(span).to_vec());
        }
    }
    Readings {
        source: packet.source,
        destination: packet.destination,
        service: Some((packet.port, packet.transport)),
        is_message,
        anomalies: scratch.message.anomalies,
        method: scratch.message.method,
        texts,
        numbers: Numbers {
            calling: number(NumberOf::Calling),
            called: number(NumberOf::Called),
            forwarded: number(NumberOf::Forwarded),
            from: number(NumberOf::From),
            asserted: number(NumberOf::Asserted),
            preferred: number(NumberOf::Preferred),
            to: number(NumberOf::To),
            identities,
        },
        calling_format: scratch.message.number(NumberOf::Calling).format,
        called_format: scratch.message.number(NumberOf::Called).format,
        attestation: scratch.message.attestation,
        verstat: scratch.message.verstat,
        payload: payload(packet.transport, scratch.message.kind),
        is_trusted: is_trusted(policy, packet.source),
        privacy: scratch.message.privacy,
        dialog: if scratch.message.to_tag != 0 { Dialog::Within } else { Dialog::Initial },
        passports: scratch.message.passports,
        exceeded: Vec::new(),
        at: None,
    }
}
