//! The bans in force: reading them, banning and freeing by hand, and keeping the map in order.
//!
//! The program looks up the prefixes of a source whose lengths are listed in a map, and this module alone writes that list: the lengths
//! of the policy's bans, and those of all others in force.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use filter_core::{
    layout::{self, Action, BanKey, BanLengths, Config, NO_RULE, Rule},
    limits::BAN_LENGTHS,
};
use rustix::time::{ClockId, clock_gettime};
use zerocopy::{FromBytes as _, FromZeros as _, IntoBytes as _};

use super::{
    Error, Pins, bpf,
    error::Context as _,
    exempt::{Exemption, Sources},
    filter::read_meta,
    pins::CURRENT,
    prefix::Prefix,
    table::Table,
};

/// The map of bans, by prefix.
pub(super) const BANS: &str = "BANS";

/// The map whose only value is the lengths of the prefixes that are looked up.
pub(super) const LENGTHS: &str = "BAN_LENGTHS";

const SECOND: u64 = 1_000_000_000;

/// Held while the map of lengths is worked out and written: a ban by hand and a new policy may come at the same time.
static WRITING: Mutex<()> = Mutex::new(());

/// A ban in force. Times are the program's: nanoseconds of the monotonic clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// The sources that are banned.
    pub prefix: Prefix,
    /// Counter slot of the rule that banned them; none for a ban by hand.
    pub slot: Option<u32>,
    /// When it began.
    pub since: u64,
    /// When it ends.
    pub until: u64,
    /// Packets that it has dropped.
    pub packets: u64,
    /// Until when emergency calls from there suspend it; none if none does.
    pub suspended_until: Option<u64>,
}

/// A ban that has been lifted because of the policy in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freed {
    /// The sources that were banned.
    pub prefix: Prefix,
    /// Why.
    pub because: FreedBecause,
}

/// Why a policy lifts a ban.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FreedBecause {
    /// The policy exempts all its sources.
    Exempt(Exemption),
    /// The policy bans prefixes of so many lengths that there is no room for its own.
    NoRoom,
}

impl fmt::Display for FreedBecause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exempt(exemption) => exemption.fmt(f),
            Self::NoRoom => f.write_str("the policy bans prefixes of other lengths, and there is no room for this one"),
        }
    }
}

/// Why sources were not banned.
#[derive(Debug, thiserror::Error)]
pub enum BanError {
    /// The policy exempts all of them.
    #[error("{prefix} cannot be banned: {exemption}")]
    Exempt {
        /// The sources.
        prefix: Prefix,
        /// Why.
        exemption: Exemption,
    },
    /// The system refused.
    #[error(transparent)]
    Kernel(#[from] Error),
    /// There is no room for another length.
    #[error(
        "{prefix} cannot be banned: prefixes of at most {BAN_LENGTHS} lengths can be banned for each IP version, and those of {} are \
         in use; ban prefixes of one of these lengths, or free others: `ringfence bans` lists them",
        list(in_use)
    )]
    Lengths {
        /// The sources.
        prefix: Prefix,
        /// The lengths that are in use for this IP version.
        in_use: Vec<u8>,
    },
}

/// Why bans of a list were not made. None of them was.
#[derive(Debug, thiserror::Error)]
pub enum BansError {
    /// The system refused.
    #[error(transparent)]
    Kernel(#[from] Error),
    /// These cannot be made: their indexes in the list, and why.
    #[error("{} of the bans cannot be made", .0.len())]
    Refused(Vec<(usize, BanError)>),
    /// There is no room for them: a full map loses bans.
    #[error(
        "{wanted} bans would be in force, and there is room for {MOST_BANS}: import fewer, or lift some with `ringfence unban`"
    )]
    TooMany {
        /// How many there would be.
        wanted: usize,
    },
}

/// The most bans that the map holds.
pub const MOST_BANS: usize = 1 << 16;

/// The bans of a filter.
#[derive(Clone, Debug)]
pub struct Bans {
    pins: Pins,
}

impl Bans {
    /// The bans of the filter in these pins. Nothing is read yet.
    #[must_use]
    pub fn new(pins: Pins) -> Self {
        Self { pins }
    }

    /// The pins of the filter.
    #[must_use]
    pub fn pins(&self) -> &Pins {
        &self.pins
    }

    /// The bans in force, by prefix.
    ///
    /// # Errors
    /// There is no filter, or no permission.
    pub fn list(&self) -> Result<Vec<Ban>, Error> {
        self.check()?;
        let now = now();
        let mut bans: Vec<Ban> = Map::open(&self.pins)?
            .read()?
            .iter()
            .filter(|(_, ban)| ban.until > now)
            .filter_map(|(key, ban)| Ban::new(key, ban, now))
            .collect();
        bans.sort_by_key(|ban| ban.prefix);
        Ok(bans)
    }

    /// Bans sources from now on. A ban that they have already gets the new end.
    ///
    /// # Errors
    /// The policy exempts them, there is no room for another length, or the system refuses.
    pub fn ban(&self, prefix: Prefix, seconds: u32) -> Result<Ban, BanError> {
        self.check()?;
        if let Some(exemption) = Sources::open(&self.pins)?.exemption(prefix)? {
            return Err(BanError::Exempt { prefix, exemption });
        }
        let map = Map::open(&self.pins)?;
        let _writing = writing();
        let now = now();
        let mut lengths = policy_lengths(&self.pins)?;
        for (key, ban) in map.read()? {
            if ban.until > now {
                add(&mut lengths, &key);
            }
        }
        let key = prefix.key();
        if !add(&mut lengths, &key) {
            let in_use = lengths_of(&mut lengths, prefix).iter().map(|&length| shown(prefix, length)).collect();
            return Err(BanError::Lengths { prefix, in_use });
        }
        let until = now.saturating_add(u64::from(seconds) * SECOND);
        let ban = layout::Ban::new(map.get(&key)?.as_ref(), now, until, NO_RULE);
        // In this order: whoever works out the lengths meanwhile, another process too, finds the ban.
        map.set(&key, &ban)?;
        Table::open(&self.pins.map(LENGTHS))?.set(0, &lengths)?;
        Ban::new(&key, &ban, now).ok_or_else(|| Error::Internal(format!("{prefix} has no key")).into())
    }

    /// Bans the sources of a list for so many seconds each, all or none of them. A ban that they have already is never shortened: the
    /// result has none for these, and the new ban for the others. No prefix may be in the list twice.
    ///
    /// # Errors
    /// One of them cannot be banned, there is no room, or the system refuses. Nothing has changed then.
    pub fn ban_all(&self, list: &[(Prefix, u32)]) -> Result<Vec<Option<Ban>>, BansError> {
        self.check()?;
        let sources = Sources::open(&self.pins)?;
        let map = Map::open(&self.pins)?;
        let _writing = writing();
        let now = now();
        let mut lengths = policy_lengths(&self.pins)?;
        let mut old = HashMap::new();
        for (key, ban) in map.read()? {
            if ban.until > now {
                add(&mut lengths, &key);
            }
            if let Some(prefix) = Prefix::of(&key) {
                old.insert(prefix, ban);
            }
        }
        let mut refused = Vec::new();
        for (index, &(prefix, _)) in list.iter().enumerate() {
            if let Some(exemption) = sources.exemption(prefix)? {
                refused.push((index, BanError::Exempt { prefix, exemption }));
            } else if !add(&mut lengths, &prefix.key()) {
                let in_use = lengths_of(&mut lengths, prefix).iter().map(|&length| shown(prefix, length)).collect();
                refused.push((index, BanError::Lengths { prefix, in_use }));
            }
        }
        if !refused.is_empty() {
            return Err(BansError::Refused(refused));
        }
        // (Those that have ended count: they take a place until they are swept.)
        let wanted = old.len() + list.iter().filter(|(prefix, _)| !old.contains_key(prefix)).count();
        if wanted > MOST_BANS {
            return Err(BansError::TooMany { wanted });
        }
        let mut made = Vec::with_capacity(list.len());
        let mut write = || -> Result<(), Error> {
            for &(prefix, seconds) in list {
                let (key, old) = (prefix.key(), old.get(&prefix));
                let until = now.saturating_add(u64::from(seconds) * SECOND);
                if old.is_some_and(|old| old.until >= until) {
                    made.push(None);
                    continue;
                }
                let ban = layout::Ban::new(old, now, until, NO_RULE);
                map.set(&key, &ban)?;
                made.push(Ban::new(&key, &ban, now));
            }
            // After the bans, as in [`Self::ban`].
            Table::open(&self.pins.map(LENGTHS))?.set(0, &lengths)
        };
        if let Err(error) = write() {
            // What cannot be taken back either is as the error says: the system refuses.
            for ban in made.iter().flatten() {
                let key = ban.prefix.key();
                let _ = match old.get(&ban.prefix) {
                    Some(old) => map.set(&key, old),
                    None => map.remove(&key),
                };
            }
            return Err(error.into());
        }
        Ok(made)
    }

    /// Frees the sources of every ban that covers one of these, or all banned sources. Returns what was banned.
    ///
    /// # Errors
    /// There is no filter, or no permission.
    pub fn unban(&self, sources: Option<Prefix>) -> Result<Vec<Prefix>, Error> {
        self.check()?;
        let map = Map::open(&self.pins)?;
        let now = now();
        let mut freed = Vec::new();
        for (key, ban) in map.read()? {
            let Some(prefix) = Prefix::of(&key) else { continue };
            if sources.is_some_and(|sources| !sources.overlaps(prefix)) {
                continue;
            }
            map.remove(&key)?;
            if ban.until > now {
                freed.push(prefix);
            }
        }
        self.set_lengths()?;
        freed.sort();
        Ok(freed)
    }

    /// Removes the bans that have ended.
    ///
    /// # Errors
    /// There is no filter, or no permission.
    pub fn sweep(&self) -> Result<(), Error> {
        self.check()?;
        let map = Map::open(&self.pins)?;
        let now = now();
        // (An emergency call suspends the next ban from there, too.)
        let is_over = |ban: &layout::Ban| ban.until <= now && ban.suspended_until(now).is_none();
        for (key, _) in map.read()?.iter().filter(|(_, ban)| is_over(ban)) {
            // Its source may have been banned again meanwhile.
            if map.get(key)?.as_ref().is_some_and(is_over) {
                map.remove(key)?;
            }
        }
        self.set_lengths().map(drop)
    }

    /// Lets the program look up the lengths of the policy in force and of the bans in force.
    pub(super) fn set_lengths(&self) -> Result<BanLengths, Error> {
        set_lengths(&self.pins, &policy_lengths(&self.pins)?)
    }

    /// Frees the sources that a policy which has just come in force exempts, and those of bans for which its own leave no room.
    pub(super) fn settle(&self) -> Result<Vec<Freed>, Error> {
        let mut lengths = self.set_lengths()?;
        let sources = Sources::open(&self.pins)?;
        let map = Map::open(&self.pins)?;
        let now = now();
        let mut freed = Vec::new();
        for (key, ban) in map.read()? {
            let Some(prefix) = Prefix::of(&key).filter(|_| ban.until > now) else { continue };
            let because = if !lengths_of(&mut lengths, prefix).contains(&prefix.length_in_map()) {
                FreedBecause::NoRoom
            } else if let Some(exemption) = sources.exemption(prefix)? {
                FreedBecause::Exempt(exemption)
            } else {
                continue;
            };
            map.remove(&key)?;
            freed.push(Freed { prefix, because });
        }
        if !freed.is_empty() {
            self.set_lengths()?;
        }
        freed.sort_by_key(|freed| freed.prefix);
        Ok(freed)
    }

    /// Makes sure that the pins are those of a filter of this version.
    fn check(&self) -> Result<(), Error> {
        let path = self.pins.map("META");
        if !path.try_exists().context(|| format!("look at {}", path.display()))? {
            return Err(Error::NoFilter(self.pins.root().to_path_buf()));
        }
        match read_meta(&self.pins, &Table::open(&path)?)?.generation {
            0 => Err(Error::NoFilter(self.pins.root().to_path_buf())),
            _ => Ok(()),
        }
    }
}

impl Ban {
    fn new(key: &BanKey, ban: &layout::Ban, now: u64) -> Option<Self> {
        Some(Self {
            prefix: Prefix::of(key)?,
            slot: (ban.slot != NO_RULE).then_some(ban.slot),
            since: ban.since,
            until: ban.until,
            packets: ban.packets,
            suspended_until: ban.suspended_until(now),
        })
    }
}

/// The number of bans in force.
pub(super) fn count(pins: &Pins) -> Result<usize, Error> {
    let now = now();
    Ok(Map::open(pins)?.read()?.iter().filter(|(_, ban)| ban.until > now).count())
}

/// Lets the program look up the lengths of a policy's bans, and those of the bans in force for which there is room. Returns them.
pub(super) fn set_lengths(pins: &Pins, policy: &BanLengths) -> Result<BanLengths, Error> {
    let _writing = writing();
    let now = now();
    let mut lengths = *policy;
    for (key, ban) in Map::open(pins)?.read()? {
        if ban.until > now {
            add(&mut lengths, &key);
        }
    }
    Table::open(&pins.map(LENGTHS))?.set(0, &lengths)?;
    Ok(lengths)
}

/// The lengths that the rules of the policy in force ban.
pub(super) fn policy_lengths(pins: &Pins) -> Result<BanLengths, Error> {
    let rules = Table::open(&pins.generation(CURRENT).join("RULES"))?;
    let mut lengths = Config::EMPTY.ban_lengths;
    for index in 0..rules.len() {
        let rule: Rule = rules.get(index)?;
        if rule.action() == Action::Ban {
            for (list, length) in [(&mut lengths.ipv4, rule.ban_ipv4), (&mut lengths.ipv6, rule.ban_ipv6)] {
                put(list, length);
            }
        }
    }
    Ok(lengths)
}

/// Adds the length of a key. False if there is no room for it.
fn add(lengths: &mut BanLengths, key: &BanKey) -> bool {
    Prefix::of(key).is_some_and(|prefix| put(lengths_of(lengths, prefix), prefix.length_in_map()))
}

fn lengths_of(lengths: &mut BanLengths, prefix: Prefix) -> &mut [u8; BAN_LENGTHS] {
    if prefix.is_ipv4() { &mut lengths.ipv4 } else { &mut lengths.ipv6 }
}

fn put(list: &mut [u8; BAN_LENGTHS], length: u8) -> bool {
    let entry = list.iter_mut().find(|entry| **entry == 0 || **entry == length);
    entry.map(|entry| *entry = length).is_some()
}

/// A length in the map as people write it.
fn shown(prefix: Prefix, length: u8) -> u8 {
    length - (prefix.length_in_map() - prefix.length())
}

fn list(lengths: &[u8]) -> String {
    let mut lengths = lengths.to_vec();
    lengths.sort_unstable();
    lengths.iter().map(|length| format!("/{length}")).collect::<Vec<_>>().join(", ")
}

fn writing() -> MutexGuard<'static, ()> {
    WRITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The program's clock now, in nanoseconds.
pub(super) fn now() -> u64 {
    let time = clock_gettime(ClockId::MonotonicCoarse);
    time.tv_sec as u64 * SECOND + time.tv_nsec as u64
}

/// Bans that this process has added and removed: what it takes to know how many the kernel has evicted. While a daemon runs, it is the
/// only process that does either.
pub(super) struct Changes;

static ADDED: AtomicU64 = AtomicU64::new(0);
static REMOVED: AtomicU64 = AtomicU64::new(0);

impl Changes {
    /// Bans that were added, and of which there was none with the prefix.
    pub(super) fn added() -> u64 {
        ADDED.load(Ordering::Relaxed)
    }

    /// Bans that were removed.
    pub(super) fn removed() -> u64 {
        REMOVED.load(Ordering::Relaxed)
    }
}

/// The pinned map of bans.
struct Map(Table);

impl Map {
    fn open(pins: &Pins) -> Result<Self, Error> {
        let table = Table::open(&pins.map(BANS))?;
        table.ensure_hash(size_of::<BanKey>(), size_of::<layout::Ban>())?;
        Ok(Self(table))
    }

    /// All bans, those that have ended too.
    fn read(&self) -> Result<Vec<(BanKey, layout::Ban)>, Error> {
        let mut bans = Vec::new();
        self.0.each(|key, ban| {
            if let (Ok(key), Ok(ban)) = (BanKey::read_from_bytes(key), layout::Ban::read_from_bytes(ban)) {
                bans.push((key, ban));
            }
        })?;
        Ok(bans)
    }

    fn get(&self, key: &BanKey) -> Result<Option<layout::Ban>, Error> {
        let mut ban = layout::Ban::new_zeroed();
        // SAFETY: the sizes of keys and values were compared when the map was opened.
        match unsafe { bpf::lookup(self.0.fd(), key.as_bytes(), ban.as_mut_bytes()) } {
            Ok(()) => Ok(Some(ban)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error).context(|| format!("read {BANS}")),
        }
    }

    fn set(&self, key: &BanKey, ban: &layout::Ban) -> Result<(), Error> {
        let is_new = self.get(key)?.is_none();
        // SAFETY: the sizes of keys and values were compared when the map was opened.
        unsafe { bpf::update(self.0.fd(), key.as_bytes(), ban.as_bytes()) }.context(|| format!("write {BANS}"))?;
        ADDED.fetch_add(u64::from(is_new), Ordering::Relaxed);
        Ok(())
    }

    fn remove(&self, key: &BanKey) -> Result<(), Error> {
        // SAFETY: the size of keys was compared when the map was opened.
        match unsafe { bpf::delete(self.0.fd(), key.as_bytes()) } {
            Ok(()) => {
                REMOVED.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            // The program has evicted it.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            Err(error) => Err(error).context(|| format!("remove from {BANS}")),
        }
    }
}
