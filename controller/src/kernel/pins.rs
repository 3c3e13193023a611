//! The pins: everything that outlives the daemon, in the BPF file system.
//!
//! ```text
//! PIN/RULE_COUNTERS, REASON_COUNTERS, EVENTS, FRAGMENTS, FLOWS, ...   maps that all generations share
//! PIN/META           schema version, the policy in force, the interfaces (user space only)
//! PIN/SLOTS          the rule name of each counter slot (user space only)
//! PIN/BASELINES      what interfaces that are gone have counted, by slot (user space only)
//! PIN/<interface>/link   the link; dots in the name become colons, since BPF file systems do not allow dots
//! PIN/current/       program and policy maps of the generation that the links use
//! PIN/previous/      those of the generation before, and its META
//! PIN/next/          those of a generation that is being loaded; removed if a daemon was killed meanwhile
//! PIN/before/        what an older version of the program left, while this one takes its filter over
//! ```

use std::{
    ffi::CString,
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{Error, Outlives, error::Context as _, mounts, takeover::BEFORE};

/// The pin directory if the operator names none.
pub const DEFAULT_PIN_DIRECTORY: &str = "/sys/fs/bpf/ringfence";

/// Where distributions mount the BPF file system.
pub(super) const BPFFS: &str = "/sys/fs/bpf";

/// `BPF_FS_MAGIC`, `include/uapi/linux/magic.h`.
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// The names of the directories of generations.
pub(super) const CURRENT: &str = "current";
pub(super) const NEXT: &str = "next";
pub(super) const PREVIOUS: &str = "previous";
/// The name of a link's pin in the directory of its interface.
const LINK: &str = "link";
/// The name of a program's pin in the directory of its generation.
pub(super) const PROGRAM: &str = "program";

/// A pin directory: the maps, programs and links that keep a filter alive without a daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pins {
    root: PathBuf,
}

impl Default for Pins {
    fn default() -> Self {
        Self::new(DEFAULT_PIN_DIRECTORY)
    }
}

impl Pins {
    /// The pins in `root`. The directory need not exist.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Path of the pin directory. It need not exist.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Creates the directory. Mounts the BPF file system first if necessary.
    pub(super) fn create(&self) -> Result<(), Error> {
        let mut existing = self.root.as_path();
        while !existing.exists() {
            existing = existing.parent().unwrap_or(Path::new("/"));
        }
        if !is_bpffs(existing) {
            let mount = Path::new(BPFFS);
            if !self.root.starts_with(mount) {
                return Err(Error::Bpffs {
                    mount: self.root.parent().unwrap_or(&self.root).to_path_buf(),
                    error: io::Error::other("only /sys/fs/bpf is mounted automatically"),
                });
            }
            ensure_bpffs(mount).map_err(|error| Error::Bpffs { mount: mount.to_path_buf(), error })?;
        }
        fs::create_dir_all(&self.root).map_err(|error| {
            if error.kind() == io::ErrorKind::PermissionDenied {
                Error::PinDirectory { path: self.root.clone(), existing: existing.to_path_buf(), error }
            } else {
                Error::System { doing: format!("create {}", self.root.display()), cause: error.into() }
            }
        })
    }

    /// Makes sure that the pins, and with them the filter, do not end with the mount namespace of this process.
    ///
    /// # Errors
    /// They would.
    pub fn ensure_lasting(&self) -> Result<(), Error> {
        match mounts::outlived_by(&self.root) {
            Outlives::Nothing(mount) => Err(Error::Vanishing { mount }),
            Outlives::Daemon | Outlives::Namespace | Outlives::Unknown => Ok(()),
        }
    }

    /// True if the directory exists.
    #[must_use]
    pub fn exist(&self) -> bool {
        self.root.is_dir()
    }

    /// True if the directory, or the first one above it that exists, is on a BPF file system.
    #[must_use]
    pub fn are_on_bpf_file_system(&self) -> bool {
        self.root.ancestors().find(|path| path.exists()).is_some_and(is_bpffs)
    }

    /// The pin of a shared map.
    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The directory of a generation.
    pub(super) fn generation(&self, which: &str) -> PathBuf {
        self.root.join(which)
    }

    /// The directory of an interface.
    fn interface(&self, interface: &str) -> PathBuf {
        self.root.join(interface.replace('.', ":"))
    }

    /// The pin of an interface's link.
    pub(super) fn link(&self, interface: &str) -> PathBuf {
        self.interface(interface).join(LINK)
    }

    /// Creates the directory of an interface.
    pub(super) fn create_interface(&self, interface: &str) -> Result<(), Error> {
        let directory = self.interface(interface);
        if matches!(interface, CURRENT | NEXT | PREVIOUS | BEFORE) || directory.is_file() {
            return Err(Error::InterfaceName(interface.to_owned()));
        }
        create_directory(&directory)
    }

    /// The interfaces with a pinned link.
    pub(super) fn interfaces(&self) -> Result<Vec<String>, Error> {
        let mut interfaces = Vec::new();
        for entry in read_directory(&self.root)? {
            if entry.join(LINK).exists() {
                let name = entry.file_name().unwrap_or_default().to_string_lossy();
                interfaces.push(name.replace(':', "."));
            }
        }
        interfaces.sort();
        Ok(interfaces)
    }

    /// Removes the link and the directory of an interface.
    pub(super) fn remove_interface(&self, interface: &str) -> Result<(), Error> {
        remove_tree(&self.interface(interface))
    }

    /// Removes the directory of a generation, if it exists.
    pub(super) fn remove_generation(&self, which: &str) -> Result<(), Error> {
        remove_tree(&self.generation(which))
    }

    /// Makes the next generation the current one, and the current one, if there is one, the previous one.
    ///
    /// The first of these is atomic, so that readers always find a current generation.
    pub(super) fn advance(&self) -> Result<bool, Error> {
        let [next, current, previous] = [NEXT, CURRENT, PREVIOUS].map(|which| self.generation(which));
        let had_current = current.exists();
        let flags = if had_current { RenameFlags::EXCHANGE } else { RenameFlags::empty() };
        renameat_with(CWD, &next, CWD, &current, flags)
            .context(|| format!("rename {} to {}", next.display(), current.display()))?;
        if had_current {
            self.remove_generation(PREVIOUS)?;
            fs::rename(&next, &previous).context(|| format!("rename {} to {}", next.display(), previous.display()))?;
        }
        Ok(had_current)
    }

    /// Removes everything, including the directory.
    pub(super) fn remove(&self) -> Result<(), Error> {
        remove_tree(&self.root)
    }
}

pub(super) fn create_directory(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path)
        .map_err(|error| Error::System { doing: format!("create {}", path.display()), cause: error.into() })
}

/// The entries of a directory; none if it does not exist.
pub(super) fn read_directory(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(Error::System { doing: format!("read {}", path.display()), cause: error.into() });
        }
    };
    entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .map_err(|error| Error::System { doing: format!("read {}", path.display()), cause: error.into() })
}

fn remove_tree(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::System { doing: format!("remove {}", path.display()), cause: error.into() }),
    }
}

fn is_bpffs(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return false };
    let mut facts = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the path is a zero-terminated string, and the structure is read only if statfs has returned 0, and so has
    // filled it.
    unsafe { libc::statfs(path.as_ptr(), facts.as_mut_ptr()) == 0 && facts.assume_init().f_type == BPF_FS_MAGIC }
}

/// Mounts the file system unless it is mounted. Two processes that start at the same time must not mount it twice.
fn ensure_bpffs(at: &Path) -> io::Result<()> {
    let directory = fs::File::open(at)?;
    directory.lock()?;
    if is_bpffs(at) { Ok(()) } else { mount_bpffs(at) }
}

fn mount_bpffs(at: &Path) -> io::Result<()> {
    let target = CString::new(at.as_os_str().as_bytes())?;
    // SAFETY: all strings are zero-terminated and outlive the call; this file system takes its options as a string.
    let result = unsafe {
        libc::mount(
            c"bpf".as_ptr(),
            target.as_ptr(),
            c"bpf".as_ptr(),
            libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | libc::MS_RELATIME,
            c"mode=0700".as_ptr().cast(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vlan_interface_gets_a_directory_that_bpffs_accepts() {
        let pins = Pins::new("/sys/fs/bpf/x");
        assert_eq!(pins.link("eth0.100"), Path::new("/sys/fs/bpf/x/eth0:100/link"));
    }

    #[test]
    fn an_interface_named_like_a_generation_is_refused() {
        let error = Pins::new("/nonexistent").create_interface("previous").unwrap_err();
        assert!(matches!(error, Error::InterfaceName(name) if name == "previous"));
    }
}
