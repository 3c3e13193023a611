//! Sampled packets.

use serde::{Deserialize, Serialize};

use super::PacketEvent;

/// A packet drawn at random from all that are for a signalling port: a request, or a packet that was dropped or would have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// What is said of it.
    pub packet: PacketEvent,
    /// When it came, in nanoseconds of the monotonic clock.
    pub monotonic: u64,
    /// How many packets it stands for.
    pub weight: u32,
    /// What became of it.
    pub fate: Fate,
    /// Keys of its calling and called number in the number trie; 0 for none.
    pub numbers: [u64; 2],
    /// The rules that would have dropped it, were it not for report mode.
    pub would: Vec<String>,
    /// The sets of the policy that say whose the source is, as far as it is in them.
    pub sets: Vec<String>,
    /// Whether it is a request within a dialog.
    pub within_dialog: bool,
}

/// What became of a sampled packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It passed.
    Passed,
    /// It passed, but would have been dropped, were it not for report mode.
    Would,
    /// It was dropped.
    Dropped,
}

impl Fate {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Passed, Self::Would, Self::Dropped];

    /// Its name in output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Would => "would",
            Self::Dropped => "dropped",
        }
    }
}
