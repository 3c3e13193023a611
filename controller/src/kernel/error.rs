//! Errors of the kernel room, and how to fix them.

use std::{
    error::Error as StdError,
    fmt, io,
    path::{Path, PathBuf},
};

use aya::{EbpfError, maps::MapError, programs::ProgramError, sys::SyscallError};

use super::pins;

/// The number of lines of the verifier's log that are shown, from its end: that is where the reason is.
const LOG_LINES: usize = 12;

/// Where the BPF file system of a user other than root goes; that of the package's service is there.
pub const OWN_BPFFS: &str = "/run/ringfence/bpf";

/// An error of the kernel room. Each text is complete; [`Error::help`] says how to fix it, where that is known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another XDP program is attached to the interface.
    #[error("interface {interface} already has an XDP program: id {id}, name {name}{}", held_by(owners))]
    AnotherProgram {
        /// Name of the interface, such as `eth0`.
        interface: String,
        /// The id of the program that is attached now.
        id: u32,
        /// Name of that program; `unknown` if the kernel reports none.
        name: String,
        /// What keeps it there: another filter's pins, processes such as `katran (process 12)`.
        owners: Vec<String>,
        /// The command that detaches it.
        off: String,
    },
    /// There is no BPF file system for the pins, and none could be mounted.
    #[error("no BPF file system is mounted at {mount}, and mounting one failed: {error}")]
    Bpffs {
        /// Where the file system must be mounted.
        mount: PathBuf,
        /// The error of the mount.
        error: io::Error,
    },
    /// Another daemon uses these pins.
    #[error("another daemon uses the pins in {}", .0.display())]
    Busy(PathBuf),
    /// It is not wanted any more.
    #[error("cancelled")]
    Cancelled,
    /// A state that should be impossible.
    #[error("internal error: {0}")]
    Internal(String),
    /// The interface's name is also the name of a file in the pin directory.
    #[error("interface name {0:?} conflicts with a file in the pin directory")]
    InterfaceName(String),
    /// The kernel is older than the oldest one supported.
    #[error("kernel {found} is too old: {needed} or later is needed")]
    KernelTooOld {
        /// Release of the running kernel, as in `uname -r`.
        found: String,
        /// The oldest supported release.
        needed: &'static str,
    },
    /// The filter is on no other interface.
    #[error("{0} is the only interface that the filter is on")]
    LastInterface(String),
    /// Native mode was requested, but the driver does not support it.
    #[error("interface {interface}: its driver cannot run XDP programs (native mode): {reason}")]
    NoNativeMode {
        /// Name of the interface, such as `eth0`.
        interface: String,
        /// The kernel's error.
        reason: String,
    },
    /// Packets on the interface have no Ethernet header, so the program could not read them.
    #[error("interface {interface} is not Ethernet (link type {link_type}): nothing can be read there")]
    NotEthernet {
        /// Name of the interface, such as `tun0`.
        interface: String,
        /// What it is instead, such as `wireguard`.
        link_type: String,
    },
    /// The process lacks these capabilities.
    #[error("not permitted: {} missing", .0.join(" and "))]
    NotPermitted(Vec<&'static str>),
    /// The filter is not on the interface that it was to be taken off.
    #[error("the filter is not on {interface}, but on {}", on.join(", "))]
    NotThere {
        /// Name of the interface.
        interface: String,
        /// The interfaces that it is on.
        on: Vec<String>,
    },
    /// No filter uses these pins.
    #[error("no filter uses the pins in {}", .0.display())]
    NoFilter(PathBuf),
    /// A rule's name does not fit into a counter slot.
    #[error("a rule's name must have 1 to {} bytes, this one has {}: {_0:?}", super::RULE_NAME, _0.len())]
    RuleName(String),
    /// Another version of the program created the pins.
    #[error("the pins in {} have schema version {found}, this build has {expected}", pins.display())]
    Schema {
        /// Path of the pin directory.
        pins: PathBuf,
        /// The version of the pins, if it could be read.
        found: Version,
        /// The version of this build.
        expected: u32,
    },
    /// A pinned map has another shape than in this build.
    #[error("the pinned map {} is not the one this build uses ({found}; expected {expected})", path.display())]
    Shape {
        /// Path of the map's pin.
        path: PathBuf,
        /// The pinned map's type, key size, value size and number of entries.
        found: String,
        /// The same of this build's map.
        expected: String,
    },
    /// A system call or a library failed.
    #[error("failed to {doing}: {}", Chain(cause.as_ref()))]
    System {
        /// What failed, as it follows "failed to".
        doing: String,
        /// The cause, and its own causes. They are in the text already: as a `source` they would be printed twice.
        cause: Box<dyn StdError + Send + Sync>,
    },
    /// The pin directory cannot be made: the file system belongs to another user.
    #[error("failed to create {}: {error}", path.display())]
    PinDirectory {
        /// Path of the pin directory.
        path: PathBuf,
        /// The directory above it that exists.
        existing: PathBuf,
        /// The error of the system call.
        error: io::Error,
    },
    /// More interfaces than fit into the meta map.
    #[error("at most {0} interfaces can share one set of pins")]
    TooManyInterfaces(usize),
    /// There is no such interface.
    #[error("no interface named {0}")]
    UnknownInterface(String),
    /// The pins would end with the mount namespace of the process.
    #[error("the BPF file system {} exists in this mount namespace only: the filter ends with it", at(mount.as_ref()))]
    Vanishing {
        /// Where it is mounted; none if it would be mounted now.
        mount: Option<PathBuf>,
    },
    /// The verifier rejected the program.
    #[error("the kernel's verifier rejected the program ({error}); its log ends with:\n{log}")]
    Verifier {
        /// The error of the load.
        error: io::Error,
        /// The last lines of the log, indented.
        log: String,
    },
    /// The new program and the engine in user space disagree about a probe.
    #[error("the loaded program answers the probe \"{probe}\" with {found}, expected {expected}; it was not attached")]
    WrongVerdict {
        /// The probe's name.
        probe: &'static str,
        /// The XDP action the kernel returned.
        found: String,
        /// The XDP action that the engine in user space gives, or that every policy must give.
        expected: String,
    },
}

/// The schema version of pins, if it could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(pub Option<u32>);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(version) => version.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

impl Error {
    /// How the operator can fix it: a sentence or a command.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::AnotherProgram { off, .. } => {
                format!("two XDP programs cannot share an interface; detach the other one first: `{off}`")
            }
            Self::Bpffs { mount, .. } => mount_help(mount, &Ids::own()),
            Self::Busy(_) => {
                "`ringfence status` shows it; stop it, or run `ringfence detach`; one daemon can filter several \
                              interfaces: `--interface eth0 --interface eth1`"
                    .to_owned()
            }
            Self::Cancelled | Self::Internal(_) => return None,
            Self::InterfaceName(_) => "rename it: `ip link set dev IF name NEW`".to_owned(),
            Self::KernelTooOld { .. } => {
                "install a newer kernel, on Debian 11: `apt install -t bullseye-backports linux-image-amd64`; \
                 `uname -r` shows the running one"
                    .to_owned()
            }
            Self::LastInterface(_) => "`ringfence detach` removes the whole filter".to_owned(),
            Self::NotThere { .. } => "`ringfence status` shows where it is".to_owned(),
            Self::NoNativeMode { .. } => {
                "use `--mode generic`, which works on every interface and costs more per packet".to_owned()
            }
            Self::NotEthernet { .. } => {
                "attach to the Ethernet interface on which the SIP packets arrive: `ip -brief link` lists the interfaces; \
                 packets that leave a tunnel, a VPN or a PPP link on this host can only be filtered where they are not in it, \
                 such as the host at its other end"
                    .to_owned()
            }
            Self::NotPermitted(_) => "run as root (`sudo ringfence ...`), or in a systemd unit with \
                                      `AmbientCapabilities=CAP_BPF CAP_NET_ADMIN CAP_NET_RAW CAP_PERFMON`"
                .to_owned(),
            Self::NoFilter(_) => "`ringfence run` starts one; `--pin-dir` names the pins of another".to_owned(),
            Self::PinDirectory { path, existing, .. } => {
                let ids = Ids::own();
                if path.starts_with(pins::BPFFS) {
                    own_file_system(&ids)
                } else {
                    format!("give the file system to this user, as root: `chown {ids} {}`", existing.display())
                }
            }
            Self::RuleName(_) => "give the rule a shorter name".to_owned(),
            Self::Schema { pins, found: Version(Some(found)), expected } if found < expected => format!(
                "an older version of ringfence created them. Its filter is in force, and a daemon of this version takes it over \
                 without a gap: `systemctl restart ringfence`, or `ringfence run`. To remove it instead: `ringfence detach --pin-dir {}`",
                pins.display()
            ),
            Self::Schema { pins, .. } | Self::Shape { path: pins, .. } => format!(
                "another version of ringfence created them, and its filter stays in force: install that version again; or detach \
                 its filter and start again: `ringfence detach --pin-dir {}`",
                if let Self::Shape { path, .. } = self { path.parent().unwrap_or(path) } else { pins.as_path() }
                    .display()
            ),
            Self::System { cause, .. } => return errno(cause.as_ref()).and_then(help_for),
            Self::TooManyInterfaces(_) => "use a second daemon with its own `--pin-dir` and `--socket`".to_owned(),
            Self::UnknownInterface(_) => "`ip -brief link` lists them; in a network namespace, run ringfence there: \
                                          `nsenter --net=/run/netns/NAME ringfence ...`"
                .to_owned(),
            Self::Vanishing { .. } => {
                "enter only the network namespace: `nsenter --net=/run/netns/NAME ringfence run ...` instead of `ip netns exec`; give \
                 a container the host's file system: `docker run -v /sys/fs/bpf:/sys/fs/bpf ...`; or let the filter end with the \
                 daemon: `--detach-on-exit`"
                    .to_owned()
            }
            Self::Verifier { error, .. } => return error.raw_os_error().and_then(help_for),
            Self::WrongVerdict { .. } => return None,
        })
    }
}

/// How to fix the usual cause of an error number of `bpf()`.
fn help_for(errno: i32) -> Option<String> {
    Some(match errno {
        libc::EPERM | libc::EACCES => match lockdown() {
            Some(mode) => format!(
                "the kernel is locked down ({mode}), which can forbid BPF; /sys/kernel/security/lockdown shows the \
                 mode, and Secure Boot or the boot option `lockdown=` sets it"
            ),
            None if errno == libc::EACCES && !rustix::process::geteuid().is_root() => {
                "these pins are another user's: `sudo ringfence ...`, or run it as the user that runs the daemon"
                    .to_owned()
            }
            None => "run as root; in a container it needs CAP_BPF and CAP_NET_ADMIN, and a seccomp profile that \
                     allows bpf()"
                .to_owned(),
        },
        libc::ENOMEM => "the maps do not fit: raise the memory limit of the unit or container (`MemoryMax=`), or make \
                         the policy's lists smaller; `ringfence check` shows the memory that a policy needs"
            .to_owned(),
        libc::ENOSYS => "this kernel was built without CONFIG_BPF_SYSCALL; use a distribution's kernel".to_owned(),
        _ => return None,
    })
}

/// A user and its group, as `chown` takes them.
struct Ids {
    user: u32,
    group: u32,
}

impl Ids {
    fn own() -> Self {
        Self { user: rustix::process::geteuid().as_raw(), group: rustix::process::getegid().as_raw() }
    }
}

impl fmt::Display for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.user, self.group)
    }
}

/// How root mounts the BPF file system for this user.
fn mount_help(mount: &Path, ids: &Ids) -> String {
    let at = mount.display();
    match ids.user {
        0 => format!("run `mount -t bpf -o mode=0700 bpf {at}` as root"),
        // Everyone's pins are in that one: it stays root's.
        _ if mount == Path::new(pins::BPFFS) => own_file_system(ids),
        _ => format!("run `install -d {at} && mount -t bpf -o mode=0700 bpf {at} && chown {ids} {at}` as root"),
    }
}

/// How a user other than root gets a BPF file system.
fn own_file_system(ids: &Ids) -> String {
    let at = OWN_BPFFS;
    format!(
        "the BPF file system at {} is root's. Give this user one of its own, as root: `install -d {at} && mount -t bpf -o \
         mode=0700 bpf {at} && chown {ids} {at}`. Then use `--pin-dir {at}/filter`, or the same as `directory` of `[pins]` in the \
         configuration",
        pins::BPFFS
    )
}

fn at(mount: Option<&PathBuf>) -> String {
    mount.map_or_else(|| "that would be mounted here".to_owned(), |mount| format!("at {}", mount.display()))
}

fn held_by(owners: &[String]) -> String {
    if owners.is_empty() { String::new() } else { format!(", held by {}", owners.join(", ")) }
}

/// The lockdown mode, unless it is `none`.
fn lockdown() -> Option<String> {
    let text = std::fs::read_to_string("/sys/kernel/security/lockdown").ok()?;
    let mode = text.split_once('[')?.1.split_once(']')?.0;
    (mode != "none").then(|| mode.to_owned())
}

/// Adds the action that failed to an error.
pub(super) trait Context<T> {
    /// `doing` completes "failed to ...".
    fn context(self, doing: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T, E: StdError + Send + Sync + 'static> Context<T> for Result<T, E> {
    fn context(self, doing: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|error| Error::System { doing: doing(), cause: Box::new(error) })
    }
}

impl From<EbpfError> for Error {
    fn from(error: EbpfError) -> Self {
        Self::System { doing: "load the program's maps".to_owned(), cause: Box::new(error) }
    }
}

impl From<ProgramError> for Error {
    #[expect(clippy::wildcard_enum_match_arm, reason = "every other error is shown as it is")]
    fn from(error: ProgramError) -> Self {
        match error {
            ProgramError::LoadError { io_error, verifier_log } => {
                let log = last_lines(&verifier_log.to_string());
                if log.is_empty() {
                    Self::System { doing: "load the program".to_owned(), cause: Box::new(io_error) }
                } else {
                    Self::Verifier { error: io_error, log }
                }
            }
            error => Self::System { doing: "load the program".to_owned(), cause: Box::new(error) },
        }
    }
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let shown: Vec<String> =
        lines[lines.len().saturating_sub(LOG_LINES)..].iter().map(|line| format!("    {line}")).collect();
    shown.join("\n")
}

/// The error number in a chain of errors.
pub(super) fn errno(error: &(dyn StdError + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(error) = next {
        let io = error
            .downcast_ref::<io::Error>()
            .or_else(|| error.downcast_ref::<SyscallError>().map(|error| &error.io_error))
            .or_else(|| match error.downcast_ref::<MapError>() {
                Some(MapError::CreateError { io_error, .. }) => Some(io_error),
                _ => None,
            });
        if let Some(number) = io.and_then(io::Error::raw_os_error) {
            return Some(number);
        }
        next = error.source();
    }
    None
}

/// An error and its causes, in one line.
struct Chain<'a>(&'a (dyn StdError + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.to_string();
        f.write_str(&shown)?;
        let mut next = self.0.source();
        while let Some(error) = next {
            let text = error.to_string();
            // Transparent wrappers, and errors that quote their cause, would repeat it.
            if !shown.contains(&text) {
                write!(f, ": {text}")?;
            }
            shown = text;
            next = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_of_errors_is_one_line_without_repetition() {
        let error =
            MapError::CreateError { name: "NODES".to_owned(), io_error: io::Error::from_raw_os_error(libc::ENOMEM) };
        let text = Error::from(EbpfError::MapError(error)).to_string();
        assert_eq!(
            text,
            "failed to load the program's maps: map error: failed to create map `NODES`: Cannot allocate memory (os error 12)"
        );
        let error: Result<(), Error> =
            Err(io::Error::from_raw_os_error(libc::EACCES)).context(|| "look at X".to_owned());
        let shown = format!("{:#}", anyhow::Error::from(error.unwrap_err()));
        assert_eq!(shown, "failed to look at X: Permission denied (os error 13)", "as the command line prints it");
    }

    #[test]
    fn the_help_for_a_lack_of_memory_names_the_limit() {
        let error =
            MapError::CreateError { name: "NODES".to_owned(), io_error: io::Error::from_raw_os_error(libc::ENOMEM) };
        let help = Error::from(EbpfError::MapError(error)).help();
        assert!(help.is_some_and(|help| help.contains("MemoryMax")));
    }

    #[test]
    fn the_suggested_mount_is_open_to_root_alone() {
        let help = mount_help(Path::new("/sys/fs/bpf"), &Ids { user: 0, group: 0 });
        assert_eq!(help, "run `mount -t bpf -o mode=0700 bpf /sys/fs/bpf` as root");
    }

    #[test]
    fn another_user_gets_a_file_system_of_its_own() {
        let ids = Ids { user: 997, group: 996 };
        let help = mount_help(Path::new(pins::BPFFS), &ids);
        assert!(
            help.contains("chown 997:996 /run/ringfence/bpf`") && help.contains("/run/ringfence/bpf/filter"),
            "{help}"
        );
        let help = mount_help(Path::new("/run/bpf"), &ids);
        assert!(help.ends_with("bpf /run/bpf && chown 997:996 /run/bpf` as root"), "{help}");
    }

    #[test]
    fn only_the_last_lines_of_a_long_verifier_log_are_kept() {
        let log: String = (0..100).map(|line| format!("insn {line}\n\n")).collect();
        let kept = last_lines(&log);
        assert_eq!(kept.lines().count(), LOG_LINES);
        assert!(kept.ends_with("    insn 99"));
    }
}
