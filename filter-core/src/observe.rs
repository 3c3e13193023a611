//! Sampled and captured packets: what is reported of packets apart from events.
//!
//! Events are limited by rule, and say nothing of what passes. A sample is drawn from all packets for signalling ports, with known rates, so
//! that what is counted in it can be scaled up. A captured packet comes with its bytes. Both cost a comparison while nobody listens.

use crate::{
    event,
    host::{Function, FunctionKind, Host},
    layout::{NO_RULE, Rule, STRATA, Stratum, capture},
    limits::{RULE_WORDS, WOULD},
    reason::Reason,
    scratch::{Kind, Outcome, Scratch},
};

/// log2 of the nanoseconds of the window that captures are limited in: about 1.07 s.
const WINDOW_SHIFT: u32 = 30;

/// Decides whether the packet is sampled, by what may become of it. This is known before it is read: of a sampled message, everything is
/// read that the policy needs, even if a rule decides earlier.
#[inline(always)]
pub fn begin<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    s.packet.interface = host.interface();
    let observation = host.observation();
    s.walk.sampled = [0; STRATA];
    let [passed, would, dropped] = observation.every;
    if passed | would | dropped == 0 {
        return;
    }
    let mut is_due = (s.sample_epoch != observation.epoch) as u32;
    for stratum in 0..STRATA {
        let until = s.until_sample[stratum].wrapping_sub(1);
        s.until_sample[stratum] = until;
        is_due |= (until == 0) as u32;
    }
    if is_due != 0 {
        host.call::<Draw>(s, 0, 0);
    }
}

/// The function of the host that samples the packet where its turn has come, and draws the distance to the next one. The distance is
/// random: equally spaced samples would miss what comes at regular intervals.
pub struct Draw;

impl Function for Draw {
    const KIND: FunctionKind = FunctionKind::Draw;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, _: u32, _: u32) -> u32 {
        let observation = host.observation();
        let is_new = s.sample_epoch != observation.epoch;
        s.sample_epoch = observation.epoch;
        for stratum in 0..STRATA {
            let every = observation.every[stratum];
            let until = s.until_sample[stratum];
            if until != 0 && !is_new {
                continue;
            }
            if every == 0 {
                s.walk.sampled[stratum] = 0;
                s.until_sample[stratum] = u32::MAX;
                continue;
            }
            // From 1 to twice `every` less 1: on average `every`.
            let distance = 1 + host.random() % every.wrapping_mul(2).wrapping_sub(1);
            // A distance that is drawn for the first time counts from the packet before this one.
            let is_now = !is_new || distance == 1;
            s.walk.sampled[stratum] = if is_now { every } else { 0 };
            s.until_sample[stratum] = match (is_new, is_now) {
                (true, true) => every,
                (true, false) => distance - 1,
                (false, _) => distance,
            };
        }
        0
    }
}

/// True if the packet is sampled if it passes.
#[inline(always)]
pub fn is_sampled_if_passed(s: &Scratch) -> bool {
    s.walk.sampled[Stratum::Passed.index()] | s.walk.sampled[Stratum::Would.index()] != 0
}

/// True if the whole message is to be read before this rule may decide, since the packet is sampled.
#[inline(always)]
pub fn reads_whole<'m, H: Host<'m>>(host: H, s: &Scratch, rule: &Rule) -> bool {
    let drops = rule.action().drops() && host.config().report == 0;
    if drops { s.walk.sampled[Stratum::Dropped.index()] != 0 } else { is_sampled_if_passed(s) }
}

/// True if the message of a packet that passes for this reason is to be read nevertheless, since the packet is sampled. No rule is left
/// that could match it.
#[inline(always)]
pub fn reads_on(s: &mut Scratch, reason: Reason) -> bool {
    if reason.verdict().drops() || !is_sampled_if_passed(s) {
        return false;
    }
    s.packet.settled = reason.number() as u32 + 1;
    // Bans have not been looked up.
    s.packet.banned = 0;
    s.walk.candidates = [0; RULE_WORDS];
    s.walk.outcome = Outcome::Open;
    true
}

/// Reports the packet, if that is asked for.
#[inline(always)]
pub fn end<'m, H: Host<'m>>(host: H, s: &mut Scratch, reason: Reason) {
    let observation = host.observation();
    let [passed, would, dropped] = s.walk.sampled;
    if passed | would | dropped | observation.capture == 0 {
        return;
    }
    let captures = host.call::<Observe>(s, reason.number() as u32, observation.capture);
    if captures == 0 {
        return;
    }
    let length = if s.packet.length < observation.bytes { s.packet.length } else { observation.bytes };
    let is_captured = host.capture(&s.event, length);
    host.count_observed(|observed| {
        observed.captured += is_captured as u64;
        observed.captures_lost += !is_captured as u64;
    });
}

/// The function of the host that makes the record of a packet, with the number of its [`Reason`] and the bits of [`capture`] that are
/// asked for. A sample is handed over. The answer is 1 if the packet is to be captured.
pub struct Observe;

impl Function for Observe {
    const KIND: FunctionKind = FunctionKind::Observe;

    #[inline(always)]
    fn run<'m, H: Host<'m>>(host: H, s: &mut Scratch, reason: u32, asked: u32) -> u32 {
        if reason == Reason::NotSignalling.number() as u32 {
            return 0;
        }
        let drops = match Reason::from_number(reason as u8) {
            Some(reason) => reason.verdict().drops() as u32,
            None => 0,
        };
        let would = (s.walk.would_count != 0) as u32 | (reported(reason) as u32);
        let kind = drops * capture::DROPPED + (drops ^ 1) * (would * capture::WOULD + (would ^ 1) * capture::PASSED);
        let is_request = (s.message.kind == Kind::Request) as u32;
        let stratum = if drops != 0 {
            Stratum::Dropped
        } else if would != 0 {
            Stratum::Would
        } else {
            Stratum::Passed
        };
        let stratum = host.masked::<3>(stratum.number());
        let weight = if stratum < STRATA { s.walk.sampled[stratum] } else { 0 };
        let is_sampled = weight != 0 && (drops | would | is_request) != 0;
        let now = s.now(host);
        let is_captured = asked & kind != 0 && has_room(host, s, now);
        if !is_sampled && !is_captured {
            return 0;
        }
        if s.packet.ip_version == 0 {
            // Its addresses are unknown. What is there is an earlier packet's.
            s.packet.source = [0; 16];
            s.packet.destination = [0; 16];
            s.packet.source_port = 0;
            s.packet.destination_port = 0;
        }
        event::fill(s, now);
        s.event.slot = s.walk.slot;
        s.event.action = match host.rule(s.walk.rule) {
            Some(rule) if s.walk.rule != NO_RULE => rule.action,
            _ => 0,
        };
        s.event.reason = reason as u8;
        s.event.report = 0;
        s.event.weight = weight;
        s.event.would_count = s.walk.would_count as u8;
        for place in 0..WOULD {
            s.event.would[place] = s.walk.would[place];
        }
        if is_sampled {
            let is_lost = !host.emit_sample(&s.event);
            host.count_observed(|observed| {
                if stratum < STRATA {
                    observed.sampled[stratum] += 1;
                }
                observed.samples_lost += is_lost as u64;
            });
        }
        is_captured as u32
    }
}

/// True if this is the number of a reason of report mode as a whole.
#[inline(always)]
fn reported(reason: u32) -> bool {
    match Reason::from_number(reason as u8) {
        Some(reason) => reason.is_reported(),
        None => false,
    }
}

/// Counts a packet that is to be captured against the limit of its window.
#[inline(always)]
fn has_room<'m, H: Host<'m>>(host: H, s: &mut Scratch, now: u64) -> bool {
    let window = now >> WINDOW_SHIFT;
    if s.capture_window != window {
        s.capture_window = window;
        s.captures = 0;
    }
    let has_room = s.captures < host.observation().captures;
    s.captures += has_room as u32;
    if !has_room {
        host.count_observed(|observed| observed.captures_suppressed += 1);
    }
    has_room
}
