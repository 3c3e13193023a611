//! One run of packets through all three readers.

use std::collections::BTreeMap;

use filter_core::{
    layout::{Counter, Text, address_flag, anomaly, need},
    reason::{Reason, Verdict},
    scratch::{Extent, Header},
};
use filter_policy::{
    engine::{Decision, Engine},
    model::{Policy, Test},
};
use ringfence::kernel::Instance;
use ringfence_oracle::{
    compare::{as_engine, of_oracle, readings, same},
    decide::{Memory, decide},
    generate::seeded_policy,
};

/// Where two of the three differ.
#[derive(Clone, Debug)]
pub(crate) struct Difference {
    /// The packet; none if only the counters at the end differ.
    pub(crate) index: Option<usize>,
    pub(crate) what: String,
}

/// What a run has covered, to check that it was varied enough.
#[derive(Default)]
pub(crate) struct Seen {
    reasons: BTreeMap<&'static str, usize>,
    rules: usize,
    would: usize,
    /// Messages decided before they were read whole.
    early: usize,
    /// Packets decided by the one rule for their source.
    by_source: usize,
    /// Messages whose reading paused after the user agent and then continued.
    resumed: usize,
    /// Matches of rules that ask for the callers of an upstream.
    callers: usize,
    anomalies: BTreeMap<usize, usize>,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (reason, count) in &self.reasons {
            writeln!(f, "{count:>8} {reason}")?;
        }
        let Self { rules, would, early, by_source, resumed, callers, anomalies, .. } = self;
        writeln!(
            f,
            "decided by rules {rules}, {early} of them early, {by_source} by the source alone, {resumed} messages read on after \
             the user agent, {callers} matches of rules about an upstream's callers, report-mode matches {would}, anomalies by bit \
             {anomalies:?}"
        )
    }
}

impl Seen {
    pub(crate) fn must_be_varied(&self) {
        let missing: Vec<&str> = Reason::ALL
            .iter()
            .map(|reason| reason.name())
            // (In report mode nothing is banned, and no source is banned by hand here.)
            .filter(|name| !["payload-unreadable", "internal", "ethernet-truncated", "would-banned"].contains(name))
            .filter(|name| !self.reasons.contains_key(name))
            .collect();
        assert!(missing.is_empty(), "no packet was decided by: {missing:?}");
        assert_eq!(self.anomalies.len(), anomaly::COUNT, "anomalies by bit {:?}", self.anomalies);
        let Self { rules, would, early, by_source, resumed, callers, .. } = self;
        assert!(*rules > 1000 && *would > 1000, "rules {rules}, would {would}");
        assert!(*early > 500 && *resumed > 500, "early {early}, resumed {resumed}");
        assert!(*by_source > 500 && *callers > 100, "by source {by_source}, callers {callers}");
    }
}

/// Runs the packets through the engine and the oracle, and if `kernel` is set through the kernel too.
pub(crate) fn check(
    policy: &Policy,
    inspect: bool,
    frames: &[Vec<u8>],
    kernel: bool,
    seen: &mut Seen,
) -> Result<(), Difference> {
    let image = seeded_policy::image(policy, inspect);
    let mut engine = Engine::new(&image);
    let instance = kernel.then(|| Instance::load(&image).expect("the kernel loads the program"));
    let mut memory = Memory::at(seeded_policy::time());
    let mut matched = vec![0u64; policy.rules.len()];
    for (index, frame) in frames.iter().enumerate() {
        let differ = |what: String| Difference { index: Some(index), what };
        let (expected, message) = decide(policy, inspect, &mut memory, frame);
        let decided = engine.decide(frame);
        compare("user space", &decided, "oracle", &as_engine(&expected)).map_err(differ)?;
        let user =
            inspect.then_some(message).flatten().map(|message| (readings(engine.scratch()), of_oracle(&message)));
        if let Some((user, oracle)) = &user {
            same("user space", user, "oracle", oracle).map_err(differ)?;
        }
        decided.matched.iter().for_each(|&rule| matched[rule] += 1);
        let asks_callers = |rule: &&usize| {
            policy.rules[**rule].conditions.iter().any(|condition| matches!(condition.test, Test::CallerAllowed(_)))
        };
        seen.callers += decided.matched.iter().filter(asks_callers).count();
        *seen.reasons.entry(decided.reason.name()).or_default() += 1;
        seen.rules += usize::from(decided.rule.is_some());
        seen.early += usize::from(engine.scratch().message.extent == Extent::First && decided.rule.is_some());
        let pauses = !inspect
            && image.config.needs & need::FIRST_READING != 0
            && image.config.texts & Text::UserAgent.bit() != 0;
        let s = engine.scratch();
        let class = image.address_classes.get(s.packet.source_class as usize).copied().unwrap_or(0);
        let decider = address_flag::decider(class).filter(|_| image.config.needs & need::SOURCE != 0);
        seen.by_source += usize::from(decider.is_some_and(|decider| decided.rule == Some(decider as usize)));
        let is_message = s.message.kind.is_message();
        let has_user_agent = is_message && s.message.has(Header::UserAgent);
        seen.resumed += usize::from(pauses && has_user_agent && s.message.extent == Extent::Whole);
        seen.would += decided.would.len();
        if let Some((user, _)) = &user {
            (0..anomaly::COUNT)
                .filter(|bit| user.anomalies >> bit & 1 != 0)
                .for_each(|bit| *seen.anomalies.entry(bit).or_default() += 1);
        }
        // The kernel refuses frames without an Ethernet header.
        let Some(instance) = instance.as_ref().filter(|_| frame.len() >= 14) else { continue };
        let (run, scratch) = instance.run_and_read(frame).expect("the kernel runs the packet");
        let verdict = if run.action == xdp_action(Verdict::Drop) { Verdict::Drop } else { Verdict::Pass };
        if run.action != xdp_action(decided.reason.verdict()) {
            return Err(differ(format!("kernel {verdict:?} (action {}), user space {decided:?}", run.action)));
        }
        if let Some(rule) = decided.rule
            && scratch.walk.rule != rule as u32
        {
            return Err(differ(format!("kernel rule {}, user space {decided:?}", scratch.walk.rule)));
        }
        if let Some((user, _)) = &user {
            same("kernel", &readings(&scratch), "user space", user).map_err(differ)?;
        }
    }
    if let Some(instance) = &instance {
        let counters = instance.table("RULE_COUNTERS").expect("a map of this name");
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

/// XDP_DROP or XDP_PASS.
fn xdp_action(verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Drop => 1,
        Verdict::Pass => 2,
    }
}

fn compare(name: &str, decision: &Decision, other_name: &str, other: &Decision) -> Result<(), String> {
    if decision == other { Ok(()) } else { Err(format!("{name}: {decision:?}\n{other_name}: {other:?}")) }
}
