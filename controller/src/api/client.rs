//! The client of the daemon's API: one request for each connection.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Request, StatusCode,
    body::{Bytes, Incoming},
};
use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, time::timeout};

use super::{
    CaptureQuery,
    group::{self, GROUP},
    types::{BanRequest, BansAnswer, BansRequest, DetachRequest, RollbackRequest, TopRequest, UnbanRequest, path},
};
use crate::telemetry::{BanList, EventQuery, HistoryList, Message, Notice, Status, Suggestions, Top, UpstreamList};

/// How long a daemon has for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a daemon has to end: it finishes a reload first.
const PATIENCE_TO_END: Duration = Duration::from_secs(30);

/// How long a daemon has for a reload: the first fetch of a large repository, and a policy of millions of entries.
const PATIENCE_TO_RELOAD: Duration = Duration::from_secs(1200);

/// Why the daemon did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// What was asked for cannot be done, for this reason.
    #[error("{0}")]
    Declined(String),
    /// The answer was cut off, or is not HTTP.
    #[error("the daemon's answer cannot be read: {0}")]
    Http(#[from] hyper::Error),
    /// A daemon has the socket, but it has been stopped or is stuck.
    #[error("the daemon at {socket} does not answer")]
    NoAnswer {
        /// Path of the socket.
        socket: String,
    },
    /// No daemon listens at the socket.
    #[error("no daemon answers at {socket}")]
    NoDaemon {
        /// Path of the socket.
        socket: String,
        /// The error of the connection attempt.
        #[source]
        error: io::Error,
    },
    /// No daemon of the filter in these pins listens at the socket.
    #[error("no daemon of the filter in {} answers at {socket}", pins.display())]
    NoFilter {
        /// Path of the socket.
        socket: String,
        /// The pin directory.
        pins: PathBuf,
    },
    /// What was asked for is not understood, for this reason.
    #[error("{0}")]
    Query(String),
    /// The daemon answered with an error.
    #[error("the daemon says: {0}")]
    Refused(String),
    /// The socket may not be used.
    #[error("failed to connect to {socket}: {error}")]
    Socket {
        /// Path of the socket.
        socket: String,
        /// The error of the connection attempt.
        error: io::Error,
    },
    /// The answer is not what was asked for.
    #[error("the daemon's answer is not the expected JSON, the daemon may be of another version: {0}")]
    Json(#[from] serde_json::Error),
}

impl ClientError {
    /// What the operator can do about it, if that is known.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NoDaemon { .. } | Self::NoFilter { .. } => {
                Some("`ringfence run` starts one; `--config FILE` or `--socket PATH` says where another is".to_owned())
            }
            Self::NoAnswer { .. } => {
                Some("the filter works without it: end it and start it again; `ss -xlp` shows its process".to_owned())
            }
            Self::Socket { error, .. } if error.kind() == io::ErrorKind::PermissionDenied => {
                Some(permission(group::id().ok().flatten().is_some()))
            }
            Self::Declined(_)
            | Self::Http(_)
            | Self::Query(_)
            | Self::Refused(_)
            | Self::Socket { .. }
            | Self::Json(_) => None,
        }
    }
}

/// How to get permission to use the socket, on a host that has the group or not.
fn permission(has_group: bool) -> String {
    if has_group {
        format!(
            "root, the daemon's user and the members of the group {GROUP} may use the socket: `sudo ringfence ...`, or \
             `usermod --append --groups {GROUP} USER` as root, and log in again"
        )
    } else {
        format!(
            "root and the daemon's user may use the socket: `sudo ringfence ...`. To let others use it, as root: \
             `groupadd --system {GROUP}`, start the daemon again, `usermod --append --groups {GROUP} USER`, and log in again"
        )
    }
}

/// A connection for one request.
pub struct Client {
    socket: String,
    sender: hyper::client::conn::http1::SendRequest<Full<Bytes>>,
}

impl Client {
    /// Connects to the daemon's socket.
    ///
    /// # Errors
    /// [`ClientError::NoDaemon`] if no daemon runs.
    #[expect(clippy::wildcard_enum_match_arm, reason = "any other error says that the socket may not be used")]
    pub async fn connect(socket: &Path) -> Result<Self, ClientError> {
        let connected = UnixStream::connect(socket).await;
        let socket = socket.display().to_string();
        let stream = match connected {
            Ok(stream) => stream,
            Err(error) => {
                return Err(match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                        ClientError::NoDaemon { socket, error }
                    }
                    // So many clients wait already.
                    io::ErrorKind::WouldBlock => ClientError::NoAnswer { socket },
                    _ => ClientError::Socket { socket, error },
                });
            }
        };
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // The task ends with the connection. Its errors are reported by the request.
        tokio::spawn(connection);
        Ok(Self { socket, sender })
    }

    /// What runs where, and what it has done.
    ///
    /// # Errors
    /// The daemon did not answer, or answered with an error.
    pub async fn status(self) -> Result<Status, ClientError> {
        self.json(Method::GET, path::STATUS, Full::default(), PATIENCE).await
    }

    /// Who sent most in the last minutes.
    ///
    /// # Errors
    /// The daemon did not answer, or answered with an error.
    pub async fn top(self, request: &TopRequest) -> Result<Top, ClientError> {
        self.json(Method::GET, &format!("{}?{request}", path::TOP), Full::default(), PATIENCE).await
    }

    /// Rules that would stop what has grown in the last seconds.
    ///
    /// # Errors
    /// The daemon did not answer, or answered with an error.
    pub async fn suggest(self, seconds: u64) -> Result<Suggestions, ClientError> {
        self.json(Method::GET, &format!("{}?seconds={seconds}", path::SUGGEST), Full::default(), PATIENCE).await
    }

    /// The upstreams of the policy in force.
    ///
    /// # Errors
    /// The daemon did not answer, or answered with an error.
    pub async fn upstreams(self) -> Result<UpstreamList, ClientError> {
        self.json(Method::GET, path::UPSTREAMS, Full::default(), PATIENCE).await
    }

    /// The bans in force.
    ///
    /// # Errors
    /// The daemon did not answer, or answered with an error.
    pub async fn bans(self) -> Result<BanList, ClientError> {
        self.json(Method::GET, path::BANS, Full::default(), PATIENCE).await
    }

    /// Bans sources; returns the notice `banned`.
    ///
    /// # Errors
    /// The daemon did not answer, or [declined](ClientError::Declined).
    pub async fn ban(self, request: &BanRequest) -> Result<Notice, ClientError> {
        self.json(Method::POST, path::BAN, serde_json::to_vec(request)?.into(), PATIENCE).await
    }

    /// Bans the sources of a list, all or none.
    ///
    /// # Errors
    /// One of them cannot be banned, or the daemon does not answer.
    pub async fn ban_all(self, request: &BansRequest) -> Result<BansAnswer, ClientError> {
        self.json(Method::POST, path::BANS, serde_json::to_vec(request)?.into(), PATIENCE_TO_END).await
    }

    /// Lifts bans; returns the notice `unbanned`.
    ///
    /// # Errors
    /// The daemon did not answer, or [declined](ClientError::Declined).
    pub async fn unban(self, request: &UnbanRequest) -> Result<Notice, ClientError> {
        self.json(Method::POST, path::UNBAN, serde_json::to_vec(request)?.into(), PATIENCE).await
    }

    /// The generations that were in force.
    ///
    /// # Errors
    /// The daemon did not answer, or answered with an error.
    pub async fn history(self) -> Result<HistoryList, ClientError> {
        self.json(Method::GET, path::HISTORY, Full::default(), PATIENCE).await
    }

    /// Brings an earlier policy back, or releases it; returns the notice `rolled-back`, or those of [`Client::reload`].
    ///
    /// # Errors
    /// The daemon did not answer, or [declined](ClientError::Declined).
    pub async fn rollback(self, request: &RollbackRequest) -> Result<Notice, ClientError> {
        let body = serde_json::to_vec(request)?.into();
        self.change(path::ROLLBACK, body).await
    }

    /// Lets the daemon look for a newer policy; returns the notice `reloaded`, `unchanged`, `held`, `policy-error` or
    /// `source-error`.
    ///
    /// # Errors
    /// The daemon did not answer, or answered with another error.
    pub async fn reload(self) -> Result<Notice, ClientError> {
        self.change(path::RELOAD, Full::default()).await
    }

    async fn change(mut self, path: &str, body: Full<Bytes>) -> Result<Notice, ClientError> {
        let (status, body) = self.answer(Method::POST, path, body, PATIENCE_TO_RELOAD).await?;
        match serde_json::from_slice(&body) {
            Ok(Notice::Error { .. }) | Err(_) if !status.is_success() => Err(refused(status, &body)),
            notice => Ok(notice?),
        }
    }

    /// Takes the filter off one interface; returns the notice `removed`.
    ///
    /// # Errors
    /// The daemon did not answer, or [declined](ClientError::Declined).
    pub async fn take_off(self, request: &DetachRequest) -> Result<Notice, ClientError> {
        // A reload that is at work is finished first.
        self.json(Method::POST, path::DETACH, serde_json::to_vec(request)?.into(), PATIENCE_TO_END).await
    }

    /// Ends the daemon, which removes the filter at its end if `detach`; returns the notice `stopped`.
    ///
    /// # Errors
    /// The daemon did not answer, or answered with an error.
    pub async fn stop(self, detach: bool) -> Result<Notice, ClientError> {
        let path = format!("{}?detach={detach}", path::STOP);
        self.json(Method::POST, &path, Full::default(), PATIENCE_TO_END).await
    }

    /// Calls `each` with every event that the query asks for. Ends when the answer does, or `each` returns an error.
    ///
    /// # Errors
    /// The daemon did not answer, does not [understand](ClientError::Query) the query, or its answer was cut off.
    pub async fn events(
        mut self,
        query: &EventQuery,
        mut each: impl FnMut(EventLine<'_>) -> io::Result<()>,
    ) -> Result<(), ClientError> {
        let uri = format!("{}?{query}", path::EVENTS);
        let mut body = self.stream(&uri).await?;
        let mut rest = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            rest.extend_from_slice(&data);
            while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                if each(EventLine(&String::from_utf8_lossy(&line[..end]))).is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Calls `each` with every piece of the pcapng file of captured packets, as it comes. Ends when the answer does, or `each` returns an
    /// error.
    ///
    /// # Errors
    /// The daemon did not answer, does not [understand](ClientError::Query) the query, or its answer was cut off.
    pub async fn capture(
        mut self,
        query: &CaptureQuery,
        mut each: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<io::Result<()>, ClientError> {
        let uri = format!("{}?{query}", path::CAPTURE);
        let mut body = self.stream(&uri).await?;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            if let Err(error) = each(&data) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    /// A request whose answer comes piece by piece.
    async fn stream(&mut self, uri: &str) -> Result<Incoming, ClientError> {
        let sent = timeout(PATIENCE, self.send(Method::GET, uri, Full::default())).await;
        let response = sent.map_err(|_| ClientError::NoAnswer { socket: self.socket.clone() })??;
        let status = response.status();
        let body = response.into_body();
        if status.is_success() { Ok(body) } else { Err(refused(status, &body.collect().await?.to_bytes())) }
    }

    /// A request whose whole answer is one JSON value.
    async fn json<T: serde::de::DeserializeOwned>(
        mut self,
        method: Method,
        path: &str,
        body: Full<Bytes>,
        patience: Duration,
    ) -> Result<T, ClientError> {
        let (status, body) = self.answer(method, path, body, patience).await?;
        if status.is_success() { Ok(serde_json::from_slice(&body)?) } else { Err(refused(status, &body)) }
    }

    async fn answer(
        &mut self,
        method: Method,
        path: &str,
        body: Full<Bytes>,
        patience: Duration,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let answer = async {
            let response = self.send(method, path, body).await?;
            let status = response.status();
            Ok((status, response.into_body().collect().await?.to_bytes()))
        };
        match timeout(patience, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::NoAnswer { socket: self.socket.clone() }),
        }
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Full<Bytes>,
    ) -> Result<hyper::Response<Incoming>, ClientError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(body)
            .map_err(|error| ClientError::Refused(error.to_string()))?;
        Ok(self.sender.send_request(request).await?)
    }
}

/// A line of the answer to a request for events.
#[derive(Clone, Copy, Debug)]
pub struct EventLine<'a>(&'a str);

impl<'a> EventLine<'a> {
    /// The line as the daemon sent it.
    #[must_use]
    pub fn json(self) -> &'a str {
        self.0
    }

    /// What it says; none if it is of a kind that only a later version knows.
    #[must_use]
    pub fn message(self) -> Option<Message> {
        Message::parse(self.0).ok()
    }
}

/// The error in an answer: the notice's message, or else the whole answer.
fn refused(status: StatusCode, body: &[u8]) -> ClientError {
    let notice: Option<Notice> = serde_json::from_slice(body).ok();
    match notice.as_ref().and_then(Notice::failure) {
        Some(message) if status == StatusCode::UNPROCESSABLE_ENTITY => ClientError::Declined(message.to_owned()),
        Some(message) if status == StatusCode::BAD_REQUEST => ClientError::Query(message.to_owned()),
        Some(message) => ClientError::Refused(message.to_owned()),
        None => ClientError::Refused(String::from_utf8_lossy(body).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_answer_is_its_message_or_itself() {
        let text = |body: &[u8]| refused(StatusCode::INTERNAL_SERVER_ERROR, body).to_string();
        assert_eq!(text(br#"{"event":"error","message":"no"}"#), "the daemon says: no");
        assert_eq!(
            text(br#"{"event":"policy-error","message":"1 error","diagnostics":[]}"#),
            "the daemon says: 1 error"
        );
        assert_eq!(text(b"teapot"), "the daemon says: teapot");
        let declined = refused(StatusCode::UNPROCESSABLE_ENTITY, br#"{"event":"error","message":"no"}"#);
        assert_eq!(declined.to_string(), "no");
    }
}
