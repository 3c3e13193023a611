//! One packet through both hosts of the engine: user space, and the kernel by BPF_PROG_TEST_RUN.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, ensure};
use filter_core::{
    layout::Counter,
    reason::{Reason, Verdict},
    scratch::Kind,
};
use ringfence::{
    engine::{Engine, Reading},
    kernel::Instance,
    policy::{self, Built, files::Directory, image::Image},
};
use serde_json::{Map, Value};

/// The kernel takes no frame shorter than an Ethernet header.
const SHORTEST_FRAME: usize = 14;

/// XDP actions, `enum xdp_action` of include/uapi/linux/bpf.h.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

/// The engine with one policy, in both hosts. What they remember goes from packet to packet.
pub struct Hosts<'a> {
    image: &'a Image,
    engine: Engine<'a>,
    instance: Instance,
    counted: Vec<(u64, u64)>,
}

/// What both hosts made of a packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Why.
    pub reason: Reason,
    /// The rule that decided.
    pub rule: Option<String>,
    /// What was read, under the names of `ringfence inspect`; none where the payload was not looked at.
    pub reading: Option<Map<String, Value>>,
}

impl Outcome {
    /// A field of the reading as text; empty where it is not there.
    pub fn field(&self, name: &str) -> String {
        let value = self.reading.as_ref().and_then(|reading| reading.get(name));
        match value {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
            Some(other) => other.to_string(),
        }
    }

    /// True if the packet does not get through.
    pub fn is_drop(&self) -> bool {
        self.reason.verdict() == Verdict::Drop
    }
}

impl<'a> Hosts<'a> {
    /// Loads the program with this image, attached nowhere.
    ///
    /// # Errors
    /// Not root, or the verifier refuses.
    pub fn new(image: &'a Image) -> Result<Self> {
        let instance = Instance::load(image).context("failed to load the program (this test needs root)")?;
        let counted = vec![(0, 0); Reason::COUNT];
        Ok(Self { image, engine: Engine::new(image), instance, counted })
    }

    /// The program.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Runs a packet, from its Ethernet header on, through both hosts.
    ///
    /// # Errors
    /// They differ: in verdict, reason, rule, or in anything that was read.
    pub fn run(&mut self, packet: &[u8]) -> Result<Outcome> {
        let decision = self.engine.decide(packet);
        let ours = self.engine.scratch();
        let read = ours.kind != Kind::Unread as u32;
        let user = Outcome {
            reason: decision.reason,
            rule: decision.rule.map(|rule| self.image.rule_names[rule].clone()),
            reading: read.then(|| Reading::new(ours).to_json()),
        };
        if packet.len() < SHORTEST_FRAME {
            return Ok(user);
        }
        let scratch = self.instance.read(packet).context("failed to run the packet in the kernel")?;
        let reason = self.counted_reason(packet.len() as u64)?;
        let read = scratch.kind != Kind::Unread as u32;
        let rule = reason.is_rule().then(|| self.image.rule_names[scratch.rule as usize].clone());
        let kernel = Outcome { reason, rule, reading: read.then(|| Reading::new(&scratch).to_json()) };
        ensure!(user == kernel, "the hosts differ\n  user space: {user:?}\n  kernel:     {kernel:?}");
        Ok(user)
    }

    /// As [`Self::run`], and holds the program's return value against the verdict as well.
    ///
    /// # Errors
    /// As [`Self::run`]. The packet runs twice in the kernel: not for tests of what is remembered.
    pub fn run_and_act(&mut self, packet: &[u8]) -> Result<Outcome> {
        let outcome = self.run(packet)?;
        let expected = if outcome.is_drop() { XDP_DROP } else { XDP_PASS };
        if packet.len() >= SHORTEST_FRAME {
            let action = self.instance.run(packet)?.action;
            ensure!(action == expected, "the program returned {action} for {outcome:?}");
            self.counted = self.counts()?;
        }
        Ok(outcome)
    }

    /// The one reason whose counter went up, by one packet and its bytes.
    fn counted_reason(&mut self, bytes: u64) -> Result<Reason> {
        let counts = self.counts()?;
        let risen: Vec<usize> = (0..counts.len()).filter(|&index| counts[index] != self.counted[index]).collect();
        let [index] = risen[..] else { return Err(anyhow!("counters of {} reasons went up, not of one", risen.len())) };
        let (before, after) = (self.counted[index], counts[index]);
        ensure!(after == (before.0 + 1, before.1 + bytes), "a packet of {bytes} bytes took {before:?} to {after:?}");
        self.counted = counts;
        Ok(Reason::ALL[index])
    }

    /// Packets and bytes by reason, over all CPUs.
    fn counts(&self) -> Result<Vec<(u64, u64)>> {
        let table = self.instance.table("REASON_COUNTERS").context("no map REASON_COUNTERS")?;
        (0..Reason::COUNT as u32)
            .map(|reason| {
                let counters = table.per_cpu::<Counter>(reason)?;
                Ok(counters.iter().fold((0, 0), |sum, counter| (sum.0 + counter.packets, sum.1 + counter.bytes)))
            })
            .collect()
    }
}

/// Builds the policy in a directory; its diagnostics are the error.
///
/// # Errors
/// It has errors.
pub fn policy(directory: &Path) -> Result<Built> {
    policy::build(&Directory::new(directory)?, policy::today())
        .map_err(|diagnostics| anyhow!("{}", diagnostics.render(false, Some(directory))))
}

/// The sample policy of the repository.
///
/// # Errors
/// It has errors.
pub fn sample_policy() -> Result<Built> {
    policy(&ringfence_tests::workspace().join("policies"))
}
