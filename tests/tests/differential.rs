//! Three readers, one verdict: the engine in user space, the engine in the kernel (BPF_PROG_TEST_RUN) and the naive oracle take
//! the same random packets under the same random policies, and must agree on verdict, reason, deciding rule, the report-mode
//! rules, and everything they read.
//!
//! `RINGFENCE_CASES` asks for more packets, `RINGFENCE_SEED` for the seed of a run before. A case that fails is made smaller
//! and printed as a fixture.

mod oracle;

use std::{collections::BTreeMap, fmt::Write as _, time::Instant};

use filter_core::{
    layout::{Action, Counter, Text, address_flag, need},
    reason::{Reason, Verdict},
    scratch::{Header, Kind, extent},
};
use filter_policy::{
    engine::{Decision, Engine},
    model::{Policy, Test},
};
use oracle::{
    compare::{as_engine, escaped, of_oracle, readings, same},
    packets::{self, Packet},
    policies,
    random::Random,
    read::{self, Memory},
};
use ringfence::kernel::Instance;

/// Packets that go through all three in a run of the tests.
const CASES: usize = 100_000;

/// Packets that one policy gets: making and loading it costs as much as some thousand packets.
const BATCH: usize = 1_000;

#[test]
fn user_space_kernel_and_oracle_agree() {
    // The same packets each time, so that a change is what a failure is about; a search for more gives a seed of its own.
    let seed = from_environment("RINGFENCE_SEED").unwrap_or(0x0516_2026);
    let cases = from_environment("RINGFENCE_CASES").map_or(CASES, |cases| cases as usize);
    println!("{cases} packets; RINGFENCE_SEED={seed} repeats this run");
    let start = Instant::now();
    let mut seen = Seen::default();
    for batch in 0..cases.div_ceil(BATCH) {
        let (policy, inspect, packets) = case(seed, batch as u64, BATCH.min(cases - batch * BATCH));
        let frames: Vec<Vec<u8>> = packets.iter().map(Packet::frame).collect();
        if let Err(difference) = check(&policy, inspect, &frames, true, &mut seen) {
            let fixture = shrink(policy, inspect, packets, difference);
            panic!("batch {batch} of RINGFENCE_SEED={seed}:\n{fixture}");
        }
    }
    println!("{seen}in {:.0} s", start.elapsed().as_secs_f64());
    if cases >= CASES {
        seen.must_be_varied();
    }
}

/// More policies, with fewer packets each, where loading does not count.
#[test]
fn user_space_and_oracle_agree_under_many_policies() {
    const POLICIES: u64 = 500;
    let seed = from_environment("RINGFENCE_SEED").unwrap_or(0x5eed);
    let mut seen = Seen::default();
    for batch in 0..POLICIES {
        let (policy, inspect, packets) = case(seed ^ 0xffff, batch, 100);
        let frames: Vec<Vec<u8>> = packets.iter().map(Packet::frame).collect();
        if let Err(difference) = check(&policy, inspect, &frames, false, &mut seen) {
            let fixture = shrink(policy, inspect, packets, difference);
            panic!("batch {batch} of RINGFENCE_SEED={seed}:\n{fixture}");
        }
    }
}

/// A failing case is worth as much as its fixture is short: a difference that is put into the oracle's answer on purpose is
/// found, and shrunk to the one header that makes it.
#[test]
fn a_failing_case_is_shrunk_to_what_makes_it_fail() {
    let mut random = Random(7);
    let mut pieces = packets::message(&mut random);
    pieces.insert(2, b"X-Culprit: here\r\n".to_vec());
    let fails = |pieces: &[Vec<u8>]| pieces.concat().windows(7).any(|window| window == b"Culprit");
    shrink_pieces(&mut pieces, &mut |pieces| fails(pieces));
    assert_eq!(pieces.concat(), b"Culprit");
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// A policy and packets for it; every second policy is one that reads everything, so that readings can be compared.
fn case(seed: u64, batch: u64, packets: usize) -> (Policy, bool, Vec<Packet>) {
    let mut random = Random(seed ^ batch.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let policy = policies::policy(&mut random);
    let packets = (0..packets).map(|index| packets::packet(&mut random, index as u64)).collect();
    (policy, batch.is_multiple_of(2), packets)
}

// ------------------------------------------------------------------------------------------------------------- comparison

/// Where two of the three differ.
#[derive(Clone, Debug)]
struct Difference {
    /// The packet; none where only the counters at the end differ.
    index: Option<usize>,
    what: String,
}

/// What a run has been through, so that it can tell that it was worth something.
#[derive(Default)]
struct Seen {
    reasons: BTreeMap<&'static str, usize>,
    rules: usize,
    would: usize,
    /// Messages that were decided about before they were read whole.
    early: usize,
    /// Packets that one rule decides about because of where they come from.
    by_source: usize,
    /// Messages whose reading paused behind the user agent and went on.
    resumed: usize,
    anomalies: BTreeMap<usize, usize>,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (reason, count) in &self.reasons {
            writeln!(f, "{count:>8} {reason}")?;
        }
        let Self { rules, would, early, by_source, resumed, anomalies, .. } = self;
        writeln!(
            f,
            "decided by rules {rules}, {early} of them early, {by_source} by the source alone, {resumed} messages read on behind \
             the user agent, report-mode matches {would}, anomalies by bit {anomalies:?}"
        )
    }
}

impl Seen {
    fn must_be_varied(&self) {
        let missing: Vec<&str> = Reason::ALL
            .iter()
            .map(|reason| reason.name())
            .filter(|name| {
                !["payload-unreadable", "internal", "ethernet-truncated", "ipv6-too-many-extensions"].contains(name)
            })
            .filter(|name| !self.reasons.contains_key(name))
            .collect();
        assert!(missing.is_empty(), "no packet was decided by: {missing:?}");
        assert_eq!(self.anomalies.len(), 12, "anomalies by bit {:?}", self.anomalies);
        let Self { rules, would, early, by_source, resumed, .. } = self;
        assert!(*rules > 1000 && *would > 1000, "rules {rules}, would {would}");
        assert!(*early > 500 && *resumed > 500, "early {early}, resumed {resumed}");
        assert!(*by_source > 500, "by source {by_source}");
    }
}

/// Runs the packets through all of them (through the kernel if wanted).
fn check(policy: &Policy, inspect: bool, frames: &[Vec<u8>], kernel: bool, seen: &mut Seen) -> Result<(), Difference> {
    let image = policies::image(policy, inspect);
    let mut engine = Engine::new(&image);
    let instance = kernel.then(|| Instance::load(&image).expect("the kernel takes the program"));
    let mut memory = Memory::default();
    let mut matched = vec![0u64; policy.rules.len()];
    for (index, frame) in frames.iter().enumerate() {
        let differ = |what: String| Difference { index: Some(index), what };
        let (expected, message) = read::decide(policy, inspect, &mut memory, frame);
        let decided = engine.decide(frame);
        compare("user space", &decided, "oracle", &as_engine(&expected)).map_err(differ)?;
        let user =
            inspect.then_some(message).flatten().map(|message| (readings(engine.scratch()), of_oracle(&message)));
        if let Some((user, oracle)) = &user {
            same("user space", user, "oracle", oracle).map_err(differ)?;
        }
        decided.matched.iter().for_each(|&rule| matched[rule] += 1);
        *seen.reasons.entry(decided.reason.name()).or_default() += 1;
        seen.rules += usize::from(decided.rule.is_some());
        seen.early += usize::from(engine.scratch().message_read == extent::FIRST && decided.rule.is_some());
        let pauses = !inspect
            && image.config.needs & need::FIRST_READING != 0
            && image.config.texts & (1 << Text::UserAgent as u32) != 0;
        let s = engine.scratch();
        let class = image.address_classes.get(s.source_class as usize).copied().unwrap_or(0);
        let decider = address_flag::decider(class).filter(|_| image.config.needs & need::SOURCE != 0);
        seen.by_source += usize::from(decider.is_some_and(|decider| decided.rule == Some(decider as usize)));
        let is_message = s.kind == Kind::Request as u32 || s.kind == Kind::Response as u32;
        let has_user_agent = is_message && s.seen >> Header::UserAgent as u32 & 1 != 0;
        seen.resumed += usize::from(pauses && has_user_agent && s.message_read == extent::WHOLE);
        seen.would += decided.would.len();
        if let Some((user, _)) = &user {
            (0..12)
                .filter(|bit| user.anomalies >> bit & 1 != 0)
                .for_each(|bit| *seen.anomalies.entry(bit).or_default() += 1);
        }
        // The kernel takes no frame without an Ethernet header.
        let Some(instance) = instance.as_ref().filter(|_| frame.len() >= 14) else { continue };
        let (run, scratch) = instance.run_and_read(frame).expect("the kernel runs the packet");
        let verdict = if run.action == aya_action(Verdict::Drop) { Verdict::Drop } else { Verdict::Pass };
        if run.action != aya_action(decided.reason.verdict()) {
            return Err(differ(format!("kernel {verdict:?} (action {}), user space {decided:?}", run.action)));
        }
        if let Some(rule) = decided.rule
            && scratch.rule != rule as u32
        {
            return Err(differ(format!("kernel rule {}, user space {decided:?}", scratch.rule)));
        }
        if let Some((user, _)) = &user {
            same("kernel", &readings(&scratch), "user space", user).map_err(differ)?;
        }
    }
    if let Some(instance) = &instance {
        let counters = instance.table("RULE_COUNTERS").expect("a map of that name");
        for (rule, count) in matched.iter().enumerate() {
            let counts = counters.per_cpu::<Counter>(rule as u32).expect("a counter");
            let kernel: u64 = counts.iter().map(|counter| counter.packets).sum();
            if kernel != *count {
                let what = format!("rule {rule} matched {kernel} packets in the kernel, {count} in user space");
                return Err(Difference { index: None, what });
            }
        }
    }
    Ok(())
}

/// XDP_DROP and XDP_PASS.
fn aya_action(verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Drop => 1,
        Verdict::Pass => 2,
    }
}

fn compare(name: &str, decision: &Decision, other_name: &str, other: &Decision) -> Result<(), String> {
    if decision == other { Ok(()) } else { Err(format!("{name}: {decision:?}\n{other_name}: {other:?}")) }
}

// -------------------------------------------------------------------------------------------------------------- shrinking

/// Times that a smaller case is tried where each try loads a program.
const TRIES: usize = 150;

/// Makes a failing case smaller, and prints it.
fn shrink(mut policy: Policy, inspect: bool, mut packets: Vec<Packet>, mut difference: Difference) -> String {
    // Most differences need no kernel, and are found a hundred times faster without.
    let differs = |policy: &Policy, packets: &[Packet], kernel: bool| {
        let frames: Vec<Vec<u8>> = packets.iter().map(Packet::frame).collect();
        check(policy, inspect, &frames, kernel, &mut Seen::default()).err()
    };
    let kernel = differs(&policy, &packets, false).is_none();
    let mut tries = if kernel { TRIES } else { 20 * TRIES };
    let mut fails = |policy: &Policy, packets: &[Packet], difference: &mut Difference| {
        tries = tries.saturating_sub(1);
        match (tries > 0).then(|| differs(policy, packets, kernel)).flatten() {
            Some(smaller) => {
                *difference = smaller;
                true
            }
            None => false,
        }
    };
    if let Some(index) = difference.index {
        packets.truncate(index + 1);
        let last = vec![packets[index].clone()];
        if fails(&policy, &last, &mut difference) {
            packets = last;
        }
    }
    // Fewer packets, in halves, then one by one.
    let mut size = packets.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < packets.len() && packets.len() > 1 {
            let mut fewer = packets.clone();
            fewer.drain(at..(at + size).min(packets.len()));
            if !fewer.is_empty() && fails(&policy, &fewer, &mut difference) {
                packets = fewer;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    for rule in (0..policy.rules.len()).rev() {
        let mut smaller = policy.clone();
        smaller.rules.remove(rule);
        if fails(&smaller, &packets, &mut difference) {
            policy = smaller;
        }
    }
    for rule in 0..policy.rules.len() {
        for condition in (0..policy.rules[rule].conditions.len()).rev() {
            let mut smaller = policy.clone();
            smaller.rules[rule].conditions.remove(condition);
            if fails(&smaller, &packets, &mut difference) {
                policy = smaller;
            }
        }
    }
    for clear in [
        |policy: &mut Policy| policy.numbering.ranges.clear(),
        |policy: &mut Policy| policy.numbering.asserted_identity_from.clear(),
        |policy: &mut Policy| policy.never_ban.clear(),
    ] {
        let mut smaller = policy.clone();
        clear(&mut smaller);
        if fails(&smaller, &packets, &mut difference) {
            policy = smaller;
        }
    }
    for index in 0..packets.len() {
        let simpler: [fn(&mut Packet); 8] = [
            |packet| packet.tags.clear(),
            |packet| packet.options = 0,
            |packet| packet.extensions.clear(),
            |packet| packet.fragment = None,
            |packet| packet.lies = (0, 0),
            |packet| packet.padding = 0,
            |packet| packet.cut = None,
            |packet| packet.flips.clear(),
        ];
        for simpler in simpler {
            let mut smaller = packets.clone();
            simpler(&mut smaller[index]);
            if fails(&policy, &smaller, &mut difference) {
                packets = smaller;
            }
        }
        let mut pieces = packets[index].pieces.clone();
        let all = packets.clone();
        shrink_pieces(&mut pieces, &mut |pieces| {
            let mut smaller = all.clone();
            smaller[index].pieces = pieces.to_vec();
            fails(&policy, &smaller, &mut difference)
        });
        packets[index].pieces = pieces;
    }
    fixture(&policy, inspect, &packets, &difference)
}

/// Takes out what can be taken out so that it still fails: pieces, then runs of bytes.
fn shrink_pieces(pieces: &mut Vec<Vec<u8>>, fails: &mut dyn FnMut(&[Vec<u8>]) -> bool) {
    for index in (0..pieces.len()).rev() {
        let mut smaller = pieces.clone();
        smaller.remove(index);
        if fails(&smaller) {
            *pieces = smaller;
        }
    }
    for index in 0..pieces.len() {
        let mut size = pieces[index].len();
        while size > 0 {
            let mut at = 0;
            while at < pieces[index].len() {
                let mut smaller = pieces.clone();
                let end = (at + size).min(pieces[index].len());
                smaller[index].drain(at..end);
                if fails(&smaller) {
                    *pieces = smaller;
                } else {
                    at += size;
                }
            }
            size /= 2;
        }
    }
}

/// The case in words and bytes.
fn fixture(policy: &Policy, inspect: bool, packets: &[Packet], difference: &Difference) -> String {
    let mut text = String::new();
    let numbering = &policy.numbering;
    let _ =
        writeln!(text, "{}\n\ndefault drop: {}, everything is read: {inspect}", difference.what, policy.default_drop);
    let _ = writeln!(
        text,
        "country_code {:?}, international_prefix {:?}, national_prefix {:?}, bare national: {}, neighbours share {}",
        numbering.country_code,
        numbering.international_prefix,
        numbering.national_prefix,
        numbering.bare_national,
        numbering.neighbor_digits
    );
    for range in &numbering.ranges {
        let _ = writeln!(text, "range {range:?}");
    }
    let addresses = |lists: &[std::sync::Arc<filter_policy::model::AddressList>]| -> Vec<String> {
        let entries = lists.iter().flat_map(|list| &list.entries);
        entries.map(|entry| format!("{}/{}", entry.address, entry.prefix)).collect()
    };
    let _ = writeln!(text, "asserted_identity_from = {:?}", addresses(&numbering.asserted_identity_from));
    let _ = writeln!(text, "never_ban = {:?}", addresses(&policy.never_ban));
    for rule in &policy.rules {
        let _ = writeln!(
            text,
            "\n[[rule]]\nname = {:?}\nstage = {:?}\naction = {:?}{}",
            rule.name,
            rule.stage,
            Action::NAMES[rule.action as usize],
            if rule.report { "\nmode = \"report\"" } else { "" }
        );
        for condition in &rule.conditions {
            let scope = condition.test.scope();
            let not = if condition.negated { "not." } else { "" };
            let values = match &condition.test {
                Test::Source(lists) | Test::Destination(lists) => format!("{:?}", addresses(lists)),
                Test::Number(_, lists) => {
                    let entries = lists.iter().flat_map(|list| &list.entries);
                    let entry = |entry: &filter_policy::model::NumberEntry| {
                        oracle::evaluate::digits(entry) + if entry.exact { "$" } else { "" }
                    };
                    format!("{:?}", entries.map(entry).collect::<Vec<_>>())
                }
                Test::Text(_, lists) => {
                    let entries = lists.iter().flat_map(|list| &list.entries);
                    format!("{:?}", entries.map(|entry| &entry.pattern).collect::<Vec<_>>())
                }
                other => format!("{other:?}"),
            };
            let _ = writeln!(text, "match.{not}{} = {values}", scope.name());
        }
    }
    for packet in packets {
        let hex: String = packet.frame().iter().map(|byte| format!("{byte:02x}")).collect();
        let transport = packet.tcp.map_or("UDP".to_owned(), |flags| format!("TCP (flags {flags:#04x})"));
        let (source, destination) = (packet.source, packet.destination);
        let (source_port, port) = (packet.source_port, packet.port);
        let _ = writeln!(text, "\npacket: {transport} from {source} port {source_port} to {destination} port {port}");
        let Packet { tags, options, extensions, fragment, lies, padding, cut, flips, .. } = packet;
        let _ = writeln!(
            text,
            "  VLAN tags {tags:x?}, {options} words of options, extension headers {extensions:?}, fragment {fragment:?}, \
             lengths off by {lies:?}, {padding} bytes of padding, cut to {cut:?}, bytes replaced {flips:?}\n  payload: {}\n  \
             frame: {hex}",
            escaped(&packet.pieces.concat()),
        );
    }
    text
}
