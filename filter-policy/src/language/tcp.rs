//! What a rule does to a TCP connection whose message it drops.

/// What becomes of a message over TCP that a rule drops. What follows a dropped segment never arrives, so that all calls in the
/// connection end with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnTcp {
    /// The connection is dropped, unless the policy trusts its source: then the message is counted and passes.
    #[default]
    DropStrangers,
    /// The message is counted and passes, whoever sent it.
    Pass,
    /// The connection is dropped, whoever sent it.
    DropConnection,
}

impl OnTcp {
    /// The names in policies. There is none for the default.
    pub const NAMES: [&str; 2] = ["pass", "drop-connection"];

    /// The value with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "pass" => Some(Self::Pass),
            "drop-connection" => Some(Self::DropConnection),
            _ => None,
        }
    }
}
