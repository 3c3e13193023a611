//! Passes the linker the one CPU feature the program is written for.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Packets give no alignment. With this an unaligned 8-byte read is one load, not eight. It has to be an argument of
    // the linker: rustc always hands it `--cpu generic`.
    println!("cargo::rustc-link-arg-bins=--cpu-features=+allows-misaligned-mem-access");
    // Left on, LLVM turns every memset, however small and constant, into a call of a loop over bytes.
    println!("cargo::rustc-link-arg-bins=--disable-expand-memcpy-in-order");
}
