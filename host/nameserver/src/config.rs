//! What an operator says of the server: where it listens, its zone, its keys, where it keeps its state.
//!
//! Does not know the wire: names and algorithms become hickory's types here and are checked in doing so.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, SOA, TXT, tsig};
use hickory_proto::rr::{Name, RData, Record, TSigner};

use crate::zone::Zone;

/// How far a client's clock may be from ours, in seconds: what RFC 8945 recommends.
const TSIG_FUDGE_SECONDS: u16 = 300;

/// Of the zone's own records, and of the answer "there is no such name": short, because what this server is for is change.
const ZONE_TTL_SECONDS: u32 = 5;

/// Everything that the server needs to know to start.
#[derive(Debug, Clone)]
pub struct NameserverConfig {
    /// UDP and TCP, the same port for both; port 0 takes any free one.
    pub listen: Vec<SocketAddr>,
    /// The one zone that it answers for, such as `example.test`.
    pub zone: String,
    /// Each may change every name of the zone.
    pub keys: Vec<TsigKey>,
    /// What the zone holds at its very first start. Once there is a state file, that counts instead.
    pub records: Vec<ZoneRecord>,
    /// The file that keeps the zone across restarts; without one, updates are forgotten at the end. One server per file.
    pub state: Option<PathBuf>,
}

/// A secret shared with those who may update the zone.
#[derive(Clone)]
pub struct TsigKey {
    /// As both sides call it.
    pub name: String,
    /// Both sides have to agree on it.
    pub algorithm: TsigAlgorithm,
    /// The bytes themselves, not their base64.
    pub secret: Vec<u8>,
}

/// How updates are signed. Weaker ones are not supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TsigAlgorithm {
    /// The usual choice.
    HmacSha256,
    /// HMAC with SHA-384.
    HmacSha384,
    /// HMAC with SHA-512.
    HmacSha512,
}

/// One record of the zone's first content.
#[derive(Debug, Clone)]
pub struct ZoneRecord {
    /// As in a zone file: relative to the zone unless it ends in a dot, `@` for the zone itself.
    pub name: String,
    /// How long a resolver may keep it.
    pub ttl_seconds: u32,
    /// Where it leads.
    pub data: RecordData,
}

/// The kinds of records that a zone can begin with; updates may bring any other.
#[derive(Debug, Clone)]
pub enum RecordData {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// Another name, with or without the final dot: always a full one.
    Cname(String),
    /// Free text.
    Txt(String),
}

impl fmt::Debug for TsigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TsigKey").field("name", &self.name).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl NameserverConfig {
    /// The zone's name, fully qualified.
    pub(crate) fn origin(&self) -> Result<Name> {
        full_name(&self.zone).with_context(|| format!("the zone `{}` is not a domain name", self.zone))
    }

    /// The zone as it is before anybody has updated it.
    pub(crate) fn first_zone(&self) -> Result<Zone> {
        let origin = self.origin()?;
        let mut zone = Zone::new(origin.clone());
        for record in apex_records(&origin)? {
            zone.insert(record);
        }
        for record in &self.records {
            let read = record.to_record(&origin).with_context(|| format!("record `{}` of the zone", record.name))?;
            ensure!(zone.insert(read), "record `{}`: a CNAME cannot stand beside other records", record.name);
        }
        Ok(zone)
    }

    /// The keys, ready to check signatures with.
    pub(crate) fn signers(&self) -> Result<Vec<TSigner>> {
        let mut signers: Vec<TSigner> = Vec::new();
        for key in &self.keys {
            let signer = key.to_signer().with_context(|| format!("TSIG key `{}`", key.name))?;
            ensure!(
                signers.iter().all(|other| other.signer_name() != signer.signer_name()),
                "two TSIG keys are called `{}`: give each its own name",
                key.name
            );
            signers.push(signer);
        }
        Ok(signers)
    }
}

impl TsigKey {
    fn to_signer(&self) -> Result<TSigner> {
        ensure!(!self.secret.is_empty(), "its secret is empty");
        let algorithm = match self.algorithm {
            TsigAlgorithm::HmacSha256 => tsig::TsigAlgorithm::HmacSha256,
            TsigAlgorithm::HmacSha384 => tsig::TsigAlgorithm::HmacSha384,
            TsigAlgorithm::HmacSha512 => tsig::TsigAlgorithm::HmacSha512,
        };
        Ok(TSigner::new(self.secret.clone(), algorithm, full_name(&self.name)?, TSIG_FUDGE_SECONDS)?)
    }
}

impl ZoneRecord {
    fn to_record(&self, origin: &Name) -> Result<Record> {
        let name = if self.name == "@" { origin.clone() } else { Name::parse(&self.name, Some(origin))? };
        if !origin.zone_of(&name) {
            bail!("it lies outside the zone {origin}");
        }
        Ok(Record::from_rdata(name, self.ttl_seconds, self.data.to_rdata()?))
    }
}

impl RecordData {
    fn to_rdata(&self) -> Result<RData> {
        Ok(match self {
            Self::A(address) => RData::A(A(*address)),
            Self::Aaaa(address) => RData::AAAA(AAAA(*address)),
            Self::Cname(name) => RData::CNAME(CNAME(full_name(name)?)),
            Self::Txt(text) => RData::TXT(TXT::from_bytes(text.as_bytes().chunks(255).collect())),
        })
    }
}

/// Without a start of authority and a name server a zone is not a zone.
fn apex_records(origin: &Name) -> Result<[Record; 2]> {
    let server = Name::parse("ns", Some(origin))?;
    let mailbox = Name::parse("hostmaster", Some(origin))?;
    let soa = SOA::new(server.clone(), mailbox, 1, 3600, 600, 86_400, ZONE_TTL_SECONDS);
    Ok([
        Record::from_rdata(origin.clone(), ZONE_TTL_SECONDS, RData::SOA(soa)),
        Record::from_rdata(origin.clone(), ZONE_TTL_SECONDS, RData::NS(NS(server))),
    ])
}

fn full_name(text: &str) -> Result<Name> {
    let mut name = Name::from_ascii(text)?;
    name.set_fqdn(true);
    ensure!(!name.is_root(), "it is empty");
    Ok(name)
}
