//! `cargo xtask`: everything about this repository that is more than one cargo command.

fn main() {}
