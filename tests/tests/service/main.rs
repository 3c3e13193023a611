//! The daemon as a service: found by its configuration, run by a user with three capabilities and a BPF file system of its own, and on
//! interfaces that come and go.

mod host;
mod interfaces;

use std::{
    fs,
    os::unix::{fs::chown, net::UnixDatagram},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use ringfence_tests::{netns::Wire, process::Spawned};

use self::host::{CAPABILITIES, Host, START_LIMIT, USER, errors, lossy, succeed};

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
fn without_the_right_to_answer_the_filter_works_and_the_daemon_names_the_capability() -> Result<()> {
    let host = Host::new(Some("-all,+bpf,+net_admin,+perfmon"))?;
    chown(host.path("bpf"), Some(USER), Some(USER))?;
    let policy = fs::read_to_string(host.path("policy/policy.toml"))?;
    fs::write(host.path("policy/policy.toml"), policy.replace("action = \"drop\"", "action = { reject = 603 }"))?;
    let mut daemon = host.start("daemon")?;
    daemon.wait_until("complaint", Duration::from_secs(20), |daemon| {
        let lines = daemon.stdout();
        let is_it = |line: &&str| line.starts_with(r#"{"event":"error""#) && line.contains("CAP_NET_RAW is missing");
        Ok((lines.lines().filter(is_it).count() == 1).then_some(()))
    })?;
    let status = host.status()?;
    assert_eq!(status["filter"], "attached", "{status}");
    assert_eq!(status["answers"]["sent"]["603"], 0, "{status}");
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
        text.contains("CAP_BPF missing")
            && text.contains("AmbientCapabilities=CAP_BPF CAP_NET_ADMIN CAP_NET_RAW CAP_PERFMON"),
        "{text}"
    );
    assert_eq!(text.matches("help:").count(), 1, "{text}");
    Ok(())
}
