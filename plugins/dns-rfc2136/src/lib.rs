//! Glue between the contract's world `dns-provider` and the pure parts beside it.
//!
//! README.md is the operator's manual. Knows no vendor: any server that takes RFC 2136 updates with TSIG will do.

pub mod mark;
pub mod message;
pub mod route;
pub mod servers;
pub mod transport;
pub mod tsig;
pub mod write;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use hickory_proto::rr::Name;
use tidegate_sdk::{Call, Declared, Dns, Fact, Failure, Period, Problem, Provider, Route, Want};

use crate::route::{Reading, Watched, fact, parse_name};
use crate::servers::{Servers, Updated};
use crate::transport::Transport;
use crate::tsig::{Algorithm, Key};
use crate::write::{Write, words};

tidegate_sdk::dns_provider!(Rfc2136);

/// For one request, when the operator does not say.
const DEFAULT_TIMEOUT: Period = Period::seconds(2);

/// What an operator sets for one zone.
#[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// The zone's authoritative servers, "ADDRESS:PORT": the primary first. It takes the updates; all are read back.
    pub servers: Vec<SocketAddr>,
    /// The zone, such as "example.com".
    pub zone: String,
    /// The TSIG key's name, as the server knows it.
    pub key: String,
    /// The TSIG key's algorithm.
    #[serde(default)]
    pub algorithm: Algorithm,
    /// Name of the secret that holds the TSIG key in base64, as `keymgr -t` and `tsig-keygen` print it.
    /// By default it is called as the key is.
    pub secret: Option<String>,
    /// For one request to one server.
    #[serde(default = "default_timeout")]
    pub timeout: Period,
    /// How requests travel.
    #[serde(default)]
    pub transport: Transport,
}

/// The provider, configured.
pub struct Rfc2136 {
    servers: Servers,
    zone: Name,
    key_name: Name,
    algorithm: Algorithm,
    secret: String,
    watched: Vec<Watched>,
}

impl tidegate_sdk::Settings for Settings {
    fn check(&self) -> Vec<Problem> {
        let checks = [
            (!self.servers.is_empty(), "/servers", "name at least one server, the primary first"),
            (parse_name(&self.zone).is_some(), "/zone", "not a DNS name"),
            (parse_name(&self.key).is_some(), "/key", "not a DNS name, as a TSIG key's name has to be"),
            (self.timeout > Period::default(), "/timeout", "longer than nothing"),
        ];
        checks.into_iter().filter(|(good, ..)| !good).map(|(_, at, text)| Problem::new(at, text)).collect()
    }
}

impl Provider for Rfc2136 {
    type Settings = Settings;

    fn wants() -> Vec<Want> {
        let servers = ["udp://*:*", "tcp://*:*"].map(|server| Want::Connect(server.to_owned()));
        // Whatever name the settings give.
        servers.into_iter().chain([Want::Secret("*".to_owned())]).collect()
    }

    fn configure(settings: Settings, declared: Declared) -> Result<Self, Vec<Problem>> {
        let name = |at: &str, text: &str| parse_name(text).ok_or_else(|| vec![Problem::new(at, "not a DNS name")]);
        let zone = name("/zone", &settings.zone)?;
        Ok(Self {
            watched: route::watch(&declared, &zone)?,
            zone,
            key_name: name("/key", &settings.key)?,
            algorithm: settings.algorithm,
            secret: settings.secret.unwrap_or(settings.key),
            servers: Servers {
                addresses: settings.servers,
                transport: settings.transport,
                timeout: settings.timeout.into(),
            },
        })
    }

    /// Looks at the zone on every server, then sends the primary an update that changes nothing: only whoever may write
    /// the name's mark gets a yes to it.
    fn ready(&self, name: &str) -> Result<Vec<Fact>, Failure> {
        let watched = self.watched(name)?;
        let mut facts = vec![fact("key", &self.key_name.to_string()), fact("zone", &self.zone.to_string())];
        for server in &self.servers.addresses {
            let serial = self.servers.serial(*server, &self.zone, self.deadline())?;
            let reading = self.servers.read(*server, watched, watched.kind(None), self.deadline())?;
            facts.push(fact(&format!("server/{server}"), &format!("serial {serial}, {reading}")));
        }
        let harmless = message::harmless(&self.zone, &watched.mark_name);
        match self.servers.update(&harmless, &self.key()?, self.deadline())? {
            Updated::Done => Ok(facts),
            Updated::ConditionFailed => {
                Err(Failure::Rejected(format!("{} has no zone {}", self.servers.primary(), self.zone)))
            }
        }
    }
}

impl Dns for Rfc2136 {
    /// The primary's answer; where another server says something else or nothing, a fact tells.
    fn resolve(&self, name: &str) -> Result<Route, Failure> {
        let watched = self.watched(name)?;
        let kind = watched.kind(None);
        let read = |server: &SocketAddr| (*server, self.servers.read(*server, watched, kind, self.deadline()));
        let readings: Vec<(SocketAddr, Result<Reading, Failure>)> = self.servers.addresses.iter().map(read).collect();
        let Some(first) = readings.iter().find_map(|(_, reading)| reading.as_ref().ok()) else {
            return Err(readings.into_iter().find_map(|(_, reading)| reading.err()).unwrap_or_else(|| nobody(name)));
        };
        Ok(watched.route(name, kind, first, &[], differences(&readings, first)))
    }

    fn preview(&self, route: Route) -> Result<Route, Failure> {
        self.watched(&route.name)?.preview(route)
    }

    fn apply(&self, routes: Vec<Route>, call: &Call) -> Vec<Result<Route, Failure>> {
        let deadline = Instant::now() + Duration::from_millis(call.timeout);
        routes.into_iter().map(|route| self.apply_one(&route, call.epoch, deadline)).collect()
    }
}

impl Rfc2136 {
    fn apply_one(&self, route: &Route, epoch: u64, deadline: Instant) -> Result<Route, Failure> {
        let watched = self.watched(&route.name)?;
        let wanted = watched.wanted(route)?;
        let write = Write { zone: &self.zone, watched, wanted: &wanted, epoch };
        let reading = write.perform(&self.servers, &self.key()?, deadline)?;
        Ok(watched.route(&route.name, wanted.kind, &reading, &route.endpoints, Vec::new()))
    }

    /// By its DNS name, or by what it is declared as.
    fn watched(&self, name: &str) -> Result<&Watched, Failure> {
        let dns_name = parse_name(name);
        let is_it = |watched: &&Watched| watched.declared_as == name || Some(&watched.name) == dns_name.as_ref();
        self.watched
            .iter()
            .find(is_it)
            .ok_or_else(|| Failure::NotFound(format!("{name} is not declared for this provider")))
    }

    /// Asked for each time, so that a new secret counts at once.
    fn key(&self) -> Result<Key, Failure> {
        let text = tidegate_sdk::secret_text(&self.secret)?;
        let secret = BASE64.decode(text.trim().as_bytes()).map_err(|error| {
            Failure::Invalid(format!("the secret {} is not base64, as TSIG keys are written: {error}", self.secret))
        })?;
        Ok(Key { name: self.key_name.clone(), algorithm: self.algorithm, secret })
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.servers.timeout
    }
}

/// One fact for each server that does not say the same.
fn differences(readings: &[(SocketAddr, Result<Reading, Failure>)], first: &Reading) -> Vec<Fact> {
    let different = readings.iter().filter(|(_, reading)| reading.as_ref() != Ok(first));
    different
        .map(|(server, reading)| match reading {
            Ok(reading) => fact(&format!("differs/{server}"), &reading.to_string()),
            Err(failure) => fact(&format!("unread/{server}"), &words(failure)),
        })
        .collect()
}

fn nobody(name: &str) -> Failure {
    Failure::Invalid(format!("{name}: no servers are set"))
}

fn default_timeout() -> Period {
    DEFAULT_TIMEOUT
}
