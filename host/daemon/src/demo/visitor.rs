//! A client of the demonstration's services: resolves the name by DNS, keeps the answer for its TTL, calls every 20 ms.
//!
//! Knows a resolver's address and a name; what it saw is all that the demonstration says about outages.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinHandle;

/// How often it calls.
pub(super) const EVERY: Duration = Duration::from_millis(20);
/// How long it waits for an answer before it counts the call as lost.
const PATIENCE: Duration = Duration::from_millis(500);

/// What became of one call.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) began: Instant,
    pub(super) ended: Instant,
    /// The site that answered, or why none did.
    pub(super) result: Result<String, String>,
}

/// A client at work.
pub(super) struct Visitor {
    calls: Arc<Mutex<Vec<Call>>>,
    task: JoinHandle<()>,
}

impl Visitor {
    /// Begins to call the service behind `name` at `port`.
    pub(super) fn start(nameserver: SocketAddr, name: &str, port: u16) -> Visitor {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(visit(nameserver, name.to_owned(), port, Arc::clone(&calls)));
        Visitor { calls, task }
    }

    /// All calls that have ended so far, in the order in which they began.
    pub(super) fn calls(&self) -> Vec<Call> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone();
        calls.sort_by_key(|call| call.began);
        calls
    }

    /// Calls no more.
    pub(super) fn stop(self) -> Vec<Call> {
        self.task.abort();
        self.calls()
    }
}

/// The longest time between two answers in a row, if one of them lies after `since`.
pub(super) fn outage(calls: &[Call], since: Instant) -> Duration {
    let answered: Vec<Instant> = calls.iter().filter(|call| call.result.is_ok()).map(|call| call.ended).collect();
    let gaps =
        answered.windows(2).filter(|pair| pair[1] > since).map(|pair| pair[1].saturating_duration_since(pair[0]));
    gaps.max().unwrap_or_default()
}

async fn visit(nameserver: SocketAddr, name: String, port: u16, calls: Arc<Mutex<Vec<Call>>>) {
    let mut ticks = tokio::time::interval(EVERY);
    let mut known = Known::default();
    for turn in 0_usize.. {
        ticks.tick().await;
        let began = Instant::now();
        let address = known.address(nameserver, &name, turn).await;
        let calls = Arc::clone(&calls);
        tokio::spawn(async move {
            let result = match address {
                Ok(address) => call(SocketAddr::new(address, port)).await,
                Err(error) => Err(error),
            };
            let result = result.map_err(|error| format!("{error:#}"));
            let ended = Instant::now();
            calls.lock().unwrap_or_else(PoisonError::into_inner).push(Call { began, ended, result });
        });
    }
}

/// The last answer of the nameserver, good until its TTL is over.
#[derive(Default)]
struct Known {
    addresses: Vec<IpAddr>,
    until: Option<Instant>,
}

impl Known {
    async fn address(&mut self, nameserver: SocketAddr, name: &str, turn: usize) -> Result<IpAddr> {
        if self.until.is_none_or(|until| until <= Instant::now()) {
            let (addresses, ttl) = resolve(nameserver, name).await?;
            *self = Known { addresses, until: Some(Instant::now() + ttl) };
        }
        self.addresses.get(turn % self.addresses.len().max(1)).copied().context("the name has no address")
    }
}

/// Asks the nameserver for the name's addresses and how long they may be kept.
pub(super) async fn resolve(nameserver: SocketAddr, name: &str) -> Result<(Vec<IpAddr>, Duration)> {
    let mut query = Message::query();
    query.add_query(Query::query(Name::from_utf8(name).context("read the name")?, RecordType::A));
    let socket = UdpSocket::bind("127.0.0.1:0").await.context("open a socket for DNS")?;
    socket.connect(nameserver).await.context("reach the nameserver")?;
    socket.send(&query.to_vec().context("write a DNS query")?).await.context("ask the nameserver")?;
    let mut answer = [0; 1232];
    let length =
        tokio::time::timeout(PATIENCE, socket.recv(&mut answer)).await.context("the nameserver is silent")??;
    let message = Message::from_vec(&answer[..length]).context("read the nameserver's answer")?;
    let mut addresses = Vec::new();
    let mut ttl = u32::MAX;
    for record in &message.answers {
        if let RData::A(address) = &record.data {
            addresses.push(IpAddr::V4(address.0));
            ttl = ttl.min(record.ttl);
        }
    }
    if addresses.is_empty() {
        bail!("the nameserver knows no address of {name}");
    }
    addresses.sort();
    Ok((addresses, Duration::from_secs(ttl.into())))
}

async fn call(address: SocketAddr) -> Result<String> {
    let answer = async {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = hyper::Request::get("/").header("host", address.to_string()).body(Empty::<Bytes>::new())?;
        let body = sender.send_request(request).await?.into_body().collect().await?.to_bytes();
        Ok(String::from_utf8_lossy(&body).trim().to_owned())
    };
    tokio::time::timeout(PATIENCE, answer).await.with_context(|| format!("no answer from {address}"))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_the_longest_time_without_an_answer() {
        let start = Instant::now();
        let at = |ms, ok: bool| {
            let ended = start + Duration::from_millis(ms);
            Call { began: ended, ended, result: if ok { Ok("a".into()) } else { Err("b".into()) } }
        };
        let calls = [at(0, true), at(20, true), at(40, false), at(900, false), at(1000, true), at(1020, true)];
        assert_eq!(outage(&calls, start + Duration::from_millis(30)), Duration::from_millis(980));
        assert_eq!(outage(&calls, start + Duration::from_millis(1010)), Duration::from_millis(20));
    }
}
