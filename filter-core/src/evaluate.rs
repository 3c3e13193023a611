//! Which rules match, and what the first of them does.
//!
//! Each scope's value has a class, each class a set of rules that it satisfies; the candidates are what is left when these
//! sets are intersected. The walk goes over the candidates in file order. Every action is *count, maybe emit, then either a
//! verdict or a mask of the rules that remain*.

use crate::{
    event,
    host::{Host, Step},
    layout::{Action, Dimension, NO_RULE, Rule, RuleSet, Transport, address_flag, anomaly, need, rule_flag},
    limits::{MAX_PORTS, MAX_RULES, RULE_WORDS},
    rate,
    reason::Reason,
    remembered,
    scratch::{Extent, Outcome, Scratch, Walk},
    swar::lowest_bit,
};

/// Makes the rules that the source satisfies the candidates.
#[inline(always)]
pub fn begin<'m, H: Host<'m>>(host: H, walk: &mut Walk, source_class: u32) {
    let config = host.config();
    let words = config.words as usize;
    let row = host.row(config.rows[Dimension::Source.index()].wrapping_add(source_class));
    for word in 0..RULE_WORDS {
        if word < words {
            walk.candidates[word] = row.map_or(0, |row| row[word]);
        }
    }
    walk.begin();
}

/// Keeps the candidates that the row of `value` in a dimension's table satisfies.
#[inline(always)]
pub fn narrow<'m, H: Host<'m>>(host: H, walk: &mut Walk, dimension: Dimension, value: u32) {
    let config = host.config();
    if let Some(row) = host.row(config.rows[dimension.index()].wrapping_add(value)) {
        let words = config.words as usize;
        for word in 0..RULE_WORDS {
            if word < words {
                walk.candidates[word] &= row[word];
            }
        }
    }
}

/// Removes the rules that need a message, for a packet in which none can be read.
#[inline(never)]
pub fn without_message<'m, H: Host<'m>>(host: H, walk: &mut Walk) {
    let config = host.config();
    if let Some(row) = host.row(config.message_row) {
        remove(host, &mut walk.candidates, row);
    }
}

/// Removes the rules of a row from the candidates.
#[inline(always)]
pub(crate) fn remove<'m, H: Host<'m>>(host: H, candidates: &mut RuleSet, row: &RuleSet) {
    let words = host.config().words as usize;
    for word in 0..RULE_WORDS {
        if word < words {
            candidates[word] &= !row[word];
        }
    }
}

/// Adds the rules of a row to the hits.
#[inline(always)]
pub(crate) fn unite<'m, H: Host<'m>>(host: H, hits: &mut RuleSet, row: &RuleSet) {
    let words = host.config().words as usize;
    for word in 0..RULE_WORDS {
        if word < words {
            hits[word] |= row[word];
        }
    }
}

/// Keeps the candidates that are in the base row or among the hits.
#[inline(always)]
pub(crate) fn keep_hits<'m, H: Host<'m>>(host: H, walk: &mut Walk, base: &RuleSet) {
    let words = host.config().words as usize;
    for word in 0..RULE_WORDS {
        if word < words {
            walk.candidates[word] &= base[word] | walk.hits[word];
        }
    }
}

/// Keeps the candidates that agree with the anomalies.
#[inline(never)]
pub fn narrow_anomalies<'m, H: Host<'m>>(host: H, walk: &mut Walk, anomalies: u32) {
    walk.hits = [0; RULE_WORDS];
    if anomalies != 0 {
        host.repeat(&mut AnomalyRows { host, walk, anomalies });
    }
    let Some(base) = host.row(host.config().anomaly_row) else { return };
    keep_hits(host, walk, base);
}

struct AnomalyRows<'s, H> {
    host: H,
    walk: &'s mut Walk,
    anomalies: u32,
}

impl<'m, H: Host<'m>> Step for AnomalyRows<'_, H> {
    const TIMES: u32 = anomaly::COUNT as u32;

    #[inline(always)]
    fn step(&mut self, index: u32) -> bool {
        let (host, walk) = (self.host, &mut *self.walk);
        if self.anomalies >> (index & 31) & 1 == 0 {
            return false;
        }
        let first = host.config().anomaly_row + 1 + 2 * index;
        if let Some(hits) = host.row(first) {
            unite(host, &mut walk.hits, hits);
        }
        if let Some(vetoes) = host.row(first + 1) {
            remove(host, &mut walk.candidates, vetoes);
        }
        false
    }
}

/// Walks the candidates until one decides, one needs the message, or none is left.
#[inline(always)]
pub fn walk<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    s.walk.outcome = Outcome::Open;
    host.repeat(&mut Candidates { host, s });
}

/// As [`walk`], once the message has been read.
#[inline(never)]
pub fn walk_on<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    walk(host, s);
}

struct Candidates<'s, H> {
    host: H,
    s: &'s mut Scratch,
}

impl<'m, H: Host<'m>> Step for Candidates<'_, H> {
    const TIMES: u32 = MAX_RULES as u32 + 1;
    const AHEAD: u32 = 1;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let (host, s) = (self.host, &mut *self.s);
        if !find_candidates(host, &mut s.walk) {
            return true;
        }
        let word = s.walk.word as usize & (RULE_WORDS - 1);
        let left = s.walk.candidates[word];
        let index = word as u32 * 64 + lowest_bit(left);
        let Some(rule) = host.rule(index) else { return true };
        if rule.flags & rule_flag::MESSAGE != 0 && s.message.extent == Extent::None {
            s.walk.outcome = Outcome::NeedsMessage;
            return true;
        }
        if s.message.extent == Extent::First
            && (rule.flags & rule_flag::LATE != 0 || host.reads_whole() && rule.action().drops())
        {
            s.walk.outcome = Outcome::NeedsMessage;
            return true;
        }
        s.walk.candidates[word] = left & left.wrapping_sub(1);
        if host.config().needs & need::RATES != 0
            && rule.flags & rule_flag::OVER != 0
            && !rate::exceeded(host, s, index)
        {
            host.note_within(rule.slot as u32);
            return false;
        }
        s.walk.rule = index;
        s.walk.spared = is_spared(host, s, rule) as u32;
        event::matched(host, s, rule);
        if rule.flags & rule_flag::REPORT != 0 || s.walk.spared != 0 {
            s.walk.rule = NO_RULE;
            return false;
        }
        if rule.flags & rule_flag::FINAL != 0 {
            s.walk.reason = conclude(host, s, rule).number() as u32;
            s.walk.outcome = Outcome::Decided;
            return true;
        }
        s.walk.rule = NO_RULE;
        let words = host.config().words as usize;
        for word in 0..RULE_WORDS {
            if word < words {
                s.walk.candidates[word] &= rule.after[word];
            }
        }
        false
    }
}

/// True if the rule lets this packet pass that it would drop: nothing that follows it in its TCP connection would arrive.
#[inline(always)]
fn is_spared<'m, H: Host<'m>>(host: H, s: &Scratch, rule: &Rule) -> bool {
    let is_stream = s.packet.transport == Transport::Tcp && s.packet.service < MAX_PORTS as u32;
    if host.config().needs & need::TCP == 0 || !is_stream {
        return false;
    }
    rule.flags & rule_flag::TCP_PASS != 0
        || rule.flags & rule_flag::TCP_TRUSTED != 0
            && host.address_class(s.packet.source_class).unwrap_or(0) & address_flag::TRUSTED != 0
}

/// Decides by the rule that has matched.
#[inline(always)]
fn conclude<'m, H: Host<'m>>(host: H, s: &mut Scratch, rule: &Rule) -> Reason {
    s.walk.slot = rule.slot as u32;
    let config = host.config();
    if config.needs & need::BANS != 0 && config.report == 0 && rule.action() == Action::Ban {
        let flags = host.address_class(s.packet.source_class).unwrap_or(0);
        if flags & address_flag::NEVER_BAN == 0 {
            remembered::ban(host, s, rule);
        }
    }
    reason(rule)
}

/// Fast path: one rule decides every packet from this source. [`walk`] would reach the same verdict, but long lists of blocked
/// and of trusted sources should cost no more than they must.
#[inline(always)]
pub fn decide_by_source<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> Option<Reason> {
    s.walk.rule = address_flag::decider(host.address_class(s.packet.source_class)?)?;
    let rule = host.rule(s.walk.rule)?;
    s.walk.spared = 0;
    event::matched(host, s, rule);
    Some(conclude(host, s, rule))
}

/// Moves on to the next word with candidates; false if there is none.
#[inline(always)]
fn find_candidates<'m, H: Host<'m>>(host: H, walk: &mut Walk) -> bool {
    for word in 0..RULE_WORDS {
        if (word as u32) < host.config().words && word as u32 >= walk.word && walk.candidates[word] != 0 {
            walk.word = word as u32;
            host.fence();
            return true;
        }
    }
    false
}

/// The reason of a verdict by this rule. The walk decides by rules that end it only.
#[inline(always)]
pub(crate) fn reason(rule: &Rule) -> Reason {
    match rule.action().reason() {
        Some(reason) => reason,
        None => Reason::RuleDrop,
    }
}
