//! The filter on its interfaces: started, adopted, replaced, taken off.

use std::{
    fs::{File, TryLockError},
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use filter_core::{layout::SCHEMA_VERSION, limits::RULE_SLOTS};
use zerocopy::FromBytes as _;

use super::{
    Error, Instance, Mode, ModeChoice, Pins, bpf,
    error::{Context as _, Version},
    host,
    instance::{Live, PolicyMaps, load_live},
    pins, probe,
    state::{self, MAX_INTERFACES, Meta, MetaInterface, Slot},
    table::Table,
};
use filter_policy::image::Image;

const META: &str = "META";
const SLOTS: &str = "SLOTS";

/// A pin directory that this process alone works on, and the filter whose state lies there.
///
/// Dropping it changes nothing: pins hold the filter, not this process.
#[derive(Debug)]
pub struct Filter {
    pins: Pins,
    meta_table: Table,
    slots_table: Table,
    meta: Meta,
    /// Held for as long as this lives; the kernel lets go of it when the process ends, however it ends.
    _lock: File,
}

/// What an [`Filter::install`] did.
#[derive(Clone, Debug)]
pub struct Installed {
    /// Number of the generation that is in force now.
    pub generation: u64,
    /// The id of its program.
    pub program: u32,
    /// Instructions the verifier walked through.
    pub verified_instructions: u32,
    /// Where it is attached.
    pub interfaces: Vec<Attached>,
    /// Interfaces that had the filter and are no longer named: it was taken off them.
    pub removed: Vec<String>,
    /// Loading, filling, verifying and replacing.
    pub took: Duration,
}

/// An interface with the filter on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The interface.
    pub interface: String,
    /// How the program runs there.
    pub mode: Mode,
    /// What is worth knowing about how it came there.
    pub note: Option<String>,
}

impl Filter {
    /// Takes hold of a pin directory: makes it, or adopts what lies there.
    ///
    /// # Errors
    /// Not permitted, no BPF file system, another daemon at work, or pins of another schema version.
    pub fn open(pins: Pins) -> Result<Self, Error> {
        host::check()?;
        pins.create()?;
        let lock = lock(&pins)?;
        let (meta_path, slots_path) = (pins.map(META), pins.map(SLOTS));
        let meta_table = if meta_path.exists() {
            Table::open(&meta_path)?
        } else {
            // Pins without it can only be a start that was cut short before anything was attached.
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
        Ok(Self { pins, meta_table, slots_table, meta, _lock: lock })
    }

    /// The pins it works on.
    #[must_use]
    pub fn pins(&self) -> &Pins {
        &self.pins
    }

    /// True if a filter was already attached by these pins when they were opened (or has been since).
    ///
    /// # Errors
    /// The pin directory cannot be read.
    pub fn is_attached(&self) -> Result<bool, Error> {
        Ok(!self.pins.interfaces()?.is_empty())
    }

    /// Puts a policy in force on exactly these interfaces.
    ///
    /// Loads a new instance of the program with its own policy maps, asks it about a few packets, then replaces the program
    /// of each link in one step; interfaces without a link get one. When any of it fails, everything is as it was before.
    ///
    /// # Errors
    /// No such interface, another program there, no native mode, no memory, the verifier's refusal, a wrong answer to a
    /// probe.
    pub fn install(
        &mut self,
        image: &mut Image,
        interfaces: &[String],
        mode: ModeChoice,
        commit: Option<&str>,
    ) -> Result<Installed, Error> {
        let start = Instant::now();
        if interfaces.len() > MAX_INTERFACES {
            return Err(Error::TooManyInterfaces(MAX_INTERFACES));
        }
        let indexes = interfaces.iter().map(|name| host::interface_index(name)).collect::<Result<Vec<_>, _>>()?;
        for (interface, &index) in interfaces.iter().zip(&indexes) {
            self.refuse_another_program(interface, index)?;
        }

        let next = self.meta.generation + 1;
        let (slots, used) = self.give_slots(image)?;
        let result = load_and_verify(image, &self.pins).and_then(|live| {
            let (attached, removed) = self.swap(&live, interfaces, &indexes, mode)?;
            tracing::debug!(after = ?start.elapsed(), "program on the links");
            Ok((live, attached, removed))
        });
        let (live, attached, removed) = match result {
            Ok(done) => done,
            Err(error) => {
                self.pins.remove_generation(pins::NEXT)?;
                return Err(error);
            }
        };

        // From here on the new policy is in force; what is left is to write that down.
        if self.pins.advance()? {
            let path = self.pins.generation(pins::PREVIOUS).join(META);
            Table::create_pinned(&path, size_of::<Meta>(), 1)?.set(0, &self.meta)?;
        }
        self.meta = Meta {
            rules: image.rules.len() as u32,
            generation: next,
            loaded: now(),
            verified_instructions: live.verified_instructions,
            policy_hash: state::padded(&image.hash),
            commit: state::padded(commit.unwrap_or_default()),
            interfaces: meta_interfaces(&attached, &indexes),
            ..self.meta
        };
        for &slot in &used {
            let mut entry = slots[usize::from(slot)];
            entry.generation = next;
            self.slots_table.set(u32::from(slot), &entry)?;
        }
        self.meta_table.set(0, &self.meta)?;
        Ok(Installed {
            generation: next,
            program: live.id,
            verified_instructions: live.verified_instructions,
            interfaces: attached,
            removed,
            took: start.elapsed(),
        })
    }

    /// Writes a counter slot into each rule. Slots that changed hands are written down and their counters cleared.
    fn give_slots(&self, image: &mut Image) -> Result<(Vec<Slot>, Vec<u16>), Error> {
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

    fn refuse_another_program(&self, interface: &str, index: u32) -> Result<(), Error> {
        let Some(on) = host::xdp_on(index)? else { return Ok(()) };
        let pin = self.pins.link(interface);
        if pin.exists() {
            let link = bpf::get(&pin).context(|| format!("open {}", pin.display()))?;
            let info = bpf::link_info(link.as_fd()).context(|| format!("ask about {}", pin.display()))?;
            if info.program == on.program {
                return Ok(());
            }
        }
        Err(Error::AnotherProgram {
            interface: interface.to_owned(),
            id: on.program,
            name: host::program_name(on.program),
            off: match self.other_pins(interface, on.program) {
                Some(pins) => format!("ringfence detach --pin-dir {}", pins.root().display()),
                None => host::command_against(interface, on),
            },
        })
    }

    /// The pins of another filter of ours that has this program on the interface.
    fn other_pins(&self, interface: &str, program: u32) -> Option<Pins> {
        let beside = self.pins.root().parent()?;
        let candidates =
            [beside, Path::new(pins::BPFFS)].into_iter().filter_map(|folder| folder.read_dir().ok()).flatten();
        candidates.flatten().map(|entry| Pins::new(entry.path())).find(|pins| {
            let link = bpf::get(&pins.link(interface)).and_then(|link| bpf::link_info(link.as_fd()));
            link.is_ok_and(|link| link.program == program)
        })
    }

    /// Puts the program on all interfaces, or leaves all as they were.
    fn swap(
        &self,
        live: &Live,
        interfaces: &[String],
        indexes: &[u32],
        mode: ModeChoice,
    ) -> Result<(Vec<Attached>, Vec<String>), Error> {
        let mut undo = Undo { pins: &self.pins, updated: Vec::new(), created: Vec::new(), armed: true };
        let mut attached = Vec::new();
        for (interface, &index) in interfaces.iter().zip(indexes) {
            attached.push(self.put_on(live.program.as_fd(), interface, index, mode, &mut undo)?);
        }
        undo.armed = false;
        let mut removed = Vec::new();
        for interface in self.pins.interfaces()? {
            if !interfaces.contains(&interface) {
                take_off(&self.pins, &interface)?;
                removed.push(interface);
            }
        }
        Ok((attached, removed))
    }

    fn put_on(
        &self,
        program: BorrowedFd<'_>,
        interface: &str,
        index: u32,
        mode: ModeChoice,
        undo: &mut Undo<'_>,
    ) -> Result<Attached, Error> {
        let mut note = None;
        let pin = self.pins.link(interface);
        if pin.exists() {
            match self.update(program, interface, index, mode)? {
                Update::Done(mode, link) => {
                    undo.updated.push(link);
                    return Ok(Attached { interface: interface.to_owned(), mode, note: None });
                }
                // Anything but these causes is an error: a link is not thrown away because something went wrong.
                Update::Recreate(why) => {
                    take_off(&self.pins, interface)?;
                    note = Some(format!("the link was made anew: {why}"));
                }
            }
        }
        let (link, mode, fallback) = create_link(program, interface, index, mode)?;
        self.pins.create_interface(interface)?;
        undo.created.push(interface.to_owned());
        bpf::pin(link.as_fd(), &pin).context(|| format!("pin the link {}", pin.display()))?;
        Ok(Attached { interface: interface.to_owned(), mode, note: note.or(fallback) })
    }

    fn update(&self, program: BorrowedFd<'_>, interface: &str, index: u32, mode: ModeChoice) -> Result<Update, Error> {
        let pin = self.pins.link(interface);
        let link = bpf::get(&pin).context(|| format!("open {}", pin.display()))?;
        let info = bpf::link_info(link.as_fd()).context(|| format!("ask about {}", pin.display()))?;
        if info.kind != bpf::LINK_TYPE_XDP {
            return Ok(Update::Recreate("the pin was no XDP link".to_owned()));
        }
        if info.interface != index {
            return Ok(Update::Recreate("the interface was made anew since".to_owned()));
        }
        let current = host::xdp_on(index)?.and_then(|on| on.mode).unwrap_or(Mode::Generic);
        if mode.excludes(current) {
            return Ok(Update::Recreate(format!("it was in {current} mode")));
        }
        match bpf::update_link(link.as_fd(), program) {
            Ok(()) => Ok(Update::Done(current, link)),
            Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => {
                Ok(Update::Recreate("it had been detached".to_owned()))
            }
            Err(error) => Err(error).context(|| format!("replace the program on {interface}")),
        }
    }
}

/// Fills the policy's maps, loads the program that is to be attached, and asks an instance of it for its verdicts: one with
/// shared maps of its own, so that what it is asked is in nobody's counters.
///
/// The verifier takes most of the time. It walks through both at once, while the maps are filled.
fn load_and_verify(image: &Image, pins: &Pins) -> Result<Live, Error> {
    let start = Instant::now();
    let told = |what| tracing::debug!(after = ?start.elapsed(), "{what}");
    let maps = PolicyMaps::create(image, pins)?;
    told("policy maps made");
    thread::scope(|scope| {
        let filling = scope.spawn(|| maps.fill(image).inspect(|()| told("policy maps filled")));
        let loading = scope.spawn(|| load_live(image, pins, &maps).inspect(|_| told("program verified")));
        let probed = Instance::with_maps(image, &maps).and_then(|mut instance| {
            instance.check_shared_maps(pins)?;
            instance.load_program()?;
            told("program for probes verified");
            joined(filling)?;
            probe::verify(&instance, image)?;
            told("probes answered");
            Ok(())
        });
        let live = joined(loading);
        probed.and(live)
    })
}

fn joined<T>(thread: ScopedJoinHandle<'_, Result<T, Error>>) -> Result<T, Error> {
    thread.join().unwrap_or_else(|_| Err(Error::Internal("a loading thread panicked".to_owned())))
}

/// How an update of a link went.
enum Update {
    Done(Mode, OwnedFd),
    Recreate(String),
}

/// Takes back what a swap did to the first interfaces when a later one fails.
struct Undo<'a> {
    pins: &'a Pins,
    updated: Vec<OwnedFd>,
    created: Vec<String>,
    armed: bool,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        for interface in &self.created {
            if let Err(error) = take_off(self.pins, interface) {
                tracing::error!("failed to take the filter off {interface} again: {error}");
            }
        }
        if self.updated.is_empty() {
            return;
        }
        let program = self.pins.generation(pins::CURRENT).join(pins::PROGRAM);
        let restored = bpf::get(&program).and_then(|program| {
            self.updated.iter().try_for_each(|link| bpf::update_link(link.as_fd(), program.as_fd()))
        });
        if let Err(error) = restored {
            tracing::error!("failed to put the running policy back on an interface: {error}");
        }
    }
}

/// Native mode where the driver has it, unless one mode is asked for. The third value says why it is not native.
fn create_link(
    program: BorrowedFd<'_>,
    interface: &str,
    index: u32,
    choice: ModeChoice,
) -> Result<(OwnedFd, Mode, Option<String>), Error> {
    let mut fallback = None;
    if choice != ModeChoice::Generic {
        match bpf::create_xdp_link(program, index, bpf::XDP_NATIVE) {
            Ok(link) => return Ok((link, Mode::Native, None)),
            Err(error) if !is_the_drivers_refusal(&error) => {
                return Err(error).context(|| format!("attach to {interface}"));
            }
            Err(error) if choice == ModeChoice::Native => {
                return Err(Error::NoNativeMode { interface: interface.to_owned(), reason: error.to_string() });
            }
            Err(error) => fallback = Some(format!("the driver refused native mode: {error}")),
        }
    }
    let link = bpf::create_xdp_link(program, index, bpf::XDP_GENERIC).context(|| format!("attach to {interface}"))?;
    Ok((link, Mode::Generic, fallback))
}

/// A driver without XDP, or one that cannot have it as the interface is configured (MTU, queues), not a refusal that
/// generic mode would meet too.
fn is_the_drivers_refusal(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ERANGE | libc::EMSGSIZE | libc::ENOSPC | libc::ENOSYS | 524)
    )
}

/// Takes the filter off an interface at once and removes its pin.
fn take_off(pins: &Pins, interface: &str) -> Result<(), Error> {
    let pin = pins.link(interface);
    if pin.exists() {
        let link = bpf::get(&pin).context(|| format!("open {}", pin.display()))?;
        match bpf::detach_link(link.as_fd()) {
            Ok(()) => {}
            // The interface is gone already, or it is no link that could be detached: the pin goes all the same.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOLINK | libc::EOPNOTSUPP | libc::EINVAL)) => {}
            Err(error) => return Err(error).context(|| format!("detach from {interface}")),
        }
    }
    pins.remove_interface(interface)
}

/// Takes the filter off all interfaces and removes every pin. Returns the interfaces it was on.
///
/// # Errors
/// A daemon works on these pins, or the system refuses.
pub fn detach(pins: &Pins) -> Result<Vec<String>, Error> {
    // Whoever may not look cannot say that nothing is there.
    host::check()?;
    if !pins.exist() {
        return Ok(Vec::new());
    }
    let _lock = lock(pins)?;
    let interfaces = pins.interfaces()?;
    for interface in &interfaces {
        take_off(pins, interface)?;
    }
    pins.remove()?;
    Ok(interfaces)
}

/// One daemon a pin directory. The lock is the kernel's and goes with the process.
fn lock(pins: &Pins) -> Result<File, Error> {
    let directory = File::open(pins.root()).context(|| format!("open {}", pins.root().display()))?;
    match directory.try_lock() {
        Ok(()) => Ok(directory),
        Err(TryLockError::WouldBlock) => Err(Error::Busy(pins.root().to_path_buf())),
        Err(TryLockError::Error(error)) => Err(error).context(|| format!("lock {}", pins.root().display())),
    }
}

/// Reads the meta map, whoever wrote it.
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

fn meta_interfaces(attached: &[Attached], indexes: &[u32]) -> [MetaInterface; MAX_INTERFACES] {
    let mut interfaces = [MetaInterface { name: [0; 16], index: 0, mode: 0 }; MAX_INTERFACES];
    for ((entry, attached), &index) in interfaces.iter_mut().zip(attached).zip(indexes) {
        *entry = MetaInterface { name: state::padded(&attached.interface), index, mode: attached.mode.number() };
    }
    interfaces
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
