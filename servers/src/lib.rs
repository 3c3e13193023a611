//! SIP servers as oracles: what they read in generated and mutated messages, compared with what the engine reads.
//!
//! A filter that reads a message differently from the server behind it can be bypassed. The rule that this crate checks: what
//! any of the servers takes for a request with a method, a number or a user agent, the engine reads the same, or it reports an
//! anomaly, or the difference is in a list with a reason (`data/explained.tsv`). See docs/servers.md.

#![warn(clippy::wildcard_enum_match_arm, unreachable_pub)]

mod address;
mod compare;
mod corpus;
mod engine;
mod generate;
pub mod kamailio;
mod known;
mod message;
mod mutate;
mod reader;
mod reading;
mod run;

pub use compare::{Difference, What, differences};
pub use corpus::{Case, attacks, cases, corpus, messages};
pub use engine::EngineReader;
pub use generate::{Generated, Id};
pub use known::Known;
pub use reader::{Readers, missing_packages};
pub use reading::{FIELDS, Field, Kind, Reading};
pub use run::{Options, Report, run};

use std::path::PathBuf;

/// Where the readers are built, and where PJSIP's libraries are.
#[must_use]
pub fn target() -> PathBuf {
    ringfence_tests::workspace().join("target")
}
