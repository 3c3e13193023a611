//! Kernels to boot: Debian's kernels for virtual machines, with BPF, BTF and serial ports built in. A separate apt
//! configuration under `target/vm` downloads them; the system's package lists and packages stay as they are.

use std::{
    fmt::Write as _,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::{run_silently, workspace};

/// A kernel series.
pub(crate) struct Series {
    /// Its name on the command line and in the table.
    pub name: &'static str,
    /// The prefix of its versions. None means: newer than all other series.
    prefix: Option<&'static str>,
    /// The Debian suite that has it, and whether the suite has a security archive.
    suite: &'static str,
    has_security: bool,
}

/// The kernels that must accept the program: Debian's stable ones, and newer ones from its backports.
pub(crate) const SERIES: [Series; 4] = [
    Series { name: "6.1", prefix: Some("6.1."), suite: "bookworm", has_security: true },
    Series { name: "6.12", prefix: Some("6.12."), suite: "trixie", has_security: true },
    Series { name: "6.18", prefix: Some("6.18."), suite: "trixie-backports", has_security: false },
    Series { name: "newest", prefix: None, suite: "trixie-backports", has_security: false },
];

/// Every version after this one belongs to the series `newest`.
const NEWEST_KNOWN: [u64; 2] = [6, 18];

/// Whether any kernel of a series will do, or only the newest.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Freshness {
    /// A kernel that was downloaded before will do. Then nothing is fetched.
    Any,
    /// The archive is asked for the newest kernel. A kernel that was downloaded before is used if the archive does not
    /// answer.
    Newest,
}

/// The files of a kernel.
pub(crate) struct Kernel {
    /// As `uname -r` prints it: `6.1.0-56-cloud-amd64`.
    pub release: String,
    pub image: PathBuf,
    /// `lib/modules/RELEASE/kernel`.
    pub modules: PathBuf,
}

/// A kernel of this series, downloaded if necessary.
pub(crate) fn obtain(series: &Series, freshness: Freshness) -> Result<Kernel> {
    let here = || newest_unpacked(series).and_then(|folder| unpacked(&folder).ok());
    if freshness == Freshness::Any
        && let Some(kernel) = here()
    {
        return Ok(kernel);
    }
    match fetch(series) {
        Ok(kernel) => Ok(kernel),
        // An older kernel of the series is better than none, with a warning.
        Err(error) => match here() {
            Some(kernel) => {
                eprintln!("WARNING: {error:#}\nWARNING: using {}, which was downloaded before", kernel.release);
                Ok(kernel)
            }
            None => Err(error.context(format!("no kernel of the series {} is available", series.name))),
        },
    }
}

/// The folder of the kernels, apt's files and the guests' files.
pub(crate) fn folder() -> PathBuf {
    workspace::root().join("target/vm")
}

/// A lock that one run at a time can hold. Dropping it releases it.
pub(crate) fn lock() -> Result<File> {
    fs::create_dir_all(folder())?;
    let path = folder().join("lock");
    let file = File::create(&path).with_context(|| format!("failed to create {}", path.display()))?;
    file.lock().with_context(|| format!("failed to lock {}", path.display()))?;
    Ok(file)
}

/// The numbers in a release, to sort releases by.
pub(crate) fn version_key(release: &str) -> Vec<u64> {
    release.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

/// The folder of the newest unpacked kernel of a series.
fn newest_unpacked(series: &Series) -> Option<PathBuf> {
    let names =
        fs::read_dir(folder().join("kernels")).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let newest = names.filter(|name| series.has(name)).max_by_key(|name| version_key(name))?;
    Some(folder().join("kernels").join(newest))
}

impl Series {
    /// Whether a release such as `6.1.0-56-cloud-amd64` belongs to the series.
    fn has(&self, release: &str) -> bool {
        release.ends_with("-cloud-amd64")
            && match self.prefix {
                Some(prefix) => {
                    release.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
                }
                None => version_key(release).get(..2).is_some_and(|version| version > NEWEST_KNOWN.as_slice()),
            }
    }
}

/// Downloads the newest kernel of a series, unless it has been downloaded before, and unpacks it.
fn fetch(series: &Series) -> Result<Kernel> {
    // Another run may be downloading, and apt does not wait for it.
    let _lock = lock()?;
    let apt = Apt::new(series)?;
    apt.run("apt-get", &["-qq", "update"])?;
    let found = apt.run("apt-cache", &["search", "--names-only", "^linux-image-[0-9].*-cloud-amd64$"])?;
    let releases = found.lines().filter_map(|line| line.split_whitespace().next()?.strip_prefix("linux-image-"));
    let release = releases
        .filter(|release| series.has(release))
        .max_by_key(|release| version_key(release))
        .with_context(|| format!("Debian's {} has no such kernel, or its mirror does not answer", series.suite))?;
    let destination = folder().join("kernels").join(release);
    if !destination.exists() {
        // From 6.19 on, the image package is empty, and two other packages have the kernel and its modules.
        let split = [format!("linux-binary-{release}"), format!("linux-modules-{release}")];
        let exists = apt.run("apt-cache", &["show", &split[0]]).is_ok_and(|text| !text.is_empty());
        let packages = if exists { split.to_vec() } else { vec![format!("linux-image-{release}")] };
        let downloads = TempDir::new_in(folder())?;
        eprintln!("vm: downloading {}", packages.join(", "));
        for package in &packages {
            run_silently(apt.command("apt-get").args(["-q", "download", package]).current_dir(downloads.path()))?;
        }
        let files = downloads.path().join("files");
        for entry in fs::read_dir(downloads.path())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                run_silently(Command::new("dpkg-deb").arg("--extract").args([&path, &files]))?;
            }
        }
        // Renaming makes it appear completely or not at all.
        fs::create_dir_all(folder().join("kernels"))?;
        fs::rename(&files, &destination).with_context(|| format!("failed to create {}", destination.display()))?;
    }
    unpacked(&destination)
}

fn unpacked(folder: &Path) -> Result<Kernel> {
    let release = folder.file_name().and_then(|name| name.to_str()).context("the folder has no name")?;
    let image =
        find_file(folder, &|name| name.starts_with("vmlinuz")).with_context(|| format!("no kernel in {release}"))?;
    let modules = ["lib/modules", "usr/lib/modules"]
        .map(|path| folder.join(path).join(release).join("kernel"))
        .into_iter()
        .find(|path| path.is_dir())
        .with_context(|| format!("no modules in {release}"))?;
    Ok(Kernel { release: release.to_owned(), image, modules })
}

/// The first file below a folder whose name satisfies the predicate.
pub(crate) fn find_file(folder: &Path, is_it: &dyn Fn(&str) -> bool) -> Option<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).ok()?.flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() && entry.file_name().to_str().is_some_and(is_it) => {
                    return Some(entry.path());
                }
                _ => {}
            }
        }
    }
    None
}

/// An apt configuration with its own lists and sources. It installs nothing.
struct Apt {
    configuration: PathBuf,
}

impl Apt {
    fn new(series: &Series) -> Result<Self> {
        const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
        ensure!(
            Path::new(KEYRING).exists(),
            "there is no {KEYRING}: kernels can be downloaded on Debian only; there, `apt-get install debian-archive-keyring` installs it"
        );
        let mirror = mirror_of("debian").context("no Debian mirror in /etc/apt: add one to /etc/apt/sources.list")?;
        let root = folder().join("apt").join(series.suite);
        for path in ["etc/apt.conf.d", "etc/preferences.d", "state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(root.join(path))?;
        }
        fs::write(root.join("state/status"), "")?;
        let mut sources = format!("deb [arch=amd64 signed-by={KEYRING}] {mirror} {} main\n", series.suite);
        if series.has_security {
            let security = mirror_of("debian-security").unwrap_or_else(|| format!("{mirror}-security"));
            writeln!(sources, "deb [arch=amd64 signed-by={KEYRING}] {security} {}-security main", series.suite)?;
        }
        fs::write(root.join("etc/sources.list"), sources)?;
        let configuration = root.join("apt.conf");
        let path = |name: &str| root.join(name).display().to_string();
        let options = [
            ("Dir::Etc", path("etc")),
            ("Dir::Etc::sourcelist", path("etc/sources.list")),
            ("Dir::Etc::sourceparts", "-".into()),
            ("Dir::State", path("state")),
            ("Dir::State::status", path("state/status")),
            ("Dir::Cache", path("cache")),
            ("Acquire::Languages", "none".into()),
            ("Acquire::Retries", "3".into()),
            // apt's own user may not be able to write here.
            ("APT::Sandbox::User", "root".into()),
            ("APT::Architecture", "amd64".into()),
        ];
        let text: String = options.iter().map(|(name, value)| format!("{name} \"{value}\";\n")).collect();
        fs::write(&configuration, text)?;
        Ok(Self { configuration })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", &self.configuration).env("LC_ALL", "C.UTF-8");
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        run_silently(self.command(program).args(arguments))
    }
}

/// The mirror from which this system's apt gets an archive (`debian`, `debian-security`).
fn mirror_of(archive: &str) -> Option<String> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    files.extend(fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|entry| entry.path()));
    let texts: Vec<_> = files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect();
    mirror_in(&texts.join("\n"), archive)
}

fn mirror_in(sources: &str, archive: &str) -> Option<String> {
    let lines = sources.lines().filter(|line| !line.trim_start().starts_with('#'));
    let words = lines.flat_map(str::split_whitespace).filter(|word| word.contains("://"));
    words
        .map(|word| word.trim_end_matches('/'))
        .find(|word| word.rsplit('/').next() == Some(archive))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_belongs_to_one_series() {
        let of = |release: &str| SERIES.iter().filter(|series| series.has(release)).map(|s| s.name).collect::<Vec<_>>();
        assert_eq!(of("6.1.0-56-cloud-amd64"), ["6.1"]);
        assert_eq!(of("6.12.1+deb13-cloud-amd64"), ["6.12"]);
        for newest in ["6.19.2+deb13-cloud-amd64", "7.3.4+deb13-cloud-amd64", "10.0.1+deb14-cloud-amd64"] {
            assert_eq!(of(newest), ["newest"], "{newest}");
        }
        for none in ["6.1.0-56-rt-amd64", "6.10.0-1-cloud-amd64", "5.10.0-35-cloud-amd64", "6.1.0-56-cloud-arm64"] {
            assert!(of(none).is_empty(), "{none}");
        }
        assert!(version_key("6.1.0-56-cloud-amd64") > version_key("6.1.0-9-cloud-amd64"));
    }

    #[test]
    fn the_mirror_is_found_in_both_formats_of_sources() {
        let classic =
            "# deb http://old.test/debian sid main\ndeb [arch=amd64] http://mirror.test/debian/ bookworm main\n";
        assert_eq!(mirror_in(classic, "debian").as_deref(), Some("http://mirror.test/debian"));
        assert_eq!(mirror_in(classic, "debian-security"), None);
        let deb822 = "Types: deb\nURIs: http://mirror.test/a/debian-security\nSuites: trixie-security\n";
        assert_eq!(mirror_in(deb822, "debian-security").as_deref(), Some("http://mirror.test/a/debian-security"));
        assert_eq!(mirror_in("deb http://mirror.test/ubuntu noble main\n", "debian"), None);
    }
}
