//! `ringfence support`: the archive holds what a bug report needs, and nothing private unless that is asked for.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

const POLICY: &str = "version = 1\ndefault = \"pass\"\n[network]\nudp = [5060]\n[numbering]\ncountry_code = \"1\"\n\
                      [sets.bad]\naddresses = \"bad.txt\"\n\
                      [[rule]]\nname = \"bad\"\nmatch.source = \"@bad\"\naction = \"drop\"\n";

/// A configuration, with pins and a socket that nothing has, and a policy with a mistake in a list.
fn write_scene(folder: &Path) {
    let configuration = format!(
        "# call +1 415 555 2671\nversion = 1\nedge = \"sbc-192.0.2.7\"\n[policy]\ndirectory = \"policy\"\n\
         [pins]\ndirectory = \"{0}/pins\"\n[api]\nsocket = \"{0}/socket\"\n",
        folder.display()
    );
    fs::write(folder.join("ringfence.toml"), configuration).expect("written");
    fs::create_dir(folder.join("policy")).expect("created");
    fs::write(folder.join("policy/policy.toml"), POLICY).expect("written");
    fs::write(folder.join("policy/bad.txt"), "192.0.2.7\nconfidential\n").expect("written");
}

fn support(folder: &Path, archive: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
    command.arg("support").args(arguments).arg("--output").arg(archive);
    command.arg("--config").arg(folder.join("ringfence.toml")).output().expect("the program runs")
}

/// The files of an archive, by name.
fn unpacked(archive: &Path) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(File::open(archive).expect("it is there"));
    let entries = archive.entries().expect("it is a tar");
    let files = entries.map(|entry| {
        let mut entry = entry.expect("an entry");
        let mut content = String::new();
        entry.read_to_string(&mut content).expect("it is text");
        (entry.path().expect("a path").display().to_string(), content)
    });
    files.collect()
}

#[test]
fn the_archive_is_whole_and_nothing_private_is_in_it_unless_asked_for() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    write_scene(folder.path());
    let archive = folder.path().join("a.tar");
    let output = support(folder.path(), &archive, &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::metadata(&archive).expect("it is there").permissions().mode() & 0o777, 0o600);

    let files = unpacked(&archive);
    let names =
        ["README.txt", "check.jsonl", "doctor.json", "kernel.log", "ringfence.toml", "status.json", "version.txt"];
    assert_eq!(files.keys().cloned().collect::<Vec<_>>(), names.map(|name| format!("ringfence-support/{name}")));
    for (name, content) in &files {
        for private in ["192.0.2.7", "415 555 2671", "confidential"] {
            assert!(!content.contains(private), "{private} in {name}: {content}");
        }
    }
    assert!(files["ringfence-support/ringfence.toml"].contains("edge = \"sbc-<address>\""));
    assert!(files["ringfence-support/check.jsonl"].contains("bad.txt"), "where the mistake is stays");

    let archive = folder.path().join("b.tar");
    assert!(support(folder.path(), &archive, &["--with-numbers"]).status.success());
    let files = unpacked(&archive);
    assert!(files["ringfence-support/ringfence.toml"].contains("# call +1 415 555 2671"));
    assert!(files["ringfence-support/check.jsonl"].contains("confidential"));
}

#[test]
fn a_file_that_exists_is_not_overwritten() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    write_scene(folder.path());
    let archive = folder.path().join("a.tar");
    fs::write(&archive, "mine").expect("written");
    let output = support(folder.path(), &archive, &[]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(fs::read_to_string(&archive).expect("it is there"), "mine");
}
