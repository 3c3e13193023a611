//! Rules that can never match, because an earlier rule takes everything that they could.

use super::{Linter, cover::implies, traffic::acts_always};
use crate::{language::diagnostics::Code, model::Rule};

impl Linter<'_> {
    pub(super) fn unreachable_rules(&mut self) {
        let rules = &self.policy.rules;
        let mut unreachable = vec![false; rules.len()];
        for (index, (rule, written)) in self.rules().enumerate() {
            let earlier = (0..index).find(|&earlier| {
                !unreachable[earlier]
                    && takes_all(&rules[earlier], rule)
                    && !is_bypassed(&rules[..earlier], &rules[earlier], rule)
            });
            if let Some(earlier) = earlier.map(|earlier| &rules[earlier]) {
                unreachable[index] = true;
                let (earlier, line) = (&earlier.name, earlier.origin.line);
                let (message, help) = if written.is_cap {
                    let message = format!(
                        "this cap never acts: the rule `{earlier}` in line {line} decides about all these calls"
                    );
                    (
                        message,
                        "caps come after all rules: let the trunks through with `action = \"continue\"`, or remove the cap",
                    )
                } else {
                    let message = format!(
                        "the rule `{}` can never match: `{earlier}` in line {line} matches everything that it could",
                        rule.name
                    );
                    (message, "put the narrower rule first, or remove it")
                };
                self.warn(Code::Unreachable, &written.name.span, message, help);
            }
        }
    }
}

/// True if `earlier`, wherever it is tried, keeps everything that `later` could match from it.
fn takes_all(earlier: &Rule, later: &Rule) -> bool {
    skips(earlier, later)
        && acts_always(earlier)
        && earlier.conditions.iter().all(|wider| later.conditions.iter().any(|narrower| implies(narrower, wider)))
}

/// True if `later` is not tried once `rule` has acted.
fn skips(rule: &Rule, later: &Rule) -> bool {
    rule.action.skips(rule.stage, later.stage)
}

/// True if a pinhole may lead past `earlier` to `later`: "drop all but the trunks" in one stage leaves the rules of the next
/// stage to the trunks.
fn is_bypassed(before: &[Rule], earlier: &Rule, later: &Rule) -> bool {
    before.iter().any(|pinhole| !pinhole.report && skips(pinhole, earlier) && !skips(pinhole, later))
}
