//! List files: addresses, numbers, patterns and numbering tables, one entry a line.
//!
//! An entry that cannot be read is reported with its line, and reading continues with the next. Lists hold millions of lines,
//! so entries are parsed in place, and only what is reported is copied.

mod addresses;
mod csv;
mod lines;
mod number_list;
mod number_value;
mod numbering_table;
mod numbers;
mod patterns;
mod report;
mod text;

pub use self::{
    addresses::addresses,
    number_list::{Numbers, numbers},
    numbers::NumberForm,
};
pub(crate) use self::{
    addresses::{address, covers_everything},
    csv::{Record, Records, day},
    lines::{BYTE_ORDER_MARK, lines},
    number_value::number_value,
    numbering_table::{is_spid, ranges},
    numbers::{impossible, number},
    patterns::{parse, pattern, patterns, syntax},
    report::Mistake,
    text::ensure_text,
};

/// A day, comparable: year, month, day.
pub type Day = (u16, u8, u8);

#[cfg(test)]
mod test_lists {
    use std::{
        path::{Path, PathBuf},
        sync::{Arc, LazyLock},
    };

    use proptest::prelude::*;

    use super::*;
    use crate::{
        language::diagnostics::Diagnostics,
        model::{NumberEntry, NumberingPlan},
        numbering::{bcd, emergency},
    };

    fn plan(country_code: &str, international_prefix: &str, national_prefix: &str) -> NumberingPlan {
        NumberingPlan {
            country_code: country_code.to_owned(),
            international_prefixes: vec![international_prefix.to_owned()],
            national_prefix: national_prefix.to_owned(),
            ..NumberingPlan::default()
        }
    }

    static AMERICA: LazyLock<NumberingPlan> = LazyLock::new(|| plan("1", "011", ""));
    static GERMANY: LazyLock<NumberingPlan> = LazyLock::new(|| plan("49", "00", "0"));
    pub(super) static E164: LazyLock<NumberForm<'_>> = LazyLock::new(|| NumberForm::new(false, &AMERICA));
    pub(super) static NATIONAL: LazyLock<NumberForm<'_>> = LazyLock::new(|| NumberForm::new(true, &AMERICA));
    pub(super) static GERMAN: LazyLock<NumberForm<'_>> = LazyLock::new(|| NumberForm::new(true, &GERMANY));
    pub(super) const TODAY: Day = (2026, 11, 21);

    pub(super) fn file(name: &str) -> Arc<PathBuf> {
        Arc::new(Path::new(name).to_owned())
    }

    pub(super) fn digits(entry: &NumberEntry) -> String {
        emergency::text(entry.digits).unwrap_or_else(|| bcd::text(entry.digits, entry.length))
            + if entry.exact { "$" } else { "" }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read_as_any_list(content in proptest::collection::vec(any::<u8>(), 0..400), csv in any::<bool>()) {
            let mut diagnostics = Diagnostics::default();
            let content = if csv { [b"number,score,expires\n".as_slice(), &content].concat() } else { content };
            for form in [&*E164, &*NATIONAL, &*GERMAN] {
                for entry in numbers(&file("x.csv"), &content, form, TODAY, usize::MAX, &mut diagnostics).entries {
                    prop_assert!((1..=15).contains(&entry.length));
                    prop_assert_eq!(entry.digits << (4 * u32::from(entry.length)), 0);
                }
            }
            addresses(&file("x.txt"), &content, usize::MAX, &mut diagnostics);
            patterns(&file("x.txt"), &content, usize::MAX, &mut diagnostics);
            ranges(&file("x.csv"), &content, usize::MAX, &mut diagnostics);
            ensure_text(&file("x.txt"), &content, &mut diagnostics);
            prop_assert_eq!(diagnostics.render(true, None).is_empty(), diagnostics.is_empty());
        }
    }
}
