//! The guard of the maps' layouts: pins outlive the program that made them, so a layout may change only together with
//! [`SCHEMA_VERSION`], which keeps a daemon from adopting pins that it would misread.
//!
//! `layouts.golden` holds the layouts of the current version, and a digest of the layouts of every version so far.

use std::{fmt::Write as _, fs, path::Path};

use filter_core::{
    layout::{self, Action, Attestation, Method, Per, SCHEMA_VERSION, Transport, TypeLayout, anomaly},
    reason::Reason,
};

use super::state;

/// Set to rewrite the file.
const UPDATE: &str = "RINGFENCE_UPDATE_LAYOUTS";

const HEAD: &str = "\
# The layouts of everything in a map: what a daemon relies on when it adopts the pins of another one.
#
# After a change of a layout, or of a number's meaning, raise SCHEMA_VERSION in filter-core/src/layout/mod.rs. Then rewrite
# this file:
#
#     RINGFENCE_UPDATE_LAYOUTS=1 cargo test -p ringfence --lib layouts
#
# The digests are append-only: one for each version.
";

#[test]
fn a_layout_changes_only_with_the_schema_version() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kernel/layouts.golden");
    let recorded = fs::read_to_string(&path).unwrap_or_default();
    let mut digests = digests(&recorded);
    let (layouts, numbers) = (layouts(), numbers());
    let digest = digest(&layouts);
    match digests.iter().find(|(version, _)| *version == SCHEMA_VERSION) {
        Some((_, of_version)) => {
            let changed =
                recorded.lines().find(|line| line.starts_with("number ") && !numbers.lines().any(|new| new == *line));
            assert!(
                *of_version == digest && changed.is_none(),
                "what lies in the maps has changed, but SCHEMA_VERSION is still {SCHEMA_VERSION}: a daemon would adopt pins \
                 that it misreads. Raise SCHEMA_VERSION in filter-core/src/layout/mod.rs, then run this test with {UPDATE}=1"
            );
        }
        None => digests.push((SCHEMA_VERSION, digest)),
    }
    let is_rising = digests.windows(2).all(|pair| pair[0].0 < pair[1].0);
    assert!(is_rising, "SCHEMA_VERSION {SCHEMA_VERSION} is not the highest version of {}", path.display());
    let mut expected = HEAD.to_owned();
    for (version, digest) in &digests {
        let _ = writeln!(expected, "digest {version} {digest}");
    }
    let _ = write!(expected, "\n{layouts}\n{numbers}");
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, &expected).expect("the file can be written");
        return;
    }
    assert!(
        expected == recorded,
        "{} is out of date: run this test with {UPDATE}=1 and commit the file",
        path.display()
    );
}

/// The digests in the file.
fn digests(recorded: &str) -> Vec<(u32, String)> {
    let digest = |line: &str| {
        let (version, digest) = line.strip_prefix("digest ")?.split_once(' ')?;
        Some((version.parse().ok()?, digest.to_owned()))
    };
    recorded.lines().filter_map(digest).collect()
}

/// The layouts as they are now: for each type its size, and for each field its offset, size and name.
fn layouts() -> String {
    let mut text = String::new();
    let types = layout::LAYOUTS.iter().copied().chain([state::LAYOUTS]).flatten();
    for TypeLayout { name, size, fields } in types {
        let _ = writeln!(text, "{name} {size}");
        for field in *fields {
            let _ = writeln!(text, "    {} {} {}", field.offset, field.size, field.name);
        }
    }
    text
}

/// The numbers in pinned maps and their meanings. A number may be added without a new version; no meaning may change.
fn numbers() -> String {
    let mut text = String::new();
    let named = [
        ("Action", &Action::NAMES[..]),
        ("Attestation", &Attestation::NAMES),
        ("Method", &Method::NAMES),
        ("Per", &Per::NAMES),
        ("Reason", &Reason::NAMES),
        ("Transport", &Transport::NAMES),
        ("anomaly", &anomaly::NAMES),
    ];
    for (name, values) in named {
        for (number, value) in values.iter().enumerate() {
            let _ = writeln!(text, "number {name} {number} {value}");
        }
    }
    text
}

/// FNV-1a: it only has to notice changes.
fn digest(text: &str) -> String {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{hash:016x}")
}
