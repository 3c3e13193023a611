//! The section `[policy]`: where the policy comes from.

use std::{ops::Range, path::PathBuf, time::Duration};

use filter_policy::language::{
    diagnostics::Code,
    source::{Located, fields},
};

use super::{File, POLICY_KEYS, Value};
use crate::repository::{LONGEST_POLL, Reference, Remote, Source, path_mistake, reference_mistake, url_mistake};

/// Keys that say more about `git`.
pub const GIT_KEYS: &[&str] = &["branch", "tag", "path", "poll", "allowed_signers"];

/// What the section says.
#[derive(Default)]
pub(super) struct Section {
    pub(super) source: Option<Source>,
    pub(super) report: Option<bool>,
}

/// The keys as they are in the file, before they are looked at together.
#[derive(Default)]
struct Keys {
    directory: Option<PathBuf>,
    git: Option<Located<String>>,
    branch: Option<Located<String>>,
    tag: Option<Located<String>>,
    path: Option<Located<String>>,
    poll: Option<Duration>,
    allowed_signers: Option<PathBuf>,
}

impl File<'_, '_> {
    /// Reads the section.
    pub(super) fn policy(&mut self, name: &str, value: &Value<'_>) -> Section {
        let mut keys = Keys::default();
        let mut report = None;
        self.section(name, value, POLICY_KEYS, |file, key, value| match key {
            "directory" => keys.directory = file.path(key, value),
            "git" => keys.git = file.reader.string(key, value),
            "branch" => keys.branch = file.reader.string(key, value),
            "tag" => keys.tag = file.reader.string(key, value),
            "path" => keys.path = file.reader.string(key, value),
            "poll" => {
                keys.poll = file.time(key, value, LONGEST_POLL, "write a time from 1s to 1d, such as `poll = \"30s\"`");
            }
            "allowed_signers" => keys.allowed_signers = file.path(key, value),
            _ => report = file.reader.boolean(key, value),
        });
        // By the keys, not by their values: a bad value has been reported already.
        let Some(table) = value.get_ref().as_table() else { return Section::default() };
        let place = |wanted: &str| fields(table).into_iter().find(|(key, ..)| *key == wanted).map(|(_, span, _)| span);
        let git = place("git");
        let mut conflict = |span: &Range<usize>, message: String, help: &str| {
            self.reader.error(Code::BadValue, span, message, Some(help.to_owned()));
        };
        if let (Some(_), Some(span)) = (place("directory"), &git) {
            conflict(span, "`directory` and `git` are two sources".to_owned(), "remove one of the two");
        }
        if let (Some(_), Some(span)) = (place("branch"), place("tag")) {
            conflict(&span, "`branch` and `tag` cannot both be followed".to_owned(), "remove one of the two");
        }
        if git.is_none() {
            for (key, span) in GIT_KEYS.iter().filter_map(|key| Some((key, place(key)?))) {
                conflict(
                    &span,
                    format!("`{key}` is about a git repository, and there is no `git`"),
                    "add `git = \"URL\"`",
                );
            }
        }
        let source = match (self.remote(&keys), keys.directory) {
            (Some(remote), None) => Some(Source::Git(remote)),
            (_, directory) => directory.map(Source::Directory),
        };
        Section { source, report }
    }

    fn remote(&mut self, keys: &Keys) -> Option<Remote> {
        let mut check = |text: &Located<String>, mistake: Option<(String, &'static str)>| match mistake {
            None => true,
            Some((message, help)) => {
                self.reader.error(Code::BadValue, &text.span, message, Some(help.to_owned()));
                false
            }
        };
        let mut good = true;
        let mut reference = Reference::default();
        for (name, is_tag) in [(&keys.branch, false), (&keys.tag, true)] {
            let Some(name) = name else { continue };
            reference = if is_tag { Reference::Tag(name.value.clone()) } else { Reference::Branch(name.value.clone()) };
            good &= check(name, reference_mistake(&reference));
        }
        let path = keys.path.as_ref().map(|path| (path, PathBuf::from(&path.value)));
        if let Some((text, path)) = &path {
            good &= check(text, path_mistake(path));
        }
        let url = keys.git.as_ref()?;
        good &= check(url, url_mistake(&url.value, keys.allowed_signers.is_some()));
        let remote = Remote::new(url.value.clone());
        good.then(|| Remote {
            reference,
            path: path.map(|(_, path)| path),
            poll: keys.poll.unwrap_or(remote.poll),
            allowed_signers: keys.allowed_signers.clone(),
            ..remote
        })
    }
}
