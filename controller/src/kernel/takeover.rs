//! Taking over a filter that an older version of the program put there, without a gap.
//!
//! Its links stay where they are, and the new program replaces the old one in them in one step, as in every swap. The maps of an older
//! version cannot be read, so before that everything else is set aside, in `PIN/before`: the old program goes on with its maps, wherever
//! their pins are. After the swap they go; if the swap fails, they come back. A process that is killed in between leaves what the next start
//! goes on with.

use std::{
    fs, io,
    ops::RangeInclusive,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use filter_core::layout::{Ban, BanKey, SCHEMA_VERSION};

use super::{
    Error, Filter, Pins, bans, bpf,
    error::Context as _,
    filter::{META, SLOTS},
    pins,
    state::Slot,
    table::Table,
};

/// Where the maps of an older version are while a newer one takes over.
pub(super) const BEFORE: &str = "before";

/// The older versions whose links are where this one's are.
const TAKEN_OVER: RangeInclusive<u32> = 4..=SCHEMA_VERSION - 1;

/// The older versions whose bans, and the slots of rules that they name, lie in their maps as this one's do.
const SAME_BANS: RangeInclusive<u32> = 7..=SCHEMA_VERSION - 1;

// Whoever changes one of these empties `SAME_BANS`.
const _: () = assert!(size_of::<Ban>() == 40 && size_of::<BanKey>() == 20 && size_of::<Slot>() == 72);

/// What the older version wrote into its meta map: its first fields have never moved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Older {
    /// Its schema version.
    pub(super) schema: u32,
    /// The number of the generation that it put in force.
    pub(super) generation: u64,
}

impl Older {
    /// From the value of a meta map; none if it is not one of an older version.
    fn of(bytes: &[u8]) -> Option<Self> {
        let schema = u32::from_ne_bytes(*bytes.first_chunk()?);
        let generation = u64::from_ne_bytes(*bytes.get(8..)?.first_chunk()?);
        TAKEN_OVER.contains(&schema).then_some(Self { schema, generation })
    }
}

/// The older version whose filter is in these pins; none if there is none, or not an older one's.
pub(super) fn older(pins: &Pins) -> Result<Option<Older>, Error> {
    let (meta, aside) = (pins.map(META), pins.map(BEFORE).join(META));
    let bytes = |path: &Path| if path.exists() { Table::open(path)?.bytes(0).map(Some) } else { Ok(None) };
    let meta = bytes(&meta)?;
    let Some(aside) = bytes(&aside)? else { return Ok(meta.as_deref().and_then(Older::of)) };
    // A takeover was cut short: before its swap, or after that.
    let is_done = meta.is_some_and(|meta| meta.get(8..16).is_some_and(|generation| generation != [0; 8]));
    Ok(if is_done { None } else { Older::of(&aside) })
}

impl Filter {
    /// Sets the older version's maps aside, and begins with new ones; does nothing without an older version.
    pub(super) fn take_over(&mut self) -> Result<(), Error> {
        let Some(older) = self.older else { return Ok(()) };
        set_aside(&self.pins)?;
        if SAME_BANS.contains(&older.schema) {
            let before = self.pins.map(BEFORE);
            for name in [bans::BANS, SLOTS] {
                let path = before.join(name);
                if path.exists() {
                    let map = bpf::get(&path).context(|| format!("open {}", path.display()))?;
                    pin_again(map.as_fd(), &self.pins.map(name))?;
                }
            }
            if self.pins.map(SLOTS).exists() {
                self.slots_table = Table::open(&self.pins.map(SLOTS))?;
            }
        }
        pin_again(self.slots_table.fd(), &self.pins.map(SLOTS))?;
        pin_again(self.meta_table.fd(), &self.pins.map(META))
    }

    /// After a swap: the older version's maps go. Returns the older version, if there was one.
    pub(super) fn finish_take_over(&mut self) -> Option<Older> {
        let before = self.pins.map(BEFORE);
        if before.exists()
            && let Err(error) = self.pins.remove_generation(BEFORE)
        {
            tracing::warn!("failed to remove {}: {error}", before.display());
        }
        self.older.take()
    }

    /// After a failure: everything is as the older version left it.
    pub(super) fn give_back(&self) -> Result<(), Error> {
        let before = self.pins.map(BEFORE);
        if !before.exists() {
            return Ok(());
        }
        for path in own_entries(&self.pins)? {
            remove(&path)?;
        }
        let mut entries = pins::read_directory(&before)?;
        // First the map that says whose the others are.
        entries.sort_by_key(|path| name_of(path) != META);
        for path in entries {
            rename(&path, &self.pins.map(&name_of(&path)))?;
        }
        self.pins.remove_generation(BEFORE)
    }
}

/// Moves everything but the links. The meta map is the last: once it is there, whatever else is found is this version's, of a takeover that
/// was cut short.
fn set_aside(pins: &Pins) -> Result<(), Error> {
    let before = pins.map(BEFORE);
    pins::create_directory(&before)?;
    let mut entries = own_entries(pins)?;
    if before.join(META).exists() {
        return entries.iter().try_for_each(|path| remove(path));
    }
    entries.sort_by_key(|path| name_of(path) == META);
    entries.iter().try_for_each(|path| rename(path, &before.join(name_of(path))))
}

/// Everything in the pin directory but the links and what has been set aside.
fn own_entries(pins: &Pins) -> Result<Vec<PathBuf>, Error> {
    let links: Vec<PathBuf> =
        pins.interfaces()?.iter().filter_map(|name| pins.link(name).parent().map(Path::to_owned)).collect();
    let entries = pins::read_directory(pins.root())?.into_iter();
    Ok(entries.filter(|path| !links.contains(path) && name_of(path) != BEFORE).collect())
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).context(|| format!("rename {} to {}", from.display(), to.display()))
}

fn remove(path: &Path) -> Result<(), Error> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.context(|| format!("remove {}", path.display()))
}

fn pin_again(map: std::os::fd::BorrowedFd<'_>, path: &Path) -> Result<(), Error> {
    match bpf::pin(map, path) {
        // By a takeover that was cut short, or by this one: it is the same map.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        pinned => pinned.context(|| format!("pin {}", path.display())),
    }
}
