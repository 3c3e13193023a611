//! Rules.

use super::{Action, layout};
use crate::{
    limits::RULE_WORDS,
    named::{named_bits, named_enum},
};

/// A set of rules, a bit for each, in file order: rule `i` is bit `i % 64` of word `i / 64`.
pub type RuleSet = [u64; RULE_WORDS];

/// In place of a rule's slot or index if no rule decided.
pub const NO_RULE: u32 = u32::MAX;

/// Properties of an address class apart from the rules that it satisfies: bits, and above them numbers of a few bits each.
pub mod address_flag {
    use crate::limits::{MAX_RULES, NUMBERING_PLANS};

    const _: () = assert!(NUMBERING_PLANS == 1 << (DECIDER - PLAN));
    const _: () = assert!(MAX_RULES < 1 << (UPSTREAM - DECIDER));

    /// The asserted identity of this source is believed.
    pub const ASSERTED_BELIEVED: u32 = 1;
    /// This source is never banned.
    pub const NEVER_BAN: u32 = 2;
    /// The policy trusts this source in either way.
    pub const TRUSTED: u32 = ASSERTED_BELIEVED | NEVER_BAN;
    /// From this bit on: the index of the source's numbering plan, in four bits.
    pub const PLAN: u32 = 4;
    /// From this bit on: 1 + the index of the rule that decides about every packet of this source, whatever else is in it; 0 if
    /// there is none. It has ten bits.
    pub const DECIDER: u32 = 8;
    /// From this bit on: the number of the source's upstream, from 1; 0 if it has none, or no rule asks.
    pub const UPSTREAM: u32 = 18;
    /// The highest number of an upstream.
    pub const MAX_UPSTREAM: usize = (1 << (32 - UPSTREAM)) - 1;

    /// The index of a class's numbering plan.
    #[inline(always)]
    #[must_use]
    pub const fn plan(class: u32) -> usize {
        (class >> PLAN) as usize & (NUMBERING_PLANS - 1)
    }

    /// The index of the rule that decides about a class.
    #[inline(always)]
    #[must_use]
    pub const fn decider(class: u32) -> Option<u32> {
        (class >> DECIDER & ((1 << (UPSTREAM - DECIDER)) - 1)).checked_sub(1)
    }

    /// The number of a class's upstream, from 1; 0 for none.
    #[inline(always)]
    #[must_use]
    pub const fn upstream(class: u32) -> u32 {
        class >> UPSTREAM
    }
}

named_bits! {
    /// Bits of [`Rule::flags`](super::Rule::flags).
    pub mod rule_flag: u8 {
        /// Report mode: count, emit, and continue with the next rule.
        REPORT = 0;
        /// Ends the walk, see [`Action::ends_walk`](super::super::Action::ends_walk).
        FINAL = 1;
        /// The rule has a condition that only the message can answer.
        MESSAGE = 2;
        /// The rule has a rate.
        OVER = 3;
        /// The rule has a condition or a rate that the first reading of a message cannot answer: it is about something other
        /// than addresses, ports, the method, the called number and the user agent.
        LATE = 4;
        /// Over TCP the rule counts a packet that it would drop, and lets it pass: what follows a dropped segment never arrives.
        TCP_PASS = 5;
        /// As `TCP_PASS`, for sources whose asserted identity is believed, or that are never banned: a carrier's calls share a
        /// connection.
        TCP_TRUSTED = 6;
    }
}

named_enum! {
    /// What a rate is counted by.
    #[expect(missing_docs, reason = "each is the key of its name in the policy language")]
    pub enum Per: u8 {
        Rule = 0, "rule";
        Source = 1, "source";
        Destination = 2, "destination";
        Calling = 3, "calling";
        Called = 4, "called";
        SourcePrefix = 5, "source-prefix";
        CallingPrefix = 6, "calling-prefix";
        CalledPrefix = 7, "called-prefix";
        SourceCalled = 8, "source+called";
        UserAgent = 9, "user-agent";
        Upstream = 10, "upstream";
    }
}

named_enum! {
    /// What a rate counts.
    pub enum Count: u8 {
        /// Packets that meet the rule's conditions.
        Packets = 0, "packets";
        /// Calls: requests INVITE outside of a dialog, each once.
        Calls = 1, "calls";
    }
}

layout! {
    pub(super) const LAYOUTS;

    /// A rule: what is left of it once its conditions are bits in rows.
    #[derive(Debug)]
    pub struct Rule {
        /// The rules that remain in the walk after this one acted (all ones for report mode).
        pub after: RuleSet,
        /// Number of the [`Action`], see [`Rule::action`].
        pub action: u8,
        /// [`rule_flag`] bits.
        pub flags: u8,
        /// Counter slot, stable across generations.
        pub slot: u16,
        /// The action's argument: ban seconds, reject status code.
        pub argument: u32,
        /// `over`: time between two packets at the rate, in the unit of [`cell::scaled`](crate::rate::cell::scaled).
        pub over_interval: u64,
        /// `over`: how much earlier than at the rate a packet may come, in this unit.
        pub over_burst: u64,
        /// `over`: number of the [`Per`].
        pub over_per: u8,
        /// `over`: bits (addresses) or digits (numbers) of a prefix key; 0 for all.
        pub over_prefix: u8,
        /// The action `ban`: bits of the prefix that it bans, in IPv4 (as in [`BanKey::length`](super::BanKey::length)).
        pub ban_ipv4: u8,
        /// The same in IPv6.
        pub ban_ipv6: u8,
        /// `over`: number of the [`Count`].
        pub over_count: u8,
        /// `over`: its size, see [`cell::size_code`](crate::rate::cell::size_code).
        pub over_size: u8,
        /// Padding, always zero.
        pub reserved: [u8; 2],
    }
}

impl Rule {
    /// What the rule does. (A number that no compiled policy holds counts as a drop.)
    #[inline(always)]
    #[must_use]
    pub const fn action(&self) -> Action {
        match Action::from_number(self.action) {
            Some(action) => action,
            None => Action::Drop,
        }
    }

    /// What its rate is counted by. (A number that no compiled policy holds counts as the rule.)
    #[inline(always)]
    #[must_use]
    pub const fn over_per(&self) -> Per {
        match Per::from_number(self.over_per) {
            Some(per) => per,
            None => Per::Rule,
        }
    }
}
