//! `[service.*]`: what each service promises, where it can be served, how it is looked at, and who may move it.

use std::collections::BTreeMap;

use super::calendar::window;
use super::clusters::refuse_odd_owners;
use super::document::{Field, Fields, Node, Value, fill_in};
use super::names::Names;
use super::problem::{Report, Spot};
use super::section::{Section, Word, choose, text_of};
use super::{Cluster, Place, Probe, RouteSpec, Service, ServiceId, SiteId};
use crate::contract::{Autonomy, Millis, Objectives, Strategy, Tier};

const SECOND: Millis = 1_000;
const MINUTE: Millis = 60 * SECOND;

const AUTONOMIES: [(&str, Autonomy); 3] =
    [("automatic", Autonomy::Automatic), ("semi-automatic", Autonomy::SemiAutomatic), ("manual", Autonomy::Manual)];
const TIERS: [(&str, Tier); 4] =
    [("tier1", Tier::Tier1), ("tier2", Tier::Tier2), ("tier3", Tier::Tier3), ("tier4", Tier::Tier4)];
const STRATEGIES: [(&str, Strategy); 4] = [
    ("active-active", Strategy::ActiveActive),
    ("active-passive", Strategy::ActivePassive),
    ("pilot-light", Strategy::PilotLight),
    ("backup-restore", Strategy::BackupRestore),
];
/// Verdicts that start a runbook: they can have one of their own, and can be made to wait for a person.
const MOVES: [(&str, &str); 5] = [
    ("fail-over", "fail-over"),
    ("switch-over", "switch-over"),
    ("fail-back", "fail-back"),
    ("rebalance", "rebalance"),
    ("run", "run"),
];

/// A dependency where it is written.
struct Need {
    from: usize,
    to: ServiceId,
    at: Spot,
}

/// The services in the order of the file, each with the defaults of `[defaults.service]`.
pub(super) fn services(report: &Report, names: &Names<'_>, fields: &Fields, clusters: &[Cluster]) -> Vec<Service> {
    let defaults = defaults(report, fields);
    let Some(Value::Table(declared)) = fields.get("service").map(|field| &field.node.value) else { return Vec::new() };
    let mut declared: Vec<(&String, Field)> = declared.iter().map(|(name, field)| (name, field.clone())).collect();
    declared.sort_by_key(|(_, field)| field.key_at);
    let (mut needs, mut owned, mut services) = (Vec::new(), Vec::new(), Vec::new());
    for (name, field) in &mut declared {
        if let Value::Table(fields) = &mut field.node.value {
            fill_in(fields, &defaults);
        }
        let section = Section::of(report, format!("service.{name}"), field.key_at, &field.node);
        let Some(section) = section else { continue };
        let mut section = section;
        let cluster = section.word("cluster");
        let service = service(names, name, section, services.len(), &mut needs);
        services.push(Service { cluster: cluster.as_ref().and_then(|word| names.cluster(word)), ..service });
        owned.extend(cluster);
    }
    refuse_odd_owners(names, &services, clusters, &owned);
    refuse_circles(report, &services, &needs);
    services
}

fn defaults(report: &Report, fields: &Fields) -> Fields {
    let Some(field) = fields.get("defaults") else { return Fields::new() };
    let Some(mut section) = Section::of(report, "defaults".to_owned(), field.key_at, &field.node) else {
        return Fields::new();
    };
    let service = section.get("service").map(|node| node.value.clone());
    section.finish();
    let Some(Value::Table(mut service)) = service else { return Fields::new() };
    for key in ["at", "active", "cluster"] {
        if let Some(field) = service.remove(key) {
            let what = format!("`{key}` cannot have a default: it differs from service to service");
            report.error(field.key_at, what, "declare it with each service");
        }
    }
    service
}

fn service(names: &Names<'_>, name: &str, mut section: Section<'_>, from: usize, needs: &mut Vec<Need>) -> Service {
    let strategy = section.choice("strategy", &STRATEGIES, Strategy::ActivePassive);
    let route = section.section("route").map(|section| route(names, section));
    let places = places(names, &mut section, strategy);
    let service = Service {
        name: name.to_owned(),
        tier: section.choice("tier", &TIERS, Tier::Tier3),
        objectives: objectives(&mut section),
        strategy,
        failover: section.choice("failover", &AUTONOMIES, Autonomy::SemiAutomatic),
        failback: section.choice("failback", &AUTONOMIES, Autonomy::Manual),
        policy: slot(names, &mut section, "policy", "failover").unwrap_or_else(|| "failover/default".to_owned()),
        probe: probe(names, &mut section),
        depends_on: dependencies(names, &mut section, from, needs),
        one_domain_suffices: section.yes("one-domain-suffices"),
        jurisdictions: section.texts("jurisdictions"),
        cooldown: cooldown(&mut section, route.as_ref()),
        hold_down: section.duration("hold-down", 10 * MINUTE),
        maintenance: section.list("maintenance").into_iter().map(window).collect(),
        approval: approval(&mut section),
        runbooks: section.section("runbooks").map(|section| runbooks(names, section)).unwrap_or_default(),
        notify: referenced(&mut section, "notify", |word| names.channel(word)),
        active_at_start: active(names, &mut section, &places),
        cluster: None,
        route,
        places,
    };
    section.finish();
    service
}

fn objectives(section: &mut Section<'_>) -> Objectives {
    let objectives = Objectives {
        rto: section.duration("rto", 15 * MINUTE),
        rpo: section.duration_or_zero("rpo").unwrap_or(0),
        mtpd: section.some_duration("mtpd"),
    };
    if objectives.mtpd.is_some_and(|mtpd| mtpd < objectives.rto) {
        let what = "`mtpd` is shorter than `rto`: the business would be gone before the service is back";
        section.report.error(section.spot("mtpd"), what, "make `rto` the shorter one");
    }
    objectives
}

fn slot(names: &Names<'_>, section: &mut Section<'_>, key: &'static str, kind: &str) -> Option<String> {
    let word = section.word(key)?;
    names.slot(kind, &word);
    Some(word.text)
}

fn probe(names: &Names<'_>, section: &mut Section<'_>) -> Probe {
    let needed = "say how it is looked at: probe = { slot = \"probe/http\" }";
    let node = section.need("probe", needed);
    let key_at = section.spot("probe");
    let name = format!("{}.probe", section.name);
    let Some(mut probe) = node.and_then(|node| Section::of(section.report, name, key_at, node)) else {
        return Probe { slot: String::new(), interval: SECOND, timeout: 800, bad: 2, good: 3, window: 20 };
    };
    let slot = probe.needed_word("slot", "name a probe's slot: slot = \"probe/http\"");
    slot.iter().for_each(|word| names.slot("probe", word));
    let interval = probe.duration("interval", SECOND);
    let (bad, good) = (probe.number("bad", 1..=64, 2), probe.number("good", 1..=64, 3));
    let read = Probe {
        slot: slot.map(|word| word.text).unwrap_or_default(),
        interval,
        timeout: probe.duration("timeout", (interval * 4 / 5).min(800)),
        bad,
        good,
        window: probe.number("window", 1..=64, bad.max(good).max(20)),
    };
    refuse_impossible(&probe, &read);
    probe.finish();
    read
}

fn refuse_impossible(section: &Section<'_>, probe: &Probe) {
    if probe.timeout >= probe.interval {
        let what = "`timeout` is not shorter than `interval`: each look would run into the next";
        section.report.error(section.spot("timeout"), what, "make `timeout` shorter, or `interval` longer");
    }
    if probe.interval < 100 {
        let todo = "look every 100ms at most";
        section.report.error(section.spot("interval"), "`interval` is shorter than 100ms", todo);
    }
    if probe.window < probe.bad.max(probe.good) {
        let what = "`window` is smaller than `bad` or `good`";
        section.report.error(section.spot("window"), what, "count over as many looks at least");
    }
}

fn route(names: &Names<'_>, mut section: Section<'_>) -> RouteSpec {
    let slot = section.needed_word("slot", "name the DNS provider's slot: slot = \"dns/…\"");
    slot.iter().for_each(|word| names.slot("dns", word));
    let name = section.needed_text("name", "write the name that clients resolve: name = \"shop.example.com\"");
    let ttl = section.duration("ttl", 30 * SECOND);
    if !ttl.is_multiple_of(SECOND) {
        section.report.error(section.spot("ttl"), "`ttl` is not a whole number of seconds", "write seconds: \"30s\"");
    }
    RouteSpec {
        slot: slot.map(|word| word.text).unwrap_or_default(),
        name,
        ttl_seconds: u32::try_from(ttl / SECOND).unwrap_or(u32::MAX),
        declared: section.rest(),
    }
}

/// Another move while caches still lead to the last place would be seen by half the clients only.
fn cooldown(section: &mut Section<'_>, route: Option<&RouteSpec>) -> Millis {
    let cooldown = section.duration("cooldown", 10 * MINUTE);
    if route.is_some_and(|route| cooldown < Millis::from(route.ttl_seconds) * SECOND) {
        let what = "`cooldown` is shorter than the route's `ttl`: caches would still lead to where it was before";
        section.report.error(section.spot("cooldown"), what, "make `cooldown` longer, or `ttl` shorter");
    }
    cooldown
}

fn places(names: &Names<'_>, section: &mut Section<'_>, strategy: Strategy) -> Vec<Place> {
    section.need("at", &format!("declare where it can be served: [{}.at.SITE]", section.name));
    let Some(mut at) = section.section("at") else { return Vec::new() };
    let sections = at.sections();
    let shared = sections.len();
    let mut explicit = None;
    let mut places = Vec::new();
    for (site, mut place) in sections {
        let site = names.site(&Word { at: place.at, text: site.to_owned() });
        let share = place.some_number("share", 0..=100);
        explicit = explicit.or(share.is_some().then_some(place.spot("share")));
        if share.is_some() && strategy != Strategy::ActiveActive {
            let todo = "take it out, or set strategy = \"active-active\"";
            place.report.error(place.spot("share"), "`share` is for active-active services", todo);
        }
        places.extend(site.map(|site| read_place(names, site, share, place)));
    }
    places.sort_by_key(|place| place.site);
    match explicit {
        Some(at) if strategy == Strategy::ActiveActive => refuse_odd_shares(section.report, at, &places),
        _ if strategy == Strategy::ActiveActive => share_equally(&mut places, shared),
        _ => {}
    }
    places
}

fn read_place(names: &Names<'_>, site: SiteId, share: Option<u32>, mut section: Section<'_>) -> Place {
    let endpoint =
        section.needed_text("endpoint", "write the address or name that clients are led to: endpoint = \"…\"");
    section.need("target", "say what the probe looks at: target = { url = \"http://…/health\" }");
    let target = section.section("target").map(|target| target.json().to_string());
    let place = Place {
        site,
        endpoint,
        target: target.unwrap_or_default(),
        from: section.section("from").map(|from| seen_from(names, from)).unwrap_or_default(),
        share: share.unwrap_or(0),
        load: section.number("load", 0..=1_000, 0),
    };
    section.finish();
    place
}

/// The targets of vantage points that see a place by another address.
fn seen_from(names: &Names<'_>, mut section: Section<'_>) -> BTreeMap<String, String> {
    let targets = section.sections().into_iter().map(|(agent, target)| {
        names.agent(&Word { at: target.at, text: agent.to_owned() });
        (agent.to_owned(), target.json().to_string())
    });
    targets.collect()
}

fn refuse_odd_shares(report: &Report, at: Spot, places: &[Place]) {
    let sum: u32 = places.iter().map(|place| place.share).sum();
    if sum != 100 {
        let todo = "make them add up to 100, or take them all out for equal shares";
        report.error(at, format!("the shares add up to {sum}"), todo);
    }
}

/// What does not divide goes to the best sites.
fn share_equally(places: &mut [Place], among: usize) {
    let among = among.max(1) as u32;
    for (place, position) in places.iter_mut().zip(0..) {
        place.share = 100 / among + u32::from(position < 100 % among);
    }
}

fn active(names: &Names<'_>, section: &mut Section<'_>, places: &[Place]) -> SiteId {
    let best = places.first().map_or(SiteId(0), |place| place.site);
    let Some(word) = section.word("active") else { return best };
    let Some(site) = names.site(&word) else { return best };
    if !places.iter().any(|place| place.site == site) {
        let what = format!("`active` is `{}`, where the service is not declared", word.text);
        section.report.error(
            word.at,
            what,
            format!("declare [{}.at.{}], or name another site", section.name, word.text),
        );
    }
    site
}

fn dependencies(names: &Names<'_>, section: &mut Section<'_>, from: usize, needs: &mut Vec<Need>) -> Vec<ServiceId> {
    let words = section.words("depends-on").unwrap_or_default();
    let known = words.iter().filter_map(|word| Some(Need { from, to: names.service(word)?, at: word.at }));
    let known: Vec<Need> = known.collect();
    let ids = known.iter().map(|need| need.to).collect();
    needs.extend(known);
    ids
}

fn approval(section: &mut Section<'_>) -> Vec<String> {
    let words = section.words("approval").unwrap_or_default();
    let moves = words.iter().filter_map(|word| choose(section.report, "approval", word, &MOVES));
    moves.map(str::to_owned).collect()
}

fn runbooks(names: &Names<'_>, section: Section<'_>) -> BTreeMap<String, String> {
    let runbook = |(key, field): (&String, &Field)| {
        let Field { key_at, node }: &Field = field;
        let key = Word { at: *key_at, text: key.clone() };
        let verdict = choose(section.report, "runbooks", &key, &MOVES)?;
        Some((verdict.to_owned(), runbook_name(names, section.report, node)?))
    };
    section.entries().filter_map(runbook).collect()
}

fn runbook_name(names: &Names<'_>, report: &Report, node: &Node) -> Option<String> {
    let word = text_of(report, "runbooks", node)?;
    names.runbook(&word);
    Some(word.text)
}

fn referenced(section: &mut Section<'_>, key: &'static str, check: impl Fn(&Word)) -> Vec<String> {
    let words = section.words(key).unwrap_or_default();
    words.iter().for_each(check);
    words.into_iter().map(|word| word.text).collect()
}

/// Each circle once, at the dependency that closes it.
fn refuse_circles(report: &Report, services: &[Service], needs: &[Need]) {
    let mut done = vec![false; services.len()];
    for start in 0..services.len() {
        follow(report, services, needs, start, &mut Vec::new(), &mut done);
    }
}

fn follow(report: &Report, services: &[Service], needs: &[Need], at: usize, path: &mut Vec<usize>, done: &mut [bool]) {
    if done[at] {
        return;
    }
    path.push(at);
    for need in needs.iter().filter(|need| need.from == at && need.to.at() < services.len()) {
        match path.iter().position(|service| *service == need.to.at()) {
            Some(first) => tell_circle(report, services, &path[first..], need.at),
            None => follow(report, services, needs, need.to.at(), path, done),
        }
    }
    path.pop();
    done[at] = true;
}

fn tell_circle(report: &Report, services: &[Service], circle: &[usize], at: Spot) {
    let names = circle.iter().chain(circle.first()).map(|service| services[*service].name.as_str());
    let names: Vec<&str> = names.collect();
    let what = format!("services depend on each other in a circle: {}", names.join(" → "));
    report.error(at, what, "take one of these dependencies out: none of them could be recovered first");
}
