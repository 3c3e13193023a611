//! Metrics for Prometheus: answers `GET /metrics` with what the kernel and the daemon have counted by then.
//!
//! It has a thread and a runtime of its own, so that a scrape delays nothing in the daemon. What a client can take is bounded: there
//! are few clients at a time, each for one request of limited size and time. Who is over the bound gets 503, and is counted.

use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener},
    sync::{self, Arc, PoisonError},
    thread,
    time::{Duration, Instant},
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpStream,
    sync::{Mutex, Semaphore, oneshot},
    task::JoinHandle,
};

use crate::{
    kernel::{self, Cost, Counts, Observer, Occupancy, OccupancyReader, Pins, State},
    telemetry::{Bus, Reading, Scrape, ScrapeCounts, Talkers, TopBy, TopQuery, TopRow},
};

/// Its name among the outputs.
const NAME: &str = "prometheus";

/// Where the metrics are.
const PATH: &str = "/metrics";

/// The version of the format, for the scraper.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Clients at a time.
const CLIENTS: usize = 8;

/// How long a client may take for its request, and for reading the answer.
const LIMIT: Duration = Duration::from_secs(10);

/// Bytes of the longest request: the least that hyper allows.
const LONGEST_REQUEST: usize = 8192;

/// How old the fill of the tables may be before a scrape has it read again.
const TABLES_AGE: Duration = Duration::from_secs(10);

/// How long a scrape waits for that. Hundreds of thousands of entries may take longer on a busy host.
const TABLES_PATIENCE: Duration = Duration::from_millis(250);

/// The time that packets are counted in by upstream.
const RECENT: Duration = Duration::from_secs(60);

/// The most upstreams that are reported: those that send most.
const UPSTREAMS: usize = 100;

/// The address is not to be had.
#[derive(Debug, thiserror::Error)]
#[error("failed to listen on {address} for Prometheus: {error}")]
pub struct ListenError {
    address: SocketAddr,
    error: io::Error,
}

impl ListenError {
    /// What the operator can do about it.
    #[must_use]
    #[expect(clippy::wildcard_enum_match_arm, reason = "the standard library adds kinds of errors")]
    pub fn help(&self) -> String {
        let Self { address, error } = self;
        match error.kind() {
            io::ErrorKind::AddrInUse => format!(
                "something else listens there: `ss --listening --tcp --processes 'sport = {}'` shows it; choose another \
                 port with `listen` of `[outputs.prometheus]` or `--prometheus ADDRESS:PORT`",
                address.port()
            ),
            io::ErrorKind::AddrNotAvailable => format!(
                "no interface of this host has the address {}: `ip -brief address` lists them; 127.0.0.1 is always there",
                address.ip()
            ),
            io::ErrorKind::PermissionDenied => "choose a port from 1024 on".to_owned(),
            _ => "choose another address with `listen` of `[outputs.prometheus]` or `--prometheus ADDRESS:PORT`"
                .to_owned(),
        }
    }
}

/// The exporter, which listens and does not answer yet.
#[derive(Debug)]
pub struct Prometheus {
    listener: TcpListener,
    address: SocketAddr,
}

/// A running exporter, until it is dropped.
#[derive(Debug)]
pub struct Exporter {
    _stop: oneshot::Sender<()>,
}

impl Prometheus {
    /// Listens on an address.
    ///
    /// # Errors
    /// Something else does, or the host does not have it.
    pub fn listen(address: SocketAddr) -> Result<Self, ListenError> {
        let failed = |error| ListenError { address, error };
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to answer.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn start(self, pins: Pins, bus: Arc<Bus>, talkers: Arc<Talkers>) -> io::Result<Exporter> {
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let counts = bus.add_exporter(NAME, self.address);
        let occupancy = Arc::new(sync::Mutex::new(OccupancyReader::new(pins.clone())));
        let scraper = Arc::new(Scraper { pins, bus, talkers, counts, occupancy, tables: Mutex::default() });
        thread::Builder::new().name(format!("output-{NAME}")).spawn(move || {
            let serve = async {
                tokio::select! {
                    result = serve(self.listener, scraper) => {
                        if let Err(error) = result {
                            tracing::error!("the metrics have ended: {error}");
                        }
                    }
                    _ = stopped => {}
                }
            };
            tokio::task::LocalSet::new().block_on(&runtime, serve);
        })?;
        Ok(Exporter { _stop: stop })
    }
}

/// Takes clients until it is dropped.
async fn serve(listener: TcpListener, scraper: Arc<Scraper>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(CLIENTS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!("failed to take a client: {error}");
                // Out of descriptors, most likely: they come back as other clients leave.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            scraper.counts.count(Scrape::Refused);
            refuse(&stream);
            continue;
        };
        let scraper = Arc::clone(&scraper);
        tokio::task::spawn_local(async move {
            if tokio::time::timeout(LIMIT, answer(stream, &scraper)).await.is_err() {
                scraper.counts.count(Scrape::TimedOut);
            }
            drop(place);
        });
    }
}

/// Tells a client that there are too many, without waiting for its request.
fn refuse(stream: &TcpStream) {
    let text = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\nRetry-After: 1\r\n\r\n";
    // Who does not get it sees that the connection is closed.
    let _ = stream.try_write(text.as_bytes());
}

/// Answers one request.
async fn answer(stream: TcpStream, scraper: &Scraper) {
    let service = service_fn(async |request: Request<Incoming>| Ok::<_, Infallible>(scraper.response(&request).await));
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(LONGEST_REQUEST)
        .timer(TokioTimer::new())
        .header_read_timeout(LIMIT)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!("a client of the metrics: {error}");
    }
}

/// What a request is answered from.
#[derive(Debug)]
struct Scraper {
    pins: Pins,
    bus: Arc<Bus>,
    talkers: Arc<Talkers>,
    counts: Arc<ScrapeCounts>,
    occupancy: Arc<sync::Mutex<OccupancyReader>>,
    tables: Mutex<Tables>,
}

/// The fill of the tables, and when it was read.
type Fill = (Instant, Vec<Occupancy>);

/// The fill of the tables, which may take longer to read than a scrape should.
#[derive(Debug, Default)]
struct Tables {
    /// The last one.
    known: Option<Fill>,
    /// The one that is being read.
    coming: Option<JoinHandle<Result<Fill, kernel::Error>>>,
}

impl Scraper {
    async fn read(&self) -> Result<Reading, kernel::Error> {
        let mut reading = Reading {
            facts: self.bus.facts(),
            scrapes: self.counts.read(),
            state: State::read(&self.pins)?,
            ..Reading::default()
        };
        if reading.state.is_some() {
            reading.tables = self.tables().await?;
            reading.counts = Counts::read(&self.pins)?;
            reading.cost = Cost::read(&self.pins)?;
            reading.observed = Observer::open(&self.pins)?.observed()?;
            reading.policy = self.talkers.policy();
            reading.upstreams = self.upstreams().await;
        }
        Ok(reading)
    }

    /// The packets of the last minute by the label of their source.
    async fn upstreams(&self) -> Vec<TopRow> {
        let talkers = Arc::clone(&self.talkers);
        let query = TopQuery::new(TopBy::Upstream, RECENT, UPSTREAMS);
        tokio::task::spawn_blocking(move || talkers.top(&query).rows).await.unwrap_or_default()
    }

    /// The fill of the tables, if it could ever be read in time. What takes longer is there for the next scrape.
    async fn tables(&self) -> Result<Vec<Occupancy>, kernel::Error> {
        let mut tables = self.tables.lock().await;
        if tables.coming.as_ref().is_some_and(JoinHandle::is_finished) {
            tables.take(Duration::ZERO).await?;
        }
        let is_old = tables.known.as_ref().is_none_or(|(read, _)| read.elapsed() >= TABLES_AGE);
        if is_old && tables.coming.is_none() {
            let reader = Arc::clone(&self.occupancy);
            tables.coming = Some(tokio::task::spawn_blocking(move || {
                let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
                Ok((Instant::now(), reader.read()?))
            }));
        }
        tables.take(TABLES_PATIENCE).await?;
        Ok(tables.known.as_ref().map(|(_, tables)| tables.clone()).unwrap_or_default())
    }
}

impl Tables {
    /// Waits for the one that is being read, but not for long.
    async fn take(&mut self, patience: Duration) -> Result<(), kernel::Error> {
        let Some(coming) = &mut self.coming else { return Ok(()) };
        let Ok(result) = tokio::time::timeout(patience, coming).await else { return Ok(()) };
        self.coming = None;
        match result {
            Ok(read) => self.known = Some(read?),
            Err(error) => tracing::error!("failed to read the tables: {error}"),
        }
        Ok(())
    }
}

impl Scraper {
    async fn response(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered\n".to_owned());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
            PATH => match self.read().await {
                Ok(reading) => {
                    self.counts.count(Scrape::Answered);
                    let mut response = plain(StatusCode::OK, reading.text());
                    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(FORMAT));
                    response
                }
                Err(error) => {
                    self.counts.count(Scrape::Failed);
                    plain(StatusCode::INTERNAL_SERVER_ERROR, format!("failed to read the filter: {error}\n"))
                }
            },
            "/" => {
                plain(StatusCode::OK, format!("ringfence {}: the metrics are at {PATH}\n", env!("CARGO_PKG_VERSION")))
            }
            _ => plain(StatusCode::NOT_FOUND, format!("the metrics are at {PATH}\n")),
        }
    }
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpStream,
        sync::mpsc,
    };

    use super::*;
    use crate::kernel::StateTable;

    fn exporter() -> (SocketAddr, Arc<Bus>, Exporter) {
        let bus = Arc::new(Bus::new(String::new(), None));
        let prometheus = Prometheus::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = prometheus.address();
        let exporter = prometheus.start(Pins::new("/nonexistent/pins"), Arc::clone(&bus), Arc::default()).unwrap();
        (address, bus, exporter)
    }

    fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn get(address: SocketAddr, path: &str) -> String {
        ask(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
    }

    #[test]
    fn it_answers_also_before_there_is_a_filter() {
        let (address, _, _exporter) = exporter();
        let answer = get(address, "/metrics");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{answer}");
        assert!(answer.contains("\nringfence_build_info{version=\""), "{answer}");
        assert!(get(address, "/metrics?x=1").contains("\nringfence_scrapes_total{result=\"answered\"} 1\n"));
        assert!(!get(address, "/metrics").contains("ringfence_policy_"), "no policy is in force");
    }

    #[test]
    fn other_requests_are_told_where_the_metrics_are() {
        let (address, _, _exporter) = exporter();
        assert!(get(address, "/").contains("the metrics are at /metrics"));
        assert!(get(address, "/metric").starts_with("HTTP/1.1 404 "));
        let answer = ask(address, "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("allow: GET, HEAD"), "{answer}");
        let long = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(2 * LONGEST_REQUEST));
        assert!(!ask_in_spite_of_errors(address, &long).contains("200 OK"));
    }

    /// The connection may be reset while the request is written.
    fn ask_in_spite_of_errors(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[test]
    fn idle_clients_take_the_places_of_others_only_up_to_the_bound_and_the_refused_ones_are_counted() {
        let (address, bus, _exporter) = exporter();
        let idle: Vec<TcpStream> = (0..CLIENTS).map(|_| TcpStream::connect(address).unwrap()).collect();
        let refused = ask_in_spite_of_errors(address, "");
        assert!(refused.starts_with("HTTP/1.1 503 Service Unavailable"), "{refused}");
        let lost = || bus.facts().outputs.into_iter().find(|output| output.output == NAME).unwrap();
        assert_eq!((lost().lost, lost().listen), (1, Some(address.to_string())));
        drop(idle);
        // Their places come back when the server has seen that they are gone.
        let answered = (0..1000).any(|_| {
            let answer = ask_in_spite_of_errors(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
            thread::sleep(Duration::from_millis(10));
            answer.contains("200 OK")
        });
        assert!(answered);
    }

    #[test]
    fn a_scrape_that_would_wait_for_full_tables_gets_the_last_ones() {
        let (release, gate) = mpsc::channel::<()>();
        let fill = |entries| Occupancy { table: StateTable::Rates, entries, limit: 9, evictions: 0 };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let coming = tokio::task::spawn_blocking(move || {
                // Fails when the test lets it go on.
                let _ = gate.recv();
                Ok((Instant::now(), vec![fill(2)]))
            });
            let mut tables = Tables { known: Some((Instant::now(), vec![fill(1)])), coming: Some(coming) };
            tables.take(Duration::from_millis(1)).await.unwrap();
            assert_eq!(tables.known.as_ref().unwrap().1, [fill(1)]);
            drop(release);
            tables.take(Duration::from_secs(60)).await.unwrap();
            assert_eq!(tables.known.as_ref().unwrap().1, [fill(2)]);
            assert!(tables.coming.is_none());
        });
    }

    #[test]
    fn an_address_that_is_taken_is_an_error_that_says_what_to_do() {
        let (address, _, _exporter) = exporter();
        let error = Prometheus::listen(address).unwrap_err();
        assert!(error.to_string().starts_with(&format!("failed to listen on {address} for Prometheus: ")), "{error}");
        assert!(error.help().contains(&format!("'sport = {}'", address.port())), "{}", error.help());
        let elsewhere = Prometheus::listen("203.0.113.1:9469".parse().unwrap()).unwrap_err();
        assert!(
            elsewhere.help().contains("no interface of this host has the address 203.0.113.1"),
            "{}",
            elsewhere.help()
        );
    }

    #[test]
    fn the_port_is_free_again_when_the_exporter_ends() {
        let (address, _, exporter) = exporter();
        drop(exporter);
        let again = (0..1000).find_map(|_| {
            thread::sleep(Duration::from_millis(10));
            Prometheus::listen(address).ok()
        });
        assert!(again.is_some());
    }
}
