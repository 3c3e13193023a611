//! What a rule's action does: the only table of it.

use crate::{
    named::named_enum,
    reason::{Reason, Verdict},
};

named_enum! {
    /// What a rule does.
    #[expect(missing_docs, reason = "each is the action of its name in the policy language")]
    pub enum Action: u8 {
        Drop = 0, "drop";
        Continue = 1, "continue";
        BypassFraudControl = 2, "bypass-fraud-control";
        Whitelist = 3, "whitelist";
        Ban = 4, "ban";
        Reject = 5, "reject";
        Divert = 6, "divert";
    }
}

impl Action {
    /// The reason of the verdict of a rule with this action; none for an action that takes rules out of the walk instead of
    /// ending it.
    ///
    /// Everything else that depends on the action follows from this: see [`Reason::verdict`] for what happens to the packet.
    #[inline(always)]
    #[must_use]
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Self::Ban => Some(Reason::RuleBan),
            Self::BypassFraudControl | Self::Continue => None,
            Self::Divert => Some(Reason::RuleDivert),
            Self::Drop => Some(Reason::RuleDrop),
            Self::Reject => Some(Reason::RuleReject),
            Self::Whitelist => Some(Reason::RuleWhitelist),
        }
    }

    /// True if the walk over the rules ends with this action's verdict.
    #[inline(always)]
    #[must_use]
    pub const fn ends_walk(self) -> bool {
        self.reason().is_some()
    }

    /// True if the packet is dropped.
    #[inline(always)]
    #[must_use]
    pub const fn drops(self) -> bool {
        match self.reason() {
            Some(reason) => reason.verdict().drops(),
            None => false,
        }
    }

    /// True for a pinhole: an action that exempts the packet from rules after it, be it all or some of them.
    #[inline(always)]
    #[must_use]
    pub const fn lets_through(self) -> bool {
        !self.drops()
    }

    /// The verdict that output reports for a match of a rule with this action: `pass`, `drop`, `reject` or `divert`.
    #[must_use]
    pub const fn verdict_name(self) -> &'static str {
        match self.reason() {
            Some(reason) => reason.verdict_name(),
            None => Verdict::Pass.name(),
        }
    }
}
