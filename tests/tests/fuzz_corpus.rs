//! Runs every input of the fuzz corpora, including those of past failures, through its target.

use std::path::Path;

use ringfence_oracle::fuzz;

#[test]
fn the_fuzz_corpora_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, target) in fuzz::TARGETS {
        let files = std::fs::read_dir(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut inputs = 0;
        for file in files {
            let path = file.expect("a folder can be listed").path();
            let input = std::fs::read(&path).expect("a file of the repository");
            if std::panic::catch_unwind(|| target(&input)).is_err() {
                panic!("{name} fails on {}", path.display());
            }
            inputs += 1;
        }
        assert!(inputs > 0, "no corpus for {name}");
    }
}

/// Writes generated examples into the corpora, for fuzzing to start from. `cargo xtask fuzz --minimise` merges what fuzzing
/// finds with them.
#[test]
#[ignore = "writes the corpora"]
fn write_example_corpora() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, inputs) in fuzz::examples() {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        for (index, input) in inputs.iter().enumerate() {
            std::fs::write(folder.join(format!("example-{index:03}")), input).expect("a file can be written");
        }
    }
}
