//! What an upstream is to the network that it sends calls into.

/// The kind of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamKind {
    /// A provider that hands over calls of others.
    Carrier,
    /// An end user, or a reseller of end users: its calls begin here.
    Customer,
    /// A provider that hands over calls from abroad.
    Gateway,
}

impl UpstreamKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Carrier, Self::Customer, Self::Gateway];
    /// Their names, in the same order.
    pub const NAMES: [&str; 3] = ["carrier", "customer", "gateway"];

    /// The value of the key `kind` in policies.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Carrier => "carrier",
            Self::Customer => "customer",
            Self::Gateway => "gateway",
        }
    }
}

/// What the policy says of an upstream's filing in the Robocall Mitigation Database, beside the number itself: the values of
/// `upstream_rmd` that are no numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filing {
    /// Its number is written.
    Filed,
    /// None is written.
    None,
}

impl Filing {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Filed, Self::None];
    /// Their names, in the same order.
    pub const NAMES: [&str; 2] = ["filed", "none"];
}

/// What begins the number of a filing; seven digits follow.
pub const FILING_PREFIX: &str = "RMD";

/// Digits of the number of a filing.
pub const FILING_DIGITS: usize = 7;

/// Digits of a registration number of the FCC (FRN).
pub const REGISTRATION_DIGITS: usize = 10;

/// True for the number of a filing in the Robocall Mitigation Database, such as `RMD0001410`.
#[must_use]
pub fn is_filing(text: &str) -> bool {
    text.strip_prefix(FILING_PREFIX).is_some_and(|digits| has_digits(digits, FILING_DIGITS))
}

/// True for a registration number of the FCC.
#[must_use]
pub fn is_registration(text: &str) -> bool {
    has_digits(text, REGISTRATION_DIGITS)
}

fn has_digits(text: &str, count: usize) -> bool {
    text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What a cap of an upstream counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CapKind {
    /// `calls_per_second`
    Second,
    /// `calls_per_day`
    Day,
    /// `rate`
    Rate,
}

impl CapKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Second, Self::Day, Self::Rate];

    /// Its key in policies.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Second => "calls_per_second",
            Self::Day => "calls_per_day",
            Self::Rate => "rate",
        }
    }

    /// What it is called in the name of its rule.
    const fn word(self) -> &'static str {
        match self {
            Self::Second => "calls-per-second",
            Self::Day => "calls-per-day",
            Self::Rate => "rate",
        }
    }
}

/// The name of the rule that a cap becomes. `before` is how many caps of this kind the upstream has before it. No rule of a policy can have
/// such a name, as it has colons.
#[must_use]
pub fn cap_rule(upstream: &str, kind: CapKind, before: usize) -> String {
    let word = kind.word();
    if before == 0 {
        format!("upstream:{upstream}:{word}")
    } else {
        format!("upstream:{upstream}:{word}-{}", before + 1)
    }
}
