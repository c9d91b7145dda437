//! Asks a DNS server one question, for tests that must not believe the code that they test.
//!
//! Knows no retries and no TCP: on loopback an answer that does not come is a failure.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a server says to one question.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// `NoError`, `NXDomain` …
    pub code: ResponseCode,
    /// The data of the records of the type asked for, sorted, as zone files write them.
    pub records: Vec<String>,
    /// Of the first of them.
    pub ttl_seconds: Option<u32>,
}

/// One question by UDP.
pub fn ask(server: SocketAddr, name: &str, record_type: &str) -> Result<Answer> {
    let wanted: RecordType = record_type.parse()?;
    let mut question = Message::query();
    question.add_query(Query::query(Name::from_ascii(name)?, wanted));
    let answer = Message::from_vec(&exchange(server, &question.to_vec()?)?)?;
    ensure!(answer.metadata.id == question.metadata.id, "{server} answers another question");
    let records = answer.answers.iter().filter(|record| record.record_type() == wanted);
    let mut data: Vec<String> = records.clone().map(|record| record.data.to_string()).collect();
    data.sort();
    let ttl_seconds = records.map(|record| record.ttl).next();
    Ok(Answer { code: answer.metadata.response_code, records: data, ttl_seconds })
}

/// The serial of a zone.
pub fn serial(server: SocketAddr, zone: &str) -> Result<u32> {
    let answer = ask(server, zone, "SOA")?;
    let soa = answer.records.first().context("the zone has no SOA record")?;
    Ok(soa.split(' ').nth(2).context("an SOA has a serial")?.parse()?)
}

fn exchange(server: SocketAddr, request: &[u8]) -> Result<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(server)?;
    socket.send(request)?;
    let mut answer = vec![0; 4096];
    let length = socket.recv(&mut answer).with_context(|| format!("{server} does not answer"))?;
    answer.truncate(length);
    Ok(answer)
}
