//! What it costs that packets can be reported, by who listens.

use anyhow::{Context as _, Result};
use filter_core::{
    layout::{Observation, STRATA, capture},
    reason::Reason,
};
use ringfence::kernel::{CAPTURED_BYTES, Instance};

use super::{ANY, Effort, Figures, Measurement, expect_only, records};
use crate::{
    driver::{self, Driver, Entries, XDP_DROP},
    generate::{self, Packet, Prefix},
    policies,
    report::Target,
};

/// The row that the others are compared with.
const NOBODY: &str = "nobody listens";

/// A listener that is there and gets none of the packets.
const TO_OTHERS: &str = "captured: what passes";

/// Samples are drawn, of few of the packets.
const SAMPLED: &str = "sampled: 1 in 10,000";

/// The rows, with what the program is asked for.
fn asked() -> [(&'static str, Observation); 4] {
    let capturing =
        |kinds| Observation { capture: kinds, captures: 2_000, bytes: CAPTURED_BYTES, ..Observation::default() };
    let sampling = |every| Observation { every: [every; STRATA], epoch: 1, ..Observation::default() };
    [
        (NOBODY, Observation::default()),
        (SAMPLED, sampling(10_000)),
        (TO_OTHERS, capturing(capture::PASSED)),
        ("captured: what is dropped", capturing(capture::DROPPED)),
    ]
}

/// The verdict that takes least, so that what is added to it shows: a source on a list.
pub(super) fn listeners(title: &str, effort: Effort) -> Result<Measurement> {
    let prefixes = generate::ipv4_prefixes(1000);
    let image = policies::block_list(generate::address_list(&prefixes, 4)).build()?;
    let records = records(1 << 12, |random| {
        let prefix: Prefix = random.one_of(&prefixes);
        driver::record(prefix.address(random), ANY, ANY)
    });
    let mut driver = Driver::new(&Packet::invite(4), &records, &Entries::None)?;
    driver.add_own("empty")?;
    let mut instances = Vec::new();
    for (name, observation) in asked() {
        let instance = Instance::load(&image)?;
        instance.table("OBSERVATION").context("the program reports nothing")?.set(0, &observation)?;
        driver.add(name, instance.program()?.fd()?)?;
        driver.expect(name, XDP_DROP)?;
        instances.push((name, instance));
    }
    let all = driver.measure(effort.rounds, effort.repeat)?;
    for (name, instance) in &instances {
        expect_only(name, instance, Reason::RuleDrop)?;
    }
    let programs: Vec<_> = instances.iter().map(|(name, instance)| (*name, instance)).collect();
    let figures = Figures::new(
        title,
        "One program, with a rule about 1,000 blocked sources, and packets that it drops. What it is asked for is in a map, so that its code is \
         there whoever listens: the first row is what everybody pays. What is sampled finds a full ring, since nobody reads it here; of what is \
         captured, 2,000 packets a second are copied, and the others are counted.",
        all,
        &programs,
        NOBODY,
    )?;
    let over = |name: &str| figures.over(name, NOBODY);
    let targets = vec![
        Target::at_most("a listener that gets none of the packets, over nobody", over(TO_OTHERS)?, 25.0, " ns"),
        Target::at_most("one in 10,000 packets sampled, over nobody", over(SAMPLED)?, 25.0, " ns"),
    ];
    Ok((figures.table, targets))
}
