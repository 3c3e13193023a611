//! The filter outlives its daemon, whatever happens to that one: SIGKILL at any moment, and a newer version in its place.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ringfence_tests::{
    filter::{self, Filter, FilterOptions, Site},
    message::Message,
    netns::Wire,
    packet::Packet,
    process::wait_until,
    raw,
};
use rustix::process::Signal;
use serde_json::Value;

/// Long enough for anything here, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

const SENDER: &str = "10.20.0.66";

/// Packets sent at a time.
const BATCH: u64 = 20;

/// How often the daemon is killed.
const KILLS: u64 = 50;

/// A policy whose rule does this with what the sender sends.
fn policy(action: &str) -> String {
    format!(
        "version = 1\ndefault = \"pass\"\n[network]\nudp = [5060]\n[numbering]\ncountry_code = \"1\"\n\
         international_prefix = \"011\"\n[[rule]]\nname = \"bad\"\nmatch.source = \"{SENDER}\"\naction = \"{action}\"\n"
    )
}

/// A wire and a policy. Declare a [`Filter`] after it, so that the filter is dropped first.
struct Scene {
    wire: Wire,
    policy: PathBuf,
    scratch: tempfile::TempDir,
}

impl Scene {
    fn new() -> Result<Self> {
        let Site { wire, policy, scratch } = Site::new(&[("policy.toml", &policy("drop"))])?;
        Ok(Self { wire, policy, scratch })
    }

    fn write(&self, action: &str) -> Result<()> {
        Ok(fs::write(self.policy.join("policy.toml"), policy(action))?)
    }

    fn options<'a>(&'a self, binary: &'a Path) -> FilterOptions<'a> {
        FilterOptions { arguments: &["--json"], ..FilterOptions::new(binary, Wire::SERVER_INTERFACE, &self.policy) }
    }

    /// Sends packets that the rule is about, and waits until it has counted them. Returns how many of them were dropped.
    fn send(&self, filter: &Filter) -> Result<u64> {
        let message = Message::request("OPTIONS");
        let packet = Packet::udp(message.bytes()).from(SENDER).to(Wire::SERVER_IPV4);
        let frame = packet.between([2, 0, 0, 0, 0, 0x99], [0xff; 6]).frame();
        let dropped = |status: &Value| status["dropped"].as_u64().context("no count");
        let (before, status) = (filter.packets("bad")?, filter.status()?);
        raw::send(&self.wire.network, Wire::NETWORK_INTERFACE, &vec![frame; BATCH as usize])?;
        wait_until("packets", LIMIT, || Ok((filter.packets("bad")? >= before + BATCH).then_some(())))?;
        let counted = filter.packets("bad")? - before;
        ensure!(counted == BATCH, "{counted} of {BATCH} packets were counted");
        Ok(dropped(&filter.status()?)? - dropped(&status)?)
    }
}

/// A sequence of numbers that looks random and is the same in each run.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[test]
fn a_daemon_killed_at_any_moment_leaves_a_whole_policy_and_the_next_one_recovers() -> Result<()> {
    let scene = Scene::new()?;
    let binary = filter::build(false)?;
    let options = scene.options(&binary);
    let mut filter = Filter::start(&scene.wire, scene.scratch.path(), &options)?;
    let mut random = 20_261_128;
    for round in 0..KILLS {
        let action = if round % 2 == 0 { "whitelist" } else { "drop" };
        scene.write(action)?;
        // From before the change is noticed to after the swap.
        std::thread::sleep(Duration::from_millis(next_random(&mut random) % 1_500));
        filter.process().signal(Signal::KILL)?;
        filter.process().wait(LIMIT)?;
        let dropped = scene.send(&filter).with_context(|| format!("after kill {round}"))?;
        ensure!(dropped == 0 || dropped == BATCH, "kill {round}: {dropped} of {BATCH} packets were dropped");
        filter.restart(&scene.wire, scene.scratch.path(), &options)?;
        let expected = if action == "drop" { BATCH } else { 0 };
        let dropped = scene.send(&filter).with_context(|| format!("after start {round}"))?;
        ensure!(dropped == expected, "start {round}: {dropped} of {BATCH} packets were dropped");
        ensure!(!filter.pins().join("next").exists(), "start {round} has left a generation that was not loaded");
    }
    let output = filter.detach()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    ensure!(!filter.pins().exists(), "something is left of it");
    Ok(())
}

/// With a program built from another commit, which has another schema version (docs/packaging.md).
#[test]
#[ignore = "needs another version's program: RINGFENCE_OLDER names it"]
fn the_filter_of_an_older_program_is_taken_over_without_a_gap() -> Result<()> {
    let older = PathBuf::from(std::env::var_os("RINGFENCE_OLDER").context("RINGFENCE_OLDER names no program")?);
    let scene = Scene::new()?;
    let binary = filter::build(false)?;
    let mut filter = Filter::start(&scene.wire, scene.scratch.path(), &scene.options(&older))?;
    ensure!(scene.send(&filter)? == BATCH, "the older program does not drop");
    let before = link(&scene)?;
    filter.kill()?;
    filter.use_program(&binary);
    let output = filter.command("status", &[]).output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(text.contains("takes it over"), "the status does not say what to do: {text}");
    filter.restart(&scene.wire, scene.scratch.path(), &scene.options(&binary))?;
    ensure!(link(&scene)? == before, "the link is another one");
    ensure!(scene.send(&filter)? == BATCH, "the newer program does not drop");
    ensure!(!filter.pins().join("before").exists(), "the older one's maps are left");
    let text = filter.process().stdout();
    ensure!(text.contains("without a gap"), "{text}");
    Ok(())
}

/// What `ip` says of the filter's link: the program's id changes with it, so only its presence counts here.
fn link(scene: &Scene) -> Result<bool> {
    let text = scene.wire.server.ip(&["-details", "link", "show", "dev", Wire::SERVER_INTERFACE])?;
    Ok(text.contains("prog/xdp"))
}
