//! Prefixes of addresses, by which bans are kept.

/// The first `length` bits of an address; the others are zero.
#[inline(always)]
#[must_use]
pub fn prefix(address: &[u8; 16], length: u32) -> [u8; 16] {
    // (In halves: the kernel's machine has no shift of 128 bits.)
    let mut halves = [0; 16];
    let (high, low) = halves.split_at_mut(8);
    high.copy_from_slice(&masked(address, 0, length).to_be_bytes());
    low.copy_from_slice(&masked(address, 8, length.saturating_sub(64)).to_be_bytes());
    halves
}

/// Eight bytes of an address, from `at` on, of which the first `length` bits are kept.
#[inline(always)]
fn masked(address: &[u8; 16], at: usize, length: u32) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&address[at..at + 8]);
    let keep = match length {
        0 => 0,
        1..64 => !(u64::MAX >> length),
        _ => u64::MAX,
    };
    u64::from_be_bytes(bytes) & keep
}
