//! What the server asks of the daemon's loop, and the parts that server and client share.

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::telemetry::{Notice, Removed, Stopped};

/// What a reload or a rollback came to: `reloaded`, `unchanged`, `rolled-back`, `held`, or why no policy was put in force.
pub type ReloadAnswer = Notice;

/// What taking the filter off an interface came to; an error is a line for people.
pub type TakeOffAnswer = Result<Removed, String>;

/// A request to the daemon's loop, with the way to answer it. One that is dropped is answered with an error.
#[derive(Debug)]
pub enum Request {
    /// Bring an earlier policy back, or let the newest one in again; with who asks.
    Change(Change, String, oneshot::Sender<ReloadAnswer>),
    /// Read the policy again; with who asks.
    Reload(String, oneshot::Sender<ReloadAnswer>),
    /// End the daemon.
    Stop {
        /// Whether the filter is to be removed at the end.
        detach: bool,
        /// Where the answer goes.
        answer: oneshot::Sender<Stopped>,
    },
    /// Take the filter off one interface.
    TakeOff {
        /// Its name.
        interface: String,
        /// Where the answer goes.
        answer: oneshot::Sender<TakeOffAnswer>,
    },
}

/// What is to be in force instead of the newest policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The newest policy again.
    Release,
    /// The policy of this generation; if none, of the last one that had another policy.
    Rollback(Option<u64>),
}

/// See [`Change`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RollbackRequest {
    /// The generation; none for the last one that had another policy.
    #[serde(default)]
    pub generation: Option<u64>,
    /// Hold no generation any more.
    #[serde(default)]
    pub release: bool,
}

/// Which sources are to be banned.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BanRequest {
    /// An address or a network: for an IPv6 address, its /64.
    pub prefix: String,
    /// For how long.
    pub seconds: u32,
    /// A note for people.
    pub comment: Option<String>,
}

/// Which interface the filter is to be taken off.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DetachRequest {
    /// Its name.
    pub interface: String,
}

/// Which sources are to be freed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UnbanRequest {
    /// An address or a network; none for all that are banned.
    pub prefix: Option<String>,
}

/// The paths of the API's resources.
pub(super) mod path {
    pub(in crate::api) const BAN: &str = "/ban";
    pub(in crate::api) const BANS: &str = "/bans";
    pub(in crate::api) const DETACH: &str = "/detach";
    pub(in crate::api) const EVENTS: &str = "/events";
    pub(in crate::api) const HISTORY: &str = "/history";
    pub(in crate::api) const RELOAD: &str = "/reload";
    pub(in crate::api) const ROLLBACK: &str = "/rollback";
    pub(in crate::api) const STATUS: &str = "/status";
    pub(in crate::api) const STOP: &str = "/stop";
    pub(in crate::api) const UNBAN: &str = "/unban";
}
