//! A host with an interface, a configuration, a policy, and a BPF file system for the daemon.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, chown},
    path::PathBuf,
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
pub const USER: u32 = 61_234;

/// What the service has.
pub const CAPABILITIES: &str = "-all,+bpf,+net_admin,+net_raw,+perfmon";

/// How long the daemon may take to start, perhaps on a busy machine.
pub const START_LIMIT: Duration = Duration::from_secs(120);

/// A host with an interface, a policy, a configuration, and a BPF file system that is the daemon's alone.
pub struct Host {
    pub wire: Wire,
    pub scratch: tempfile::TempDir,
    binary: PathBuf,
    /// Who runs the daemon: root if none.
    user: Option<&'static str>,
}

impl Host {
    /// With the daemon run by root, or by [`USER`] with these capabilities.
    pub fn new(user: Option<&'static str>) -> Result<Self> {
        Self::with(user, &[Wire::SERVER_INTERFACE])
    }

    /// As [`Self::new`], with these interfaces in the configuration.
    pub fn with(user: Option<&'static str>, interfaces: &[&str]) -> Result<Self> {
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
            "version = 1\n{}[policy]\ndirectory = \"policy\"\n[api]\nsocket = \"run/ringfence.sock\"\n\
             [pins]\ndirectory = \"bpf/filter\"\n[outputs.stdout]\nformat = \"json\"\n",
            interfaces.iter().map(|name| format!("[[interface]]\nname = \"{name}\"\n")).collect::<String>()
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

    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// A command as the daemon's user, with the configuration.
    pub fn ringfence(&self, arguments: &[&str]) -> Command {
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
    pub fn start(&self, name: &str) -> Result<Spawned> {
        let mut daemon = Spawned::start(name, self.ringfence(&["run"]), self.scratch.path())?;
        daemon.wait_until("filter in force", START_LIMIT, |_| {
            let status = self.ringfence(&["status", "--json"]).output()?;
            let status: Value = serde_json::from_slice(&status.stdout).unwrap_or_default();
            Ok((status["daemon"] == "running").then_some(()))
        })?;
        Ok(daemon)
    }

    pub fn status(&self) -> Result<Value> {
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
pub fn succeed(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("failed to start {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}{}", lossy(&output.stdout), lossy(&output.stderr));
    Ok(lossy(&output.stdout))
}

pub fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn errors(output: &Output) -> String {
    lossy(&output.stderr)
}
