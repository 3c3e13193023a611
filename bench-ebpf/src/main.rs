//! The programs that Ringfence's XDP program is compared with.
//!
//! [`drive`] writes a source address and two numbers into the packet, different ones for each run, and passes it to the measured
//! program by a tail call. So all of them, Ringfence included, see the same sequence of packets, and none of them sees a packet
//! whose look-ups are already in the cache because the previous run made them.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(missing_docs, reason = "the macro `xdp` makes functions of its own beside the documented ones")]

mod layout;

use core::{ffi::c_void, hint::black_box};

use aya_ebpf::{
    Global,
    bindings::{
        BPF_F_NO_PREALLOC,
        xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS},
        xdp_md,
    },
    helpers::{bpf_loop, bpf_xdp_load_bytes},
    macros::{map, xdp},
    maps::{Array, HashMap, LpmTrie, PerCpuArray, ProgramArray, lpm_trie::Key},
    programs::XdpContext,
};

use layout::{Plan, Record};

#[unsafe(no_mangle)]
static PLAN: Global<Plan> =
    Global::new(Plan { records: 1, source: 0, source_length: 0, calling: [0; 2], called: [0; 2] });

#[map]
static RECORDS: Array<Record> = Array::with_max_entries(1, 0);
/// The index of the next record.
#[map]
static NEXT: Array<u32> = Array::with_max_entries(1, 0);
/// The measured program. Its index is a constant: the kernel turns such a tail call into a plain jump, while an indirect one can
/// cost more than the measured program.
#[map]
static PROGRAM: ProgramArray = ProgramArray::with_max_entries(1, 0);

#[map]
static LPM_IPV4: LpmTrie<[u8; 4], u32> = LpmTrie::with_max_entries(1, BPF_F_NO_PREALLOC);
#[map]
static LPM_IPV6: LpmTrie<[u8; 16], u32> = LpmTrie::with_max_entries(1, BPF_F_NO_PREALLOC);
#[map]
static LPM_NUMBER: LpmTrie<[u8; 8], u32> = LpmTrie::with_max_entries(1, BPF_F_NO_PREALLOC);
#[map]
static HASH_IPV4: HashMap<[u8; 4], u32> = HashMap::with_max_entries(1, 0);
#[map]
static HASH_IPV6: HashMap<[u8; 16], u32> = HashMap::with_max_entries(1, 0);
#[map]
static HASH_NUMBER: HashMap<[u8; 8], u32> = HashMap::with_max_entries(1, 0);

/// The current record's index, kept for the program after the tail call.
#[map]
static CURRENT: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);

#[inline(always)]
#[expect(clippy::pointers_in_nomem_asm_block, reason = "the address passes through the asm block, which reads nothing")]
fn plan() -> &'static Plan {
    let mut address = &raw const PLAN;
    // SAFETY: moves a register to itself, so that LLVM does not see the values that the loader replaces.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) address, options(pure, nomem, nostack)) };
    // SAFETY: `Global` is a transparent wrapper of the `Plan` that it is initialised with, and nothing writes to it.
    unsafe { &*address.cast::<Plan>() }
}

/// Writes the next record's values into the packet and continues with the measured program.
#[xdp(frags)]
pub fn drive(context: XdpContext) -> u32 {
    let plan = plan();
    let Some(next) = NEXT.get_ptr_mut(0) else { return XDP_ABORTED };
    // SAFETY: the bench runs one program at a time; the value stays valid.
    let next = unsafe { &mut *next };
    let index = *next & plan.records.wrapping_sub(1);
    *next = index + 1;
    let Some(record) = RECORDS.get(index) else { return XDP_ABORTED };
    if let Some(current) = CURRENT.get_ptr_mut(0) {
        // SAFETY: this CPU's own value.
        unsafe { *current = index };
    }
    if plan.source_length == 4 {
        write::<4>(&context, plan.source, &record.source);
    } else if plan.source_length == 16 {
        write::<16>(&context, plan.source, &record.source);
    }
    for offset in plan.calling {
        write::<10>(&context, offset, &record.calling);
    }
    for offset in plan.called {
        write::<10>(&context, offset, &record.called);
    }
    // SAFETY: the context is this run's. The call returns only if there is no such program.
    unsafe { PROGRAM.tail_call(&context, 0) };
    XDP_ABORTED
}

/// Writes the first `N` bytes to an offset in the packet. Offset 0 means nowhere.
#[inline(always)]
fn write<const N: usize>(context: &XdpContext, offset: u32, bytes: &[u8]) {
    let at = context.data() + (offset & 0x7ff) as usize;
    if offset == 0 || at + N > context.data_end() || bytes.len() < N {
        return;
    }
    // SAFETY: `N` bytes from `at` on are in the packet, by the comparison. The two do not overlap.
    unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), at as *mut u8, N) };
}

#[inline(always)]
fn read<const N: usize>(context: &XdpContext, offset: u32) -> Option<[u8; N]> {
    let at = context.data() + (offset & 0x7ff) as usize;
    if at + N > context.data_end() {
        return None;
    }
    // SAFETY: `N` bytes from `at` on are in the packet, by the comparison. Bytes have no alignment.
    Some(unsafe { (at as *const [u8; N]).read_unaligned() })
}

/// The verdict of a block list: a hit drops.
#[inline(always)]
fn verdict(hit: bool) -> u32 {
    if hit { XDP_DROP } else { XDP_PASS }
}

/// Does nothing: the cost of a run itself.
#[xdp(frags)]
pub fn empty(_context: XdpContext) -> u32 {
    XDP_DROP
}

/// Only reads the source address: the baseline of the look-ups by it.
#[xdp(frags)]
pub fn source_ipv4(context: XdpContext) -> u32 {
    let Some(key) = read::<4>(&context, plan().source) else { return XDP_ABORTED };
    verdict(u32::from_ne_bytes(black_box(key)) != 0)
}

/// Looks the source up in an LPM_TRIE.
#[xdp(frags)]
pub fn lpm_ipv4(context: XdpContext) -> u32 {
    let Some(key) = read::<4>(&context, plan().source) else { return XDP_ABORTED };
    verdict(LPM_IPV4.get(Key::new(32, key)).is_some())
}

/// Looks the source up in a HASH.
#[xdp(frags)]
pub fn hash_ipv4(context: XdpContext) -> u32 {
    let Some(key) = read::<4>(&context, plan().source) else { return XDP_ABORTED };
    // SAFETY: only the presence of the value is used.
    verdict(unsafe { HASH_IPV4.get(key) }.is_some())
}

/// As [`source_ipv4`].
#[xdp(frags)]
pub fn source_ipv6(context: XdpContext) -> u32 {
    let Some(key) = read::<16>(&context, plan().source) else { return XDP_ABORTED };
    verdict(u128::from_ne_bytes(black_box(key)) != 0)
}

/// As [`lpm_ipv4`].
#[xdp(frags)]
pub fn lpm_ipv6(context: XdpContext) -> u32 {
    let Some(key) = read::<16>(&context, plan().source) else { return XDP_ABORTED };
    verdict(LPM_IPV6.get(Key::new(128, key)).is_some())
}

/// As [`hash_ipv4`].
#[xdp(frags)]
pub fn hash_ipv6(context: XdpContext) -> u32 {
    let Some(key) = read::<16>(&context, plan().source) else { return XDP_ABORTED };
    // SAFETY: only the presence of the value is used.
    verdict(unsafe { HASH_IPV6.get(key) }.is_some())
}

/// The current record's number as a key.
#[inline(always)]
fn number() -> Option<[u8; 8]> {
    let record = RECORDS.get(*CURRENT.get(0)?)?;
    // SAFETY: both are eight bytes, and every bit pattern is valid.
    Some(unsafe { core::mem::transmute::<[u32; 2], [u8; 8]>(record.key) })
}

/// Only reads the calling number's key: the baseline of the look-ups by it.
#[xdp(frags)]
pub fn calling(_context: XdpContext) -> u32 {
    let Some(key) = number() else { return XDP_ABORTED };
    verdict(u64::from_ne_bytes(black_box(key)) != 0)
}

/// Looks the calling number up in an LPM_TRIE.
#[xdp(frags)]
pub fn lpm_number(_context: XdpContext) -> u32 {
    let Some(key) = number() else { return XDP_ABORTED };
    verdict(LPM_NUMBER.get(Key::new(64, key)).is_some())
}

/// Looks the calling number up in a HASH.
#[xdp(frags)]
pub fn hash_number(_context: XdpContext) -> u32 {
    let Some(key) = number() else { return XDP_ABORTED };
    // SAFETY: only the presence of the value is used.
    verdict(unsafe { HASH_NUMBER.get(key) }.is_some())
}

/// Bytes of the Ethernet, IPv4 and UDP headers: the message's offset.
const MESSAGE: u32 = 42;
/// The most bytes of a message that are read.
const MESSAGE_MAX: u64 = 1472;
const BUFFER: usize = 2048;

/// The memory of the copy and the scan.
#[repr(C)]
pub struct Scratch {
    message: [u8; BUFFER + 64],
    /// Where the lines of the headers that a filter would need start: From, To, User-Agent, Contact (or another Con...), Via,
    /// Call-ID, the blank line; and the number of lines.
    found: [u32; 8],
    cursor: u64,
    length: u64,
}

#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// Copies the message into this CPU's memory. Every reader does this first, since a packet cannot be read at offsets that are not
/// known in advance.
#[inline(always)]
fn copy_message(context: &XdpContext) -> Option<&'static mut Scratch> {
    let scratch = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: this CPU's own value, with one reference per run.
    let scratch = unsafe { &mut *scratch };
    let all = (context.data_end() - context.data()) as u64;
    if all <= u64::from(MESSAGE) {
        return None;
    }
    let mut length = (all - u64::from(MESSAGE)).min(MESSAGE_MAX);
    // SAFETY: moves a register to itself. Otherwise LLVM would remove the check below, which the verifier needs.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) length, options(pure, nomem, nostack)) };
    if length == 0 || length > MESSAGE_MAX {
        return None;
    }
    let context: *mut xdp_md = context.ctx;
    // SAFETY: the buffer has room for `length` bytes, and the helper checks the packet's bounds.
    let status =
        unsafe { bpf_xdp_load_bytes(context, MESSAGE, scratch.message.as_mut_ptr().cast::<c_void>(), length as u32) };
    scratch.length = length;
    (status == 0).then_some(scratch)
}

/// Only copies the message.
#[xdp(frags)]
pub fn copy(context: XdpContext) -> u32 {
    match copy_message(&context) {
        Some(_) => XDP_DROP,
        None => XDP_ABORTED,
    }
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Marks line feeds in a word, exact up to the first.
#[inline(always)]
fn line_feeds(word: u64) -> u64 {
    let zeros = word ^ (ONES * b'\n' as u64);
    zeros.wrapping_sub(ONES) & !zeros & HIGH
}

/// The number of bytes up to and including the first marked one.
#[inline(always)]
fn after(marks: u64) -> u64 {
    (((marks & marks.wrapping_neg()).wrapping_sub(1)) & ONES).wrapping_mul(ONES) >> 56
}

impl Scratch {
    #[inline(always)]
    fn word(&self, at: u64) -> u64 {
        let at = (at & (BUFFER as u64 - 1)) as usize;
        // SAFETY: the mask leaves room for 64 bytes after the offset. Bytes have no alignment.
        unsafe { self.message.as_ptr().add(at).cast::<u64>().read_unaligned() }
    }

    /// Recognises a line by its first four letters. True for the blank line. This is the least that distinguishes headers: no
    /// compact names, no other case than the usual one, no folded lines, no values.
    #[inline(always)]
    fn line(&mut self, at: u64) -> bool {
        const fn name(text: &[u8; 4]) -> u32 {
            u32::from_le_bytes(*text)
        }
        const FROM: u32 = name(b"from");
        const USER: u32 = name(b"user");
        const CONT: u32 = name(b"cont");
        const VIA: u32 = name(b"via:");
        const CALL: u32 = name(b"call");
        let word = self.word(at);
        self.found[7] += 1;
        match (word | 0x2020_2020_2020_2020) as u32 {
            FROM => self.found[0] = at as u32,
            USER => self.found[2] = at as u32,
            CONT => self.found[3] = at as u32,
            VIA => self.found[4] = at as u32,
            CALL => self.found[5] = at as u32,
            other if other & 0x00ff_ffff == name(b"to:\0") => self.found[1] = at as u32,
            _ if word as u8 == b'\r' => {
                self.found[6] = at as u32;
                return true;
            }
            _ => {}
        }
        false
    }

    /// Takes 32 bytes, or the bytes up to the next line.
    #[inline(always)]
    fn step(&mut self) -> bool {
        let at = self.cursor;
        if at >= self.length {
            return true;
        }
        let (a, b) = (line_feeds(self.word(at)), line_feeds(self.word(at + 8)));
        let (c, d) = (line_feeds(self.word(at + 16)), line_feeds(self.word(at + 24)));
        let line = if a != 0 {
            at + after(a)
        } else if b != 0 {
            at + 8 + after(b)
        } else if c != 0 {
            at + 16 + after(c)
        } else if d != 0 {
            at + 24 + after(d)
        } else {
            self.cursor = at + 32;
            return false;
        };
        self.cursor = line;
        self.line(line)
    }
}

extern "C" fn step(_index: u64, scratch: *mut &mut Scratch) -> i64 {
    // SAFETY: `bpf_loop` passes on the pointer that it was given, to a reference that outlives the loop.
    let scratch: &mut Scratch = unsafe { &mut **scratch };
    i64::from(scratch.step())
}

/// Copies the message, finds where the lines of its headers begin, and recognises a few of them.
#[xdp(frags)]
pub fn copy_and_scan(context: XdpContext) -> u32 {
    let Some(mut scratch) = copy_message(&context) else { return XDP_ABORTED };
    scratch.cursor = 0;
    scratch.found = [0; 8];
    // SAFETY: the callback has the signature that bpf_loop calls, and gets the pointer to the reference.
    unsafe { bpf_loop(192, step as *mut c_void, (&raw mut scratch).cast::<c_void>(), 0) };
    XDP_DROP
}

/// Copies the message and finds its lines, with a loop of its own instead of `bpf_loop`.
#[inline(always)]
fn scan_unrolled(context: &XdpContext) -> Option<&'static mut Scratch> {
    let scratch = copy_message(context)?;
    scratch.cursor = 0;
    scratch.found = [0; 8];
    for _ in 0..192 {
        // Read back from memory the cursor is an unknown number to the verifier, and its states merge.
        let mut register = 0u64;
        // SAFETY: moves a register to itself. It is not `nomem`, so LLVM assumes that memory has changed.
        unsafe { core::arch::asm!("{0} = {0}", inout(reg) register, options(nostack)) };
        let _ = register;
        if scratch.step() {
            break;
        }
    }
    Some(scratch)
}

/// As [`copy_and_scan`], with a loop of its own instead of `bpf_loop`. Each step of `bpf_loop` is a call, whose return is slow on
/// processors that need a return thunk (AMD's Safe RET). This loop costs the verifier a path for each step instead.
#[xdp(frags)]
pub fn copy_and_scan_unrolled(context: XdpContext) -> u32 {
    match scan_unrolled(&context) {
        Some(_) => XDP_DROP,
        None => XDP_ABORTED,
    }
}

/// How many packets [`scan_agent`] or [`drop_counted`] has dropped.
#[map]
static DROPPED: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

#[inline(always)]
fn drop_and_count() -> u32 {
    if let Some(count) = DROPPED.get_ptr_mut(0) {
        // SAFETY: this CPU's own value.
        unsafe { *count += 1 };
    }
    XDP_DROP
}

/// Drops the flood's scanner, and nothing else: a filter for one user agent, spelled in one way.
#[xdp(frags)]
pub fn scan_agent(context: XdpContext) -> u32 {
    const NAME: u64 = "User-Agent: ".len() as u64;
    let Some(scratch) = scan_unrolled(&context) else { return XDP_ABORTED };
    let value = u64::from(scratch.found[2]) + NAME;
    let scanner = [*b"friendly", *b"-scanner"].map(u64::from_le_bytes);
    if scratch.word(value) != scanner[0] || scratch.word(value + 8) != scanner[1] {
        return XDP_PASS;
    }
    drop_and_count()
}

/// Passes every packet.
#[xdp(frags)]
pub fn pass_all(_context: XdpContext) -> u32 {
    XDP_PASS
}

/// Drops and counts every packet: the most that a veth pair and its driver can do.
#[xdp(frags)]
pub fn drop_counted(_context: XdpContext) -> u32 {
    drop_and_count()
}

/// Drops every packet.
#[xdp(frags)]
pub fn drop_all(_context: XdpContext) -> u32 {
    XDP_DROP
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier rejects a program in which this can be reached.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
