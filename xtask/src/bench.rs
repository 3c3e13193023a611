//! `cargo xtask bench`: builds and runs the bench, a crate of its own because it needs the BPF compiler.

#[path = "../../bench/src/arguments.rs"]
mod arguments;

use anyhow::Result;

use arguments::Part;

pub(crate) use arguments::Arguments;

use crate::{bpf, setup, workspace};

/// Installs what the bench needs, then builds and runs it.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    ringfence_tests::netns::ensure_root()?;
    let parts = if arguments.parts.is_empty() { Part::MEASURED } else { &arguments.parts };
    let groups: &[_] = if parts.iter().any(|part| matches!(part, Part::Flood | Part::Live | Part::Veth)) {
        &[setup::Group::Build, setup::Group::Traffic, setup::Group::Bench]
    } else {
        &[setup::Group::Build, setup::Group::Traffic]
    };
    setup::ensure(groups)?;
    if parts.contains(&Part::Profile) {
        setup::ensure(&[setup::Group::Profile])?;
    }
    let words = ["run", "--release", "--quiet", "--package", "ringfence-bench", "--"].map(str::to_owned);
    let mut bench = workspace::cargo(words.into_iter().chain(words_of(arguments)));
    if parts.contains(&Part::Profile) {
        bench.env(bpf::ENV_LINES, "1");
    }
    workspace::run(&mut bench)
}

/// The same arguments for the bench itself.
fn words_of(arguments: &Arguments) -> Vec<String> {
    let mut words: Vec<String> = arguments.parts.iter().map(|part| part.name()).collect();
    if let Some(only) = &arguments.only {
        words.extend(["--only".to_owned(), only.clone()]);
    }
    for (path, word) in
        [(&arguments.save, "--save"), (&arguments.compare, "--compare"), (&arguments.against, "--against")]
    {
        if let Some(path) = path {
            // The bench runs in the workspace's folder.
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            words.extend([word.to_owned(), path.to_string_lossy().into_owned()]);
        }
    }
    for (given, word) in [(arguments.quick, "--quick"), (arguments.json, "--json"), (arguments.write, "--write")] {
        if given {
            words.push(word.to_owned());
        }
    }
    words
}
