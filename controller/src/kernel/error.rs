//! Why the system refused, and what helps.

use std::{error::Error as StdError, fmt, io, path::PathBuf};

use aya::{EbpfError, maps::MapError, programs::ProgramError, sys::SyscallError};

/// Lines of the verifier's log that are shown: its last ones hold the complaint.
const LOG_LINES: usize = 12;

/// Why the kernel's side refused. Each text is whole; [`Error::help`] is the command that mends it, where there is one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else's XDP program is on the interface.
    #[error("interface {interface} already has an XDP program: id {id}, name {name}")]
    AnotherProgram {
        /// The interface.
        interface: String,
        /// The program's id.
        id: u32,
        /// Its name.
        name: String,
        /// The command that takes it off.
        off: String,
    },
    /// No BPF file system where pins are to be, and none could be mounted.
    #[error("no BPF file system is mounted at {mount}, and mounting one failed: {error}")]
    Bpffs {
        /// Where it should be.
        mount: PathBuf,
        /// What the mount said.
        error: io::Error,
    },
    /// A daemon works on these pins.
    #[error("another daemon works on the pins in {}", .0.display())]
    Busy(PathBuf),
    /// A state that a correct build does not reach.
    #[error("internal error: {0}")]
    Internal(String),
    /// The interface's name cannot be used in the pin directory.
    #[error("interface name {0:?} is taken by the pin directory's own files")]
    InterfaceName(String),
    /// The kernel is older than the oldest one supported.
    #[error("kernel {found} is too old: {needed} or later is needed")]
    KernelTooOld {
        /// The running kernel.
        found: String,
        /// The oldest one that will do.
        needed: &'static str,
    },
    /// The link was asked for in a mode that the driver does not have.
    #[error("interface {interface}: its driver cannot run XDP programs (native mode): {reason}")]
    NoNativeMode {
        /// The interface.
        interface: String,
        /// What the kernel said.
        reason: String,
    },
    /// A capability is missing.
    #[error("not permitted: {} missing", .0.join(" and "))]
    NotPermitted(Vec<&'static str>),
    /// A rule's name does not fit into its counter's slot.
    #[error("the name of a rule has 1 to {} bytes, this one has {}: {_0:?}", super::RULE_NAME, _0.len())]
    RuleName(String),
    /// The pins hold another version's state.
    #[error("the pins in {} are of schema version {found}, this build's is {expected}", pins.display())]
    Schema {
        /// The pin directory.
        pins: PathBuf,
        /// The version found, none where it could not be read.
        found: Version,
        /// Ours.
        expected: u32,
    },
    /// A pinned map is not what this build makes.
    #[error("the pinned map {} is not the one this build uses ({found}; expected {expected})", path.display())]
    Shape {
        /// The pin.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// The system said no.
    #[error("failed to {doing}: {}", Chain(source.as_ref()))]
    System {
        /// What was tried.
        doing: String,
        /// What came back.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// More interfaces than the meta map has room for.
    #[error("at most {0} interfaces can share one set of pins")]
    TooManyInterfaces(usize),
    /// No such interface.
    #[error("no interface named {0}")]
    UnknownInterface(String),
    /// The verifier rejected the program.
    #[error("the kernel's verifier rejected the program ({error}); its last words:\n{log}")]
    Verifier {
        /// The error of the load.
        error: io::Error,
        /// The log's last lines, indented.
        log: String,
    },
    /// The new program decides a probe otherwise than the engine does in user space.
    #[error("the loaded program answers the probe \"{probe}\" with {found}, expected {expected}; it was not attached")]
    WrongVerdict {
        /// The probe's name.
        probe: &'static str,
        /// The XDP action the kernel returned.
        found: String,
        /// The one expected.
        expected: String,
    },
}

/// A schema version as found.
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
    /// What the operator can do about it, a sentence or a command.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::AnotherProgram { off, .. } => {
                format!("two XDP programs cannot share an interface; take the other one off first: `{off}`")
            }
            Self::Bpffs { mount, .. } => format!("run `mount -t bpf bpf {}` as root", mount.display()),
            Self::Busy(_) => "`ringfence status` shows it, stopping it (or `ringfence detach`) frees them; several \
                              interfaces go to one daemon: `--interface eth0 --interface eth1`"
                .to_owned(),
            Self::Internal(_) => return None,
            Self::InterfaceName(_) => "rename it: `ip link set dev IF name NEW`".to_owned(),
            Self::KernelTooOld { .. } => {
                "install a newer kernel, on Debian 11: `apt install -t bullseye-backports linux-image-amd64`; \
                 `uname -r` shows the running one"
                    .to_owned()
            }
            Self::NoNativeMode { .. } => {
                "use `--mode generic`, which works on every interface and costs more for each packet".to_owned()
            }
            Self::NotPermitted(_) => "run as root, or in a systemd unit with `AmbientCapabilities=CAP_BPF \
                                      CAP_NET_ADMIN CAP_PERFMON`"
                .to_owned(),
            Self::RuleName(_) => "give the rule a shorter name".to_owned(),
            Self::Schema { pins, .. } | Self::Shape { path: pins, .. } => format!(
                "another version of ringfence left them; take its filter off and start anew: `ringfence detach \
                 --pin-dir {}`",
                match self {
                    Self::Shape { path, .. } => path.parent().unwrap_or(path).display(),
                    _ => pins.display(),
                }
            ),
            Self::System { source, .. } => return errno(source.as_ref()).and_then(help_for),
            Self::TooManyInterfaces(_) => "use a second daemon with its own `--pin-dir` and `--socket`".to_owned(),
            Self::UnknownInterface(_) => "`ip -brief link` lists them; in a network namespace, run ringfence there: \
                                          `nsenter --net=/run/netns/NAME ringfence ...`"
                .to_owned(),
            Self::Verifier { error, .. } => return error.raw_os_error().and_then(help_for),
            Self::WrongVerdict { .. } => return None,
        })
    }
}

/// What an error number of `bpf()` mostly means on this side of it.
fn help_for(errno: i32) -> Option<String> {
    Some(match errno {
        libc::EPERM | libc::EACCES => match lockdown() {
            Some(mode) => format!(
                "the kernel is locked down ({mode}), which can forbid BPF; /sys/kernel/security/lockdown shows the \
                 mode, Secure Boot or the `lockdown=` boot option set it"
            ),
            None => "run as root; in a container it needs CAP_BPF and CAP_NET_ADMIN, and a seccomp profile that lets \
                     bpf() through"
                .to_owned(),
        },
        libc::ENOMEM => "the maps do not fit: raise the memory limit of the unit or container (`MemoryMax=`), or make \
                         the policy's lists smaller; `ringfence check` says what a policy takes"
            .to_owned(),
        libc::ENOSYS => "this kernel was built without CONFIG_BPF_SYSCALL; use a distribution's kernel".to_owned(),
        _ => return None,
    })
}

/// The lockdown mode, if the kernel is in one.
fn lockdown() -> Option<String> {
    let text = std::fs::read_to_string("/sys/kernel/security/lockdown").ok()?;
    let mode = text.split_once('[')?.1.split_once(']')?.0;
    (mode != "none").then(|| mode.to_owned())
}

/// Adds what was tried to whatever came back.
pub(super) trait Context<T> {
    /// `doing` completes "failed to ...".
    fn context(self, doing: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T, E: StdError + Send + Sync + 'static> Context<T> for Result<T, E> {
    fn context(self, doing: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|error| Error::System { doing: doing(), source: Box::new(error) })
    }
}

impl From<EbpfError> for Error {
    fn from(error: EbpfError) -> Self {
        Self::System { doing: "load the program's maps".to_owned(), source: Box::new(error) }
    }
}

impl From<ProgramError> for Error {
    fn from(error: ProgramError) -> Self {
        match error {
            ProgramError::LoadError { io_error, verifier_log } => {
                let log = last_lines(&verifier_log.to_string());
                if log.is_empty() {
                    Self::System { doing: "load the program".to_owned(), source: Box::new(io_error) }
                } else {
                    Self::Verifier { error: io_error, log }
                }
            }
            error => Self::System { doing: "load the program".to_owned(), source: Box::new(error) },
        }
    }
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let shown: Vec<String> =
        lines[lines.len().saturating_sub(LOG_LINES)..].iter().map(|line| format!("    {line}")).collect();
    shown.join("\n")
}

/// The error number at the bottom of a chain of errors.
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
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut next = self.0.source();
        while let Some(error) = next {
            let text = error.to_string();
            // Transparent wrappers, and those that quote their cause, would say everything twice.
            if !said.contains(&text) {
                write!(f, ": {text}")?;
            }
            said = text;
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
    }

    #[test]
    fn memory_that_runs_out_is_explained() {
        let error =
            MapError::CreateError { name: "NODES".to_owned(), io_error: io::Error::from_raw_os_error(libc::ENOMEM) };
        let help = Error::from(EbpfError::MapError(error)).help();
        assert!(help.is_some_and(|help| help.contains("MemoryMax")));
    }

    #[test]
    fn only_the_last_lines_of_a_long_verifier_log_are_kept() {
        let log: String = (0..100).map(|line| format!("insn {line}\n\n")).collect();
        let kept = last_lines(&log);
        assert_eq!(kept.lines().count(), LOG_LINES);
        assert!(kept.ends_with("    insn 99"));
    }
}
