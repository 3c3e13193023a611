//! What a policy does with certain traffic: the questions that several warnings ask, answered in one place.

use std::{net::IpAddr, sync::Arc};

use filter_core::layout::{Method, anomaly};

use super::cover::{covers_addresses, covers_number};
use crate::{
    language::stage::Stage,
    model::{AddressList, Condition, Identity, MethodName, NumberEntry, Rule, Test},
};

/// Traffic that a question is about, whatever else may be true of it.
#[derive(Clone, Copy)]
pub(super) enum Traffic<'a> {
    /// Calls to exactly this number, and INVITE is their method.
    CallsTo(NumberEntry),
    /// Packets from this address.
    From(IpAddr),
    /// Packets from each address of a list.
    FromEach(&'a Arc<AddressList>),
}

impl Traffic<'_> {
    /// True if one of a test's values certainly holds for all of this traffic.
    pub(super) fn has_value(&self, test: &Test) -> bool {
        match (self, test) {
            (Self::CallsTo(number), Test::Number(Identity::Called, lists)) => {
                lists.iter().any(|list| list.entries.iter().any(|entry| covers_number(entry, number)))
            }
            (Self::From(address), Test::Source(lists)) => {
                lists.iter().any(|list| list.entries.iter().any(|entry| entry.network().contains(address)))
            }
            (Self::FromEach(peers), Test::Source(lists)) => covers_addresses(lists, std::slice::from_ref(*peers)),
            (Self::CallsTo(_), Test::Method(methods)) => methods.contains(&MethodName(Method::Invite)),
            (Self::CallsTo(_) | Self::From(_) | Self::FromEach(_), _) => false,
        }
    }

    /// True if a condition certainly holds for all of this traffic.
    fn always_meets(&self, condition: &Condition) -> bool {
        if let (Self::CallsTo(_), Test::Anomaly(anomalies)) = (self, &condition.test) {
            // No telephone sends these. Others may come from honest ones.
            return condition.negated && anomalies & !DISGUISES == 0;
        }
        if !condition.negated {
            return self.has_value(&condition.test);
        }
        // No value holds for a single address if none covers it. Of a number or a list, that is not certain.
        matches!((self, &condition.test), (Self::From(_), Test::Source(_))) && !self.has_value(&condition.test)
    }

    /// True if a rule acts on all of this traffic that reaches it.
    pub(super) fn always_matches(&self, rule: &Rule) -> bool {
        acts_always(rule) && rule.conditions.iter().all(|condition| self.always_meets(condition))
    }

    /// True if one of the rules `before` a rule of stage `stage` keeps all of this traffic from it, and passes it.
    pub(super) fn has_pinhole(&self, before: &[Rule], stage: Stage) -> bool {
        before.iter().any(|rule| {
            rule.action.kind().lets_through()
                && rule.action.skips(rule.stage, stage)
                && !rule.conditions.is_empty()
                && self.always_matches(rule)
        })
    }
}

/// Anomalies with which one message passes for another.
const DISGUISES: u32 = anomaly::CONTROL_CHARACTER
    | anomaly::DUPLICATE_HEADER
    | anomaly::MALFORMED_HEADER
    | anomaly::MALFORMED_START_LINE
    | anomaly::NUMBER_IN_ROUTE
    | anomaly::SEVERAL_MESSAGES
    | anomaly::UNSUPPORTED_VERSION
    | anomaly::URGENT_DATA
    | anomaly::NOT_SIP
    | anomaly::SPLIT_MESSAGE
    | anomaly::CUT_START_LINE;

/// True if a rule acts whenever its conditions hold: a rule in report mode never does, one with a rate only above that, and one
/// with hours or a last day only then.
pub(super) fn acts_always(rule: &Rule) -> bool {
    !rule.report && rule.over.is_none() && !rule.is_timed()
}

/// True if a rule drops what it matches.
pub(super) fn blocks(rule: &Rule) -> bool {
    rule.action.kind().drops() && !rule.report
}
