//! Listens, finds out who asks, and bounds what one asker can cost: connections, time and bytes.
//!
//! Knows nothing of the questions.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, fs};

use anyhow::{Context, ensure};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::answer::{Body, Told};
use super::people::{Caller, login};
use super::routes;
use crate::host::Host;

/// Enough for consoles and scripts; one more waits.
const CONNECTIONS: usize = 256;

/// A slower client's connection is closed.
const HEADER_TIME: Duration = Duration::from_secs(10);

/// A connection that cannot be accepted (no more files) is tried again after this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where questions come in.
pub enum Listener {
    /// From this machine.
    Unix(UnixListener, PathBuf),
    /// From anywhere, with a token; in the clear on loopback only.
    Tcp(TcpListener, Option<TlsAcceptor>),
}

/// Where a host listens, for whoever wants to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listening {
    /// Its Unix socket.
    Unix(PathBuf),
    /// Its address.
    Tcp(SocketAddr),
}

impl fmt::Display for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listening::Unix(path) => write!(f, "unix:{}", path.display()),
            Listening::Tcp(address) => write!(f, "{address}"),
        }
    }
}

#[derive(Clone, Copy)]
enum Proof {
    Login(u32),
    Token,
}

impl Listener {
    /// Opens `unix:PATH` or `ADDRESS:PORT`.
    pub async fn open(listen: &str, tls: Option<Arc<ServerConfig>>) -> anyhow::Result<Self> {
        if let Some(path) = listen.strip_prefix("unix:") {
            return open_unix(Path::new(path)).with_context(|| format!("cannot listen at {listen}"));
        }
        let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen at {listen}"))?;
        ensure!(
            tls.is_some() || listener.local_addr()?.ip().is_loopback(),
            "orders would be taken at {listen} without TLS, and tokens could be read on the way\n  unchanged: nothing listens \
             there\n  next: set [host.tls] certificate and key, or listen on 127.0.0.1"
        );
        Ok(Listener::Tcp(listener, tls.map(TlsAcceptor::from)))
    }

    /// Where it listens.
    pub fn listening(&self) -> anyhow::Result<Listening> {
        Ok(match self {
            Listener::Unix(_, path) => Listening::Unix(path.clone()),
            Listener::Tcp(listener, _) => Listening::Tcp(listener.local_addr()?),
        })
    }
}

/// Answers until it is dropped.
pub async fn serve(listeners: Vec<Listener>, host: Arc<Host>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(listener, host.clone(), places.clone()));
    }
    while accepting.join_next().await.is_some() {}
}

async fn accept(listener: Listener, host: Arc<Host>, places: Arc<Semaphore>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let (stream, proof) = match next(&listener).await {
            Ok(connected) => connected,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let host = host.clone();
        connections.spawn(async move {
            if let Some(stream) = finish_handshake(stream).await {
                answer_all(stream, proof, host).await;
            }
            drop(place);
        });
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

enum Accepted {
    Ready(Box<dyn Stream>),
    Tls(Box<tokio_rustls::Accept<tokio::net::TcpStream>>),
}

async fn next(listener: &Listener) -> std::io::Result<(Accepted, Proof)> {
    match listener {
        Listener::Unix(listener, _) => {
            let (stream, _) = listener.accept().await?;
            let proof = Proof::Login(peer(&stream)?);
            Ok((Accepted::Ready(Box::new(stream)), proof))
        }
        Listener::Tcp(listener, None) => Ok((Accepted::Ready(Box::new(listener.accept().await?.0)), Proof::Token)),
        Listener::Tcp(listener, Some(tls)) => {
            let (stream, _) = listener.accept().await?;
            Ok((Accepted::Tls(Box::new(tls.accept(stream))), Proof::Token))
        }
    }
}

async fn finish_handshake(stream: Accepted) -> Option<Box<dyn Stream>> {
    match stream {
        Accepted::Ready(stream) => Some(stream),
        Accepted::Tls(handshake) => Some(Box::new(timeout(HEADER_TIME, *handshake).await.ok()?.ok()?)),
    }
}

async fn answer_all(stream: Box<dyn Stream>, proof: Proof, host: Arc<Host>) {
    let service = service_fn(|request| {
        let host = host.clone();
        async move { Ok::<_, Infallible>(answer(request, proof, &host).await) }
    });
    let mut http = http1::Builder::new();
    let connection =
        http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn answer(request: Request<Incoming>, proof: Proof, host: &Arc<Host>) -> Response<Body> {
    let caller = match who(&request, proof, host) {
        Some(caller) => caller,
        None if routes::is_public(request.uri().path()) => {
            return routes::public(host).await.unwrap_or_else(Told::response);
        }
        None => return unknown().response(),
    };
    routes::answer(request, caller, host).await.unwrap_or_else(Told::response)
}

fn who(request: &Request<Incoming>, proof: Proof, host: &Host) -> Option<Caller> {
    let live = host.live();
    match proof {
        Proof::Login(uid) => Some(live.people.by_login(&login(uid))),
        Proof::Token => live.people.by_token(request.headers()).cloned(),
    }
}

fn unknown() -> Told {
    let next = "send `Authorization: Bearer TOKEN` with the token of a [person.NAME] of the fleet file";
    Told::new(StatusCode::UNAUTHORIZED, "nobody known asks", "header authorization", next)
}

/// A socket that a host has left behind is replaced; whose state it is, the journal's lock has decided before.
fn open_unix(path: &Path) -> anyhow::Result<Listener> {
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    // Bound under a name that nobody knows and made private before it gets its own: nobody can come in between.
    let fresh = path.with_extension(format!("{}", std::process::id()));
    let listener = UnixListener::bind(&fresh)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600))?;
    fs::rename(&fresh, path)?;
    Ok(Listener::Unix(listener, path.to_owned()))
}

fn peer(stream: &UnixStream) -> std::io::Result<u32> {
    Ok(stream.peer_cred()?.uid())
}
