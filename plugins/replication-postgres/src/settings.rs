//! What the fleet file says of one cluster, in PostgreSQL's words.
//!
//! Pure: knows neither sockets nor secrets' values.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tidegate_sdk::{Period, Problem, schemars, serde};

use crate::names;

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
    /// File with the authorities (PEM) that standbys hold each other's certificates against, on their own machines; by
    /// default libpq's own.
    pub replication_tls_root: Option<String>,
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
    /// Whom its certificate names, where that is not the address.
    pub tls_name: Option<String>,
}

/// Where a node is, and how it is spoken to.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// `HOST:PORT`.
    pub address: String,
    /// Whom its certificate has to name; none = in the clear.
    pub certified: Option<String>,
}

/// As libpq's `sslmode`; what the host cannot do is known, so that it can be refused in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Tls {
    /// In the clear.
    Disable,
    /// Encrypted, with whoever answers.
    Require,
    /// Encrypted, with whoever an authority vouches for, by whatever name.
    VerifyCa,
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
        problems.extend(self.refuse_half_a_check());
        problems.extend(self.refuse_names());
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

    /// Where a node is, and whom its certificate has to name.
    pub fn place(&self, node: &Node) -> Place {
        let name = node.tls_name.as_deref().or(node.host_and_port().map(|(host, _)| host));
        let certified = name.filter(|_| self.tls() != Tls::Disable).map(str::to_owned);
        Place { address: node.address.clone(), certified }
    }

    /// What a standby calls the node that it follows: in TLS the name that libpq holds against the certificate.
    pub fn called_by_standbys<'a>(&self, node: &'a Node) -> Option<(&'a str, u16)> {
        let (host, port) = node.host_and_port()?;
        let certified = node.tls_name.as_deref().filter(|_| self.tls() != Tls::Disable);
        Some((certified.unwrap_or(host), port))
    }

    /// `primary_conninfo` of a standby that follows that node; none if the node has no address.
    pub fn conninfo(&self, standby: &str, to: &Node, password: Option<&str>) -> Option<String> {
        let (address, _) = to.host_and_port()?;
        let (host, port) = self.called_by_standbys(to)?;
        let port = port.to_string();
        let mut parts = vec![("host", host), ("port", port.as_str()), ("user", self.replication_user())];
        parts.extend((host != address).then_some(("hostaddr", address)));
        parts.extend(password.map(|password| ("password", password)));
        parts.push(("application_name", standby));
        if self.tls() != Tls::Disable {
            parts.push(("sslmode", "verify-full"));
            parts.extend(self.replication_tls_root.as_deref().map(|root| ("sslrootcert", root)));
        }
        Some(names::conninfo(&parts))
    }

    /// Refused before anything is sent, so that nobody believes in a check that is none.
    fn refuse_half_a_check(&self) -> Option<Problem> {
        let half = match self.tls() {
            Tls::Require => "require",
            Tls::VerifyCa => "verify-ca",
            Tls::Disable | Tls::VerifyFull => return None,
        };
        let text = format!(
            "{half:?} cannot be had: the host checks authority and name of whomever it speaks TLS with; write \"verify-full\" (`tls-name` of a node for a certificate in another name, `trust` in [host] for an authority of your own), or \"disable\" on a network that you trust"
        );
        Some(Problem::new("/tls", text))
    }

    /// Standbys tell whom they follow by name and port, and look a name up unless they have the address as a number too.
    fn refuse_names(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (index, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.tls_name.is_some()) {
            let mut refuse = |text: &str| problems.push(Problem::new(format!("/nodes/{index}/tls-name"), text));
            if node.host_and_port().is_some_and(|(host, _)| host.parse::<IpAddr>().is_err()) {
                refuse("only beside an address that is a number; write that name as the address");
            }
            let called = self.called_by_standbys(node);
            if self.nodes[..index].iter().any(|other| self.called_by_standbys(other) == called) {
                refuse("another node has that name with the same port, and nobody could tell whom a standby follows");
            }
        }
        problems
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

    use super::Declaration;

    fn declaration(tls: &str, address: &str) -> String {
        format!(r#"{{"user": "tidegate", {tls} "nodes": [{{"name": "a", "site": "west", "address": {address:?}}}]}}"#)
    }

    #[test]
    fn speaks_in_the_clear_only_at_home_or_where_it_is_written() {
        for (tls, address, certified) in [
            ("", "127.0.0.1:5432", None),
            ("", "[::1]:5432", None),
            ("", "localhost:5432", None),
            ("", "192.0.2.1:5432", Some("192.0.2.1")),
            (r#""tls": "disable","#, "192.0.2.1:5432", None),
            (r#""tls": "verify-full","#, "db.example.com:5432", Some("db.example.com")),
            (r#""tls": "verify-full","#, "[::1]:5432", Some("::1")),
        ] {
            let declared = parse::<Declaration>(&declaration(tls, address)).unwrap();
            let place = declared.place(&declared.nodes[0]);
            assert_eq!(place.certified.as_deref(), certified, "{tls} {address}");
        }
    }

    #[test]
    fn refuses_a_check_that_is_none_and_says_what_to_write() {
        for half in ["require", "verify-ca"] {
            let problems = parse::<Declaration>(&declaration(&format!(r#""tls": "{half}","#), "db:5432")).unwrap_err();
            assert_eq!(problems[0].at, "/tls");
            assert!(problems[0].text.contains(half) && problems[0].text.contains("write \"verify-full\""));
        }
    }

    fn two(tls: &str, a: (&str, &str), b: (&str, &str)) -> String {
        let node = |name: &str, (address, tls_name): (&str, &str)| {
            format!(r#"{{"name": {name:?}, "site": "west", "address": {address:?}, "tls-name": {tls_name:?}}}"#)
        };
        format!(r#"{{"user": "tidegate", {tls} "nodes": [{}, {}]}}"#, node("a", a), node("b", b))
    }

    #[test]
    fn a_standby_checks_the_same_name_and_goes_to_the_same_address() {
        let root = r#""tls": "verify-full", "replication-tls-root": "/etc/ours.pem","#;
        let declared = parse::<Declaration>(&two(root, ("192.0.2.1:1", "a.test"), ("192.0.2.2:1", "b.test"))).unwrap();
        let expected = "host='a.test' port='1' user='tidegate' hostaddr='192.0.2.1' password='p' \
                        application_name='b' sslmode='verify-full' sslrootcert='/etc/ours.pem'";
        assert_eq!(declared.conninfo("b", &declared.nodes[0], Some("p")).as_deref(), Some(expected));
        let clear = r#""tls": "disable","#;
        let declared = parse::<Declaration>(&two(clear, ("192.0.2.1:1", "a.test"), ("192.0.2.2:1", "b.test"))).unwrap();
        let expected = "host='192.0.2.1' port='1' user='tidegate' application_name='b'";
        assert_eq!(declared.conninfo("b", &declared.nodes[0], None).as_deref(), Some(expected));
    }

    #[test]
    fn refuses_names_that_a_standby_could_not_go_by() {
        for (a, b, at) in [
            (("db:1", "a.test"), ("192.0.2.2:1", "b.test"), "/nodes/0/tls-name"),
            (("192.0.2.1:1", "db.test"), ("192.0.2.2:1", "db.test"), "/nodes/1/tls-name"),
        ] {
            let problems = parse::<Declaration>(&two("", a, b)).unwrap_err();
            assert_eq!(problems[0].at, at);
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
