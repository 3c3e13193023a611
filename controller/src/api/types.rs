//! What the server asks of the daemon's loop, and the parts that server and client share.

use tokio::sync::oneshot;

use crate::telemetry::{PolicyError, Reloaded, Stopped};

/// What a reload came to.
pub type ReloadAnswer = Result<Reloaded, PolicyError>;

/// A request to the daemon's loop, with the way to answer it. One that is dropped is answered with an error.
#[derive(Debug)]
pub enum Request {
    /// Read the policy again.
    Reload(oneshot::Sender<ReloadAnswer>),
    /// End the daemon.
    Stop(oneshot::Sender<Stopped>),
}

/// The paths of the API's resources.
pub(super) mod path {
    pub(in crate::api) const EVENTS: &str = "/events";
    pub(in crate::api) const RELOAD: &str = "/reload";
    pub(in crate::api) const STATUS: &str = "/status";
    pub(in crate::api) const STOP: &str = "/stop";
}
