//! The file system of a container image: the package's files, and the libraries that its binary needs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::workspace::{self, run_silently};

/// Root, and the user that the package makes on a host. A container may run as either.
const PASSWD: &str =
    "root:x:0:0:root:/root:/usr/sbin/nologin\nringfence:x:900:900:Ringfence:/var/lib/ringfence:/usr/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nringfence:x:900:\n";

/// Writes the archive. `docker import FILE` and `podman import FILE` make an image of it.
pub(super) fn make(package: &Path, archive: &Path) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let root = folder.path();
    run_silently(Command::new("dpkg-deb").arg("--extract").arg(package).arg(root))?;
    // There is no service manager in a container.
    fs::remove_dir_all(root.join("usr/lib/systemd"))?;
    for library in libraries(&root.join("usr/bin/ringfence"))? {
        let to = root.join(library.strip_prefix("/")?);
        fs::create_dir_all(to.parent().context("a library has a directory")?)?;
        fs::copy(&library, &to).with_context(|| format!("failed to copy {}", library.display()))?;
    }
    for directory in ["proc", "run/ringfence", "sys/fs/bpf", "tmp", "var/lib/ringfence"] {
        fs::create_dir_all(root.join(directory))?;
    }
    fs::write(root.join("etc/passwd"), PASSWD)?;
    fs::write(root.join("etc/group"), GROUP)?;
    // The same content gives the same archive.
    let mut tar = Command::new("tar");
    tar.args([
        "--create",
        "--sort=name",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "--mtime=@0",
        "--mode=u=rwX,go=rX",
    ]);
    run_silently(tar.arg("--file").arg(archive).arg("--directory").arg(root).arg("."))?;
    // It must run with nothing but what is in it.
    let version = run_silently(Command::new("chroot").arg(root).args(["/usr/bin/ringfence", "--version"]))?;
    Ok(format!("{} ({}; {version} runs in it)", archive.display(), workspace::size_of_file(archive)?))
}

/// The libraries that a binary needs, the dynamic loader among them.
fn libraries(binary: &Path) -> Result<Vec<PathBuf>> {
    let text = run_silently(Command::new("ldd").arg(binary))?;
    Ok(text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}
