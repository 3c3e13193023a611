//! Limits (`over`), naively: every packet that was let through is remembered, and every window that ends now is looked at.

use std::{collections::HashMap, sync::Arc};

use filter_core::{
    layout::{Count, Dialog, Method, Per, Text},
    limits::{CALL_INVITES, CALL_TIME},
};
use filter_policy::{
    language::{action::Action, tcp::OnTcp},
    model::{Over, Policy},
};

use crate::evaluate::{Readings, evaluate, in_addresses, upstream};

/// What was let through, and the calls that are known.
#[derive(Debug, Default)]
pub struct Limits {
    /// The time, in nanoseconds.
    pub now: u64,
    /// When packets of a rule and of a value were within the limit.
    within: HashMap<(usize, String), Vec<u64>>,
    /// Of a rule's call: when it began, how many of its INVITEs have come, and whether it was over the limit.
    calls: HashMap<(usize, String), (u64, u32, bool)>,
}

impl Limits {
    /// The rules whose limit this packet exceeds. It counts for those that it reaches.
    pub fn exceeded(&mut self, policy: &Policy, readings: &Readings) -> Vec<usize> {
        let mut readings = readings.clone();
        for (index, rule) in policy.rules.iter().enumerate() {
            let Some(over) = &rule.over else { continue };
            // Does the walk get to this rule, and does everything else in it hold?
            let mut until = policy.clone();
            until.rules.truncate(index + 1);
            let last = until.rules.last_mut().expect("it was not cut off");
            (last.over, last.report, last.action, last.tcp) = (None, false, Action::Drop, OnTcp::DropConnection);
            let is_counted = match over.counts {
                Count::Packets => readings.is_message || !crate::evaluate::counts_messages(over),
                Count::Calls => {
                    readings.is_message && readings.method == Method::Invite && readings.dialog == Dialog::Initial
                }
            };
            if is_counted && evaluate(&until, &readings).rule == Some(index) && self.is_over(policy, index, &readings) {
                readings.exceeded.push(index);
            }
        }
        readings.exceeded
    }

    fn is_over(&mut self, policy: &Policy, rule: usize, readings: &Readings) -> bool {
        let Some(over) = &policy.rules[rule].over else { return false };
        let value = value(policy, over, readings);
        let Some(call_id) = &readings.texts[Text::CallId.index()] else { return self.is_rate_over(rule, over, value) };
        if over.counts == Count::Packets {
            return self.is_rate_over(rule, over, value);
        }
        let called = [Text::RequestUser, Text::RequestHost].map(|text| readings.texts[text.index()].clone());
        let call = (rule, format!("{value} {} {call_id:?} {called:?}", readings.source));
        if let Some((began, invites, was_over)) = self.calls.get_mut(&call)
            && self.now - *began < CALL_TIME
            && *invites < CALL_INVITES
        {
            *invites += 1;
            return *was_over;
        }
        let is_over = self.is_rate_over(rule, over, value);
        self.calls.insert(call, (self.now, 1, is_over));
        is_over
    }

    fn is_rate_over(&mut self, rule: usize, over: &Over, value: String) -> bool {
        let within = self.within.entry((rule, value)).or_default();
        let is_over = within.iter().enumerate().any(|(first, began)| {
            // With this one, in the window that began with that one: more than the burst and what the rate brings in its time.
            let packets = (within.len() - first + 1) as u128;
            let brought = u128::from(self.now - began) * u128::from(over.count);
            packets * u128::from(over.period) > u128::from(over.burst) * u128::from(over.period) + brought
        });
        if !is_over {
            within.push(self.now);
        }
        is_over
    }
}

/// What is counted separately, in words.
fn value(policy: &Policy, over: &Over, readings: &Readings) -> String {
    let source = format!("source {}", readings.source);
    let number = |number: &Option<String>, digits: u8| match number {
        None => source.clone(),
        Some(number) => {
            let number = number.trim_start_matches('+');
            let digits = if digits == 0 { number.len() } else { number.len().min(digits.into()) };
            format!("number {}", &number[..digits])
        }
    };
    match over.per {
        Per::Rule => String::new(),
        Per::Source => source,
        Per::SourcePrefix => {
            let longest = if readings.source.is_ipv4() { 32 } else { 128 };
            format!("prefix {}", ipnet::IpNet::new(readings.source, over.prefix.min(longest)).expect("it fits").trunc())
        }
        Per::Destination => format!("destination {}", readings.destination),
        Per::Calling | Per::CallingPrefix => number(&readings.numbers.calling, over.prefix),
        Per::Called | Per::CalledPrefix => number(&readings.numbers.called, over.prefix),
        Per::SourceCalled => match &readings.numbers.called {
            None => source,
            Some(called) => format!("{source} calls {}", called.trim_start_matches('+')),
        },
        Per::Upstream => {
            let upstream = upstream(policy, readings.source).map(|upstream| upstream.name.as_str());
            let labelled = policy.labelled.iter().filter(|list| in_addresses(&[Arc::clone(list)], readings.source));
            // The first label in the order of the alphabet.
            let label = labelled.filter_map(|list| list.label.as_deref()).min();
            upstream.or(label).map_or(source, |name| format!("upstream {name}"))
        }
        Per::UserAgent => match &readings.texts[Text::UserAgent.index()] {
            None => source,
            Some(agent) => format!("agent {}", agent.escape_ascii()),
        },
    }
}
