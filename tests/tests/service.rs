//! The daemon as a service: found by its configuration, and run by a user with three capabilities and a BPF file system of its own.

use std::{
    fs::{self, Permissions},
    os::unix::{
        fs::{PermissionsExt as _, chown},
        net::UnixDatagram,
    },
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ringfence_tests::{
    filter,
    netns::{Wire, WireOptions},
    process::Spawned,
    scratch,
};
use serde_json::Value;

const POLICY: &str = "version = 1\ndefault = \"pass\"\n[network]\nudp = [5060]\n[numbering]\ncountry_code = \"1\"\n\
                      international_prefix = \"011\"\n[[rule]]\nname = \"options\"\nmatch.method = \"OPTIONS\"\naction = \"drop\"\n";

/// A user and group that no host has: neither needs an entry anywhere.
const USER: u32 = 61_234;

/// What the service has.
const CAPABILITIES: &str = "-all,+bpf,+net_admin,+perfmon";

/// How long the daemon may take to start, perhaps on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(120);

/// A host with an interface, a policy, a configuration, and a BPF file system that is the daemon's alone.
struct Host {
    wire: Wire,
    scratch: tempfile::TempDir,
    binary: PathBuf,
    /// Who runs the daemon: root if none.
    user: Option<&'static str>,
}

impl Host {
    /// With the daemon run by root, or by [`USER`] with these capabilities.
    fn new(user: Option<&'static str>) -> Result<Self> {
        let host = Self {
            wire: Wire::new(&WireOptions::default())?,
            scratch: scratch()?,
            binary: filter::build(false)?,
            user,
        };
        // The daemon's user must get there.
        fs::set_permissions(host.scratch.path(), Permissions::from_mode(0o755))?;
        for directory in ["policy", "run", "bpf"] {
            fs::create_dir(host.path(directory))?;
        }
        fs::write(host.path("policy/policy.toml"), POLICY)?;
        let text = format!(
            "version = 1\n[[interface]]\nname = \"{}\"\n[policy]\ndirectory = \"policy\"\n[api]\nsocket = \"run/ringfence.sock\"\n\
             [pins]\ndirectory = \"bpf/filter\"\n[outputs.stdout]\nformat = \"json\"\n",
            Wire::SERVER_INTERFACE
        );
        fs::write(host.path("ringfence.toml"), text)?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "bpf", "-o", "mode=0700", "bpf"]).arg(host.path("bpf"));
        succeed(&mut mount)?;
        if user.is_some() {
            chown(host.path("run"), Some(USER), Some(USER))?;
        }
        Ok(host)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// A command as the daemon's user, with the configuration.
    fn ringfence(&self, arguments: &[&str]) -> Command {
        let mut command = match self.user {
            None => self.wire.server.command(&self.binary.to_string_lossy()),
            Some(capabilities) => {
                let mut command = self.wire.server.command("setpriv");
                command.args(["--reuid", &USER.to_string(), "--regid", &USER.to_string(), "--clear-groups"]);
                command.args(["--inh-caps", capabilities, "--ambient-caps", capabilities]);
                command
                    .args(["--bounding-set", capabilities, "--no-new-privs", "--pdeathsig", "TERM"])
                    .arg(&self.binary);
                command
            }
        };
        command.args(arguments).arg("--config").arg(self.path("ringfence.toml")).stdin(Stdio::null());
        command
    }

    /// Starts the daemon, and waits until it filters.
    fn start(&self, name: &str) -> Result<Spawned> {
        let mut daemon = Spawned::start(name, self.ringfence(&["run"]), self.scratch.path())?;
        daemon.wait_until("filter in force", START_LIMIT, |_| {
            let status = self.ringfence(&["status", "--json"]).output()?;
            let status: Value = serde_json::from_slice(&status.stdout).unwrap_or_default();
            Ok((status["daemon"] == "running").then_some(()))
        })?;
        Ok(daemon)
    }

    fn status(&self) -> Result<Value> {
        let text = succeed(&mut self.ringfence(&["status", "--json"]))?;
        serde_json::from_str(text.trim()).with_context(|| format!("no status: {text}"))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Everything that is pinned there goes with it, and so does a filter that a failed test has left.
        let unmounted = Command::new("umount").arg("--lazy").arg(self.path("bpf")).status();
        if !unmounted.as_ref().is_ok_and(std::process::ExitStatus::success) {
            eprintln!("failed to unmount {}: {unmounted:?}", self.path("bpf").display());
        }
    }
}

/// What a command prints, if it succeeds.
fn succeed(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("failed to start {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}{}", lossy(&output.stdout), lossy(&output.stderr));
    Ok(lossy(&output.stdout))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn errors(output: &Output) -> String {
    lossy(&output.stderr)
}

#[test]
fn every_command_finds_the_daemon_by_its_configuration() -> Result<()> {
    let host = Host::new(None)?;
    let mut daemon = host.start("daemon")?;
    let status = host.status()?;
    assert_eq!(status["pin_dir"], host.path("bpf/filter").to_string_lossy().as_ref(), "{status}");
    succeed(&mut host.ringfence(&["events", "--json"]))?;
    succeed(&mut host.ringfence(&["ban", "192.0.2.7", "--for", "1h", "--comment", "kept by the daemon"]))?;
    let bans = succeed(&mut host.ringfence(&["bans"]))?;
    assert!(bans.contains("kept by the daemon"), "{bans}");
    // With a mistake in the file, too.
    let path = host.path("ringfence.toml");
    fs::write(&path, fs::read_to_string(&path)?.replace("version = 1\n", "version = 1\nedeg = \"a\"\n"))?;
    let output = host.ringfence(&["unban", "all"]).output()?;
    assert!(output.status.success() && errors(&output).contains("edeg"), "{output:?}");
    succeed(&mut host.ringfence(&["detach"]))?;
    assert!(daemon.wait(Duration::from_secs(20))?.success());
    assert!(!host.path("bpf/filter").exists());
    Ok(())
}

#[test]
fn a_path_that_is_not_a_socket_is_left_alone_and_the_advice_works() -> Result<()> {
    let host = Host::new(None)?;
    let path = host.path("run/ringfence.sock");
    fs::write(&path, "precious")?;
    let output = host.ringfence(&["run"]).output()?;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let advice = errors(&output);
    let command = format!("mv {0} {0}.old", path.display());
    assert!(advice.contains("is a file, not a socket") && advice.contains(&command), "{advice}");
    assert_eq!(fs::read_to_string(&path)?, "precious");
    assert!(!host.path("bpf/filter").exists(), "nothing has been loaded");
    succeed(Command::new("sh").args(["-c", &command]))?;
    host.start("daemon")?;
    Ok(())
}

#[test]
fn a_user_with_three_capabilities_runs_the_filter_and_takes_it_over() -> Result<()> {
    let host = Host::new(Some(CAPABILITIES))?;
    // The file system is root's still.
    let output = host.ringfence(&["run"]).output()?;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let advice = errors(&output);
    let command = format!("chown {USER}:{USER} {}", host.path("bpf").display());
    assert!(advice.contains(&command), "{advice}");
    succeed(Command::new("sh").args(["-c", &command]))?;

    let mut daemon = host.start("first")?;
    let uid = fs::read_to_string(Path::new("/proc").join(daemon.id().to_string()).join("status"))?;
    assert!(uid.contains(&format!("Uid:\t{USER}\t{USER}")), "{uid}");
    succeed(&mut host.ringfence(&["ban", "192.0.2.7", "--for", "1h"]))?;
    let first = host.status()?;
    daemon.signal(rustix::process::Signal::KILL)?;
    daemon.wait(Duration::from_secs(5))?;
    let alone = host.status()?;
    assert_eq!((&alone["daemon"], &alone["interfaces"]), (&"not running".into(), &first["interfaces"]), "{alone}");

    let mut daemon = host.start("second")?;
    assert_eq!(host.status()?["interfaces"], first["interfaces"], "taken over, not attached again");
    assert!(succeed(&mut host.ringfence(&["bans"]))?.contains("192.0.2.7"));
    daemon.signal(rustix::process::Signal::TERM)?;
    assert!(daemon.wait(Duration::from_secs(20))?.success());
    succeed(&mut host.ringfence(&["detach"]))?;
    assert!(!host.path("bpf/filter").exists());
    Ok(())
}

#[test]
fn the_service_manager_hears_when_the_filter_is_in_force_and_that_the_daemon_is_alive() -> Result<()> {
    let host = Host::new(None)?;
    let path = host.path("notify.sock");
    let socket = UnixDatagram::bind(&path)?;
    socket.set_read_timeout(Some(START_LIMIT))?;
    let mut command = host.ringfence(&["run"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "100000");
    let _daemon = Spawned::start("daemon", command, host.scratch.path())?;
    let next = || -> Result<String> {
        let mut message = [0; 256];
        let length = socket.recv(&mut message).context("no message to the service manager")?;
        Ok(lossy(&message[..length]))
    };
    assert_eq!(next()?.trim(), "READY=1");
    assert!(host.path("bpf/filter").join(Wire::SERVER_INTERFACE).join("link").exists(), "ready means attached");
    for _ in 0..3 {
        assert_eq!(next()?.trim(), "WATCHDOG=1");
    }
    Ok(())
}

#[test]
fn without_a_capability_the_error_names_it_once() -> Result<()> {
    let host = Host::new(Some("-all,+net_admin,+perfmon"))?;
    chown(host.path("bpf"), Some(USER), Some(USER))?;
    let output = host.ringfence(&["run"]).output()?;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let text = errors(&output);
    assert!(
        text.contains("CAP_BPF missing") && text.contains("AmbientCapabilities=CAP_BPF CAP_NET_ADMIN CAP_PERFMON"),
        "{text}"
    );
    assert_eq!(text.matches("help:").count(), 1, "{text}");
    Ok(())
}
