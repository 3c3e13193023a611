//! Counting what a rule matched, and telling the daemon of it.

use crate::{
    evaluate,
    host::Host,
    layout::{Rule, Text, rule_flag},
    limits::EVENT_TEXT,
    scratch::{Kind, NumberOf, Scratch, Span, extent},
    text,
};

/// log2 of the nanoseconds of the window that events are limited in: about 1.07 s.
const WINDOW_SHIFT: u32 = 30;

/// Counts a match of `rule`, and emits an event where the rule's share of events is not used up. Pinholes are counted only:
/// an event tells of a packet that was, or would have been, dropped.
#[inline(always)]
pub fn matched<'m, H: Host<'m>>(host: H, s: &mut Scratch, rule: &Rule) {
    let bytes = s.packet_length as u64;
    let is_event = rule.action().drops();
    let is_whole = s.message_read != extent::FIRST;
    let limit = host.config().events_per_second as u64;
    let window = if is_event { s.now(host) >> WINDOW_SHIFT } else { 0 };
    let mut emits = false;
    host.count_rule(s.rule, rule.slot as u32, |counter| {
        counter.packets += 1;
        counter.bytes += bytes;
        if !is_event {
            return;
        }
        if counter.window != window {
            counter.window = window;
            counter.window_events = 0;
        }
        // One about a message that has not been read whole (the window began just now) would say what an earlier one said.
        if counter.window_events < limit && is_whole {
            counter.window_events += 1;
            emits = true;
        } else {
            counter.events_suppressed += 1;
        }
    });
    if emits {
        emit(host, s, rule);
    }
}

/// True if a match of `rule` now would emit an event.
#[inline(always)]
pub fn is_due<'m, H: Host<'m>>(host: H, s: &mut Scratch, rule: &Rule) -> bool {
    let limit = host.config().events_per_second as u64;
    if !rule.action().drops() || limit == 0 {
        return false;
    }
    let window = s.now(host) >> WINDOW_SHIFT;
    let mut is_due = false;
    host.look_at_rule(rule.slot as u32, |counter| is_due = counter.window != window || counter.window_events < limit);
    is_due
}

#[inline(never)]
fn emit<'m, H: Host<'m>>(host: H, s: &mut Scratch, rule: &Rule) {
    let now = s.now(host);
    fill(s, rule, now);
    if !host.emit(&s.event) {
        host.count_rule(s.rule, rule.slot as u32, |counter| counter.events_lost += 1);
    }
}

#[inline(always)]
fn fill(s: &mut Scratch, rule: &Rule, now: u64) {
    let is_message = s.kind == Kind::Request as u32 || s.kind == Kind::Response as u32;
    let message = is_message && s.message_read == extent::WHOLE;
    s.event.time = now;
    s.event.calling = if message { s.numbers[NumberOf::Calling as usize].key } else { 0 };
    s.event.called = if message { s.numbers[NumberOf::Called as usize].key } else { 0 };
    s.event.source = s.source;
    s.event.destination = s.destination;
    s.event.source_port = s.source_port;
    s.event.destination_port = s.destination_port;
    s.event.slot = rule.slot as u32;
    s.event.length = s.packet_length;
    s.event.anomalies = s.anomalies;
    s.event.action = rule.action;
    s.event.reason = evaluate::reason(rule).number();
    s.event.report = (rule.flags & rule_flag::REPORT != 0) as u8;
    s.event.transport = s.transport as u8;
    s.event.method = s.method as u8;
    s.event.attestation = s.attestation as u8;
    let user_agent = if message { text::span(s, Text::UserAgent).unwrap_or_default() } else { Span::default() };
    let call_id = if message { text::span(s, Text::CallId).unwrap_or_default() } else { Span::default() };
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
