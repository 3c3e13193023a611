//! `cargo xtask fuzz`: the targets of `fuzz/`, built with coverage counters and run, two at a time.
//!
//! The pinned stable compiler does it: LLVM's coverage pass and libFuzzer (from crates.io, compiled here) need nothing of a
//! nightly. There is no sanitizer, because what is fuzzed holds no unsafe code: what could go wrong is a panic. The layout is
//! cargo-fuzz's, so that `cargo +nightly fuzz run TARGET` works too, where somebody has it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{bpf, setup, stages::Outcome, workspace};

/// The targets, see `fuzz/fuzz_targets`.
const TARGETS: [&str; 6] = ["message", "number", "oracle", "packet", "policy", "uri"];

/// Longest input that libFuzzer makes.
const MAX_LENGTH: u32 = 4096;

/// Megabytes that a target may take: the random policies of `oracle` are kept compiled.
const MEMORY: u32 = 2048;

/// LLVM's instrumentation as libFuzzer wants it.
const INSTRUMENTATION: [&str; 7] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "--cfg=fuzzing",
];

/// What to fuzz, and for how long.
#[derive(clap::Args)]
pub struct Arguments {
    /// Fuzz this target only; can be given several times.
    #[arg(long, value_name = "TARGET")]
    target: Vec<String>,
    /// Seconds that each target runs.
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// Then reduce what was found, and the checked-in corpus, to what covers the same, and check it in.
    #[arg(long)]
    minimise: bool,
}

/// Runs the targets.
pub fn run(arguments: &Arguments) -> Result<()> {
    if let Some(unknown) = arguments.target.iter().find(|name| !TARGETS.contains(&name.as_str())) {
        bail!("no target {unknown:?}; there are: {}", TARGETS.join(", "));
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

/// A minute of each target, for the test run: from the same seed each time, so that it is no game of chance.
pub fn smoke() -> Result<Outcome> {
    fuzz(&build()?, &TARGETS, 60, Some(1)).map(Outcome::Done)
}

fn folder() -> PathBuf {
    workspace::root().join("fuzz")
}

/// Where what a run finds is put.
fn findings() -> PathBuf {
    workspace::target().join("fuzz")
}

/// Builds all targets; returns the folder they are in.
fn build() -> Result<PathBuf> {
    setup::ensure(&[setup::Group::Build, setup::Group::Fuzz])?;
    // With a target named, cargo keeps the instrumentation out of build scripts and procedural macros.
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
    // The targets do not run the XDP program, but the crate has it inside: the one that is built already will do.
    let object = workspace::target().join("bpf").join(bpf::TARGET).join("release").join(bpf::FILTER.binary);
    if env::var_os(bpf::ENV_OBJECT).is_none() && object.exists() {
        cargo.env(bpf::ENV_OBJECT, object);
    }
    workspace::run(&mut cargo)?;
    Ok(target.join(host).join("release"))
}

/// Runs the targets, two at a time; all of them, also when one has failed.
fn fuzz(binaries: &Path, targets: &[&str], seconds: u64, seed: Option<u32>) -> Result<String> {
    let queue = Mutex::new(targets.iter());
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(target) = queue.lock().expect("nobody panics with it").next() else { break };
                    let result = fuzz_one(binaries, target, seconds, seed);
                    results.lock().expect("nobody panics with it").push((*target, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("nobody panics with it");
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

/// Runs a target from its corpus on; returns how often it ran. With a seed it starts from the checked-in corpus alone.
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
            "the fuzz target {target} failed ({}):\n{end}\nWhen it is mended, put the input from {} into fuzz/corpus/{target}: \
             the tests run it from then on",
            output.status,
            artifacts.display()
        );
    }
    let executed = log.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    executed
        .and_then(|count| count.trim().parse().ok())
        .with_context(|| format!("{target} did not say how often it ran"))
}

/// Reduces the checked-in corpus and what was found to the inputs that cover as much.
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
    // Crashes of the past stay, whatever they cover.
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
    ensure!(kept > 0, "nothing is left of the corpus of {target}");
    println!("{target}: {kept} inputs");
    Ok(())
}
