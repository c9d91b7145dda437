//! One site of the demonstration: a small HTTP service, and the uplink of a vantage point, each a process of its own.
//!
//! Knows nothing of Tidegate: what is killed here is an ordinary server.

use std::convert::Infallible;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// Answers every request with the site's name until it is killed.
pub async fn serve(name: &str, listen: SocketAddr) -> Result<()> {
    let listener =
        TcpListener::bind(listen).await.with_context(|| format!("listen on {listen} for the site {name}"))?;
    loop {
        let (stream, _) = listener.accept().await.context("accept a visitor")?;
        let answer = Bytes::from(format!("{name}\n"));
        tokio::spawn(async move {
            let service = service_fn(move |_: Request<hyper::body::Incoming>| {
                let response = Response::new(Full::new(answer.clone()));
                async move { Ok::<_, Infallible>(response) }
            });
            // A visitor that goes away in the middle is the visitor's business.
            drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

/// Forwards every connection to `to` until it is killed: the line by which a vantage point sees the world.
pub async fn uplink(listen: SocketAddr, to: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("listen on {listen} for an uplink"))?;
    loop {
        let (mut near, _) = listener.accept().await.context("accept on an uplink")?;
        tokio::spawn(async move {
            if let Ok(mut far) = TcpStream::connect(to).await {
                // Either end may hang up at any time; then so does the other.
                drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
            }
        });
    }
}
