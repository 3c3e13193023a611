//! Two policies on the same calls: what more rules and more numbers cost.

use anyhow::Result;
use filter_core::reason::Reason;
use ringfence::kernel::Instance;

use super::{
    Effort, Figures, Measurement,
    calls::{ordinary_calls, passing},
    expect_only, thousands,
};
use crate::{
    driver::{Driver, Entries, Record, XDP_PASS},
    generate::{self, Packet},
    policies::{self, Lists, Repository},
    report::Target,
};

/// Eight rules and 512 over the same lists.
pub(super) fn rules(title: &str, effort: Effort) -> Result<Measurement> {
    let (prefixes, numbers) = (generate::ipv4_prefixes(100_000), generate::numbers(100_000, 1));
    let lists = Lists::generated(100_000, 100_000);
    let comparison = Comparison {
        title,
        text: "The same lists as above; both policies use the same scopes.",
        entries: Entries::None,
        names: ["8 rules", "512 rules"],
        policies: [policies::some_rules(8, &lists), policies::some_rules(512, &lists)],
        calls: ordinary_calls(1 << 15, &prefixes, &numbers),
        target: ("512 rules instead of 8, same lists", 1.3),
    };
    compare(effort, comparison)
}

/// A thousand numbers and a million.
pub(super) fn numbers(title: &str, effort: Effort) -> Result<Measurement> {
    let (prefixes, numbers) = (generate::ipv4_prefixes(1000), generate::numbers(1_000_000, 1));
    let policy = |count| policies::some_rules(8, &Lists::generated(1000, count));
    let comparison = Comparison {
        title,
        text: "Eight rules. Each calling number is next to a number in the larger list. `lpm_number` and `hash_number` \
               only look up the calling number, in the kernel's maps with the larger list (`calling` is their baseline).",
        entries: Entries::Numbers(&numbers),
        names: ["1k numbers", "1M numbers"],
        policies: [policy(1000), policy(1_000_000)],
        calls: ordinary_calls(1 << 18, &prefixes, &numbers),
        target: ("1M numbers instead of 1k", 1.6),
    };
    compare(effort, comparison)
}

/// Eight rules, and the same with a limit of calls as a ninth, which no call exceeds.
pub(super) fn limits(title: &str, effort: Effort) -> Result<Measurement> {
    let (prefixes, numbers) = (generate::ipv4_prefixes(1000), generate::numbers(1000, 1));
    let lists = Lists::generated(1000, 1000);
    let names = ["without a limit", "with a limit"];
    let comparison = Comparison {
        title,
        text: "Eight rules, and these with a limit for each called number, which no call exceeds.",
        entries: Entries::None,
        names,
        policies: [policies::some_rules(8, &lists), policies::with_limit(policies::some_rules(8, &lists))],
        calls: ordinary_calls(1 << 15, &prefixes, &numbers),
        target: ("a limit", 100.0),
    };
    let (name, most) = comparison.target;
    let figures = measure(effort, comparison)?;
    let more = figures.over(names[1], names[0])?;
    Ok((figures.table, vec![Target::at_most(&format!("{name}, over the same verdict without"), more, most, " ns")]))
}

/// Two policies on the same calls.
struct Comparison<'a> {
    title: &'a str,
    text: &'a str,
    /// The entries of the kernel's own maps.
    entries: Entries<'a>,
    names: [&'a str; 2],
    policies: [Repository; 2],
    calls: Vec<Record>,
    target: (&'a str, f64),
}

fn compare(effort: Effort, comparison: Comparison<'_>) -> Result<Measurement> {
    let (names, (target, limit)) = (comparison.names, comparison.target);
    let figures = measure(effort, comparison)?;
    let ratio = figures.over_empty(names[1])? / figures.over_empty(names[0])?;
    Ok((figures.table, vec![Target::at_most(target, ratio, limit, " x").noted("whole verdicts over empty")]))
}

fn measure(effort: Effort, comparison: Comparison<'_>) -> Result<Figures> {
    let Comparison { title, text, entries, names, policies, calls, .. } = comparison;
    let packet = Packet::invite(4);
    let images = [policies[0].build()?, policies[1].build()?];
    let mut records = calls;
    for image in &images {
        records = passing(&Instance::load(image)?, &packet, records)?;
    }
    let instances = [Instance::load(&images[0])?, Instance::load(&images[1])?];
    let mut driver = Driver::new(&packet, &records, &entries)?;
    driver.add_own("empty")?;
    driver.add_own("copy_and_scan")?;
    if matches!(entries, Entries::Numbers(_)) {
        for own in ["calling", "lpm_number", "hash_number"] {
            driver.add_own(own)?;
        }
    }
    for (name, instance) in names.iter().zip(&instances) {
        driver.add(name, instance.program()?.fd()?)?;
        driver.expect(name, XDP_PASS)?;
    }
    let all = driver.measure(effort.rounds, effort.repeat / 2)?;
    let programs: Vec<_> = names.into_iter().zip(&instances).collect();
    for (name, instance) in &programs {
        expect_only(name, instance, Reason::DefaultPass)?;
    }
    let text = format!("{text} {} different calls, all of which pass.", thousands(records.len()));
    Figures::new(title, text, all, &programs, "copy_and_scan")
}
