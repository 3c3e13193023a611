//! A loaded program with a policy's maps.

use std::{os::fd::AsFd as _, path::PathBuf, time::Duration};

use aya::{
    Ebpf, EbpfLoader, TestRun as _, TestRunOptions, VerifierLogLevel,
    maps::MapData,
    programs::{ProgramFd, Xdp},
};
use filter_core::{
    layout::{Dfa, NO_RULE, ROOT_PIECES, RootPiece, Roots},
    scratch::{Kind, Scratch},
};
use jiff::Timestamp;
use zerocopy::IntoBytes as _;

use super::{Error, OBJECT, Pins, bans, bpf, error::Context as _, host, pins, table::Table};
use filter_policy::image::Image;

/// The program's name in the object.
const PROGRAM: &str = "ringfence";

/// Maps that belong to one generation. They are filled from its image.
const POLICY_MAPS: [&str; 8] =
    ["ROOTS", "NODES", "LEAVES", "ADDRESS_CLASSES", "NUMBER_CLASSES", "ROWS", "RULES", "DFAS"];

/// Maps that all generations share, and that outlive the daemon.
const SHARED_MAPS: [&str; 12] = [
    "RULE_COUNTERS",
    "REASON_COUNTERS",
    "EVENTS",
    "OBSERVATION",
    "OBSERVED",
    "SAMPLES",
    "CAPTURES",
    "FRAGMENTS",
    "FLOWS",
    "BANS",
    "BAN_LENGTHS",
    "RATES",
];

/// The engine's working memory: one value per CPU, created for each program.
const SCRATCH: &str = "SCRATCH";

/// The shared maps that every program has.
const REQUIRED: [&str; 3] = ["RULE_COUNTERS", "REASON_COUNTERS", "EVENTS"];

/// A loaded program with its own maps, which is not attached to any interface. Its counters and its state are not shared.
/// [`Instance::run`] runs packets through it.
#[derive(Debug)]
pub struct Instance {
    ebpf: Ebpf,
    tables: Vec<(&'static str, Table)>,
    scratch: Table,
}

/// The result for a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The XDP action it returned.
    pub action: u32,
    /// How long it ran, measured by the kernel.
    pub duration: Duration,
}

impl Instance {
    /// Loads the program with the policy's configuration, and fills its maps. The rules count in the slots that the image
    /// specifies.
    ///
    /// # Errors
    /// No permission, not enough memory, or the verifier rejects the program.
    pub fn load(image: &Image) -> Result<Self, Error> {
        Self::load_logging(image, VerifierLogLevel::default())
    }

    /// Like [`Instance::load`]. If the verifier rejects the program, [`Error::Verifier`] has the end of a log of this
    /// level. With only [`VerifierLogLevel::STATS`], a rejection takes a tenth of the time.
    ///
    /// # Errors
    /// As for [`Instance::load`].
    pub fn load_logging(image: &Image, level: VerifierLogLevel) -> Result<Self, Error> {
        let mut instance = Self::new(image, &[], level)?;
        fill(&instance.tables, image)?;
        instance.load_program()?;
        Ok(instance)
    }

    /// An instance that uses these policy maps, and its own copies of the other ones. Its program is not loaded yet.
    pub(super) fn with_maps(image: &Image, maps: &PolicyMaps) -> Result<Self, Error> {
        Self::new(image, &maps.pins, VerifierLogLevel::default())
    }

    fn new(image: &Image, pinned: &[(&'static str, PathBuf)], level: VerifierLogLevel) -> Result<Self, Error> {
        host::check()?;
        let mut ebpf = load_object(image, pinned, level)?;
        let mut tables = Vec::new();
        for name in POLICY_MAPS.into_iter().chain(SHARED_MAPS) {
            match ebpf.take_map(name) {
                Some(map) => tables.push((name, Table::from_map(name, map)?)),
                None if POLICY_MAPS.contains(&name) || REQUIRED.contains(&name) => {
                    return Err(Error::Internal(format!("the program has no map {name}")));
                }
                None => {}
            }
        }
        let scratch =
            ebpf.take_map(SCRATCH).ok_or_else(|| Error::Internal(format!("the program has no map {SCRATCH}")))?;
        let scratch = Table::from_map(SCRATCH, scratch)?;
        // Its bans are its own, and only its rules make them.
        if let Some((_, lengths)) = tables.iter().find(|(name, _)| *name == bans::LENGTHS) {
            lengths.set(0, &image.config.ban_lengths)?;
        }
        Ok(Self { ebpf, tables, scratch })
    }

    /// Loads the program into the kernel: the verifier checks it.
    pub(super) fn load_program(&mut self) -> Result<(), Error> {
        Ok(xdp(&mut self.ebpf)?.load()?)
    }

    /// Runs one packet, which starts with its Ethernet header, through the program.
    ///
    /// # Errors
    /// The packet has fewer than 14 bytes, which the kernel does not accept, or too many.
    pub fn run(&self, packet: &[u8]) -> Result<Run, Error> {
        let program = self.program()?;
        let result = program
            .test_run(TestRunOptions { data_in: Some(packet), repeat: 1, ..TestRunOptions::default() })
            .context(|| "run a packet through the program".to_owned())?;
        Ok(Run { action: result.return_value, duration: result.duration })
    }

    /// Runs one packet, and returns what the engine read in it. Only one caller at a time may use this.
    ///
    /// # Errors
    /// As for [`Instance::run`].
    pub fn read(&self, packet: &[u8]) -> Result<Box<Scratch>, Error> {
        self.run_and_read(packet).map(|(_, scratch)| scratch)
    }

    /// Runs one packet, and returns the result and what the engine read in it. Only one caller at a time may use this.
    ///
    /// # Errors
    /// As for [`Instance::run`].
    pub fn run_and_read(&self, packet: &[u8]) -> Result<(Run, Box<Scratch>), Error> {
        let counts = |cpus: Vec<Scratch>| cpus.iter().map(|scratch| scratch.sequence).collect::<Vec<_>>();
        let before = counts(self.scratch.per_cpu::<Scratch>(0)?);
        let run = self.run(packet)?;
        // The program ran on one of the CPUs: the one whose count has increased.
        let after = self.scratch.per_cpu::<Scratch>(0)?;
        let fresh = after.iter().zip(before).find(|(scratch, before)| scratch.sequence != *before);
        // A packet that is not for a signalling port leaves no trace.
        let mut scratch = Box::new(*fresh.map_or(&after[0], |(scratch, _)| scratch));
        if fresh.is_none() {
            scratch.message.kind = Kind::Unread;
            scratch.walk.rule = NO_RULE;
        }
        Ok((run, scratch))
    }

    /// One of its maps, by name.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|(known, _)| *known == name).map(|(_, table)| table)
    }

    /// Another handle on one of its maps.
    pub(super) fn map_data(&self, name: &str) -> Result<MapData, Error> {
        let table = self.table(name).ok_or_else(|| Error::Internal(format!("the program has no map {name}")))?;
        let fd = table.fd().try_clone_to_owned().context(|| format!("duplicate the descriptor of the map {name}"))?;
        MapData::from_fd(fd).context(|| format!("open the map {name}"))
    }

    /// The XDP program of the object.
    ///
    /// # Errors
    /// The object has no program of that name.
    pub fn program(&self) -> Result<&Xdp, Error> {
        self.ebpf
            .program(PROGRAM)
            .and_then(|program| program.try_into().ok())
            .ok_or_else(|| Error::Internal("the object has no program ringfence".to_owned()))
    }

    /// Turns the rules of its policy on and off as they are at this time.
    ///
    /// # Errors
    /// The row cannot be written.
    pub fn set_clock(&self, image: &Image, at: Timestamp) -> Result<(), Error> {
        match (image.time_row(), self.table("ROWS")) {
            (Some(row), Some(rows)) => rows.set(row, &image.timetable.on(at)),
            _ => Ok(()),
        }
    }

    /// The number of instructions that the verifier processed; `None` if the kernel does not report it.
    ///
    /// # Errors
    /// The kernel does not give information about programs.
    pub fn verified_instructions(&self) -> Result<Option<u32>, Error> {
        let info = self.program()?.info().context(|| "read the properties of the program".to_owned())?;
        Ok(info.verified_instruction_count())
    }

    /// Checks that existing pinned shared maps have the shape that the program expects.
    ///
    /// aya does not check this. A map of another shape would be read with the wrong layout.
    pub(super) fn check_shared_maps(&self, pins: &Pins) -> Result<(), Error> {
        for (name, table) in self.tables.iter().filter(|(name, _)| !POLICY_MAPS.contains(name)) {
            let path = pins.map(name);
            if !path.exists() {
                continue;
            }
            let (found, expected) = (Table::open(&path)?.shape(), table.shape());
            if found != expected {
                return Err(Error::Shape { path, found: format!("{found:?}"), expected: format!("{expected:?}") });
            }
        }
        Ok(())
    }
}

/// The maps of a policy, pinned in the directory of the next generation so that several programs can share them.
#[derive(Debug)]
pub(super) struct PolicyMaps {
    tables: Vec<(&'static str, Table)>,
    pins: Vec<(&'static str, PathBuf)>,
}

impl PolicyMaps {
    /// Creates the maps, empty. The verifier does not examine their contents, so programs can be loaded while they are
    /// filled.
    pub(super) fn create(image: &Image, pins: &Pins) -> Result<Self, Error> {
        pins.remove_generation(pins::NEXT)?;
        let directory = pins.generation(pins::NEXT);
        pins::create_directory(&directory)?;
        let mut maps = Self { tables: Vec::new(), pins: Vec::new() };
        for (name, value_size, entries) in policy_maps(image) {
            let table = Table::create_mapped(name, value_size, entries)?;
            let path = directory.join(name);
            bpf::pin(table.fd(), &path).context(|| format!("pin the map {name}"))?;
            maps.tables.push((name, table));
            maps.pins.push((name, path));
        }
        Ok(maps)
    }

    /// Writes the policy into the maps, as long as it is `wanted`.
    pub(super) fn fill(&self, image: &Image, wanted: &dyn Fn() -> Result<(), Error>) -> Result<(), Error> {
        self.tables.iter().try_for_each(|table| wanted().and_then(|()| fill(std::slice::from_ref(table), image)))
    }
}

/// Name, size of a value and number of values of each of [`POLICY_MAPS`]. The kernel cannot create maps without values.
fn policy_maps(image: &Image) -> [(&'static str, usize, usize); POLICY_MAPS.len()] {
    fn map<V>(name: &'static str, values: &[V]) -> (&'static str, usize, usize) {
        (name, size_of::<V>(), values.len().max(1))
    }
    [
        ("ROOTS", size_of::<RootPiece>(), ROOT_PIECES),
        map("NODES", &image.nodes),
        map("LEAVES", &image.leaves),
        map("ADDRESS_CLASSES", &image.address_classes),
        map("NUMBER_CLASSES", &image.number_classes),
        map("ROWS", &image.rows),
        map("RULES", &image.rules),
        ("DFAS", size_of::<Dfa>(), image.dfas.len().max(1)),
    ]
}

/// Writes the policy into its maps, and leaves other maps alone.
fn fill(tables: &[(&'static str, Table)], image: &Image) -> Result<(), Error> {
    for (name, table) in tables {
        match *name {
            "ROOTS" => table.fill(root_pieces(&image.roots))?,
            "NODES" => table.fill(&image.nodes)?,
            "LEAVES" => table.fill(&image.leaves)?,
            "ADDRESS_CLASSES" => table.fill(&image.address_classes)?,
            "NUMBER_CLASSES" => table.fill(&image.number_classes)?,
            "ROWS" => table.fill(&image.rows)?,
            "RULES" => table.fill(&image.rules)?,
            "DFAS" => fill_large::<Dfa>(table, &image.dfas)?,
            _ => {}
        }
    }
    Ok(())
}

/// Loads the program that will be attached, with the maps of the policy and the shared maps of `pins`, and pins it in the
/// directory of the next generation.
pub(super) fn load_live(image: &Image, pins: &Pins, maps: &PolicyMaps) -> Result<Live, Error> {
    let shared = SHARED_MAPS.into_iter().map(|name| (name, pins.map(name)));
    let pinned: Vec<_> = maps.pins.iter().cloned().chain(shared).collect();
    let mut ebpf = load_object(image, &pinned, VerifierLogLevel::default())?;
    let program = xdp(&mut ebpf)?;
    program.load()?;
    let info = program.info().context(|| "read the properties of the program".to_owned())?;
    let fd = program
        .fd()
        .and_then(|fd| fd.try_clone().map_err(aya::programs::ProgramError::IOError))
        .context(|| "duplicate the descriptor of the program".to_owned())?;
    let pin = pins.generation(pins::NEXT).join(pins::PROGRAM);
    bpf::pin(fd.as_fd(), &pin).context(|| "pin the program".to_owned())?;
    Ok(Live { program: fd, id: info.id(), verified_instructions: info.verified_instruction_count().unwrap_or(0) })
}

/// A program that uses the shared maps, and is ready to be attached.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) program: ProgramFd,
    pub(super) id: u32,
    pub(super) verified_instructions: u32,
}

fn load_object(image: &Image, pinned: &[(&'static str, PathBuf)], level: VerifierLogLevel) -> Result<Ebpf, Error> {
    let mut loader = EbpfLoader::new();
    loader.verifier_log_level(level);
    loader.override_global("CONFIG", image.config.as_bytes(), true);
    for (name, _, entries) in policy_maps(image) {
        let entries = u32::try_from(entries).map_err(|_| Error::Internal(format!("too many entries for {name}")))?;
        loader.map_max_entries(name, entries);
    }
    for (name, path) in pinned {
        loader.map_pin_path(name, path.as_path());
    }
    Ok(loader.load(OBJECT)?)
}

fn xdp(ebpf: &mut Ebpf) -> Result<&mut Xdp, Error> {
    ebpf.program_mut(PROGRAM)
        .and_then(|program| program.try_into().ok())
        .ok_or_else(|| Error::Internal("the object has no XDP program named ringfence".to_owned()))
}

/// The root tables, as the pieces that their map has as values.
fn root_pieces(roots: &Roots) -> &[RootPiece; ROOT_PIECES] {
    zerocopy::transmute_ref!(roots)
}

/// Fills a map of large values one by one: a batch would save nothing.
fn fill_large<V: zerocopy::IntoBytes + zerocopy::Immutable>(table: &Table, values: &[Box<V>]) -> Result<(), Error> {
    for (index, value) in (0u32..).zip(values) {
        table.set::<V>(index, value)?;
    }
    Ok(())
}
