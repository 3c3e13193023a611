//! The filter on its interfaces: starting, adopting, replacing and detaching it.

mod in_force;

use std::{
    fs::{File, TryLockError},
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use filter_core::{
    layout::{RuleSet, SCHEMA_VERSION},
    limits::RULE_SLOTS,
};
use jiff::Timestamp;
use zerocopy::FromBytes as _;

use super::{
    Error, Instance, Interface, Mode, Pins,
    attach::detach_from,
    bans::{self, Bans, Freed},
    error::{Context as _, Version},
    host,
    instance::{Live, PolicyMaps, load_live},
    pins, probe,
    state::{self, MAX_INTERFACES, Meta, MetaInterface, Slot},
    table::Table,
    takeover::{self, Older},
};
use filter_policy::{bounds::Cancel, image::Image, timetable::Timetable};

pub(super) const META: &str = "META";
pub(super) const SLOTS: &str = "SLOTS";

/// A pin directory that only this process may change, and the filter in it.
///
/// Dropping it has no effect on the filter: the pins keep it in the kernel, not this process.
#[derive(Debug)]
pub struct Filter {
    pub(super) pins: Pins,
    pub(super) meta_table: Table,
    pub(super) slots_table: Table,
    pub(super) meta: Meta,
    /// The older version whose filter is in force, until a policy of this one is.
    pub(super) older: Option<Older>,
    /// Of the policy that this process has put in force.
    clock: Option<Clock>,
    /// Held while this value exists. The kernel releases it when the process ends, in whatever way.
    _lock: File,
}

/// Turns the rules of the policy in force on and off.
#[derive(Debug)]
struct Clock {
    timetable: Timetable,
    rows: Table,
    row: u32,
    /// The row's value.
    on: RuleSet,
    /// The minute, since the epoch, for which it was computed.
    minute: i64,
}

/// The result of [`Filter::install`].
#[derive(Clone, Debug)]
pub struct Installed {
    /// The number of the generation that is now in force.
    pub generation: u64,
    /// The id of its program.
    pub program: u32,
    /// The number of instructions that the verifier processed.
    pub verified_instructions: u32,
    /// The interfaces that it is attached to.
    pub interfaces: Vec<Attached>,
    /// Interfaces that do not exist now. [`Filter::keep`] attaches the policy to them when they do.
    pub absent: Vec<String>,
    /// Interfaces from which the filter was detached, because they were not named any more.
    pub removed: Vec<String>,
    /// Bans that the policy has lifted.
    pub freed: Vec<Freed>,
    /// The schema version of the older program whose filter was replaced, if it was one's.
    pub took_over: Option<u32>,
    /// The time for loading, filling, verifying and replacing.
    pub took: Duration,
}

/// An interface with the filter on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Name of the interface.
    pub interface: String,
    /// The mode in which the program runs there.
    pub mode: Mode,
    /// True if the filter was not on it before.
    pub created: bool,
    /// A remark for the operator, such as why it is not in native mode.
    pub note: Option<String>,
}

impl Filter {
    /// Opens a pin directory: creates it, or adopts the filter in it. Nothing in it changes if an older version of the program made it,
    /// until a policy is [installed](Self::install).
    ///
    /// # Errors
    /// No permission, no BPF file system, another daemon uses the pins, or they have a newer schema version.
    pub fn open(pins: Pins) -> Result<Self, Error> {
        host::check()?;
        pins.create()?;
        let lock = lock(&pins)?;
        let (meta_path, slots_path) = (pins.map(META), pins.map(SLOTS));
        if let Some(older) = takeover::older(&pins)? {
            let meta_table = Table::create_unpinned(META, size_of::<Meta>(), 1)?;
            let slots_table = Table::create_unpinned(SLOTS, size_of::<Slot>(), RULE_SLOTS)?;
            meta_table.set(0, &Meta::new(now()))?;
            let meta = Meta { generation: older.generation, ..Meta::new(now()) };
            return Ok(Self { pins, meta_table, slots_table, meta, older: Some(older), clock: None, _lock: lock });
        }
        let meta_table = if meta_path.exists() {
            Table::open(&meta_path)?
        } else {
            // Pins without it can only be left over from a start that ended before anything was attached.
            if !pins.interfaces()?.is_empty() {
                return Err(schema_error(&pins, None));
            }
            let table = Table::create_pinned(&meta_path, size_of::<Meta>(), 1)?;
            table.set(0, &Meta::new(now()))?;
            table
        };
        let meta = read_meta(&pins, &meta_table)?;
        let slots_table = if slots_path.exists() {
            Table::open(&slots_path)?
        } else {
            Table::create_pinned(&slots_path, size_of::<Slot>(), RULE_SLOTS)?
        };
        pins.remove_generation(pins::NEXT)?;
        Ok(Self { pins, meta_table, slots_table, meta, older: None, clock: None, _lock: lock })
    }

    /// The pins of the filter.
    #[must_use]
    pub fn pins(&self) -> &Pins {
        &self.pins
    }

    /// True if the filter is attached to an interface, whether by this process or by an earlier one.
    ///
    /// # Errors
    /// The pin directory cannot be read.
    pub fn is_attached(&self) -> Result<bool, Error> {
        Ok(!self.pins.interfaces()?.is_empty())
    }

    /// Puts a policy in force on exactly these interfaces.
    ///
    /// Loads a new instance of the program with its own policy maps, tests it with a few packets, then replaces the program
    /// of each link atomically. Interfaces without a link get one. If anything fails, everything stays as it was before. Interfaces that do
    /// not exist are left out, unless that is all of them at the first start.
    ///
    /// # Errors
    /// There is no such interface, it is not Ethernet, another program is attached to it, native mode is not supported, memory
    /// is short, the verifier rejects the program, or the program gives a probe the wrong verdict.
    pub fn install(
        &mut self,
        image: &mut Image,
        interfaces: &[Interface],
        commit: Option<&str>,
    ) -> Result<Installed, Error> {
        self.install_unless(&Cancel::default(), image, interfaces, commit)
    }

    /// As [`install`](Self::install), unless it is cancelled before the program is on an interface: then everything stays as it was.
    ///
    /// # Errors
    /// It is cancelled, or as for `install`.
    pub fn install_unless(
        &mut self,
        cancel: &Cancel,
        image: &mut Image,
        interfaces: &[Interface],
        commit: Option<&str>,
    ) -> Result<Installed, Error> {
        let start = Instant::now();
        if interfaces.len() > MAX_INTERFACES {
            return Err(Error::TooManyInterfaces(MAX_INTERFACES));
        }
        let (present, absent) = present(interfaces)?;
        // With a filter in force, whatever is loaded waits for its interfaces.
        if let (true, 0, Some(name)) = (present.is_empty(), self.meta.generation, absent.first()) {
            return Err(Error::UnknownInterface(name.clone()));
        }
        for (interface, index) in &present {
            host::ensure_ethernet(&interface.name, *index)?;
            self.ensure_no_other_program(&interface.name, *index)?;
        }

        let next = self.meta.generation + 1;
        let at = Timestamp::now();
        image.set_clock(at);
        let result = self.take_over().and_then(|()| {
            let (slots, used) = self.assign_slots(image)?;
            let live = load_and_verify(image, &self.pins, cancel)?;
            // Before the new program bans anything.
            bans::set_lengths(&self.pins, &image.config.ban_lengths)?;
            let (attached, removed) = self.swap(&live, &present, interfaces)?;
            tracing::debug!(after = ?start.elapsed(), "program on the links");
            Ok((slots, used, live, attached, removed))
        });
        let (slots, used, live, mut attached, removed) = match result {
            Ok(done) => done,
            Err(error) => {
                self.pins.remove_generation(pins::NEXT)?;
                self.give_back()?;
                if self.older.is_some() {
                    return Err(error);
                }
                // Those of the policy that stays; at the first start there is none.
                let _ = Bans::new(self.pins.clone()).set_lengths();
                return Err(error);
            }
        };

        // The new policy is now in force. Record that.
        if self.pins.advance()? {
            let path = self.pins.generation(pins::PREVIOUS).join(META);
            Table::create_pinned(&path, size_of::<Meta>(), 1)?.set(0, &self.meta)?;
        }
        self.meta = Meta {
            rules: image.rules.len() as u32,
            generation: next,
            loaded: now(),
            verified_instructions: live.verified_instructions,
            report: u32::from(image.is_report()),
            policy_hash: state::padded(&image.hash),
            commit: state::padded(commit.unwrap_or_default()),
            interfaces: meta_interfaces(&attached, &present),
            ..self.meta
        };
        for &slot in &used {
            let mut entry = slots[usize::from(slot)];
            entry.generation = next;
            self.slots_table.set(u32::from(slot), &entry)?;
        }
        self.meta_table.set(0, &self.meta)?;
        let took_over = self.finish_take_over().map(|older| older.schema);
        if let Some(schema) = took_over {
            for attached in attached.iter_mut().filter(|attached| !attached.created) {
                attached.note = Some(format!(
                    "taken over without a gap from an older version of ringfence (schema version {schema}); the counters begin again"
                ));
            }
        }
        // The policy is in force, whatever becomes of older bans.
        let freed = Bans::new(self.pins.clone()).settle().unwrap_or_else(|error| {
            tracing::warn!("failed to lift the bans of sources that the policy exempts: {error}");
            Vec::new()
        });
        self.clock = match image.time_row() {
            None => None,
            Some(row) => Some(Clock {
                timetable: image.timetable.clone(),
                rows: Table::open(&self.pins.generation(pins::CURRENT).join("ROWS"))?,
                row,
                on: image.rows[row as usize],
                minute: minute(at),
            }),
        };
        Ok(Installed {
            generation: next,
            program: live.id,
            verified_instructions: live.verified_instructions,
            interfaces: attached,
            absent,
            removed,
            freed,
            took_over,
            took: start.elapsed(),
        })
    }

    /// Turns the rules of the policy in force on and off as they are at this time. A policy that an earlier process has put in
    /// force stays as that one left it.
    ///
    /// # Errors
    /// The row cannot be written.
    pub fn keep_time(&mut self, at: Timestamp) -> Result<(), Error> {
        let Some(clock) = &mut self.clock else { return Ok(()) };
        if clock.minute == minute(at) {
            return Ok(());
        }
        let on = clock.timetable.on(at);
        if on != clock.on {
            clock.rows.set(clock.row, &on)?;
            clock.on = on;
        }
        clock.minute = minute(at);
        Ok(())
    }

    /// Writes a counter slot into each rule. Records the slots that have new owners, and clears their counters.
    fn assign_slots(&self, image: &mut Image) -> Result<(Vec<Slot>, Vec<u16>), Error> {
        let mut slots =
            (0..self.slots_table.len()).map(|slot| self.slots_table.get(slot)).collect::<Result<Vec<Slot>, _>>()?;
        let (assigned, changed) = state::assign(&image.rule_names, &mut slots, self.meta.generation)?;
        for (rule, &slot) in image.rules.iter_mut().zip(&assigned) {
            rule.slot = slot;
        }
        let counters = self.pins.map("RULE_COUNTERS");
        let counters = counters.exists().then(|| Table::open(&counters)).transpose()?;
        for &slot in &changed {
            self.slots_table.set(u32::from(slot), &slots[usize::from(slot)])?;
            if let Some(counters) = &counters {
                counters.clear_per_cpu(u32::from(slot))?;
            }
        }
        Ok((slots, assigned))
    }
}

/// Fills the policy's maps, loads the program that will be attached, and tests another instance of it. That instance has
/// its own copies of the shared maps, so that probes are not counted.
///
/// The verifier takes most of the time. It checks both programs in parallel, while the maps are filled.
fn load_and_verify(image: &Image, pins: &Pins, cancel: &Cancel) -> Result<Live, Error> {
    let wanted = || if cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) };
    wanted()?;
    let start = Instant::now();
    let step = |what| tracing::debug!(after = ?start.elapsed(), "{what}");
    let maps = PolicyMaps::create(image, pins)?;
    step("policy maps created");
    thread::scope(|scope| {
        let filling = scope.spawn(|| maps.fill(image, &wanted).inspect(|()| step("policy maps filled")));
        let loading = scope.spawn(|| load_live(image, pins, &maps).inspect(|_| step("program verified")));
        let probed = Instance::with_maps(image, &maps).and_then(|mut instance| {
            instance.check_shared_maps(pins)?;
            instance.load_program()?;
            step("program for probes verified");
            joined(filling)?;
            wanted()?;
            probe::verify(&instance, image)?;
            step("probes answered");
            Ok(())
        });
        let live = joined(loading);
        probed?;
        wanted()?;
        live
    })
}

fn joined<T>(thread: ScopedJoinHandle<'_, Result<T, Error>>) -> Result<T, Error> {
    thread.join().unwrap_or_else(|_| Err(Error::Internal("a loading thread panicked".to_owned())))
}

/// Detaches the filter from all interfaces, and removes every pin. Returns the interfaces.
///
/// # Errors
/// Another daemon uses these pins, or the system refuses.
pub fn detach(pins: &Pins) -> Result<Vec<String>, Error> {
    // Without permission, the pins would look as if they did not exist.
    host::check()?;
    if !pins.exist() {
        return Ok(Vec::new());
    }
    let _lock = lock(pins)?;
    let interfaces = pins.interfaces()?;
    for interface in &interfaces {
        detach_from(pins, interface)?;
    }
    pins.remove()?;
    Ok(interfaces)
}

/// Makes sure that one daemon at a time uses a pin directory. The kernel releases the lock when the process ends.
fn lock(pins: &Pins) -> Result<File, Error> {
    let directory = File::open(pins.root()).context(|| format!("open {}", pins.root().display()))?;
    match directory.try_lock() {
        Ok(()) => Ok(directory),
        Err(TryLockError::WouldBlock) => Err(Error::Busy(pins.root().to_path_buf())),
        Err(TryLockError::Error(error)) => Err(error).context(|| format!("lock {}", pins.root().display())),
    }
}

/// Reads the meta map, which another version may have written.
pub(super) fn read_meta(pins: &Pins, table: &Table) -> Result<Meta, Error> {
    let bytes = table.bytes(0)?;
    let schema = bytes.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
    if schema != Some(SCHEMA_VERSION) || bytes.len() != size_of::<Meta>() {
        return Err(schema_error(pins, schema));
    }
    Meta::read_from_bytes(&bytes).map_err(|_| schema_error(pins, schema))
}

fn schema_error(pins: &Pins, found: Option<u32>) -> Error {
    Error::Schema { pins: pins.root().to_path_buf(), found: Version(found), expected: SCHEMA_VERSION }
}

/// An interface with its index.
pub(super) type Present = (Interface, u32);

/// The interfaces that exist, with their indexes, and the names of those that do not.
fn present(interfaces: &[Interface]) -> Result<(Vec<Present>, Vec<String>), Error> {
    let (mut present, mut absent) = (Vec::new(), Vec::new());
    for interface in interfaces {
        match host::interface_index(&interface.name) {
            Ok(index) => present.push((interface.clone(), index)),
            Err(Error::UnknownInterface(name)) => absent.push(name),
            Err(error) => return Err(error),
        }
    }
    Ok((present, absent))
}

fn meta_interfaces(attached: &[Attached], present: &[Present]) -> [MetaInterface; MAX_INTERFACES] {
    let mut interfaces = [MetaInterface { name: [0; 16], index: 0, mode: 0 }; MAX_INTERFACES];
    for ((entry, attached), (_, index)) in interfaces.iter_mut().zip(attached).zip(present) {
        *entry =
            MetaInterface { name: state::padded(&attached.interface), index: *index, mode: attached.mode.number() };
    }
    interfaces
}

/// The minute since the epoch: hours begin and end with one.
fn minute(at: Timestamp) -> i64 {
    at.as_second().div_euclid(60)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
