//! Emergency calls that rules could drop.

use filter_core::layout::{Dialog, Method, Payload};

use super::{
    Linter,
    traffic::{Traffic, blocks},
};
use crate::{
    language::{
        action::Action,
        diagnostics::{Code, Diagnostic},
        scope::Scope,
        source::Scalar,
    },
    model::{Condition, Identity, MethodName, NumberEntry, Rule, Test},
    numbering::emergency::{ALL as URN_DIGITS, URN},
};

impl Linter<'_> {
    pub(super) fn emergency_calls(&mut self) {
        let digits = if self.policy.numbering.plan.country_code == "1" { "911" } else { "112" };
        let number = exactly(digits);
        let blocker = self.blocker(number);
        let help = format!("make the first rule: match.called = [\"{digits}$\", \"{URN}\"], action = \"whitelist\"");
        match (self.pinhole(number), blocker) {
            (None, Some(blocker)) => {
                let span = self.source.rules[blocker].name.span.clone();
                let message = "this rule can drop emergency calls, and no rule lets them through";
                self.warn(Code::NoEmergencyPinhole, &span, message, &help);
            }
            (None, None) if self.policy.default_drop => {
                let message = "the default drops emergency calls, and no rule lets them through";
                self.diagnostics.push(Diagnostic::warning(Code::NoEmergencyPinhole, message).help(help));
            }
            (Some(pinhole), Some(blocker)) if blocker < pinhole => {
                let span = self.source.rules[pinhole].name.span.clone();
                let name = &self.policy.rules[blocker].name;
                let message = format!("the rule `{name}` comes before this one and can drop emergency calls");
                self.warn(Code::EmergencyTooLate, &span, message, "move this rule to the top");
            }
            (Some(pinhole), _) => self.emergency_urns(pinhole),
            (None, None) => {}
        }
    }

    /// Telephones that know where they are call a service by its URN (RFC 5031), and not by digits.
    fn emergency_urns(&mut self, pinhole: usize) {
        let can_be_dropped = self.policy.default_drop || self.blocker(ALL_SERVICES).is_some();
        if can_be_dropped && self.pinhole(ALL_SERVICES).is_none() {
            let span = self.source.rules[pinhole].name.span.clone();
            let message = format!("this rule lets emergency calls to digits through, but none to `{URN}`");
            let help = format!("add \"{URN}\" to match.called");
            self.warn(Code::EmergencyWithoutUrn, &span, message, &help);
        }
    }

    /// The place of the first rule that lets all calls to this through.
    fn pinhole(&self, number: NumberEntry) -> Option<usize> {
        let is_pinhole =
            |rule: &Rule| rule.action == Action::Whitelist && Traffic::CallsTo(number).always_matches(rule);
        self.policy.rules.iter().position(is_pinhole)
    }

    /// The place of the first rule that can drop calls to this.
    fn blocker(&self, number: NumberEntry) -> Option<usize> {
        self.policy.rules.iter().position(|rule| can_block_call(rule, number))
    }

    /// `911` without `$` lets all of New Delhi through (+91 11).
    pub(super) fn short_codes_as_prefixes(&mut self) {
        const SHORT_CODES: [&str; 5] = ["112", "911", "933", "988", "999"];
        for (rule, written) in self.rules() {
            for condition in &written.conditions {
                let is_called = condition.scope.value == Scope::Number(Identity::Called);
                if !rule.action.kind().lets_through() || !is_called {
                    continue;
                }
                for value in &condition.values.value {
                    let Scalar::String(text) = &value.value else { continue };
                    if SHORT_CODES.contains(&text.as_str()) {
                        let (country, rest) = text.split_at(2);
                        let message =
                            format!("`{text}` matches every number that starts with it, such as +{country} {rest}...");
                        let help = format!("write \"{text}$\" to match only the short code");
                        self.warn(Code::ShortCodeAsPrefix, &value.span, message, &help);
                    }
                }
            }
        }
    }
}

/// All emergency services that are called by URN.
const ALL_SERVICES: NumberEntry =
    NumberEntry { digits: URN_DIGITS.0, length: URN_DIGITS.1, exact: false, score: 0, line: 0 };

/// The entry for exactly this number.
fn exactly(digits: &str) -> NumberEntry {
    let packed = digits.bytes().fold(0_u64, |all, digit| all << 4 | u64::from(digit - b'0'));
    let length = digits.len() as u8;
    NumberEntry { digits: packed << (64 - 4 * u32::from(length)), length, exact: true, score: 0, line: 0 }
}

/// True if a rule can drop calls to an emergency service.
fn can_block_call(rule: &Rule, number: NumberEntry) -> bool {
    let can_match = |condition: &Condition| match &condition.test {
        Test::Dialog(named) => named.contains(&Dialog::Initial) != condition.negated,
        Test::Payload(named) => named.contains(&Payload::Sip) != condition.negated,
        Test::Method(methods) => methods.contains(&MethodName(Method::Invite)) != condition.negated,
        Test::Number(Identity::Called, _) => Traffic::CallsTo(number).has_value(&condition.test) != condition.negated,
        // An emergency service has no country, no region, and no holder.
        Test::Country(Identity::Called, _) | Test::Region(Identity::Called, _) | Test::Spid(Identity::Called, _) => {
            condition.negated
        }
        Test::Anomaly(_)
        | Test::AnyIdentity(_)
        | Test::Attestation(_)
        | Test::CallerAllowed(_)
        | Test::CallingPrivacy(_)
        | Test::Country(..)
        | Test::Destination(_)
        | Test::Format(..)
        | Test::Neighbor(_)
        | Test::Number(..)
        | Test::Passport(_)
        | Test::Port(_)
        | Test::Region(..)
        | Test::Reputation(..)
        | Test::Source(_)
        | Test::Spid(..)
        | Test::Text(..)
        | Test::Transport(_)
        | Test::Verstat(_) => true,
    };
    blocks(rule) && rule.conditions.iter().all(can_match)
}
