//! What a plugin may touch: what its manifest wants ∩ what the operator gives, nothing by default.
//!
//! The [`Gate`] is the one place, below every version of the contract, that every socket, name look-up, HTTP request,
//! secret, directory and command goes through. It does not know what any of them is used for.
//!
//! **The rule for addresses.** A connection is allowed if a want and a grant both match it, where a grant matches
//! * an address literally ("tcp://10.1.0.53:53") or by its range ("tcp://10.1.0.0/16:5432"): that address, whatever it is;
//! * a name ("https://api.example.com", "https://*.example.com"): the name, which the host itself resolves; of what it
//!   resolves to, only *public* addresses are admitted. A loopback, link-local, private, shared (100.64/10), multicast
//!   or unspecified address needs a grant of its own by address or range, so that a name which suddenly leads inside
//!   (DNS rebinding) opens nothing. `localhost`, granted by that name, may be loopback;
//! * anything ("tcp://*:443"): every name, and every public address.
//!
//! A want has no such rule: it says at most what the plugin will ask for. A guest looks names up through the gate and
//! gets only admitted addresses; a raw connection to an address that was never granted, nor given as the answer to a
//! granted name, is refused.

use crate::refusal::Refusal;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    pin::Pin,
    str::FromStr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tidegate_kernel::contract::{Failure, Want};

/// A future that can be kept in a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the operator gives to one slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Grants {
    /// "tcp://10.1.0.53:53", "udp://10.1.0.0/16:53", "https://*.example.com", "http://127.0.0.1:8080".
    pub connect: Vec<Pattern>,
    /// Names of secrets.
    pub secrets: BTreeSet<String>,
    /// Directories by the name that the plugin knows them under.
    pub directories: BTreeMap<String, Directory>,
    /// Names of commands that the operator has declared.
    pub commands: BTreeSet<String>,
}

/// A directory that a plugin may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Directory {
    /// On the host.
    pub path: PathBuf,
    /// May be changed, not only read.
    #[serde(default)]
    pub writable: bool,
}

/// How a plugin reaches out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// A raw TCP connection.
    Tcp,
    /// Datagrams.
    Udp,
    /// HTTP in the clear.
    Http,
    /// HTTP in TLS.
    Https,
}

/// Where a plugin may connect: a scheme, a host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    scheme: Scheme,
    host: Host,
    /// None = any, written `*`.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Any,
    Range(IpAddr, u8),
    Name(String),
    /// Every name below this one.
    Below(String),
}

/// What the gate refused, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied(String);

/// Turns names into addresses; the daemon uses [`SystemResolver`].
pub trait Resolver: Send + Sync {
    /// Every address of the name.
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// Asks the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

/// The one check of everything that a plugin reaches out for.
pub struct Gate {
    slot: String,
    wants: Vec<Pattern>,
    wanted: Vec<Want>,
    grants: Grants,
    resolver: Arc<dyn Resolver>,
    /// Addresses that the gate itself has given as the answer to a granted name.
    answered: Mutex<HashMap<IpAddr, BTreeSet<String>>>,
    refused: AtomicU64,
}

/// So many answered addresses are remembered per slot; a plugin that needs more has its oldest names asked again.
const ANSWERS_KEPT: usize = 4_096;

/// As a want: whichever secrets or commands the operator gives, whose names the operator chooses. As a grant it means nothing.
const ANY: &str = "*";

impl Scheme {
    fn as_str(self) -> &'static str {
        match self {
            Scheme::Tcp => "tcp",
            Scheme::Udp => "udp",
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    fn default_port(self) -> Option<u16> {
        match self {
            Scheme::Http => Some(80),
            Scheme::Https => Some(443),
            Scheme::Tcp | Scheme::Udp => None,
        }
    }
}

impl Pattern {
    /// As in a manifest: a want without a port wants every port, because it promises nothing and opens nothing.
    fn of_want(text: &str) -> Result<Self, String> {
        let mut pattern: Pattern = text.parse()?;
        if !has_port(text) {
            pattern.port = None;
        }
        Ok(pattern)
    }

    fn reaches(&self, scheme: Scheme, port: u16) -> bool {
        self.scheme == scheme && self.port.is_none_or(|own| own == port)
    }

    fn names(&self, name: &str) -> bool {
        match &self.host {
            Host::Any => true,
            Host::Name(own) => own == name,
            Host::Below(parent) => {
                name.strip_suffix(parent.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            Host::Range(..) => false,
        }
    }

    fn covers(&self, address: IpAddr) -> bool {
        match self.host {
            Host::Any => is_public(address),
            Host::Range(network, bits) => in_range(address, network, bits),
            Host::Name(_) | Host::Below(_) => false,
        }
    }
}

fn has_port(text: &str) -> bool {
    let host = text.split_once("://").map_or(text, |(_, rest)| rest);
    host.rsplit_once(':').is_some_and(|(_, port)| port == "*" || port.parse::<u16>().is_ok())
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| {
            format!(
                "“{text}” {what}; write \"tcp://HOST:PORT\", \"udp://HOST:PORT\", \"http://HOST\" or \"https://HOST\""
            )
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("has no scheme"))?;
        let scheme = match scheme {
            "tcp" => Scheme::Tcp,
            "udp" => Scheme::Udp,
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(wrong("has a scheme that is not known")),
        };
        let (host, port) = if has_port(text) { rest.rsplit_once(':').unwrap_or((rest, "")) } else { (rest, "") };
        let port = match port {
            "" => scheme.default_port(),
            "*" => None,
            port => Some(port.parse().map_err(|_| wrong("has a port that is no number"))?),
        };
        let host = host.parse().map_err(|what: String| wrong(&what))?;
        Ok(Pattern { scheme, host, port })
    }
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        let (address, bits) =
            bare.split_once('/').map_or((bare, None), |(address, bits)| (address.trim_end_matches(']'), Some(bits)));
        if let Ok(address) = address.parse::<IpAddr>() {
            let all = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Ok(all), str::parse).map_err(|_| "has a range that is no number".to_owned())?;
            return if bits <= all {
                Ok(Host::Range(address, bits))
            } else {
                Err("has a range that is too long".into())
            };
        }
        let name = text.to_ascii_lowercase();
        let is_name =
            |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        match name.strip_prefix("*.") {
            _ if name == "*" => Ok(Host::Any),
            Some(parent) if is_name(parent) => Ok(Host::Below(parent.to_owned())),
            None if is_name(&name) => Ok(Host::Name(name.trim_end_matches('.').to_owned())),
            _ => Err("has a host that is neither a name nor an address".into()),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme.as_str())?;
        match &self.host {
            Host::Any => f.write_str("*")?,
            Host::Name(name) => f.write_str(name)?,
            Host::Below(parent) => write!(f, "*.{parent}")?,
            Host::Range(IpAddr::V6(address), bits) => write!(f, "[{address}/{bits}]")?,
            Host::Range(address, bits) => write!(f, "{address}/{bits}")?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => f.write_str(":*"),
        }
    }
}

impl Serialize for Pattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        Failure::Denied(denied.0)
    }
}

impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip().to_canonical()).collect())
        })
    }
}

impl Gate {
    /// A gate for one revision of a slot.
    pub fn new(slot: &str, wanted: &[Want], grants: Grants, resolver: Arc<dyn Resolver>) -> Result<Self, Refusal> {
        let mut wants = Vec::new();
        for want in wanted {
            if let Want::Connect(text) = want {
                wants.push(Pattern::of_want(text).map_err(|why| {
                    Refusal::new(
                        "bad-want",
                        format!("its manifest wants {why}"),
                        "tell the plugin's author; nothing in the fleet file can help",
                    )
                })?);
            }
        }
        Ok(Gate {
            slot: slot.to_owned(),
            wants,
            wanted: wanted.to_vec(),
            grants,
            resolver,
            answered: Mutex::default(),
            refused: AtomicU64::new(0),
        })
    }

    /// What the manifest wants and the operator has not given, to be shown before it is missed.
    pub fn missing(&self) -> Vec<Want> {
        let given = |want: &Want| match want {
            Want::Connect(text) => Pattern::of_want(text)
                .is_ok_and(|want| self.grants.connect.iter().any(|grant| grant.scheme == want.scheme)),
            // Which ones "*" comes to is the operator's choice; none of them may be needed.
            Want::Secret(name) => name == ANY || self.grants.secrets.contains(name),
            Want::Directory(name) => self.grants.directories.contains_key(name),
            Want::Command(name) => name == ANY || self.grants.commands.contains(name),
        };
        self.wanted.iter().filter(|want| !given(want)).cloned().collect()
    }

    /// How often it has said no.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// May a raw connection go there? Names do not count here, only what they were seen to lead to.
    pub fn socket(&self, scheme: Scheme, to: SocketAddr) -> Result<(), Denied> {
        let address = to.ip().to_canonical();
        let answered =
            self.answered.lock().unwrap_or_else(PoisonError::into_inner).get(&address).cloned().unwrap_or_default();
        let by = |pattern: &Pattern, want: bool| {
            pattern.reaches(scheme, to.port())
                && (pattern.covers(address)
                    || (want && pattern.host == Host::Any)
                    || answered.iter().any(|name| pattern.names(name) && (want || by_name_alone(name, address))))
        };
        let wanted = self.wants.iter().any(|want| by(want, true));
        let granted = self.grants.connect.iter().any(|grant| by(grant, false));
        self.both(wanted, granted, || format!("{}://{to}", scheme.as_str()))
    }

    /// May this name be looked up? Only if something could be done with the answer.
    pub fn name(&self, name: &str) -> Result<(), Denied> {
        let name = normal(name);
        let wanted = self.wants.iter().any(|want| want.names(&name));
        let granted = self.grants.connect.iter().any(|grant| grant.names(&name));
        self.both(wanted, granted, || format!("look up {name}"))
    }

    /// The admitted addresses of a granted name.
    pub async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, Failure> {
        self.name(name)?;
        self.look_up(&normal(name), None).await
    }

    /// Where an HTTP request may be sent: the addresses, resolved and checked now, that the sender has to use.
    pub async fn http(&self, scheme: Scheme, host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            let to = SocketAddr::new(address, port);
            self.socket(scheme, to)?;
            return Ok(vec![to]);
        }
        let name = normal(host);
        let named = |pattern: &Pattern| pattern.reaches(scheme, port) && pattern.names(&name);
        let (wanted, granted) = (self.wants.iter().any(named), self.grants.connect.iter().any(named));
        self.both(wanted, granted, || format!("{}://{name}:{port}", scheme.as_str()))?;
        let addresses = self.look_up(&name, Some((scheme, port))).await?;
        Ok(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }

    /// Serving is not for plugins: nobody may connect to one.
    pub(crate) fn serve(&self, at: SocketAddr) -> Denied {
        self.deny(format!("listening at {at} is for no plugin (slot {})", self.slot))
    }

    /// May this secret be read?
    pub fn secret(&self, name: &str) -> Result<(), Denied> {
        let wanted = [name, ANY].iter().any(|name| self.wanted.contains(&Want::Secret((*name).to_owned())));
        self.both(wanted, self.grants.secrets.contains(name), || format!("secret {name}"))
    }

    /// May this command be run?
    pub fn command(&self, name: &str) -> Result<(), Denied> {
        let wanted = [name, ANY].iter().any(|name| self.wanted.contains(&Want::Command((*name).to_owned())));
        self.both(wanted, self.grants.commands.contains(name), || format!("command {name}"))
    }

    /// The directories that the plugin gets, by the name it knows them under.
    pub fn directories(&self) -> impl Iterator<Item = (&str, &Directory)> {
        let wanted = |name: &String| self.wanted.contains(&Want::Directory(name.clone()));
        self.grants
            .directories
            .iter()
            .filter(move |(name, _)| wanted(name))
            .map(|(name, directory)| (name.as_str(), directory))
    }

    async fn look_up(&self, name: &str, at: Option<(Scheme, u16)>) -> Result<Vec<IpAddr>, Failure> {
        let found = self.resolver.resolve(name).await.map_err(|error| Failure::NotFound(format!("{name}: {error}")))?;
        let found = found.iter().map(IpAddr::to_canonical);
        let (admitted, other): (Vec<_>, Vec<_>) = found.partition(|address| self.admits(name, *address, at));
        if admitted.is_empty() && !other.is_empty() {
            let denied =
                self.deny(format!("{name} leads to {other:?}, which is not public and not granted by address"));
            return Err(denied.into());
        }
        self.remember(name, &admitted);
        Ok(admitted)
    }

    /// Whether a granted name may lead there; without a place (a bare look-up) some grant of the address is enough,
    /// because the connection itself is checked again.
    fn admits(&self, name: &str, address: IpAddr, at: Option<(Scheme, u16)>) -> bool {
        let by_address = |grant: &Pattern| {
            let there = at.is_none_or(|(scheme, port)| grant.reaches(scheme, port));
            there && matches!(grant.host, Host::Range(..)) && grant.covers(address)
        };
        by_name_alone(name, address) || self.grants.connect.iter().any(by_address)
    }

    fn remember(&self, name: &str, addresses: &[IpAddr]) {
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        if answered.len() + addresses.len() > ANSWERS_KEPT {
            answered.clear();
        }
        for address in addresses {
            answered.entry(*address).or_default().insert(name.to_owned());
        }
    }

    fn both(&self, wanted: bool, granted: bool, what: impl Fn() -> String) -> Result<(), Denied> {
        match (wanted, granted) {
            (true, true) => Ok(()),
            (true, false) => Err(self.deny(format!("{} is not granted to slot {}", what(), self.slot))),
            (false, _) => {
                Err(self.deny(format!("{} is not among the wants of the plugin in slot {}", what(), self.slot)))
            }
        }
    }

    fn deny(&self, text: String) -> Denied {
        self.refused.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(slot = self.slot, "refused: {text}");
        Denied(text)
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("slot", &self.slot)
            .field("wanted", &self.wanted)
            .field("grants", &self.grants)
            .finish_non_exhaustive()
    }
}

/// A name opens public addresses; `localhost` opens what it says.
fn by_name_alone(name: &str, address: IpAddr) -> bool {
    is_public(address) || (name == "localhost" && address.is_loopback())
}

fn normal(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn in_range(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let bits = u32::from(bits);
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => bits == 0 || (a.to_bits() ^ n.to_bits()) >> (32 - bits) == 0,
        (IpAddr::V6(a), IpAddr::V6(n)) => bits == 0 || (a.to_bits() ^ n.to_bits()) >> (128 - bits) == 0,
        _ => false,
    }
}

/// Reachable from anywhere, as far as the address itself tells.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b);
            let inside = v4.is_loopback() || v4.is_private() || v4.is_link_local() || shared;
            !(inside || v4 == Ipv4Addr::BROADCAST || a == 0 || v4.is_multicast())
        }
        IpAddr::V6(v6) => {
            let embedded = in_range(address, IpAddr::V6(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0)), 96);
            let inside = v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local() || embedded;
            !(inside || v6.is_unspecified() || v6.is_multicast())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(wants: &[&str], grants: &[&str]) -> Gate {
        let wants: Vec<Want> = wants.iter().map(|text| Want::Connect((*text).to_owned())).collect();
        let connect = grants.iter().map(|text| text.parse().unwrap()).collect();
        Gate::new("probe/test", &wants, Grants { connect, ..Grants::default() }, Arc::new(Fixed)).unwrap()
    }

    /// `public.test` is public; `inside.test` leads to a private address, as after a rebinding.
    struct Fixed;

    impl Resolver for Fixed {
        fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
            let address = if name.starts_with("inside") { "10.0.0.5" } else { "203.0.113.7" };
            Box::pin(async move { Ok(vec![address.parse().unwrap()]) })
        }
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn a_raw_connection_needs_a_want_and_a_grant() {
        for (wants, grants, to, allowed) in [
            (vec!["tcp://*"], vec!["tcp://10.1.0.53:53"], "10.1.0.53:53", true),
            (vec!["tcp://*"], vec!["tcp://10.1.0.53:53"], "10.1.0.53:54", false),
            (vec!["tcp://*"], vec!["udp://10.1.0.53:53"], "10.1.0.53:53", false),
            (vec!["tcp://*"], vec!["tcp://10.1.0.0/16:*"], "10.1.7.9:5432", true),
            (vec!["tcp://*"], vec!["tcp://10.1.0.0/16:*"], "10.2.7.9:5432", false),
            (vec!["tcp://*"], vec!["tcp://*:443"], "203.0.113.7:443", true),
            (vec!["tcp://*"], vec!["tcp://*:443"], "127.0.0.1:443", false),
            (vec!["tcp://*"], vec!["tcp://*:443"], "[::ffff:10.0.0.1]:443", false),
            (vec!["tcp://*"], vec!["tcp://[fd00::/8]:443"], "[fd12::1]:443", true),
            (vec!["tcp://10.9.9.9:1"], vec!["tcp://10.1.0.53:53"], "10.1.0.53:53", false),
            (vec![], vec!["tcp://10.1.0.53:53"], "10.1.0.53:53", false),
            (vec!["tcp://*"], vec![], "10.1.0.53:53", false),
        ] {
            let gate = gate(&wants, &grants);
            assert_eq!(gate.socket(Scheme::Tcp, to.parse().unwrap()).is_ok(), allowed, "{wants:?} ∩ {grants:?} → {to}");
            assert_eq!(gate.refused(), u64::from(!allowed));
        }
    }

    #[test]
    fn a_name_admits_what_it_leads_to_only_after_the_gate_resolved_it() {
        let gate = gate(&["tcp://*"], &["tcp://*.test:443"]);
        let to = "203.0.113.7:443".parse().unwrap();
        assert!(gate.socket(Scheme::Tcp, to).is_err());
        block_on(gate.resolve("Public.Test.")).unwrap();
        assert!(gate.socket(Scheme::Tcp, to).is_ok());
        assert!(block_on(gate.resolve("public.example")).is_err());
        assert!(block_on(gate.resolve("test")).is_err(), "the wildcard is for names below it");
    }

    #[test]
    fn a_name_that_leads_inside_opens_nothing_unless_the_range_is_granted_too() {
        let rebound = gate(&["https://*"], &["https://*.test"]);
        assert!(matches!(block_on(rebound.http(Scheme::Https, "inside.test", 443)), Err(Failure::Denied(_))));
        let meant = gate(&["https://*"], &["https://*.test", "https://10.0.0.0/8"]);
        assert_eq!(block_on(meant.http(Scheme::Https, "inside.test", 443)).unwrap(), ["10.0.0.5:443".parse().unwrap()]);
    }

    #[test]
    fn http_is_granted_by_scheme_host_and_port() {
        let gate = gate(&["http://*", "https://*"], &["https://api.test", "http://127.0.0.1:8080"]);
        for (scheme, host, port, allowed) in [
            (Scheme::Https, "api.test", 443, true),
            (Scheme::Https, "api.test", 8443, false),
            (Scheme::Http, "api.test", 80, false),
            (Scheme::Http, "127.0.0.1", 8080, true),
            (Scheme::Http, "127.0.0.1", 8081, false),
            (Scheme::Http, "2130706433", 8080, false),
        ] {
            assert_eq!(block_on(gate.http(scheme, host, port)).is_ok(), allowed, "{scheme:?} {host}:{port}");
        }
    }

    #[test]
    fn patterns_print_as_they_read_and_nonsense_says_what_to_write() {
        for text in [
            "tcp://db.example.com:5432",
            "udp://*:53",
            "https://*.example.com:443",
            "tcp://10.0.0.0/8:*",
            "tcp://[fd00::/8]:443",
        ] {
            assert_eq!(text.parse::<Pattern>().unwrap().to_string(), text);
        }
        for text in ["db:5432", "ftp://x:1", "tcp://:5", "tcp://a b:5", "tcp://10.0.0.0/99:5", "tcp://x:99999"] {
            assert!(text.parse::<Pattern>().unwrap_err().contains("write"), "{text}");
        }
    }
}
