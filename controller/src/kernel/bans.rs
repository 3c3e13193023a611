//! The banned prefixes of source addresses, and the lengths of the prefixes that the program looks up.

use std::sync::{Mutex, PoisonError};

use filter_core::{
    layout::{Ban, BanKey, BanLengths},
    limits,
};
use zerocopy::FromBytes as _;

use super::{Error, Pins, bpf, error::Context as _, table::Table};

/// The map of bans, by prefix.
const BANS: &str = "BANS";

/// The map whose only value is the lengths of the prefixes that are looked up.
pub(super) const LENGTHS: &str = "BAN_LENGTHS";

/// Bans that are read at a time.
const BATCH: usize = 4096;

/// Held while the lengths are read and written: a ban by hand and a new policy may come at the same time.
static WRITING: Mutex<()> = Mutex::new(());

/// Lets the program look up the lengths of a policy's bans, together with those of the bans in force. Returns the lengths of bans in
/// force for which there is no room.
pub(super) fn set_lengths(pins: &Pins, policy: &BanLengths) -> Result<Vec<u8>, Error> {
    let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let now = now();
    let mut lengths = *policy;
    let mut left_out = Vec::new();
    for (key, ban) in read(pins)? {
        let length = key.length as u8;
        if ban.until > now && !left_out.contains(&length) && !add(&mut lengths, &key) {
            left_out.push(length);
        }
    }
    Table::open(&pins.map(LENGTHS))?.set(0, &lengths)?;
    Ok(left_out)
}

/// Adds the length of a prefix. False if there is no room for it.
fn add(lengths: &mut BanLengths, key: &BanKey) -> bool {
    let list: &mut [u8; limits::BAN_LENGTHS] = if is_ipv4(key) { &mut lengths.ipv4 } else { &mut lengths.ipv6 };
    let length = key.length as u8;
    match list.iter_mut().find(|entry| **entry == 0 || **entry == length) {
        Some(entry) => {
            *entry = length;
            true
        }
        None => false,
    }
}

/// True for a prefix of IPv4 addresses.
fn is_ipv4(key: &BanKey) -> bool {
    key.length > 96 && key.source[..12] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]
}

/// The bans in the map, those that have ended too.
fn read(pins: &Pins) -> Result<Vec<(BanKey, Ban)>, Error> {
    let table = Table::open(&pins.map(BANS))?;
    let mut keys = vec![0; BATCH * size_of::<BanKey>()];
    let mut values = vec![0; BATCH * size_of::<Ban>()];
    table.ensure_hash(size_of::<BanKey>(), size_of::<Ban>())?;
    let mut bans = Vec::new();
    let mut position = None;
    loop {
        // SAFETY: there is room for that many keys and values, whose sizes were just compared.
        let batch = unsafe { bpf::lookup_batch(table.fd(), position, &mut keys, &mut values, BATCH as u32) };
        let (count, next) = batch.context(|| format!("read {BANS}"))?;
        let entries = keys.chunks_exact(size_of::<BanKey>()).zip(values.chunks_exact(size_of::<Ban>()));
        bans.extend(
            entries
                .take(count)
                .filter_map(|(key, ban)| Some((BanKey::read_from_bytes(key).ok()?, Ban::read_from_bytes(ban).ok()?))),
        );
        if next.is_none() {
            return Ok(bans);
        }
        position = next;
    }
}

/// The program's clock now, in nanoseconds.
fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
