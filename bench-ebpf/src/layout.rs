//! The layouts of the benchmark's maps, for the programs and for the benchmark that fills them.

/// Where a run's values go in the packet. 0 means nowhere.
#[repr(C)]
#[derive(Clone, Copy)]
#[cfg_attr(not(target_arch = "bpf"), derive(zerocopy::IntoBytes, zerocopy::Immutable))]
pub(crate) struct Plan {
    /// The number of records in the map: a power of two.
    pub records: u32,
    /// Offset of the source address.
    pub source: u32,
    /// Its length in bytes: 4 or 16.
    pub source_length: u32,
    /// Offsets of the ten digits of the calling number.
    pub calling: [u32; 2],
    /// Offsets of the ten digits of the called number.
    pub called: [u32; 2],
}

/// The values that change in the packet from run to run.
#[repr(C)]
#[derive(Clone, Copy)]
#[cfg_attr(not(target_arch = "bpf"), derive(zerocopy::IntoBytes, zerocopy::Immutable))]
pub(crate) struct Record {
    /// The source address, left-aligned, as a prefix's bits are.
    pub source: [u8; 16],
    /// The calling number.
    pub calling: [u8; 10],
    /// The called number.
    pub called: [u8; 10],
    /// The calling number as a key of tries and hashes: BCD, left-aligned, as the engine packs it. Words, so that it is aligned.
    pub key: [u32; 2],
}
