//! Counting the matches of a rule, and reporting them to the daemon.

use crate::{
    evaluate,
    host::{Function, FunctionKind, Host},
    layout::{NumberFormat, Rule, rule_flag},
    limits::{EVENT_TEXT, WOULD},
    scratch::{Extent, NumberOf, Scratch, Span},
    text::{self, Text},
};

/// log2 of the nanoseconds of the window that events are limited in: about 1.07 s.
const WINDOW_SHIFT: u32 = 30;

/// Counts a match of `rule`, and emits an event if the rule's share of events is not used up. Pinholes are only counted:
/// an event reports a packet that was, or would have been, dropped.
#[inline(always)]
pub(crate) fn matched<'m, H: Host<'m>>(host: H, s: &mut Scratch, rule: &Rule) {
    let bytes = s.packet.length as u64;
    let is_event = rule.action().drops();
    let limit = host.config().events_per_second as u64;
    let window = if is_event { s.now(host) >> WINDOW_SHIFT } else { 0 };
    let spared = s.walk.spared as u64;
    let reported = report(host, rule, is_event) as u64 & (spared ^ 1);
    let mut emits = false;
    host.count_rule(s.walk.rule, rule.slot as u32, |counter| {
        counter.packets += 1;
        counter.bytes += bytes;
        counter.spared += spared;
        counter.reported += reported;
        counter.reported_bytes += reported * bytes;
        if !is_event {
            return;
        }
        if counter.window != window {
            counter.window = window;
            counter.window_events = 0;
        }
        if counter.window_events < limit {
            counter.window_events += 1;
            emits = true;
        } else {
            counter.events_suppressed += 1;
        }
    });
    let place = s.walk.would_count as usize & (WOULD - 1);
    s.walk.would[place] = rule.slot;
    // (The last place is never used, so that it can be written.)
    s.walk.would_count += reported as u32 & (s.walk.would_count < WOULD as u32 - 1) as u32;
    if emits {
        emit(host, s, rule);
    }
}

#[inline(never)]
fn emit<'m, H: Host<'m>>(host: H, s: &mut Scratch, rule: &Rule) {
    if host.call::<FillEvent>(s, s.walk.rule, 0) == 0 || !host.emit(s) {
        host.count_rule(s.walk.rule, rule.slot as u32, |counter| counter.events_lost += 1);
    }
}

/// The function of the host that makes the event of the rule with this index, which has matched. 0 if there is no such rule.
///
/// It does not hand the event over: that takes the packet.
pub struct FillEvent;

impl Function for FillEvent {
    const KIND: FunctionKind = FunctionKind::FillEvent;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, index: u32, _: u32) -> u32 {
        let Some(rule) = host.rule(index) else { return 0 };
        let now = s.now(host);
        fill(s, now);
        s.event.slot = rule.slot as u32;
        s.event.action = rule.action;
        s.event.reason = evaluate::reason(rule).number();
        s.event.report = (report(host, rule, true) | s.walk.spared) as u8;
        s.event.weight = 0;
        s.event.would_count = 0;
        1
    }
}

/// 1 if the rule does not act: it is in report mode, or drops and the policy is. Pinholes of a policy in report mode act as always:
/// otherwise rules after them would count what they let through. A number: a branch would double the verifier's states.
#[inline(always)]
fn report<'m, H: Host<'m>>(host: H, rule: &Rule, drops: bool) -> u32 {
    const _: () = assert!(rule_flag::REPORT == 1);
    (rule.flags & rule_flag::REPORT) as u32 | host.config().report & drops as u32
}

/// Sets what an event says of the packet and the message.
#[inline(always)]
pub(crate) fn fill(s: &mut Scratch, now: u64) {
    s.event.time = now;
    s.event.source = s.packet.source;
    s.event.destination = s.packet.destination;
    s.event.source_port = s.packet.source_port;
    s.event.destination_port = s.packet.destination_port;
    s.event.length = s.packet.length;
    s.event.interface = s.packet.interface;
    s.event.payload_offset = s.packet.payload_offset as u16;
    s.event.payload_length = s.packet.payload_length as u16;
    s.event.transport = s.packet.transport;
    fill_message(s);
}

/// Sets what an event says of the message, if that was read to its end: of one that was read in part, the scratch memory holds values of
/// an earlier one. In the kernel only what some rule asks for is read, and only until one decides: whoever reads the events reads the
/// packet that comes with them.
#[inline(always)]
pub fn fill_message(s: &mut Scratch) {
    let message = s.message.kind.is_message() && s.message.extent == Extent::Whole;
    let numbers = [NumberOf::Calling, NumberOf::Called, NumberOf::From, NumberOf::Asserted, NumberOf::Forwarded];
    let [calling, called, from, asserted, forwarded] =
        numbers.map(|of| if message { s.message.number(of).key } else { 0 });
    (s.event.calling, s.event.called) = (calling, called);
    (s.event.from, s.event.asserted, s.event.forwarded) = (from, asserted, forwarded);
    let formats = [NumberOf::Calling, NumberOf::Called]
        .map(|of| if message { s.message.number(of).format } else { NumberFormat::Missing });
    [s.event.calling_format, s.event.called_format] = formats;
    s.event.within_dialog = (message && s.message.to_tag != 0) as u8;
    s.event.anomalies = s.message.anomalies;
    s.event.method = s.message.method;
    s.event.attestation = s.message.attestation;
    let user_agent =
        if message { text::span(&s.message, Text::UserAgent).unwrap_or_default() } else { Span::default() };
    let call_id = if message { text::span(&s.message, Text::CallId).unwrap_or_default() } else { Span::default() };
    s.event.user_agent_length = length(user_agent);
    s.event.call_id_length = length(call_id);
    for chunk in 0..EVENT_TEXT / 8 {
        let word = s.word(user_agent.start as u32 + 8 * chunk as u32);
        s.event.user_agent[8 * chunk..8 * chunk + 8].copy_from_slice(&word.to_le_bytes());
        let word = s.word(call_id.start as u32 + 8 * chunk as u32);
        s.event.call_id[8 * chunk..8 * chunk + 8].copy_from_slice(&word.to_le_bytes());
    }
}

#[inline(always)]
fn length(span: Span) -> u8 {
    let length = span.len();
    if length < EVENT_TEXT as u32 { length as u8 } else { EVENT_TEXT as u8 }
}
