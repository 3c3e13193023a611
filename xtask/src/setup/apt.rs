//! Debian packages, installed as root.

use std::{
    io::{self, IsTerminal as _},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, bail};

use crate::workspace::{self, find_program, run_silently};

/// Packages that start a service of their own name, which the tests neither need nor want: they start the programs themselves.
const SERVICES: [&str; 2] = ["kamailio", "prometheus"];

/// Installs Debian packages without starting any service.
pub(super) fn install(packages: &[String]) -> Result<()> {
    if find_program("apt-get").is_none() {
        bail!("there is no apt-get");
    }
    let root = Root::find()?;
    let is_wanted = |service: &&str| packages.iter().any(|package| package == service);
    let _held: Vec<_> =
        SERVICES.into_iter().filter(is_wanted).map(|service| HeldService::hold(&root, service)).collect();
    // A new machine has no package lists at all. If it has old ones, they may still do.
    if let Err(error) = apt_get(&root, &["update"]) {
        eprintln!("setup: {error:#}\nsetup: continuing with the existing package lists");
    }
    // --no-remove: a package may conflict with one that the user wants (rustc-web with rustc). Then apt fails, and says why.
    let install = |packages: &[&str]| {
        apt_get(&root, &[["install", "--yes", "--no-install-recommends", "--no-remove"].as_slice(), packages].concat())
    };
    let names: Vec<_> = packages.iter().map(String::as_str).collect();
    let Err(error) = install(&names) else { return Ok(()) };
    // One package that conflicts with something must not keep the others out.
    if packages.len() > 1 && format!("{error:#}").contains("Packages need to be removed") {
        let failures: Vec<_> =
            names.iter().filter_map(|name| install(&[name]).err()).map(|error| format!("{error:#}")).collect();
        return if failures.is_empty() { Ok(()) } else { Err(anyhow!(failures.join("\n"))) };
    }
    // A pinned version can vanish from a mirror. A newer one most likely builds too, and is better than nothing.
    let gone = |text: &str| text.contains("was not found") && text.contains("Version");
    if !gone(&format!("{error:#}")) {
        return Err(error);
    }
    let unpinned: Vec<_> = names.iter().map(|name| name.split('=').next().unwrap_or(name)).collect();
    eprintln!(
        "WARNING: {error:#}\nWARNING: a pinned version is not available; installing the newest version of each package instead"
    );
    install(&unpinned)
}

/// Runs apt-get. Waits while another apt holds the locks.
fn apt_get(root: &Root, arguments: &[&str]) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(600);
    let start = Instant::now();
    loop {
        // RUNLEVEL keeps the packages' scripts from starting services where init is not systemd, and in containers.
        let mut command = root.command("env");
        command
            .args(["DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1", "RUNLEVEL=1", "LC_ALL=C.UTF-8"])
            .args(["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=600", "-o", "Acquire::Retries=3"])
            .args(arguments);
        match run_silently(&mut command) {
            Ok(_) => return Ok(()),
            // The option above covers dpkg's lock only, not the lock on the package lists.
            Err(error) if format!("{error:#}").contains("Could not get lock") && start.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_secs(3));
            }
            Err(error) => return Err(error),
        }
    }
}

/// How to run a command as root.
enum Root {
    /// This process runs as root.
    Already,
    /// Through sudo, which needs no password or can ask for it.
    Sudo(&'static [&'static str]),
}

impl Root {
    fn find() -> Result<Self> {
        if run_silently(Command::new("id").arg("-u"))? == "0" {
            return Ok(Self::Already);
        }
        if run_silently(Command::new("sudo").args(["-n", "true"])).is_ok() {
            return Ok(Self::Sudo(&["-n"]));
        }
        if find_program("sudo").is_some() && io::stdin().is_terminal() && io::stderr().is_terminal() {
            // sudo asks on the terminal, whatever its standard input is. Later commands need not ask again.
            eprintln!("setup: installing packages needs root");
            workspace::run(Command::new("sudo").arg("-v"))?;
            return Ok(Self::Sudo(&[]));
        }
        Err(anyhow!("installing packages needs root, and sudo is not installed or would ask for a password"))
    }

    fn command(&self, program: &str) -> Command {
        match self {
            Self::Already => Command::new(program),
            Self::Sudo(options) => {
                let mut command = Command::new("sudo");
                command.args(*options).arg(program);
                command
            }
        }
    }
}

/// Keeps a package from starting its service, now and at every boot: it would listen on its port of every address.
struct HeldService<'a> {
    root: &'a Root,
    service: &'static str,
    masked: bool,
}

impl<'a> HeldService<'a> {
    /// Call this before the package is installed. Dropping the value unmasks the service and leaves it disabled, so that the
    /// user can start it again.
    fn hold(root: &'a Root, service: &'static str) -> Self {
        // Where init is not systemd, RUNLEVEL keeps it from starting (see `apt_get`).
        let masked = Path::new("/run/systemd/system").exists()
            && run_silently(root.command("systemctl").args(["mask", "--runtime", service])).is_ok();
        Self { root, service, masked }
    }

    fn release(&self) -> Result<()> {
        if self.masked {
            run_silently(self.root.command("systemctl").args(["unmask", "--runtime", self.service]))?;
            run_silently(self.root.command("systemctl").args(["disable", self.service]))?;
        }
        run_silently(self.root.command("update-rc.d").args([self.service, "disable"])).map(|_| ())
    }
}

impl Drop for HeldService<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.release() {
            eprintln!("WARNING: {} may start at the next boot: {error:#}", self.service);
        }
    }
}
