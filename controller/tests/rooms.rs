//! The order of the rooms: a module uses the rooms below its own, never one above or beside it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    str::FromStr as _,
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The rooms from top to bottom. Rooms in one row do not see each other. Some are not built yet.
const ROOMS: &[&[&str]] = &[
    &["cli"],
    &["doctor"],
    &["config", "daemon"],
    &["api", "fleet"],
    &["deploy"],
    &["repository"],
    &["ledger", "outputs", "responder"],
    &["telemetry"],
    &["kernel"],
];

/// Crates that a room must do without.
const FORBIDDEN: &[(&str, &str)] = &[("deploy", "tokio"), ("repository", "tokio")];

/// The row of a room.
fn row(room: &str) -> Option<usize> {
    ROOMS.iter().position(|row| row.contains(&room))
}

/// What is wrong with `room` using `other`, if anything is.
fn violation(room: &str, other: &str) -> Option<String> {
    let (Some(own), Some(used)) = (row(room), row(other)) else {
        return Some(format!("{room} uses {other}, which is on no row of ROOMS"));
    };
    let allowed = room == other || used > own;
    (!allowed).then(|| format!("{room} uses {other}, which is not below it"))
}

/// The first segments of all paths in a file that begin at the crate's root: `crate::x`, `crate::{x, y}`, and chains of
/// `super` that climb that high. `depth` is how many modules the file is below the root.
fn used(tokens: TokenStream, depth: usize, found: &mut Vec<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let is_ident =
        |index: usize, name: &str| matches!(tokens.get(index), Some(TokenTree::Ident(ident)) if ident == name);
    let is_path = |index: usize| {
        let is_colon =
            |index: usize| matches!(tokens.get(index), Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
        is_colon(index) && is_colon(index + 1)
    };
    let mut index = 0;
    while index < tokens.len() {
        let mut next = index + 1;
        if is_ident(index, "crate") && is_path(next) {
            first_segments(tokens.get(next + 2), found);
            next += 2;
        } else if is_ident(index, "super") {
            let mut climbed = 1;
            while is_path(next) && is_ident(next + 2, "super") {
                climbed += 1;
                next += 3;
            }
            if climbed >= depth && is_path(next) {
                first_segments(tokens.get(next + 2), found);
            }
        } else if let TokenTree::Group(group) = &tokens[index] {
            let is_module = group.delimiter() == Delimiter::Brace && index >= 2 && is_ident(index - 2, "mod");
            used(group.stream(), depth + usize::from(is_module), found);
        }
        index = next;
    }
}

/// The first segment of a path, or those of the paths in a group.
fn first_segments(tree: Option<&TokenTree>, found: &mut Vec<String>) {
    match tree {
        Some(TokenTree::Ident(ident)) => found.push(ident.to_string()),
        Some(TokenTree::Group(group)) => {
            let mut begins = true;
            for tree in group.stream() {
                if begins {
                    first_segments(Some(&tree), found);
                }
                begins = matches!(&tree, TokenTree::Punct(punct) if punct.as_char() == ',');
            }
        }
        Some(TokenTree::Punct(_) | TokenTree::Literal(_)) | None => {}
    }
}

fn used_in(text: &str, depth: usize) -> Vec<String> {
    let mut found = Vec::new();
    used(TokenStream::from_str(text).expect("the file is Rust"), depth, &mut found);
    found.sort();
    found.dedup();
    found
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// All files of all rooms: room, path below `src`, content.
fn files() -> Vec<(String, PathBuf, String)> {
    let mut files = Vec::new();
    let mut folders = vec![source()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("it can be listed") {
            let path = entry.expect("it can be listed").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let below = path.strip_prefix(source()).expect("it is below").to_owned();
            let first = below.iter().next().expect("a name").to_string_lossy();
            if !matches!(&*first, "lib.rs" | "main.rs") {
                let room = first.trim_end_matches(".rs").to_owned();
                files.push((room, below, fs::read_to_string(&path).expect("it can be read")));
            }
        }
    }
    files
}

/// How many modules a file is below the crate's root.
fn depth(below: &Path) -> usize {
    let folders = below.components().count() - 1;
    if below.ends_with("mod.rs") { folders } else { folders + 1 }
}

#[test]
fn each_room_uses_only_rooms_below_it() {
    let mut violations = Vec::new();
    for (room, below, text) in files() {
        for other in used_in(&text, depth(&below)) {
            violations.extend(violation(&room, &other).map(|violation| format!("{}: {violation}", below.display())));
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn deploying_needs_no_event_loop() {
    for (room, below, text) in files() {
        for (forbidding, name) in FORBIDDEN {
            let tokens = TokenStream::from_str(&text).expect("the file is Rust");
            assert!(room != *forbidding || !mentions(tokens, name), "{} uses {name}", below.display());
        }
    }
}

fn mentions(tokens: TokenStream, name: &str) -> bool {
    tokens.into_iter().any(|tree| match tree {
        TokenTree::Group(group) => mentions(group.stream(), name),
        TokenTree::Ident(ident) => ident == name,
        TokenTree::Literal(_) | TokenTree::Punct(_) => false,
    })
}

#[test]
fn every_room_that_is_built_is_used_and_has_a_row() {
    let mut built = BTreeMap::new();
    for (room, ..) in files() {
        *built.entry(room).or_insert(0) += 1;
    }
    for room in built.keys() {
        assert!(row(room).is_some(), "{room} is on no row of ROOMS");
    }
    assert!(built.len() >= 8, "files are missing: {built:?}");
}

#[test]
fn paths_are_found_in_every_form_and_comments_and_strings_are_not_read() {
    let text = r#"
        //! [`Event`](crate::doc)
        use crate::{a::{b, c}, d, e as f};
        use super::{Sibling, g};
        fn x() { crate::h::i(); super::super::j::k(); super::near(); let _ = "crate::text"; }
        mod tests { use super::super::super::l; use super::super::m; }
    "#;
    assert_eq!(used_in(text, 2), ["a", "d", "e", "h", "j", "l"]);
    assert_eq!(used_in("use super::a; use self::b; mod c { use super::d; }", 1), ["a"]);
}

#[test]
fn a_room_above_or_beside_is_a_violation_and_one_below_is_not() {
    for (room, other) in [("kernel", "telemetry"), ("outputs", "ledger"), ("deploy", "cli"), ("api", "elsewhere")] {
        assert!(violation(room, other).is_some(), "{room} may use {other}");
    }
    for (room, other) in [("cli", "kernel"), ("outputs", "telemetry"), ("deploy", "repository"), ("api", "api")] {
        assert_eq!(violation(room, other), None);
    }
}
