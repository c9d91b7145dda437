//! What the fleet file says of one cluster, in PostgreSQL's words.
//!
//! Pure: knows neither sockets nor secrets' values.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tidegate_sdk::{Period, Problem, schemars, serde};

/// For one look at one node, when the operator does not say.
const DEFAULT_TIMEOUT: Period = Period::milliseconds(500);

/// `[cluster.NAME]`, with its nodes.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Declaration {
    /// The role for looks and control.
    pub user: String,
    /// Name of the secret with its password; without one the server has to let it in without.
    pub password: Option<String>,
    /// The database to connect to.
    #[serde(default = "default_database")]
    pub database: String,
    /// The role that standbys stream as; by default `user`.
    pub replication_user: Option<String>,
    /// Name of the secret with its password; without one the standby's own password file counts.
    pub replication_password: Option<String>,
    /// By default `disable` where every node is on this machine, else `verify-full`.
    pub tls: Option<Tls>,
    /// For one look at the nodes.
    #[serde(default = "default_timeout")]
    pub timeout: Period,
    /// Standbys that a commit waits for. From the host.
    #[serde(default)]
    pub synchronous: u32,
    /// From the host.
    pub nodes: Vec<Node>,
}

/// `[cluster.NAME.node.NAME]`.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Node {
    /// Also its `application_name` as a standby. From the host.
    pub name: String,
    /// From the host.
    pub site: String,
    /// 0 = never promote. From the host.
    #[serde(default = "default_priority")]
    pub priority: u32,
    /// Role (`stop`, `start`, `rejoin`, `rebuild`) → the command's name. From the host.
    #[serde(default)]
    pub commands: BTreeMap<String, String>,
    /// `HOST:PORT`, `192.0.2.1:5432` or `[2001:db8::1]:5432`.
    pub address: String,
}

/// As libpq's `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Tls {
    /// In the clear.
    Disable,
    /// Encrypted, with whoever answers.
    Require,
    /// Encrypted, with the holder of a certificate for the node's name.
    VerifyFull,
}

impl tidegate_sdk::Settings for Declaration {
    fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.nodes.is_empty() {
            problems.push(Problem::new("/nodes", "declare at least one node"));
        }
        if self.timeout == Period::default() {
            problems.push(Problem::new("/timeout", "longer than nothing"));
        }
        for (index, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.host_and_port().is_none()) {
            let text = format!("{:?} is not HOST:PORT", node.address);
            problems.push(Problem::new(format!("/nodes/{index}/address"), text));
        }
        problems.extend(self.refuse_tls());
        problems
    }
}

impl Declaration {
    /// How connections are made: as written, else by where the nodes are.
    pub fn tls(&self) -> Tls {
        let by_place = if self.nodes.iter().all(Node::is_local) { Tls::Disable } else { Tls::VerifyFull };
        self.tls.unwrap_or(by_place)
    }

    /// The time for one look.
    pub fn timeout(&self) -> Duration {
        self.timeout.into()
    }

    /// The node of that name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The role that standbys stream as.
    pub fn replication_user(&self) -> &str {
        self.replication_user.as_deref().unwrap_or(&self.user)
    }

    /// Refused before anything is sent, so that nobody believes a password was protected.
    fn refuse_tls(&self) -> Option<Problem> {
        let text = match (self.tls(), self.tls) {
            (Tls::Disable, _) => return None,
            (_, Some(_)) => {
                "TLS cannot be had from within this plugin yet; write tls = \"disable\" on a network that you trust, or a tunnel's end as address"
            }
            (_, None) => {
                "a node is not on this machine, so that TLS is needed, which cannot be had from within this plugin yet; write tls = \"disable\" on a network that you trust, or a tunnel's end as address"
            }
        };
        Some(Problem::new("/tls", text))
    }
}

impl Node {
    /// The two halves of `address`.
    pub fn host_and_port(&self) -> Option<(&str, u16)> {
        let (host, port) = self.address.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().ok().filter(|port| *port != 0)?;
        (!host.is_empty()).then_some((host, port))
    }

    /// The command that is declared for a role.
    pub fn command(&self, role: &str) -> Option<&str> {
        self.commands.get(role).map(String::as_str)
    }

    fn is_local(&self) -> bool {
        let host = self.host_and_port().map(|(host, _)| host).unwrap_or_default();
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

fn default_database() -> String {
    "postgres".to_owned()
}

fn default_timeout() -> Period {
    DEFAULT_TIMEOUT
}

fn default_priority() -> u32 {
    100
}

#[cfg(test)]
mod tests {
    use tidegate_sdk::parse;

    use super::{Declaration, Tls};

    fn declaration(tls: &str, address: &str) -> String {
        format!(r#"{{"user": "tidegate", {tls} "nodes": [{{"name": "a", "site": "west", "address": {address:?}}}]}}"#)
    }

    #[test]
    fn speaks_in_the_clear_only_at_home_or_where_it_is_written() {
        for (tls, address, accepted) in [
            ("", "127.0.0.1:5432", true),
            ("", "[::1]:5432", true),
            ("", "localhost:5432", true),
            ("", "192.0.2.1:5432", false),
            (r#""tls": "disable","#, "192.0.2.1:5432", true),
            (r#""tls": "require","#, "127.0.0.1:5432", false),
            (r#""tls": "verify-full","#, "db.example.com:5432", false),
        ] {
            let parsed = parse::<Declaration>(&declaration(tls, address));
            match parsed {
                Ok(declared) => assert!(accepted && declared.tls() == Tls::Disable, "{tls} {address}"),
                Err(problems) => {
                    assert!(!accepted, "{tls} {address}: {problems:?}");
                    assert_eq!(problems[0].at, "/tls");
                    assert!(problems[0].text.contains("cannot be had"));
                }
            }
        }
    }

    #[test]
    fn refuses_an_address_without_a_port() {
        for address in ["db", "db:", ":5432", "127.0.0.1:0"] {
            let problems = parse::<Declaration>(&declaration(r#""tls": "disable","#, address)).unwrap_err();
            assert_eq!(problems[0].at, "/nodes/0/address", "{address}");
        }
    }
}
