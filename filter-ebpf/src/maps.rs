//! The maps. Those of the policy are created for each generation and sized by the loader. Those that outlive a generation are
//! pinned and shared.

use aya_ebpf::{
    Global,
    macros::map,
    maps::{Array, LruHashMap, PerCpuArray, PerfEventByteArray, RingBuf},
};
use filter_core::{
    layout::{
        Ban, BanKey, BanLengths, Config, Counter, Dfa, FlowKey, FragmentKey, InterfaceCounts, Node, NumberClass,
        Observation, Observed, ROOT_PIECES, RateBucket, Remembered, RootPiece, Rule, RuleSet,
    },
    limits::{BUCKETS, INTERFACE_SLOTS, RULE_SLOTS},
    scratch::Scratch,
};

/// The policy's configuration; the loader fills it before the program is loaded, and freezes it.
#[unsafe(no_mangle)]
static CONFIG: Global<Config> = Global::new(Config::EMPTY);

#[map]
pub static ROOTS: Array<RootPiece> = Array::with_max_entries(ROOT_PIECES as u32, 0);
#[map]
pub static NODES: Array<Node> = Array::with_max_entries(1, 0);
#[map]
pub static LEAVES: Array<u32> = Array::with_max_entries(1, 0);
#[map]
pub static ADDRESS_CLASSES: Array<u32> = Array::with_max_entries(1, 0);
#[map]
pub static NUMBER_CLASSES: Array<NumberClass> = Array::with_max_entries(1, 0);
#[map]
pub static ROWS: Array<RuleSet> = Array::with_max_entries(1, 0);
#[map]
pub static RULES: Array<Rule> = Array::with_max_entries(1, 0);
#[map]
pub static DFAS: Array<Dfa> = Array::with_max_entries(1, 0);
#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

#[map]
pub static RULE_COUNTERS: PerCpuArray<Counter> = PerCpuArray::with_max_entries(RULE_SLOTS as u32, 0);
#[map]
pub static REASON_COUNTERS: PerCpuArray<InterfaceCounts> = PerCpuArray::with_max_entries(INTERFACE_SLOTS as u32, 0);
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 22, 0);
/// Written by the daemon.
#[map]
pub static OBSERVATION: Array<Observation> = Array::with_max_entries(1, 0);
#[map]
pub static OBSERVED: PerCpuArray<Observed> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub static SAMPLES: RingBuf = RingBuf::with_byte_size(1 << 22, 0);
/// The daemon's buffers, one per CPU, while somebody listens.
#[map]
pub static CAPTURES: PerfEventByteArray = PerfEventByteArray::new(0);
#[map]
pub static FRAGMENTS: LruHashMap<FragmentKey, Remembered> = LruHashMap::with_max_entries(1 << 16, 0);
#[map]
pub static BANS: LruHashMap<BanKey, Ban> = LruHashMap::with_max_entries(1 << 16, 0);
/// Written by the daemon.
#[map]
pub static BAN_LENGTHS: Array<BanLengths> = Array::with_max_entries(1, 0);
#[map]
pub static RATES: Array<RateBucket> = Array::with_max_entries(BUCKETS as u32, 0);
#[map]
pub static FLOWS: LruHashMap<FlowKey, Remembered> = LruHashMap::with_max_entries(1 << 16, 0);

/// The configuration. Its loads are not volatile, but the address is opaque to LLVM, which must not see the values that the
/// loader replaces. To the verifier they are loads from a frozen map, and so constants.
#[inline(always)]
#[expect(clippy::pointers_in_nomem_asm_block, reason = "the address passes through the asm block, which reads nothing")]
pub fn config() -> &'static Config {
    let mut address = &raw const CONFIG;
    // SAFETY: moves a register to itself.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) address, options(pure, nomem, nostack)) };
    // SAFETY: `Global` is a transparent wrapper of the `Config` that it is initialised with, and nothing writes to it.
    unsafe { &*address.cast::<Config>() }
}

/// This CPU's working memory.
#[inline(always)]
pub fn scratch() -> Option<&'static mut Scratch> {
    let scratch = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: the value is this CPU's own, an XDP program is not preempted by another run of itself on the same CPU, and this is
    // called once per run, so there is one reference. Every bit pattern is a valid `Scratch`.
    Some(unsafe { &mut *scratch })
}
