//! What rules do, and whether they do it yet.

use super::Linter;
use crate::{
    language::{action::Action, diagnostics::Code, source::Located},
    lists::Day,
};

impl Linter<'_> {
    pub(super) fn actions(&mut self) {
        for (rule, written) in self.rules() {
            let Some(written) = &written.action else { continue };
            match rule.action {
                Action::Ban { .. } if self.policy.never_ban.is_empty() => {
                    let message = "this rule bans sources, and none is exempt: one spoofed packet could ban a carrier";
                    let help = "list your trunks at the top of the file: `never_ban = [\"@trunks\"]`";
                    self.warn(Code::NoNeverBan, &written.span, message, help);
                }
                Action::Divert { .. } | Action::Reject { .. } if !rule.report => {
                    let message = "calls are dropped here without an answer: answering is not implemented yet";
                    let help = "the caller hears nothing until its own timeout; if that is acceptable, write \
                                `action = \"drop\"`";
                    self.warn(Code::UnansweredCalls, &written.span, message, help);
                }
                Action::Ban { .. }
                | Action::BypassFraudControl
                | Action::Continue
                | Action::Divert { .. }
                | Action::Drop
                | Action::Reject { .. }
                | Action::Whitelist => {}
            }
        }
    }

    pub(super) fn reviews(&mut self, today: Day) {
        for (rule, written) in self.rules() {
            let Some(Located { value: date, span }) = &written.review else { continue };
            if rule.report && (date.year, date.month, date.day) < today {
                let message = format!("the rule `{}` is in report mode past its review date", rule.name);
                let help = "check what it would have dropped, then enforce it, remove it, or set a new date";
                self.warn(Code::ReviewOverdue, span, message, help);
            }
        }
    }
}
