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
};

impl Linter<'_> {
    pub(super) fn emergency_calls(&mut self) {
        let digits = if self.policy.numbering.plan.country_code == "1" { "911" } else { "112" };
        let number = exactly(digits);
        let is_pinhole =
            |rule: &Rule| rule.action == Action::Whitelist && Traffic::CallsTo(number).always_matches(rule);
        let pinhole = self.policy.rules.iter().position(is_pinhole);
        let blocker = self.policy.rules.iter().position(|rule| can_block_call(rule, number));
        let help =
            format!("make the first rule: match.called = [\"{digits}$\", \"urn:service:sos\"], action = \"whitelist\"");
        match (pinhole, blocker) {
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
            (None, None) | (Some(_), _) => {}
        }
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

/// The entry for exactly this number.
fn exactly(digits: &str) -> NumberEntry {
    let packed = digits.bytes().fold(0_u64, |all, digit| all << 4 | u64::from(digit - b'0'));
    let length = digits.len() as u8;
    NumberEntry { digits: packed << (64 - 4 * u32::from(length)), length, exact: true, score: 0, line: 0 }
}

/// True if a rule can drop calls to a short code.
fn can_block_call(rule: &Rule, number: NumberEntry) -> bool {
    let can_match = |condition: &Condition| match &condition.test {
        Test::Dialog(named) => named.contains(&Dialog::Initial) != condition.negated,
        Test::Payload(named) => named.contains(&Payload::Sip) != condition.negated,
        Test::Method(methods) => methods.contains(&MethodName(Method::Invite)) != condition.negated,
        Test::Number(Identity::Called, _) => Traffic::CallsTo(number).has_value(&condition.test) != condition.negated,
        // A short code has no country, no region, and no holder.
        Test::Country(Identity::Called, _) | Test::Region(Identity::Called, _) | Test::Spid(Identity::Called, _) => {
            condition.negated
        }
        Test::Anomaly(_)
        | Test::AnyIdentity(_)
        | Test::Attestation(_)
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
