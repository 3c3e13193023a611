//! Conditions on numbers that need more than the policy says about numbering.

use filter_core::layout::NumberFormat;
use jiff::{ToSpan as _, civil::Date};

use super::Linter;
use crate::{
    language::{diagnostics::Code, scope::Scope},
    lists::Day,
    model::Test,
    numbering,
};

/// Months after which the built-in table of area codes is old: new area codes come into service several times a year.
const FRESH_MONTHS: i8 = 6;

impl Linter<'_> {
    pub(super) fn numbering_assumed(&mut self) {
        if self.source.numbering.present {
            return;
        }
        let is_about_numbers = |scope| match scope {
            Scope::AnyIdentity
            | Scope::CallerAllowed
            | Scope::Country(_)
            | Scope::Format(_)
            | Scope::Neighbor
            | Scope::Number(_)
            | Scope::Region(_) => true,
            Scope::Anomaly
            | Scope::Attestation
            | Scope::CallingPrivacy
            | Scope::Destination
            | Scope::Dialog
            | Scope::Method
            | Scope::Passport
            | Scope::Payload
            | Scope::Port
            | Scope::Reputation
            | Scope::Source
            | Scope::Spid(_)
            | Scope::Text(_)
            | Scope::Transport
            | Scope::Upstream
            | Scope::UpstreamKind
            | Scope::UpstreamRmd
            | Scope::Verstat => false,
        };
        if let Some((_, condition)) = self.conditions().find(|(_, condition)| is_about_numbers(condition.scope.value)) {
            let message = "numbers are read as North American, because there is no `[numbering]`";
            let help = "add `[numbering]` with the `country_code` that bare national numbers belong to";
            self.warn(Code::NumberingAssumed, &condition.scope.span, message, help);
        }
    }

    pub(super) fn numbering_tables(&mut self) {
        if self.source.numbering.ranges.is_some() {
            return;
        }
        let help = "import a numbering table, and name it as `ranges` in `[numbering]`";
        for (condition, written) in self.conditions() {
            if let Test::Spid(..) = &condition.test {
                let message = "the built-in table does not know who holds a number: this never matches";
                self.warn(Code::NoNumberingTable, &written.scope.span, message, help);
            }
            if let Test::Region(_, regions) = &condition.test {
                for (region, value) in regions.iter().zip(&written.values.value) {
                    if !numbering::has_numbers_of(region) {
                        let message = format!("the built-in table has no numbers of `{region}`");
                        self.warn(Code::NoNumberingTable, &value.span, message, help);
                    }
                }
            }
        }
    }
    /// Warns where calls are dropped because the built-in table does not know an area code, and the table is old.
    pub(super) fn stale_area_codes(&mut self, today: Day) {
        let made = numbering::table_date();
        if self.source.numbering.ranges.is_some() || !is_old(made, today) {
            return;
        }
        for (rule, written) in self.rules() {
            if rule.report || !rule.action.kind().drops() {
                continue;
            }
            for (condition, written) in rule.conditions.iter().zip(&written.conditions) {
                let Test::Format(_, formats) = &condition.test else { continue };
                if condition.negated || !formats.contains(&NumberFormat::UnassignedAreaCode) {
                    continue;
                }
                let (year, month, day) = made;
                let message = format!(
                    "the built-in table of area codes is of {year}-{month:02}-{day:02}: callers from area codes that came into \
                     service since would be dropped"
                );
                let help = "import NANPA's report (`ringfence import nanpa`) and name it as `ranges` in `[numbering]`, or use a \
                            newer release of Ringfence";
                self.warn(Code::StaleNumberingTable, &written.scope.span, message, help);
            }
        }
    }
}

/// True if a table made on this day is old today.
fn is_old(made: Day, today: Day) -> bool {
    let date = |(year, month, day): Day| Date::new(i16::try_from(year).ok()?, month as i8, day as i8).ok();
    match (date(made), date(today)) {
        (Some(made), Some(today)) => made.saturating_add(i64::from(FRESH_MONTHS).months()) < today,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_old;

    #[test]
    fn a_table_is_old_after_six_months() {
        assert!(!is_old((2026, 11, 22), (2026, 11, 22)));
        assert!(!is_old((2026, 11, 22), (2027, 5, 22)));
        assert!(is_old((2026, 11, 22), (2027, 5, 23)));
    }
}
