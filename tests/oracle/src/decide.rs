//! The naive decision: from a frame to a reason, one step at a time.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use filter_core::{
    layout::{Dialog, Payload, Per, Transport, anomaly},
    reason::{Reason, Verdict},
    scratch::Kind,
};
use filter_policy::{
    language::{action::Action, stage::Stage},
    model::{Policy, Rule, Test},
};

use crate::{
    evaluate::{self, Outcome, Readings},
    read::{FragmentKey, Frame, Message, Packet, Unreadable, read_frame, read_payload},
};

/// The decision about one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub reason: Reason,
    pub rule: Option<usize>,
    /// Rules in report mode that matched, in order.
    pub would: Vec<usize>,
    /// All rules that matched, in order.
    pub matched: Vec<usize>,
}

impl Decision {
    fn without_rule(reason: Reason) -> Self {
        Self { reason, rule: None, would: Vec::new(), matched: Vec::new() }
    }
}

/// State kept from one packet to the next.
#[derive(Debug, Default)]
pub struct Memory {
    /// Whether the first fragment was dropped.
    fragments: HashMap<FragmentKey, bool>,
    flows: HashSet<FlowKey>,
    banned: HashSet<IpAddr>,
}
type FlowKey = (IpAddr, IpAddr, u16, u16);

/// Decides about a frame. The message is returned if deciding needed it.
///
/// With `inspect`, messages are read even if no rule needs them.
pub fn decide(policy: &Policy, inspect: bool, memory: &mut Memory, frame: &[u8]) -> (Decision, Option<Message>) {
    let packet = match read_frame(frame, &policy.ports) {
        Frame::Other(reason, fragment) => {
            fragment.map(|key| memory.fragments.insert(key, false));
            return (Decision::without_rule(reason), None);
        }
        Frame::LaterFragment(packet, key) => {
            let decision = match memory.fragments.get(&key) {
                Some(true) => Decision::without_rule(Reason::FragmentOfDropped),
                Some(false) => Decision::without_rule(Reason::FragmentLater),
                None => decide_unreadable(policy, memory, &packet),
            };
            return (decision, None);
        }
        Frame::Unreadable(packet) => {
            let decision = decide_unreadable(policy, memory, &packet);
            packet.fragment.map(|key| memory.fragments.insert(key, decision.reason.verdict() == Verdict::Drop));
            return (decision, None);
        }
        Frame::Packet(packet) => packet,
    };
    let flow = (packet.source, packet.destination, packet.source_port, packet.port);
    let is_stream = packet.transport != Transport::Udp;
    if is_stream && packet.opens {
        // A new connection on the same ports: the old verdict no longer applies.
        memory.flows.remove(&flow);
    }
    if is_stream && memory.flows.contains(&flow) {
        packet.fragment.map(|key| memory.fragments.insert(key, true));
        return (Decision::without_rule(Reason::FlowOfDropped), None);
    }
    if memory.banned.contains(&packet.source) {
        packet.fragment.map(|key| memory.fragments.insert(key, true));
        return (Decision::without_rule(Reason::Banned), None);
    }
    let mut message = read_payload(policy, &packet);
    if is_stream && !message.is_sip() && message.kind != Kind::KeepAlive {
        // This may be the rest of a message from an earlier segment: its anomalies mean nothing.
        message.anomalies &= anomaly::TINY_FIRST_FRAGMENT | anomaly::CUT_START_LINE;
    }
    let readings = readings(&packet, &message);
    let outcome = evaluate::evaluate(policy, &readings);
    let before_message = outcome.rule.is_some() && !needs_message(policy, &readings, &outcome);
    let reason = match (outcome.rule, message.kind) {
        (Some(_), _) | (None, Kind::Request | Kind::Response) => outcome.reason,
        // In a stream, the default applies to messages only.
        (None, Kind::Empty) if is_stream => Reason::StreamWithoutMessage,
        (None, Kind::KeepAlive)
            if is_stream && (inspect || policy.default_drop || policy.rules.iter().any(asks_message)) =>
        {
            Reason::StreamWithoutMessage
        }
        // If no rule is about messages, it does not matter whether this is one.
        (None, _) if is_stream && !inspect && !policy.default_drop && !policy.rules.iter().any(asks_message) => {
            outcome.reason
        }
        (None, _) if is_stream => Reason::MidMessage,
        (None, _) => outcome.reason,
    };
    ban(policy, memory, packet.source, reason, outcome.rule);
    if reason.verdict() == Verdict::Drop {
        packet.fragment.map(|key| memory.fragments.insert(key, true));
        let is_read = !before_message && (message.is_sip() || message.kind == Kind::KeepAlive);
        if packet.transport == Transport::Tcp && is_read {
            memory.flows.insert(flow);
        }
    } else if let Some(key) = packet.fragment {
        memory.fragments.insert(key, false);
    }
    (decision(reason, outcome), (!before_message).then_some(message))
}

fn decision(reason: Reason, outcome: Outcome) -> Decision {
    let mut matched = [outcome.would.clone(), outcome.pinholes, outcome.rule.into_iter().collect()].concat();
    matched.sort_unstable();
    Decision { reason, rule: outcome.rule, would: outcome.would, matched }
}

/// Decides about a packet of which only the addresses can be read, and perhaps the port.
fn decide_unreadable(policy: &Policy, memory: &mut Memory, packet: &Unreadable) -> Decision {
    if memory.banned.contains(&packet.source) {
        return Decision::without_rule(Reason::Banned);
    }
    let readings = Readings {
        source: packet.source,
        destination: packet.destination,
        service: packet.service,
        is_message: false,
        payload: Payload::None,
        ..Readings::default()
    };
    let outcome = evaluate::evaluate(policy, &readings);
    // The default is for messages.
    let reason = if outcome.rule.is_some() { outcome.reason } else { packet.reason };
    ban(policy, memory, packet.source, reason, outcome.rule);
    decision(reason, outcome)
}

/// Bans the source if a rule says so.
fn ban(policy: &Policy, memory: &mut Memory, source: IpAddr, reason: Reason, rule: Option<usize>) {
    if let Some(rule) = rule.filter(|_| reason == Reason::RuleBan)
        && matches!(policy.rules[rule].action, Action::Ban { seconds: 1.. })
        && !evaluate::in_addresses(&policy.never_ban, source)
    {
        memory.banned.insert(source);
    }
}

/// True if evaluating the rules, up to the one that decided, needed the message.
fn needs_message(policy: &Policy, readings: &Readings, outcome: &Outcome) -> bool {
    let mut skipped: Vec<Stage> = Vec::new();
    for (index, rule) in policy.rules.iter().enumerate() {
        if Some(index) > outcome.rule {
            break;
        }
        if skipped.contains(&rule.stage) || !packet_conditions_hold(policy, rule, readings) {
            continue;
        }
        if asks_message(rule) || Some(index) == outcome.rule {
            return asks_message(rule);
        }
        if outcome.pinholes.contains(&index) {
            skipped.push(rule.stage);
            if rule.action == Action::BypassFraudControl {
                skipped.push(Stage::Fraud);
            }
        }
    }
    false
}

fn is_packet_test(test: &Test) -> bool {
    matches!(test, Test::Source(_) | Test::Destination(_) | Test::Transport(_) | Test::Port(_))
}

fn packet_conditions_hold(policy: &Policy, rule: &Rule, readings: &Readings) -> bool {
    let mut conditions = rule.conditions.iter().filter(|condition| is_packet_test(&condition.test));
    conditions.all(|condition| evaluate::holds(policy, condition, readings))
}

fn asks_message(rule: &Rule) -> bool {
    let of_number = |per: Per| matches!(per, Per::Called | Per::CalledPrefix | Per::Calling | Per::CallingPrefix);
    rule.conditions.iter().any(|condition| !is_packet_test(&condition.test))
        || rule.over.as_ref().is_some_and(|over| of_number(over.per))
}

/// The values that conditions are evaluated on.
fn readings(packet: &Packet, message: &Message) -> Readings {
    Readings {
        source: packet.source,
        destination: packet.destination,
        service: Some((packet.port, packet.transport)),
        is_message: message.is_sip(),
        anomalies: message.anomalies,
        method: message.method,
        texts: message.texts.clone(),
        numbers: message.numbers.clone(),
        calling_format: message.calling_format,
        called_format: message.called_format,
        attestation: message.attestation,
        verstat: message.verstat,
        payload: payload(packet.transport, message.kind),
        privacy: message.privacy,
        dialog: if message.to_tag { Dialog::Within } else { Dialog::Initial },
        passports: message.passports,
        exceeded: Vec::new(),
    }
}

/// What the packet carries. A TCP segment without a start line may be the rest of a message: nothing is said about it.
pub fn payload(transport: Transport, kind: Kind) -> Payload {
    let is_stream = transport != Transport::Udp;
    match kind {
        Kind::Request | Kind::Response => Payload::Sip,
        Kind::KeepAlive => Payload::KeepAlive,
        Kind::Stun if !is_stream => Payload::Stun,
        Kind::NotSip if !is_stream => Payload::Other,
        _ => Payload::None,
    }
}
