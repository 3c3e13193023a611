//! Runs packets in both hosts of the engine, user space and the kernel (BPF_PROG_TEST_RUN), and compares the results.

#![warn(clippy::wildcard_enum_match_arm, unreachable_pub)]

pub mod policy;

use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, anyhow, ensure};
use filter_core::{
    layout::{Counter, InterfaceCounts, Observation},
    reason::{Reason, Verdict},
    scratch::{Extent, Kind},
};
use filter_policy::{
    Built,
    engine::{Engine, Reading},
    image::Image,
};
use ringfence::kernel::Instance;
use serde_json::{Map, Value};

/// The kernel refuses frames shorter than an Ethernet header.
const SHORTEST_FRAME: usize = 14;

/// XDP actions, `enum xdp_action` of include/uapi/linux/bpf.h.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

/// The engine with one policy, in both hosts. Bans, flows and fragments are remembered from packet to packet.
pub struct Hosts<'a> {
    image: &'a Image,
    engine: Engine<'a>,
    instance: Instance,
    /// The same program while every packet is sampled and captured: that must change no verdict.
    observed: Instance,
    counted: Vec<(u64, u64)>,
}

/// What both hosts decided about a packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The reason of the verdict.
    pub reason: Reason,
    /// The rule that decided.
    pub rule: Option<String>,
    /// What was read, under the names of `ringfence inspect`; none if the payload was not read.
    pub reading: Option<Map<String, Value>>,
}

impl Outcome {
    /// A field of the reading as text; empty if there is none.
    #[must_use]
    pub fn field(&self, name: &str) -> String {
        let value = self.reading.as_ref().and_then(|reading| reading.get(name));
        match value {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
            Some(other) => other.to_string(),
        }
    }

    /// True if the packet is dropped.
    #[must_use]
    pub fn is_drop(&self) -> bool {
        self.reason.verdict() == Verdict::Drop
    }
}

impl<'a> Hosts<'a> {
    /// Loads the program with this image, without attaching it.
    ///
    /// # Errors
    /// Not root, or the verifier rejects the program.
    pub fn new(image: &'a Image) -> Result<Self> {
        let instance = Instance::load(image).context("failed to load the program (this test needs root)")?;
        let observed = Instance::load(image).context("failed to load the program again")?;
        let everything = Observation {
            every: [1; 3],
            epoch: 1,
            capture: u32::MAX,
            captures: u32::MAX,
            bytes: 1 << 14,
            ..Observation::default()
        };
        observed.table("OBSERVATION").context("no map OBSERVATION")?.set(0, &everything)?;
        let counted = vec![(0, 0); Reason::COUNT];
        Ok(Self { image, engine: Engine::new(image), instance, observed, counted })
    }

    /// The loaded program.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Runs a packet, from its Ethernet header on, in both hosts.
    ///
    /// # Errors
    /// They differ in verdict, reason, rule, or in anything they read.
    pub fn run(&mut self, packet: &[u8]) -> Result<Outcome> {
        let decision = self.engine.decide(packet);
        let ours = self.engine.scratch();
        let read = ours.message.kind != Kind::Unread;
        let user = Outcome {
            reason: decision.reason,
            rule: decision.rule.map(|rule| self.image.rule_names[rule].clone()),
            reading: read.then(|| Reading::new(ours).to_json()),
        };
        if packet.len() < SHORTEST_FRAME {
            return Ok(user);
        }
        let (run, scratch) = self.instance.run_and_read(packet).context("failed to run the packet in the kernel")?;
        let reason = self.counted_reason(packet.len() as u64)?;
        let expected = if user.is_drop() { XDP_DROP } else { XDP_PASS };
        let read = scratch.message.kind != Kind::Unread;
        let rule = reason.is_rule().then(|| self.image.rule_names[scratch.walk.rule as usize].clone());
        // In the kernel, a rule may decide before the whole message has been read.
        let reading = if scratch.message.extent == Extent::First {
            user.reading.clone()
        } else {
            read.then(|| Reading::new(&scratch).to_json())
        };
        let kernel = Outcome { reason, rule, reading };
        ensure!(user == kernel, "the hosts differ\n  user space: {user:?}\n  kernel:     {kernel:?}");
        ensure!(run.action == expected, "the program returned {} for {user:?}", run.action);
        self.check_observed(packet, &user, expected)?;
        Ok(user)
    }

    /// The program that samples and captures everything decides the same, and says so.
    fn check_observed(&self, packet: &[u8], user: &Outcome, expected: u32) -> Result<()> {
        let (run, scratch) =
            self.observed.run_and_read(packet).context("failed to run the packet while it is sampled")?;
        ensure!(run.action == expected, "the program returned {} for {user:?} while it is sampled", run.action);
        if user.reason == Reason::NotSignalling {
            return Ok(());
        }
        let event = scratch.event;
        let reason = Reason::from_number(event.reason);
        ensure!(reason == Some(user.reason), "sampled, it has the reason {reason:?} instead of {user:?}");
        let rule = user.reason.is_rule().then(|| self.image.rule_names[scratch.walk.rule as usize].clone());
        ensure!(rule == user.rule, "sampled, {rule:?} decides instead of {user:?}");
        ensure!(event.length as usize == packet.len(), "{} bytes are reported of {}", event.length, packet.len());
        Ok(())
    }

    /// Runs a packet in both hosts and returns the names of the rules that matched, including those in report mode.
    ///
    /// # Errors
    /// They differ.
    pub fn matched(&mut self, packet: &[u8]) -> Result<Vec<&'a str>> {
        let image = self.image;
        let rules = |instance: &Instance| -> Result<Vec<u64>> {
            let table = instance.table("RULE_COUNTERS").context("no map RULE_COUNTERS")?;
            let packets =
                |rule| table.per_cpu::<Counter>(rule).map(|counts| counts.iter().map(|count| count.packets).sum());
            Ok((0..image.rules.len() as u32).map(packets).collect::<Result<_, _>>()?)
        };
        let before = rules(&self.instance)?;
        let outcome = self.run(packet)?;
        let user = self.engine.decide(packet).matched;
        let after = rules(&self.instance)?;
        let kernel: Vec<usize> = (0..after.len()).filter(|&rule| after[rule] != before[rule]).collect();
        ensure!(user == kernel, "rules {user:?} match in user space, {kernel:?} in the kernel: {outcome:?}");
        Ok(user.into_iter().map(|rule| image.rule_names[rule].as_str()).collect())
    }

    /// The reason whose counter went up. It must be one reason, by one packet and its bytes.
    fn counted_reason(&mut self, bytes: u64) -> Result<Reason> {
        let counts = self.counts()?;
        let risen: Vec<usize> = (0..counts.len()).filter(|&index| counts[index] != self.counted[index]).collect();
        let [index] = risen[..] else {
            return Err(anyhow!("the counters of {} reasons went up, instead of one", risen.len()));
        };
        let (before, after) = (self.counted[index], counts[index]);
        ensure!(after == (before.0 + 1, before.1 + bytes), "a packet of {bytes} bytes took {before:?} to {after:?}");
        self.counted = counts;
        Ok(Reason::ALL[index])
    }

    /// Packets and bytes by reason, summed over all CPUs.
    fn counts(&self) -> Result<Vec<(u64, u64)>> {
        let table = self.instance.table("REASON_COUNTERS").context("no map REASON_COUNTERS")?;
        let mut sums = vec![(0, 0); Reason::COUNT];
        for slot in 0..table.len() {
            for counts in table.per_cpu::<InterfaceCounts>(slot)? {
                for ((packets, bytes), count) in sums.iter_mut().zip(&counts.reasons) {
                    *packets += count.packets;
                    *bytes += count.bytes;
                }
            }
        }
        Ok(sums)
    }
}

/// Hosts shared by the tests of one program: loading takes longer than running packets.
pub struct Shared(Mutex<Hosts<'static>>);

impl Shared {
    /// Loads a policy for the rest of the process.
    ///
    /// # Panics
    /// As [`Hosts::new`].
    #[must_use]
    pub fn new(built: Built) -> Self {
        let image = Box::leak(Box::new(built.image));
        Self(Mutex::new(Hosts::new(image).expect("the program loads")))
    }

    /// Runs packets in sequence, with no other test's packets in between.
    ///
    /// # Panics
    /// The hosts differ.
    #[track_caller]
    pub fn run(&self, frames: &[Vec<u8>]) -> Vec<Outcome> {
        // A test that failed leaves no packet half done.
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let run = |frame: &Vec<u8>| hosts.run(frame).unwrap_or_else(|error| panic!("{error:#}\n{}", hex(frame)));
        frames.iter().map(run).collect()
    }

    /// Runs one packet.
    ///
    /// # Panics
    /// The hosts differ.
    #[track_caller]
    pub fn decide(&self, frame: Vec<u8>) -> Outcome {
        self.run(&[frame]).remove(0)
    }
}

/// Bytes in hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
