//! A second opinion on policies: an evaluator straight over the resolved policy, and policies and readings to try.

#![allow(dead_code, reason = "each test that includes this module uses its part")]

pub mod compare;
pub mod evaluate;
pub mod fuzz;
pub mod generate;
pub mod image;
pub mod message;
pub mod packets;
pub mod policies;
pub mod random;
pub mod read;
