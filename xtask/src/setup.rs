//! `cargo xtask setup`: installs the tools that are missing, and nothing else.
//!
//! It looks for every tool first. If none is missing, that is all it does. Whatever it cannot install (no apt, not root, no
//! network) is reported in one message at the end, with the commands that install it.

mod apt;
mod python;
pub(crate) mod qemu;
mod tools;

use std::{
    fmt::Write as _,
    fs::{self, File},
    time::Instant,
};

use anyhow::{Context, Result, bail};

pub(crate) use self::python::python;
use self::{
    python::{install_pjsip, install_sipvicious, python_makes_environments},
    tools::{
        Source::{Apt, Cargo, Manual, Pjsip, Qemu, Sipvicious},
        TOOLS, Tool,
    },
};
use crate::{
    bpf, versions,
    workspace::{self, find_program, run_silently},
};

/// What a group of tools is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Group {
    /// To measure: senders, and filters to compare with.
    Bench,
    /// To build.
    Build,
    /// To fuzz.
    Fuzz,
    /// To boot other kernels.
    Kernels,
    /// To lint.
    Lint,
    /// To make packages, and to install them in a root of their own.
    Package,
    /// To find out which lines a packet's time goes into.
    Profile,
    /// To compare what SIP servers read with what the engine reads: SIP libraries.
    Servers,
    /// To run the demo and the tests: real SIP software and network namespaces.
    Traffic,
}

/// What `cargo xtask test` and `cargo xtask vm` need. Other kernels are booted on x86-64 only.
const DEFAULT: &[Group] = if cfg!(target_arch = "x86_64") {
    &[Group::Build, Group::Kernels, Group::Lint, Group::Traffic]
} else {
    &[Group::Build, Group::Lint, Group::Traffic]
};

/// The arguments of `cargo xtask setup`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What to set up for [default: build, lint, traffic, and kernels on x86-64].
    #[arg(value_enum, value_name = "GROUP")]
    groups: Vec<Group>,
    /// Only report what is missing; the exit status is 1 if anything is.
    #[arg(long)]
    check: bool,
}

/// Sets up the groups that the arguments name.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let groups = match arguments.groups.as_slice() {
        [] => DEFAULT,
        groups => groups,
    };
    if arguments.check {
        let missing = missing(groups);
        if !missing.is_empty() {
            bail!(what_to_do(&missing, &[]));
        }
        println!("nothing is missing");
        return Ok(());
    }
    println!("{}", ensure(groups)?);
    Ok(())
}

/// Installs the missing tools of these groups. Returns a sentence about what was done.
pub(crate) fn ensure(groups: &[Group]) -> Result<String> {
    if missing(groups).is_empty() {
        return Ok("nothing is missing".into());
    }
    let _lock = lock()?;
    // Look again: another set-up may have installed them while this one waited.
    let wanted = missing(groups);
    let problems = install(&wanted);

    let (left_out, lacking): (Vec<_>, Vec<_>) = missing(groups).into_iter().partition(|tool| tool.optional);
    if !lacking.is_empty() {
        bail!(what_to_do(&lacking, &problems));
    }
    if !left_out.is_empty() {
        eprintln!("WARNING: {}", what_to_do(&left_out, &problems));
    }
    let done: Vec<_> =
        wanted.iter().map(|tool| tool.name).filter(|name| left_out.iter().all(|t| t.name != *name)).collect();
    Ok(format!("installed {}", if done.is_empty() { "nothing".into() } else { done.join(", ") }))
}

fn missing(groups: &[Group]) -> Vec<&'static Tool> {
    TOOLS.iter().filter(|tool| tool.groups.iter().any(|group| groups.contains(group)) && !(tool.is_there)()).collect()
}

/// Tries to install each of the tools. Returns the errors.
fn install(tools: &[&Tool]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut try_to = |what: String, job: &mut dyn FnMut() -> Result<()>| {
        eprintln!("setup: {what} ...");
        let start = Instant::now();
        match job() {
            Ok(()) => eprintln!("setup: {what}: done in {} s", start.elapsed().as_secs()),
            Err(error) => {
                eprintln!("setup: {what}: FAILED: {error:#}");
                problems.push(ends(&format!("{error:#}")));
            }
        }
    };
    let packages = debian_packages(tools);
    if !packages.is_empty() {
        try_to(format!("apt-get install {}", packages.join(" ")), &mut || apt::install(&packages));
    }
    for tool in tools {
        match tool.source {
            Apt(_) | Manual(_) => {}
            Cargo { package, version, minutes } => {
                try_to(format!("{} (compiles for about {minutes} min)", cargo_install(package, version)), &mut || {
                    let words = cargo_install(package, version);
                    // The programs run for seconds, so optimising them fully is not worth twice the time to compile them.
                    // This program's own cargo: the one in PATH may be the distribution's, of another version.
                    let mut cargo = workspace::cargo(words.split(' ').skip(1));
                    cargo
                        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
                        .env("CARGO_PROFILE_RELEASE_DEBUG", "none")
                        .env("CARGO_PROFILE_RELEASE_LTO", "off")
                        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
                    run_silently(&mut cargo).map(|_| ())
                });
            }
            Qemu if qemu::is_installed() => {}
            Qemu => try_to(format!("unpacking {}", qemu::PACKAGE), &mut qemu::unpack),
            Pjsip => {
                try_to(format!("pip download pjsua2-pybind11=={}", versions::PJSIP), &mut install_pjsip);
            }
            Sipvicious => {
                try_to(format!("pip install sipvicious=={}", versions::SIPVICIOUS), &mut install_sipvicious);
            }
        }
    }
    problems
}

/// The first and last line of an error that was already printed in full: what failed, and usually why.
fn ends(text: &str) -> String {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    lines.next_back().map_or(first.to_owned(), |last| format!("{first} ... {}", last.trim()))
}

fn cargo_install(package: &str, version: &str) -> String {
    format!("cargo install {package} --version {version} --locked")
}

/// The Debian packages of these tools, each with its version if that is pinned.
fn debian_packages(tools: &[&Tool]) -> Vec<String> {
    let mut packages = Vec::new();
    for tool in tools {
        match tool.source {
            Apt(names) => packages.extend(names),
            Pjsip | Sipvicious if !python_makes_environments() => packages.extend(["python3", "python3-venv"]),
            Qemu => packages.push(qemu::PACKAGE),
            Cargo { .. } | Manual(_) | Pjsip | Sipvicious => {}
        }
    }
    let with_version = |name: &str| match versions::of_debian_package(name) {
        Some(version) => format!("{name}={version}"),
        None => name.to_owned(),
    };
    packages.into_iter().map(with_version).collect()
}

/// One message about all missing tools: which, why, and the commands that install them.
fn what_to_do(tools: &[&Tool], problems: &[String]) -> String {
    let mut text = String::from("the set-up is not complete. Missing:\n");
    for tool in tools {
        let _ = writeln!(text, "  {} (for {})", tool.name, tool.needed_for);
    }
    if !problems.is_empty() {
        text.push_str("Why:\n");
        problems.iter().for_each(|problem| text.extend(["  ", problem, "\n"]));
    }
    text.push_str("These commands install it:\n");
    let packages = debian_packages(tools);
    if !packages.is_empty() {
        let packages = packages.join(" ");
        let _ = writeln!(text, "  apt-get update && apt-get install -y --no-install-recommends {packages}   # as root");
    }
    for tool in tools {
        match tool.source {
            Apt(_) | Qemu => {}
            Cargo { package, version, .. } => text.extend(["  ", &cargo_install(package, version), "\n"]),
            Manual(command) => text.extend(["  ", command, "\n"]),
            Pjsip => text.push_str("  cargo xtask setup servers   # after the rest\n"),
            Sipvicious => text.push_str("  cargo xtask setup traffic   # after the rest\n"),
        }
    }
    if !packages.is_empty() && find_program("apt-get").is_none() {
        text.push_str(
            "There is no apt-get here: install the same programs with this system's package manager. In place of\n\
             rustc-web and rust-web-src: rustup toolchain install nightly --component rust-src --component clippy\n",
        );
    }
    text.truncate(text.trim_end().len());
    text
}

/// One set-up at a time: apt, cargo's bin folder and the virtual environments are shared.
fn lock() -> Result<File> {
    let folder = bpf::cargo_home().context("neither CARGO_HOME nor HOME is set")?;
    fs::create_dir_all(&folder)?;
    let path = folder.join(".ringfence-setup.lock");
    let file = File::create(&path).with_context(|| format!("failed to create {}", path.display()))?;
    if file.try_lock().is_err() {
        eprintln!("setup: another set-up is running; waiting for it");
        file.lock().with_context(|| format!("failed to lock {}", path.display()))?;
    }
    Ok(file)
}
