//! The listener that agents talk to: HTTP/1.1, with TLS where it is configured, every request with its agent's token.
//!
//! Knows who speaks and hands on what is said; [`super::protocol`] lists the requests.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::protocol::{AGENT, Done, Heard, Heartbeat, Report, SESSION, SITE, Work};
use super::roster::Member;
use super::{Shared, lock};

/// Each agent has four connections.
const CONNECTIONS_MAX: usize = 1_024;
/// For a TLS handshake, and for a request's head.
const HELLO: Duration = Duration::from_secs(10);
/// For the rest of a request.
const BODY: Duration = Duration::from_secs(30);
/// The longest report: some 20,000 looks.
const BODY_MAX: usize = 8 << 20;
/// A question without news is answered after this long, before anything on the way takes the connection for dead.
const LONG_POLL: Duration = Duration::from_secs(20);

type Answer = Response<Full<Bytes>>;

/// Why a request is not answered.
struct Refusal {
    status: StatusCode,
    what: String,
}

/// Takes connections until it is stopped.
pub(super) async fn accept(listener: TcpListener, tls: Option<Arc<ServerConfig>>, shared: Arc<Shared>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let tls = tls.map(TlsAcceptor::from);
    // Whoever stops this ends the connections as well.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (shared, tls) = (shared.clone(), tls.clone());
                connections.spawn(async move {
                    greet(stream, tls, shared).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot take an agent's connection");
                // Out of descriptors, most likely: give some time to get them back instead of spinning.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn greet(stream: TcpStream, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    // A report is one small write: waiting to fill a packet would only delay it.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return serve(stream, shared).await };
    match timeout(HELLO, tls.accept(stream)).await {
        Ok(Ok(stream)) => serve(stream, shared).await,
        Ok(Err(error)) => tracing::debug!(%error, "an agent's TLS handshake failed"),
        Err(_) => tracing::debug!("an agent's TLS handshake took too long"),
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, shared: Arc<Shared>) {
    let service = hyper::service::service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(answer(request, shared).await.unwrap_or_else(Answer::from)) }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HELLO);
    if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "an agent's connection ended");
    }
}

/// The answer to one request.
async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Answer, Refusal> {
    let roster = shared.roster.load_full();
    if roster.members().next().is_none() {
        return Err(refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "this host knows no agents: it has just started, or its fleet file has none",
        ));
    }
    let (member, session) = speaker(&request, roster.bearer(&token(&request)?))?;
    let path = request.uri().path().strip_prefix("/agent/v1/").unwrap_or_default().to_owned();
    let query = |name: &str| query(request.uri().query().unwrap_or_default(), name);
    match (request.method(), path.as_str()) {
        (&Method::POST, "report") => {
            let report = body(request).await?;
            Ok(json(&hear(&shared, member, session, report, roster.freshness).await))
        }
        (&Method::POST, "renew") => {
            let renewal = body(request).await?;
            Ok(json(&shared.leases.renew(&roster, member, renewal)))
        }
        (&Method::POST, "done") => {
            member.post.work.done(body::<Done>(request).await?);
            Ok(json(&serde_json::json!({})))
        }
        (&Method::GET, "plan") => Ok(json(&*plan(member, query("version").unwrap_or_default()).await)),
        (&Method::GET, "work") => {
            let same_host = query("host").is_some_and(|host| host == shared.host.to_string());
            let after = query("after").and_then(|after| after.parse().ok()).filter(|_| same_host).unwrap_or(0);
            let items = member.post.work.after(session, after, LONG_POLL).await;
            let plan = member.plan.borrow().version.clone();
            Ok(json(&Work { host: shared.host, plan, items }))
        }
        (&Method::GET, path) => match path.strip_prefix("plugin/") {
            Some(digest) => component(roster.component(digest), member, digest),
            None => Err(refuse(StatusCode::NOT_FOUND, "no such request")),
        },
        _ => Err(refuse(StatusCode::NOT_FOUND, "no such request")),
    }
}

/// Takes a report in; the answer carries a new heartbeat.
async fn hear(shared: &Shared, member: &Member, session: u64, report: Report, freshness: u64) -> Heard {
    let heartbeat = Heartbeat { host: shared.host, sent: (shared.clock)() };
    if let Some(word) = member.post.hear(&member.name, session, report, heartbeat, freshness) {
        // Closed only as the host stops.
        let _ = shared.words.send(word).await;
    }
    Heard { heartbeat, chain: lock(&shared.chain).clone(), plan: member.plan.borrow().version.clone() }
}

/// The agent's plan, as soon as it is not the one that it has.
async fn plan(member: &Member, version: String) -> Arc<super::protocol::Plan> {
    let mut plans = member.plan.subscribe();
    let _ = timeout(LONG_POLL, plans.wait_for(|plan| plan.version != version)).await;
    member.plan.borrow().clone()
}

/// Only what the agent's own plan names.
fn component(bytes: Option<Bytes>, member: &Member, digest: &str) -> Result<Answer, Refusal> {
    let named = member.plan.borrow().slots.values().any(|slot| slot.digest == digest);
    let bytes =
        bytes.filter(|_| named).ok_or_else(|| refuse(StatusCode::NOT_FOUND, "your plan names no such component"))?;
    Ok(respond(StatusCode::OK, "application/wasm", bytes))
}

/// The token that a request carries.
fn token(request: &Request<Incoming>) -> Result<String, Refusal> {
    let value = header(request, AUTHORIZATION.as_str());
    let token = value.and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned);
    token.ok_or_else(|| refuse(StatusCode::UNAUTHORIZED, "an agent's token is wanted"))
}

/// The agent that a token belongs to, if it speaks in its own name, and its process.
fn speaker<'a>(request: &Request<Incoming>, bearer: Option<&'a Member>) -> Result<(&'a Member, u64), Refusal> {
    let member = bearer.ok_or_else(|| refuse(StatusCode::UNAUTHORIZED, "this token belongs to no agent"))?;
    let (agent, site) = (header(request, AGENT).unwrap_or_default(), header(request, SITE).unwrap_or_default());
    if agent != &*member.name || site != &*member.site {
        tracing::warn!(token_of = &*member.name, agent, site, "refused an agent that speaks in another name");
        let text = format!("this token belongs to agent {} at {}, not to {agent} at {site}", member.name, member.site);
        return Err(refuse(StatusCode::FORBIDDEN, &text));
    }
    let session = header(request, SESSION).and_then(|session| session.parse().ok());
    Ok((member, session.ok_or_else(|| refuse(StatusCode::BAD_REQUEST, "a session's number is wanted"))?))
}

fn header<'a>(request: &'a Request<Incoming>, name: &str) -> Option<&'a str> {
    request.headers().get(name).and_then(|value| value.to_str().ok())
}

fn query(query: &str, name: &str) -> Option<String> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.to_owned())
}

async fn body<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Refusal> {
    let read = timeout(BODY, Limited::new(request.into_body(), BODY_MAX).collect()).await;
    let bytes = match read {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) => return Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, &error.to_string())),
        Err(_) => return Err(refuse(StatusCode::REQUEST_TIMEOUT, "the request took too long")),
    };
    serde_json::from_slice(&bytes).map_err(|error| refuse(StatusCode::BAD_REQUEST, &error.to_string()))
}

fn json(value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(bytes) => respond(StatusCode::OK, "application/json", bytes.into()),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()).into(),
    }
}

fn refuse(status: StatusCode, what: &str) -> Refusal {
    Refusal { status, what: what.to_owned() }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        let error = serde_json::json!({"what": refusal.what, "unchanged": "nothing was taken from this request"});
        respond(refusal.status, "application/json", serde_json::json!({"error": error}).to_string().into())
    }
}

fn respond(status: StatusCode, kind: &'static str, bytes: Bytes) -> Answer {
    let mut response = Response::new(Full::new(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}
