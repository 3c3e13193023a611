//! Finds the compiler for the XDP program, and runs cargo with it.
//!
//! The build scripts use this to build the programs, `cargo xtask` to lint them and to check the set-up.
//!
//! A BPF program needs a `core` built for BPF, so it needs a compiler with the source of its own library; the source of
//! another version does not compile. Two kinds of installations have that: a rustup toolchain with the component rust-src,
//! and a distribution's rustc with the distribution's package of the library source.

use std::{
    env,
    error::Error,
    ffi::OsString,
    fmt, fs, io,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
};

/// A package of the workspace that is built as an object for the kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Object {
    /// The package's name.
    pub package: &'static str,
    /// The name of its binary, which is the object's file name in the target directory.
    pub binary: &'static str,
}

/// The object with the filter's XDP program.
pub(crate) const FILTER: Object = Object { package: "filter-ebpf", binary: "ringfence" };
/// The programs that the filter is compared with.
pub(crate) const BENCH: Object = Object { package: "bench-ebpf", binary: "bench" };
/// The compilation target: every supported host is little-endian.
pub(crate) const TARGET: &str = "bpfel-unknown-none";
/// The linker's name, both as a command and as a crate.
pub(crate) const LINKER: &str = "bpf-linker";

/// The path of a rustc to use. Its library source must be in its sysroot.
pub(crate) const ENV_RUSTC: &str = "RINGFENCE_BPF_RUSTC";
/// The name of the rustup toolchain to use; `nightly` if unset.
pub(crate) const ENV_TOOLCHAIN: &str = "RINGFENCE_BPF_TOOLCHAIN";
/// The path of a prebuilt object. If set, nothing is compiled.
pub(crate) const ENV_OBJECT: &str = "RINGFENCE_BPF_OBJECT";

/// Keeps the lines of the source in the program, whatever the profile: whoever profiles it needs them.
pub(crate) const ENV_LINES: &str = "RINGFENCE_BPF_LINES";

/// Where distributions install their compiler.
const DISTRIBUTION_RUSTC: [&str; 2] = ["/usr/bin/rustc", "/usr/local/bin/rustc"];

/// A compiler that can build `core` for BPF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Compiler {
    kind: Kind,
    /// The folder of the compiler's libraries and of the library source.
    pub sysroot: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// A stable compiler, run by the current cargo. RUSTC_BOOTSTRAP allows it to build `core`.
    Distribution(PathBuf),
    /// A rustup toolchain, by name, with its own cargo.
    Rustup(String),
}

/// Why no BPF program can be built. The text says what to install.
#[derive(Debug)]
pub(crate) enum Missing {
    /// There is no compiler with its library source.
    Compiler(String),
    /// There is no bpf-linker.
    Linker,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compiler(why) => write!(
                f,
                "no compiler for BPF programs: {why}. Run `cargo xtask setup`, or install one of: \
                 `rustup toolchain install nightly --component rust-src`; \
                 Debian's `rustc-web` and `rust-web-src`. \
                 {ENV_RUSTC} and {ENV_TOOLCHAIN} can name another compiler, {ENV_OBJECT} a prebuilt program"
            ),
            Self::Linker => write!(f, "no {LINKER} in PATH or cargo's bin folder: run `cargo xtask setup`"),
        }
    }
}

impl std::error::Error for Missing {}

impl Compiler {
    /// The compiler that the environment names, else rustup's nightly, else the distribution's.
    pub(crate) fn find() -> Result<Self, Missing> {
        if let Some(rustc) = env::var_os(ENV_RUSTC).filter(|value| !value.is_empty()) {
            let rustc = PathBuf::from(rustc);
            return Self::distribution(&rustc).ok_or_else(|| {
                Missing::Compiler(format!("{} ({ENV_RUSTC}) does not run or has no library source", rustc.display()))
            });
        }
        if let Some(toolchain) = env::var(ENV_TOOLCHAIN).ok().filter(|value| !value.is_empty()) {
            return Self::rustup(&toolchain).ok_or_else(|| {
                Missing::Compiler(format!("rustup's {toolchain} ({ENV_TOOLCHAIN}) is missing or has no rust-src"))
            });
        }
        Self::rustup("nightly")
            .or_else(|| DISTRIBUTION_RUSTC.iter().find_map(|rustc| Self::distribution(Path::new(rustc))))
            .ok_or_else(|| {
                Missing::Compiler(
                    "rustup has no nightly with rust-src, and no distribution's rustc has its source".into(),
                )
            })
    }

    fn rustup(toolchain: &str) -> Option<Self> {
        // Without this, rustup would download a toolchain that is not installed.
        let sysroot =
            sysroot(Command::new("rustup").args(["run", toolchain, "rustc"]).env("RUSTUP_AUTO_INSTALL", "0"))?;
        Some(Self { kind: Kind::Rustup(toolchain.into()), sysroot })
    }

    fn distribution(rustc: &Path) -> Option<Self> {
        let sysroot = sysroot(&mut Command::new(rustc))?;
        Some(Self { kind: Kind::Distribution(rustc.into()), sysroot })
    }

    /// Files that change when the compiler changes.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        match &self.kind {
            Kind::Distribution(rustc) => vec![rustc.clone()],
            Kind::Rustup(_) => vec![self.sysroot.join("lib/rustlib/components")],
        }
    }

    /// The output of `rustc -vV`.
    pub(crate) fn version(&self) -> io::Result<String> {
        let mut rustc = match &self.kind {
            Kind::Distribution(rustc) => Command::new(rustc),
            Kind::Rustup(_) => Command::new(self.sysroot.join("bin/rustc")),
        };
        Ok(String::from_utf8_lossy(&rustc.arg("-vV").output()?.stdout).into_owned())
    }

    /// Its clippy driver.
    pub(crate) fn clippy_driver(&self) -> PathBuf {
        match &self.kind {
            Kind::Distribution(rustc) => rustc.with_file_name("clippy-driver"),
            Kind::Rustup(_) => self.sysroot.join("bin/clippy-driver"),
        }
    }

    /// `cargo SUBCOMMAND` for an object, with all settings that builds share. A caller only adds arguments.
    ///
    /// `target_dir` is the same directory for all BPF builds, so that `core` is compiled once for all profiles of the host's
    /// crates. `arch` is the architecture whose registers the program's context has (`CARGO_CFG_TARGET_ARCH`).
    pub(crate) fn cargo(
        &self,
        subcommand: &str,
        object: Object,
        workspace: &Path,
        target_dir: &Path,
        arch: &str,
    ) -> io::Result<Command> {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        match &self.kind {
            // Keep an outer cargo's RUSTUP_TOOLCHAIN: it names the toolchain of cargo itself.
            Kind::Distribution(rustc) => {
                cargo.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
            }
            Kind::Rustup(toolchain) => {
                cargo = Command::new("rustup");
                cargo.args(["run", toolchain, "cargo"]).env_remove("RUSTC").env_remove("RUSTC_BOOTSTRAP");
            }
        }
        // Remove what an outer cargo sets for its build scripts, and what a user sets for the host's build: the output must
        // depend only on the sources and the compiler.
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(is_of_outer_build) {
                cargo.env_remove(name);
            }
        }
        let flags = [
            format!("--cfg=bpf_target_arch=\"{arch}\""),
            // 32-bit arithmetic and comparisons (Linux 5.1): without them, each needs two shifts to clear the upper half.
            "-Ctarget-cpu=v3".into(),
            // BTF is generated from debug information.
            "-Cdebuginfo=2".into(),
            "-Clink-arg=--btf".into(),
            // The object must not contain paths of this machine. The linker can still read the sources, since it runs in the
            // workspace. It copies their lines into the BTF, from which the verifier's log quotes them.
            format!("--remap-path-prefix={}=.", workspace.display()),
            format!("--remap-path-prefix={}=/cargo", cargo_home().unwrap_or_default().display()),
        ];
        cargo
            .current_dir(workspace)
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
            .env("PATH", path_with_cargo_bin())
            .args([subcommand, "--package", object.package, "--bin", object.binary, "--release", "--target", TARGET])
            .args(["-Zbuild-std=core", "--target-dir"])
            .arg(target_dir);
        if let Some(llvm) = self.llvm() {
            let folder = link_alone(&llvm, &target_dir.join("llvm"))?;
            let mut folders = vec![folder];
            folders.extend(env::var_os("LD_LIBRARY_PATH").iter().flat_map(env::split_paths));
            cargo.env("LD_LIBRARY_PATH", env::join_paths(folders).map_err(io::Error::other)?);
        }
        Ok(cargo)
    }

    /// Builds an object for a build script, and copies it to `to`.
    ///
    /// Messages go to the standard error stream of the script, which cargo shows if the build fails.
    pub(crate) fn build(
        &self,
        object: Object,
        workspace: &Path,
        out_dir: &Path,
        to: &Path,
    ) -> Result<(), Box<dyn Error>> {
        // The target directory of the outer build: cargo marks it as a cache.
        let target = out_dir.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists());
        let target_dir = target.map_or_else(|| workspace.join("target"), Path::to_path_buf).join("bpf");
        let arch = env::var("CARGO_CFG_TARGET_ARCH").map_err(|error| format!("CARGO_CFG_TARGET_ARCH: {error}"))?;
        let package = object.package;
        let status = self
            .cargo("build", object, workspace, &target_dir, &arch)?
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .map_err(|error| format!("failed to start cargo for {package}: {error}"))?;
        if !status.success() {
            return Err(format!("failed to build {package} with the compiler in {}", self.sysroot.display()).into());
        }
        let built = target_dir.join(TARGET).join("release").join(object.binary);
        fs::copy(&built, to).map_err(|error| format!("failed to read {}: {error}", built.display()))?;
        Ok(())
    }

    /// The LLVM library of this compiler, if it is a separate file.
    fn llvm(&self) -> Option<PathBuf> {
        let version = self.version().ok()?;
        let version = version.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
        let (major, minor) = version.split_once('.')?;
        let minor = minor.split('.').next()?;
        let prefix = format!("libLLVM.so.{major}.{minor}");
        let multiarch = format!("/usr/lib/{}-linux-gnu", env::consts::ARCH);
        let folders = [self.sysroot.join("lib"), multiarch.into(), "/usr/lib64".into(), "/usr/lib".into()];
        folders.iter().find_map(|folder| {
            let mut found: Vec<_> = fs::read_dir(folder)
                .ok()?
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(|n| n.starts_with(&prefix)))
                .collect();
            found.sort();
            found.into_iter().next()
        })
    }
}

/// Creates a folder below `folder` that contains only a link to `llvm`.
///
/// bpf-linker uses the first libLLVM that it finds in LD_LIBRARY_PATH, in the order of the directory's entries. If there
/// were an older LLVM in the same directory, it could use that one and fail to read the compiler's output.
fn link_alone(llvm: &Path, folder: &Path) -> io::Result<PathBuf> {
    let name = llvm.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    // One folder per library: a build with another compiler may run at the same time.
    let mut folder_name = OsString::from("for-");
    folder_name.push(llvm.as_os_str().to_string_lossy().replace(['/', ' ', ':'], "_"));
    let folder = folder.join(folder_name);
    fs::create_dir_all(&folder)?;
    let link = folder.join(name);
    if fs::read_link(&link).is_ok_and(|target| target == llvm) {
        return Ok(folder);
    }
    // The temporary name must not look like an LLVM library to another linker that is reading the folder.
    let temporary = folder.join(format!("new-{}", process::id()));
    std::os::unix::fs::symlink(llvm, &temporary)?;
    fs::rename(&temporary, &link)?;
    Ok(folder)
}

/// The path of bpf-linker.
pub(crate) fn linker() -> Result<PathBuf, Missing> {
    env::split_paths(&path_with_cargo_bin())
        .map(|folder| folder.join(LINKER))
        .find(|path| path.is_file())
        .ok_or(Missing::Linker)
}

/// PATH with cargo's bin folder first: `cargo install` puts the linker there, and a distribution's cargo must not come
/// before rustup's.
pub(crate) fn path_with_cargo_bin() -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let bin = cargo_home().map(|home| home.join("bin"));
    env::join_paths(bin.into_iter().chain(env::split_paths(&path))).unwrap_or(path)
}

/// Cargo's home folder.
pub(crate) fn cargo_home() -> Option<PathBuf> {
    match env::var_os("CARGO_HOME") {
        Some(home) => Some(home.into()),
        None => Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")),
    }
}

/// The sysroot that this rustc prints, if it contains the source of the library.
fn sysroot(rustc: &mut Command) -> Option<PathBuf> {
    let output = rustc.args(["--print", "sysroot"]).env_remove("RUSTUP_TOOLCHAIN").output().ok()?;
    let sysroot = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    (output.status.success() && sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml").exists())
        .then_some(sysroot)
}

/// Whether an environment variable is about a build of the host's crates. Variables about the registry, the output, and the
/// jobserver are kept.
fn is_of_outer_build(name: &str) -> bool {
    const KEPT: [&str; 8] = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_MAKEFLAGS",
        "CARGO_NET_",
        "CARGO_REGISTRIES_",
        "CARGO_REGISTRY_",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
    ];
    const OTHERS: [&str; 12] = [
        "DEBUG",
        "HOST",
        "OPT_LEVEL",
        "OUT_DIR",
        "PROFILE",
        "RUSTC_LINKER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_WRAPPER",
        "RUSTDOC",
        "RUSTDOCFLAGS",
        "RUSTFLAGS",
        "TARGET",
    ];
    let of_cargo = name.starts_with("CARGO_") && !KEPT.iter().any(|kept| name.starts_with(kept));
    of_cargo || OTHERS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_the_host_build_are_removed_but_registry_and_jobserver_are_kept() {
        for name in ["CARGO_ENCODED_RUSTFLAGS", "CARGO_PROFILE_RELEASE_LTO", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS"] {
            assert!(is_of_outer_build(name), "{name}");
        }
        for name in ["CARGO_HOME", "CARGO_MAKEFLAGS", "CARGO_NET_OFFLINE", "HOME", "PATH", "RUSTUP_TOOLCHAIN"] {
            assert!(!is_of_outer_build(name), "{name}");
        }
    }

    #[test]
    fn each_llvm_is_alone_in_its_own_folder() {
        let folder = env::temp_dir().join(format!("ringfence-llvm-{}", process::id()));
        let (one, other) = (Path::new("/one/libLLVM.so.22.1"), Path::new("/other/libLLVM.so.22.1"));
        let first = link_alone(one, &folder).unwrap();
        let second = link_alone(other, &folder).unwrap();
        let again = link_alone(one, &folder).unwrap();
        let entries: Vec<_> = fs::read_dir(&first).unwrap().map(|entry| entry.unwrap().path()).collect();
        let target = fs::read_link(first.join("libLLVM.so.22.1")).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_ne!(first, second);
        assert_eq!(first, again);
        assert_eq!(entries, [first.join("libLLVM.so.22.1")]);
        assert_eq!(target, one);
    }
}
