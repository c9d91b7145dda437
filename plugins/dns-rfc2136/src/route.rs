//! What the fleet file declares of a name, what a route means in records, and what records mean as a route.
//!
//! Pure: does not know servers or messages.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::rdata::{A, AAAA, CNAME};
use hickory_proto::rr::{Name, RData, RecordType};
use tidegate_sdk::{Declared, Endpoint, Fact, Failure, Problem, Route, Settings};

use crate::mark::Mark;

/// Below this label of a name stands its mark.
const MARK_LABEL: &str = "_tidegate";

/// What the fleet file says of one name: all of it can be left out.
#[derive(Debug, Clone, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct Declaration {
    /// The DNS name; by default, what it is declared as.
    pub name: Option<String>,
    /// The kind of its records; by default, what its endpoints are.
    #[serde(rename = "type")]
    pub kind: Option<Kind>,
    /// How long resolvers may keep it; a write brings its own.
    pub ttl_seconds: Option<u32>,
    /// Which target stands for which site.
    pub endpoints: Vec<DeclaredEndpoint>,
}

/// A place that the name can lead to.
#[derive(Debug, Clone, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct DeclaredEndpoint {
    /// As the fleet file calls it.
    pub site: String,
    /// IPv4 or IPv6 address, or a name.
    pub target: String,
}

/// What a name's records are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    #[serde(rename = "AAAA")]
    Aaaa,
    /// Exactly one other name.
    #[serde(rename = "CNAME")]
    Cname,
}

/// A name that this provider looks after.
#[derive(Debug, Clone)]
pub struct Watched {
    /// As the fleet file calls it.
    pub declared_as: String,
    /// The name itself.
    pub name: Name,
    /// Where its mark stands.
    pub mark_name: Name,
    kind: Option<Kind>,
    endpoints: Vec<DeclaredEndpoint>,
}

/// Records of one kind at one name, without the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Of all of them.
    pub ttl_seconds: u32,
    /// In one spelling each: addresses as Rust prints them, names in lower case without the final dot.
    pub targets: BTreeSet<String>,
}

/// What one server answers for a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// None = no records of the name's kind.
    pub content: Option<Content>,
    /// None = never written by Tidegate.
    pub mark: Option<Mark>,
}

/// A route, worked out: what has to stand at its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Of all records.
    pub kind: Kind,
    /// The records.
    pub content: Content,
}

impl Settings for Declaration {}

impl Kind {
    /// As DNS calls it.
    pub fn record_type(self) -> RecordType {
        match self {
            Self::A => RecordType::A,
            Self::Aaaa => RecordType::AAAA,
            Self::Cname => RecordType::CNAME,
        }
    }

    fn of(target: &str) -> Self {
        match target.parse() {
            Ok(IpAddr::V4(_)) => Self::A,
            Ok(IpAddr::V6(_)) => Self::Aaaa,
            Err(_) => Self::Cname,
        }
    }

    /// The one spelling of a target; none if it is not of this kind.
    fn canonical(self, target: &str) -> Option<String> {
        match self {
            Self::A => Some(target.parse::<Ipv4Addr>().ok()?.to_string()),
            Self::Aaaa => Some(target.parse::<Ipv6Addr>().ok()?.to_string()),
            Self::Cname if target.parse::<IpAddr>().is_ok() => None,
            Self::Cname => Some(text_of_name(&parse_name(target)?)),
        }
    }

    fn data(self, target: &str) -> Option<RData> {
        Some(match self {
            Self::A => RData::A(A(target.parse().ok()?)),
            Self::Aaaa => RData::AAAA(AAAA(target.parse().ok()?)),
            Self::Cname => RData::CNAME(CNAME(parse_name(target)?)),
        })
    }
}

impl Content {
    /// The records of the kind among `answers`; none if there are none.
    pub fn read<'a>(kind: Kind, answers: impl IntoIterator<Item = (u32, &'a RData)>) -> Option<Self> {
        let mut found: Option<Self> = None;
        for (ttl_seconds, data) in answers {
            let target = match data {
                RData::A(address) if kind == Kind::A => address.0.to_string(),
                RData::AAAA(address) if kind == Kind::Aaaa => address.0.to_string(),
                RData::CNAME(name) if kind == Kind::Cname => text_of_name(&name.0),
                _ => continue,
            };
            let content = found.get_or_insert_with(|| Self { ttl_seconds, targets: BTreeSet::new() });
            content.targets.insert(target);
        }
        found
    }

    /// As records.
    pub fn data(&self, kind: Kind) -> Vec<RData> {
        self.targets.iter().filter_map(|target| kind.data(target)).collect()
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.content {
            Some(Content { ttl_seconds, targets }) => {
                let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
                write!(f, "{} for {ttl_seconds} s", targets.join(", "))?;
            }
            None => f.write_str("nothing")?,
        }
        match self.mark {
            Some(mark) => write!(f, " by epoch {}", mark.epoch),
            None => f.write_str(" without a mark"),
        }
    }
}

/// Everything declared, by its DNS name; or every problem with it.
pub fn watch(declared: &Declared, zone: &Name) -> Result<Vec<Watched>, Vec<Problem>> {
    let declarations: BTreeMap<String, Declaration> = declared.parse()?;
    let (mut watched, mut problems) = (Vec::<Watched>::new(), Vec::new());
    for (key, declaration) in declarations {
        let at = format!("/declared/{key}");
        match Watched::new(&key, declaration, zone) {
            Err(text) => problems.push(Problem::new(at, text)),
            Ok(new) if watched.iter().any(|other| other.name == new.name) => {
                problems.push(Problem::new(at, format!("{} is declared twice; one route leads one name", new.name)));
            }
            Ok(new) => watched.push(new),
        }
    }
    if problems.is_empty() { Ok(watched) } else { Err(problems) }
}

impl Watched {
    fn new(key: &str, declaration: Declaration, zone: &Name) -> Result<Self, String> {
        let text = declaration.name.as_deref().unwrap_or(key);
        let name = parse_name(text).ok_or_else(|| format!("`{text}` is not a DNS name"))?;
        if !zone.zone_of(&name) {
            return Err(format!("{name} lies outside the zone {zone}"));
        }
        let mark_name = name.prepend_label(MARK_LABEL).map_err(|error| format!("no room for its mark: {error}"))?;
        let kinds: Vec<Kind> = declaration.endpoints.iter().map(|endpoint| Kind::of(&endpoint.target)).collect();
        let kind = declaration.kind.or(kinds.first().copied());
        if let Some(odd) = declaration.endpoints.iter().find(|e| kind.is_some_and(|k| k.canonical(&e.target).is_none()))
        {
            return Err(format!("`{}` cannot stand in {} records", odd.target, kind_text(kind)));
        }
        Ok(Self { declared_as: key.to_owned(), name, mark_name, kind, endpoints: declaration.endpoints })
    }

    /// The kind to look for: the declared one, or that of the route at hand; addresses of version 4 if nobody says.
    pub fn kind(&self, route: Option<&Route>) -> Kind {
        let of_route = || route?.endpoints.first().map(|endpoint| Kind::of(&endpoint.target));
        self.kind.or_else(of_route).unwrap_or(Kind::A)
    }

    /// What has to stand at the name for this route. Never nothing.
    pub fn wanted(&self, route: &Route) -> Result<Wanted, Failure> {
        let kind = self.kind(Some(route));
        let mut targets = BTreeSet::new();
        for endpoint in &route.endpoints {
            let target = kind.canonical(&endpoint.target).ok_or_else(|| {
                Failure::Invalid(format!(
                    "{}: `{}` cannot stand in {} records",
                    route.name,
                    endpoint.target,
                    kind_text(Some(kind))
                ))
            })?;
            if endpoint.weight > 0 {
                targets.insert(target);
            }
        }
        match (kind, targets.len()) {
            (_, 0) => Err(Failure::Invalid(format!(
                "{}: no endpoint has a weight; a name is never left without an answer",
                route.name
            ))),
            (Kind::Cname, 2..) => Err(Failure::Invalid(format!(
                "{}: a CNAME leads to exactly one target, and {} have a weight",
                route.name,
                targets.len()
            ))),
            _ => Ok(Wanted { kind, content: Content { ttl_seconds: route.ttl_seconds, targets } }),
        }
    }

    /// The route as DNS can express it: every published target once, so that shares are equal.
    pub fn preview(&self, route: Route) -> Result<Route, Failure> {
        let wanted = self.wanted(&route)?;
        let mut weights: Vec<u32> = route.endpoints.iter().map(|endpoint| endpoint.weight).filter(|w| *w > 0).collect();
        weights.dedup();
        let mut facts = vec![fact("record-type", &wanted.kind.record_type().to_string())];
        if weights.len() > 1 {
            facts.push(fact("weights", "rounded to equal shares: plain DNS knows no weights"));
        }
        let endpoints = route.endpoints.into_iter().map(|e| Endpoint { weight: e.weight.min(1), ..e }).collect();
        Ok(Route { endpoints, facts, age: 0, ..route })
    }

    /// A reading as a route: declared endpoints in their order with weight 1 or 0, then whatever else the name leads
    /// to, at no site. `beside` brings endpoints that the declaration may lack.
    pub fn route(&self, name: &str, kind: Kind, reading: &Reading, beside: &[Endpoint], facts: Vec<Fact>) -> Route {
        let mut left = reading.content.as_ref().map(|content| content.targets.clone()).unwrap_or_default();
        let declared = self.endpoints.iter().map(|endpoint| (&endpoint.site, &endpoint.target));
        let known = if beside.is_empty() {
            declared.collect()
        } else {
            beside.iter().map(|e| (&e.site, &e.target)).collect::<Vec<_>>()
        };
        let mut endpoints = Vec::new();
        for (site, target) in known {
            let published = kind.canonical(target).is_some_and(|target| left.remove(&target));
            endpoints.push(Endpoint { site: site.clone(), target: target.clone(), weight: u32::from(published) });
        }
        endpoints.extend(left.into_iter().map(|target| Endpoint { site: String::new(), target, weight: 1 }));
        Route {
            name: name.to_owned(),
            ttl_seconds: reading.content.as_ref().map_or(0, |content| content.ttl_seconds),
            endpoints,
            written_by: reading.mark.map(|mark| mark.epoch),
            age: 0,
            facts,
        }
    }
}

/// A fully qualified name, with or without its final dot; none for the root and for what is no name.
pub fn parse_name(text: &str) -> Option<Name> {
    let mut name = Name::from_ascii(text).ok()?;
    name.set_fqdn(true);
    (!name.is_root()).then_some(name)
}

/// As people write it: lower case, without the final dot.
pub fn text_of_name(name: &Name) -> String {
    name.to_lowercase().to_ascii().trim_end_matches('.').to_owned()
}

/// A fact of this provider.
pub fn fact(key: &str, value: &str) -> Fact {
    Fact { key: key.to_owned(), value: value.to_owned() }
}

fn kind_text(kind: Option<Kind>) -> String {
    kind.map_or_else(String::new, |kind| kind.record_type().to_string())
}

#[cfg(test)]
mod tests {
    use super::{Content, Kind, Reading, Wanted, Watched, parse_name, watch};
    use crate::mark::Mark;
    use hickory_proto::rr::RData;
    use hickory_proto::rr::rdata::{A, CNAME, TXT};
    use tidegate_sdk::{Declared, Endpoint, Fact, Failure, Route};

    const NAME: &str = "shop.example.test";

    /// Targets and their weights.
    type Endpoints<'a> = &'a [(&'a str, u32)];

    fn watched(declaration: &str) -> Result<Vec<Watched>, String> {
        let fact = Fact { key: NAME.into(), value: declaration.into() };
        let zone = parse_name("example.test").unwrap();
        watch(&Declared::new(vec![fact]), &zone).map_err(|problems| format!("{}: {}", problems[0].at, problems[0].text))
    }

    fn one(declaration: &str) -> Watched {
        watched(declaration).unwrap().remove(0)
    }

    fn route(endpoints: Endpoints<'_>) -> Route {
        let endpoint = |(index, (target, weight)): (usize, &(&str, u32))| Endpoint {
            site: format!("site{index}"),
            target: (*target).to_owned(),
            weight: *weight,
        };
        Route {
            name: NAME.into(),
            ttl_seconds: 30,
            endpoints: endpoints.iter().enumerate().map(endpoint).collect(),
            written_by: None,
            age: 0,
            facts: Vec::new(),
        }
    }

    fn wanted(declaration: &str, endpoints: Endpoints<'_>) -> Result<Wanted, Failure> {
        one(declaration).wanted(&route(endpoints))
    }

    #[test]
    fn publishes_what_has_a_weight_once_each() {
        let cases: [(Endpoints<'_>, Kind, &[&str]); 5] = [
            (&[("10.0.0.1", 100), ("10.0.0.2", 0)], Kind::A, &["10.0.0.1"]),
            (&[("10.0.0.2", 70), ("10.0.0.1", 30), ("10.0.0.2", 1)], Kind::A, &["10.0.0.1", "10.0.0.2"]),
            (&[("fd00:0::1", 1)], Kind::Aaaa, &["fd00::1"]),
            (&[("Gate.Example.NET.", 1), ("other.example.net", 0)], Kind::Cname, &["gate.example.net"]),
            (&[("gate.example.net", 1), ("GATE.example.net.", 2)], Kind::Cname, &["gate.example.net"]),
        ];
        for (endpoints, kind, targets) in cases {
            let wanted = wanted("{}", endpoints).unwrap();
            assert_eq!(wanted.kind, kind, "{endpoints:?}");
            assert!(wanted.content.targets.iter().eq(targets), "{endpoints:?}: {wanted:?}");
            assert_eq!(wanted.content.data(kind).len(), targets.len(), "{endpoints:?}");
        }
    }

    #[test]
    fn refuses_a_route_that_dns_cannot_hold() {
        let cases: [(&str, Endpoints<'_>, &str); 7] = [
            ("{}", &[], "never left without an answer"),
            ("{}", &[("10.0.0.1", 0)], "never left without an answer"),
            ("{}", &[("a.example.net", 1), ("b.example.net", 1)], "exactly one target"),
            ("{}", &[("10.0.0.1", 1), ("fd00::1", 1)], "`fd00::1` cannot stand in A records"),
            (r#"{"type": "AAAA"}"#, &[("10.0.0.1", 1)], "cannot stand in AAAA records"),
            (r#"{"type": "CNAME"}"#, &[("10.0.0.1", 1)], "cannot stand in CNAME records"),
            (r#"{"type": "A"}"#, &[("10.0.0.1", 1), ("gate.example.net", 0)], "cannot stand in A records"),
        ];
        for (declaration, endpoints, words) in cases {
            match wanted(declaration, endpoints) {
                Err(Failure::Invalid(text)) => assert!(text.contains(words), "{text}"),
                other => panic!("{declaration} {endpoints:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn previews_weights_as_equal_shares_and_says_so() {
        let preview = one("{}").preview(route(&[("10.0.0.1", 70), ("10.0.0.2", 30), ("10.0.0.3", 0)])).unwrap();
        assert!(preview.endpoints.iter().map(|endpoint| endpoint.weight).eq([1, 1, 0]));
        assert!(preview.facts.iter().any(|fact| fact.key == "weights"), "{:?}", preview.facts);
        let equal = one("{}").preview(route(&[("10.0.0.1", 50), ("10.0.0.2", 50)])).unwrap();
        assert!(equal.facts.iter().all(|fact| fact.key != "weights"), "{:?}", equal.facts);
    }

    #[test]
    fn reads_only_records_of_its_own_kind() {
        let a = RData::A(A::new(10, 0, 0, 1));
        let text = RData::TXT(TXT::new(vec!["10.0.0.2".into()]));
        let cname = RData::CNAME(CNAME(parse_name("Gate.Example.NET").unwrap()));
        let all = [(30, &a), (60, &text), (90, &cname)];
        let targets = |kind| Content::read(kind, all).map(|content| Vec::from_iter(content.targets));
        assert_eq!(targets(Kind::A), Some(vec!["10.0.0.1".to_owned()]));
        assert_eq!(targets(Kind::Cname), Some(vec!["gate.example.net".to_owned()]));
        assert_eq!(targets(Kind::Aaaa), None);
    }

    #[test]
    fn maps_records_back_to_declared_sites_and_keeps_strangers() {
        let declared =
            r#"{"endpoints": [{"site": "west", "target": "10.0.0.1"}, {"site": "east", "target": "10.0.0.2"}]}"#;
        let content = Content { ttl_seconds: 30, targets: ["10.0.0.2", "10.0.0.9"].map(String::from).into() };
        let reading = Reading { content: Some(content), mark: Some(Mark { epoch: 7, write: 2 }) };
        let route = one(declared).route(NAME, Kind::A, &reading, &[], Vec::new());
        let endpoints: Vec<_> =
            route.endpoints.iter().map(|e| (e.site.as_str(), e.target.as_str(), e.weight)).collect();
        assert_eq!(endpoints, [("west", "10.0.0.1", 0), ("east", "10.0.0.2", 1), ("", "10.0.0.9", 1)]);
        assert_eq!((route.ttl_seconds, route.written_by), (30, Some(7)));
    }

    #[test]
    fn a_name_without_records_leads_nowhere() {
        let reading = Reading { content: None, mark: None };
        let declared = r#"{"endpoints": [{"site": "west", "target": "10.0.0.1"}]}"#;
        let route = one(declared).route(NAME, Kind::A, &reading, &[], Vec::new());
        assert_eq!((route.endpoints[0].weight, route.written_by), (0, None));
    }

    #[test]
    fn refuses_declarations_that_cannot_be() {
        let cases = [
            (r#"{"name": "shop.example.org"}"#, "outside the zone"),
            (r#"{"name": "a..b"}"#, "is not a DNS name"),
            (r#"{"type": "MX"}"#, "unknown variant"),
            (r#"{"typ": "A"}"#, "unknown key"),
            (r#"{"type": "A", "endpoints": [{"site": "west", "target": "fd00::1"}]}"#, "cannot stand in A records"),
            (r#"{"endpoints": [{"target": "10.0.0.1"}, {"target": "fd00::1"}]}"#, "cannot stand in A records"),
        ];
        for (declaration, words) in cases {
            let error = watched(declaration).unwrap_err();
            assert!(
                error.starts_with("/declared/shop.example.test") && error.contains(words),
                "{declaration}: {error}"
            );
        }
    }

    #[test]
    fn refuses_to_lead_one_name_by_two_routes() {
        let fact = |key: &str, value: &str| Fact { key: key.into(), value: value.into() };
        let twice = vec![fact("shop", r#"{"name": "shop.example.test"}"#), fact("SHOP.example.test.", "{}")];
        let problems = watch(&Declared::new(twice), &parse_name("example.test").unwrap()).unwrap_err();
        assert!(problems[0].text.contains("declared twice"), "{problems:?}");
    }
}
