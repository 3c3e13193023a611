//! What Ringfence's XDP program is measured beside.
//!
//! [`drive`] writes a source address and two numbers into the packet, other ones at each run, and hands it to the program
//! that is measured by a tail call: so all of them, Ringfence included, see the same sequence of packets, and none of them
//! a packet whose look-ups are already in the cache because the run before made them.

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
/// The record that comes next.
#[map]
static NEXT: Array<u32> = Array::with_max_entries(1, 0);
/// The program that is measured. Its index is a constant: the kernel makes such a tail call a plain jump, while an indirect
/// one can cost more than all that is measured.
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

/// The next record's number, kept for the program behind the tail call.
#[map]
static CURRENT: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);

#[inline(always)]
#[expect(clippy::pointers_in_nomem_asm_block, reason = "the address passes through the asm block, which reads nothing")]
fn plan() -> &'static Plan {
    let mut address = &raw const PLAN;
    // SAFETY: moves a register to itself, so that LLVM does not see the zeroes that the loader replaces.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) address, options(pure, nomem, nostack)) };
    // SAFETY: `Global` is a transparent wrapper of the `Plan` that it is initialised with, and nothing writes to it.
    unsafe { &*address.cast::<Plan>() }
}

/// Writes the next record's values into the packet and goes on to the program that is measured.
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
    // SAFETY: the context is this run's. Comes back only if there is no such program.
    unsafe { PROGRAM.tail_call(&context, 0) };
    XDP_ABORTED
}

/// Writes the first `N` bytes to a place in the packet; 0 is none.
#[inline(always)]
fn write<const N: usize>(context: &XdpContext, offset: u32, bytes: &[u8]) {
    let at = context.data() + (offset & 0x7ff) as usize;
    if offset == 0 || at + N > context.data_end() || bytes.len() < N {
        return;
    }
    // SAFETY: `N` bytes from `at` on lie in the packet, by the comparison; the two do not overlap.
    unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), at as *mut u8, N) };
}

#[inline(always)]
fn read<const N: usize>(context: &XdpContext, offset: u32) -> Option<[u8; N]> {
    let at = context.data() + (offset & 0x7ff) as usize;
    if at + N > context.data_end() {
        return None;
    }
    // SAFETY: `N` bytes from `at` on lie in the packet, by the comparison; bytes have no alignment.
    Some(unsafe { (at as *const [u8; N]).read_unaligned() })
}

/// A hit drops, as a block list does.
#[inline(always)]
fn verdict(hit: bool) -> u32 {
    if hit { XDP_DROP } else { XDP_PASS }
}

/// Nothing: what a run costs.
#[xdp(frags)]
pub fn empty(_context: XdpContext) -> u32 {
    XDP_DROP
}

/// Reads the source address, and no more: what look-ups by it are counted from.
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
    // SAFETY: only whether it is there is looked at.
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
    // SAFETY: only whether it is there is looked at.
    verdict(unsafe { HASH_IPV6.get(key) }.is_some())
}

/// The current record's number as a key.
#[inline(always)]
fn number() -> Option<[u8; 8]> {
    let record = RECORDS.get(*CURRENT.get(0)?)?;
    // SAFETY: both are eight bytes without any meaning of their own.
    Some(unsafe { core::mem::transmute::<[u32; 2], [u8; 8]>(record.key) })
}

/// Takes the calling number's key, and no more: what look-ups by it are counted from.
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
    // SAFETY: only whether it is there is looked at.
    verdict(unsafe { HASH_NUMBER.get(key) }.is_some())
}

/// Bytes of Ethernet, IPv4 and UDP header: where the message is.
const MESSAGE: u32 = 42;
/// Bytes of a message that are looked at.
const MESSAGE_MAX: u64 = 1472;
const BUFFER: usize = 2048;

/// Memory of the copy and the scan.
#[repr(C)]
pub struct Scratch {
    message: [u8; BUFFER + 64],
    /// Where the lines of the headers that a filter would want start: From, To, User-Agent, Contact (or another Con...), Via,
    /// Call-ID, the blank line; and how many lines there are.
    found: [u32; 8],
    cursor: u64,
    length: u64,
}

#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// Copies the message into this CPU's memory: what every reader does first, since a packet cannot be walked over with offsets
/// that are not known in advance.
#[inline(always)]
fn copy_message(context: &XdpContext) -> Option<&'static mut Scratch> {
    let scratch = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: this CPU's own value; one reference a run.
    let scratch = unsafe { &mut *scratch };
    let all = (context.data_end() - context.data()) as u64;
    if all <= u64::from(MESSAGE) {
        return None;
    }
    let mut length = (all - u64::from(MESSAGE)).min(MESSAGE_MAX);
    // SAFETY: moves a register to itself; else LLVM takes the check below for known, and the verifier does not.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) length, options(pure, nomem, nostack)) };
    if length == 0 || length > MESSAGE_MAX {
        return None;
    }
    let context: *mut xdp_md = context.ctx;
    // SAFETY: the buffer has room for `length`, and the helper checks the packet's bounds.
    let status =
        unsafe { bpf_xdp_load_bytes(context, MESSAGE, scratch.message.as_mut_ptr().cast::<c_void>(), length as u32) };
    scratch.length = length;
    (status == 0).then_some(scratch)
}

/// Copies the message, and no more.
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

/// Bytes up to and with the first marked one.
#[inline(always)]
fn behind(marks: u64) -> u64 {
    (((marks & marks.wrapping_neg()).wrapping_sub(1)) & ONES).wrapping_mul(ONES) >> 56
}

impl Scratch {
    #[inline(always)]
    fn word(&self, at: u64) -> u64 {
        let at = (at & (BUFFER as u64 - 1)) as usize;
        // SAFETY: the mask leaves room for 64 bytes behind; bytes have no alignment.
        unsafe { self.message.as_ptr().add(at).cast::<u64>().read_unaligned() }
    }

    /// Looks at the beginning of a line by its first four letters; true at the blank line. The least that tells headers
    /// apart: no compact names, no other case than the usual, no folded lines, no values.
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

    /// Goes over 32 bytes, or to the next line.
    #[inline(always)]
    fn step(&mut self) -> bool {
        let at = self.cursor;
        if at >= self.length {
            return true;
        }
        let (a, b) = (line_feeds(self.word(at)), line_feeds(self.word(at + 8)));
        let (c, d) = (line_feeds(self.word(at + 16)), line_feeds(self.word(at + 24)));
        let line = if a != 0 {
            at + behind(a)
        } else if b != 0 {
            at + 8 + behind(b)
        } else if c != 0 {
            at + 16 + behind(c)
        } else if d != 0 {
            at + 24 + behind(d)
        } else {
            self.cursor = at + 32;
            return false;
        };
        self.cursor = line;
        self.line(line)
    }
}

extern "C" fn step(_index: u64, scratch: *mut &mut Scratch) -> i64 {
    // SAFETY: `bpf_loop` hands over the pointer that it was given, to a reference that outlives the loop.
    let scratch: &mut Scratch = unsafe { &mut **scratch };
    i64::from(scratch.step())
}

/// Copies the message and finds where the lines of its headers begin, and which a few of them are.
#[xdp(frags)]
pub fn copy_and_scan(context: XdpContext) -> u32 {
    let Some(mut scratch) = copy_message(&context) else { return XDP_ABORTED };
    scratch.cursor = 0;
    scratch.found = [0; 8];
    // SAFETY: the callback has the signature that bpf_loop calls, and gets the pointer to the reference.
    unsafe { bpf_loop(192, step as *mut c_void, (&raw mut scratch).cast::<c_void>(), 0) };
    XDP_DROP
}

/// As [`copy_and_scan`], with a loop of its own in place of `bpf_loop`: each step of that one is a call, whose return is slow on
/// processors that need a return thunk (AMD's Safe RET). It costs the verifier a path for each step instead.
#[xdp(frags)]
pub fn copy_and_scan_unrolled(context: XdpContext) -> u32 {
    let Some(scratch) = copy_message(&context) else { return XDP_ABORTED };
    scratch.cursor = 0;
    scratch.found = [0; 8];
    for _ in 0..192 {
        // Read back from memory the cursor is an unknown number to the verifier, and its states merge.
        let mut register = 0u64;
        // SAFETY: moves a register to itself; it clobbers memory, that is the point.
        unsafe { core::arch::asm!("{0} = {0}", inout(reg) register, options(nostack)) };
        let _ = register;
        if scratch.step() {
            break;
        }
    }
    XDP_DROP
}

/// Drops every packet: what a veth pair and its driver can do at most.
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
