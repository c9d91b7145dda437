//! What the whole-system tests share: real servers, and how to ask them. The tests themselves are in `tests/`.

pub mod binary;
pub mod failover;
pub mod guests;
pub mod network;
pub mod postgres_versions;
pub mod servers;
pub mod servers_dns;
pub mod servers_http;
pub mod servers_postgres;
mod tools;
