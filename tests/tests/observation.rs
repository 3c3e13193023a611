//! Sampled and captured packets, in the kernel.

use anyhow::{Context as _, Result};
use filter_core::{
    layout::{Event, Method, NO_RULE, Observation, Observed, STRATA, STRATUM_PLACES, Stratum, capture},
    limits::REPORTED_BYTES,
    reason::Reason,
};
use ringfence::kernel::{CAPTURED_BYTES, CaptureRing, Instance, Ring, total};
use ringfence_hosts::policy;
use ringfence_tests::packet::Packet;

const POLICY: &str = r#"
version = 1
default = "pass"

[network]
udp = [5060]

[numbering]
country_code = "1"

[[rule]]
name = "trunks"
match.source = ["192.0.2.1"]
action = "whitelist"

[[rule]]
name = "dear"
match.called = ["1900"]
action = "drop"
mode = "report"

[[rule]]
name = "scanners"
match.user_agent = ["friendly-scanner"]
action = "drop"
"#;

/// A program with this policy, which is asked to report.
struct Scene {
    instance: Instance,
    samples: Ring,
}

impl Scene {
    fn new(observation: Observation) -> Result<Self> {
        Self::of(POLICY, observation)
    }

    fn of(text: &str, observation: Observation) -> Result<Self> {
        let built = policy::text(text);
        let instance = Instance::load(&built.image)?;
        let samples = Ring::of_samples_of(&instance)?;
        let scene = Self { instance, samples };
        scene.ask(observation)?;
        Ok(scene)
    }

    fn ask(&self, observation: Observation) -> Result<()> {
        Ok(self.instance.table("OBSERVATION").context("no map OBSERVATION")?.set(0, &observation)?)
    }

    fn run(&self, frame: &[u8], times: usize) -> Result<()> {
        (0..times).try_for_each(|_| self.instance.run(frame).map(|_| ()).map_err(Into::into))
    }

    fn samples(&mut self) -> Vec<Event> {
        self.records().into_iter().map(|(event, _)| event).collect()
    }

    fn records(&mut self) -> Vec<(Event, Vec<u8>)> {
        std::iter::from_fn(|| self.samples.pop()).collect()
    }

    fn observed(&self) -> Result<Observed> {
        let cpus = self.instance.table("OBSERVED").context("no map OBSERVED")?.per_cpu::<Observed>(0)?;
        Ok(cpus.iter().fold(Observed::default(), total))
    }
}

fn every(every: u32) -> Observation {
    Observation { every: [every; STRATA], epoch: 1, ..Observation::default() }
}

fn invite(source: &str, called: &str, agent: &str) -> Vec<u8> {
    let message = format!(
        "INVITE sip:{called}@198.51.100.1 SIP/2.0\r\nVia: SIP/2.0/UDP {source}\r\nFrom: <sip:+13125550100@a>;tag=1\r\nTo: <sip:{called}@a>\r\n\
         Call-ID: a84b4c76\r\nCSeq: 1 INVITE\r\nUser-Agent: {agent}\r\nContent-Length: 0\r\n\r\n"
    );
    Packet::udp(message).from(source).frame()
}

#[test]
fn at_a_rate_of_one_every_request_is_sampled_with_its_packet() -> Result<()> {
    let mut scene = Scene::new(every(1))?;
    let frames = [
        (invite("192.0.2.9", "+12125550142", "phone"), 3),
        (invite("192.0.2.9", "+19005550142", "phone"), 2),
        (invite("192.0.2.9", "+12125550142", "friendly-scanner"), 1),
    ];
    frames.iter().try_for_each(|(frame, times)| scene.run(frame, *times))?;
    let records = scene.records();
    assert_eq!(scene.observed()?, Observed { sampled: [3, 2, 1, 0], represented: [3, 2, 1, 0], ..Observed::default() });
    let sent = frames.iter().flat_map(|(frame, times)| std::iter::repeat_n(frame, *times));
    assert_eq!(records.iter().map(|(_, bytes)| bytes).collect::<Vec<_>>(), sent.collect::<Vec<_>>());
    let samples: Vec<&Event> = records.iter().map(|(sample, _)| sample).collect();
    for sample in &samples {
        assert_eq!((sample.weight, sample.method), (1, Method::Invite));
        assert_eq!(sample.source[12..], [192, 0, 2, 9]);
    }
    assert_eq!((samples[0].slot, samples[0].would_count), (NO_RULE, 0));
    assert_eq!(samples[0].reason, Reason::DefaultPass.number());
    assert_eq!((samples[3].slot, samples[3].would_count, samples[3].would[0]), (NO_RULE, 1, 1));
    assert_eq!((samples[5].slot, samples[5].reason), (2, Reason::RuleDrop.number()));
    Ok(())
}

#[test]
fn of_a_sample_that_its_source_lets_pass_the_program_reads_whether_it_is_a_request() -> Result<()> {
    let mut scene = Scene::new(every(1))?;
    let frame = invite("192.0.2.1", "+19005550142", "friendly-scanner");
    let response = Packet::udp("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1\r\nCSeq: 1 INVITE\r\n\r\n");
    scene.run(&frame, 1)?;
    scene.run(&response.from("192.0.2.1").frame(), 1)?;
    let records = scene.records();
    let [(sample, bytes)] = &records[..] else { panic!("{} samples", records.len()) };
    assert_eq!((sample.reason, sample.slot), (Reason::RuleWhitelist.number(), 0));
    assert_eq!((sample.method, bytes), (Method::Invite, &frame));
    assert_eq!(sample.would_count, 0, "the rules after the one that decides do not count it");
    Ok(())
}

#[test]
fn a_sampled_packet_that_its_source_drops_is_not_read_but_comes_with_its_bytes() -> Result<()> {
    let policy = format!("{POLICY}\n[[rule]]\nname = \"last\"\nmatch.called = [\"1212\"]\naction = \"drop\"\n");
    let policy = policy.replace("action = \"whitelist\"", "action = \"drop\"");
    for (report, reason) in [("", Reason::RuleDrop), ("mode = \"report\"\n", Reason::WouldRuleDrop)] {
        let policy = policy.replacen("version = 1\n", &format!("version = 1\n{report}"), 1);
        let mut scene = Scene::of(&policy, every(1))?;
        let frame = invite("192.0.2.1", "+12125550142", "phone");
        scene.run(&frame, 1)?;
        let records = scene.records();
        let [(sample, bytes)] = &records[..] else { panic!("{} samples", records.len()) };
        assert_eq!((sample.reason, sample.slot), (reason.number(), 0));
        assert_eq!((sample.method, sample.called), (Method::None, 0));
        assert_eq!(bytes, &frame);
    }
    Ok(())
}

/// A policy that reads no message.
const ADDRESSES: &str = "version = 1\n[network]\nudp = [5060]\n[[rule]]\nname = \"pests\"\nmatch.source = [\"192.0.2.66\"]\naction = \"drop\"\n";

#[test]
fn where_no_rule_reads_messages_everything_is_sampled_and_its_packet_says_what_it_is() -> Result<()> {
    let mut scene = Scene::of(ADDRESSES, every(1))?;
    let frames = [
        invite("192.0.2.9", "+12125550142", "phone"),
        invite("192.0.2.66", "+12125550142", "phone"),
        Packet::udp("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.9\r\nCSeq: 1 INVITE\r\n\r\n").frame(),
    ];
    frames.iter().try_for_each(|frame| scene.run(frame, 1))?;
    let records = scene.records();
    let reported: Vec<&Vec<u8>> = records.iter().map(|(_, frame)| frame).collect();
    assert_eq!(reported, frames.iter().collect::<Vec<_>>());
    let methods: Vec<Method> = records.iter().map(|(event, _)| event.method).collect();
    assert_eq!(methods, [Method::None; 3], "the program reads none of them");
    let reasons: Vec<u8> = records.iter().map(|(event, _)| event.reason).collect();
    let expected = [Reason::DefaultPass, Reason::RuleDrop, Reason::DefaultPass];
    assert_eq!(reasons, expected.map(Reason::number));
    Ok(())
}

#[test]
fn a_packet_that_is_too_long_is_reported_without_its_bytes() -> Result<()> {
    let mut scene = Scene::new(every(1))?;
    let message = |body: usize| {
        let text = format!("OPTIONS sip:a SIP/2.0\r\nUser-Agent: phone\r\nX: {}\r\n\r\n", "x".repeat(body));
        Packet::udp(text).from("192.0.2.9").frame()
    };
    let (short, long) = (message(100), message(REPORTED_BYTES));
    scene.run(&short, 1)?;
    scene.run(&long, 1)?;
    let records = scene.records();
    let [(_, first), (event, second)] = &records[..] else { panic!("{} samples", records.len()) };
    assert_eq!(first, &short);
    assert_eq!((event.length as usize, second.len()), (long.len(), 0));
    Ok(())
}

#[test]
fn what_is_no_request_and_passes_is_not_sampled() -> Result<()> {
    let mut scene = Scene::new(every(1))?;
    scene.run(&Packet::udp("\r\n\r\n").frame(), 2)?;
    scene.run(&Packet::udp("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.9\r\nCSeq: 1 INVITE\r\n\r\n").frame(), 2)?;
    assert!(scene.samples().is_empty());
    Ok(())
}

#[test]
fn a_sample_stands_for_as_many_packets_as_its_rate_says() -> Result<()> {
    const EVERY: u32 = 20;
    const PACKETS: usize = 20_000;
    let mut scene = Scene::new(every(EVERY))?;
    scene.run(&invite("192.0.2.9", "+12125550142", "phone"), PACKETS)?;
    let samples = scene.samples();
    // (Many in a moment are sampled at half the rate, and so on.)
    assert!(samples.iter().all(|sample| sample.weight >= EVERY && (sample.weight / EVERY).is_power_of_two()));
    let stands_for: u64 = samples.iter().map(|sample| u64::from(sample.weight)).sum();
    // The variance of the sum is that of its last terms; a fifth is some standard deviations.
    assert!(stands_for.abs_diff(PACKETS as u64) < PACKETS as u64 / 5, "{stands_for} of {PACKETS}");
    let observed = scene.observed()?;
    let passed = Stratum::Passed.index();
    assert_eq!((observed.sampled[passed], observed.represented[passed]), (samples.len() as u64, stands_for));
    Ok(())
}

#[test]
fn a_flood_that_is_dropped_takes_no_samples_from_what_passes() -> Result<()> {
    let mut rates = every(1);
    rates.every[Stratum::Dropped.index()] = 1_000;
    let mut scene = Scene::new(rates)?;
    scene.run(&invite("192.0.2.9", "+12125550142", "friendly-scanner"), 5_000)?;
    scene.run(&invite("192.0.2.9", "+12125550142", "phone"), 10)?;
    let samples = scene.samples();
    let passed = samples.iter().filter(|sample| sample.reason == Reason::DefaultPass.number()).count();
    assert_eq!(passed, 10);
    assert!(samples.len() < 100, "{}", samples.len());
    Ok(())
}

#[test]
fn a_sudden_flood_does_not_fill_the_ring_and_is_estimated_nevertheless() -> Result<()> {
    const PACKETS: usize = 50_000;
    let mut scene = Scene::new(every(1))?;
    scene.run(&invite("192.0.2.9", "+12125550142", "friendly-scanner"), PACKETS)?;
    let samples = scene.samples();
    let observed = scene.observed()?;
    let dropped = Stratum::Dropped.index();
    assert_eq!(observed.samples_lost, [0; STRATUM_PLACES]);
    assert!(observed.sampled[dropped] < 10_000, "{observed:?}");
    let stands_for: u64 = samples.iter().map(|sample| u64::from(sample.weight)).sum();
    assert_eq!(stands_for, observed.represented[dropped]);
    assert!(stands_for.abs_diff(PACKETS as u64) < PACKETS as u64 / 4, "{stands_for} of {PACKETS}");
    // What passes is sampled as before.
    scene.run(&invite("192.0.2.9", "+12125550142", "phone"), 20)?;
    assert_eq!(scene.observed()?.represented[Stratum::Passed.index()], 20);
    Ok(())
}

#[test]
fn rates_that_change_all_the_time_leave_the_estimates_without_bias() -> Result<()> {
    const ROUNDS: u32 = 400;
    const PACKETS: usize = 20;
    let mut scene = Scene::new(every(1))?;
    let frame = invite("192.0.2.9", "+12125550142", "phone");
    let mut stands_for = 0_u64;
    for round in 0..ROUNDS {
        // Never long enough for two samples.
        scene.ask(Observation { epoch: 2 + round, ..every(15 + round % 2) })?;
        scene.run(&frame, PACKETS)?;
        stands_for += scene.samples().iter().map(|sample| u64::from(sample.weight)).sum::<u64>();
    }
    let sent = u64::from(ROUNDS) * PACKETS as u64;
    assert!(stands_for.abs_diff(sent) < sent / 6, "{stands_for} of {sent}");
    Ok(())
}

#[test]
fn a_new_rate_holds_at_once() -> Result<()> {
    let mut scene = Scene::new(every(1 << 20))?;
    let frame = invite("192.0.2.9", "+12125550142", "phone");
    scene.run(&frame, 10)?;
    assert!(scene.samples().is_empty());
    scene.ask(Observation { epoch: 2, ..every(1) })?;
    scene.run(&frame, 10)?;
    assert_eq!(scene.samples().len(), 10);
    scene.ask(Observation { epoch: 3, ..every(0) })?;
    scene.run(&frame, 10)?;
    assert!(scene.samples().is_empty());
    Ok(())
}

fn capturing(kinds: u32) -> Observation {
    Observation { capture: kinds, captures: u32::MAX, bytes: CAPTURED_BYTES, ..Observation::default() }
}

#[test]
fn captured_packets_are_those_that_are_asked_for_byte_for_byte() -> Result<()> {
    let frames = [
        invite("192.0.2.9", "+12125550142", "phone"),
        invite("192.0.2.9", "+19005550142", "phone"),
        invite("192.0.2.9", "+12125550142", "friendly-scanner"),
    ];
    for (kind, expected) in [(capture::PASSED, 0), (capture::WOULD, 1), (capture::DROPPED, 2)] {
        let scene = Scene::new(capturing(kind))?;
        let mut ring = CaptureRing::of_instance(&scene.instance)?;
        frames.iter().try_for_each(|frame| scene.run(frame, 1))?;
        let mut captured = Vec::new();
        ring.drain(|event, bytes| captured.push((event, bytes)));
        let [(event, bytes)] = &captured[..] else { panic!("{} captured", captured.len()) };
        assert_eq!(bytes, &frames[expected]);
        assert_eq!(event.length as usize, bytes.len());
        let payload = usize::from(event.payload_offset)..;
        assert!(bytes[payload].starts_with(b"INVITE sip:"), "{}", event.payload_offset);
        assert_eq!(event.payload_length as usize, bytes.len() - usize::from(event.payload_offset));
        assert_eq!(event.weight, 0, "it was not sampled");
        let mut counted = Observed::default();
        counted.captured[expected] = 1;
        assert_eq!(scene.observed()?, counted, "each kind is counted for itself");
    }
    Ok(())
}

#[test]
fn what_is_not_captured_because_of_the_limit_or_for_want_of_a_reader_is_counted() -> Result<()> {
    let frame = invite("192.0.2.9", "+12125550142", "friendly-scanner");
    let scene = Scene::new(capturing(capture::DROPPED))?;
    scene.run(&frame, 5)?;
    assert_eq!(scene.observed()?, Observed { captures_lost: [0, 0, 5, 0], ..Observed::default() });
    let mut ring = CaptureRing::of_instance(&scene.instance)?;
    scene.ask(Observation { captures: 3, ..capturing(capture::DROPPED) })?;
    scene.run(&frame, 20)?;
    let mut captured = 0;
    ring.drain(|_, _| captured += 1);
    let observed = scene.observed()?;
    let dropped = Stratum::Dropped.index();
    assert_eq!(observed.captured[dropped], captured);
    assert_eq!(observed.captured[dropped] + observed.captures_suppressed[dropped], 20);
    assert!(observed.captures_suppressed[dropped] > 0, "more than three in a window");
    assert_eq!((observed.captured[0], observed.captures_suppressed[0]), (0, 0));
    Ok(())
}

#[test]
fn what_is_not_for_a_signalling_port_is_not_captured() -> Result<()> {
    let scene = Scene::new(Observation { every: [1; STRATA], epoch: 1, ..capturing(u32::MAX) })?;
    let frame = Packet::udp("not signalling").to_port(9).frame();
    scene.run(&frame, 3)?;
    // Through VLAN tags, this is known later.
    scene.run(&Packet::udp("not signalling").to_port(9).vlan(5).frame(), 3)?;
    assert_eq!(scene.observed()?, Observed::default());
    Ok(())
}

#[test]
fn a_packet_without_known_addresses_is_not_reported_with_those_of_the_one_before() -> Result<()> {
    let scene = Scene::new(capturing(capture::PASSED))?;
    let mut ring = CaptureRing::of_instance(&scene.instance)?;
    scene.run(&invite("192.0.2.9", "+12125550142", "phone"), 1)?;
    // More tags than are followed: the source is unknown.
    let tags = (0..12).fold(Packet::udp("x").from("192.0.2.8"), |packet, id| packet.vlan(id));
    scene.run(&tags.frame(), 1)?;
    let mut captured = Vec::new();
    ring.drain(|event, _| captured.push(event));
    let [_, event] = &captured[..] else { panic!("{} captured", captured.len()) };
    assert_eq!(event.reason, Reason::VlanTooDeep.number());
    assert_eq!((event.source, event.destination, event.source_port), ([0; 16], [0; 16], 0));
    assert_eq!((event.payload_length, event.calling, event.method), (0, 0, Method::None));
    Ok(())
}

#[test]
fn a_long_packet_is_cut() -> Result<()> {
    let message = format!("OPTIONS sip:a SIP/2.0\r\nUser-Agent: friendly-scanner\r\nX: {}\r\n\r\n", "x".repeat(2_000));
    let frame = Packet::udp(message).from("192.0.2.9").frame();
    let scene = Scene::new(Observation { bytes: 100, ..capturing(capture::DROPPED) })?;
    let mut ring = CaptureRing::of_instance(&scene.instance)?;
    scene.run(&frame, 1)?;
    let mut captured = Vec::new();
    ring.drain(|event, bytes| captured.push((event, bytes)));
    let (event, bytes) = captured.first().context("nothing was captured")?;
    // The kernel rounds up what it writes.
    assert_eq!((event.length as usize, &bytes[..100]), (frame.len(), &frame[..100]));
    assert!(bytes.len() < 108, "{}", bytes.len());
    Ok(())
}

#[test]
fn each_entry_that_the_program_makes_in_a_table_is_counted_once() -> Result<()> {
    let bans = "version = 1\n[network]\nudp = [5060]\ntcp = [5060]\n[[rule]]\nname = \"scanners\"\n\
                match.user_agent = [\"friendly-scanner\"]\naction = { ban = \"1h\" }\n";
    let scene = Scene::of(bans, Observation::default())?;
    for last in 1..=50 {
        // The second one finds the ban.
        scene.run(&invite(&format!("192.0.2.{last}"), "+12125550142", "friendly-scanner"), 2)?;
    }
    assert_eq!(scene.observed()?.entered, [50, 0, 0, 0]);
    // A ban that is there already is no new entry, and neither is a datagram or a connection.
    let start = "OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP a\r\nUser-Agent: friendly-scanner\r\n";
    let message = format!("{start}X: {}\r\n\r\n", "x".repeat(100));
    let first = |id| {
        let [first, _] = Packet::udp(message.as_str()).from("192.0.2.9").id(id).fragments(120);
        first
    };
    let drops = bans.replace("{ ban = \"1h\" }", "\"drop\"\ntcp = \"drop-connection\"");
    let scene = Scene::of(&drops, Observation::default())?;
    scene.run(&Packet::tcp(message.as_str()).from("192.0.2.9").frame(), 3)?;
    assert_eq!(scene.observed()?.entered, [0, 1, 0, 0]);
    scene.run(&first(7), 3)?;
    scene.run(&first(8), 3)?;
    assert_eq!(scene.observed()?.entered, [0, 1, 2, 0]);
    Ok(())
}
