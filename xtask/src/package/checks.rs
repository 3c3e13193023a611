//! What must hold of every package.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::workspace::{self, run_silently};

/// The largest binary, in bytes.
const LARGEST_BINARY: u64 = 16_000_000;

/// The C library of Ubuntu 22.04, the oldest distribution that the package is for.
const OLDEST_GLIBC: (u32, u32) = (2, 35);

/// Directories whose files depend on the program, the sample policy and the documents. They are listed as one.
const SEVERAL: &[&str] = &["./usr/share/doc/ringfence/", "./usr/share/man/man1/", "./usr/share/ringfence/policy/"];

/// What the package holds, a line for each file: its permissions, its owner and its path.
fn manifest() -> PathBuf {
    workspace::root().join("packaging/deb/contents")
}

/// Checks everything. Returns the numbers.
pub(super) fn all(package: &Path) -> Result<String> {
    let folder = tempfile::tempdir()?;
    run_silently(Command::new("dpkg-deb").arg("--extract").arg(package).arg(folder.path()))?;
    let binary = folder.path().join("usr/bin/ringfence");
    let size = binary.metadata().context("failed to read the packed binary")?.len();
    ensure!(size <= LARGEST_BINARY, "the binary has {size} bytes, more than {LARGEST_BINARY}");
    let glibc = newest_glibc(&run_silently(Command::new("objdump").arg("--dynamic-syms").arg(&binary))?)
        .context("the binary names no version of the C library")?;
    ensure!(glibc <= OLDEST_GLIBC, "the binary needs glibc {}.{}, newer than {OLDEST_GLIBC:?}", glibc.0, glibc.1);
    contents(package)?;
    lintian(package)?;
    Ok(format!("binary {size} bytes, glibc {}.{}, contents as listed, lintian has no errors", glibc.0, glibc.1))
}

/// The newest version of the C library that a symbol table names.
fn newest_glibc(symbols: &str) -> Option<(u32, u32)> {
    let versions = symbols.split("GLIBC_").skip(1).filter_map(|rest| {
        let mut numbers = rest.split(|character: char| !character.is_ascii_digit());
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    });
    versions.max()
}

/// Compares the package's files with the manifest.
fn contents(package: &Path) -> Result<()> {
    let listing = run_silently(Command::new("dpkg-deb").arg("--contents").arg(package))?;
    let found = listed(&listing);
    if std::env::var_os("RINGFENCE_UPDATE_EXPECTED").is_some() {
        return fs::write(manifest(), found).context("failed to write the manifest");
    }
    let expected = fs::read_to_string(manifest()).context("failed to read packaging/deb/contents")?;
    if found == expected {
        return Ok(());
    }
    let lines = |of: &str, not: &str, sign: &str| -> String {
        of.lines()
            .filter(|line| !not.lines().any(|other| other == *line))
            .map(|line| format!("{sign} {line}\n"))
            .collect()
    };
    bail!(
        "the package is not what packaging/deb/contents lists:\n{}{}(RINGFENCE_UPDATE_EXPECTED=1 writes the list)",
        lines(&expected, &found, "-"),
        lines(&found, &expected, "+")
    );
}

/// Permissions, owner and path of each file that `dpkg-deb --contents` lists, without the directories.
fn listed(listing: &str) -> String {
    let mut lines: Vec<String> = listing
        .lines()
        .filter(|line| !line.starts_with('d'))
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (mode, owner) = (words.next()?, words.next()?);
            let path = words.nth(3)?;
            Some(match SEVERAL.iter().find(|directory| path.starts_with(**directory)) {
                Some(directory) => format!("{mode} {owner} {directory}*\n"),
                None => format!("{mode} {owner} {path}\n"),
            })
        })
        .collect();
    lines.sort_by(|left, right| left.rsplit(' ').next().cmp(&right.rsplit(' ').next()));
    lines.dedup();
    lines.concat()
}

fn lintian(package: &Path) -> Result<()> {
    // It would refuse to run as root without the option.
    let output = Command::new("lintian").args(["--allow-root", "--tag-display-limit", "0"]).arg(package).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    eprint!("{text}");
    ensure!(!text.lines().any(|line| line.starts_with("E:")) && output.status.code() != Some(1), "lintian: see above");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_of_the_c_library_is_found() {
        let symbols = "0000 DF *UND* 0000 (GLIBC_2.2.5) free\n0000 DF *UND* 0000 (GLIBC_2.34) x\n0000 (GLIBC_2.9) y\n";
        assert_eq!(newest_glibc(symbols), Some((2, 34)));
        assert_eq!(newest_glibc("no symbols"), None);
    }

    #[test]
    fn a_listing_is_reduced_to_what_does_not_change_with_each_build() {
        let listing = "drwxr-xr-x 0/0 0 2026-11-28 04:00 ./usr/\n\
                       -rwxr-xr-x 0/0 123 2026-11-28 04:00 ./usr/bin/ringfence\n\
                       -rw-r--r-- 0/0 9 2026-11-28 04:00 ./usr/share/man/man1/ringfence.1.gz\n\
                       -rw-r--r-- 0/0 9 2026-11-28 04:00 ./usr/share/man/man1/ringfence-run.1.gz\n\
                       -rw-r--r-- 0/0 7 2026-11-28 04:00 ./etc/ringfence/ringfence.toml\n";
        let expected = "-rw-r--r-- 0/0 ./etc/ringfence/ringfence.toml\n-rwxr-xr-x 0/0 ./usr/bin/ringfence\n\
                        -rw-r--r-- 0/0 ./usr/share/man/man1/*\n";
        assert_eq!(listed(listing), expected);
    }
}
