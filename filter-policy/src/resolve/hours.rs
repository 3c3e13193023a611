//! `hours`: when a rule is on.

use jiff::tz::{self, TimeZone};

use super::Resolver;
use crate::{
    language::{
        diagnostics::{Code, suggest},
        source::{DAYS, Hours, LONG_DAYS, Located},
    },
    timetable::{DAY, Window},
};

impl Resolver<'_> {
    /// A window. What is wrong with any part of it is reported.
    pub(super) fn window(&mut self, hours: &Hours) -> Option<Window> {
        let days = match &hours.days {
            None => Some(0b111_1111),
            Some(days) => {
                let days: Vec<_> = days.iter().map(|day| self.days(day)).collect();
                days.into_iter().try_fold(0, |all, days| Some(all | days?))
            }
        };
        let from = hours.from.as_ref().map_or(Some(0), |from| self.minute(from));
        let to = hours.to.as_ref().map_or(Some(DAY), |to| self.minute(to));
        let zone = self.zone(&hours.timezone);
        let window = Window { days: days?, from: from?, to: to?, zone: zone? };
        if window.from == window.to || window.from == DAY {
            let help = "`to` is the time at which the rule goes off; without `from` and `to` it is on for whole days";
            self.error(Code::BadHours, &hours.span, "these hours begin where they end", Some(help.to_owned()));
            return None;
        }
        Some(window)
    }

    /// A day, or a range of days: a bit for each.
    fn days(&mut self, text: &Located<String>) -> Option<u8> {
        let written = text.value.trim().to_ascii_lowercase();
        let index = |name: &str| {
            let name = name.trim();
            DAYS.iter().chain(&LONG_DAYS).position(|day| *day == name).map(|index| index % 7)
        };
        let (first, last) = written.split_once('-').unwrap_or((&written, &written));
        let Some((first, last)) = index(first).zip(index(last)) else {
            let help = suggest(&written, DAYS)
                .unwrap_or_else(|| format!("use {}, or a range such as `mon-fri`", DAYS.join(", ")));
            self.error(Code::BadHours, &text.span, format!("`{}` is not a day", text.value), Some(help));
            return None;
        };
        // A range may go over Sunday.
        let count = (last + 7 - first) % 7 + 1;
        Some((0..count).fold(0, |days, day| days | 1 << ((first + day) % 7)))
    }

    /// A time, in minutes after midnight.
    fn minute(&mut self, text: &Located<String>) -> Option<u16> {
        let number = |digits: &str| {
            let is_two = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
            is_two.then(|| digits.parse::<u16>().ok()).flatten()
        };
        let parts = text.value.split_once(':').and_then(|(hour, minute)| number(hour).zip(number(minute)));
        match parts {
            Some((hour, minute)) if minute < 60 && hour * 60 + minute <= DAY => Some(hour * 60 + minute),
            _ => {
                let help = "write hours and minutes: \"08:00\", \"17:30\", and \"24:00\" for the end of the day";
                self.error(
                    Code::BadHours,
                    &text.span,
                    format!("`{}` is not a time of day", text.value),
                    Some(help.to_owned()),
                );
                None
            }
        }
    }

    fn zone(&mut self, name: &Located<String>) -> Option<TimeZone> {
        if let Ok(zone) = TimeZone::get(&name.value) {
            return Some(zone);
        }
        let known: Vec<String> = tz::db().available().map(|known| known.to_string()).collect();
        // Most people know the city and not the region.
        let city = |zone: &str| zone.rsplit('/').next().unwrap_or_default().replace('_', " ").to_ascii_lowercase();
        let of_city = known.iter().find(|known| city(known) == city(&name.value));
        let help = match of_city {
            Some(known) => Some(format!("did you mean `{known}`?")),
            None => suggest(&name.value, known.iter().map(String::as_str)),
        };
        let help = help.unwrap_or_else(|| {
            "use a name of the IANA time zone database, such as `America/New_York` or `UTC`".to_owned()
        });
        self.error(Code::UnknownTimezone, &name.span, format!("unknown time zone `{}`", name.value), Some(help));
        None
    }
}
