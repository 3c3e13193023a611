//! The daemon's API: HTTP with JSON over a Unix socket.
//!
//! docs/openapi.json specifies it; tests hold the server to that document.

mod bounded;
mod capture;
mod client;
mod group;
mod server;
mod socket;
mod types;

pub use self::{
    capture::CaptureQuery,
    client::{Client, ClientError, EventLine},
    group::{GROUP, id as group_id},
    server::{Shared, serve},
    socket::{DEFAULT_SOCKET, Socket, SocketError},
    types::{
        BanRequest, BansAnswer, BansRequest, BansRequestItem, Change, DetachRequest, OPENAPI, ReloadAnswer, Request,
        RollbackRequest, TakeOffAnswer, TopRequest, UnbanRequest,
    },
};
