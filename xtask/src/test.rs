//! `cargo xtask test`: every test there is.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Write},
    process::Stdio,
};

use anyhow::{Context, Result, bail};

use crate::{
    bpf, fuzz, setup,
    stages::{self, Outcome, Stage},
    vm, workspace,
};

const STAGES: &[Stage] = &[
    Stage {
        name: "setup",
        about: "install what the build and the tests need",
        needed_by_the_rest: true,
        run: || setup::ensure(&[setup::Group::Build, setup::Group::Servers, setup::Group::Traffic]).map(Outcome::Done),
    },
    Stage { name: "build", about: "the binary and the tests", needed_by_the_rest: true, run: build },
    Stage { name: "test", about: "cargo test", needed_by_the_rest: false, run: test },
    Stage { name: "fuzz", about: "half a minute of each fuzz target", needed_by_the_rest: false, run: fuzz::smoke },
    Stage {
        name: "kernel",
        about: "the oldest supported kernel, in QEMU",
        needed_by_the_rest: false,
        run: vm::quick_stage,
    },
];

/// Runs the stages that `only` names, or all.
pub(crate) fn run(only: &[String]) -> Result<()> {
    stages::run("test", STAGES, only)
}

/// Builds everything, and reports the sizes of the results.
fn build() -> Result<Outcome> {
    workspace::run(&mut workspace::cargo(["build"]))?;
    workspace::run(workspace::cargo(["test", "--no-run", "--quiet"]).args(workspace::HOST_CRATES))?;
    let target = workspace::target();
    let object = target.join("bpf").join(bpf::TARGET).join("release").join(bpf::FILTER.binary);
    let mut sizes = vec![format!("ringfence {}", workspace::size_of_file(&target.join("debug/ringfence"))?)];
    // There is none if the environment names an object built elsewhere.
    if object.exists() {
        sizes.push(format!("XDP object {}", workspace::size_of_file(&object)?));
    }
    Ok(Outcome::Done(sizes.join(", ")))
}

fn test() -> Result<Outcome> {
    run_cargo(&[&["test", "--no-fail-fast"][..], &workspace::HOST_CRATES].concat()).map(Outcome::Done)
}

/// Runs `cargo test` with these arguments, and adds up the results of all its test binaries.
pub(crate) fn run_cargo<S: AsRef<OsStr>>(arguments: &[S]) -> Result<String> {
    let mut cargo = workspace::cargo(arguments).stdout(Stdio::piped()).spawn().context("failed to start cargo test")?;
    let mut totals = Totals::default();
    let mut out = std::io::stdout().lock();
    for line in BufReader::new(cargo.stdout.take().context("cargo test has no output")?).split(b'\n') {
        let line = line?;
        out.write_all(&line)?;
        out.write_all(b"\n")?;
        totals.read(&String::from_utf8_lossy(&line));
    }
    let status = cargo.wait()?;
    let result = totals.to_string();
    if !status.success() {
        bail!(
            "{result}; failed: {}",
            if totals.names.is_empty() { "(see above)".into() } else { totals.names.join(", ") }
        );
    }
    Ok(result)
}

/// The results of the test binaries, added up.
#[derive(Default, Debug, PartialEq)]
struct Totals {
    passed: u64,
    failed: u64,
    ignored: u64,
    binaries: u64,
    /// The tests that failed.
    names: Vec<String>,
}

impl Totals {
    /// Reads one line that a test binary printed.
    fn read(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result: ") {
            self.binaries += 1;
            for part in result.split(['.', ';']) {
                let mut words = part.split_whitespace();
                if let (Some(Ok(number)), Some(word)) = (words.next().map(str::parse::<u64>), words.next()) {
                    match word {
                        "passed" => self.passed += number,
                        "failed" => self.failed += number,
                        "ignored" => self.ignored += number,
                        _ => {}
                    }
                }
            }
        } else if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED")) {
            self.names.push(name.to_owned());
        }
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { passed, failed, ignored, binaries, names: _ } = self;
        let result = if *failed == 0 { "ok" } else { "FAILED" };
        write!(f, "test result: {result}. {passed} passed; {failed} failed; {ignored} ignored; in {binaries} binaries")
    }
}

#[cfg(test)]
mod tests {
    use super::Totals;

    #[test]
    fn results_of_several_binaries_add_up_and_failures_keep_their_names() {
        let mut totals = Totals::default();
        for line in [
            "running 2 tests",
            "test policy::a_rule_without_a_name_is_an_error ... ok",
            "test policy::two_rules_of_one_name ... FAILED",
            "test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 3 filtered out; finished in 0.01s",
            "test result: ok. 40 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 12.34s",
        ] {
            totals.read(line);
        }
        let names = vec!["policy::two_rules_of_one_name".to_owned()];
        assert_eq!(totals, Totals { passed: 41, failed: 1, ignored: 2, binaries: 2, names });
        assert_eq!(totals.to_string(), "test result: FAILED. 41 passed; 1 failed; 2 ignored; in 2 binaries");
    }
}
