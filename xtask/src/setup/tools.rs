//! The tools that the set-up installs, and where each of them comes from.

use std::{fs, process::Command};

use super::{
    Group,
    python::{pjsip_is_installed, sipvicious_is_installed},
    qemu,
};
use crate::{
    bpf, versions,
    workspace::{self, find_program, run_silently},
};

/// A tool that must be installed.
pub(super) struct Tool {
    pub(super) name: &'static str,
    /// What it is needed for; one group is enough to install it.
    pub(super) groups: &'static [Group],
    pub(super) needed_for: &'static str,
    pub(super) is_there: fn() -> bool,
    pub(super) source: Source,
    /// Without an optional tool the set-up succeeds, and reports what will be left out.
    pub(super) optional: bool,
}

/// Where a tool comes from.
#[derive(Clone, Copy)]
pub(super) enum Source {
    /// Debian packages.
    Apt(&'static [&'static str]),
    /// A crate with a binary, and the time that it takes to compile.
    Cargo { package: &'static str, version: &'static str, minutes: u32 },
    /// Not installed by the set-up. This command installs it.
    Manual(&'static str),
    /// A Debian package, which is unpacked where it cannot be installed.
    Qemu,
    /// From PyPI: the shared libraries in a Python wheel, since Debian has no PJSIP.
    Pjsip,
    /// From PyPI, into a virtual environment of this working copy.
    Sipvicious,
}

use Source::{Apt, Cargo, Manual, Pjsip, Qemu, Sipvicious};

pub(super) const TOOLS: &[Tool] = &[
    Tool {
        name: "BPF compiler",
        groups: &[Group::Build],
        needed_for: "compiling the XDP program",
        is_there: || bpf::Compiler::find().is_ok(),
        source: Apt(&["rustc-web", "rust-web-src"]),
        optional: false,
    },
    Tool {
        name: "bpf-linker",
        groups: &[Group::Build],
        needed_for: "linking the XDP program",
        is_there: || bpf::linker().is_ok(),
        source: if cfg!(target_arch = "x86_64") {
            Cargo { package: "bpf-linker", version: versions::BPF_LINKER, minutes: 1 }
        } else {
            Manual(versions::BPF_LINKER_WITH_LLVM)
        },
        optional: false,
    },
    Tool {
        name: "BPF compiler's clippy",
        groups: &[Group::Lint],
        needed_for: "linting the XDP program",
        is_there: || bpf::Compiler::find().is_ok_and(|compiler| compiler.clippy_driver().exists()),
        source: Apt(&["rust-web-clippy"]),
        optional: false,
    },
    Tool {
        name: "rustfmt",
        groups: &[Group::Lint],
        needed_for: "checking the formatting",
        is_there: || run_silently(&mut workspace::cargo(["fmt", "--version"])).is_ok(),
        source: Manual("rustup component add rustfmt"),
        optional: false,
    },
    Tool {
        name: "clippy",
        groups: &[Group::Lint],
        needed_for: "linting",
        is_there: || run_silently(&mut workspace::cargo(["clippy", "--version"])).is_ok(),
        source: Manual("rustup component add clippy"),
        optional: false,
    },
    Tool {
        name: "cargo-deny",
        groups: &[Group::Lint],
        needed_for: "checking licences and sources of dependencies",
        is_there: || run_silently(&mut workspace::cargo(["deny", "--version"])).is_ok(),
        source: Cargo { package: "cargo-deny", version: versions::CARGO_DENY, minutes: 4 },
        optional: true,
    },
    program("ip", &["iproute2"], &[Group::Kernels, Group::Traffic], "making network namespaces", || has("ip")),
    program("nsenter", &["util-linux"], &[Group::Kernels, Group::Traffic], "entering network namespaces", || {
        has("nsenter")
    }),
    program("setpriv", &["util-linux"], &[Group::Kernels], "ending a guest with its run", || has("setpriv")),
    program("sipp", &["sip-tester"], &[Group::Traffic], "making calls", || has("sipp")),
    program("kamailio", &["kamailio"], &[Group::Traffic], "the SIP server that the filter protects", || {
        has("kamailio")
    }),
    program("git", &["git"], &[Group::Traffic], "following policies in git repositories", || has("git")),
    program("ssh-keygen", &["openssh-client"], &[Group::Traffic], "signing commits", || has("ssh-keygen")),
    program("sshd", &["openssh-server"], &[Group::Traffic], "serving git repositories over SSH", || has("sshd")),
    program("tshark", &["tshark"], &[Group::Traffic], "a second opinion on captures", || has("tshark")),
    program("sngrep", &["sngrep"], &[Group::Traffic], "receiving HEP", || has("sngrep")),
    program("logrotate", &["logrotate"], &[Group::Traffic], "rotating the events file", || has("logrotate")),
    program("tmux", &["tmux"], &[Group::Traffic], "a terminal for the screen of top", || has("tmux")),
    program("prometheus", &["prometheus"], &[Group::Traffic], "scraping the metrics", || has("prometheus")),
    program("promtool", &["prometheus"], &[Group::Traffic], "checking metrics, rules and alerts", || has("promtool")),
    Tool {
        name: "sipvicious",
        groups: &[Group::Traffic],
        needed_for: "scanning, as an attacker would",
        is_there: sipvicious_is_installed,
        source: Sipvicious,
        optional: false,
    },
    optional("cc", &["gcc", "libc6-dev"], "compiling the readers of the server comparison", || has("cc")),
    optional("pkg-config", &["pkg-config"], "compiling the readers of the server comparison", || has("pkg-config")),
    optional("Sofia-SIP", &["libsofia-sip-ua-dev"], "reading messages as FreeSWITCH does", || {
        has_library("sofia-sip-ua")
    }),
    optional("libosip2", &["libosip2-dev"], "reading messages as eXosip does", || has_library("libosip2")),
    optional("belle-sip", &["libbellesip-dev"], "reading messages as Linphone does", || has_library("belle-sip")),
    optional("libre", &["libre-dev"], "reading messages as baresip does", || has_library("libre")),
    Tool {
        name: "PJSIP",
        groups: &[Group::Servers],
        needed_for: "reading messages as Asterisk does",
        is_there: pjsip_is_installed,
        source: if cfg!(target_arch = "x86_64") { Pjsip } else { Manual("# PJSIP: the wheel is for x86_64 only") },
        optional: true,
    },
    program("c++", &["g++"], &[Group::Fuzz], "compiling libFuzzer", || has("c++")),
    program("trafgen", &["netsniff-ng"], &[Group::Bench], "sending a flood", || has("trafgen")),
    program("iptables", &["iptables"], &[Group::Bench], "a filter to compare with", || has("iptables")),
    program("nft", &["nftables"], &[Group::Bench], "a filter to compare with", || has("nft")),
    program("xdp-filter", &["xdp-tools"], &[Group::Bench], "a filter to compare with", || has("xdp-filter")),
    program("perf", &["linux-perf"], &[Group::Profile], "sampling where time goes", || has("perf")),
    Tool {
        name: "cargo-deb",
        groups: &[Group::Package],
        needed_for: "making the Debian package",
        is_there: || run_silently(&mut workspace::cargo(["deb", "--version"])).is_ok(),
        source: Cargo { package: "cargo-deb", version: versions::CARGO_DEB, minutes: 3 },
        optional: false,
    },
    program("dpkg-shlibdeps", &["dpkg-dev"], &[Group::Package], "finding the package's dependencies", || {
        has("dpkg-shlibdeps")
    }),
    program("objdump", &["binutils"], &[Group::Package], "finding which C library the binary needs", || has("objdump")),
    program("lintian", &["lintian"], &[Group::Package], "checking the package", || has("lintian")),
    program("debootstrap", &["debootstrap"], &[Group::Package], "making a root to install the package in", || {
        has("debootstrap")
    }),
    Tool {
        name: "qemu",
        groups: &[Group::Kernels],
        needed_for: "booting kernels",
        is_there: qemu::is_installed,
        source: Qemu,
        optional: false,
    },
    program("busybox", &["busybox-static"], &[Group::Kernels], "the guests' user space", || is_static("busybox")),
    program("cpio", &["cpio"], &[Group::Kernels], "packing the guests' initramfs", || has("cpio")),
    program("xz", &["xz-utils"], &[Group::Kernels], "unpacking kernel modules", || has("xz")),
];

const fn program(
    name: &'static str,
    packages: &'static [&'static str],
    groups: &'static [Group],
    needed_for: &'static str,
    is_there: fn() -> bool,
) -> Tool {
    Tool { name, groups, needed_for, is_there, source: Apt(packages), optional: false }
}

/// A tool of the server comparison, which leaves out what is not installed.
const fn optional(
    name: &'static str,
    packages: &'static [&'static str],
    needed_for: &'static str,
    is_there: fn() -> bool,
) -> Tool {
    Tool { name, groups: &[Group::Servers], needed_for, is_there, source: Apt(packages), optional: true }
}

/// Whether pkg-config finds a library.
fn has_library(name: &str) -> bool {
    Command::new("pkg-config").args(["--exists", name]).status().is_ok_and(|status| status.success())
}

fn has(program: &str) -> bool {
    find_program(program).is_some()
}

/// Whether a program is installed and statically linked: its first page has no path of an ELF interpreter.
fn is_static(program: &str) -> bool {
    let Some(content) = find_program(program).and_then(|path| fs::read(path).ok()) else { return false };
    let start = &content[..content.len().min(4096)];
    !start.windows(3).any(|bytes| bytes == b"/ld")
}
