//! Runs programs in the kernel side by side, on the same sequence of packets.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aya::{
    Ebpf, EbpfLoader, Pod, TestRun as _, TestRunOptions,
    maps::{Array, HashMap, LpmTrie, Map, MapData, PerCpuArray, ProgramArray, lpm_trie::Key},
    programs::{ProgramFd, Xdp, XdpMode},
};
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use zerocopy::IntoBytes;

use crate::{
    generate::{Packet, Prefix},
    instructions::Instructions,
};

#[path = "../../bench-ebpf/src/layout.rs"]
mod layout;

use layout::Plan;
pub(crate) use layout::Record;

/// XDP actions, `include/uapi/linux/bpf.h`.
pub(crate) const XDP_DROP: u32 = 1;
pub(crate) const XDP_PASS: u32 = 2;

/// The ELF object of the crate `bench-ebpf`, aligned as an ELF reader needs it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/bench.bpf.o"));

/// The values of a run. `source` is left-aligned, like a prefix.
pub(crate) fn record(source: u128, calling: [u8; 10], called: [u8; 10]) -> Record {
    let [a, b, c, d, e, f, g, h] = number_key(&calling);
    let key = [[a, b, c, d], [e, f, g, h]].map(u32::from_ne_bytes);
    Record { source: source.to_be_bytes(), calling, called, key }
}

/// A number packed as the engine looks it up: country code 1 and ten digits in BCD, and a terminator.
fn number_key(digits: &[u8; 10]) -> [u8; 8] {
    let packed = digits.iter().fold(1u64, |packed, digit| packed << 4 | u64::from(digit - b'0'));
    (packed << 20 | 0xf << 16).to_be_bytes()
}

/// The entries of the kernel's own maps.
pub(crate) enum Entries<'a> {
    None,
    Ipv4(&'a [Prefix]),
    Ipv6(&'a [Prefix]),
    Numbers(&'a [[u8; 10]]),
}

/// The program that prepares packets, and the programs that it passes them to.
pub(crate) struct Driver {
    ebpf: Ebpf,
    frame: Vec<u8>,
    cases: Vec<(String, ProgramFd)>,
    program: ProgramArray<MapData>,
    next: Array<MapData, u32>,
    /// Kept open while programs that use it are loaded.
    _records: Array<MapData, [u8; size_of::<Record>()]>,
}

/// The time that a program took per packet.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub name: String,
    /// Nanoseconds per run in each round, sorted. The kernel rounds them.
    rounds: Vec<f64>,
    /// The fewest instructions per run, those of the driver included; `None` if nothing counts them here.
    pub instructions: Option<f64>,
}

impl Measured {
    /// The rounds of a program, of which there must be one at least.
    pub(crate) fn new(name: &str, mut rounds: Vec<f64>) -> Self {
        rounds.sort_by(f64::total_cmp);
        Self { name: name.to_owned(), rounds, instructions: None }
    }

    pub(crate) fn minimum(&self) -> f64 {
        self.rounds[0]
    }

    pub(crate) fn median(&self) -> f64 {
        self.rounds[self.rounds.len() / 2]
    }
}

impl Driver {
    /// Loads the driver for this packet. Each run uses the next record; the number of records must be a power of two.
    pub(crate) fn new(packet: &Packet, records: &[Record], entries: &Entries<'_>) -> Result<Self> {
        ensure!(records.len().is_power_of_two(), "the number of records is not a power of two");
        let [calling, called] = [packet.calling, packet.called].map(|places| places.map(|place| place as u32));
        let plan = Plan {
            records: records.len() as u32,
            source: packet.source as u32,
            source_length: packet.source_length as u32,
            calling,
            called,
        };
        let mut loader = EbpfLoader::new();
        loader.override_global("PLAN", plan.as_bytes(), true);
        loader.map_max_entries("RECORDS", records.len() as u32);
        let (maps, count): (&[_], _) = match entries {
            Entries::None => (&[], 0),
            Entries::Ipv4(prefixes) => (&["LPM_IPV4", "HASH_IPV4"], prefixes.len()),
            Entries::Ipv6(prefixes) => (&["LPM_IPV6", "HASH_IPV6"], prefixes.len()),
            Entries::Numbers(numbers) => (&["LPM_NUMBER", "HASH_NUMBER"], numbers.len()),
        };
        for map in maps {
            loader.map_max_entries(map, count as u32);
        }
        let mut ebpf = loader.load(OBJECT).context("failed to load the programs for comparison")?;
        let take = |ebpf: &mut Ebpf, name: &str| ebpf.take_map(name).with_context(|| format!("there is no map {name}"));
        let mut array: Array<_, [u8; size_of::<Record>()]> = take(&mut ebpf, "RECORDS")?.try_into()?;
        for (index, record) in (0..).zip(records) {
            let bytes: [u8; size_of::<Record>()] = record.as_bytes().try_into()?;
            array.set(index, bytes, 0)?;
        }
        fill(&mut ebpf, entries)?;
        let target = take(&mut ebpf, "PROGRAM")?.try_into()?;
        let next = take(&mut ebpf, "NEXT")?.try_into()?;
        program(&mut ebpf, "drive")?;
        Ok(Self { ebpf, frame: packet.frame.clone(), cases: Vec::new(), program: target, next, _records: array })
    }

    /// Passes the packets of the runs to come to this program, beginning with the first record. Returns the program that
    /// does so.
    pub(crate) fn direct(&mut self, target: &ProgramFd) -> Result<&Xdp> {
        self.program.set(0, target, 0).context("failed to direct packets to the program")?;
        self.next.set(0, 0, 0)?;
        program(&mut self.ebpf, "drive").map(|program| &*program)
    }

    /// A program of `bench-ebpf`, loaded.
    pub(crate) fn own(&mut self, name: &str) -> Result<ProgramFd> {
        Ok(program(&mut self.ebpf, name)?.fd()?.try_clone()?)
    }

    /// Adds a program of `bench-ebpf` to the measured ones.
    pub(crate) fn add_own(&mut self, name: &str) -> Result<()> {
        self.add_own_as(name, name)
    }

    /// The same, under another name.
    pub(crate) fn add_own_as(&mut self, name: &str, called: &str) -> Result<()> {
        let fd = self.own(name)?;
        self.add(called, &fd)
    }

    /// Adds a program to the measured ones.
    pub(crate) fn add(&mut self, name: &str, program: &ProgramFd) -> Result<()> {
        self.cases.push((name.to_owned(), program.try_clone()?));
        Ok(())
    }

    /// Runs a program, starting with record `first`. Returns the action of the last run, and the time per run.
    fn run(&mut self, case: usize, repeat: u32, first: u32) -> Result<(u32, Duration)> {
        let (name, target) = &self.cases[case];
        self.program.set(0, target, 0).with_context(|| format!("failed to direct packets to {name}"))?;
        self.next.set(0, first, 0)?;
        let drive = program(&mut self.ebpf, "drive")?;
        let options = TestRunOptions { data_in: Some(&self.frame), repeat, ..TestRunOptions::default() };
        let result = drive.test_run(options).with_context(|| format!("failed to run {name}"))?;
        Ok((result.return_value, result.duration))
    }

    /// Runs the first program, without measuring it.
    pub(crate) fn run_first(&mut self, repeat: u32) -> Result<()> {
        self.run(0, repeat, 0).map(|_| ())
    }

    /// Fails unless the program takes this action for each of the first records.
    pub(crate) fn expect(&mut self, name: &str, action: u32) -> Result<()> {
        let case =
            self.cases.iter().position(|(case, _)| case == name).with_context(|| format!("there is no {name}"))?;
        for record in 0..100 {
            let (found, _) = self.run(case, 1, record)?;
            if found != action {
                bail!("{name} returned XDP action {found} instead of {action} for record {record}");
            }
        }
        Ok(())
    }

    /// Runs all programs in turn, `rounds` times, after a round to warm up.
    pub(crate) fn measure(&mut self, rounds: u32, repeat: u32) -> Result<Vec<Measured>> {
        let counter = Instructions::start();
        let count = || counter.as_ref().map(Instructions::read).transpose();
        let mut all = vec![Vec::new(); self.cases.len()];
        let mut fewest: Vec<Option<f64>> = vec![None; self.cases.len()];
        for round in 0..=rounds {
            for case in 0..self.cases.len() {
                let before = count()?;
                let (_, duration) = self.run(case, if round == 0 { repeat / 4 + 1 } else { repeat }, 0)?;
                if round > 0 {
                    all[case].push(duration.as_nanos() as f64);
                    let instructions = before.zip(count()?).map(|(then, now)| (now - then) as f64 / f64::from(repeat));
                    fewest[case] = [fewest[case], instructions].into_iter().flatten().reduce(f64::min);
                }
            }
        }
        let results = self.cases.iter().zip(all).zip(fewest);
        let results =
            results.map(|(((name, _), rounds), instructions)| Measured { instructions, ..Measured::new(name, rounds) });
        Ok(results.collect())
    }
}

/// A program of the object, loaded if necessary.
pub(crate) fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program: &mut Xdp =
        ebpf.program_mut(name).with_context(|| format!("there is no program {name}"))?.try_into()?;
    if program.fd().is_err() {
        program.load().with_context(|| format!("failed to load {name}"))?;
    }
    Ok(program)
}

/// Loads one of the programs, by itself.
pub(crate) fn load(name: &str) -> Result<Ebpf> {
    let mut ebpf = Ebpf::load(OBJECT).context("failed to load the programs for comparison")?;
    program(&mut ebpf, name)?;
    Ok(ebpf)
}

/// The packets that a program which counts them has dropped so far.
pub(crate) fn dropped(ebpf: &Ebpf) -> Result<u64> {
    let map = ebpf.map("DROPPED").context("there is no map DROPPED")?;
    let counts: PerCpuArray<_, u64> = map.try_into()?;
    Ok(counts.get(&0, 0)?.iter().sum())
}

/// Puts one of the programs on an interface of this thread's network namespace; it goes when what is returned is dropped.
pub(crate) fn attach(name: &str, interface: &str) -> Result<Ebpf> {
    let mut ebpf = load(name)?;
    let program = program(&mut ebpf, name)?;
    program.attach(interface, XdpMode::Driver).with_context(|| format!("failed to attach {name} to {interface}"))?;
    Ok(ebpf)
}

/// Fills the kernel's own maps: LPM_TRIE with the entries, HASH with one address or number of each, since a hash cannot
/// hold a whole block.
fn fill(ebpf: &mut Ebpf, entries: &Entries<'_>) -> Result<()> {
    let ipv4 = |prefix: &Prefix| (((prefix.bits >> 96) as u32).to_be_bytes(), prefix.length);
    let ipv6 = |prefix: &Prefix| (prefix.bits.to_be_bytes(), prefix.length);
    let number = |number: &[u8; 10]| (number_key(number), 48);
    match entries {
        Entries::None => {}
        Entries::Ipv4(prefixes) => fill_maps(ebpf, "IPV4", prefixes.iter().map(ipv4))?,
        Entries::Ipv6(prefixes) => fill_maps(ebpf, "IPV6", prefixes.iter().map(ipv6))?,
        Entries::Numbers(numbers) => fill_maps(ebpf, "NUMBER", numbers.iter().map(number))?,
    }
    Ok(())
}

fn fill_maps<K: Pod>(ebpf: &mut Ebpf, kind: &str, entries: impl Iterator<Item = (K, u32)> + Clone) -> Result<()> {
    let mut lpm: LpmTrie<_, K, u32> = map(ebpf, &format!("LPM_{kind}"))?.try_into()?;
    for (key, length) in entries.clone() {
        lpm.insert(&Key::new(length, key), 1, 0)?;
    }
    let mut hash: HashMap<_, K, u32> = map(ebpf, &format!("HASH_{kind}"))?.try_into()?;
    for (key, _) in entries {
        hash.insert(key, 1, 0)?;
    }
    Ok(())
}

fn map<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Map> {
    ebpf.map_mut(name).with_context(|| format!("there is no map {name}"))
}

/// Keeps this thread on one CPU, so that per-CPU memory stays in one cache. Dropping it allows all CPUs again.
pub(crate) struct OneCpu(CpuSet);

impl OneCpu {
    pub(crate) fn stay() -> Result<Self> {
        let all = sched_getaffinity(None).context("failed to get this thread's CPUs")?;
        let mut one = CpuSet::new();
        one.set(sched_getcpu());
        sched_setaffinity(None, &one).context("failed to stay on one CPU")?;
        Ok(Self(all))
    }
}

impl Drop for OneCpu {
    fn drop(&mut self) {
        // This can only fail if the CPUs are no longer allowed. Then the rest is slower, but not wrong.
        let _ = sched_setaffinity(None, &self.0);
    }
}
