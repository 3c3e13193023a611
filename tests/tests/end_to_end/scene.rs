//! What every test here needs: a server, senders, a policy, and calls.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use anyhow::Result;
use ringfence_tests::{
    filter::{self, Filter, FilterOptions, unique_pins},
    netns::{Wire, WireOptions},
    process::{Spawned, wait_until},
    scratch,
    sip::{Call, CallCounts, Caller, Calling, Scenario, Server},
};
use tempfile::TempDir;

pub(crate) const CALLER: &str = "10.20.0.10";
pub(crate) const ROBOCALLER: &str = "10.20.0.77";
pub(crate) const SCANNER: &str = "10.20.0.66";
pub(crate) const CALLER_IPV6: &str = "2001:db8:20::10";
pub(crate) const ROBOCALLER_IPV6: &str = "2001:db8:20::77";
pub(crate) const SCANNER_IPV6: &str = "2001:db8:20::66";

/// Long enough for the last call, retransmissions included.
pub(crate) const CALLS_LIMIT: Duration = Duration::from_secs(70);
/// Long enough for a changed policy file to come into force, on a busy machine.
pub(crate) const RELOAD_LIMIT: Duration = Duration::from_secs(120);

/// Drops scanners by user agent, and calls from one number.
pub(crate) const POLICY: &str = r#"version = 1
default = "pass"

[network]
udp = [5060]
tcp = [5060]

[numbering]
country_code = "1"
international_prefix = "011"

[sets.scanners]
user_agents = "lists/scanners.txt"

[[rule]]
name = "emergency"
match.called = ["911$"]
action = "whitelist"

[[rule]]
name = "scanners"
match.user_agent = "@scanners"
action = "drop"

[[rule]]
name = "do-not-originate"
match = { method = "INVITE", calling = ["12125559000$"] }
action = "drop"
"#;

/// A server on a wire, senders, and a policy. Declare a [`Filter`] after it, so that the filter is dropped first.
pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) wire: Wire,
    pub(crate) policy: PathBuf,
    scratch: TempDir,
}

impl Scene {
    pub(crate) fn new(options: &WireOptions) -> Result<Self> {
        let scratch = scratch()?;
        let wire = Wire::new(options)?;
        for sender in [CALLER, ROBOCALLER, SCANNER, CALLER_IPV6, ROBOCALLER_IPV6, SCANNER_IPV6] {
            wire.add_sender(address(sender))?;
        }
        let policy = scratch.path().join("policy");
        fs::create_dir_all(policy.join("lists"))?;
        fs::write(policy.join("policy.toml"), POLICY)?;
        fs::write(policy.join("lists/scanners.txt"), "friendly-scanner\n")?;
        let server = Server::start(&wire, scratch.path(), Duration::from_secs(600))?;
        Ok(Self { server, wire, policy, scratch })
    }

    pub(crate) fn path(&self) -> &Path {
        self.scratch.path()
    }

    pub(crate) fn options<'a>(&'a self, interface: &'a str, arguments: &'a [&'a str]) -> FilterOptions<'a> {
        let binary = binary().expect("the binary was built for the first filter");
        FilterOptions { arguments, ..FilterOptions::new(binary, interface, &self.policy) }
    }

    pub(crate) fn filter(&self, interface: &str, arguments: &[&str]) -> Result<Filter> {
        binary()?;
        Filter::start(&self.wire, self.path(), &self.options(interface, arguments))
    }

    pub(crate) fn calling<'a>(
        &self,
        name: &'a str,
        scenario: Scenario,
        source: &str,
        calls: &'a [Call],
        count: u32,
    ) -> Calling<'a> {
        Calling { name, scenario, source: address(source), calls, rate: 10, count, tcp: false }
    }

    /// Ten ordinary calls a second.
    pub(crate) fn ordinary(&self, name: &str, source: &str, count: u32) -> Result<Caller> {
        let calls = [ordinary_call()];
        Caller::start(&self.wire, self.path(), &self.calling(name, Scenario::Ordinary, source, &calls, count))
    }

    /// Ten calls of one INVITE each, within one second.
    pub(crate) fn unwanted(&self, name: &str, source: &str, calls: &[Call]) -> Result<Caller> {
        Caller::start(&self.wire, self.path(), &self.calling(name, Scenario::Unwanted, source, calls, 10))
    }
}

/// The exit code and output of a `ringfence run` that must refuse to start, on its own pins.
pub(crate) fn refused(scene: &Scene, interface: &str) -> Result<(Option<i32>, String)> {
    let mut command = scene.wire.server.command(&binary()?.to_string_lossy());
    let pins = unique_pins();
    command.args(["run", "--interface", interface, "--policy"]).arg(&scene.policy).arg("--pin-dir").arg(&pins);
    command.arg("--socket").arg(scene.path().join("refused.sock"));
    command.arg("--state-dir").arg(scene.path().join("refused.state"));
    let mut process = Spawned::start("refused", command, scene.path())?;
    let status = process.wait(Duration::from_secs(60))?;
    assert!(!pins.exists(), "{} was not removed", pins.display());
    Ok((status.code(), process.stdout() + &process.stderr()))
}

pub(crate) fn assert_all_completed(counts: CallCounts, started: u64, caller: &Caller) {
    assert_eq!(counts, CallCounts { started, completed: started, failed: 0 }, "SIPp says:\n{}", caller.errors());
}

pub(crate) fn await_another_policy(filter: &Filter, old: &str) -> Result<()> {
    wait_until("other policy in force", RELOAD_LIMIT, || Ok((filter.policy_hash()? != old).then_some(())))
}

pub(crate) fn ordinary_call() -> Call {
    Call::new("+14158675309", "+12128675310")
}

pub(crate) fn dno_call() -> Call {
    Call::new("2125559000", "+12128675310")
}

pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// The binary, in the profile of these tests.
pub(crate) fn binary() -> Result<&'static Path> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BINARY.get_or_init(|| filter::build(!cfg!(debug_assertions)).map_err(|error| format!("{error:#}")));
    built.as_deref().map_err(|error| anyhow::anyhow!("{error}"))
}
