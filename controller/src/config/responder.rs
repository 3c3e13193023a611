//! The section `[responder]`.

use std::time::Duration;

use super::{Configuration, File, Value};
use crate::responder::{LOCATIONS, LONGEST_CONTACT, Rate};
use filter_policy::language::{diagnostics::Code, quantity};

/// Keys of `[responder]`.
pub const RESPONDER_KEYS: &[&str] = &[
    "enabled",
    "total",
    "per_source",
    "symmetric",
    "retry_after",
    "redress_url",
    "redress_tel",
    "redress_email",
    "location",
];

/// The longest time after which a caller may try again, in seconds.
pub const LONGEST_RETRY_AFTER: u64 = 86_400;

impl File<'_, '_> {
    pub(super) fn responder(&mut self, key: &str, value: &Value<'_>, configuration: &mut Configuration) {
        let options = &mut configuration.responder;
        self.section(key, value, RESPONDER_KEYS, |file, key, value| match key {
            "enabled" => file.flag(key, value, &mut options.enabled),
            "total" => file.rate(key, value, &mut options.total),
            "per_source" => file.rate(key, value, &mut options.per_source),
            "symmetric" => file.flag(key, value, &mut options.symmetric),
            "retry_after" => {
                let help = "write a time from 1s to 1d, such as `retry_after = \"30s\"`";
                if let Some(time) = file.time(key, value, LONGEST_RETRY_AFTER, help) {
                    options.retry_after = time;
                }
            }
            "redress_url" => {
                let is_good = |text: &str| {
                    ["https://", "http://"].iter().any(|scheme| text.len() > scheme.len() && text.starts_with(scheme))
                };
                options.redress.url = file.contact(key, value, is_good, "https://example.net/blocked");
            }
            "redress_tel" => {
                let is_good = |text: &str| {
                    text.strip_prefix('+').is_some_and(|digits| {
                        (1..=15).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit())
                    })
                };
                options.redress.tel = file.contact(key, value, is_good, "+12125550100");
            }
            "redress_email" => {
                let is_good =
                    |text: &str| text.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty());
                options.redress.email = file.contact(key, value, is_good, "blocked@example.net");
            }
            _ => {
                if let Some(word) = file.reader.word(key, value, &LOCATIONS)
                    && let Some(location) = LOCATIONS.into_iter().find(|location| *location == word.value)
                {
                    options.redress.location = location;
                }
            }
        });
    }

    fn flag(&mut self, key: &str, value: &Value<'_>, flag: &mut bool) {
        *flag = self.reader.boolean(key, value).unwrap_or(*flag);
    }

    fn rate(&mut self, key: &str, value: &Value<'_>, rate: &mut Rate) {
        let Some(text) = self.reader.string(key, value) else { return };
        match quantity::rate(&text.value) {
            Some((count, nanoseconds)) => *rate = Rate { count, period: Duration::from_nanos(nanoseconds) },
            None => {
                let help = "write a count and a time, such as `10/s` or `100/m`";
                let message = format!("`{key}` cannot be `{}`", text.value);
                self.reader.error(Code::BadRate, &text.span, message, Some(help.to_owned()));
            }
        }
    }

    /// A contact that can stand in the text of a Reason header.
    fn contact(
        &mut self,
        key: &str,
        value: &Value<'_>,
        is_good: impl Fn(&str) -> bool,
        example: &str,
    ) -> Option<String> {
        let text = self.reader.string(key, value)?;
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b';' | b'<' | b'>');
        if text.value.len() > LONGEST_CONTACT || !text.value.bytes().all(is_plain) || !is_good(&text.value) {
            let help = format!("write it as in `{key} = \"{example}\"`, with at most {LONGEST_CONTACT} characters");
            let message = format!("`{key}` cannot be `{}`", text.value);
            self.reader.error(Code::BadValue, &text.span, message, Some(help));
            return None;
        }
        Some(text.value)
    }
}
