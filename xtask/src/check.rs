//! `cargo xtask check`: the loop while writing code. It needs no root, loads no program into the kernel and installs
//! nothing.

use std::{env, fs};

use anyhow::{Context, Result};

use crate::{
    bpf, lint,
    stages::{self, Outcome, Stage},
    test, workspace,
};

const STAGES: &[Stage] = &[
    Stage { name: "format", about: "cargo fmt --check", needed_by_the_rest: false, run: lint::format },
    Stage { name: "clippy", about: "clippy on the host crates", needed_by_the_rest: false, run: clippy },
    Stage { name: "test", about: "unit and engine tests", needed_by_the_rest: false, run: run_tests },
];

/// Packages whose build embeds the XDP program, and so needs the BPF compiler. The tests of `ringfence-tests` do; its
/// library does not.
const EMBED_PROGRAM: [&str; 4] = ["ringfence", "ringfence-bench", "ringfence-hosts", "ringfence-tests"];

/// Files in `tests/tests` that need root: they load programs into the kernel, or use network namespaces.
const NEED_ROOT: [&str; 14] = [
    "control",
    "corpus",
    "differential",
    "doctor",
    "end_to_end",
    "evasions",
    "fixtures",
    "history",
    "jumbo",
    "kernel_filter",
    "outputs",
    "scopes",
    "sources",
    "verifier",
];

/// Runs the stages that `only` names, or all.
pub(crate) fn run(only: &[String]) -> Result<()> {
    stages::run("check", STAGES, only)
}

/// Why crates are left out; none if none is.
fn left_out() -> Option<String> {
    if env::var_os(bpf::ENV_OBJECT).is_some_and(|path| !path.is_empty()) {
        return None;
    }
    let missing = bpf::Compiler::find().map(drop).and_then(|()| bpf::linker().map(drop)).err()?;
    Some(format!("WITHOUT {}: they embed the XDP program, and there is {missing}", EMBED_PROGRAM.join(", ")))
}

fn clippy() -> Result<Outcome> {
    let left_out = left_out();
    lint::run_clippy(if left_out.is_some() { &EMBED_PROGRAM } else { &[] })?;
    Ok(Outcome::Done(left_out.unwrap_or_default()))
}

fn run_tests() -> Result<Outcome> {
    let mut arguments: Vec<String> = ["test", "--no-fail-fast", "--lib", "--bins"].map(str::to_owned).to_vec();
    let left_out = left_out();
    let mut folders = vec!["filter-core/tests", "filter-policy/tests"];
    if left_out.is_some() {
        arguments.extend(["filter-core", "filter-policy", "xtask"].map(|package| format!("--package={package}")));
    } else {
        arguments.extend(workspace::HOST_CRATES.map(str::to_owned));
        // Not by package: cargo would choose other features of the dependencies, and build all of them once more.
        folders.extend(["controller/tests", "tests/tests"]);
    }
    let names: Vec<String> =
        folders.into_iter().map(test_files).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    arguments
        .extend(names.into_iter().filter(|name| !NEED_ROOT.contains(&&**name)).map(|name| format!("--test={name}")));
    let result = test::run_cargo(&arguments)?;
    Ok(Outcome::Done(left_out.map_or(result.clone(), |left_out| format!("{result}; {left_out}"))))
}

/// The integration tests in a folder, by their names on cargo's command line.
fn test_files(folder: &str) -> Result<Vec<String>> {
    let path = workspace::root().join(folder);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(&path).with_context(|| format!("failed to read {folder}"))? {
        let path = entry?.path();
        let is_test = path.extension().is_some_and(|extension| extension == "rs") || path.join("main.rs").exists();
        if is_test && let Some(name) = path.file_stem() {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_that_is_said_to_need_root_exists_under_one_name() {
        let files = test_files("tests/tests").unwrap();
        for name in NEED_ROOT {
            assert!(files.contains(&name.to_owned()), "there is no test {name} in tests/tests");
            for folder in ["controller/tests", "filter-core/tests", "filter-policy/tests"] {
                assert!(!test_files(folder).unwrap().contains(&name.to_owned()), "{folder} has a {name}, too");
            }
        }
    }
}
