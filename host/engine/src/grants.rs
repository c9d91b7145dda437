//! What a plugin may touch: what its manifest wants ∩ what the operator gives, nothing by default.
//!
//! The [`Gate`] is the one place, below every version of the contract, that every socket, name look-up, HTTP request,
//! secret, directory and command goes through. It does not know what any of them is used for.
//!
//! **The rule for addresses.** A connection is allowed if a want and a grant both match it, where a grant matches
//! * an address literally ("tcp://10.1.0.53:53") or by its range ("tcp://10.1.0.0/16:5432"): that address, whatever it is;
//! * a name (`https://api.example.com`, `https://*.example.com`): the name, which the host itself resolves; of what it
//!   resolves to, only *public* addresses are admitted. A loopback, link-local, private, shared (100.64/10), multicast
//!   or unspecified address needs a grant of its own by address or range, so that a name which suddenly leads inside
//!   (DNS rebinding) opens nothing. `localhost`, granted by that name, may be loopback;
//! * anything ("tcp://*:443"): every name, and every public address.
//!
//! A want has no such rule: it says at most what the plugin will ask for. A guest looks names up through the gate and
//! gets only admitted addresses; a raw connection to an address that was never granted, nor given as the answer to a
//! granted name, is refused.

mod pattern;

pub use pattern::{Pattern, Scheme};

use crate::refusal::Refusal;
use pattern::{Host, is_public};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    pin::Pin,
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
}
