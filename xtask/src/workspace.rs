//! The folders of the repository, and running cargo and other programs.

use std::{
    env,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::bpf;

/// Arguments of cargo: every crate that is built for this host. The default members leave out `bench`, which a build of the
/// product does not need.
pub(crate) const HOST_CRATES: [&str; 5] = ["--workspace", "--exclude", "bench-ebpf", "--exclude", "filter-ebpf"];

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the workspace")
}

/// Cargo's target directory.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// Where the set-up installs tools that only this working copy uses.
pub(crate) fn tools() -> PathBuf {
    root().join("target/tools")
}

/// The cargo that runs this program, in the root of the repository, without standard input.
pub(crate) fn cargo<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // If a distribution's rustc came first in PATH, cargo would use it together with rustup's clippy.
    cargo.current_dir(root()).env("PATH", bpf::path_with_cargo_bin()).args(arguments).stdin(Stdio::null());
    cargo
}

/// Runs a command with this program's output streams. An error names the command.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("failed to start {}", shown(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", shown(command));
    }
    Ok(())
}

/// Runs a command and returns its output. If it fails, the error has the end of the output.
pub(crate) fn run_silently(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("failed to start {}", shown(command)))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if !output.status.success() {
        let printed = text(&output.stdout) + "\n" + &text(&output.stderr);
        let lines: Vec<_> = printed.trim().lines().collect();
        let end = lines[lines.len().saturating_sub(25)..].join("\n");
        bail!("{} failed ({}):\n{end}", shown(command), output.status);
    }
    Ok(text(&output.stdout))
}

/// A command as it would be typed.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args()).map(|word| word.to_string_lossy());
    words.collect::<Vec<_>>().join(" ")
}

/// Where a program is: in PATH, or in a folder that is only in root's PATH.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Removes a folder with all that is in it, if it is there.
pub(crate) fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// The size of a file, in words.
pub(crate) fn size_of_file(path: &Path) -> Result<String> {
    let bytes = path.metadata().with_context(|| format!("failed to read {}", path.display()))?.len();
    Ok(if bytes < 10_000_000 { format!("{} kB", bytes / 1000) } else { format!("{} MB", bytes / 1_000_000) })
}
