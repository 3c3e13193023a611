//! The engine of Ringfence: what a packet is, what its SIP message says, and what the policy does with it.
//!
//! Everything here runs unchanged in two hosts: in the kernel, as the body of the XDP program, and in user space, behind
//! `inspect`, `explain`, `replay`, `test` and every property test. The hosts differ only in what stands behind
//! [`host::Host`]: BPF maps there, vectors here.

#![no_std]
#![forbid(unsafe_code)]

pub mod action;
pub mod engine;
pub mod evaluate;
mod event;
pub mod find;
mod header;
mod headers;
pub mod host;
pub mod identity;
pub mod layout;
pub mod limits;
pub mod message;
mod named;
pub mod number;
pub mod packet;
pub mod rate;
pub mod reason;
pub mod scratch;
mod swar;
pub mod text;
pub mod trie;
pub mod uri;
