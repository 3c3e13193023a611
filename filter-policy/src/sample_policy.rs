//! The sample policy repository inside the binary.

/// Every file of `policies/`: its path in that folder, with `/` between its parts, and its content; sorted by path.
pub static FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/sample_policy.rs"));
