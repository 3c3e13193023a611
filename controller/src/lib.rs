//! The user-space half of Ringfence: policies, the kernel's maps and programs, the daemon and the command line.

pub mod cli;
pub mod daemon;
pub mod kernel;
