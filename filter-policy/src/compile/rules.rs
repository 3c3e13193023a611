//! Rules as the engine walks them, and what they need read.

use filter_core::{
    layout::{Count, Per, Rule, RuleSet, Transport, need, rule_flag},
    rate::cell,
};

use super::{CompileError, CompileErrorKind, rule_set};
use crate::{
    language::{action::Action, tcp::OnTcp},
    model::{self, Condition, Identity, NumberingPlan, Policy, Test},
};

/// The rules without their conditions, which are bits in rows.
pub(super) fn rules(policy: &Policy, errors: &mut Vec<CompileError>) -> Vec<Rule> {
    let mut compiled = Vec::with_capacity(policy.rules.len());
    for rule in &policy.rules {
        let mut flags = 0;
        if rule.report {
            flags |= rule_flag::REPORT;
        } else if rule.action.kind().ends_walk() {
            flags |= rule_flag::FINAL;
        }
        if needs_message(rule) || rule.conditions.iter().any(|condition| condition.test.is_about_payload()) {
            flags |= rule_flag::MESSAGE;
        }
        if is_late(rule) {
            flags |= rule_flag::LATE;
        }
        if flags & rule_flag::MESSAGE != 0 && !rule.report && rule.action.kind().drops() {
            flags |= match rule.tcp {
                OnTcp::DropStrangers => rule_flag::TCP_TRUSTED,
                OnTcp::Pass => rule_flag::TCP_PASS,
                OnTcp::DropConnection => 0,
            };
        }
        let (ban_ipv4, ban_ipv6) = ban_lengths(&rule.action);
        let (mut over_interval, mut over_burst, mut over_per, mut over_prefix, mut over_count) = (0, 0, 0, 0, 0);
        if let Some(over) = &rule.over {
            flags |= rule_flag::OVER;
            match cell::interval(over.count, over.period) {
                Some(interval) => {
                    over_interval = interval;
                    over_burst = cell::tolerance(interval, over.burst);
                }
                None => errors.push(CompileErrorKind::ZeroRate(rule.name.clone()).at(&rule.origin)),
            }
            (over_per, over_prefix, over_count) = (over.per.number(), over.prefix, over.counts.number());
        }
        compiled.push(Rule {
            after: after(policy, rule),
            action: rule.action.kind().number(),
            flags,
            // Until it is loaded: rates are counted by slot, and two rules must not share them.
            slot: compiled.len() as u16,
            argument: rule.action.argument(),
            over_interval,
            over_burst,
            over_per,
            over_prefix,
            ban_ipv4,
            ban_ipv6,
            over_count,
            over_size: cell::size_code(over_interval, over_burst),
            reserved: [0; 2],
        });
    }
    compiled
}

/// The lengths of the prefixes that an action bans, as [`BanKey::length`](filter_core::layout::BanKey::length) counts; 0 if it bans
/// nothing.
pub(super) fn ban_lengths(action: &Action) -> (u8, u8) {
    action.banned_prefixes().map_or((0, 0), |(ipv4, ipv6)| (96 + ipv4, ipv6))
}

/// The rules that remain in the walk after this one has acted.
fn after(policy: &Policy, rule: &model::Rule) -> RuleSet {
    if rule.report {
        return rule_set::ALL_BITS;
    }
    if rule.action.kind().ends_walk() {
        return rule_set::NONE;
    }
    let mut after = rule_set::ALL_BITS;
    for (index, other) in policy.rules.iter().enumerate() {
        if rule.action.skips(rule.stage, other.stage) {
            rule_set::remove(&mut after, index);
        }
    }
    after
}

/// True if the rule can only match a message: it has a condition (other than an anomaly or the kind of payload) or a rate on a
/// message's content.
fn needs_message(rule: &model::Rule) -> bool {
    let condition = |condition: &Condition| {
        condition.test.is_about_payload() && !matches!(condition.test, Test::Anomaly(_) | Test::Payload(_))
    };
    rule.conditions.iter().any(condition) || rule.over.as_ref().is_some_and(model::Over::needs_message)
}

/// True if the first reading of a message does not answer everything that the rule asks, see [`rule_flag::LATE`].
fn is_late(rule: &model::Rule) -> bool {
    let condition = |condition: &Condition| match &condition.test {
        Test::Destination(_)
        | Test::Method(_)
        | Test::Payload(_)
        | Test::Port(_)
        | Test::Source(_)
        | Test::Transport(_) => false,
        Test::Country(identity, _)
        | Test::Format(identity, _)
        | Test::Number(identity, _)
        | Test::Region(identity, _)
        | Test::Spid(identity, _) => *identity != Identity::Called,
        Test::Text(text, _) => !text.is_first(),
        Test::Anomaly(_)
        | Test::AnyIdentity(_)
        | Test::Attestation(_)
        | Test::CallerAllowed(_)
        | Test::CallingPrivacy(_)
        | Test::Dialog(_)
        | Test::Neighbor(_)
        | Test::Passport(_)
        | Test::Reputation(..)
        | Test::Verstat(_) => true,
    };
    let rate = rule.over.as_ref().is_some_and(|over| {
        let by_called = matches!(over.per, Per::Called | Per::CalledPrefix | Per::SourceCalled);
        over.needs_message() && (!by_called || over.counts == Count::Calls)
    });
    rule.conditions.iter().any(condition) || rate
}

/// The number that a rate is counted by.
fn per_number(per: Per) -> Option<Identity> {
    match per {
        Per::Called | Per::CalledPrefix | Per::SourceCalled => Some(Identity::Called),
        Per::Calling | Per::CallingPrefix => Some(Identity::Calling),
        Per::Destination | Per::Rule | Per::Source | Per::SourcePrefix | Per::Upstream | Per::UserAgent => None,
    }
}

/// The [`need`] bits for which a number is read.
const NUMBERS: u32 = need::CALLING
    | need::CALLED
    | need::FORWARDED
    | need::FROM_NUMBER
    | need::ASSERTED_NUMBER
    | need::PREFERRED_NUMBER
    | need::TO_NUMBER
    | need::ANY_IDENTITY
    | need::VERSTAT;

/// The policy's [`need`] bits, and the rules that need the message read.
pub(super) fn needs(policy: &Policy) -> (u32, RuleSet) {
    let mut needs = 0;
    let mut message_rules = rule_set::NONE;
    for (index, rule) in policy.rules.iter().enumerate() {
        for condition in &rule.conditions {
            needs |= match &condition.test {
                Test::Anomaly(_) => need::ANOMALY | need::MESSAGE,
                Test::AnyIdentity(_) => need::ANY_IDENTITY,
                Test::Attestation(_) => need::ATTESTATION,
                // Whose numbers are asked about is a property of the source.
                Test::CallerAllowed(_) => need::CALLING | need::SOURCE,
                Test::CallingPrivacy(_) => need::CALLING_PRIVACY,
                Test::Country(identity, _)
                | Test::Number(identity, _)
                | Test::Region(identity, _)
                | Test::Spid(identity, _) => number_need(*identity),
                Test::Destination(_) => need::DESTINATION,
                Test::Dialog(_) => need::DIALOG,
                // A format is a property of the number's class, so the number is looked up.
                Test::Format(Identity::Called, _) => need::CALLED_FORMAT | need::CALLED,
                Test::Format(..) => need::CALLING_FORMAT | need::CALLING,
                Test::Method(_) => need::METHOD,
                Test::Neighbor(_) => need::NEIGHBOR | need::CALLING | need::CALLED,
                Test::Passport(_) => need::PASSPORT,
                Test::Payload(_) => need::PAYLOAD | need::MESSAGE,
                Test::Port(_) | Test::Transport(_) => need::SERVICE,
                Test::Reputation(..) => need::CALLING,
                Test::Source(_) => need::SOURCE,
                Test::Text(..) => 0,
                Test::Verstat(_) => need::VERSTAT,
            };
        }
        if let Some(over) = &rule.over {
            needs |= need::RATES | per_number(over.per).map_or(0, number_need);
            needs |= if over.per == Per::Upstream { need::SOURCE } else { 0 };
            if over.counts == Count::Calls {
                needs |= need::DIALOG;
            }
        }
        if rule.action.banned_prefixes().is_some() {
            needs |= need::BANS;
        }
        if needs_message(rule) {
            needs |= need::MESSAGE | need::METHOD;
            rule_set::insert(&mut message_rules, index);
            if !rule.report && rule.action.kind().ends_walk() && !is_late(rule) {
                needs |= need::FIRST_READING;
            }
        }
    }
    if policy.numbering.called_from_to {
        needs |= need::CALLED_FROM_TO;
    }
    if needs & (need::CALLING | need::CALLING_PRIVACY | need::VERSTAT) != 0
        && !policy.numbering.asserted_identity_from.is_empty()
    {
        // Whether it is believed is a property of the source.
        needs |= need::ASSERTED_IDENTITY | need::SOURCE;
    }
    let numbering = &policy.numbering;
    if !numbering.plans.is_empty() {
        // Which one applies is a property of the source.
        needs |= need::PLANS | if needs & NUMBERS != 0 { need::SOURCE } else { 0 };
    }
    let has_prefixes = |plan: &NumberingPlan| !plan.strip.is_empty() || !plan.outside_prefix.is_empty();
    if has_prefixes(&numbering.plan) || numbering.plans.iter().any(|(_, plan)| has_prefixes(plan)) {
        needs |= need::STRIP;
    }
    if !policy.never_ban.is_empty() {
        // Bans are made by hand, too.
        needs |= need::SOURCE;
    }
    if policy.ports.iter().any(|&(_, transport)| transport != Transport::Udp) {
        needs |= need::TCP;
        if !policy.numbering.asserted_identity_from.is_empty() && needs & need::MESSAGE != 0 {
            // Trusted sources' connections are spared, see [`rule_flag::TCP_TRUSTED`].
            needs |= need::SOURCE;
        }
    }
    (needs, message_rules)
}

/// The [`need`] bit of a number.
pub(super) fn number_need(identity: Identity) -> u32 {
    match identity {
        Identity::Asserted => need::ASSERTED_NUMBER,
        Identity::Called => need::CALLED,
        Identity::Calling => need::CALLING,
        Identity::Forwarded => need::FORWARDED,
        Identity::From => need::FROM_NUMBER,
        Identity::Preferred => need::PREFERRED_NUMBER,
        Identity::To => need::TO_NUMBER,
    }
}

/// The value of [`filter_core::layout::address_flag::DECIDER`] for a source that satisfies these rules.
pub(super) fn decider(policy: &Policy, rules: &[Rule], satisfied: &RuleSet) -> u32 {
    let Some(first) = rule_set::lowest(satisfied) else { return 0 };
    let asks_for_more =
        policy.rules[first].conditions.iter().any(|condition| !matches!(condition.test, Test::Source(_)));
    // One that is off leaves the packet to the rules after it.
    let asks_for_more = asks_for_more || policy.rules[first].is_timed();
    let decides = rules[first].flags & (rule_flag::FINAL | rule_flag::REPORT | rule_flag::OVER) == rule_flag::FINAL;
    if decides && !asks_for_more { first as u32 + 1 } else { 0 }
}
