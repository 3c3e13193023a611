//! The daemon's API: HTTP with JSON over a Unix socket.
//!
//! | request | answer |
//! |---|---|
//! | `GET /status` | a [`Status`](crate::telemetry::Status) |
//! | `GET /bans` | a [`BanList`](crate::telemetry::BanList) |
//! | `POST /ban` | bans the `prefix` for this many `seconds`, with or without a `comment`: the notice `banned`, or with status 422 `error` |
//! | `POST /unban` | lifts every ban that covers the `prefix`, or all bans if there is none: the notice `unbanned` |
//! | `GET /events?last=N&follow=true` | packet events, one JSON object per line: the last ones, then each as it comes; a reader that is too slow gets a notice `missed`. The parameters of an [`EventFilter`](crate::telemetry::EventFilter) choose some; one that is wrong is an `error` with status 400 |
//! | `GET /capture?seconds=10` | packets that are dropped, or would be, with their bytes: a pcapng file that is written as they come; its parameters are those of [`CaptureQuery`] |
//! | `POST /detach` | takes the filter off the `interface`: the notice `removed`, or with status 422 `error` |
//! | `POST /reload` | looks for a newer policy: the notice `reloaded` or `unchanged`, with status 422 `policy-error`, or with status 502 `source-error`; if a generation is held, with status 409 `held` |
//! | `GET /history` | a [`HistoryList`](crate::telemetry::HistoryList) |
//! | `POST /rollback` | brings the policy of `generation` back, or of the last one that had another, and holds it: the notice `rolled-back`, or with status 422 `policy-error` or `error`; with `release`, lets the newest one in again, and answers as `/reload` does |
//! | `GET /suggest?seconds=10` | [`Suggestions`](crate::telemetry::Suggestions): rules that would stop what has grown in the last `seconds` (60 if none), and whom each would hurt |
//! | `GET /top?by=called&seconds=60` | a [`Top`](crate::telemetry::Top): who sent most; its parameters are those of [`TopRequest`] |
//! | `POST /stop?detach=true` | ends the daemon; the filter stays, or is removed; the notice `stopped` |
//!
//! Any other failure is the notice `error`.

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
        BanRequest, Change, DetachRequest, ReloadAnswer, Request, RollbackRequest, TakeOffAnswer, TopRequest,
        UnbanRequest,
    },
};
