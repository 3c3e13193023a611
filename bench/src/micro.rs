//! The cost of one packet, with BPF_PROG_TEST_RUN.
//!
//! Each group of figures has one driver (see `driver.rs`). It runs an empty program, the kernel's own maps or a bare copy
//! and scan, and Ringfence with one or more policies, in turn, round by round, on the same sequence of packets. Figures
//! "over empty" are the difference to the empty program of the same group.

use anyhow::{Context, Result, ensure};
use filter_core::{layout::Counter, reason::Reason};
use ringfence::kernel::Instance;

use crate::{
    arguments::Part,
    document::Section,
    driver::{self, Driver, Entries, Measured, Record, XDP_DROP, XDP_PASS},
    generate::{self, Packet, Prefix, Random},
    messages::{SCANNER, scanner_message},
    policies::{self, Lists, Repository},
    report::{Table, Target},
};

/// How much to run.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    pub rounds: u32,
    /// Runs per round. Groups with slower programs divide it, those with faster ones multiply it.
    pub repeat: u32,
}

/// The results of a group.
type Measurement = (Table, Vec<Target>);

type Measure = fn(&str, Effort) -> Result<Measurement>;

/// The groups, by title.
const GROUPS: [(&str, Measure); 9] = [
    ("A packet that is not for a signalling port", other_traffic),
    ("A source in a list of 1,000 IPv4 blocks", |title, effort| sources(title, 4, 1000, effort)),
    ("A source in a list of 100,000 IPv4 blocks", |title, effort| sources(title, 4, 100_000, effort)),
    ("A source in a list of 1,000,000 IPv4 blocks", |title, effort| sources(title, 4, 1_000_000, effort)),
    ("A source in a list of 100,000 IPv6 blocks", |title, effort| sources(title, 6, 100_000, effort)),
    ("A whole verdict over an INVITE of 895 bytes and 14 header lines", messages),
    ("A scanner's INVITE of 900 bytes", scanner),
    ("Eight rules and 512", rules),
    ("1,000 numbers and 1,000,000", numbers),
];

/// Measures all groups whose title contains `only`.
pub(crate) fn run(effort: Effort, only: &str, say: &dyn Fn(&Table)) -> Result<Section> {
    let _cpu = driver::OneCpu::stay()?;
    let mut tables = Vec::new();
    let mut targets = Vec::new();
    let mut add = |(table, mut new): Measurement| {
        say(&table);
        tables.push(table);
        targets.append(&mut new);
    };
    for (title, measure) in GROUPS {
        if title.contains(only) {
            add(measure(title, effort)?);
        }
    }
    Ok(Section {
        part: Part::Packet,
        title: "One packet",
        command: "cargo xtask bench packet",
        text: "Measured with BPF_PROG_TEST_RUN, in one process: the programs of a table take turns, round by round, on \
               the same sequence of packets. Figures are in nanoseconds, as counted by the kernel, which rounds them; \
               targets are judged by the minimum over the rounds. `empty` is a program that only returns. A driver \
               program writes the next source, calling and called number into the packet and tail-calls the program; \
               its cost is part of every figure, but not of the figures over `empty`.",
        tables,
        targets,
    })
}

const COLUMNS: [&str; 8] =
    ["program", "minimum ns", "median ns", "over empty", "median over empty", "verified", "translated", "jited bytes"];

/// The rows of measured programs.
struct Figures {
    table: Table,
    all: Vec<Measured>,
}

impl Figures {
    fn new(
        title: impl Into<String>,
        text: impl Into<String>,
        all: Vec<Measured>,
        programs: &[(&str, &Instance)],
    ) -> Result<Self> {
        let mut table = Table::new(title, text, &COLUMNS);
        for measured in &all {
            let empty = &all[0];
            let mut cells = vec![
                measured.name.clone(),
                format!("{:.0}", measured.minimum()),
                format!("{:.0}", measured.median()),
                format!("{:.0}", measured.minimum() - empty.minimum()),
                format!("{:.0}", measured.median() - empty.median()),
            ];
            match programs.iter().find(|(name, _)| *name == measured.name) {
                Some((_, instance)) => {
                    let info = instance.program()?.info()?;
                    let count = |count: Option<u32>| count.map_or_else(|| "?".to_owned(), |count| count.to_string());
                    cells.push(count(info.verified_instruction_count()));
                    cells.push(count(info.size_translated().map(|bytes| bytes / 8)));
                    cells.push(info.size_jitted().to_string());
                }
                None => cells.extend(["", "", ""].map(str::to_owned)),
            }
            table.row(cells);
        }
        Ok(Self { table, all })
    }

    /// The difference between a program and the empty one.
    fn over_empty(&self, name: &str) -> Result<f64> {
        let measured = self.all.iter().find(|measured| measured.name == name);
        Ok(measured.with_context(|| format!("{name} was not measured"))?.minimum() - self.all[0].minimum())
    }

    /// The difference between a look-up and the program that only extracts the key.
    fn over(&self, name: &str, base: &str) -> Result<f64> {
        Ok(self.over_empty(name)? - self.over_empty(base)?)
    }
}

/// The number of packets with a reason so far.
fn count(instance: &Instance, reason: Reason) -> Result<u64> {
    let table = instance.table("REASON_COUNTERS").context("the program counts no reasons")?;
    Ok(table.per_cpu::<Counter>(u32::from(reason.number()))?.iter().map(|counter| counter.packets).sum())
}

/// Fails unless every packet so far was decided for this reason. This makes sure that the table describes what was measured.
fn expect_only(name: &str, instance: &Instance, reason: Reason) -> Result<()> {
    let mut all = 0;
    for other in Reason::ALL {
        all += count(instance, other)?;
    }
    let found = count(instance, reason)?;
    ensure!(found == all && all > 0, "{name}: {found} of {all} packets were decided for the reason {}", reason.name());
    Ok(())
}

/// Packets that are not for a signalling port.
fn other_traffic(title: &str, effort: Effort) -> Result<Measurement> {
    let instance = Instance::load(&policies::all_scopes(&Lists::generated(1000, 1000)).build()?)?;
    let rtp = [[0x80, 0, 0, 1, 0, 0, 0, 160, 1, 2, 3, 4].as_slice(), &[0x55; 160]].concat();
    let packets = [
        ("RTP over IPv4", generate::udp(4, 49_172, &rtp)),
        ("RTP over IPv6", generate::udp(6, 49_172, &rtp)),
        ("TCP segment over IPv4", generate::tcp(4, 443, &[0x17; 1000])),
        ("TCP segment over IPv6", generate::tcp(6, 443, &[0x17; 1000])),
        ("ARP", [[0xff; 12].as_slice(), &[8, 6], &[0; 46]].concat()),
    ];
    let mut table = Table::new(
        title,
        "64 rules over all scopes. The packet is always the same: its path through the filter does not depend on its \
         contents.",
        &["packet", "empty ns", "ringfence ns", "over empty", "median over empty"],
    );
    let mut worst: f64 = 0.0;
    for (name, frame) in packets {
        let mut driver =
            Driver::new(&Packet::fixed(frame), &[driver::record(0, [b'0'; 10], [b'0'; 10])], &Entries::None)?;
        driver.add_own("empty")?;
        driver.add("ringfence", instance.program()?.fd()?)?;
        driver.expect("ringfence", XDP_PASS)?;
        let all = driver.measure(effort.rounds, effort.repeat * 4)?;
        let over = all[1].minimum() - all[0].minimum();
        worst = worst.max(over);
        table.row([
            name.to_owned(),
            format!("{:.0}", all[0].minimum()),
            format!("{:.0}", all[1].minimum()),
            format!("{over:.0}"),
            format!("{:.0}", all[1].median() - all[0].median()),
        ]);
    }
    expect_only("ringfence", &instance, Reason::NotSignalling)?;
    let target = Target::at_most("packet not for a signalling port, over an empty program", worst, 6.0, " ns");
    Ok((table, vec![target.noted("the most expensive kind of packet")]))
}

/// Records for the driver.
fn records(count: usize, mut make: impl FnMut(&mut Random) -> Record) -> Vec<Record> {
    let mut random = Random::new(99);
    (0..count).map(|_| make(&mut random)).collect()
}

const ANY: [u8; 10] = *b"2125550100";

/// A list of blocked sources.
fn sources(title: &str, version: u8, entries: usize, effort: Effort) -> Result<Measurement> {
    let prefixes = if version == 4 { generate::ipv4_prefixes(entries) } else { generate::ipv6_prefixes(entries) };
    let image = policies::block_list(generate::address_list(&prefixes, version)).build()?;
    let instance = Instance::load(&image)?;
    let records = records((4 * entries).next_power_of_two().min(1 << 20), |random| {
        let prefix: Prefix = random.one_of(&prefixes);
        driver::record(prefix.address(random), ANY, ANY)
    });
    let kernel = if version == 4 { Entries::Ipv4(&prefixes) } else { Entries::Ipv6(&prefixes) };
    let mut driver = Driver::new(&Packet::invite(version), &records, &kernel)?;
    let [base, lpm, hash] = ["source", "lpm", "hash"].map(|name| format!("{name}_ipv{version}"));
    driver.add_own("empty")?;
    driver.add_own(&base)?;
    driver.add_own(&lpm)?;
    driver.add_own(&hash)?;
    driver.add("ringfence", instance.program()?.fd()?)?;
    driver.expect(&lpm, XDP_DROP)?;
    driver.expect("ringfence", XDP_DROP)?;
    let all = driver.measure(effort.rounds, effort.repeat)?;
    expect_only("ringfence", &instance, Reason::RuleDrop)?;
    let figures = Figures::new(
        title,
        format!(
            "Every packet comes from another address of the list ({} of them in random order), and is dropped. `lpm` and \
             `hash` are only look-ups, in the kernel's LPM_TRIE with the same entries and in a HASH with one address of \
             each; `ringfence` is the whole verdict, from the Ethernet header to the counted drop.",
            thousands(records.len())
        ),
        all,
        &[("ringfence", &instance)],
    )?;
    let whole = figures.over_empty("ringfence")?;
    let against = whole / figures.over(&lpm, &base)?;
    let name = format!("source in a list of {} mixed IPv{version} prefixes, dropped", thousands(entries));
    let targets = match (version, entries) {
        (4, 1000) => vec![Target::at_most(&format!("{name}, over empty"), whole, 25.0, " ns")],
        (4, 100_000) => vec![],
        (4, _) => vec![Target::at_most(&format!("{name}, against LPM_TRIE's look-up alone"), against, 0.2, " x")],
        _ => vec![Target::at_most(&format!("{name}, against LPM_TRIE's look-up alone"), against, 0.35, " x")],
    };
    Ok((figures.table, targets))
}

/// Calls that no list matches, though each look-up goes as deep as the list does: a quarter come from trunks, the others
/// from addresses next to blocked ones; calling numbers are next to listed ones, called numbers are random.
fn ordinary_calls(count: usize, prefixes: &[Prefix], listed: &[[u8; 10]]) -> Vec<Record> {
    let set: std::collections::HashSet<_> = listed.iter().collect();
    let called = generate::numbers(100_000, 2);
    records(count, |random| {
        let source = if random.below(4) == 0 {
            (198 << 24 | 18 << 16 | random.below(1 << 16) as u128) << 96
        } else {
            let near = (random.one_of(prefixes).bits >> 96) as u32 ^ (0x100 << random.below(4));
            u128::from(near) << 96
        };
        let calling = loop {
            let mut number: [u8; 10] = random.one_of(listed);
            number[9] = b'0' + random.below(10) as u8;
            if !set.contains(&number) {
                break number;
            }
        };
        driver::record(source, calling, random.one_of(&called))
    })
}

/// The calls that the policy passes: generated neighbours may be in another block.
fn passing(instance: &Instance, packet: &Packet, records: Vec<Record>) -> Result<Vec<Record>> {
    let wanted = records.len();
    let mut frame = packet.frame.clone();
    let mut left = Vec::with_capacity(wanted);
    for record in records {
        frame[packet.source..packet.source + 4].copy_from_slice(&record.source[..4]);
        for (places, digits) in [(packet.calling, record.calling), (packet.called, record.called)] {
            for place in places {
                frame[place..place + 10].copy_from_slice(&digits);
            }
        }
        if instance.run(&frame)?.action == XDP_PASS {
            left.push(record);
        }
    }
    ensure!(left.len() * 2 > wanted, "only {} of {wanted} calls pass", left.len());
    left.truncate(1 << left.len().ilog2());
    Ok(left)
}

/// A whole verdict over a message.
fn messages(title: &str, effort: Effort) -> Result<Measurement> {
    let (prefixes, numbers) = (generate::ipv4_prefixes(100_000), generate::numbers(100_000, 1));
    let repository = policies::all_scopes(&Lists::generated(100_000, 100_000));
    let loading = Instance::load(&repository.build()?)?;
    let packet = Packet::invite(4);
    let records = passing(&loading, &packet, ordinary_calls(1 << 15, &prefixes, &numbers))?;
    let instance = Instance::load(&repository.build()?)?;
    let sample = Instance::load(&policies::sample()?)?;
    let mut driver = Driver::new(&packet, &records, &Entries::None)?;
    for own in ["empty", "copy", "copy_and_scan", "copy_and_scan_unrolled"] {
        driver.add_own(own)?;
    }
    driver.add("sample policy", sample.program()?.fd()?)?;
    driver.add("64 rules", instance.program()?.fd()?)?;
    driver.expect("64 rules", XDP_PASS)?;
    let all = driver.measure(effort.rounds, effort.repeat / 2)?;
    expect_only("64 rules", &instance, Reason::DefaultPass)?;
    let figures = Figures::new(
        title,
        format!(
            "64 rules over all scopes, 100,000 blocked sources, 100,000 Do-Not-Originate numbers and 10,000 prefixes, 50 \
             user-agent patterns. Every packet is another call ({} of them, with different source, calling and called \
             numbers), and passes. `copy_and_scan` copies the message into per-CPU memory and finds its header lines, \
             and does nothing else: no Ethernet, IP or UDP header, no compact names, no values, no look-ups. \
             `copy_and_scan_unrolled` does the same \
             without `bpf_loop`, whose steps are calls. The verdict is compared with the faster of the two.",
            thousands(records.len())
        ),
        all,
        &[("64 rules", &instance), ("sample policy", &sample)],
    )?;
    let verdict = figures.over_empty("64 rules")?;
    let (looped, unrolled) = (figures.over_empty("copy_and_scan")?, figures.over_empty("copy_and_scan_unrolled")?);
    let name = "whole verdict over an 895-byte INVITE, 64 rules over all scopes, against a bare copy and scan";
    let note = format!("over empty, against the faster scan; {:.1} x the one with bpf_loop", verdict / looped);
    Ok((figures.table, vec![Target::at_most(name, verdict / looped.min(unrolled), 2.5, " x").noted(note)]))
}

/// The packet of a flood, which is dropped for its user agent before the rest is read.
fn scanner(title: &str, effort: Effort) -> Result<Measurement> {
    let mut frame = generate::udp(4, 5060, scanner_message().as_bytes());
    frame[26..30].copy_from_slice(&SCANNER.octets());
    let packet = Packet::fixed(frame);
    let sample = Instance::load(&policies::sample()?)?;
    let large = Instance::load(&policies::all_scopes(&Lists::generated(100_000, 100_000)).build()?)?;
    let mut driver = Driver::new(&packet, &[driver::record(0, ANY, ANY)], &Entries::None)?;
    for own in ["empty", "copy", "copy_and_scan", "copy_and_scan_unrolled"] {
        driver.add_own(own)?;
    }
    let programs = [("sample policy", &sample), ("64 rules", &large)];
    for (name, instance) in programs {
        driver.add(name, instance.program()?.fd()?)?;
        driver.expect(name, XDP_DROP)?;
    }
    let all = driver.measure(effort.rounds, effort.repeat / 2)?;
    for (name, instance) in programs {
        expect_only(name, instance, Reason::RuleDrop)?;
    }
    let text = "The packet of the flood below, always the same: it is dropped for its user agent, before its URIs and \
    numbers are read. The policies are those of the flood.";
    let figures = Figures::new(title, text, all, &programs)?;
    Ok((figures.table, vec![]))
}

/// Eight rules and 512 over the same lists.
fn rules(title: &str, effort: Effort) -> Result<Measurement> {
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
fn numbers(title: &str, effort: Effort) -> Result<Measurement> {
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
    let Comparison { title, text, entries, names, policies, calls, target: (target, limit) } = comparison;
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
    let figures = Figures::new(title, text, all, &programs)?;
    let ratio = figures.over_empty(names[1])? / figures.over_empty(names[0])?;
    Ok((figures.table, vec![Target::at_most(target, ratio, limit, " x").noted("whole verdicts over empty")]))
}

/// A number with a comma after every three digits from the right, such as `1,234,567`.
pub(crate) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
