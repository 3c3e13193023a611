//! The policy language: what a `policy.toml` can say, and how mistakes in it are reported.

pub mod action;
pub mod diagnostics;
pub mod header;
pub mod printable;
pub mod quantity;
pub mod schema;
pub mod scope;
pub mod source;
pub mod stage;
pub mod tcp;
pub mod upstream;
