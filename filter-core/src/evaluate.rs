//! Which rules match, and what the first of them does.
//!
//! Each scope's value has a class, each class a set of rules that it satisfies; the candidates are what is left when these
//! sets are intersected. The walk goes over the candidates in file order: every action is *count, maybe emit, then either a
//! verdict or a mask of the rules that remain*.

use crate::{
    event,
    host::{Host, Step},
    layout::{Action, Ban, BanKey, Dimension, NO_RULE, Rule, address_flag, anomaly, need, rule_flag},
    limits::{MAX_RULES, RULE_WORDS},
    rate,
    reason::Reason,
    scratch::{Scratch, extent},
    swar::lowest_bit,
};

/// How the walk ended, in [`Scratch::outcome`].
pub mod outcome {
    /// It is still going on, or no rule was left.
    pub const OPEN: u32 = 0;
    /// The next rule needs the message, which has not been read.
    pub const NEEDS_MESSAGE: u32 = 1;
    /// A rule decided.
    pub const DECIDED: u32 = 2;
}

/// The rules that the source satisfies are the candidates.
#[inline(always)]
pub fn begin<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let config = host.config();
    let words = config.words as usize;
    let row = host.row(config.rows[Dimension::Source as usize].wrapping_add(s.source_class));
    for word in 0..RULE_WORDS {
        if word < words {
            s.candidates[word] = row.map_or(0, |row| row[word]);
        }
    }
    s.word = 0;
    s.outcome = outcome::OPEN;
    s.rule = NO_RULE;
    s.slot = NO_RULE;
}

/// Keeps the candidates that the row of `value` in a dimension's table satisfies.
#[inline(always)]
pub fn narrow<'m, H: Host<'m>>(host: H, s: &mut Scratch, dimension: Dimension, value: u32) {
    let config = host.config();
    let words = config.words as usize;
    if let Some(row) = host.row(config.rows[dimension as usize].wrapping_add(value)) {
        for word in 0..RULE_WORDS {
            if word < words {
                s.candidates[word] &= row[word];
            }
        }
    }
}

/// Takes the rules out that need a message, where there is none to be read.
#[inline(never)]
pub fn without_message<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let config = host.config();
    let words = config.words as usize;
    if let Some(row) = host.row(config.message_row) {
        for word in 0..RULE_WORDS {
            if word < words {
                s.candidates[word] &= !row[word];
            }
        }
    }
}

/// Keeps the candidates that agree with the anomalies.
#[inline(never)]
pub fn narrow_anomalies<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    let config = host.config();
    let words = config.words as usize;
    s.hits = [0; RULE_WORDS];
    let anomalies = s.anomalies;
    if anomalies != 0 {
        host.repeat(&mut AnomalyRows { host, s, anomalies });
    }
    let Some(base) = host.row(config.anomaly_row) else { return };
    for word in 0..RULE_WORDS {
        if word < words {
            s.candidates[word] &= base[word] | s.hits[word];
        }
    }
}

struct AnomalyRows<'s, H> {
    host: H,
    s: &'s mut Scratch,
    anomalies: u32,
}

impl<'m, H: Host<'m>> Step for AnomalyRows<'_, H> {
    const TIMES: u32 = anomaly::COUNT;

    #[inline(always)]
    fn step(&mut self, index: u32) -> bool {
        if self.anomalies >> (index & 31) & 1 == 0 {
            return false;
        }
        let config = self.host.config();
        let words = config.words as usize;
        let first = config.anomaly_row + 1 + 2 * index;
        if let Some(hits) = self.host.row(first) {
            for word in 0..RULE_WORDS {
                if word < words {
                    self.s.hits[word] |= hits[word];
                }
            }
        }
        if let Some(vetoes) = self.host.row(first + 1) {
            for word in 0..RULE_WORDS {
                if word < words {
                    self.s.candidates[word] &= !vetoes[word];
                }
            }
        }
        false
    }
}

/// Walks the candidates until one decides, one needs the message, or none is left.
#[inline(always)]
pub fn walk<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    s.outcome = outcome::OPEN;
    host.repeat(&mut Walk { host, s });
}

/// As [`walk`], once the message has been read.
#[inline(never)]
pub fn walk_on<'m, H: Host<'m>>(host: H, s: &mut Scratch) {
    walk(host, s);
}

struct Walk<'s, H> {
    host: H,
    s: &'s mut Scratch,
}

impl<'m, H: Host<'m>> Step for Walk<'_, H> {
    const TIMES: u32 = MAX_RULES as u32 + 1;
    const AHEAD: u32 = 1;

    #[inline(always)]
    fn step(&mut self, _index: u32) -> bool {
        let (host, s) = (self.host, &mut *self.s);
        if !find_candidates(host, s) {
            return true;
        }
        let word = s.word as usize & (RULE_WORDS - 1);
        let left = s.candidates[word];
        let index = word as u32 * 64 + lowest_bit(left);
        let Some(rule) = host.rule(index) else { return true };
        if rule.flags & rule_flag::MESSAGE != 0 && s.message_read == extent::NONE {
            s.outcome = outcome::NEEDS_MESSAGE;
            return true;
        }
        // An event says what the whole message said.
        if s.message_read == extent::FIRST && (rule.flags & rule_flag::LATE != 0 || event::is_due(host, s, rule)) {
            s.outcome = outcome::NEEDS_MESSAGE;
            return true;
        }
        s.candidates[word] = left & left.wrapping_sub(1);
        if host.config().needs & need::RATES != 0 && rule.flags & rule_flag::OVER != 0 && !rate::exceeded(host, s, rule)
        {
            return false;
        }
        s.rule = index;
        event::matched(host, s, rule);
        if rule.flags & rule_flag::REPORT != 0 {
            s.rule = NO_RULE;
            return false;
        }
        if rule.flags & rule_flag::FINAL != 0 {
            s.reason = conclude(host, s, rule) as u32;
            s.outcome = outcome::DECIDED;
            return true;
        }
        s.rule = NO_RULE;
        let words = host.config().words as usize;
        for word in 0..RULE_WORDS {
            if word < words {
                s.candidates[word] &= rule.after[word];
            }
        }
        false
    }
}

/// Decides by the rule that has matched.
#[inline(always)]
fn conclude<'m, H: Host<'m>>(host: H, s: &mut Scratch, rule: &Rule) -> Reason {
    s.slot = rule.slot as u32;
    if host.config().needs & need::BANS != 0 && rule.action() == Action::Ban {
        ban(host, s, rule);
    }
    reason(rule)
}

/// Decides by the rule that decides about all that this source sends, if there is one. [`walk`] would find the same: long lists of
/// sources to be dropped, and of those that are trusted, are not to cost more than they must.
#[inline(always)]
pub fn decide_by_source<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> Option<Reason> {
    s.rule = address_flag::decider(host.address_class(s.source_class)?)?;
    let rule = host.rule(s.rule)?;
    event::matched(host, s, rule);
    Some(conclude(host, s, rule))
}

/// Moves on to the next word with candidates; false if there is none.
#[inline(always)]
fn find_candidates<'m, H: Host<'m>>(host: H, s: &mut Scratch) -> bool {
    for word in 0..RULE_WORDS {
        if (word as u32) < host.config().words && word as u32 >= s.word && s.candidates[word] != 0 {
            s.word = word as u32;
            host.fence();
            return true;
        }
    }
    false
}

/// Bans the source for the rule's time, unless the policy never bans it.
#[inline(never)]
fn ban<'m, H: Host<'m>>(host: H, s: &mut Scratch, rule: &Rule) {
    let flags = host.address_class(s.source_class).unwrap_or(0);
    if flags & address_flag::NEVER_BAN != 0 {
        return;
    }
    let until = s.now(host).wrapping_add(rule.argument as u64 * 1_000_000_000);
    let ban = Ban { until, slot: rule.slot as u32, reserved: 0 };
    host.set_ban(&BanKey { source: s.source }, &ban);
}

/// The reason of a verdict by this rule. The walk decides by rules that end it only.
#[inline(always)]
pub(crate) fn reason(rule: &Rule) -> Reason {
    match rule.action().reason() {
        Some(reason) => reason,
        None => Reason::RuleDrop,
    }
}
