//! The listener of the API: few clients at a time, and none that neither asks nor reads.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::{UnixListener, UnixStream, unix::SocketAddr},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep, timeout},
};

use crate::telemetry::ClientCounts;

/// Clients at a time.
pub(super) const CLIENTS: usize = 64;

/// Clients at a time that get an answer saying that there are too many.
const REFUSALS: usize = 16;

/// How long that may take.
const REFUSAL: Duration = Duration::from_secs(1);

/// How long a client may take for its first request, and for reading what waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Gives each client a place as long as there are places.
pub(super) struct Bounded {
    listener: UnixListener,
    places: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    counts: Arc<ClientCounts>,
    patience: Duration,
}

impl Bounded {
    pub(super) fn new(listener: UnixListener, counts: Arc<ClientCounts>) -> Self {
        let [places, refusals] = [CLIENTS, REFUSALS].map(|places| Arc::new(Semaphore::new(places)));
        Self { listener, places, refusals, counts, patience: PATIENCE }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.listener).await;
            let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
                self.counts.refuse();
                // Who finds no place even here sees that the connection is closed.
                if let Ok(place) = Arc::clone(&self.refusals).try_acquire_owned() {
                    tokio::spawn(refuse(stream, place));
                }
                continue;
            };
            self.counts.accept();
            let connection = Connection {
                stream,
                waiting: Some(Box::pin(sleep(self.patience))),
                patience: self.patience,
                counts: Arc::clone(&self.counts),
                _place: place,
            };
            return (connection, address);
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// Says to a client that there are too many. Its request is read before, if it sends one: clients do not expect an answer earlier, and what is
/// unread at the end makes them lose the answer.
async fn refuse(mut stream: UnixStream, _place: OwnedSemaphorePermit) {
    let body = format!(r#"{{"event":"error","message":"the daemon serves {CLIENTS} clients already"}}"#);
    let text = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\nRetry-After: 1\r\n\r\n{body}",
        body.len()
    );
    let answer = async {
        let mut request = [0; 1024];
        let _ = timeout(REFUSAL / 4, stream.read(&mut request)).await;
        stream.write_all(text.as_bytes()).await?;
        stream.shutdown().await?;
        while stream.read(&mut request).await? > 0 {}
        io::Result::Ok(())
    };
    // Who has gone, or takes too long, does not get it.
    let _ = timeout(REFUSAL, answer).await;
}

/// A client that has a place.
pub(super) struct Connection {
    stream: UnixStream,
    /// What it is waited for until: its first bytes, or that it reads. None while nothing is waited for: a client may follow events without
    /// ever asking again, and events may be rare.
    waiting: Option<Pin<Box<Sleep>>>,
    patience: Duration,
    counts: Arc<ClientCounts>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// The user at the other end.
    pub(super) fn user(&self) -> Option<u32> {
        self.stream.peer_cred().ok().map(|peer| peer.uid())
    }

    /// What an operation on the stream came to, or that it has taken too long.
    fn bounded<T>(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<io::Result<T>>,
        begins_to_wait: bool,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.waiting = None;
            return result;
        }
        if self.waiting.is_none() && begins_to_wait {
            self.waiting = Some(Box::pin(sleep(self.patience)));
        }
        let Some(waiting) = &mut self.waiting else { return Poll::Pending };
        if waiting.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        self.counts.drop_stalled();
        self.waiting = None;
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.bounded(context, result, false)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.bounded(context, result, true)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.bounded(context, result, true)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A listener with this many places, and where it listens.
    fn listener(places: usize) -> (Bounded, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
        let mut bounded = Bounded::new(listener, Arc::default());
        bounded.places = Arc::new(Semaphore::new(places));
        (bounded, folder)
    }

    async fn connect(folder: &tempfile::TempDir) -> UnixStream {
        UnixStream::connect(folder.path().join("socket")).await.unwrap()
    }

    #[tokio::test]
    async fn one_client_too_many_is_told_so_and_the_next_one_gets_the_place_that_is_free_again() {
        let (mut bounded, folder) = listener(1);
        let _first = connect(&folder).await;
        let (connection, _) = bounded.accept().await;
        let mut second = connect(&folder).await;
        let third = tokio::spawn(async move { bounded.accept().await.0.counts.read() });
        let mut answer = String::new();
        second.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("clients already\"}"), "{answer}");
        drop(connection);
        let _third = connect(&folder).await;
        let counts = third.await.unwrap();
        assert_eq!((counts.accepted, counts.refused, counts.stalled), (2, 1, 0));
    }

    #[tokio::test]
    async fn who_asks_nothing_or_does_not_read_loses_the_place_and_who_waits_for_an_answer_does_not() {
        const SHORT: Duration = Duration::from_millis(20);
        let (mut bounded, folder) = listener(8);
        bounded.patience = SHORT;
        let mut silent = connect(&folder).await;
        let (mut connection, _) = bounded.accept().await;
        let error = connection.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "it has asked nothing");
        drop(connection);
        assert!(silent.read_u8().await.is_err(), "the connection is closed");

        let mut asking = connect(&folder).await;
        let (mut connection, _) = bounded.accept().await;
        asking.write_u8(1).await.unwrap();
        assert_eq!(connection.read_u8().await.unwrap(), 1);
        let long = tokio::time::timeout(5 * SHORT, connection.read_u8()).await;
        assert!(long.is_err(), "who has asked may wait for as long as it takes");
        let error = connection.write_all(&vec![0; 1 << 24]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "it does not read");
        assert_eq!(bounded.counts.read().stalled, 2);
    }
}
