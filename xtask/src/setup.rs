//! `cargo xtask setup`: installs what is missing, and nothing else.
//!
//! Every tool is looked for first; when all are there, nothing is run that takes longer than a look. What cannot be
//! installed here (no apt, not root, no network) is told in one message at the end, with the commands that do it.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};

use crate::{
    bpf, versions,
    workspace::{self, find_program, run_silently},
};

/// What a set of tools is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Group {
    /// Senders and filters to be measured beside.
    Bench,
    /// To build.
    Build,
    /// To fuzz.
    Fuzz,
    /// To boot other kernels.
    Kernels,
    /// To lint.
    Lint,
    /// Real SIP software and network namespaces, for the demo and the tests.
    Traffic,
}

/// What the set-up can be told.
#[derive(clap::Args)]
pub struct Arguments {
    /// What to set up for [default: build, lint and traffic].
    #[arg(value_enum, value_name = "GROUP")]
    groups: Vec<Group>,
    /// Only say what is missing; the exit status is 1 if anything is.
    #[arg(long)]
    check: bool,
}

/// One thing that must be there.
struct Tool {
    name: &'static str,
    group: Group,
    needed_for: &'static str,
    is_there: fn() -> bool,
    source: Source,
    /// Without an optional tool the set-up succeeds, and says what will be left out.
    optional: bool,
}

/// Where a tool comes from.
#[derive(Clone, Copy)]
enum Source {
    /// Debian packages.
    Apt(&'static [&'static str]),
    /// A crate with a binary, and how long it takes to compile.
    Cargo { package: &'static str, version: &'static str, minutes: u32 },
    /// Not installed from here; the command that does it.
    Hand(&'static str),
    /// PyPI, into a virtual environment of this working copy.
    Sipvicious,
}

use Source::{Apt, Cargo, Hand, Sipvicious};

const TOOLS: &[Tool] = &[
    Tool {
        name: "BPF compiler",
        group: Group::Build,
        needed_for: "compiling the XDP program",
        is_there: || bpf::Compiler::find().is_ok(),
        source: Apt(&["rustc-web", "rust-web-src"]),
        optional: false,
    },
    Tool {
        name: "bpf-linker",
        group: Group::Build,
        needed_for: "linking the XDP program",
        is_there: || bpf::linker().is_ok(),
        source: if cfg!(target_arch = "x86_64") {
            Cargo { package: "bpf-linker", version: versions::BPF_LINKER, minutes: 1 }
        } else {
            Hand(versions::BPF_LINKER_WITH_LLVM)
        },
        optional: false,
    },
    Tool {
        name: "BPF compiler's clippy",
        group: Group::Lint,
        needed_for: "linting the XDP program",
        is_there: || bpf::Compiler::find().is_ok_and(|compiler| compiler.clippy_driver().exists()),
        source: Apt(&["rust-web-clippy"]),
        optional: false,
    },
    Tool {
        name: "rustfmt",
        group: Group::Lint,
        needed_for: "checking the formatting",
        is_there: || run_silently(&mut workspace::cargo(["fmt", "--version"])).is_ok(),
        source: Hand("rustup component add rustfmt"),
        optional: false,
    },
    Tool {
        name: "clippy",
        group: Group::Lint,
        needed_for: "linting",
        is_there: || run_silently(&mut workspace::cargo(["clippy", "--version"])).is_ok(),
        source: Hand("rustup component add clippy"),
        optional: false,
    },
    Tool {
        name: "cargo-deny",
        group: Group::Lint,
        needed_for: "checking licences and sources of dependencies",
        is_there: || run_silently(&mut workspace::cargo(["deny", "--version"])).is_ok(),
        source: Cargo { package: "cargo-deny", version: versions::CARGO_DENY, minutes: 4 },
        optional: true,
    },
    program("ip", &["iproute2"], Group::Traffic, "making network namespaces", || has("ip")),
    program("nsenter", &["util-linux"], Group::Traffic, "entering network namespaces", || has("nsenter")),
    program("sipp", &["sip-tester"], Group::Traffic, "making calls", || has("sipp")),
    program("kamailio", &["kamailio"], Group::Traffic, "a SIP server behind the filter", || has("kamailio")),
    program("tshark", &["tshark"], Group::Traffic, "a second opinion on captures", || has("tshark")),
    Tool {
        name: "sipvicious",
        group: Group::Traffic,
        needed_for: "a scan that must not get through",
        is_there: || fs::read_to_string(sipvicious().join(STAMP)).is_ok_and(|text| text == versions::SIPVICIOUS),
        source: Sipvicious,
        optional: false,
    },
    program("c++", &["g++"], Group::Fuzz, "compiling libFuzzer", || has("c++")),
    program("trafgen", &["netsniff-ng"], Group::Bench, "sending a flood", || has("trafgen")),
    program("iptables", &["iptables"], Group::Bench, "a filter to be measured beside", || has("iptables")),
    program("nft", &["nftables"], Group::Bench, "a filter to be measured beside", || has("nft")),
    program("xdp-filter", &["xdp-tools"], Group::Bench, "a filter to be measured beside", || has("xdp-filter")),
    program("qemu", &["qemu-system-x86"], Group::Kernels, "booting kernels", || has("qemu-system-x86_64")),
    program("busybox", &["busybox-static"], Group::Kernels, "the guests' user space", || is_static("busybox")),
    program("cpio", &["cpio"], Group::Kernels, "packing the guests' initramfs", || has("cpio")),
    program("xz", &["xz-utils"], Group::Kernels, "unpacking kernel modules", || has("xz")),
];

const fn program(
    name: &'static str,
    packages: &'static [&'static str],
    group: Group,
    needed_for: &'static str,
    is_there: fn() -> bool,
) -> Tool {
    Tool { name, group, needed_for, is_there, source: Apt(packages), optional: false }
}

/// Says that an installation has come to its end, and of which version.
const STAMP: &str = "ringfence-version";

/// Sets up as told.
pub fn run(arguments: &Arguments) -> Result<()> {
    let groups = match arguments.groups.as_slice() {
        [] => &[Group::Build, Group::Lint, Group::Traffic],
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

/// Installs what is missing of these groups. Returns what was done, for people.
pub fn ensure(groups: &[Group]) -> Result<String> {
    if missing(groups).is_empty() {
        return Ok("nothing is missing".into());
    }
    let _lock = lock()?;
    // Again: another set-up may have done it while this one waited.
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

/// Where sipvicious's programs are (`bin/sipvicious_svmap`, ...), once the group `Traffic` is set up.
pub fn sipvicious() -> PathBuf {
    workspace::tools().join("sipvicious")
}

fn missing(groups: &[Group]) -> Vec<&'static Tool> {
    TOOLS.iter().filter(|tool| groups.contains(&tool.group) && !(tool.is_there)()).collect()
}

/// Tries to install each of them. Returns what went wrong.
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
        try_to(format!("apt-get install {}", packages.join(" ")), &mut || apt_install(&packages));
    }
    for tool in tools {
        match tool.source {
            Apt(_) | Hand(_) => {}
            Cargo { package, version, minutes } => {
                try_to(format!("{} (compiles for about {minutes} min)", cargo_install(package, version)), &mut || {
                    let words = cargo_install(package, version);
                    // The programs are used for seconds: half the time of compiling them is not worth their last
                    // bit of speed. This cargo, since one found in PATH may be the distribution's, of another age.
                    let mut cargo = workspace::cargo(words.split(' ').skip(1));
                    cargo
                        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
                        .env("CARGO_PROFILE_RELEASE_DEBUG", "none")
                        .env("CARGO_PROFILE_RELEASE_LTO", "off")
                        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
                    run_silently(&mut cargo).map(|_| ())
                });
            }
            Sipvicious => {
                try_to(format!("pip install sipvicious=={}", versions::SIPVICIOUS), &mut install_sipvicious);
            }
        }
    }
    problems
}

/// First and last line of a text that was shown in full before: what failed, and mostly why.
fn ends(text: &str) -> String {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    lines.next_back().map_or(first.to_owned(), |last| format!("{first} ... {}", last.trim()))
}

fn cargo_install(package: &str, version: &str) -> String {
    format!("cargo install {package} --version {version} --locked")
}

/// The Debian packages that these tools come from, each with its version if that is pinned.
fn debian_packages(tools: &[&Tool]) -> Vec<String> {
    let mut packages = Vec::new();
    for tool in tools {
        match tool.source {
            Apt(names) => packages.extend(names),
            Sipvicious if !python_makes_environments() => packages.extend(["python3", "python3-venv"]),
            Cargo { .. } | Hand(_) | Sipvicious => {}
        }
    }
    let with_version = |name: &str| match versions::of_debian_package(name) {
        Some(version) => format!("{name}={version}"),
        None => name.to_owned(),
    };
    packages.into_iter().map(with_version).collect()
}

/// One message: what is missing, why, and the commands that install it.
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
            Apt(_) => {}
            Cargo { package, version, .. } => text.extend(["  ", &cargo_install(package, version), "\n"]),
            Hand(command) => text.extend(["  ", command, "\n"]),
            Sipvicious => text.push_str("  cargo xtask setup traffic   # once the rest is there\n"),
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

/// Only one set-up at a time: apt, cargo's bin folder and the virtual environment are shared.
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

/// Installs Debian packages without starting any service.
fn apt_install(packages: &[String]) -> Result<()> {
    if find_program("apt-get").is_none() {
        bail!("there is no apt-get");
    }
    let root = Root::find()?;
    let _held = packages.iter().any(|package| package == "kamailio").then(|| HeldService::hold(&root, "kamailio"));
    // A fresh machine has no lists at all. Old ones may still do.
    if let Err(error) = apt_get(&root, &["update"]) {
        eprintln!("setup: {error:#}\nsetup: going on with the package lists that are there");
    }
    // --no-remove: a package may conflict with one that the user wants (rustc-web with rustc). Then say so, and stop.
    let install = |packages: &[&str]| {
        apt_get(&root, &[["install", "--yes", "--no-install-recommends", "--no-remove"].as_slice(), packages].concat())
    };
    let names: Vec<_> = packages.iter().map(String::as_str).collect();
    let Err(error) = install(&names) else { return Ok(()) };
    // A pinned version can vanish from a mirror. A newer one most likely builds as well, and is better than nothing.
    let gone = |text: &str| text.contains("was not found") && text.contains("Version");
    if !gone(&format!("{error:#}")) {
        return Err(error);
    }
    let unpinned: Vec<_> = names.iter().map(|name| name.split('=').next().unwrap_or(name)).collect();
    eprintln!(
        "WARNING: {error:#}\nWARNING: a pinned version is not to be had; taking the newest of each package instead"
    );
    install(&unpinned)
}

/// Runs apt-get, and waits while another one holds its locks.
fn apt_get(root: &Root, arguments: &[&str]) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(600);
    let start = Instant::now();
    loop {
        // RUNLEVEL keeps packages' scripts from starting services where init is not systemd (and in containers).
        let mut command = root.command("env");
        command
            .args(["DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1", "RUNLEVEL=1", "LC_ALL=C.UTF-8"])
            .args(["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=600", "-o", "Acquire::Retries=3"])
            .args(arguments);
        match run_silently(&mut command) {
            Ok(_) => return Ok(()),
            // The option above is for dpkg's lock alone, not for the one on the package lists.
            Err(error) if format!("{error:#}").contains("Could not get lock") && start.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_secs(3));
            }
            Err(error) => return Err(error),
        }
    }
}

/// How commands are run as root.
enum Root {
    /// This process is root's.
    Already,
    /// By sudo, which has what it needs, or can ask.
    Sudo(&'static [&'static str]),
}

impl Root {
    fn find() -> Result<Self> {
        if run_silently(Command::new("id").arg("-u"))? == "0" {
            return Ok(Self::Already);
        }
        if run_silently(Command::new("sudo").args(["-n", "true"])).is_ok() {
            return Ok(Self::Sudo(&["-n"]));
        }
        if find_program("sudo").is_some() && io::stdin().is_terminal() && io::stderr().is_terminal() {
            // It asks on the terminal, whatever its standard input is; later commands need not ask again.
            eprintln!("setup: installing packages needs root");
            workspace::run(Command::new("sudo").arg("-v"))?;
            return Ok(Self::Sudo(&[]));
        }
        Err(anyhow!("installing packages needs root, and sudo is not there or would ask for a password"))
    }

    fn command(&self, program: &str) -> Command {
        match self {
            Self::Already => Command::new(program),
            Self::Sudo(options) => {
                let mut command = Command::new("sudo");
                command.args(*options).arg(program);
                command
            }
        }
    }
}

/// Keeps a service off that its package would start, at once and at every boot: it would listen on the SIP port of every
/// address.
struct HeldService<'a> {
    root: &'a Root,
    service: &'static str,
    masked: bool,
}

impl<'a> HeldService<'a> {
    /// To be called before its package is installed; when it is dropped, the service is disabled and nobody's hands are
    /// tied any more.
    fn hold(root: &'a Root, service: &'static str) -> Self {
        // RUNLEVEL (see apt_get) keeps it off where init is not systemd.
        let masked = Path::new("/run/systemd/system").exists()
            && run_silently(root.command("systemctl").args(["mask", "--runtime", service])).is_ok();
        Self { root, service, masked }
    }

    fn release(&self) -> Result<()> {
        if self.masked {
            run_silently(self.root.command("systemctl").args(["unmask", "--runtime", self.service]))?;
            run_silently(self.root.command("systemctl").args(["disable", self.service]))?;
        }
        run_silently(self.root.command("update-rc.d").args([self.service, "disable"])).map(|_| ())
    }
}

impl Drop for HeldService<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.release() {
            eprintln!("WARNING: {} may start at the next boot: {error:#}", self.service);
        }
    }
}

/// Installs sipvicious where nothing else sees it: its dependencies are not the system's business.
fn install_sipvicious() -> Result<()> {
    let folder = sipvicious();
    // What is left of an installation that was interrupted.
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("failed to remove {}", folder.display()));
        }
        _ => {}
    }
    run_silently(Command::new(python()).args(["-m", "venv"]).arg(&folder))?;
    run_silently(
        Command::new(folder.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .arg(format!("sipvicious=={}", versions::SIPVICIOUS)),
    )?;
    let stamp = folder.join(STAMP);
    fs::write(&stamp, versions::SIPVICIOUS).with_context(|| format!("failed to write {}", stamp.display()))
}

/// The distribution's Python, which python3-venv belongs to, rather than one of the user's own.
pub fn python() -> &'static str {
    if Path::new("/usr/bin/python3").exists() { "/usr/bin/python3" } else { "python3" }
}

fn python_makes_environments() -> bool {
    run_silently(Command::new(python()).args(["-c", "import ensurepip, venv"])).is_ok()
}

fn has(program: &str) -> bool {
    find_program(program).is_some()
}

/// Whether a program is there and needs no library: an ELF file without an interpreter's path in its first page.
fn is_static(program: &str) -> bool {
    let Some(content) = find_program(program).and_then(|path| fs::read(path).ok()) else { return false };
    let start = &content[..content.len().min(4096)];
    !start.windows(3).any(|bytes| bytes == b"/ld")
}
