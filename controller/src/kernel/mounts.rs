//! Whether pins outlive the mount namespace in which they are made.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What pins in a directory outlive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outlives {
    /// The daemon: its mount namespace is that of the host's first process.
    Daemon,
    /// Its mount namespace, too: the BPF file system is also mounted outside.
    Namespace,
    /// Neither: the BPF file system, mounted here if it is, exists in this namespace only.
    Nothing(Option<PathBuf>),
    /// That cannot be seen.
    Unknown,
}

/// A line of /proc/PID/mountinfo.
#[derive(Debug, PartialEq, Eq)]
struct Mount<'a> {
    id: &'a str,
    device: &'a str,
    at: &'a str,
    kind: &'a str,
}

/// The lines; in the format, optional fields end with a dash.
fn mounts(mountinfo: &str) -> impl Iterator<Item = Mount<'_>> {
    mountinfo.lines().filter_map(|line| {
        let (head, tail) = line.split_once(" - ")?;
        let mut head = head.split(' ');
        Some(Mount { id: head.next()?, device: head.nth(1)?, at: head.nth(1)?, kind: tail.split(' ').next()? })
    })
}

/// What pins in `directory` outlive. `own` and `first` are /proc/self/mountinfo and /proc/1/mountinfo; the latter is none if it may not be
/// read.
#[must_use]
pub fn outlives(directory: &Path, own: &str, first: Option<&str>) -> Outlives {
    let Some(first) = first else { return Outlives::Unknown };
    // No two mount namespaces have a mount in common: a copy of one has another id.
    if mounts(own).any(|mount| mounts(first).any(|other| other.id == mount.id)) {
        return Outlives::Daemon;
    }
    // Mounts are in the order in which they were made: a later one hides what earlier ones have put at its place and below.
    let mount = mounts(own).filter(|mount| directory.starts_with(mount.at)).last();
    let shared = |mount: &Mount<'_>| mounts(first).any(|other| other.kind == "bpf" && other.device == mount.device);
    match mount.filter(|mount| mount.kind == "bpf") {
        Some(mount) if shared(&mount) => Outlives::Namespace,
        Some(mount) => Outlives::Nothing(Some(mount.at.into())),
        None => Outlives::Nothing(None),
    }
}

/// As [`outlives`], of this process.
pub(super) fn outlived_by(directory: &Path) -> Outlives {
    match fs::read_to_string("/proc/self/mountinfo") {
        Ok(own) => outlives(directory, &own, fs::read_to_string("/proc/1/mountinfo").ok().as_deref()),
        Err(_) => Outlives::Unknown,
    }
}
