//! The HTTP server of the daemon's API.

use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Body,
    extract::{
        ConnectInfo, DefaultBodyLimit, FromRequest, FromRequestParts, Query, RawQuery, State, connect_info::Connected,
    },
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{
        IntoResponse, Response,
        sse::{self, KeepAlive, Sse},
    },
    routing::{MethodRouter, get, post},
    serve::IncomingStream,
};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::StreamExt as _;

use super::{
    BanRequest, BansAnswer, BansRequest, CaptureQuery, Change, DetachRequest, Request, RollbackRequest, Socket,
    TopRequest, UnbanRequest,
    bounded::Bounded,
    capture::Capture,
    types::{OPENAPI, path},
};
use crate::{
    deploy::{self, BanBook, LONGEST_COMMENT, ListError, ListedBan},
    kernel::{self, BanError, Counts, Pins, Prefix},
    repository::History,
    telemetry::{
        Bus, DEFAULT_RECENT, EventFilter, EventQuery, FilterError, Heard, Notice, Status, Table, Talkers, TopBy,
        TopQuery, UpstreamList,
    },
};

/// What the server needs of the daemon.
#[derive(Debug)]
pub struct Shared {
    /// The pins of the filter that the status is about.
    pub pins: Pins,
    /// The filter's bans.
    pub bans: Arc<BanBook>,
    /// The filter's history.
    pub history: History,
    /// The daemon's bus.
    pub bus: Arc<Bus>,
    /// The packets that were sampled.
    pub talkers: Arc<Talkers>,
    /// Where requests to the daemon's loop go.
    pub requests: mpsc::Sender<Request>,
}

/// Answers requests until it is dropped; then the socket is removed.
pub async fn serve(socket: Socket, shared: Shared) {
    let router = routes()
        .into_iter()
        .fold(Router::new(), |router, (path, resource)| router.route(path, resource))
        .fallback(|| async {
            failure(StatusCode::NOT_FOUND, "there is no such resource; GET /openapi.json".to_owned())
        })
        .method_not_allowed_fallback(|| async {
            failure(StatusCode::METHOD_NOT_ALLOWED, "this resource has another method; GET /openapi.json".to_owned())
        });
    let Socket { listener, file: _file } = socket;
    let listener = Bounded::new(listener, shared.bus.clients());
    let router = router.with_state(Arc::new(shared));
    if let Err(error) = axum::serve(listener, router.into_make_service_with_connect_info::<Peer>()).await {
        tracing::error!("the API has ended: {error}");
    }
}

/// The API's resources: the path of each, and what answers there.
pub(super) fn routes() -> [(&'static str, MethodRouter<Arc<Shared>>); 16] {
    [
        (path::BAN, post(ban)),
        (path::BANS, get(bans).post(ban_all).layer(DefaultBodyLimit::max(LONGEST_LIST))),
        (path::CAPTURE, get(capture)),
        (path::COUNTERS, get(counters)),
        (path::DETACH, post(detach)),
        (path::EVENTS, get(events)),
        (path::HISTORY, get(history)),
        (path::OPENAPI, get(openapi)),
        (path::RELOAD, post(reload)),
        (path::ROLLBACK, post(rollback)),
        (path::STATUS, get(status)),
        (path::STOP, post(stop)),
        (path::SUGGEST, get(suggest)),
        (path::TOP, get(top)),
        (path::UNBAN, post(unban)),
        (path::UPSTREAMS, get(upstreams)),
    ]
}

/// Bytes of the longest list of bans: as many as there is room for, with comments.
const LONGEST_LIST: usize = 32 << 20;

/// The parameters of a query, or an error that says what is wrong with them.
struct Parameters<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(parameters)) => Ok(Self(parameters)),
            Err(error) => Err(failure(StatusCode::BAD_REQUEST, error.body_text())),
        }
    }
}

/// The JSON of a request, or an error that says what is wrong with it.
struct Posted<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Posted<T> {
    type Rejection = Response;

    async fn from_request(request: axum::extract::Request, state: &S) -> Result<Self, Response> {
        match Json::from_request(request, state).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(error) => Err(failure(StatusCode::BAD_REQUEST, error.body_text())),
        }
    }
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

async fn counters(State(shared): State<Arc<Shared>>) -> Response {
    match Counts::read(&shared.pins) {
        Ok(counts) => Json(Table::of(&counts, shared.bus.facts().table.as_ref())).into_response(),
        Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

async fn status(State(shared): State<Arc<Shared>>) -> Response {
    match Status::read(&shared.pins, Some(&shared.bus.facts())) {
        Ok(status) => Json(status).into_response(),
        Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

async fn bans(State(shared): State<Arc<Shared>>) -> Response {
    match shared.bans.list() {
        Ok(bans) => Json(bans).into_response(),
        Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

async fn ban(State(shared): State<Arc<Shared>>, Posted(request): Posted<BanRequest>) -> Response {
    let prefix = match Prefix::to_ban(&request.prefix) {
        Ok(prefix) => prefix,
        Err(error) => return failure(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()),
    };
    if request.comment.as_ref().is_some_and(|comment| comment.len() > LONGEST_COMMENT) {
        let message = format!("a comment has at most {LONGEST_COMMENT} bytes");
        return failure(StatusCode::UNPROCESSABLE_ENTITY, message);
    }
    match shared.bans.ban(prefix, request.seconds, request.comment) {
        Ok(ban) => published(&shared, Notice::Banned(ban)),
        Err(BanError::Kernel(error)) => failure(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        Err(error @ (BanError::Exempt { .. } | BanError::Lengths { .. })) => {
            failure(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
        }
    }
}

async fn ban_all(State(shared): State<Arc<Shared>>, Posted(request): Posted<BansRequest>) -> Response {
    let mut list = Vec::with_capacity(request.bans.len());
    for ban in request.bans {
        let prefix = match Prefix::to_ban(&ban.prefix) {
            Ok(prefix) => prefix,
            Err(error) => {
                return failure(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    format!("nothing was banned: line {}: {error}", ban.line),
                );
            }
        };
        if ban.comment.as_ref().is_some_and(|comment| comment.len() > LONGEST_COMMENT) {
            let message =
                format!("nothing was banned: line {}: a comment has at most {LONGEST_COMMENT} bytes", ban.line);
            return failure(StatusCode::UNPROCESSABLE_ENTITY, message);
        }
        list.push(ListedBan { prefix, seconds: ban.seconds, comment: ban.comment, line: ban.line });
    }
    let all = list.len() as u64;
    // Each takes some calls into the kernel.
    let bans = Arc::clone(&shared.bans);
    match tokio::task::spawn_blocking(move || bans.ban_all(&list)).await {
        Ok(Ok(made)) => {
            let added = made.len() as u64;
            made.into_iter().for_each(|ban| shared.bus.publish(Notice::Banned(ban)));
            Json(BansAnswer { added, kept: all - added }).into_response()
        }
        Ok(Err(ListError::Refused(message))) => failure(StatusCode::UNPROCESSABLE_ENTITY, message),
        Ok(Err(ListError::Kernel(error))) => failure(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

async fn unban(State(shared): State<Arc<Shared>>, Posted(request): Posted<UnbanRequest>) -> Response {
    let prefix = match request.prefix.as_deref().map(Prefix::exactly).transpose() {
        Ok(prefix) => prefix,
        Err(error) => return failure(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()),
    };
    match shared.bans.unban(prefix) {
        Ok(unbanned) if unbanned.count == 0 => Json(Notice::Unbanned(unbanned)).into_response(),
        Ok(unbanned) => published(&shared, Notice::Unbanned(unbanned)),
        Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// Answers with a notice, which everyone else gets too.
fn published(shared: &Shared, notice: Notice) -> Response {
    shared.bus.publish(notice.clone());
    Json(notice).into_response()
}

async fn events(State(shared): State<Arc<Shared>>, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let query = match EventQuery::parse(&query.unwrap_or_default()) {
        Ok(query) => query,
        Err(error) => return failure(StatusCode::BAD_REQUEST, error.to_string()),
    };
    if let Err(error) = check_rules(&shared, &query.filter) {
        return failure(StatusCode::BAD_REQUEST, error.to_string());
    }
    let (kept, listener) = shared.bus.listen(query.last.unwrap_or(DEFAULT_RECENT), query.filter);
    let kept = tokio_stream::iter(kept).map(Heard::Event);
    let line = |heard| Ok::<_, Infallible>(json(heard) + "\n");
    let accepted = headers.get(header::ACCEPT).and_then(|accepted| accepted.to_str().ok()).unwrap_or_default();
    if accepted.contains("text/event-stream") {
        // Who asks for a stream of events wants those to come.
        let events = kept.chain(listener).map(|heard| Ok::<_, Infallible>(sse::Event::default().data(json(heard))));
        return Sse::new(events).keep_alive(KeepAlive::default()).into_response();
    }
    let body = if query.follow {
        Body::from_stream(kept.chain(listener).map(line))
    } else {
        Body::from_stream(kept.map(line))
    };
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

fn json(heard: Heard) -> String {
    match heard {
        Heard::Event(event) => event.json_line(),
        Heard::Missed(missed) => Notice::Missed(missed).json_line(),
    }
}

async fn capture(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Response {
    let query = match CaptureQuery::parse(&query.unwrap_or_default()) {
        Ok(query) => query,
        Err(error) => return failure(StatusCode::BAD_REQUEST, error.to_string()),
    };
    if let Err(error) = check_rules(&shared, &query.filter) {
        return failure(StatusCode::BAD_REQUEST, error.to_string());
    }
    let Some(capture) = Capture::begin(&shared.bus, &shared.pins, query) else {
        let message = format!("{} captures are at work already: more would take too much memory", Capture::MOST);
        return failure(StatusCode::SERVICE_UNAVAILABLE, message);
    };
    // Once the answer begins, packets are being captured.
    match ask(&shared, Request::Observe).await {
        Some(Ok(())) => {}
        Some(Err(error)) => return failure(StatusCode::INTERNAL_SERVER_ERROR, error),
        None => return failure(StatusCode::SERVICE_UNAVAILABLE, "the daemon is ending".to_owned()),
    }
    let body = Body::from_stream(capture.blocks());
    ([(header::CONTENT_TYPE, "application/x-pcapng")], body).into_response()
}

/// Checks that the rules of a filter are in force, or were when an event that is kept was sent.
fn check_rules(shared: &Shared, filter: &EventFilter) -> Result<(), FilterError> {
    if filter.rules.is_empty() {
        return Ok(());
    }
    // Without names there is nothing to compare with.
    let Ok(names) = kernel::rule_names(&shared.pins) else { return Ok(()) };
    let (kept, _) = shared.bus.listen(usize::MAX, EventFilter::default());
    let known = names.iter().map(String::as_str).chain(kept.iter().filter_map(|event| event.rule.as_deref()));
    filter.check_rules(known)
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
struct Peer(Option<u32>);

impl Connected<IncomingStream<'_, Bounded>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Self {
        Self(stream.io().user())
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(user) => write!(f, "user {user}"),
            None => f.write_str("an unknown user"),
        }
    }
}

async fn history(State(shared): State<Arc<Shared>>) -> Response {
    match deploy::generations(&shared.history, &shared.pins) {
        Ok(list) => Json(list).into_response(),
        Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

async fn rollback(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Posted(request): Posted<RollbackRequest>,
) -> Response {
    let change = if request.release { Change::Release } else { Change::Rollback(request.generation) };
    changed(ask(&shared, |answer| Request::Change(change, peer.to_string(), answer)).await)
}

async fn reload(State(shared): State<Arc<Shared>>, ConnectInfo(peer): ConnectInfo<Peer>) -> Response {
    changed(ask(&shared, |answer| Request::Reload(peer.to_string(), answer)).await)
}

/// What came of a change of the policy.
fn changed(answer: Option<Notice>) -> Response {
    match answer {
        Some(notice @ Notice::Held(_)) => (StatusCode::CONFLICT, Json(notice)).into_response(),
        Some(notice @ (Notice::Error { .. } | Notice::PolicyError(_))) => {
            (StatusCode::UNPROCESSABLE_ENTITY, Json(notice)).into_response()
        }
        Some(notice @ Notice::SourceError(_)) => (StatusCode::BAD_GATEWAY, Json(notice)).into_response(),
        Some(notice) => Json(notice).into_response(),
        None => failure(StatusCode::SERVICE_UNAVAILABLE, "the daemon is ending".to_owned()),
    }
}

async fn detach(State(shared): State<Arc<Shared>>, Posted(request): Posted<DetachRequest>) -> Response {
    let DetachRequest { interface } = request;
    match ask(&shared, |answer| Request::TakeOff { interface, answer }).await {
        Some(Ok(removed)) => Json(Notice::Removed(removed)).into_response(),
        Some(Err(message)) => failure(StatusCode::UNPROCESSABLE_ENTITY, message),
        None => failure(StatusCode::SERVICE_UNAVAILABLE, "the daemon is ending".to_owned()),
    }
}

async fn top(State(shared): State<Arc<Shared>>, Parameters(request): Parameters<TopRequest>) -> Response {
    let query = match request.query() {
        Ok(query) => query,
        Err(message) => return failure(StatusCode::BAD_REQUEST, message),
    };
    // It looks at up to a quarter of a million samples.
    let answer = tokio::task::spawn_blocking(move || shared.talkers.top(&query)).await;
    match answer {
        Ok(top) => Json(top).into_response(),
        Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// The time that an upstream's packets are counted in.
const RECENT: Duration = Duration::from_secs(60);

async fn upstreams(State(shared): State<Arc<Shared>>) -> Response {
    let Some(facts) = shared.talkers.policy() else {
        let message = "this daemon has not read the policy in force: it goes on with the filter of another one";
        return failure(StatusCode::SERVICE_UNAVAILABLE, message.to_owned());
    };
    let answer = tokio::task::spawn_blocking(move || {
        let counts = Counts::read(&shared.pins)?;
        let recent = shared.talkers.top(&TopQuery::new(TopBy::Upstream, RECENT, usize::MAX));
        Ok::<_, kernel::Error>(UpstreamList::new(&facts, &counts, &recent))
    });
    match answer.await {
        Ok(Ok(list)) => Json(list).into_response(),
        Ok(Err(error)) => failure(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SuggestQuery {
    /// How far back.
    seconds: Option<u64>,
}

async fn suggest(State(shared): State<Arc<Shared>>, Parameters(query): Parameters<SuggestQuery>) -> Response {
    let window = Duration::from_secs(query.seconds.unwrap_or(TopRequest::SECONDS));
    match tokio::task::spawn_blocking(move || shared.talkers.suggest(window)).await {
        Ok(suggestions) => Json(suggestions).into_response(),
        Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StopQuery {
    /// Remove the filter, too.
    #[serde(default)]
    detach: bool,
}

async fn stop(State(shared): State<Arc<Shared>>, Parameters(StopQuery { detach }): Parameters<StopQuery>) -> Response {
    match ask(&shared, |answer| Request::Stop { detach, answer }).await {
        Some(stopped) => Json(Notice::Stopped(stopped)).into_response(),
        None => failure(StatusCode::SERVICE_UNAVAILABLE, "the daemon is ending already".to_owned()),
    }
}

/// Asks the daemon's loop; none if it has ended.
async fn ask<T>(shared: &Shared, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
    let (sender, answer) = oneshot::channel();
    shared.requests.send(request(sender)).await.ok()?;
    answer.await.ok()
}

fn failure(code: StatusCode, message: String) -> Response {
    (code, Json(Notice::Error { message })).into_response()
}
