//! The sets of a firewall, of which one or several are imported.

use super::{ImportError, Imported, addresses::Addresses};

/// Which sets are imported.
#[derive(Clone, Debug, Default)]
pub struct SetOptions {
    /// Their names. If there are none, the input may have only one set of addresses.
    pub sets: Vec<String>,
}

/// A set of a firewall.
pub(super) struct Set {
    pub name: String,
    /// The table that it is in, if names count only within one.
    pub table: Option<String>,
    pub line: u32,
    /// The type of its elements, if they are not addresses.
    pub foreign: Option<String>,
    pub elements: Vec<Element>,
}

/// An element of a set.
pub(super) struct Element {
    pub line: u32,
    pub value: Value,
    pub comment: Option<String>,
}

/// What an element is.
pub(super) enum Value {
    /// An address or CIDR.
    Address(Vec<u8>),
    /// From one address to another.
    Range(Vec<u8>, Vec<u8>),
    /// An address or CIDR that is not in the set, although a wider one is.
    Exception(Vec<u8>),
    /// Something that cannot be in a list of addresses, and why.
    Unreadable(Vec<u8>, &'static str),
}

impl Set {
    fn full_name(&self) -> String {
        self.table.as_ref().map_or_else(|| self.name.clone(), |table| format!("{table}/{}", self.name))
    }
}

/// Imports the sets that the options name. If they name none, and there are several, the input does not say which of them lists
/// what is to be blocked: one may well list what is to be spared.
pub(super) fn import(format: &str, sets: &[Set], options: &SetOptions) -> Result<Imported, ImportError> {
    const SHOWN: usize = 20;
    let names = |sets: &[&Set]| {
        let shown: Vec<String> = sets.iter().take(SHOWN).map(|set| format!("`{}`", set.full_name())).collect();
        let more = if sets.len() > SHOWN { ", ..." } else { "" };
        shown.join(", ") + more
    };
    let usable: Vec<&Set> = sets.iter().filter(|set| set.foreign.is_none()).collect();
    let mut chosen = Vec::new();
    for wanted in &options.sets {
        let found: Vec<&Set> = sets.iter().filter(|set| set.name == *wanted || set.full_name() == *wanted).collect();
        let set = match found[..] {
            [set] => set,
            [] => {
                return Err(ImportError::new(format!("the input has no set `{wanted}`"))
                    .with_help(format!("its sets of addresses are {}", names(&usable))));
            }
            _ => {
                return Err(ImportError::new(format!("several sets have the name `{wanted}`"))
                    .with_help(format!("name it with its table: {}", names(&found))));
            }
        };
        if let Some(kind) = &set.foreign {
            return Err(ImportError::new(format!("the set `{wanted}` is no set of addresses: its type is `{kind}`"))
                .with_help("only sets of addresses and networks can be imported"));
        }
        chosen.push(set);
    }
    let mut addresses = Addresses::default();
    if options.sets.is_empty() {
        match (&usable[..], sets) {
            ([_], _) => chosen.clone_from(&usable),
            ([], [first, ..]) => {
                let kind = first.foreign.as_deref().unwrap_or_default();
                return Err(ImportError::new(format!(
                    "the input has no set of addresses: the type of `{}` is `{kind}`",
                    first.full_name()
                ))
                .with_help("only sets of addresses and networks can be imported"));
            }
            ([], []) => {
                return Err(ImportError::new("the input has no sets").with_help("list the set with its elements"));
            }
            _ => {
                return Err(ImportError::new(format!("the input has {} sets: {}", usable.len(), names(&usable)))
                    .with_help("say which to import with `--set NAME`, several times if need be: one may list what is to be spared"));
            }
        }
        for set in sets {
            if let Some(kind) = &set.foreign {
                let reason =
                    format!("left out: set {}, whose elements (`{kind}`) are not addresses alone", set.full_name());
                addresses.notes.add(set.line, set.name.as_bytes(), reason);
            }
        }
    }
    for element in chosen.iter().flat_map(|set| &set.elements) {
        let (line, comment) = (element.line, element.comment.clone());
        match &element.value {
            Value::Address(text) => addresses.add(line, text, comment),
            Value::Range(first, last) => addresses.add_range(line, first, last, comment.as_deref()),
            Value::Exception(text) => addresses.except(line, text),
            Value::Unreadable(text, reason) => addresses.problems.add(line, text, *reason),
        }
    }
    let may_be_empty = chosen.iter().all(|set| set.elements.is_empty());
    Ok(addresses.finish(format, may_be_empty))
}
