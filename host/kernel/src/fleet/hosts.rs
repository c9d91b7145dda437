//! `[host]`, `[site.*]` and `[agent.*]`: who decides, where things stand, and who looks from where.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::calendar;
use super::names::Names;
use super::problem::{Report, Spot};
use super::section::{Section, Word, beside};
use super::{Brake, Host, Mode, Site, SiteId, Tls, Vantage};
use crate::contract::Millis;

const SECOND: Millis = 1_000;
const MINUTE: Millis = 60 * SECOND;
const HOUR: Millis = 60 * MINUTE;

const DEFAULT_STATE: &str = "/var/lib/tidegate";

/// What the host's own vantage point is called.
const OWN_VANTAGE: &str = "host";

/// Where the host's own vantage point stands apart, and what shows that it is not cut off.
#[derive(Default)]
pub(super) struct OwnVoice {
    failure_domain: Option<String>,
    control_targets: Vec<String>,
}

/// The sites, the best rank first.
pub(super) fn sites(report: &Report, sections: Vec<(&str, Section<'_>)>) -> Vec<Site> {
    if sections.is_empty() {
        report.error(Spot::default(), "there is no site", "declare one at least: [site.NAME]");
    }
    let ranked = sections.into_iter().zip(1..).map(|((name, section), position)| {
        let at = section.spot("rank");
        (at, site(name, section, position))
    });
    let mut sites: Vec<(Spot, Site)> = ranked.collect();
    sites.sort_by_key(|(at, site)| (site.rank, *at));
    for pair in sites.windows(2).filter(|pair| pair[0].1.rank == pair[1].1.rank) {
        let what = format!("sites `{}` and `{}` have the same rank {}", pair[0].1.name, pair[1].1.name, pair[1].1.rank);
        report.error(
            pair[1].0,
            what,
            "give each site a rank of its own, 1 for the best; without one it is its place in the file",
        );
    }
    sites.into_iter().map(|(_, site)| site).collect()
}

fn site(name: &str, mut section: Section<'_>, position: u32) -> Site {
    let site = Site {
        name: name.to_owned(),
        failure_domain: section.text("failure-domain").unwrap_or_else(|| name.to_owned()),
        jurisdiction: section.text("jurisdiction"),
        capacity: section.number("capacity", 0..=1_000, 100),
        rank: section.number("rank", 1..=1_000, position),
    };
    section.finish();
    site
}

/// `[host]`; the fleet's own defaults where it says nothing.
pub(super) fn host(report: &Report, names: &Names<'_>, section: Option<Section<'_>>) -> (Host, OwnVoice) {
    let Some(mut section) = section else {
        report.error(Spot::default(), "there is no [host]", "declare where this host stands: [host] site = \"…\"");
        return (Host::at_defaults(), OwnVoice::default());
    };
    let site = section.needed_word("site", "name the site where this host stands: site = \"…\"");
    let mut host = Host { site: site.and_then(|word| names.site(&word)).unwrap_or(SiteId(0)), ..Host::at_defaults() };
    files(&mut section, &mut host);
    judgement(&mut section, &mut host);
    host.brake = section.section("brake").map_or(host.brake, brake);
    host.heartbeat_url = section.text("heartbeat-url");
    host.heartbeat_every = section.duration("heartbeat-every", host.heartbeat_every);
    let own =
        OwnVoice { failure_domain: section.text("failure-domain"), control_targets: control_targets(&mut section) };
    section.finish();
    (host, own)
}

impl Host {
    fn at_defaults() -> Host {
        Host {
            site: SiteId(0),
            state: PathBuf::from(DEFAULT_STATE),
            listen: vec![format!("unix:{DEFAULT_STATE}/tidegate.sock")],
            agents_listen: None,
            tls: None,
            trust: None,
            mode: Mode::Observe,
            time_zone: "UTC".to_owned(),
            warm_up: 10 * SECOND,
            freshness: 3 * SECOND,
            bad_fraction: 0.5,
            brake: Brake { incidents: 2, window: HOUR, together: 10 * SECOND },
            heartbeat_url: None,
            heartbeat_every: 30 * SECOND,
            plugins: None,
        }
    }
}

fn files(section: &mut Section<'_>, host: &mut Host) {
    if let Some(state) = section.path("state") {
        host.listen = vec![format!("unix:{}", state.join("tidegate.sock").display())];
        host.state = state;
    }
    host.tls = section.section("tls").map(tls);
    host.trust = section.path("trust");
    if let Some(listen) = section.words("listen") {
        host.listen = listen.iter().map(|word| listen_address(section.report, word, host.tls.is_some())).collect();
    }
    if let Some(word) = section.word("agents-listen") {
        check_address(section.report, &word, host.tls.is_some());
        host.agents_listen = Some(word.text);
    }
    let fleet_file = section.report.sources.first().and_then(|source| source.path.parent()).map(Path::to_owned);
    host.plugins = section.path("plugins").or(fleet_file);
}

fn judgement(section: &mut Section<'_>, host: &mut Host) {
    host.mode = section.choice("mode", &[("observe", Mode::Observe), ("act", Mode::Act)], host.mode);
    host.warm_up = section.duration_or_zero("warm-up").unwrap_or(host.warm_up);
    host.freshness = section.duration("freshness", host.freshness);
    host.bad_fraction = section.fraction("bad-fraction", 0.5..=1.0, host.bad_fraction);
    if let Some(zone) = section.word("time-zone") {
        if calendar::is_time_zone(&zone.text) {
            host.time_zone = zone.text;
        } else {
            let what = format!("there is no time zone \"{}\"", zone.text);
            section.report.error(
                zone.at,
                what,
                "use a name of the IANA database, such as \"Europe/Vienna\" or \"UTC\"",
            );
        }
    }
}

fn brake(mut section: Section<'_>) -> Brake {
    let default = Host::at_defaults().brake;
    let brake = Brake {
        incidents: section.number("incidents", 1..=1_000, default.incidents),
        window: section.duration("window", default.window),
        together: section.duration("together", default.together),
    };
    if brake.together > brake.window {
        let what = "`together` is longer than `window`";
        section.report.error(
            section.spot("together"),
            what,
            "make `together` the shorter one: seconds, against an hour",
        );
    }
    section.finish();
    brake
}

fn tls(mut section: Section<'_>) -> Tls {
    let mut file = |key| {
        let word = section.needed_word(key, "name the PEM file");
        word.map(|word| beside(section.report, &word)).unwrap_or_default()
    };
    let tls = Tls { certificate: file("certificate"), key: file("key") };
    section.finish();
    tls
}

/// `unix:PATH` as the socket beside the file, or `ADDRESS:PORT` as it is.
fn listen_address(report: &Report, word: &Word, has_tls: bool) -> String {
    match word.text.strip_prefix("unix:") {
        Some(path) => {
            let path = Word { at: word.at, text: path.to_owned() };
            format!("unix:{}", beside(report, &path).display())
        }
        None => {
            check_address(report, word, has_tls);
            word.text.clone()
        }
    }
}

/// Tokens never travel in the clear.
fn check_address(report: &Report, word: &Word, has_tls: bool) {
    match word.text.parse::<SocketAddr>() {
        Err(_) => {
            let what = format!("\"{}\" is no address to listen on", word.text);
            report.error(
                word.at,
                what,
                "write \"ADDRESS:PORT\", such as \"127.0.0.1:7440\" (or, for operators, \"unix:PATH\")",
            );
        }
        Ok(address) if !is_loopback(address.ip()) && !has_tls => {
            let what = format!("\"{}\" takes tokens off loopback without TLS", word.text);
            report.error(word.at, what, "set host.tls.certificate and host.tls.key, or listen on 127.0.0.1");
        }
        Ok(_) => {}
    }
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// The agents, and the host itself where no agent stands at its site.
pub(super) fn vantages(
    names: &Names<'_>,
    sites: &[Site],
    host: &Host,
    own: OwnVoice,
    sections: Vec<(&str, Section<'_>)>,
) -> Vec<Vantage> {
    if let (Some((_, first)), None) = (sections.first(), &host.agents_listen) {
        let todo = "say where the host hears them: agents-listen = \"127.0.0.1:7441\" in [host]";
        first.report.error(first.at, "agents are declared, and the host listens to none", todo);
    }
    let mut vantages: Vec<Vantage> =
        sections.into_iter().map(|(name, section)| agent(names, sites, name, section)).collect();
    if !vantages.iter().any(|vantage| vantage.site == host.site) {
        vantages.push(Vantage {
            name: OWN_VANTAGE.to_owned(),
            site: host.site,
            failure_domain: own.failure_domain.unwrap_or_else(|| domain_of(sites, host.site)),
            token: None,
            control_targets: own.control_targets,
            peers_listen: None,
        });
    }
    vantages
}

fn agent(names: &Names<'_>, sites: &[Site], name: &str, mut section: Section<'_>) -> Vantage {
    if name == OWN_VANTAGE {
        let what = "an agent cannot be called `host`: that is the host's own vantage point";
        section.report.error(section.at, what, "give the agent another name");
    }
    let site = section.needed_word("site", "name the site where the agent stands: site = \"…\"");
    let site = site.and_then(|word| names.site(&word)).unwrap_or(SiteId(0));
    let token = section.needed_word("token", "name the secret with its token: token = \"…\"");
    token.iter().for_each(|word| names.secret(word));
    let vantage = Vantage {
        name: name.to_owned(),
        site,
        failure_domain: section.text("failure-domain").unwrap_or_else(|| domain_of(sites, site)),
        token: token.map(|word| word.text),
        control_targets: control_targets(&mut section),
        peers_listen: section.word("peers-listen").map(|word| peers_address(section.report, &word)),
    };
    section.finish();
    vantage
}

/// What agents say to each other is authenticated, and nothing in it is secret: no TLS is asked for.
fn peers_address(report: &Report, word: &Word) -> String {
    check_address(report, word, true);
    word.text.clone()
}

fn domain_of(sites: &[Site], site: SiteId) -> String {
    sites.get(site.at()).map(|site| site.failure_domain.clone()).unwrap_or_default()
}

fn control_targets(section: &mut Section<'_>) -> Vec<String> {
    let words = section.words("control-targets").unwrap_or_default();
    for word in &words {
        let address = word.text.strip_prefix("tcp://").and_then(|rest| rest.rsplit_once(':'));
        if !address.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)) {
            let what = format!("\"{}\" is no control target", word.text);
            section.report.error(word.at, what, "write \"tcp://ADDRESS:PORT\", of something that is not this fleet's");
        }
    }
    words.into_iter().map(|word| word.text).collect()
}
