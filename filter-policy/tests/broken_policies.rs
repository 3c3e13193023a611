//! The diagnostics of policies with mistakes. `broken-policies` holds a repository for each mistake, named after the code of
//! its diagnostic, with the expected text in `expected.txt`. A file `today` in it names the day on which the policy is checked.
//!
//! `RINGFENCE_UPDATE_EXPECTED=1 cargo test -p filter-policy --test broken_policies` rewrites the expected texts: read the
//! difference.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    sync::LazyLock,
};

use filter_policy::{
    files::Directory,
    language::diagnostics::{Code, Diagnostics},
    lint::gateway,
    lists::Day,
    testing::TODAY,
};

/// The default gateway of the host that the policies are checked on.
const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 7, 1));

/// Folders with mistakes of several codes.
const MIXED: [&str; 1] = ["several-mistakes"];

fn folders() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken-policies");
    let mut folders: Vec<_> = fs::read_dir(root)
        .expect("the folder is checked in")
        .map(|entry| entry.expect("it can be listed"))
        .filter(|entry| entry.path().is_dir())
        .map(|entry| (entry.file_name().into_string().expect("names are UTF-8"), entry.path()))
        .collect();
    folders.sort();
    folders
}

/// The diagnostics of each folder.
static REPORTED: LazyLock<Vec<(String, PathBuf, Diagnostics)>> = LazyLock::new(|| {
    let diagnostics = |folder: &Path| {
        let files = Directory::new(folder).expect("the folder can be opened");
        match filter_policy::build(&files, today(folder)) {
            Ok(mut built) => {
                gateway::warn(&built.policy, &files, &[GATEWAY], &mut built.diagnostics);
                built.diagnostics
            }
            Err(diagnostics) => diagnostics,
        }
    };
    folders().into_iter().map(|(name, folder)| (name, folder.clone(), diagnostics(&folder))).collect()
});

/// The day on which a folder's policy is checked.
fn today(folder: &Path) -> Day {
    let Ok(text) = fs::read_to_string(folder.join("today")) else { return TODAY };
    let parts: Vec<u16> = text.trim().split('-').map(|part| part.parse().expect("it is a number")).collect();
    (parts[0], parts[1] as u8, parts[2] as u8)
}

#[test]
fn each_mistake_is_reported_in_the_expected_words() {
    let update = std::env::var_os("RINGFENCE_UPDATE_EXPECTED").is_some();
    let mut wrong = Vec::new();
    for (name, folder, diagnostics) in &*REPORTED {
        let text = format!("{}{}\n", diagnostics.render(false, None), diagnostics.totals());
        let path = folder.join("expected.txt");
        if update {
            fs::write(&path, text).expect("the folder can be written");
        } else if fs::read_to_string(&path).unwrap_or_default() != text {
            wrong.push(format!("{name}: the text is now:\n{text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_folder_has_its_own_mistake_and_no_other() {
    for (name, _, diagnostics) in &*REPORTED {
        if MIXED.contains(&name.as_str()) {
            continue;
        }
        let expected = name.split("--").next().expect("a name has a first part");
        let codes: BTreeSet<_> = diagnostics.iter().map(|diagnostic| diagnostic.code.name()).collect();
        // The parser continues after what it cannot read.
        let codes: Vec<_> = codes.into_iter().filter(|code| !(name == "syntax" && *code == "bad-action")).collect();
        assert_eq!(codes, [expected], "{name}");
    }
}

#[test]
fn every_code_has_a_broken_policy() {
    let shown: BTreeSet<String> =
        folders().iter().filter_map(|(name, _)| name.split("--").next().map(ToOwned::to_owned)).collect();
    for code in Code::ALL {
        assert!(shown.contains(code.name()), "no policy in tests/broken-policies shows `{}`", code.name());
    }
}

#[test]
fn every_diagnostic_has_a_place_and_most_have_help() {
    let mut without_help = BTreeSet::new();
    for (name, _, diagnostics) in &*REPORTED {
        for diagnostic in diagnostics.iter() {
            assert!(diagnostic.place.is_some(), "{name}: {}", diagnostic.message);
            if diagnostic.help.is_none() {
                without_help.insert(diagnostic.code.name());
            }
        }
    }
    // The TOML parser's own messages, a limit of the pattern table, and messages that already say what to do.
    let allowed =
        BTreeSet::from(["bad-number", "duplicate-port", "impossible-number", "syntax", "too-large", "wrong-type"]);
    assert!(without_help.is_subset(&allowed), "{:?}", without_help.difference(&allowed));
}
