//! A second opinion on the engine: a naive reader of packets, a naive evaluator of policies, and random policies, packets and
//! readings to compare them on.
//!
//! The oracle shares the resolved policy, the enums of `filter-core` and nothing else with what it checks. It is slow on
//! purpose: byte slices and strings, one step after the other.

#![expect(missing_docs, reason = "fields named after what a message or a policy says")]

pub mod compare;
pub mod decide;
pub mod evaluate;
pub mod fuzz;
pub mod generate;
pub mod image;
pub mod read;
