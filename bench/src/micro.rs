//! The cost of one packet, with BPF_PROG_TEST_RUN.
//!
//! Each group of figures has one driver (see `driver.rs`). It runs an empty program, the kernel's own maps or a bare copy
//! and scan, and Ringfence with one or more policies, in turn, round by round, on the same sequence of packets. Figures
//! "over empty" are the difference to the empty program of the same group.

mod agents;
mod calls;
mod pairs;
mod reports;
pub(crate) mod verdicts;

use anyhow::{Context, Result, ensure};
use filter_core::{layout::InterfaceCounts, reason::Reason};
use ringfence::kernel::Instance;

use crate::{
    arguments::Part,
    document::Section,
    driver::{self, Driver, Entries, Measured, Record, XDP_DROP, XDP_PASS},
    generate::{self, Packet, Prefix, Random},
    machine::Kind,
    policies::{self, Lists},
    report::{Table, Target},
    results::{Cost, Costs},
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
const GROUPS: [(&str, Measure); 13] = [
    ("A packet that is not for a signalling port", other_traffic),
    ("A source in a list of 1,000 IPv4 blocks", |title, effort| sources(title, 4, 1000, effort)),
    ("A source in a list of 100,000 IPv4 blocks", |title, effort| sources(title, 4, 100_000, effort)),
    ("A source in a list of 1,000,000 IPv4 blocks", |title, effort| sources(title, 4, 1_000_000, effort)),
    ("A source in a list of 100,000 IPv6 blocks", |title, effort| sources(title, 6, 100_000, effort)),
    ("A whole verdict over an INVITE of 895 bytes and 14 header lines", verdicts::cold),
    ("The same with one call again and again", verdicts::hot),
    ("A scanner's INVITE of 900 bytes", verdicts::scanner),
    ("The worst user agent", agents::worst),
    ("Eight rules and 512", pairs::rules),
    ("1,000 numbers and 1,000,000", pairs::numbers),
    ("A limit", pairs::limits),
    ("A packet that is reported, and one that is not", reports::listeners),
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

const COLUMNS: [&str; 9] = [
    "program",
    "minimum ns",
    "median ns",
    "over empty",
    "median over empty",
    "instructions over empty",
    "verified",
    "translated",
    "jited bytes",
];

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
        baseline: &str,
    ) -> Result<Self> {
        let mut table = Table::new(title, text, &COLUMNS);
        let cost = |measured: &Measured| Cost {
            name: measured.name.clone(),
            nanoseconds: measured.minimum() - all[0].minimum(),
            ringfence: programs.iter().any(|(name, _)| *name == measured.name),
        };
        table.costs = Some(Costs {
            title: table.title.clone(),
            baseline: baseline.to_owned(),
            rows: all.iter().skip(1).map(cost).collect(),
        });
        for measured in &all {
            let empty = &all[0];
            let mut cells = vec![
                measured.name.clone(),
                format!("{:.0}", measured.minimum()),
                format!("{:.0}", measured.median()),
                format!("{:.0}", measured.minimum() - empty.minimum()),
                format!("{:.0}", measured.median() - empty.median()),
                measured.instructions.zip(empty.instructions).map_or_else(
                    || "not counted here".to_owned(),
                    |(instructions, empty)| format!("{:.0}", instructions - empty),
                ),
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
    let mut packets = 0;
    for slot in 0..table.len() {
        let cpus = table.per_cpu::<InterfaceCounts>(slot)?;
        packets += cpus.iter().map(|counts| counts.reasons[usize::from(reason.number())].packets).sum::<u64>();
    }
    Ok(packets)
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
    let mut costs = Costs { title: title.to_owned(), baseline: "empty".to_owned(), rows: Vec::new() };
    for (name, frame) in packets {
        let mut driver =
            Driver::new(&Packet::fixed(frame), &[driver::record(0, [b'0'; 10], [b'0'; 10])], &Entries::None)?;
        driver.add_own("empty")?;
        driver.add("ringfence", instance.program()?.fd()?)?;
        driver.expect("ringfence", XDP_PASS)?;
        let all = driver.measure(effort.rounds, effort.repeat * 4)?;
        let over = all[1].minimum() - all[0].minimum();
        worst = worst.max(over);
        if costs.rows.is_empty() {
            costs.rows.push(Cost { name: "empty".to_owned(), nanoseconds: all[0].minimum(), ringfence: false });
        }
        costs.rows.push(Cost { name: name.to_owned(), nanoseconds: over, ringfence: true });
        table.row([
            name.to_owned(),
            format!("{:.0}", all[0].minimum()),
            format!("{:.0}", all[1].minimum()),
            format!("{over:.0}"),
            format!("{:.0}", all[1].median() - all[0].median()),
        ]);
    }
    table.costs = Some(costs);
    expect_only("ringfence", &instance, Reason::NotSignalling)?;
    let target = Target::at_most("packet not for a signalling port, over an empty program", worst, 4.0, " ns");
    Ok((table, vec![target.noted("the most expensive kind of packet").on(Kind::NoSafeRet)]))
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
        &lpm,
    )?;
    let whole = figures.over_empty("ringfence")?;
    let against = whole / figures.over(&lpm, &base)?;
    let name = format!("source in a list of {} mixed IPv{version} prefixes, dropped", thousands(entries));
    let targets = match (version, entries) {
        (4, 1000) => vec![Target::at_most(&format!("{name}, over empty"), whole, 20.0, " ns").on(Kind::NoSafeRet)],
        (4, 100_000) => vec![],
        (4, _) => vec![Target::at_most(&format!("{name}, against LPM_TRIE's look-up alone"), against, 0.2, " x")],
        _ => vec![Target::at_most(&format!("{name}, against LPM_TRIE's look-up alone"), against, 0.35, " x")],
    };
    Ok((figures.table, targets))
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
