//! Passes the linker the one CPU feature that the program is written for, and an option of LLVM.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Packet data is not aligned. With this feature, an unaligned 8-byte read is one load, not eight. It has to be an argument of
    // the linker: rustc always passes it `--cpu generic`.
    println!("cargo::rustc-link-arg-bins=--cpu-features=+allows-misaligned-mem-access");
    // Otherwise LLVM turns every memset, however small and constant, into a call of a loop over bytes.
    println!("cargo::rustc-link-arg-bins=--disable-expand-memcpy-in-order");
}
