//! Addresses, numbers and patterns, written in the policy or named as sets.

use std::sync::Arc;

use filter_core::layout::Text;

use super::{
    Resolver,
    sets::{List, SetState},
};
use crate::{
    language::{
        diagnostics::Code,
        source::{Located, Scalar, SetKind, Values},
    },
    lists::{self, NumberForm},
    model::{AddressEntry, AddressList, NumberEntry, NumberList, Numbering, PatternEntry, PatternList},
};

impl Resolver<'_> {
    /// The strings among values; a value of another type is an error.
    pub(super) fn strings<'v>(&mut self, key: &str, values: &'v Values) -> Vec<Located<&'v str>> {
        let mut strings = Vec::with_capacity(values.value.len());
        for value in &values.value {
            let help = match &value.value {
                Scalar::String(text) => {
                    strings.push(Located { value: text.as_str(), span: value.span.clone() });
                    continue;
                }
                Scalar::Integer(integer) => Some(format!("write it as a string: \"{integer}\"")),
                Scalar::Boolean(_) => None,
            };
            self.error(Code::WrongType, &value.span, format!("values of `{key}` must be strings"), help);
        }
        strings
    }

    pub(super) fn addresses(&mut self, key: &str, values: &Values) -> Vec<Arc<AddressList>> {
        let mut found = Vec::new();
        let mut entries = Vec::new();
        for text in self.strings(key, values) {
            if text.value.starts_with('@') {
                if let Some(SetState { list: List::Addresses(list), .. }) = self.set(key, &text, &[SetKind::Addresses])
                {
                    found.push(Arc::clone(list));
                }
            } else {
                entries.extend(self.address(&Located { value: text.value.to_owned(), span: text.span }));
            }
        }
        if !entries.is_empty() {
            let origin = self.origin(&values.span);
            found.push(Arc::new(AddressList { name: None, label: None, entries, origin }));
        }
        found
    }

    pub(super) fn numbers(&mut self, key: &str, values: &Values, numbering: &Numbering) -> Vec<Arc<NumberList>> {
        let form = NumberForm::new(false, &numbering.plan);
        let mut found = Vec::new();
        let mut entries = Vec::new();
        for text in self.strings(key, values) {
            if text.value.starts_with('@') {
                if let Some(SetState { list: List::Numbers { list, .. }, .. }) =
                    self.set(key, &text, &[SetKind::Numbers])
                {
                    found.push(Arc::clone(list));
                }
            } else {
                entries.extend(self.number(&Located { value: text.value.to_owned(), span: text.span }, &form));
            }
        }
        if !entries.is_empty() {
            let origin = self.origin(&values.span);
            found.push(Arc::new(NumberList { name: None, entries, origin }));
        }
        found
    }

    pub(super) fn patterns(&mut self, key: &str, text: Text, values: &Values) -> Vec<Arc<PatternList>> {
        let mut wanted = vec![SetKind::Patterns];
        if matches!(text, Text::UserAgent | Text::Server) {
            wanted.insert(0, SetKind::UserAgents);
        }
        let mut found = Vec::new();
        let mut entries = Vec::new();
        for text in self.strings(key, values) {
            if text.value.starts_with('@') {
                if let Some(SetState { list: List::Patterns(list), .. }) = self.set(key, &text, &wanted) {
                    found.push(Arc::clone(list));
                }
            } else {
                entries.extend(self.pattern(&Located { value: text.value.to_owned(), span: text.span }));
            }
        }
        if !entries.is_empty() {
            let origin = self.origin(&values.span);
            found.push(Arc::new(PatternList { name: None, entries, origin }));
        }
        found
    }

    pub(super) fn address(&mut self, text: &Located<String>) -> Option<AddressEntry> {
        match lists::address(text.value.as_bytes()) {
            Ok(entry) => {
                if let Some(mistake) = lists::covers_everything(&entry, text.value.len()) {
                    self.mistake(text, mistake, true);
                }
                Some(AddressEntry { line: self.file.line(text.span.start), ..entry })
            }
            Err(mistake) => {
                self.mistake(text, mistake, false);
                None
            }
        }
    }

    pub(super) fn number(&mut self, text: &Located<String>, form: &NumberForm<'_>) -> Vec<NumberEntry> {
        match lists::number_value(text.value.as_bytes(), form) {
            Ok(value) => {
                if let Some(mistake) = lists::impossible(value.written(), 0..text.value.len()) {
                    self.mistake(text, mistake, true);
                }
                let line = self.file.line(text.span.start);
                value.entries().iter().map(|entry| NumberEntry { line, ..*entry }).collect()
            }
            Err(mistake) => {
                self.mistake(text, mistake, false);
                Vec::new()
            }
        }
    }

    pub(super) fn pattern(&mut self, text: &Located<String>) -> Option<PatternEntry> {
        match lists::pattern(text.value.as_bytes()) {
            Ok((pattern, warning)) => {
                if let Some(mistake) = warning {
                    self.mistake(text, mistake, true);
                }
                Some(PatternEntry { pattern, line: self.file.line(text.span.start) })
            }
            Err(mistake) => {
                self.mistake(text, mistake, false);
                None
            }
        }
    }
}
