//! Which compiler builds the XDP program, and how cargo is run with it.
//!
//! Shared by the build script, which builds the program, and by `cargo xtask`, which lints it and checks the set-up.
//!
//! A program for BPF needs a `core` built for BPF, so it needs a compiler together with the source of its own library;
//! the source of another version does not compile. Two kinds of installation have that: a rustup toolchain with the
//! component rust-src, and a distribution's rustc with the distribution's package of the library source.

use std::{
    env,
    error::Error,
    ffi::OsString,
    fmt, fs, io,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
};

/// A package of the workspace that is an object for the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Object {
    /// The package's name.
    pub package: &'static str,
    /// The name of its binary, which is the object's file name in the target directory.
    pub binary: &'static str,
}

/// The filter.
pub const FILTER: Object = Object { package: "filter-ebpf", binary: "ringfence" };
/// What the filter is measured beside.
pub const BENCH: Object = Object { package: "bench-ebpf", binary: "bench" };
/// What it is compiled for: every host this runs on is little-endian.
pub const TARGET: &str = "bpfel-unknown-none";
/// What links it.
pub const LINKER: &str = "bpf-linker";

/// Path of a rustc to use instead of the ones looked for; its library source must lie in its sysroot.
pub const ENV_RUSTC: &str = "RINGFENCE_BPF_RUSTC";
/// Name of the rustup toolchain to use, `nightly` if unset.
pub const ENV_TOOLCHAIN: &str = "RINGFENCE_BPF_TOOLCHAIN";
/// Path of an object that is already built: then nothing is compiled.
pub const ENV_OBJECT: &str = "RINGFENCE_BPF_OBJECT";

/// Where distributions put their compiler.
const DISTRIBUTION_RUSTC: [&str; 2] = ["/usr/bin/rustc", "/usr/local/bin/rustc"];

/// A compiler that can build `core` for BPF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiler {
    kind: Kind,
    /// The folder that holds the compiler's libraries and the library source.
    pub sysroot: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// A stable compiler, driven by whichever cargo is at hand; RUSTC_BOOTSTRAP lets it build `core`.
    Distribution(PathBuf),
    /// A rustup toolchain by name, with its own cargo.
    Rustup(String),
}

/// Why no program can be built; the text says what to install.
#[derive(Debug)]
pub enum Missing {
    /// No compiler with its library source.
    Compiler(String),
    /// No bpf-linker.
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
                 {ENV_RUSTC} and {ENV_TOOLCHAIN} name a compiler elsewhere, {ENV_OBJECT} a program built elsewhere"
            ),
            Self::Linker => write!(f, "no {LINKER} in PATH or cargo's bin folder: run `cargo xtask setup`"),
        }
    }
}

impl std::error::Error for Missing {}

impl Compiler {
    /// The compiler the environment names, else rustup's nightly, else the distribution's.
    pub fn find() -> Result<Self, Missing> {
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
        // Asking must not install: rustup would otherwise download what it does not have.
        let sysroot =
            sysroot(Command::new("rustup").args(["run", toolchain, "rustc"]).env("RUSTUP_AUTO_INSTALL", "0"))?;
        Some(Self { kind: Kind::Rustup(toolchain.into()), sysroot })
    }

    fn distribution(rustc: &Path) -> Option<Self> {
        let sysroot = sysroot(&mut Command::new(rustc))?;
        Some(Self { kind: Kind::Distribution(rustc.into()), sysroot })
    }

    /// Files that tell when the compiler has changed.
    pub fn files(&self) -> Vec<PathBuf> {
        match &self.kind {
            Kind::Distribution(rustc) => vec![rustc.clone()],
            Kind::Rustup(_) => vec![self.sysroot.join("lib/rustlib/components")],
        }
    }

    /// `rustc -vV` of it.
    pub fn version(&self) -> io::Result<String> {
        let mut rustc = match &self.kind {
            Kind::Distribution(rustc) => Command::new(rustc),
            Kind::Rustup(_) => Command::new(self.sysroot.join("bin/rustc")),
        };
        Ok(String::from_utf8_lossy(&rustc.arg("-vV").output()?.stdout).into_owned())
    }

    /// The clippy driver that belongs to it.
    pub fn clippy_driver(&self) -> PathBuf {
        match &self.kind {
            Kind::Distribution(rustc) => rustc.with_file_name("clippy-driver"),
            Kind::Rustup(_) => self.sysroot.join("bin/clippy-driver"),
        }
    }

    /// `cargo SUBCOMMAND` for an object, with everything set that does not change between builds: a caller adds
    /// only arguments.
    ///
    /// `target_dir` is the one directory of all BPF builds, so that `core` is compiled once for all profiles of the
    /// host's side. `arch` is the machine whose registers the program's context means (`CARGO_CFG_TARGET_ARCH`).
    pub fn cargo(
        &self,
        subcommand: &str,
        object: Object,
        workspace: &Path,
        target_dir: &Path,
        arch: &str,
    ) -> io::Result<Command> {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        match &self.kind {
            // An outer cargo's RUSTUP_TOOLCHAIN stays: it says which toolchain cargo itself belongs to.
            Kind::Distribution(rustc) => {
                cargo.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
            }
            Kind::Rustup(toolchain) => {
                cargo = Command::new("rustup");
                cargo.args(["run", toolchain, "cargo"]).env_remove("RUSTC").env_remove("RUSTC_BOOTSTRAP");
            }
        }
        // What an outer cargo tells its build scripts, and what a user sets for the host's build, is not for this one:
        // its output must depend on the sources and the compiler alone.
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(is_of_outer_build) {
                cargo.env_remove(name);
            }
        }
        let flags = [
            format!("--cfg=bpf_target_arch=\"{arch}\""),
            // BTF is made from debug information.
            "-Cdebuginfo=2".into(),
            "-Clink-arg=--btf".into(),
            // No path of this machine in the object. The sources stay readable to the linker, which runs in the
            // workspace and copies their lines into the BTF, where the verifier's log quotes them.
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

    /// Builds an object for a build script, and puts it at `to`.
    ///
    /// Its messages go to the standard error stream of the script, which cargo shows when the build fails.
    pub fn build(&self, object: Object, workspace: &Path, out_dir: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
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

    /// The LLVM library this compiler runs on, if it has one of its own.
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

/// Puts a link to `llvm`, and nothing else, into `folder`.
///
/// bpf-linker takes the first libLLVM it meets in LD_LIBRARY_PATH, in the order of the directory's entries: beside
/// another LLVM, older than the compiler's, it could take that one and fail to read the compiler's output.
fn link_alone(llvm: &Path, folder: &Path) -> io::Result<PathBuf> {
    let name = llvm.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    // A folder for each library: a build with another compiler may run at the same time.
    let mut folder_name = OsString::from("for-");
    folder_name.push(llvm.as_os_str().to_string_lossy().replace(['/', ' ', ':'], "_"));
    let folder = folder.join(folder_name);
    fs::create_dir_all(&folder)?;
    let link = folder.join(name);
    if fs::read_link(&link).is_ok_and(|target| target == llvm) {
        return Ok(folder);
    }
    // The temporary name must not look like an LLVM library to another linker that reads the folder now.
    let temporary = folder.join(format!("new-{}", process::id()));
    std::os::unix::fs::symlink(llvm, &temporary)?;
    fs::rename(&temporary, &link)?;
    Ok(folder)
}

/// Where bpf-linker is, if it is.
pub fn linker() -> Result<PathBuf, Missing> {
    env::split_paths(&path_with_cargo_bin())
        .map(|folder| folder.join(LINKER))
        .find(|path| path.is_file())
        .ok_or(Missing::Linker)
}

/// PATH with cargo's bin folder first: that is where `cargo install` puts the linker, and a distribution's cargo must
/// not come before rustup's.
pub fn path_with_cargo_bin() -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let bin = cargo_home().map(|home| home.join("bin"));
    env::join_paths(bin.into_iter().chain(env::split_paths(&path))).unwrap_or(path)
}

/// Where cargo keeps what it installs.
pub fn cargo_home() -> Option<PathBuf> {
    match env::var_os("CARGO_HOME") {
        Some(home) => Some(home.into()),
        None => Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")),
    }
}

/// The sysroot that this rustc prints, if the source of the library lies in it.
fn sysroot(rustc: &mut Command) -> Option<PathBuf> {
    let output = rustc.args(["--print", "sysroot"]).env_remove("RUSTUP_TOOLCHAIN").output().ok()?;
    let sysroot = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    (output.status.success() && sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml").exists())
        .then_some(sysroot)
}

/// Whether an environment variable speaks of a build of the host's side. What says how to reach the registry, how to
/// print, and which jobs are free (the jobserver) is kept.
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
    fn settings_of_the_host_build_do_not_reach_the_program_but_the_registry_and_the_jobserver_do() {
        for name in ["CARGO_ENCODED_RUSTFLAGS", "CARGO_PROFILE_RELEASE_LTO", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS"] {
            assert!(is_of_outer_build(name), "{name}");
        }
        for name in ["CARGO_HOME", "CARGO_MAKEFLAGS", "CARGO_NET_OFFLINE", "HOME", "PATH", "RUSTUP_TOOLCHAIN"] {
            assert!(!is_of_outer_build(name), "{name}");
        }
    }

    #[test]
    fn each_llvm_has_a_folder_of_its_own_and_lies_alone_in_it() {
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
