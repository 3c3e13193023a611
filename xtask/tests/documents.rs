//! The documents name files that exist.

use std::{fs, path::Path};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the workspace")
}

/// The text between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// True for a path into the workspace: its first part is a folder here, and it is neither a pattern nor an example.
fn is_path(word: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'-');
    let mut parts = word.splitn(2, '/');
    let (Some(first), Some(rest)) = (parts.next(), parts.next()) else { return false };
    !rest.is_empty() && word.bytes().all(plain) && root().join(first).join("Cargo.toml").exists()
}

#[test]
fn every_path_that_architecture_and_contributing_name_exists() {
    let mut paths = 0;
    for document in ["ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(root().join(document)).expect("the document exists");
        for path in quoted(&text).filter(|word| is_path(word)) {
            paths += 1;
            assert!(root().join(path).exists(), "{document} names {path}, which does not exist");
        }
    }
    assert!(paths >= 50, "only {paths} paths were found: is the test still looking for the right thing?");
}

#[test]
fn a_path_is_told_from_other_quoted_words() {
    assert!(is_path("filter-core/src/engine.rs"));
    for word in ["cargo xtask test", "match/source", "tests/*.toml", "filter-core", "engine::decide", "src/x.rs"] {
        assert!(!is_path(word), "{word}");
    }
}
