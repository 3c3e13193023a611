//! An independent check on the engine: a naive packet reader, a naive policy evaluator, and random policies, packets and
//! readings to compare them on.
//!
//! The oracle shares only the resolved policy and the enums of `filter-core` with the code it checks. It is slow on purpose:
//! byte slices and strings, one step at a time.

#![warn(clippy::wildcard_enum_match_arm, unreachable_pub)]
#![expect(missing_docs, reason = "most items are named after a field of a message or of a policy")]

pub mod compare;
pub mod decide;
pub mod evaluate;
pub mod fuzz;
pub mod generate;
pub mod image;
pub mod limits;
pub mod read;
