//! Every version that the set-up pins.
//!
//! The compiler and the linker of the XDP program are pinned because the kernel's verifier judges their output: with another
//! LLVM, the program may not load.

/// From crates.io: the newest bpf-linker that uses the compiler's own LLVM (22), so that no other LLVM has to be installed.
pub(crate) const BPF_LINKER: &str = "0.10.3";
/// The command for hosts other than x86_64, where it has to be linked to an LLVM of its own.
pub(crate) const BPF_LINKER_WITH_LLVM: &str = "LLVM_PREFIX=/usr/lib/llvm-22 cargo install bpf-linker --version 0.10.3 --locked \
     --no-default-features --features llvm-22   # needs LLVM 22 (Debian: llvm-22-dev)";
/// From crates.io.
pub(crate) const CARGO_DEB: &str = "3.8.0";
/// From crates.io.
pub(crate) const CARGO_DENY: &str = "0.20.2";
/// From Debian. `rustc-web` follows security updates, so the patch version changes. The packages of the library source and
/// of clippy need the same version as the compiler.
const DEBIAN_RUSTC: &str = "1.96.*";
/// From PyPI: libphonenumber's metadata, the source of the built-in numbering tables.
pub(crate) const PHONENUMBERS: &str = "9.0.43";
/// From PyPI: the wheel `pjsua2-pybind11`, which holds the shared libraries of PJSIP 2.14.1.
pub(crate) const PJSIP: &str = "0.1a3";
/// From PyPI.
pub(crate) const SIPVICIOUS: &str = "0.3.8";

/// The version that a Debian package is pinned to, if any.
pub(crate) fn of_debian_package(package: &str) -> Option<&'static str> {
    ["rustc-web", "rust-web-clippy", "rust-web-src"].contains(&package).then_some(DEBIAN_RUSTC)
}
