//! The XDP program: `filter-core`'s engine over BPF maps. Nothing is decided here.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod host;
mod maps;

use aya_ebpf::{
    bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS},
    macros::xdp,
    programs::XdpContext,
};
use filter_core::{
    engine,
    packet::Look,
    reason::{Reason, Verdict},
};

use crate::host::Kernel;

/// The entry point. It accepts multi-buffer packets, so it runs on interfaces with a large MTU.
//
// Inlined into the function that the macro makes: otherwise LLVM calls it once it is large, and the longest chain of calls would have more
// than the eight frames that the verifier allows.
#[xdp(frags)]
#[inline(always)]
pub fn ringfence(context: XdpContext) -> u32 {
    let host = Kernel::new(&context);
    let look = engine::look(host);
    if look == Look::Elsewhere {
        return action(Reason::NotSignalling);
    }
    let Some(scratch) = maps::scratch() else { return XDP_ABORTED };
    scratch.sequence += 1;
    action(engine::decide_other(host, scratch, look))
}

/// The one table from reason to XDP action.
#[inline(always)]
fn action(reason: Reason) -> u32 {
    match reason.verdict() {
        Verdict::Drop => XDP_DROP,
        Verdict::Pass => XDP_PASS,
    }
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
