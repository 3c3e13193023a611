//! Every version the set-up pins, in one place.
//!
//! The compiler and the linker of the XDP program are pinned because the kernel's verifier judges what they emit: another
//! LLVM can make a program that does not load.

/// crates.io: the newest bpf-linker that runs on the compiler's own LLVM (22) instead of an LLVM to be installed beside it.
pub const BPF_LINKER: &str = "0.10.3";
/// The same on hosts that are not x86_64: there it has to be linked against an LLVM of its own.
pub const BPF_LINKER_WITH_LLVM: &str = "LLVM_PREFIX=/usr/lib/llvm-22 cargo install bpf-linker --version 0.10.3 --locked \
     --no-default-features --features llvm-22   # needs LLVM 22 (Debian: llvm-22-dev)";
/// crates.io.
pub const CARGO_DENY: &str = "0.20.2";
/// Debian: `rustc-web` follows the security updates, so the last number moves. Its packages of the library source and of
/// clippy need the same version as the compiler.
const DEBIAN_RUSTC: &str = "1.96.*";
/// PyPI: libphonenumber's metadata, which the built-in numbering tables are made of.
pub const PHONENUMBERS: &str = "9.0.43";
/// PyPI.
pub const SIPVICIOUS: &str = "0.3.8";

/// The version a Debian package is pinned to, if it is.
pub fn of_debian_package(package: &str) -> Option<&'static str> {
    ["rustc-web", "rust-web-clippy", "rust-web-src"].contains(&package).then_some(DEBIAN_RUSTC)
}
