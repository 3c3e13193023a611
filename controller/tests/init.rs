//! `ringfence init`: what it writes can be used at once, and it never overwrites anything.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
};

use filter_policy::{files::Directory, sample_policy};

fn ringfence(arguments: &[&str], directory: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
    command.args(arguments).arg(directory).output().expect("the program runs")
}

fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Every file below a directory, by its path in it.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("it can be listed") {
            let path = entry.expect("it can be listed").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(directory).expect("it is below").to_str().expect("it is text").to_owned();
            found.insert(name, fs::read(&path).expect("it can be read"));
        }
    }
    found
}

#[test]
fn the_policy_is_the_sample_in_report_mode_and_passes_check_and_its_own_tests() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let directory = folder.path().join("new/policy");
    let output = ringfence(&["init"], &directory);
    let text = printed(&output);
    assert!(output.status.success(), "{text}");
    for command in ["check", "test", "run --interface eth0 --policy"] {
        assert!(text.contains(&format!("ringfence {command} {}", directory.display())), "{command}: {text}");
    }
    let columns: Vec<_> = text.lines().filter_map(|line| line.find("   # ")).collect();
    assert!(columns.len() == 4 && columns.iter().all(|column| *column == columns[0]), "{columns:?}: {text}");
    let written = files(&directory);
    assert_eq!(written.len(), sample_policy::FILES.len());
    for (name, content) in sample_policy::FILES.iter().filter(|(name, _)| *name != "policy.toml") {
        assert_eq!(written[*name], *content, "{name}");
    }
    let built = filter_policy::build(&Directory::new(&directory).expect("it is there"), filter_policy::today());
    let built = built.unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    assert!(built.image.is_report());
    let policy = String::from_utf8(written["policy.toml"].clone()).expect("it is text");
    let without: String = policy
        .lines()
        .filter(|line| !line.contains("remove this line to enforce"))
        .map(|line| format!("{line}\n"))
        .collect();
    let (_, sample) = sample_policy::FILES.iter().find(|(name, _)| *name == "policy.toml").expect("it is in there");
    assert_eq!(without.as_bytes(), *sample, "without that line it is the sample");

    let checked = ringfence(&["check"], &directory);
    assert!(checked.status.success() && printed(&checked).contains("report mode as a whole"), "{}", printed(&checked));
    let tested = ringfence(&["test"], &directory);
    assert!(tested.status.success() && printed(&tested).contains(", 0 failed"), "{}", printed(&tested));
}

#[test]
fn nothing_is_written_where_something_is_already() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("notes.txt");
    fs::write(&file, "mine").expect("it is ours");
    let before = files(folder.path());
    for (place, complaint) in [(folder.path(), "it is not empty: there is notes.txt in it"), (&file, "ot a directory")]
    {
        let output = ringfence(&["init"], place);
        assert_eq!(output.status.code(), Some(2), "{}", printed(&output));
        assert!(printed(&output).contains(complaint), "{}", printed(&output));
    }
    assert_eq!(files(folder.path()), before);
    // A second time, it is not empty either.
    let directory = folder.path().join("policy");
    assert!(ringfence(&["init"], &directory).status.success());
    fs::write(directory.join("policy.toml"), "version = 1\n").expect("it is ours");
    let output = ringfence(&["init"], &directory);
    assert_eq!(output.status.code(), Some(2), "{}", printed(&output));
    assert_eq!(fs::read_to_string(directory.join("policy.toml")).expect("it is there"), "version = 1\n");
}

#[test]
fn an_empty_directory_and_a_new_repository_are_filled() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    assert!(ringfence(&["init"], folder.path()).status.success());
    let repository = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir(repository.path().join(".git")).expect("it is ours");
    assert!(ringfence(&["init"], repository.path()).status.success());
    assert!(repository.path().join("policy.toml").exists());
}
