//! Sampled and captured packets: what is reported of packets apart from events.
//!
//! Events are limited by rule, and say nothing of what passes. A sample is drawn from all packets for signalling ports, with known rates, so
//! that what is counted in it can be scaled up. A captured packet comes with its bytes. Both cost a comparison while nobody listens.

use crate::{
    event,
    host::{Function, FunctionKind, Host},
    layout::{NO_RULE, STRATA, STRATUM_PLACES, Stratum, capture},
    limits::{MAX_EVERY, RULE_WORDS, WOULD},
    reason::Reason,
    scratch::{Kind, Outcome, Scratch},
    wanted,
};

/// log2 of the nanoseconds of the window that captures are limited in: about 1.07 s.
const WINDOW_SHIFT: u32 = 30;

/// The same of the window that samples are limited in: about 0.13 s. The daemon changes the rates about as often.
const SAMPLE_SHIFT: u32 = 27;

/// log2 of the samples of a stratum in a window after which only every second one of those that would be drawn is, and so on.
const MANY: u32 = 6;

/// How often a rate is halved at most.
const HALVED: u32 = 10;

/// Decides whether the packet is sampled, by what may become of it. This is known before it is read: see [`reads_on`].
#[inline(always)]
pub fn begin<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    s.packet.interface = host.interface();
    let observation = host.observation();
    s.walk.sampled = [0; STRATUM_PLACES];
    let [passed, would, dropped] = observation.every;
    if passed | would | dropped == 0 {
        return;
    }
    let mut is_due = (s.sample_epoch != observation.epoch) as u32;
    for stratum in 0..STRATA {
        let until = s.until_sample[stratum];
        let is_each = (until == 0) as u32;
        s.walk.sampled[stratum] = is_each;
        s.until_sample[stratum] = until.wrapping_sub(is_each ^ 1);
        is_due |= (until == 1) as u32;
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
        let window = s.now(host) >> SAMPLE_SHIFT;
        if s.sample_window != window {
            s.sample_window = window;
            s.samples = [0; STRATUM_PLACES];
        }
        for stratum in 0..STRATA {
            let every = observation.every[stratum];
            // (`begin` has counted down to 0 where the turn has come, and left the 0 where each packet is sampled.)
            let is_turn = s.until_sample[stratum] == 0;
            if every == 0 {
                s.walk.sampled[stratum] = 0;
                s.sample_rate[stratum] = 0;
                s.until_sample[stratum] = u32::MAX;
                continue;
            }
            let halved = s.samples[stratum] >> MANY;
            let halved = if halved < HALVED { halved } else { HALVED };
            let every = if every < MAX_EVERY { every } else { MAX_EVERY };
            let rate = every << halved;
            let before = s.sample_rate[stratum];
            let is_redrawn = is_new && before != rate;
            if !is_turn && !is_redrawn {
                continue;
            }
            s.sample_rate[stratum] = rate;
            if rate == 1 {
                s.walk.sampled[stratum] = 1;
                s.until_sample[stratum] = 0;
                continue;
            }
            // From 1 to twice the rate less 1: on average the rate.
            let longest = rate.wrapping_mul(2).wrapping_sub(1);
            let distance = 1 + host.random() % longest;
            if !is_redrawn {
                s.walk.sampled[stratum] = before;
                s.until_sample[stratum] = distance;
                continue;
            }
            // The packet is somewhere between two samples. How far it is to the next one is distributed as the smaller of two distances
            // is, nearly.
            let other = 1 + host.random() % longest;
            let first = if other < distance { other } else { distance };
            let is_now = first == 1;
            s.walk.sampled[stratum] = if is_now { rate } else { 0 };
            s.until_sample[stratum] = if is_now { distance } else { first - 1 };
        }
        0
    }
}

/// True if the packet is a sample if it passes.
#[inline(always)]
pub fn is_sampled_if_passed(s: &Scratch) -> bool {
    s.walk.sampled[Stratum::Passed.index()] != 0
}

/// True if the message of a packet that passes for this reason is to be read nevertheless. No rule is left that could match it, but only
/// requests are samples of what passes: responses and keep-alives, of which there are more, would take their places.
#[inline(always)]
pub fn reads_on(s: &mut Scratch, reason: Reason) -> bool {
    if reason.verdict().drops() || !is_sampled_if_passed(s) {
        return false;
    }
    s.packet.settled = reason.number() as u32 + 1;
    // Bans have been looked up, or are not.
    s.packet.banned = 0;
    s.walk.candidates = [0; RULE_WORDS];
    s.walk.outcome = Outcome::Open;
    true
}

/// Reports the packet, if that is asked for.
#[inline(always)]
pub fn end<'m, H: Host<'m>>(host: H, s: &mut Scratch, reason: Reason) {
    let observation = host.observation();
    let [passed, would, dropped, _] = s.walk.sampled;
    if passed | would | dropped | observation.capture == 0 {
        return;
    }
    let found = host.call::<Observe>(s, reason.number() as u32, observation.capture);
    let sampled = found >> SAMPLED;
    if sampled != 0 && !host.emit_sample(s) {
        let stratum = host.masked::<3>(sampled.wrapping_sub(1));
        host.count_observed(|observed| observed.samples_lost[stratum] += 1);
    }
    let captured = found & ((1 << SAMPLED) - 1);
    if captured == 0 {
        return;
    }
    let length = if s.packet.length < observation.bytes { s.packet.length } else { observation.bytes };
    let is_captured = host.capture(&s.event, length);
    let stratum = host.masked::<3>(captured.wrapping_sub(1));
    host.count_observed(|observed| {
        observed.captured[stratum] += is_captured as u64;
        observed.captures_lost[stratum] += !is_captured as u64;
    });
}

/// The function of the host that makes the record of a packet, with the number of its [`Reason`] and the bits of [`capture`] that are
/// asked for. The answer is 1 + the number of its [`Stratum`] if the packet is to be captured, and the same shifted by [`SAMPLED`] if it is a
/// sample; else 0.
pub struct Observe;

/// See [`Observe`].
const SAMPLED: u32 = 4;

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
        let number = stratum.number();
        let stratum = host.masked::<3>(number);
        let weight = s.walk.sampled[stratum];
        // Where no rule asks for messages, none is read here: whoever reads the samples sees whether it is a request.
        let is_unread = (!wanted::messages(host.config()) && s.message.kind == Kind::Unread) as u32;
        let is_sampled = weight != 0 && (drops | would | is_request | is_unread) != 0;
        let now = s.now(host);
        let is_captured = asked & kind != 0 && has_room(host, s, number, now);
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
            let stratum = host.masked::<3>(number);
            host.count_observed(|observed| {
                observed.sampled[stratum] += 1;
                observed.represented[stratum] += weight as u64;
            });
            let samples = s.samples[stratum].wrapping_add(1);
            s.samples[stratum] = samples;
            // Where each packet is sampled, the rate is looked at now.
            s.sample_epoch = s.sample_epoch.wrapping_sub((samples & ((1 << MANY) - 1) == 0) as u32);
        }
        (number + 1) * (is_captured as u32 | (is_sampled as u32) << SAMPLED)
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
fn has_room<'m, H: Host<'m>>(host: H, s: &mut Scratch, number: u32, now: u64) -> bool {
    let window = now >> WINDOW_SHIFT;
    if s.capture_window != window {
        s.capture_window = window;
        s.captures = [0; STRATUM_PLACES];
    }
    let stratum = host.masked::<3>(number);
    let has_room = s.captures[stratum] < host.observation().captures;
    s.captures[stratum] += has_room as u32;
    if !has_room {
        // Masked again: here the verifier knows no bound of it any more.
        let stratum = host.masked::<3>(number);
        host.count_observed(|observed| observed.captures_suppressed[stratum] += 1);
    }
    has_room
}
