//! Reads what the checks judge.

use std::{
    fs::{self, File},
    io,
    os::{fd::AsFd as _, unix::fs::PermissionsExt as _},
    path::Path,
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::pins::PinFacts;
use crate::kernel::Pins;

const VULNERABILITIES: &str = "/sys/devices/system/cpu/vulnerabilities";

/// A file of /proc or /sys; none if it is missing or may not be read.
pub(super) fn text(path: impl AsRef<Path>) -> Option<String> {
    fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// A setting of the network that only the host's own network namespace shows.
pub(super) fn network_setting(path: &'static str) -> Option<String> {
    text(path).or_else(|| {
        // A thread cannot leave a namespace that it has entered.
        let read = move || {
            let namespace = File::open("/proc/1/ns/net").ok()?;
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).ok()?;
            text(path)
        };
        thread::spawn(read).join().ok().flatten()
    })
}

/// The files about the processor's vulnerabilities.
pub(super) fn vulnerabilities() -> Vec<(String, String)> {
    let entries = fs::read_dir(VULNERABILITIES).into_iter().flatten().flatten();
    let mut found: Vec<(String, String)> = entries
        .filter_map(|entry| Some((entry.file_name().to_string_lossy().into_owned(), text(entry.path())?)))
        .collect();
    found.sort();
    found
}

/// How many processors are online, from /sys/devices/system/cpu/online.
pub(super) fn cpus() -> u64 {
    text("/sys/devices/system/cpu/online").and_then(|list| count(&list)).unwrap_or(1)
}

/// The number of elements of a list such as `0-3,8`.
fn count(list: &str) -> Option<u64> {
    let ranges = list.trim().split(',').map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(last.parse::<u64>().ok()?.checked_sub(first.parse().ok()?)? + 1)
    });
    ranges.sum()
}

/// Whether the clock is synchronised; none if the kernel does not answer.
pub(super) fn clock() -> Option<bool> {
    let mut state = std::mem::MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: all zeros are a valid `timex`, and one that changes nothing (no modes); the kernel writes into it, and it outlives the call.
    let result = unsafe { libc::adjtimex(state.as_mut_ptr()) };
    // SAFETY: it was all zeros before the call, which is a valid value, and the kernel has written one at most.
    let status = unsafe { state.assume_init() }.status;
    (result >= 0).then_some(result != libc::TIME_ERROR && status & libc::STA_UNSYNC == 0)
}

/// The package's unit that mounts the BPF file system of its service, and where units are.
const MOUNT_UNIT: &str = "run-ringfence-bpf.mount";
const UNIT_DIRECTORIES: &[&str] = &["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// What the pin directory is.
pub(super) fn pins(pins: &Pins) -> PinFacts {
    let directory = pins.root().to_path_buf();
    let mut error = None;
    let mut existing = Path::new("/");
    for path in directory.ancestors() {
        match fs::metadata(path) {
            Ok(_) => {
                existing = path;
                break;
            }
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {}
            Err(refused) => error = Some(refused.to_string()),
        }
    }
    let on_bpffs = pins.are_on_bpf_file_system();
    let modes = existing.ancestors().take_while(|path| Pins::new(*path).are_on_bpf_file_system());
    let modes = modes.filter_map(|path| Some((path.to_path_buf(), fs::metadata(path).ok()?.permissions().mode())));
    let modes = modes.collect();
    let by_service = UNIT_DIRECTORIES.iter().any(|units| Path::new(units).join(MOUNT_UNIT).exists());
    PinFacts { existing: existing.to_path_buf(), on_bpffs, by_service, error, modes, directory }
}

/// What `git --version` prints.
pub(super) fn git_version() -> Result<String, String> {
    let output = std::process::Command::new("git").arg("--version").output().map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_counted_in_ranges() {
        assert_eq!(count("0\n"), Some(1));
        assert_eq!(count("0-3,8,10-11\n"), Some(7));
        assert_eq!(count(""), None);
        assert_eq!(count("3-1"), None);
    }
}
