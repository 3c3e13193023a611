//! The user-space half of Ringfence: policies, the kernel's maps and programs, the daemon and the command line.

pub mod capture;
pub mod cli;
pub mod daemon;
pub mod engine;
pub mod import;
pub mod kernel;
pub mod policy;
pub mod sample_policy;
