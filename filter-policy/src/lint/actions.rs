//! What rules do, and whether they do it yet.

use std::{ops::Range, sync::Arc};

use filter_core::layout::Transport;

use super::{Linter, peers::overlap, traffic::blocks};
use crate::{
    language::{diagnostics::Code, source::Located, tcp::OnTcp},
    lists::Day,
    model::{AddressList, Condition, Rule, Test},
};

impl Linter<'_> {
    pub(super) fn actions(&mut self) {
        for (rule, written) in self.rules() {
            let Some(written) = &written.action else { continue };
            if rule.action.banned_prefixes().is_some() {
                self.banned_strangers(rule, &written.span);
            }
        }
    }

    /// What others can do with a rule that bans.
    fn banned_strangers(&mut self, rule: &Rule, action: &Range<usize>) {
        if self.policy.never_ban.is_empty() {
            let message = "this rule bans sources, and none is exempt: one spoofed packet could ban a carrier";
            let help = "list your trunks at the top of the file: `never_ban = [\"@trunks\"]`";
            self.warn(Code::NoNeverBan, action, message, help);
        } else if rule.over.is_none() && bans_strangers(rule) {
            let message = "one forged packet bans the source that it names: a spoofer can ban any address that is not in `never_ban`";
            // (The program does not ask whether a segment's connection was ever opened.)
            let help = "list every peer that must be reached in `never_ban`, ban only sources that `match.source` names, or write \
                        `action = \"drop\"`; neither `transport` nor `over` stops a spoofer: he can forge TCP segments, too, and with \
                        `over` he only needs more packets";
            self.warn(Code::SpoofableBan, action, message, help);
        }
    }

    pub(super) fn dropped_connections(&mut self) {
        let policy = self.policy;
        let has_tcp = policy.ports.iter().any(|&(_, transport)| transport == Transport::Tcp);
        let trusted: Vec<_> = policy.never_ban.iter().chain(&policy.numbering.asserted_identity_from).collect();
        if !has_tcp || trusted.is_empty() {
            return;
        }
        for (rule, written) in self.rules() {
            let Some(tcp) = written.tcp.as_ref().filter(|tcp| tcp.value == OnTcp::DropConnection) else { continue };
            if !blocks(rule) || !reaches(rule, &trusted) {
                continue;
            }
            let message = "one message that this rule drops ends a TCP connection of sources which the policy trusts, with all \
                           calls in it";
            let help = "leave `tcp` out, so that it counts their messages and drops those of strangers only; or exclude them with \
                        `not.source`";
            self.warn(Code::DropsTrunk, &tcp.span, message, help);
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

/// True unless the rule names the sources that it can ban: a spoofer gains little by banning those.
fn bans_strangers(rule: &Rule) -> bool {
    !rule.conditions.iter().any(|condition| matches!(condition.test, Test::Source(_)) && !condition.negated)
}

/// True unless the rule's conditions leave out the sources in `trusted`, or TCP, or it asks for addresses and ports alone.
fn reaches(rule: &Rule, trusted: &[&Arc<AddressList>]) -> bool {
    let leaves_out = |condition: &Condition| {
        if let Test::Transport(transports) = &condition.test {
            return transports.contains(&Transport::Tcp) == condition.negated;
        }
        let Test::Source(lists) = &condition.test else { return false };
        if condition.negated {
            // An exclusion of some peers leaves the others in.
            return trusted.iter().all(|peers| lists.iter().any(|list| Arc::ptr_eq(list, peers)));
        }
        !lists.iter().any(|list| trusted.iter().any(|peers| overlap(list, peers).is_some()))
    };
    rule.conditions.iter().any(|condition| condition.test.is_about_payload()) && !rule.conditions.iter().any(leaves_out)
}
