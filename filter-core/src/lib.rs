//! The engine of Ringfence: what a packet is, what its SIP message says, and what the policy does with it.
//!
//! Everything here runs unchanged in two hosts: in the kernel, as the body of the XDP program, and in user space, for
//! `inspect`, `explain`, `replay`, `test` and every property test. The hosts differ only in their implementation of
//! [`host::Host`]: BPF maps there, vectors here.

#![no_std]
#![forbid(unsafe_code)]

pub mod digits;
pub mod engine;
pub mod evaluate;
pub mod event;
pub mod find;
pub mod hash;
pub mod header;
pub mod headers;
pub mod host;
pub mod identity;
pub mod layout;
pub mod limits;
pub mod lists;
pub mod message;
mod named;
pub mod number;
pub mod numbers;
pub mod observe;
pub mod packet;
pub mod prefix;
pub mod rate;
pub mod reason;
mod remembered;
pub mod scratch;
pub mod start_line;
mod swar;
pub mod text;
mod transport;
pub mod trie;
pub mod trunk_zero;
pub mod upstream;
pub mod uri;
mod verstat;
mod wanted;
