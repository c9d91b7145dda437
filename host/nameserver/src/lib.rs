//! A small authoritative DNS server for one zone, kept up to date by signed RFC 2136 updates.
//!
//! It is the embedded default for people without a DNS server of their own, and for the demonstration. It speaks UDP
//! and TCP, honours prerequisites, applies an update whole or not at all, and has made it durable before it answers
//! `NOERROR`. Whatever is not signed with one of its keys changes nothing.
//!
//! It deliberately does not know Tidegate: no sites, no epochs, no routes. Nor does it know zone transfers,
//! DNSSEC, delegations, wildcards or other people's zones, which it refuses.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use tidegate_nameserver::{Nameserver, NameserverConfig, RecordData, TsigAlgorithm, TsigKey, ZoneRecord};
//!
//! let running = Nameserver::start(NameserverConfig {
//!     listen: vec!["127.0.0.1:5353".parse()?],
//!     zone: "example.test".into(),
//!     keys: vec![TsigKey { name: "tidegate".into(), algorithm: TsigAlgorithm::HmacSha256, secret: vec![7; 32] }],
//!     records: vec![ZoneRecord { name: "shop".into(), ttl_seconds: 5, data: RecordData::A([10, 1, 0, 10].into()) }],
//!     state: Some("/var/lib/tidegate/zone".into()),
//! })
//! .await?;
//! println!("answering on {}", running.local_addr());
//! running.stop().await?;
//! # Ok(())
//! # }
//! ```

mod authority;
mod config;
mod server;
mod state;
mod tsig;
mod update;
mod zone;

pub use config::{NameserverConfig, RecordData, TsigAlgorithm, TsigKey, ZoneRecord};
pub use server::{Nameserver, Running};
