//! The stages of a policy.

/// A stage that a rule can be in. Rules are tried in file order whatever their stages are: a pinhole skips the rest of its
/// own stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the stage of its name in the policy language")]
pub enum Stage {
    #[default]
    Blacklist,
    Shield,
    Reputation,
    Fraud,
}

impl Stage {
    /// Every stage, in the order of the documentation.
    pub const ALL: [Self; 4] = [Self::Blacklist, Self::Shield, Self::Reputation, Self::Fraud];

    /// The stage with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.name() == name)
    }

    /// The value of the key `stage` in policies.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blacklist => "blacklist",
            Self::Shield => "shield",
            Self::Reputation => "reputation",
            Self::Fraud => "fraud",
        }
    }
}
