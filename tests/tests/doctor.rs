//! `ringfence doctor` on real interfaces: what it finds in a network namespace, and that what it advises works.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};
use ringfence_tests::{
    filter::{self, Filter, FilterOptions, unique_pins},
    netns::{Wire, WireOptions},
    scratch,
};
use serde_json::Value;

const POLICY: &str = "version = 1\ndefault = \"pass\"\n[network]\nudp = [5060]\n[numbering]\ncountry_code = \"1\"\n\
                      international_prefix = \"011\"\n[[rule]]\nname = \"options\"\nmatch.method = \"OPTIONS\"\naction = \"drop\"\n";

/// A host with an interface, a policy and a configuration.
struct Scene {
    wire: Wire,
    scratch: tempfile::TempDir,
    binary: PathBuf,
}

impl Scene {
    fn new() -> Result<Self> {
        let scene =
            Self { wire: Wire::new(&WireOptions::default())?, scratch: scratch()?, binary: filter::build(false)? };
        fs::create_dir(scene.policy())?;
        fs::write(scene.policy().join("policy.toml"), POLICY)?;
        Ok(scene)
    }

    fn policy(&self) -> PathBuf {
        self.scratch.path().join("policy")
    }

    /// Writes a configuration with pins and a socket of its own, that no daemon has.
    fn configuration(&self, pins: &Path, interface: &str) -> Result<PathBuf> {
        let path = self.scratch.path().join("ringfence.toml");
        let text = format!(
            "version = 1\n[[interface]]\nname = \"{interface}\"\n[policy]\ndirectory = \"policy\"\n\
             [api]\nsocket = \"none.sock\"\n[pins]\ndirectory = \"{}\"\n",
            pins.display()
        );
        fs::write(&path, text)?;
        Ok(path)
    }

    fn doctor(&self, configuration: &Path, arguments: &[&str]) -> Result<Output> {
        let mut command = self.wire.server.command(&self.binary.to_string_lossy());
        command.arg("doctor").args(arguments).arg("--config").arg(configuration);
        command.output().context("failed to start ringfence doctor")
    }

    /// The report, with the exit status.
    fn report(&self, configuration: &Path, arguments: &[&str]) -> Result<(Value, Option<i32>)> {
        let output = self.doctor(configuration, &[&["--json"], arguments].concat())?;
        let report = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("no report: {}", String::from_utf8_lossy(&output.stderr)))?;
        Ok((report, output.status.code()))
    }
}

/// The finding of a check.
fn finding<'a>(report: &'a Value, check: &str) -> &'a Value {
    let findings = report["findings"].as_array().expect("findings");
    findings.iter().find(|finding| finding["check"] == check).unwrap_or_else(|| panic!("no {check} in {report}"))
}

#[test]
fn an_interface_that_can_be_filtered_has_no_failure_and_the_text_says_the_same() -> Result<()> {
    let scene = Scene::new()?;
    let configuration = scene.configuration(&unique_pins(), Wire::SERVER_INTERFACE)?;
    let (report, status) = scene.report(&configuration, &[])?;
    assert_eq!(status, Some(0), "{report}");
    for check in ["kernel", "capabilities", "configuration", "policy", "memory", "bpffs", "mount namespace", "daemon"] {
        assert_eq!(finding(&report, check)["level"], "ok", "{}", finding(&report, check));
    }
    // Whether the setting of the JIT compiler can be read in a network namespace depends on the rights of the test.
    assert_ne!(finding(&report, "jit")["level"], "fail", "{report}");
    for check in ["link", "mtu", "lro", "program"] {
        let found = finding(&report, check);
        assert_eq!((&found["level"], &found["interface"]), (&"ok".into(), &Wire::SERVER_INTERFACE.into()), "{found}");
    }
    let xdp = finding(&report, "xdp")["found"].as_str().unwrap_or_default();
    assert!(xdp.starts_with("driver veth: native mode"), "{xdp}");
    for finding in report["findings"].as_array().expect("findings") {
        assert_eq!(finding["fix"].is_null(), finding["level"] == "ok", "what is not ok has a fix: {finding}");
    }

    let output = scene.doctor(&configuration, &[])?;
    let text = String::from_utf8(output.stdout)?;
    let lines = text.lines().filter(|line| !line.starts_with(' ')).count();
    assert_eq!(lines, report["findings"].as_array().map_or(0, Vec::len), "{text}");
    Ok(())
}

#[test]
fn an_interface_that_is_missing_or_down_is_named_and_the_advice_works() -> Result<()> {
    let scene = Scene::new()?;
    let configuration = scene.configuration(&unique_pins(), "absent0")?;
    let (report, status) = scene.report(&configuration, &[])?;
    assert_eq!((status, &report["result"]), (Some(1), &"fail".into()));
    let found = finding(&report, "interface");
    assert_eq!((&found["level"], &found["interface"]), (&"fail".into(), &"absent0".into()), "{found}");

    scene.wire.server.ip(&["link", "set", "dev", Wire::SERVER_INTERFACE, "down"])?;
    let (report, status) = scene.report(&configuration, &[Wire::SERVER_INTERFACE])?;
    assert_eq!(status, Some(0), "a warning is no failure: {report}");
    let link = finding(&report, "link");
    assert_eq!(link["level"], "warn", "{link}");
    run_advice(&scene, link)?;
    let (report, _) = scene.report(&configuration, &[Wire::SERVER_INTERFACE])?;
    assert_eq!(finding(&report, "link")["level"], "ok");
    Ok(())
}

#[test]
fn another_program_is_a_failure_and_the_advice_removes_it() -> Result<()> {
    let scene = Scene::new()?;
    let configuration = scene.configuration(&unique_pins(), Wire::SERVER_INTERFACE)?;
    let mut other = Filter::start(
        &scene.wire,
        scene.scratch.path(),
        &FilterOptions::new(&scene.binary, Wire::SERVER_INTERFACE, &scene.policy()),
    )?;
    // With the other filter's own pins, its program is the right one.
    let own = scene.scratch.path().join("own.toml");
    fs::write(&own, format!("version = 1\n[pins]\ndirectory = \"{}\"\n", other.pins().display()))?;
    let (report, _) = scene.report(&own, &[Wire::SERVER_INTERFACE])?;
    assert_eq!(finding(&report, "program")["level"], "ok", "{report}");

    let (report, status) = scene.report(&configuration, &[])?;
    let program = finding(&report, "program");
    assert_eq!((status, &program["level"]), (Some(1), &"fail".into()), "{program}");
    let found = program["found"].as_str().unwrap_or_default();
    let expected = format!("name ringfence, native mode, held by the pins in {}", other.pins().display());
    assert!(found.contains(&expected), "{found}");

    other.kill()?;
    run_advice(&scene, program)?;
    let (report, status) = scene.report(&configuration, &[])?;
    assert_eq!((status, &finding(&report, "program")["level"]), (Some(0), &"ok".into()), "{report}");
    Ok(())
}

#[test]
fn a_policy_and_a_configuration_with_mistakes_are_failures() -> Result<()> {
    let scene = Scene::new()?;
    let configuration = scene.configuration(&unique_pins(), Wire::SERVER_INTERFACE)?;
    fs::write(scene.policy().join("policy.toml"), "version = 1\ndefautl = \"pass\"\n")?;
    let (report, status) = scene.report(&configuration, &[])?;
    assert_eq!((status, &finding(&report, "policy")["level"]), (Some(1), &"fail".into()), "{report}");
    fs::write(&configuration, "version = 1\nedeg = \"a\"\n")?;
    let (report, status) = scene.report(&configuration, &[Wire::SERVER_INTERFACE])?;
    assert_eq!((status, &finding(&report, "configuration")["level"]), (Some(1), &"fail".into()), "{report}");
    Ok(())
}

/// Runs the first command of a finding's fix.
fn run_advice(scene: &Scene, finding: &Value) -> Result<()> {
    let fix = finding["fix"].as_str().context("a fix")?;
    let command = fix.split('`').nth(1).with_context(|| format!("no command in {fix}"))?;
    let mut words = command.split(' ');
    let program = match words.next() {
        Some("ringfence") => scene.binary.to_string_lossy().into_owned(),
        program => program.context("a program")?.to_owned(),
    };
    let mut command: Command = scene.wire.server.command(&program);
    let output = command.args(words).output()?;
    ensure!(output.status.success(), "{fix}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
