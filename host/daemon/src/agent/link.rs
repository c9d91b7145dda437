//! One connection to the host, made again whenever it is lost; says once that it is lost, and once that it is back.
//!
//! Knows who speaks (token, name, site, session) and nothing of what is said.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Options;
use crate::agents::protocol::{AGENT, SESSION, SITE};

/// For the connection and the TLS handshake.
const CONNECT: Duration = Duration::from_secs(3);
/// The longest answer: a component.
const ANSWER_MAX: usize = 256 << 20;

/// Where the host is, and who speaks to it.
pub(super) struct Address {
    host: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    token_file: PathBuf,
    agent: HeaderValue,
    site: HeaderValue,
    session: u64,
}

/// One connection.
pub(super) struct Link {
    address: Arc<Address>,
    /// What it is for, in the log.
    what: &'static str,
    sender: Option<SendRequest<Full<Bytes>>>,
    /// What was last said of it: nothing yet, that it is well (none), or why it is not.
    said: Option<Option<String>>,
}

impl Address {
    pub(super) fn new(options: &Options) -> Result<Address> {
        let host = options.host.clone();
        let name = host.rsplit_once(':').map(|(name, _)| name.trim_matches(['[', ']']));
        let name = name.with_context(|| format!("{host} is no ADDRESS:PORT of a host"))?;
        let tls = if options.ca.is_some() || !is_loopback(name) {
            let config = crate::tls::client(options.ca.as_deref())?;
            let name = ServerName::try_from(name.to_owned())
                .with_context(|| format!("{name} cannot stand in a certificate"))?;
            Some((TlsConnector::from(config), name))
        } else {
            None
        };
        let header = |value: &str| {
            HeaderValue::from_str(value).with_context(|| format!("{value:?} is no name of the fleet file"))
        };
        Ok(Address {
            tls,
            token_file: options.token_file.clone(),
            agent: header(&options.name)?,
            site: header(&options.site)?,
            session: crate::agents::draw(),
            host,
        })
    }
}

impl Link {
    pub(super) fn new(address: Arc<Address>, what: &'static str) -> Link {
        Link { address, what, sender: None, said: None }
    }

    pub(super) async fn get(&mut self, path: &str, patience: Duration) -> Result<Bytes> {
        self.exchange(Method::GET, path, Bytes::new(), patience).await
    }

    pub(super) async fn post(&mut self, path: &str, body: Vec<u8>, patience: Duration) -> Result<Bytes> {
        self.exchange(Method::POST, path, body.into(), patience).await
    }

    /// A request and its answer, over a new connection if need be. After a failure it is open whether the host took it.
    async fn exchange(&mut self, method: Method, path: &str, body: Bytes, patience: Duration) -> Result<Bytes> {
        let answer = match timeout(patience, self.try_exchange(method, path, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(anyhow::anyhow!("no answer within {} s", patience.as_secs())),
        };
        if answer.is_err() {
            self.sender = None;
        }
        self.say(answer.as_ref().err());
        answer
    }

    async fn try_exchange(&mut self, method: Method, path: &str, body: Bytes) -> Result<Bytes> {
        if self.sender.as_ref().is_none_or(SendRequest::is_closed) {
            self.sender = Some(timeout(CONNECT, self.address.connect()).await.context("no connection in time")??);
        }
        let request = self.address.request(method, path, body).await?;
        let sender = self.sender.as_mut().context("the connection is gone")?;
        sender.ready().await.with_context(|| self.address.lost())?;
        let response = sender.send_request(request).await.with_context(|| self.address.lost())?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?.to_bytes();
        match status {
            StatusCode::OK => Ok(body),
            _ => bail!("the host refuses ({status}): {}", what_of(&body)),
        }
    }

    /// Only what is new: a host that is away for a day is worth two lines.
    fn say(&mut self, error: Option<&anyhow::Error>) {
        let state = error.map(|error| format!("{error:#}"));
        if self.said.as_ref() == Some(&state) {
            return;
        }
        match &state {
            Some(error) => tracing::warn!(
                host = self.address.host,
                purpose = self.what,
                error,
                "the host is not reached; trying again"
            ),
            None => tracing::info!(host = self.address.host, purpose = self.what, "the host is reached"),
        }
        self.said = Some(state);
    }
}

impl Address {
    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(&self.host).await.with_context(|| format!("connect to {}", self.host))?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => speak(stream).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await;
                speak(stream.with_context(|| format!("TLS with {}", self.host))?).await
            }
        }
    }

    /// The token is read each time, so that a new one is used without a restart.
    async fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>> {
        let token = tokio::fs::read_to_string(&self.token_file).await;
        let token = token.with_context(|| format!("read the token in {}", self.token_file.display()))?;
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
            .with_context(|| format!("{} holds no token", self.token_file.display()))?;
        bearer.set_sensitive(true);
        let request = Request::builder()
            .method(method)
            .uri(format!("/agent/v1/{path}"))
            .header(HOST, &self.host)
            .header(AUTHORIZATION, bearer)
            .header(AGENT, &self.agent)
            .header(SITE, &self.site)
            .header(SESSION, self.session);
        Ok(request.body(Full::new(body))?)
    }

    fn lost(&self) -> String {
        match self.tls {
            Some(_) => "the connection was lost".into(),
            None => "the connection was lost (plain; a host that wants TLS hangs up: give --ca)".into(),
        }
    }
}

async fn speak(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<SendRequest<Full<Bytes>>> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await.context("speak HTTP")?;
    // How it ends is seen by the request that is under way, or by the next.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

fn is_loopback(name: &str) -> bool {
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The sentence in an error's body.
fn what_of(body: &[u8]) -> String {
    let body: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let what = body.as_ref().and_then(|body| body["error"]["what"].as_str());
    what.unwrap_or("without a reason").to_owned()
}
