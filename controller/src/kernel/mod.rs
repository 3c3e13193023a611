//! The kernel side: the XDP program, its maps and its links.
//!
//! [`Instance`] is a loaded program with its own maps, for running packets through it. [`Filter`] is the program that is
//! attached: pins keep it in the kernel, and it outlives the process that attached it. [`State`] reads the pins, with or
//! without a daemon.

mod attach;
mod bans;
mod bpf;
mod cost;
mod error;
mod ethtool;
mod exempt;
mod filter;
mod genetlink;
mod host;
mod instance;
mod interface;
mod keep;
#[cfg(test)]
mod layouts;
mod mounts;
mod object;
mod observe;
mod occupancy;
mod pins;
mod prefix;
mod probe;
mod ring;
mod snapshot;
mod state;
mod table;
mod takeover;
mod traffic;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use bans::{Ban, BanError, Bans, BansError, Freed, FreedBecause, MOST_BANS};
pub use cost::Cost;
pub use error::{Error, OWN_BPFFS, Version};
pub use ethtool::{Channels, Feature, XdpFeatures};
pub use exempt::Exemption;
pub use filter::{Attached, Filter, Installed, detach};
pub(crate) use host::interface_name;
pub use host::{OLDEST, OLDEST_NAME, check};
pub use instance::{Instance, Run};
pub use interface::{InterfaceFacts, Occupant, Peer};
pub use keep::{Kept, take_off};
pub use mounts::{Outlives, outlives};
pub use object::OBJECT;
pub use observe::{CAPTURED_BYTES, CaptureRing, Observer, total};
pub use occupancy::{Occupancy, OccupancyReader, StateTable};
pub use pins::{DEFAULT_PIN_DIRECTORY, Pins};
pub use prefix::{Prefix, PrefixError};
pub use ring::Ring;
pub use snapshot::{Counts, Deployment, ReasonCount, RuleCount, State};
pub(crate) use snapshot::{OwnedSlot, rule_names, rule_slots};
pub use state::{MAX_INTERFACES, RULE_NAME};
pub use table::Table;
pub use traffic::InterfaceCount;

/// How an XDP program runs on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// In the network stack: works on every interface, but after the kernel has copied the packet into a buffer.
    Generic,
    /// In the driver, before the kernel has done anything with the packet.
    Native,
}

impl Mode {
    /// Its name in options and output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::Native => "native",
        }
    }

    fn number(self) -> u32 {
        match self {
            Self::Native => 1,
            Self::Generic => 2,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The mode that the operator requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ModeChoice {
    /// Native if the driver supports it, otherwise generic
    #[default]
    Auto,
    /// In the network stack, on any interface
    Generic,
    /// In the driver, or not at all
    Native,
}

/// An interface that the operator names, and the mode that they request for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name, such as `eth0`.
    pub name: String,
    /// How the program is to run there.
    pub mode: ModeChoice,
}

impl ModeChoice {
    /// Its name in options and in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Generic => "generic",
            Self::Native => "native",
        }
    }

    fn excludes(self, mode: Mode) -> bool {
        matches!((self, mode), (Self::Generic, Mode::Native) | (Self::Native, Mode::Generic))
    }
}
