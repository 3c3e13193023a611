//! The client of the daemon's API: one request for each connection.

use std::{io, path::Path};

use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Method, Request,
    body::{Bytes, Incoming},
};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::types::path;
use crate::telemetry::{Message, Notice, Status};

/// Why the daemon did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The answer was cut off, or is not HTTP.
    #[error("the daemon's answer cannot be read: {0}")]
    Http(#[from] hyper::Error),
    /// No daemon listens at the socket.
    #[error("no daemon answers at {socket}")]
    NoDaemon {
        /// Path of the socket.
        socket: String,
        /// The error of the connection attempt.
        #[source]
        error: io::Error,
    },
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

/// A connection for one request.
pub struct Client {
    sender: hyper::client::conn::http1::SendRequest<Empty<Bytes>>,
}

impl Client {
    /// Connects to the daemon's socket.
    ///
    /// # Errors
    /// [`ClientError::NoDaemon`] if no daemon runs.
    pub async fn connect(socket: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(socket).await.map_err(|error| {
            let socket = socket.display().to_string();
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) {
                ClientError::NoDaemon { socket, error }
            } else {
                ClientError::Socket { socket, error }
            }
        })?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // The task ends with the connection. Its errors are reported by the request.
        tokio::spawn(connection);
        Ok(Self { sender })
    }

    /// What runs where, and what it has done.
    ///
    /// # Errors
    /// The daemon did not answer, or answered with an error.
    pub async fn status(mut self) -> Result<Status, ClientError> {
        self.json(Method::GET, path::STATUS).await
    }

    /// Ends the daemon; returns the notice `stopped`.
    ///
    /// # Errors
    /// The daemon did not answer, or answered with an error.
    pub async fn stop(mut self) -> Result<Notice, ClientError> {
        self.json(Method::POST, path::STOP).await
    }

    /// Calls `each` with every event: the `last` past ones, all that are kept if none, and if `follow` is set each new one
    /// as it comes. Ends when the answer does, or `each` returns an error.
    ///
    /// # Errors
    /// The daemon did not answer, or its answer was cut off.
    pub async fn events(
        mut self,
        last: Option<usize>,
        follow: bool,
        mut each: impl FnMut(EventLine<'_>) -> io::Result<()>,
    ) -> Result<(), ClientError> {
        let last = last.map_or_else(String::new, |last| format!("&last={last}"));
        let uri = format!("{}?follow={follow}{last}", path::EVENTS);
        let mut body = self.send(Method::GET, &uri).await?.into_body();
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

    /// A request whose whole answer is one JSON value.
    async fn json<T: serde::de::DeserializeOwned>(&mut self, method: Method, path: &str) -> Result<T, ClientError> {
        let response = self.send(method, path).await?;
        let succeeded = response.status().is_success();
        let body = response.into_body().collect().await?.to_bytes();
        if succeeded { Ok(serde_json::from_slice(&body)?) } else { Err(refused(&body)) }
    }

    async fn send(&mut self, method: Method, path: &str) -> Result<hyper::Response<Incoming>, ClientError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .body(Empty::new())
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
fn refused(body: &[u8]) -> ClientError {
    let notice: Option<Notice> = serde_json::from_slice(body).ok();
    let message = notice.as_ref().and_then(Notice::failure);
    ClientError::Refused(message.map_or_else(|| String::from_utf8_lossy(body).into_owned(), ToOwned::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_answer_is_its_message_or_itself() {
        let text = |body: &[u8]| refused(body).to_string();
        assert_eq!(text(br#"{"event":"error","message":"no"}"#), "the daemon says: no");
        assert_eq!(
            text(br#"{"event":"policy-error","message":"1 error","diagnostics":[]}"#),
            "the daemon says: 1 error"
        );
        assert_eq!(text(b"teapot"), "the daemon says: teapot");
    }
}
