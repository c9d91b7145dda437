//! Where a plugin may connect, as people write it: "tcp://10.1.0.0/16:5432", "https://*.example.com".
//!
//! Knows how a pattern matches, not whether a match is enough.

use serde::{Deserialize, Serialize};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

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
    pub(super) scheme: Scheme,
    pub(super) host: Host,
    /// None = any, written `*`.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Any,
    Range(IpAddr, u8),
    Name(String),
    /// Every name below this one.
    Below(String),
}

impl Scheme {
    pub(super) fn as_str(self) -> &'static str {
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
    pub(super) fn of_want(text: &str) -> Result<Self, String> {
        let mut pattern: Pattern = text.parse()?;
        if !has_port(text) {
            pattern.port = None;
        }
        Ok(pattern)
    }

    pub(super) fn reaches(&self, scheme: Scheme, port: u16) -> bool {
        self.scheme == scheme && self.port.is_none_or(|own| own == port)
    }

    pub(super) fn names(&self, name: &str) -> bool {
        match &self.host {
            Host::Any => true,
            Host::Name(own) => own == name,
            Host::Below(parent) => {
                name.strip_suffix(parent.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            Host::Range(..) => false,
        }
    }

    pub(super) fn covers(&self, address: IpAddr) -> bool {
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

fn in_range(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let bits = u32::from(bits);
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => bits == 0 || (a.to_bits() ^ n.to_bits()) >> (32 - bits) == 0,
        (IpAddr::V6(a), IpAddr::V6(n)) => bits == 0 || (a.to_bits() ^ n.to_bits()) >> (128 - bits) == 0,
        _ => false,
    }
}

/// Reachable from anywhere, as far as the address itself tells.
pub(super) fn is_public(address: IpAddr) -> bool {
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
