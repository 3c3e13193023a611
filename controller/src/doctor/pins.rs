//! The checks of the pin directory: without it, the filter ends with its daemon.

use std::path::{Path, PathBuf};

use super::Finding;
use crate::kernel::{self, Outlives};

/// What is known about the pin directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PinFacts {
    /// The directory.
    pub(super) directory: PathBuf,
    /// The first directory, from this one up, that exists.
    pub(super) existing: PathBuf,
    /// Whether that one is on a BPF file system.
    pub(super) on_bpffs: bool,
    /// Whether the package's unit that mounts one is installed.
    pub(super) by_service: bool,
    /// Why it cannot be looked at, if so.
    pub(super) error: Option<String>,
    /// Directories of the BPF file system on the way, with their permissions.
    pub(super) modes: Vec<(PathBuf, u32)>,
}

/// Where distributions mount the BPF file system, and where `ringfence run` mounts it if it is missing.
const MOUNTED_BY_ITSELF: &str = "/sys/fs/bpf";

/// Whether there is a BPF file system for the pins, open to nobody else.
pub(super) fn file_system(facts: &PinFacts) -> Finding {
    let shown = facts.directory.display();
    if let Some(error) = &facts.error {
        return Finding::fail("bpffs", format!("{shown} cannot be looked at: {error}"), "`sudo ringfence doctor`");
    }
    if !facts.on_bpffs {
        let mounted = if facts.directory.starts_with(MOUNTED_BY_ITSELF) {
            Path::new(MOUNTED_BY_ITSELF)
        } else {
            facts.directory.parent().unwrap_or(&facts.directory)
        };
        let found = format!("no BPF file system is mounted for {shown}");
        let fix = format!("`mount -t bpf -o mode=0700 bpf {}` as root", mounted.display());
        if mounted == Path::new(kernel::OWN_BPFFS) && facts.by_service {
            let found = format!("{found}; ringfence.service mounts it before it starts");
            return Finding::warn("bpffs", found, "`systemctl start ringfence`");
        }
        return if mounted == Path::new(MOUNTED_BY_ITSELF) {
            Finding::warn("bpffs", format!("{found}; as root, `ringfence run` mounts it"), fix)
        } else {
            Finding::fail("bpffs", found, fix)
        };
    }
    match facts.modes.iter().find(|(_, mode)| mode & 0o022 != 0) {
        Some((path, mode)) => {
            let path = path.display();
            let found =
                format!("others can write to {path} (mode {:04o}): they could put their own pins there", mode & 0o7777);
            Finding::warn("bpffs", found, format!("`chmod 0700 {path}`"))
        }
        None if facts.directory == facts.existing => Finding::ok("bpffs", format!("{shown} exists")),
        None => Finding::ok("bpffs", format!("{} is mounted; {shown} will be created", facts.existing.display())),
    }
}

/// Whether the pins outlive the processes of this mount namespace. `own` and `first` are /proc/self/mountinfo and /proc/1/mountinfo; the
/// latter is none if it may not be read.
pub(super) fn mount_namespace(directory: &Path, own: &str, first: Option<&str>) -> Finding {
    let help = || kernel::Error::Vanishing { mount: None }.help().unwrap_or_default();
    match kernel::outlives(directory, own, first) {
        Outlives::Unknown => {
            let found =
                "whether the pins outlive this mount namespace cannot be seen: /proc/1/mountinfo may not be read";
            Finding::warn("mount namespace", found, "`sudo ringfence doctor`")
        }
        Outlives::Daemon => {
            Finding::ok("mount namespace", "that of the host's first process: the pins outlive the daemon")
        }
        Outlives::Namespace => Finding::ok(
            "mount namespace",
            "one of its own, but the BPF file system is also mounted outside: the pins outlive the daemon",
        ),
        Outlives::Nothing(mount) => {
            Finding::fail("mount namespace", kernel::Error::Vanishing { mount }.to_string(), help())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    fn facts() -> PinFacts {
        let mount = PathBuf::from("/sys/fs/bpf");
        PinFacts {
            directory: mount.join("ringfence"),
            existing: mount.clone(),
            on_bpffs: true,
            by_service: false,
            error: None,
            modes: vec![(mount, 0o40700)],
        }
    }

    #[test]
    fn a_bpf_file_system_that_only_root_writes_to_is_fine() {
        let found = file_system(&facts());
        assert_eq!(found, Finding::ok("bpffs", "/sys/fs/bpf is mounted; /sys/fs/bpf/ringfence will be created"));
    }

    #[test]
    fn one_that_others_write_to_is_closed_with_chmod() {
        let open = PinFacts { modes: vec![("/sys/fs/bpf".into(), 0o41777)], ..facts() };
        let found = file_system(&open);
        assert_eq!(found.level, Level::Warn);
        assert!(found.found.contains("(mode 1777)"), "{}", found.found);
        assert_eq!(found.fix.as_deref(), Some("`chmod 0700 /sys/fs/bpf`"));
    }

    #[test]
    fn without_one_it_must_be_mounted_except_where_the_daemon_does_it() {
        let missing = PinFacts { on_bpffs: false, ..facts() };
        let found = file_system(&missing);
        assert_eq!(found.level, Level::Warn);
        assert_eq!(found.fix.as_deref(), Some("`mount -t bpf -o mode=0700 bpf /sys/fs/bpf` as root"));
        let elsewhere = PinFacts { directory: "/run/bpf/ringfence".into(), ..missing };
        let found = file_system(&elsewhere);
        assert_eq!(found.level, Level::Fail);
        assert_eq!(found.fix.as_deref(), Some("`mount -t bpf -o mode=0700 bpf /run/bpf` as root"));
        let service = PinFacts { directory: "/run/ringfence/bpf/filter".into(), by_service: true, ..elsewhere.clone() };
        let found = file_system(&service);
        assert_eq!((found.level, found.fix.as_deref()), (Level::Warn, Some("`systemctl start ringfence`")));
        assert_eq!(file_system(&PinFacts { by_service: false, ..service }).level, Level::Fail);
        let hidden = PinFacts { error: Some("permission denied".to_owned()), ..facts() };
        assert_eq!(file_system(&hidden).level, Level::Fail);
    }

    const HOST: &str = "\
24 1 253:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 24 0:25 / /sys rw,nosuid shared:7 - sysfs sysfs rw
33 30 0:29 / /sys/fs/bpf rw,nosuid shared:11 - bpf bpf rw,mode=700
";

    fn judged(own: &str) -> Level {
        mount_namespace(Path::new("/sys/fs/bpf/ringfence"), own, Some(HOST)).level
    }

    #[test]
    fn pins_that_vanish_with_the_mount_namespace_are_a_failure() {
        assert_eq!(judged(HOST), Level::Ok);
        let copy = "\
44 41 253:0 / / rw,relatime - ext4 /dev/vda rw
50 44 0:25 / /sys rw,nosuid - sysfs sysfs rw
53 50 0:29 / /sys/fs/bpf rw,nosuid - bpf bpf rw,mode=700
";
        assert_eq!(judged(copy), Level::Ok, "the host's file system, in a container");
        let hidden = format!("{copy}80 44 0:41 / /sys rw - sysfs name rw\n");
        assert_eq!(judged(&hidden), Level::Fail, "hidden below another /sys");
        let mounted = format!("{hidden}81 80 0:42 / /sys/fs/bpf rw - bpf bpf rw,mode=700\n");
        assert_eq!(judged(&mounted), Level::Fail, "a file system of its own");
        let none = "44 41 253:0 / / rw - ext4 /dev/vda rw\n80 44 0:41 / /sys rw - sysfs name rw\n";
        assert_eq!(judged(none), Level::Fail, "none yet");
        let unseen = mount_namespace(Path::new("/sys/fs/bpf/ringfence"), HOST, None);
        assert_eq!(unseen.level, Level::Warn, "without permission");
    }
}
