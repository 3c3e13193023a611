//! Limits (`over`), for everything that they can be counted by: the oracle, which looks at every window, the engine in user space and the
//! engine in the kernel get the same packets, and must let the same ones through.

use filter_core::{
    layout::{Counter, RateBucket},
    limits::{BUCKET_WORDS, RATE_BUCKETS, WAYS},
    rate::table::EVICTIONS,
};
use filter_policy::engine::Engine;
use ringfence::kernel::Instance;
use ringfence_hosts::policy;
use ringfence_oracle::{
    decide::{Memory, decide},
    generate::Random,
};
use ringfence_tests::{message::Message, packet::Packet};

/// Everything that a limit can be counted by.
const PER: [&str; 14] = [
    "rule",
    "source",
    "source/24",
    "source/64",
    "destination",
    "calling",
    "calling/5",
    "called",
    "called/6",
    "source+called",
    "user-agent",
    "source/8",
    "called/15",
    "upstream",
];

const COUNTS: [&str; 2] = ["packets", "calls"];

/// A policy with a limit in report mode, a limit that drops, and a rule after them.
fn policy_text(per: &str, count: &str, rate: &str, burst: u32) -> String {
    format!(
        "version = 1\ndefault = \"pass\"\n[network]\nudp = [5060]\n[numbering]\ncountry_code = \"1\"\n\
         [sets.one]\naddresses = [\"192.0.2.2\"]\nlabel = \"a-label\"\n\
         [[upstream]]\nname = \"two-trunks\"\ntrunks = [\"192.0.2.1\", \"2001:db8::/64\"]\n\
         [[rule]]\nname = \"seen\"\nmatch.method = [\"INVITE\", \"OPTIONS\"]\naction = \"drop\"\nmode = \"report\"\n\
         over = {{ rate = \"{rate}\", burst = {half}, per = \"{per}\", count = \"{count}\" }}\n\
         [[rule]]\nname = \"limited\"\nmatch.not.source = \"192.0.2.9\"\naction = \"drop\"\n\
         over = {{ rate = \"{rate}\", burst = {burst}, per = \"{per}\", count = \"{count}\" }}\n\
         [[rule]]\nname = \"last\"\nmatch.method = \"OPTIONS\"\naction = \"drop\"\n",
        half = burst.div_ceil(2),
    )
}

/// A packet out of a few: values come again, and so do calls.
fn packet(random: &mut Random) -> Packet {
    let method = random.pick(&["INVITE", "INVITE", "INVITE", "INVITE", "OPTIONS", "BYE"]);
    let caller = random.pick(&["+14155552671", "+14155559999", "+442071838750", "anonymous"]);
    let called = random.pick(&["+12125553456", "+12125550000", "+13125550199", "reception"]);
    let call = random.below(6);
    let mut message = Message::request(method)
        .calling(caller)
        .called(called)
        .set("Call-ID", &format!("{call}-an-identifier-of-a-call-that-is-not-short@192.0.2.1"))
        .set("CSeq", &format!("{} {method}", 1 + random.below(3)))
        .set("User-Agent", random.pick(&["Example-PBX/4.2", "Example-PBX/4.3", "phone"]));
    if random.chance(15) {
        message = message.set("To", &format!("<sip:{called}@sip.example.net>;tag=within"));
    }
    if random.chance(10) {
        message = message.without("User-Agent");
    }
    if random.chance(5) {
        message = message.without("Call-ID");
    }
    let sources =
        ["192.0.2.1", "192.0.2.2", "198.51.100.1", "192.0.2.9", "2001:db8::1", "2001:db8::2", "2001:db8:1::1"];
    let source = random.pick(&sources);
    let destination =
        if source.contains(':') { "2001:db8:ffff::1" } else { random.pick(&["192.0.2.200", "192.0.2.201"]) };
    let packet = if random.chance(3) { Packet::udp("\r\n\r\n") } else { Packet::udp(message) };
    let packet = if source.contains(':') { packet.over_ipv6() } else { packet };
    packet.from(source).to(destination)
}

/// How many packets the rules matched in user space.
fn compare(text: &str, seed: u64, packets: usize, step: u64, kernel: bool) -> Vec<u64> {
    let built = policy::text(text);
    let mut engine = Engine::new(&built.image);
    let instance = kernel.then(|| Instance::load(&built.image).expect("the program loads (this test needs root)"));
    let mut memory = Memory::default();
    let mut random = Random(seed);
    let mut now = 1_000_000_000_000;
    let mut matched = vec![0; built.image.rules.len()];
    for index in 0..packets {
        let frame = packet(&mut random).frame();
        // Several at once, then a pause.
        if step > 0 && random.chance(40) {
            now += step * random.below(8) as u64;
        }
        engine.set_time(now);
        memory.limits.now = now;
        let (expected, _) = decide(&built.policy, false, &mut memory, &frame);
        let decided = engine.decide(&frame);
        let what = || format!("packet {index} of seed {seed} under\n{text}\n{}", frame.escape_ascii());
        assert_eq!(decided.matched, expected.matched, "user space, oracle: {}", what());
        assert_eq!((decided.reason, decided.rule), (expected.reason, expected.rule), "user space, oracle: {}", what());
        decided.matched.iter().for_each(|&rule| matched[rule] += 1);
        let Some(instance) = &instance else { continue };
        instance.run(&frame).expect("the kernel runs the packet");
        let counters = instance.table("RULE_COUNTERS").expect("a map of this name");
        for (rule, matched) in matched.iter().enumerate() {
            let counts = counters.per_cpu::<Counter>(rule as u32).expect("a counter");
            let kernel: u64 = counts.iter().map(|counter| counter.packets).sum();
            assert_eq!(kernel, *matched, "rule {rule}, kernel, user space: {}", what());
        }
    }
    matched
}

#[test]
fn user_space_agrees_with_the_oracle_by_a_virtual_clock() {
    for (number, per) in PER.into_iter().enumerate() {
        for count in COUNTS {
            let mut over = 0;
            // The clock moves in steps that these do not divide, and never by just the minute for which calls are known.
            for (rate, burst, step) in [("5/s", 3, 30_000_000), ("20/m", 1, 700_000_000), ("2/10s", 4, 1_300_000_000)] {
                let text = policy_text(per, count, rate, burst);
                let matched = compare(&text, number as u64, 600, step, false);
                assert!(matched[1] < 580, "{per} {count} {rate}: all are over the limit: {matched:?}");
                over += matched[1];
            }
            assert!(over > 10, "{per} {count}: the limit is hardly exceeded: {over}");
        }
    }
}

/// The kernel's clock goes on by itself. Of an hour, the test takes next to nothing.
#[test]
fn the_kernel_agrees_with_both_while_time_stands_still() {
    for (number, per) in PER.into_iter().enumerate() {
        for count in COUNTS {
            let text = policy_text(per, count, "1/h", 2);
            let matched = compare(&text, 100 + number as u64, 200, 0, true);
            assert!(matched[0] > 5 && matched[1] > 1, "{per} {count}: the limit is hardly exceeded: {matched:?}");
        }
    }
}

/// A source that has used up its limit, and sources that send two packets each: more than there are places.
fn flood(sources: u32, mut decide: impl FnMut(Vec<u8>) -> bool) {
    let packet = |source: u32| {
        let [_, a, b, c] = source.to_be_bytes();
        let frame = Packet::udp(Message::request("REGISTER")).from(&format!("10.{a}.{b}.{c}"));
        frame.frame()
    };
    let exhausted: Vec<u32> = (0..20).map(|number| 0x00ff_0000 + number).collect();
    for source in &exhausted {
        let dropped: Vec<bool> = (0..7).map(|_| decide(packet(*source))).collect();
        assert_eq!(dropped, [false, false, false, false, false, true, true]);
    }
    for source in 0..sources {
        for _ in 0..2 {
            assert!(!decide(packet(source)), "source {source} has sent no more than it may");
        }
    }
    for source in &exhausted {
        assert!(decide(packet(*source)), "{source:x} has its burst again");
    }
}

const FLOODED: &str = "version = 1\ndefault = \"pass\"\n[network]\nudp = [5060]\n[[rule]]\nname = \"limit\"\n\
                       match.port = 5060\naction = \"drop\"\nover = { rate = \"1/h\", burst = 5, per = \"source\" }\n";

#[test]
fn two_million_sources_throw_out_none_that_has_used_up_its_limit() {
    let built = policy::text(FLOODED);
    let mut engine = Engine::new(&built.image);
    engine.set_time(1_000_000_000_000);
    flood(2_000_000, |frame| engine.decide(&frame).rule.is_some());
}

/// More than there are places here, too.
#[test]
fn nor_do_they_in_the_kernel() {
    const XDP_DROP: u32 = 1;
    let built = policy::text(FLOODED);
    let instance = Instance::load(&built.image).expect("the program loads (this test needs root)");
    flood(600_000, |frame| instance.run(&frame).expect("the kernel runs the packet").action == XDP_DROP);
    // All of them are still in use, so each that found no free place has thrown another one out.
    let table = instance.table("RATES").expect("the program has it");
    let bucket = |index: usize| table.get::<RateBucket>(index as u32).expect("it can be read").words;
    let buckets: Vec<[u64; BUCKET_WORDS]> = (0..RATE_BUCKETS).map(bucket).collect();
    let evictions: u64 = buckets.iter().map(|words| words[EVICTIONS]).sum();
    let kept = buckets.iter().flat_map(|words| &words[..WAYS]).filter(|tag| **tag != 0).count() as u64;
    assert!(evictions > 100_000 && kept < (RATE_BUCKETS * WAYS) as u64, "{evictions} thrown out, {kept} kept");
    assert_eq!(evictions + kept, 600_020, "{evictions} thrown out, {kept} kept");
}

#[test]
fn processors_that_count_at_the_same_time_let_no_more_through_than_one() {
    const XDP_PASS: u32 = 2;
    const BURST: u32 = 1_000;
    const SOURCES: u32 = 200;
    let limited = |rate: &str, burst: u32| {
        let over = format!("over = {{ rate = \"{rate}\", burst = {burst}, per = \"source\" }}");
        FLOODED.replace("over = { rate = \"1/h\", burst = 5, per = \"source\" }", &over)
    };
    let frame = |source: u32| Packet::udp(Message::request("REGISTER")).from(&format!("10.0.{source}.1")).frame();
    for (burst, sources) in [(BURST, 1), (5, SOURCES)] {
        let instance = Instance::load(&policy::text(&limited("1/h", burst)).image).expect("the program loads");
        let run = || {
            let mut passed = 0;
            for source in 0..sources {
                let frame = frame(source);
                let count = 2 * burst;
                passed += (0..count).filter(|_| instance.run(&frame).expect("it runs").action == XDP_PASS).count();
            }
            passed
        };
        // Each on a processor of its own, if there are as many.
        let passed: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..2).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map(|thread| thread.join().expect("it ends")).sum()
        });
        assert_eq!(passed, (burst * sources) as usize);
    }
}
