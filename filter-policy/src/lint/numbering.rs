//! Conditions on numbers that need more than the policy says about numbering.

use super::Linter;
use crate::{
    language::{diagnostics::Code, scope::Scope},
    model::Test,
    numbering,
};

impl Linter<'_> {
    pub(super) fn numbering_assumed(&mut self) {
        if self.source.numbering.present {
            return;
        }
        let is_about_numbers = |scope| match scope {
            Scope::Country(_) | Scope::Format(_) | Scope::Neighbor | Scope::Number(_) | Scope::Region(_) => true,
            Scope::Anomaly
            | Scope::Attestation
            | Scope::Destination
            | Scope::Method
            | Scope::Port
            | Scope::Reputation
            | Scope::Source
            | Scope::Spid(_)
            | Scope::Text(_)
            | Scope::Transport
            | Scope::Upstream
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
}
