//! Random policies, packets and readings.
//!
//! Everything is drawn from small stocks, so that lists overlap, prefixes nest, and conditions hold about half of the time.

pub mod frame;
pub mod message;
mod mutate;
mod payload;
mod policy;
mod readings;
pub mod seeded_policy;
mod sip;
mod start_line;
mod stock;

pub use filter_policy::testing::Random;
pub use mutate::mutate;
pub use payload::{message, payload};
pub use policy::{origin, pattern_list, policy};
pub use readings::{address, number, readings};
pub use sip::{dialled, name_addr, user};
pub use stock::{ADDRESSES, NUMBERS, PATTERNS, PORTS, TEXT_SCOPES, VALUES};
