//! Sets of ipset, as it saves or lists them:
//!
//! - `ipset save`: `create NAME hash:ip family inet ...`, then a line `add NAME 192.0.2.1 timeout 600 comment "..."` for each
//!   element;
//! - `ipset list`: `Name:`, `Type:` and other lines, then `Members:`, and one element a line.
//!
//! With `nomatch`, a network is not in the set, although a wider one is.

use super::{
    ImportError, Imported,
    input::{self, is_json},
    sets::{self, Element, Set, SetOptions, Value},
};
use crate::lists;

const HELP: &str = "pass what `ipset save` or `ipset list` prints, unchanged";

/// Reads either form.
pub(super) fn import(content: &[u8], options: &SetOptions) -> Result<Imported, ImportError> {
    if is_json(content) {
        return Err(ImportError::new("the input is JSON").with_help("leave `-output json` out: `ipset save NAME`"));
    }
    let mut rows = lists::lines(content)
        .filter(|(_, line)| !line.trim_ascii().is_empty() && !line.trim_ascii_start().starts_with(b"#"))
        .peekable();
    let is_listing = rows.peek().is_some_and(|(_, line)| line.starts_with(b"Name:"));
    let sets = if is_listing { listed(rows)? } else { saved(rows)? };
    sets::import("ipset", &sets, options)
}

fn refused(line: u32, text: &[u8]) -> ImportError {
    const SHOWN: usize = 80;
    let shown: String = String::from_utf8_lossy(text).chars().take(SHOWN).collect();
    ImportError::new(format!("line {line}: `{shown}` is not what `ipset save` or `ipset list` prints")).with_help(HELP)
}

/// A set without elements yet.
fn set(line: u32, name: &[u8], kind: Option<&[u8]>) -> Set {
    // These hold addresses and networks alone. Others hold ports, interfaces, hardware addresses or names of sets, too.
    let is_usable = kind.is_none_or(|kind| matches!(kind, b"hash:ip" | b"hash:net" | b"bitmap:ip"));
    let foreign = kind.filter(|_| !is_usable).map(|kind| String::from_utf8_lossy(kind).into_owned());
    Set { name: String::from_utf8_lossy(name).into_owned(), table: None, line, foreign, elements: Vec::new() }
}

fn saved<'a>(rows: impl Iterator<Item = (u32, &'a [u8])>) -> Result<Vec<Set>, ImportError> {
    let mut sets: Vec<Set> = Vec::new();
    for (line, text) in rows {
        let words = words(text).ok_or_else(|| refused(line, text))?;
        match &words[..] {
            [b"create", name, kind, ..] if kind.contains(&b':') => sets.push(set(line, name, Some(kind))),
            [b"add", name, value, rest @ ..] => {
                let is_in = |set: &Set| set.name.as_bytes() == *name;
                let at = sets.iter().position(is_in).unwrap_or_else(|| {
                    sets.push(set(line, name, None));
                    sets.len() - 1
                });
                if sets[at].foreign.is_none() {
                    sets[at].elements.push(element(line, value, rest).ok_or_else(|| refused(line, text))?);
                }
            }
            _ => return Err(refused(line, text)),
        }
    }
    Ok(sets)
}

fn listed<'a>(rows: impl Iterator<Item = (u32, &'a [u8])>) -> Result<Vec<Set>, ImportError> {
    /// A set in the listing, as far as it has been read.
    struct Listing {
        set: Set,
        has_members: bool,
        /// How many elements are announced.
        announced: Option<usize>,
        /// True if elements time out: those that have done so may still be counted.
        times_out: bool,
    }
    let finish = |listing: Option<Listing>| -> Result<Option<Set>, ImportError> {
        let Some(Listing { set, has_members, announced, times_out }) = listing else { return Ok(None) };
        if !has_members {
            return Err(ImportError::new(format!("the set `{}` is listed without its members", set.name))
                .with_help("`ipset list NAME` prints them; `-terse` leaves them out"));
        }
        let read = set.elements.len();
        if let Some(announced) = announced.filter(|&announced| announced > read)
            && !times_out
            && set.foreign.is_none()
        {
            return Err(ImportError::new(format!(
                "the set `{}` announces {announced} entries, and has {read}",
                set.name
            ))
            .with_help("check that the input is complete"));
        }
        Ok(Some(set))
    };
    let mut sets = Vec::new();
    let mut listing: Option<Listing> = None;
    for (line, text) in rows {
        if let Some(name) = text.strip_prefix(b"Name:") {
            sets.extend(finish(listing.take())?);
            let set = set(line, name.trim_ascii(), None);
            listing = Some(Listing { set, has_members: false, announced: None, times_out: false });
            continue;
        }
        let Some(Listing { set: current, has_members, announced, times_out }) = &mut listing else {
            return Err(refused(line, text));
        };
        if *has_members {
            let words = words(text).ok_or_else(|| refused(line, text))?;
            if current.foreign.is_none()
                && let [value, rest @ ..] = &words[..]
            {
                current.elements.push(element(line, value, rest).ok_or_else(|| refused(line, text))?);
            }
            continue;
        }
        let Some(colon) = text.iter().position(|&byte| byte == b':') else { return Err(refused(line, text)) };
        let (label, value) = (&text[..colon], text[colon + 1..].trim_ascii());
        match label {
            b"Type" => current.foreign = set(line, b"", Some(value)).foreign,
            b"Number of entries" => *announced = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok()),
            b"Header" => *times_out = value.split(|&byte| byte == b' ').any(|word| word == b"timeout"),
            b"Members" => *has_members = true,
            b"Revision" | b"Size in memory" | b"References" => {}
            _ => return Err(refused(line, text)),
        }
    }
    sets.extend(finish(listing)?);
    Ok(sets)
}

/// The words of a line. What is in quotation marks is one word, with its first mark. None if they are not closed.
fn words(text: &[u8]) -> Option<Vec<&[u8]>> {
    let mut words = Vec::new();
    let mut rest = text.trim_ascii();
    while !rest.is_empty() {
        let length = if rest.starts_with(b"\"") {
            input::quoted(rest)?.len() + 1
        } else {
            rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len())
        };
        words.push(&rest[..length]);
        rest = rest[length..].strip_prefix(b"\"").unwrap_or(&rest[length..]).trim_ascii_start();
    }
    Some(words)
}

/// An element with its options. None if one of them is unknown.
fn element(line: u32, value: &[u8], mut options: &[&[u8]]) -> Option<Element> {
    let mut comment = None;
    let mut is_exception = false;
    while let [option, rest @ ..] = options {
        options = match (*option, rest) {
            (b"nomatch", rest) => {
                is_exception = true;
                rest
            }
            (b"comment", [text, rest @ ..]) => {
                comment = input::comment(text.strip_prefix(b"\"").unwrap_or(text));
                rest
            }
            (b"timeout" | b"packets" | b"bytes" | b"skbmark" | b"skbprio" | b"skbqueue", [_, rest @ ..]) => rest,
            _ => return None,
        };
    }
    let value = if is_exception { Value::Exception(value.to_vec()) } else { Value::Address(value.to_vec()) };
    Some(Element { line, value, comment })
}
