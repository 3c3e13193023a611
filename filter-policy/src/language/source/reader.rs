//! Reading values of the types that keys take. A mistake is reported and the value left out.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
    value::Datetime,
};

use super::{LONGEST_NAME, Located, Scalar, Values};
use crate::language::{
    diagnostics::{Code, Diagnostic, Diagnostics, SourceFile, suggest},
    header::HeaderName,
};

/// A table's entries with the spans of their keys, in file order.
pub type Fields<'t, 'i> = Vec<(&'t str, Range<usize>, &'t Spanned<DeValue<'i>>)>;

/// The entries of a table, in file order.
#[must_use]
pub fn fields<'t, 'i>(table: &'t DeTable<'i>) -> Fields<'t, 'i> {
    let mut fields: Fields<'t, 'i> =
        table.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span(), value)).collect();
    fields.sort_by_key(|(_, span, _)| span.start);
    fields
}

/// Reads one file: a policy, or another TOML file that is checked in the same way.
pub struct Reader<'a> {
    file: &'a SourceFile,
    diagnostics: &'a mut Diagnostics,
    /// Lines that are not valid TOML.
    pub(super) broken_lines: Vec<u32>,
    /// The headers that rules have named so far.
    pub(super) headers: Vec<HeaderName>,
}

impl<'a> Reader<'a> {
    /// Parses a file, and lets `walk` read its top table. The second value is true if the parser skipped a part of the file: whatever is
    /// missing may be there.
    pub fn read<T>(
        file: &'a SourceFile,
        diagnostics: &'a mut Diagnostics,
        walk: impl FnOnce(&mut Self, &DeTable<'_>) -> T,
    ) -> (T, bool) {
        let (document, errors) = DeTable::parse_recoverable(&file.text);
        let mut reader = Self { file, diagnostics, broken_lines: Vec::new(), headers: Vec::new() };
        for error in &errors {
            let place = file.place(error.span().unwrap_or(0..0));
            // One typing error makes the parser complain several times: only the first complaint about a line helps.
            if !reader.broken_lines.contains(&place.line) {
                reader.broken_lines.push(place.line);
                let message = format!("not valid TOML: {}", error.message().trim());
                reader.diagnostics.push(Diagnostic::error(Code::Syntax, message).at(place));
            }
        }
        (walk(&mut reader, document.get_ref()), !errors.is_empty())
    }
}

impl Reader<'_> {
    /// Reports a mistake at a place in the file.
    pub fn error(&mut self, code: Code, span: &Range<usize>, message: impl AsRef<str>, help: Option<String>) {
        let place = self.file.place(span.clone());
        // What the parser recovers from a broken line says nothing about what was written there.
        if !self.broken_lines.contains(&place.line) {
            self.diagnostics.push(Diagnostic::error(code, message).at(place).maybe_help(help));
        }
    }

    /// Reports a key that `of` does not have, and what was probably meant.
    pub fn unknown_key(&mut self, key: &str, span: &Range<usize>, of: &str, known: &[&str]) {
        let help = suggest(key, known.iter().copied());
        self.error(Code::UnknownKey, span, format!("unknown key `{key}` in {of}"), help);
    }

    /// Reports a value of the wrong type.
    pub fn wrong_type(&mut self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str) {
        let found = type_name(value.get_ref());
        self.error(Code::WrongType, &value.span(), format!("`{key}` must be {wanted}, not {found}"), None);
    }

    /// Reads the `version` of the file, of which this program knows one. `of` is what has versions, `file` what the file is.
    pub fn version(&mut self, value: &Spanned<DeValue<'_>>, known: i64, of: &str, file: &str) {
        if let Some(version) = self.integer("version", value)
            && version.value != known
        {
            let message = format!("version {} of {of} is not supported", version.value);
            let help = format!("this program reads version {known}: a newer {file} needs a newer ringfence");
            self.error(Code::UnsupportedVersion, &version.span, message, Some(help));
        }
    }

    /// Reports that the file has no `version`, unless that may be in a part that the parser skipped.
    pub fn missing_version(&mut self, known: i64, file: &str) {
        if self.broken_lines.is_empty() {
            let help = Some(format!("start the file with `version = {known}`"));
            self.error(Code::MissingKey, &(0..0), format!("the {file} has no `version`"), help);
        }
    }

    /// Names are metric labels, keys of counters, and words on the command line.
    pub(super) fn check_name(&mut self, of: &str, name: &Located<String>) {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.value.is_empty() || name.value.len() > LONGEST_NAME || !name.value.bytes().all(is_plain) {
            let help = format!("use letters, digits, `-`, `_` and `.`, at most {LONGEST_NAME} of them");
            let message = format!("`{}` is not a valid name for {of}", name.value);
            self.error(Code::BadValue, &name.span, message, Some(help));
        }
    }

    /// A section.
    pub fn table<'t, 'i>(&mut self, key: &str, value: &'t Spanned<DeValue<'i>>) -> Option<&'t DeTable<'i>> {
        if let DeValue::Table(table) = value.get_ref() {
            return Some(table);
        }
        self.wrong_type(key, value, "a section");
        None
    }

    /// A string.
    pub fn string(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Located<String>> {
        if let DeValue::String(text) = value.get_ref() {
            return Some(Located { value: text.clone().into_owned(), span: value.span() });
        }
        self.wrong_type(key, value, "a string");
        None
    }

    /// One of a few words.
    pub fn word(&mut self, key: &str, value: &Spanned<DeValue<'_>>, known: &[&str]) -> Option<Located<String>> {
        let word = self.string(key, value)?;
        if known.contains(&word.value.as_str()) {
            return Some(word);
        }
        let help = suggest(&word.value, known.iter().copied());
        self.error(Code::BadValue, &word.span, format!("`{key}` cannot be `{}`", word.value), help);
        None
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<bool> {
        if let DeValue::Boolean(boolean) = value.get_ref() {
            return Some(*boolean);
        }
        self.wrong_type(key, value, "`true` or `false`");
        None
    }

    /// Digits are strings, because a number would lose its leading zeros. An integer gets a message that says so.
    pub(super) fn digits(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Located<String>> {
        if let DeValue::Integer(integer) = value.get_ref() {
            let help = Some(format!("write it as a string: `{key} = \"{}\"`", integer.as_str()));
            let message = format!("`{key}` must be a string of digits, not an integer");
            self.error(Code::WrongType, &value.span(), message, help);
            return None;
        }
        self.string(key, value)
    }

    /// An integer.
    pub fn integer(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Located<i64>> {
        let DeValue::Integer(integer) = value.get_ref() else {
            self.wrong_type(key, value, "an integer");
            return None;
        };
        let Ok(integer) = i64::from_str_radix(integer.as_str(), integer.radix()) else {
            self.error(Code::BadValue, &value.span(), format!("`{key}` is too large"), None);
            return None;
        };
        Some(Located { value: integer, span: value.span() })
    }

    /// One integer, or an array of them.
    pub(super) fn integers(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Vec<Located<i64>> {
        if let DeValue::Array(array) = value.get_ref() {
            return array.iter().filter_map(|entry| self.integer(key, entry)).collect();
        }
        if matches!(value.get_ref(), DeValue::Integer(_)) {
            return self.integer(key, value).into_iter().collect();
        }
        self.wrong_type(key, value, "an array of integers");
        Vec::new()
    }

    /// A date, or a date with a time and an offset; bare or as a string.
    pub(super) fn day_or_time(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Located<Datetime>> {
        if let Some(datetime) = datetime(value)
            && datetime.date.is_some()
            && datetime.time.is_some() == datetime.offset.is_some()
        {
            return Some(Located { value: datetime, span: value.span() });
        }
        let help = Some(format!(
            "write the last day, in UTC, `{key} = 2027-01-31`, or a time with its offset from UTC, `{key} = 2027-01-31T06:00:00Z`"
        ));
        self.error(
            Code::BadDate,
            &value.span(),
            format!("`{key}` must be a date, or a date and time with an offset"),
            help,
        );
        None
    }

    /// A date, bare or as a string.
    pub(super) fn date(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Located<toml::value::Date>> {
        let date = datetime(value).and_then(|datetime| datetime.date);
        if date.is_none() {
            let help = Some(format!("write `{key} = 2027-01-31`"));
            self.error(Code::BadDate, &value.span(), format!("`{key}` must be a date"), help);
        }
        date.map(|date| Located { value: date, span: value.span() })
    }

    /// One scalar, or an array of at least one.
    pub(super) fn values(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Values> {
        let scalars = if let DeValue::Array(array) = value.get_ref() {
            if array.is_empty() {
                let help = "an empty list never matches: remove the condition, or add a value".to_owned();
                self.error(Code::Empty, &value.span(), format!("`{key}` has no values"), Some(help));
                return None;
            }
            let scalars: Vec<_> = array.iter().filter_map(|entry| self.scalar(key, entry)).collect();
            if scalars.len() < array.len() {
                return None;
            }
            scalars
        } else {
            vec![self.scalar(key, value)?]
        };
        Some(Located { value: scalars, span: value.span() })
    }

    fn scalar(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Located<Scalar>> {
        let scalar = match value.get_ref() {
            DeValue::Boolean(value) => Scalar::Boolean(*value),
            DeValue::Integer(_) => Scalar::Integer(self.integer(key, value)?.value),
            DeValue::String(text) => Scalar::String(text.clone().into_owned()),
            DeValue::Array(_) | DeValue::Datetime(_) | DeValue::Float(_) | DeValue::Table(_) => {
                self.wrong_type(key, value, "a value or an array of values");
                return None;
            }
        };
        Some(Located { value: scalar, span: value.span() })
    }
}

/// What a value is, with its article.
pub(super) fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::Array(_) => "an array",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Float(_) => "a float",
        DeValue::Integer(_) => "an integer",
        DeValue::String(_) => "a string",
        DeValue::Table(_) => "a table",
    }
}

/// What a date or a time is, bare or as a string.
fn datetime(value: &Spanned<DeValue<'_>>) -> Option<Datetime> {
    if let DeValue::Datetime(datetime) = value.get_ref() {
        return Some(*datetime);
    }
    value.get_ref().as_str()?.parse().ok()
}
