//! The naive decision: from a frame to a reason, one step at a time.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use filter_core::{
    layout::{Dialog, Payload, Transport, anomaly},
    reason::{Reason, Verdict},
    scratch::Kind,
};
use filter_policy::{
    language::{action::Action, stage::Stage},
    model::{Policy, Rule},
};
use ipnet::IpNet;

use jiff::Timestamp;

use crate::{
    evaluate::{self, Outcome, Readings},
    limits::Limits,
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
    flows: HashMap<FlowKey, Flow>,
    banned: HashSet<IpNet>,
    /// Bans that an emergency call has suspended.
    suspended: HashSet<IpNet>,
    /// The time; none if all rules are on, whatever their hours are.
    at: Option<Timestamp>,
    /// Limits. They count what other packets' bans and connections then drop, too: policies with bans are compared without limits.
    pub limits: Limits,
}

type FlowKey = (IpAddr, IpAddr, u16, u16);

/// What is known about a TCP connection.
#[derive(Clone, Copy, Debug)]
enum Flow {
    /// Its first byte has this sequence number.
    Opened(u32),
    /// The segment with this sequence number was dropped.
    Dropped(u32),
}

/// Segments that begin this many bytes after a dropped one, or earlier, are dropped too.
const FLOW_WINDOW: u32 = 65_535;

/// Segments of this many bytes may be as long as their path allows.
const FULL_SEGMENT: usize = 1_000;

impl Memory {
    /// Before the first packet, at this time.
    #[must_use]
    pub fn at(time: Timestamp) -> Self {
        Self { at: Some(time), ..Self::default() }
    }

    /// Notes a new connection. True if the packet holds a connection's first bytes.
    fn is_first(&mut self, flow: FlowKey, packet: &Packet) -> bool {
        if packet.opens {
            self.flows.insert(flow, Flow::Opened(packet.sequence.wrapping_add(1)));
            return true;
        }
        matches!(self.flows.get(&flow), Some(Flow::Opened(first)) if *first == packet.sequence)
    }

    /// True if the packet has bytes of a dropped segment, or some that follow it.
    fn is_of_dropped(&self, flow: FlowKey, packet: &Packet) -> bool {
        let Some(Flow::Dropped(dropped)) = self.flows.get(&flow) else { return false };
        let length = packet.payload.len() as u32;
        let covers = (0..length).any(|at| packet.sequence.wrapping_add(at) == *dropped);
        length != 0 && (covers || packet.sequence.wrapping_sub(*dropped) <= FLOW_WINDOW)
    }

    /// The ban that the source is in.
    fn ban_of(&self, policy: &Policy, source: IpAddr) -> Option<IpNet> {
        if evaluate::in_addresses(&policy.never_ban, source) {
            return None;
        }
        // Of several bans, the one whose rule comes first: an emergency call suspends that one.
        let networks = policy.rules.iter().filter_map(|rule| {
            let Action::Ban { prefix4, prefix6, .. } = rule.action else { return None };
            Some(network(source, prefix4, prefix6))
        });
        networks.into_iter().find(|network| self.banned.contains(network) && !self.suspended.contains(network))
    }
}

/// What a rule bans of a source's address.
fn network(source: IpAddr, prefix4: u8, prefix6: u8) -> IpNet {
    let prefix = if source.is_ipv4() { prefix4 } else { prefix6 };
    IpNet::new(source, prefix).expect("prefixes were checked").trunc()
}

/// Decides about a frame. The message is returned if deciding needed it.
///
/// With `inspect`, messages are read even if no rule needs them.
pub fn decide(policy: &Policy, inspect: bool, memory: &mut Memory, frame: &[u8]) -> (Decision, Option<Message>) {
    let (mut decision, message) = decide_enforced(policy, inspect, memory, frame);
    if policy.report {
        decision.reason = would(decision.reason);
    }
    (decision, message)
}

/// What a packet passes for under a policy in report mode, by what it would have been dropped for.
#[expect(clippy::wildcard_enum_match_arm, reason = "all others pass")]
fn would(reason: Reason) -> Reason {
    match reason {
        Reason::Banned => Reason::WouldBanned,
        Reason::DefaultDrop => Reason::WouldDefaultDrop,
        Reason::FlowOfDropped => Reason::WouldFlowOfDropped,
        Reason::FragmentOfDropped => Reason::WouldFragmentOfDropped,
        Reason::RuleBan => Reason::WouldRuleBan,
        Reason::RuleDivert => Reason::WouldRuleDivert,
        Reason::RuleDrop => Reason::WouldRuleDrop,
        Reason::RuleReject => Reason::WouldRuleReject,
        passing => passing,
    }
}

/// As [`decide`], as if the policy were enforced, except that nothing is banned in report mode.
fn decide_enforced(policy: &Policy, inspect: bool, memory: &mut Memory, frame: &[u8]) -> (Decision, Option<Message>) {
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
    let is_first = is_stream && memory.is_first(flow, &packet);
    let mut message = read_payload(policy, &packet);
    if is_stream && !message.is_sip() && message.kind != Kind::KeepAlive {
        // This may be the rest of a message from an earlier segment: its anomalies mean nothing.
        message.anomalies &= anomaly::TINY_FIRST_FRAGMENT | anomaly::CUT_START_LINE;
    }
    if packet.urgent && !packet.is_closed() && !packet.payload.is_empty() {
        message.anomalies |= anomaly::URGENT_DATA;
    }
    let is_incomplete =
        if message.is_sip() { anomaly::HEADERS_BEYOND_INSPECTED_LENGTH } else { anomaly::CUT_START_LINE };
    if is_first && message.anomalies & is_incomplete != 0 && packet.payload.len() < FULL_SEGMENT {
        message.anomalies |= anomaly::SPLIT_MESSAGE;
    }
    let mut readings = readings(policy, memory, &packet, &message);
    readings.exceeded = memory.limits.exceeded(policy, &readings);
    let outcome = evaluate::evaluate(policy, &readings);
    let before_message = outcome.rule.is_some() && !needs_message(policy, &readings, &outcome);
    if !before_message && let Some(reason) = shared_reason(policy, memory, flow, &packet, &message) {
        packet.fragment.map(|key| memory.fragments.insert(key, true));
        return (shared_decision(policy, &readings, reason), None);
    }
    let reason = match (outcome.rule, message.kind) {
        (Some(_), _) | (None, Kind::Request | Kind::Response) => outcome.reason,
        // In a stream, the default applies to messages only.
        (None, Kind::Empty) if is_stream => Reason::StreamWithoutMessage,
        (None, Kind::KeepAlive)
            if is_stream && (inspect || policy.default_drop || policy.rules.iter().any(evaluate::asks_message)) =>
        {
            Reason::StreamWithoutMessage
        }
        // If no rule is about messages, it does not matter whether this is one.
        (None, _)
            if is_stream && !inspect && !policy.default_drop && !policy.rules.iter().any(evaluate::asks_message) =>
        {
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
            memory.flows.insert(flow, Flow::Dropped(packet.sequence));
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
    let readings = Readings {
        source: packet.source,
        destination: packet.destination,
        service: packet.service,
        is_message: false,
        payload: Payload::None,
        is_trusted: is_trusted(policy, packet.source),
        at: memory.at,
        ..Readings::default()
    };
    let outcome = evaluate::evaluate(policy, &readings);
    let by_addresses = outcome.rule.is_some() && !needs_message(policy, &readings, &outcome);
    if !by_addresses && memory.ban_of(policy, packet.source).is_some() {
        return shared_decision(policy, &readings, Reason::Banned);
    }
    // The default is for messages.
    let reason = if outcome.rule.is_some() { outcome.reason } else { packet.reason };
    ban(policy, memory, packet.source, reason, outcome.rule);
    decision(reason, outcome)
}

/// Bans the source if a rule says so and the policy is enforced.
fn ban(policy: &Policy, memory: &mut Memory, source: IpAddr, reason: Reason, rule: Option<usize>) {
    if let Some(rule) = rule.filter(|_| reason == Reason::RuleBan && !policy.report)
        && let Action::Ban { seconds: 1.., prefix4, prefix6 } = policy.rules[rule].action
        && !evaluate::in_addresses(&policy.never_ban, source)
    {
        memory.banned.insert(network(source, prefix4, prefix6));
    }
}

/// The reason to drop a packet for what others did, unless a rule about addresses has decided.
fn shared_reason(
    policy: &Policy,
    memory: &mut Memory,
    flow: FlowKey,
    packet: &Packet,
    message: &Message,
) -> Option<Reason> {
    let is_stream = packet.transport != Transport::Udp;
    if is_stream && !packet.opens && memory.is_of_dropped(flow, packet) {
        return Some(Reason::FlowOfDropped);
    }
    let ban = memory.ban_of(policy, packet.source)?;
    if policy.allow_emergency && packet.transport != Transport::Tls && policy.rules.iter().any(evaluate::asks_message) {
        if is_stream && packet.payload.is_empty() {
            return None;
        }
        if message.is_emergency_call {
            memory.suspended.insert(ban);
            return None;
        }
    }
    Some(Reason::Banned)
}

/// Such a decision: rules about addresses that come before any about messages have been counted.
fn shared_decision(policy: &Policy, readings: &Readings, reason: Reason) -> Decision {
    let mut before = policy.clone();
    before.rules.clear();
    for rule in &policy.rules {
        let outcome = evaluate::evaluate(&before, readings);
        let skipped = outcome.pinholes.iter().any(|&pinhole| {
            let pinhole = &policy.rules[pinhole];
            pinhole.action.skips(pinhole.stage, rule.stage)
        });
        if !skipped && evaluate::asks_message(rule) && packet_conditions_hold(policy, rule, readings) {
            break;
        }
        before.rules.push(rule.clone());
    }
    let outcome = evaluate::evaluate(&before, readings);
    let mut matched = [outcome.would.clone(), outcome.pinholes].concat();
    matched.sort_unstable();
    Decision { reason, rule: None, would: outcome.would, matched }
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
        if evaluate::asks_message(rule) || Some(index) == outcome.rule {
            return evaluate::asks_message(rule);
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

/// True if the rule is on, and all its conditions hold that need no message.
fn packet_conditions_hold(policy: &Policy, rule: &Rule, readings: &Readings) -> bool {
    if readings.at.is_some_and(|at| !evaluate::is_on(rule, at)) {
        return false;
    }
    let mut conditions = rule.conditions.iter().filter(|condition| !evaluate::is_about_message(condition));
    conditions.all(|condition| evaluate::holds(policy, condition, readings))
}

/// True for a source that is never banned, or whose asserted identity is believed.
pub fn is_trusted(policy: &Policy, source: IpAddr) -> bool {
    let lists = [&policy.never_ban, &policy.numbering.asserted_identity_from];
    lists.iter().any(|lists| evaluate::in_addresses(lists, source))
}

/// The values that conditions are evaluated on.
fn readings(policy: &Policy, memory: &Memory, packet: &Packet, message: &Message) -> Readings {
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
        is_trusted: is_trusted(policy, packet.source),
        exceeded: Vec::new(),
        at: memory.at,
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
