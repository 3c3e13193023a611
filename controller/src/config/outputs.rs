//! The sections of `[outputs]`.

use filter_policy::language::diagnostics::Code;
use toml::de::DeValue;

use super::{Configuration, FORMATS, File, LONGEST_INTERVAL, Value};
use crate::outputs::{DEFAULT_ID, Destination, HepOptions, JOURNAL};

/// Keys of `[outputs.stdout]`.
pub const STDOUT_KEYS: &[&str] = &["format", "interval"];
/// Keys of `[outputs.file]`.
pub const FILE_KEYS: &[&str] = &["path"];
/// Keys of `[outputs.journal]`.
pub const JOURNAL_KEYS: &[&str] = &["socket"];
/// Keys of `[outputs.syslog]`.
pub const SYSLOG_KEYS: &[&str] = &["to"];
/// Keys of `[outputs.hep]`.
pub const HEP_KEYS: &[&str] = &["to", "password_file", "id"];

impl File<'_, '_> {
    pub(super) fn stdout(&mut self, value: &Value<'_>, configuration: &mut Configuration) {
        self.section("outputs.stdout", value, STDOUT_KEYS, |file, key, value| match key {
            "format" => {
                configuration.json = file.reader.word(key, value, FORMATS).map(|word| word.value == "json");
            }
            _ => {
                let help = "write a time from 1s to 1h, such as `interval = \"10s\"`";
                configuration.interval = file.time(key, value, LONGEST_INTERVAL, help);
            }
        });
    }

    pub(super) fn events_file(&mut self, value: &Value<'_>, configuration: &mut Configuration) {
        self.section("outputs.file", value, FILE_KEYS, |file, key, value| {
            configuration.outputs.file = file.path(key, value);
        });
        self.needs("outputs.file", value, "path", "\"/var/log/ringfence/events.jsonl\"");
    }

    pub(super) fn journal(&mut self, value: &Value<'_>, configuration: &mut Configuration) {
        configuration.outputs.journal = Some(JOURNAL.into());
        self.section("outputs.journal", value, JOURNAL_KEYS, |file, key, value| {
            configuration.outputs.journal = file.path(key, value);
        });
    }

    pub(super) fn syslog(&mut self, value: &Value<'_>, configuration: &mut Configuration) {
        let is_known = |to: &Destination| matches!(to, Destination::Udp(_) | Destination::Unix(_));
        let help = "write `udp:` with an address and a port, such as `udp:192.0.2.60:514`, or `unix:/dev/log`";
        self.section("outputs.syslog", value, SYSLOG_KEYS, |file, key, value| {
            configuration.outputs.syslog = file.destination(key, value, is_known, help);
        });
        self.needs("outputs.syslog", value, "to", "\"udp:192.0.2.60:514\"");
    }

    pub(super) fn hep(&mut self, value: &Value<'_>, configuration: &mut Configuration) {
        let is_known = |to: &Destination| matches!(to, Destination::Udp(_) | Destination::Tcp(_));
        let help = "write `udp:` or `tcp:` with an address and a port, such as `udp:192.0.2.60:9060`";
        let (mut to, mut password_file, mut id) = (None, None, None);
        self.section("outputs.hep", value, HEP_KEYS, |file, key, value| match key {
            "to" => to = file.destination(key, value, is_known, help),
            "password_file" => password_file = file.path(key, value),
            _ => id = file.id(key, value),
        });
        self.needs("outputs.hep", value, "to", "\"udp:192.0.2.60:9060\"");
        configuration.outputs.hep = to.map(|to| HepOptions { to, password_file, id: id.unwrap_or(DEFAULT_ID) });
    }

    /// Reports a section without the key that it is for.
    fn needs(&mut self, section: &str, value: &Value<'_>, key: &str, example: &str) {
        let DeValue::Table(table) = value.get_ref() else { return };
        if !table.contains_key(key) {
            let message = format!("`[{section}]` has no `{key}`");
            self.reader.error(Code::MissingKey, &value.span(), message, Some(format!("add `{key} = {example}`")));
        }
    }

    fn destination(
        &mut self,
        key: &str,
        value: &Value<'_>,
        is_known: impl Fn(&Destination) -> bool,
        help: &str,
    ) -> Option<Destination> {
        let text = self.reader.string(key, value)?;
        let to = Destination::parse(&text.value).filter(is_known);
        if to.is_none() {
            let message = format!("`{key}` cannot be `{}`", text.value);
            self.reader.error(Code::BadValue, &text.span, message, Some(help.to_owned()));
        }
        to
    }

    fn id(&mut self, key: &str, value: &Value<'_>) -> Option<u32> {
        let DeValue::Integer(written) = value.get_ref() else {
            self.reader.wrong_type(key, value, "a number");
            return None;
        };
        let id = written.as_str().parse().ok();
        if id.is_none() {
            let help = Some(format!("write a number from 0 to {}", u32::MAX));
            self.reader.error(Code::BadValue, &value.span(), format!("`{key}` cannot be {}", written.as_str()), help);
        }
        id
    }
}
