//! The daemon's API: HTTP with JSON over a Unix socket.
//!
//! | request | answer |
//! |---|---|
//! | `GET /status` | [`Status`](super::status::Status) |
//! | `GET /events?last=N&follow=true` | events, one JSON object a line: the last ones, then each as it comes |
//! | `POST /reload` | what came of it: the event `reloaded`, or with status 422 `policy-error` |
//! | `POST /stop` | ends the daemon; the filter stays |

use std::{
    collections::VecDeque,
    convert::Infallible,
    fs, io,
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use tokio::{
    net::UnixListener,
    sync::{broadcast, mpsc, oneshot},
};
use tokio_stream::{StreamExt as _, wrappers::BroadcastStream, wrappers::errors::BroadcastStreamRecvError};

use super::{
    Command, Error,
    event::PacketEvent,
    status::{DaemonFacts, Status},
};
use crate::kernel::Pins;
use filter_policy::language::printable;

/// The daemon's socket unless another is named.
pub const DEFAULT_SOCKET: &str = "/run/ringfence.sock";

/// Events that a slow reader may fall behind before it misses some.
const CHANNEL: usize = 4096;

/// Events kept for readers that come later.
const KEPT: usize = 1000;

/// What the API shares with the daemon's loop.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) pins: Pins,
    pub(super) facts: Mutex<DaemonFacts>,
    pub(super) events: Events,
    pub(super) commands: mpsc::Sender<(Command, oneshot::Sender<serde_json::Value>)>,
}

impl Shared {
    pub(super) fn facts(&self) -> std::sync::MutexGuard<'_, DaemonFacts> {
        // Each holder only assigns fields: there is no half-done state to fear.
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last events, and whoever listens for the next ones.
#[derive(Debug)]
pub(super) struct Events {
    /// One lock for both, so that a reader gets each event once: kept, or as it comes.
    kept: Mutex<VecDeque<Arc<str>>>,
    sender: broadcast::Sender<Arc<str>>,
}

impl Events {
    pub(super) fn new() -> Self {
        Self { kept: Mutex::default(), sender: broadcast::channel(CHANNEL).0 }
    }

    pub(super) fn push(&self, event: &PacketEvent) {
        let line: Arc<str> = format!("{}\n", printable::json_line(event)).into();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(Arc::clone(&line));
        // Nobody listening is no error.
        let _ = self.sender.send(line);
    }

    fn listen(&self, last: usize) -> (Vec<Arc<str>>, broadcast::Receiver<Arc<str>>) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.iter().skip(kept.len().saturating_sub(last)).cloned().collect(), self.sender.subscribe())
    }
}

/// The socket, bound: two daemons never answer on one path.
#[derive(Debug)]
pub(super) struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    pub(super) fn bind(path: &Path) -> Result<Self, Error> {
        let failed = |error| Error::Socket { path: path.to_path_buf(), error };
        // A daemon that was killed has left its socket behind; nobody answers there.
        if path.exists() {
            match UnixStream::connect(path) {
                Ok(_) => return Err(Error::SocketTaken(path.to_path_buf())),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    fs::remove_file(path).map_err(failed)?
                }
                Err(error) => return Err(failed(error)),
            }
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Self { listener, path: path.to_path_buf() })
    }

    pub(super) async fn serve(self, shared: Arc<Shared>) {
        let router = Router::new()
            .route("/status", get(status))
            .route("/events", get(events))
            .route("/reload", post(reload))
            .route("/stop", post(stop))
            .with_state(shared);
        let Self { listener, path } = self;
        let _remove = RemoveOnDrop(path);
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!("the API has ended: {error}");
        }
    }
}

/// Removes the socket's file when the server is dropped.
struct RemoveOnDrop(PathBuf);

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

async fn status(State(shared): State<Arc<Shared>>) -> Response {
    let facts = shared.facts().clone();
    match Status::read(&shared.pins, Some(&facts)) {
        Ok(status) => Json(status).into_response(),
        Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

#[derive(Debug, Deserialize)]
struct EventsQuery {
    #[serde(default)]
    follow: bool,
    last: Option<usize>,
}

async fn events(State(shared): State<Arc<Shared>>, Query(query): Query<EventsQuery>) -> Response {
    let (kept, receiver) = shared.events.listen(query.last.unwrap_or(KEPT));
    let kept = tokio_stream::iter(kept.into_iter().map(|line| Ok::<_, Infallible>(line.to_string())));
    let body = if query.follow {
        let coming = BroadcastStream::new(receiver).map(|event| {
            Ok(match event {
                Ok(line) => line.to_string(),
                // The reader was too slow: say how much it does not see.
                Err(BroadcastStreamRecvError::Lagged(events)) => {
                    format!("{}\n", serde_json::json!({"event": "missed", "events": events}))
                }
            })
        });
        Body::from_stream(kept.chain(coming))
    } else {
        Body::from_stream(kept)
    };
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

async fn reload(State(shared): State<Arc<Shared>>) -> Response {
    match command(&shared, Command::Reload).await {
        Some(answer) if answer["event"] == "reloaded" => Json(answer).into_response(),
        Some(answer) => (StatusCode::UNPROCESSABLE_ENTITY, Json(answer)).into_response(),
        None => failure(StatusCode::SERVICE_UNAVAILABLE, "the daemon is ending"),
    }
}

async fn stop(State(shared): State<Arc<Shared>>) -> Response {
    match command(&shared, Command::Stop).await {
        Some(answer) => Json(answer).into_response(),
        None => failure(StatusCode::SERVICE_UNAVAILABLE, "the daemon is ending already"),
    }
}

async fn command(shared: &Shared, command: Command) -> Option<serde_json::Value> {
    let (sender, answer) = oneshot::channel();
    shared.commands.send((command, sender)).await.ok()?;
    answer.await.ok()
}

fn failure(code: StatusCode, message: &str) -> Response {
    (code, Json(serde_json::json!({"event": "error", "message": message}))).into_response()
}
