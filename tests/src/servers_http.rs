//! An HTTP server for the tests: answers as it is told to and remembers what it was asked.
//!
//! Knows no path and no method.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// Listens on a port of its own for as long as the test's runtime lives.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Asked>>>,
}

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// "POST /path?query"
    pub line: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// As it was sent.
    pub body: Vec<u8>,
}

type Answer = fn(&Asked) -> (u16, &'static str);

impl HttpServer {
    /// `answer` says status and body.
    pub async fn start(answer: Answer) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, seen) = (listener.local_addr()?, Arc::<Mutex<Vec<Asked>>>::default());
        let log = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answer, log.clone()));
            }
        });
        Ok(Self { address, seen })
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it was asked since the last time that somebody wanted to know.
    pub fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Asked {
    /// The value of a header; empty = there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    }
}

async fn serve(stream: TcpStream, answer: Answer, seen: Arc<Mutex<Vec<Asked>>>) {
    let service = service_fn(|request| async {
        let asked = read(request).await?;
        let (status, body) = answer(&asked);
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
        anyhow::Ok(hyper::Response::builder().status(status).body(Full::new(Bytes::from(body)))?)
    });
    // A client that hangs up is the test's own business.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn read(request: hyper::Request<Incoming>) -> Result<Asked> {
    let (head, body) = request.into_parts();
    let headers = head.headers.iter();
    Ok(Asked {
        line: format!("{} {}", head.method, head.uri),
        headers: headers
            .map(|(name, value)| Ok((name.to_string(), value.to_str()?.to_owned())))
            .collect::<Result<_>>()?,
        body: body.collect().await?.to_bytes().to_vec(),
    })
}
