//! The dead-man's heartbeat: a request to a URL of the operator's, as long as this host can decide.
//!
//! Whoever watches that URL finds out when a host has gone silent; the host itself could tell nobody. Each beat says whose it
//! is, so that one URL can watch several hosts.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http::Uri;
use http::header::{HOST, USER_AGENT};
use http_body_util::Empty;
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_rustls::TlsConnector;

use super::{Host, metrics};
use crate::agents::protocol::SITE;
use crate::tls;

/// One heartbeat's time, the kernel's answer included.
const PATIENCE: Duration = Duration::from_secs(10);

/// With no heartbeat to send, whether the fleet file has got one is looked at this often.
const IDLE: Duration = Duration::from_secs(10);

const PROGRAM: &str = concat!("tidegate/", env!("CARGO_PKG_VERSION"));

/// Beats for ever. What the fleet file says is looked up before each beat.
pub(super) async fn beat(host: Arc<Host>) {
    loop {
        let (url, every) = {
            let live = host.live();
            (live.fleet.host.heartbeat_url.clone(), Duration::from_millis(live.fleet.host.heartbeat_every))
        };
        match url {
            Some(url) => beat_at(&host, &url, every).await,
            None => tokio::time::sleep(IDLE).await,
        }
    }
}

/// Beats until the fleet file says otherwise.
async fn beat_at(host: &Host, url: &str, every: Duration) {
    let mut beats = interval(every.max(Duration::from_millis(100)));
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while host.live().fleet.host.heartbeat_url.as_deref() == Some(url) {
        beats.tick().await;
        let sent = timeout(PATIENCE, once(host, url)).await.context("took too long").flatten();
        host.metrics().count(metrics::HEARTBEATS, &[if sent.is_ok() { "sent" } else { "failed" }]);
        if let Err(error) = sent {
            tracing::warn!("the heartbeat did not reach [host] heartbeat-url: {error:#}");
        }
    }
}

/// A kernel that does not answer is a host that does not live.
async fn once(host: &Host, url: &str) -> anyhow::Result<()> {
    host.core().look(|_, _| ()).await?;
    get(url, host.live().own_site()).await
}

async fn get(url: &str, site: &str) -> anyhow::Result<()> {
    let uri: Uri = url.parse().context("is no URL")?;
    let name = uri.host().context("the URL names no host")?;
    let secure = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => bail!("the URL begins neither with http: nor with https:"),
    };
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = TcpStream::connect((name, port)).await?;
    if !secure {
        return ask(stream, &uri, site).await;
    }
    let server = name.to_owned().try_into()?;
    ask(TlsConnector::from(tls::client(None)?).connect(server, stream).await?, &uri, site).await
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    uri: &Uri,
    site: &str,
) -> anyhow::Result<()> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the answer.
    tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let request = Request::get(path).header(HOST, authority).header(USER_AGENT, PROGRAM).header(SITE, site);
    let request = request.body(Empty::<Bytes>::new())?;
    let status = sender.send_request(request).await?.status();
    ensure!(status.is_success(), "it answered {status}");
    Ok(())
}
