//! The client of the daemon's API.

use std::{io, path::Path};

use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Method, Request,
    body::{Bytes, Incoming},
};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// Why the daemon did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The answer was cut off, or is no HTTP.
    #[error("the daemon's answer cannot be read: {0}")]
    Http(#[from] hyper::Error),
    /// Nobody listens at the socket.
    #[error("no daemon answers at {socket}")]
    NoDaemon {
        /// The socket.
        socket: String,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The daemon answered with an error.
    #[error("the daemon says: {0}")]
    Refused(String),
    /// The socket may not be used.
    #[error("failed to connect to {socket}: {error}")]
    Socket {
        /// The socket.
        socket: String,
        /// Why.
        error: io::Error,
    },
    /// The answer is not what was asked for.
    #[error("the daemon's answer is not the JSON expected, it may be of another version: {0}")]
    Json(#[from] serde_json::Error),
}

/// A connection for one request.
pub struct Client {
    sender: hyper::client::conn::http1::SendRequest<Empty<Bytes>>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// [`ClientError::NoDaemon`] where there is none.
    pub async fn connect(socket: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(socket).await.map_err(|error| {
            let socket = socket.display().to_string();
            match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NoDaemon { socket, error },
                _ => ClientError::Socket { socket, error },
            }
        })?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the connection; what goes wrong on it, the request reports.
        tokio::spawn(connection);
        Ok(Self { sender })
    }

    /// A request whose whole answer is one JSON value.
    ///
    /// # Errors
    /// No answer, an error as answer, or not JSON.
    pub async fn json<T: serde::de::DeserializeOwned>(&mut self, method: Method, path: &str) -> Result<T, ClientError> {
        let response = self.send(method, path).await?;
        let succeeded = response.status().is_success();
        let body = response.into_body().collect().await?.to_bytes();
        if succeeded {
            Ok(serde_json::from_slice(&body)?)
        } else {
            let answer: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            let text = String::from_utf8_lossy(&body);
            Err(ClientError::Refused(answer["message"].as_str().unwrap_or(&text).to_owned()))
        }
    }

    /// Calls `each` with every line of the answer as it comes, until the answer or `each` ends.
    ///
    /// # Errors
    /// No answer, or one that is cut off.
    pub async fn lines(
        &mut self,
        path: &str,
        mut each: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), ClientError> {
        let mut body = self.send(Method::GET, path).await?.into_body();
        let mut rest = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            rest.extend_from_slice(&data);
            while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                if each(&line[..end]).is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
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
