//! `ringfence doctor`: what this host, its kernel and its network cards can do, and how to fix what they cannot.
//!
//! Reading and judging are apart: a judgement takes what was read and gives a [`Finding`].

mod daemon;
mod finding;
mod host;
mod interfaces;
mod pins;
mod read;
pub mod redact;
pub mod support;

use std::path::{Path, PathBuf};

use filter_policy::{
    BuildCache,
    bounds::{Bounds, LIST_BYTES},
    files::Directory,
};

pub use self::finding::{Finding, Level, Report};
use crate::{
    api::DEFAULT_SOCKET,
    config::Configuration,
    kernel::{DEFAULT_PIN_DIRECTORY, InterfaceFacts, ModeChoice, Pins, State},
    repository::Source,
};

/// What is to be examined.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The interfaces; those of the configuration if there are none.
    pub interfaces: Vec<String>,
    /// The daemon's configuration file; none if there is none.
    pub configuration: Option<PathBuf>,
    /// The pin directory; that of the configuration if none.
    pub pins: Option<PathBuf>,
    /// The daemon's socket; that of the configuration if none.
    pub socket: Option<PathBuf>,
}

/// Makes every check.
#[must_use]
pub fn examine(options: &Options) -> Report {
    let read = options.configuration.as_deref().map(Configuration::read).transpose();
    let mut findings = host();
    findings.push(daemon::configuration(options.configuration.as_deref(), read.as_ref().err()));
    let configuration = read.ok().flatten().unwrap_or_default();

    // A policy elsewhere is the daemon's to fetch: its state is in `ringfence status`.
    let policy = configuration.policy.as_ref().and_then(Source::directory).map(|directory| {
        let built = tables(directory, configuration.list_bytes.unwrap_or(LIST_BYTES));
        let bytes = built.as_ref().map(|(bytes, _)| *bytes).map_err(Clone::clone);
        findings.push(daemon::policy(directory, &bytes));
        built
    });
    let policy = policy.and_then(Result::ok);
    let answers = configuration.responder.enabled && policy.is_some_and(|(_, answers)| answers);
    findings.push(host::answers(&read::text("/proc/self/status").unwrap_or_default(), answers));
    if let Some(Source::Git(_)) = configuration.policy {
        findings.push(daemon::git(&read::git_version()));
    }
    let meminfo = read::text("/proc/meminfo").unwrap_or_default();
    findings.push(host::memory(&meminfo, policy.map(|(bytes, _)| bytes)));

    let pins = options.pins.clone().or(configuration.pins).unwrap_or_else(|| DEFAULT_PIN_DIRECTORY.into());
    let pins = Pins::new(pins);
    findings.push(pins::file_system(&read::pins(&pins)));
    findings.push(pins::mount_namespace(
        pins.root(),
        &read::text("/proc/self/mountinfo").unwrap_or_default(),
        read::text("/proc/1/mountinfo").as_deref(),
    ));
    let filtering = State::read(&pins).is_ok_and(|state| state.is_some());
    let socket = options.socket.clone().or(configuration.socket).unwrap_or_else(|| DEFAULT_SOCKET.into());
    findings.push(daemon::daemon(&daemon::ask(&socket), &socket, filtering));

    let mode_of = |name: &str| {
        let known = configuration.interfaces.iter().find(|interface| interface.name == name);
        known.map_or(ModeChoice::Auto, |interface| interface.mode)
    };
    let mut names = options.interfaces.clone();
    if names.is_empty() {
        names = configuration.interfaces.iter().map(|interface| interface.name.clone()).collect();
    }
    if names.is_empty() {
        let fix = "`ringfence doctor eth0` looks at one; `ip -brief link` lists them";
        findings.push(Finding::warn("interface", "none was named, so none was looked at", fix));
    }
    let cpus = read::cpus();
    for name in &names {
        findings.extend(interfaces::all(name, mode_of(name), &InterfaceFacts::read(name, &pins), cpus));
    }
    Report::new(findings)
}

/// The checks of the host itself.
fn host() -> Vec<Finding> {
    let kernel = |name: &str| read::text(format!("/proc/sys/kernel/{name}"));
    vec![
        host::kernel_version(&kernel("osrelease").unwrap_or_default()),
        host::btf(Path::new("/sys/kernel/btf/vmlinux").exists()),
        host::jit(read::network_setting("/proc/sys/net/core/bpf_jit_enable").as_deref()),
        host::capabilities(&read::text("/proc/self/status").unwrap_or_default()),
        host::unprivileged(kernel("unprivileged_bpf_disabled").as_deref()),
        host::statistics(kernel("bpf_stats_enabled").as_deref()),
        host::mitigations(&read::vulnerabilities()),
        host::clock(read::clock()),
    ]
}

/// The bytes of a policy's tables in the kernel, and whether it has a rule that answers; or what is wrong with it.
fn tables(directory: &Path, list_bytes: u64) -> Result<(u64, bool), String> {
    let files = Directory::new(directory).map_err(|error| error.to_string())?;
    let bounds = Bounds { list_bytes, ..Bounds::default() };
    let built = filter_policy::build_cached(&files, filter_policy::today(), &bounds, &mut BuildCache::default());
    let built = built.map_err(|mistakes| mistakes.totals())?;
    let answers = built.policy.rules.iter().any(|rule| rule.action.answers() && !rule.report);
    Ok((built.image.kernel_memory().iter().map(|(_, bytes)| *bytes as u64).sum(), answers))
}
