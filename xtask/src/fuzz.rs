//! `cargo xtask fuzz`: builds the targets in `fuzz/` with coverage counters, and runs them two at a time.
//!
//! A stable compiler will do: LLVM's coverage pass and libFuzzer (from crates.io) need no nightly. There is no sanitizer,
//! because the fuzzed code has no unsafe blocks: a bug shows as a panic. The layout is cargo-fuzz's, so that
//! `cargo +nightly fuzz run TARGET` works too, if cargo-fuzz is installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{bpf, setup, stages::Outcome, workspace};

/// The targets: see `fuzz/fuzz_targets`.
const TARGETS: [&str; 6] = ["message", "number", "oracle", "packet", "policy", "uri"];

/// Length of the longest input that libFuzzer generates.
const MAX_LENGTH: u32 = 4096;

/// Megabytes that a target may use: `oracle` keeps its random policies compiled.
const MEMORY: u32 = 2048;

/// The instrumentation that libFuzzer needs.
const INSTRUMENTATION: [&str; 7] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "--cfg=fuzzing",
];

/// The arguments of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Fuzz only this target; can be given several times.
    #[arg(long, value_name = "TARGET")]
    target: Vec<String>,
    /// How many seconds to run each target.
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// Afterwards, reduce the new inputs and the checked-in corpus to a set with the same coverage, and put it into
    /// fuzz/corpus.
    #[arg(long)]
    minimise: bool,
}

/// Runs the targets.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if let Some(unknown) = arguments.target.iter().find(|name| !TARGETS.contains(&name.as_str())) {
        bail!("no target {unknown:?}; the targets are: {}", TARGETS.join(", "));
    }
    let wanted = |name: &&str| arguments.target.is_empty() || arguments.target.iter().any(|target| target == name);
    let targets: Vec<&str> = TARGETS.into_iter().filter(wanted).collect();
    let binaries = build()?;
    println!("{}", fuzz(&binaries, &targets, arguments.seconds, None)?);
    if arguments.minimise {
        targets.iter().try_for_each(|target| minimise(&binaries, target))?;
    }
    Ok(())
}

/// Runs each target for half a minute, as a stage of the tests: always from the same seed, so that the result is reproducible.
pub(crate) fn smoke() -> Result<Outcome> {
    fuzz(&build()?, &TARGETS, 30, Some(1)).map(Outcome::Done)
}

fn folder() -> PathBuf {
    workspace::root().join("fuzz")
}

/// Where a run puts its findings.
fn findings() -> PathBuf {
    workspace::target().join("fuzz")
}

/// Builds all targets. Returns the folder that they are in.
fn build() -> Result<PathBuf> {
    setup::ensure(&[setup::Group::Fuzz])?;
    // With `--target`, cargo does not apply the instrumentation to build scripts and procedural macros.
    let host = workspace::run_silently(
        Command::new("rustc").args(["--print", "host-tuple"]).env("PATH", bpf::path_with_cargo_bin()),
    )?;
    let target = findings().join("build");
    let mut cargo = workspace::cargo(["build", "--release", "--locked", "--quiet", "--bins", "--target", &host]);
    cargo
        .arg("--manifest-path")
        .arg(folder().join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .env("CARGO_ENCODED_RUSTFLAGS", INSTRUMENTATION.join("\x1f"));
    workspace::run(&mut cargo)?;
    Ok(target.join(host).join("release"))
}

/// Runs the targets, two at a time. After a failure, the others still run.
fn fuzz(binaries: &Path, targets: &[&str], seconds: u64, seed: Option<u32>) -> Result<String> {
    let queue = Mutex::new(targets.iter());
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(target) = queue.lock().expect("no thread panics while it holds the lock").next() else {
                        break;
                    };
                    let result = fuzz_one(binaries, target, seconds, seed);
                    results.lock().expect("no thread panics while it holds the lock").push((*target, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("no thread panics while it holds the lock");
    results.sort_by_key(|(target, _)| *target);
    let mut summary = Vec::new();
    let mut failures = Vec::new();
    for (target, result) in results {
        match result {
            Ok(executions) => summary.push(format!("{target} {executions}")),
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    if !failures.is_empty() {
        bail!("{}", failures.join("\n"));
    }
    Ok(format!("{seconds} s each, executions: {}", summary.join(", ")))
}

/// Runs a target. Returns the number of executions. With a seed, it starts from the checked-in corpus alone, otherwise also
/// from earlier findings.
fn fuzz_one(binaries: &Path, target: &str, seconds: u64, seed: Option<u32>) -> Result<u64> {
    let found = match seed {
        None => findings().join("corpus").join(target),
        Some(seed) => findings().join(format!("seed-{seed}")).join(target),
    };
    if seed.is_some() && found.exists() {
        fs::remove_dir_all(&found)?;
    }
    let artifacts = findings().join("artifacts").join(target);
    fs::create_dir_all(&found)?;
    fs::create_dir_all(&artifacts)?;
    let output = Command::new(binaries.join(target))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={MAX_LENGTH}"))
        .arg(format!("-rss_limit_mb={MEMORY}"))
        .args(["-timeout=20", "-print_final_stats=1", "-reload=0"])
        .args(seed.map(|seed| format!("-seed={seed}")))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(&found)
        .arg(folder().join("corpus").join(target))
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("failed to start the fuzz target {target}"))?;
    let log = String::from_utf8_lossy(&output.stderr);
    fs::write(findings().join(format!("{target}.log")), &*log)?;
    if !output.status.success() {
        let lines: Vec<&str> = log.lines().filter(|line| !line.starts_with('#')).collect();
        let end = lines[lines.len().saturating_sub(40)..].join("\n");
        bail!(
            "the fuzz target {target} failed ({}):\n{end}\nAfter fixing the bug, put the input from {} into fuzz/corpus/{target} as \
             regression-NAME: the tests then run it every time",
            output.status,
            artifacts.display()
        );
    }
    let executed = log.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    executed
        .and_then(|count| count.trim().parse().ok())
        .with_context(|| format!("{target} did not print the number of its executions"))
}

/// Reduces the checked-in corpus and the findings to a set of inputs with the same coverage.
fn minimise(binaries: &Path, target: &str) -> Result<()> {
    let checked_in = folder().join("corpus").join(target);
    let merged = findings().join("merged").join(target);
    if merged.exists() {
        fs::remove_dir_all(&merged)?;
    }
    fs::create_dir_all(&merged)?;
    let mut merge = Command::new(binaries.join(target));
    merge
        .args(["-merge=1", "-timeout=20"])
        .arg(format!("-max_len={MAX_LENGTH}"))
        .arg(format!("-rss_limit_mb={MEMORY}"))
        .arg(&merged)
        .arg(&checked_in)
        .arg(findings().join("corpus").join(target));
    workspace::run_silently(&mut merge)?;
    // Inputs that once crashed a target stay, whatever they cover.
    let mut kept = 0;
    for file in fs::read_dir(&checked_in)? {
        let path = file?.path();
        let is_regression = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("regression-"));
        if !is_regression {
            fs::remove_file(path)?;
        }
    }
    for file in fs::read_dir(&merged)? {
        let file = file?;
        fs::copy(file.path(), checked_in.join(file.file_name()))?;
        kept += 1;
    }
    ensure!(kept > 0, "the reduced corpus of {target} is empty");
    println!("{target}: {kept} inputs");
    Ok(())
}
