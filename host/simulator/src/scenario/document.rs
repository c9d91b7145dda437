//! The scenario file: TOML with a timeline, read strictly, every name checked against the fleet.

mod wanted;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use tidegate_kernel::contract::Millis;
use tidegate_kernel::event::Command;
use tidegate_kernel::fleet::{Fleet, Level, Problem, did_you_mean, parse_duration};
use toml::Spanned;

use self::wanted::Wanted;
use super::{AtMost, Scenario};
use crate::fault::{Fault, INTERNET, NodeOf, slots};
use crate::simulation::{Happening, Script, What};

/// A scenario plays at most this long.
const LENGTH_MAX: Millis = 7 * 86_400_000;
/// Where all of it is written down.
const REFERENCE: &str = "examples/scenarios/README.md lists every key, fault and order";

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Document {
    title: String,
    source: Option<String>,
    fleet: Spanned<String>,
    #[serde(default = "one")]
    seed: u64,
    length: Spanned<String>,
    settings: Option<toml::Table>,
    crash_at_record: Option<usize>,
    #[serde(default)]
    event: Vec<Entry>,
    #[serde(default)]
    must: Vec<Spanned<Wanted>>,
    #[serde(default)]
    must_not: Vec<Spanned<Wanted>>,
    #[serde(default)]
    at_most: Limits,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Entry {
    at: Spanned<String>,
    lasts: Option<Spanned<String>>,
    #[serde(rename = "break")]
    broken: Option<Spanned<Fault>>,
    /// Read in a second step: a command by itself would let what it does not know pass.
    order: Option<Spanned<toml::Table>>,
    approve: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Limits {
    #[serde(default)]
    lost_writes: BTreeMap<String, Spanned<u64>>,
    moves: Option<u32>,
    #[serde(default)]
    downtime: BTreeMap<String, Spanned<String>>,
}

fn one() -> u64 {
    1
}

/// Collects what is wrong, with where.
struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    problems: Vec<Problem>,
}

pub(super) fn read(
    file: &Path,
    text: &str,
    fleet: &dyn Fn(&str) -> Result<Fleet, String>,
) -> Result<Scenario, Vec<Problem>> {
    let mut reader = Reader { file, text, problems: Vec::new() };
    let document: Document = match toml::from_str(text) {
        Ok(document) => document,
        Err(error) => {
            let at = error.span().unwrap_or(0..0);
            reader.wrong(at, error.message().trim_end().to_owned(), REFERENCE);
            return Err(reader.problems);
        }
    };
    let fleet = match fleet(document.fleet.as_ref()) {
        Ok(fleet) => fleet,
        Err(why) => {
            reader.wrong(document.fleet.span(), why, "name a fleet file, seen from this one, or builtin:three-sites");
            return Err(reader.problems);
        }
    };
    let scenario = reader.scenario(document, fleet);
    if reader.problems.is_empty() { Ok(scenario) } else { Err(reader.problems) }
}

impl Reader<'_> {
    fn scenario(&mut self, document: Document, fleet: Fleet) -> Scenario {
        let length = self.time(&document.length, LENGTH_MAX);
        let happenings = document.event.into_iter().filter_map(|entry| self.happening(entry, &fleet, length)).collect();
        let must = document.must.into_iter().map(|wanted| self.expectation(wanted, &fleet, length)).collect();
        let must_not = document.must_not.into_iter().map(|wanted| self.expectation(wanted, &fleet, length)).collect();
        let downtime = document.at_most.downtime.iter().map(|(service, most)| {
            self.service(service, most.span(), &fleet);
            (service.clone(), self.time(most, LENGTH_MAX))
        });
        let downtime = downtime.collect();
        let lost_writes = document.at_most.lost_writes.iter().map(|(cluster, most)| {
            let known = fleet.clusters.iter().map(|cluster| cluster.name.as_str());
            self.known("cluster", cluster, known, most.span());
            (cluster.clone(), *most.as_ref())
        });
        let lost_writes = lost_writes.collect();
        Scenario {
            file: self.file.to_owned(),
            title: document.title,
            source: document.source,
            script: Script { happenings, length, crash_at_record: document.crash_at_record, mutants: Vec::new() },
            seed: document.seed,
            settings: document.settings.and_then(|settings| serde_json::to_value(settings).ok()),
            must,
            must_not,
            at_most: AtMost { lost_writes, moves: document.at_most.moves, downtime },
            fleet,
        }
    }

    fn happening(&mut self, entry: Entry, fleet: &Fleet, length: Millis) -> Option<Happening> {
        let at = self.time(&entry.at, length);
        let what = match (entry.broken, entry.order, entry.approve) {
            (Some(fault), None, None) => {
                self.fault(fault.as_ref(), fault.span(), fleet);
                What::Break(fault.into_inner())
            }
            (None, Some(order), None) => What::Order(self.order(order, fleet)?),
            (None, None, Some(service)) => {
                self.service(service.as_ref(), service.span(), fleet);
                What::Approve(service.into_inner())
            }
            _ => {
                let todo = "give each event one of: break = { … }, order = { … }, approve = \"SERVICE\"";
                self.wrong(entry.at.span(), "this event is not one thing".to_owned(), todo);
                return None;
            }
        };
        let lasts = entry.lasts.map(|lasts| self.lasts(&lasts, &what));
        Some(Happening { at, lasts, what })
    }

    fn lasts(&mut self, lasts: &Spanned<String>, what: &What) -> Millis {
        if !matches!(what, What::Break(fault) if !fault.is_a_moment()) {
            let todo = "leave `lasts` out; only what breaks and can be mended lasts";
            self.wrong(lasts.span(), "this is over as soon as it has happened".to_owned(), todo);
        }
        self.time(lasts, LENGTH_MAX)
    }

    fn order(&mut self, order: Spanned<toml::Table>, fleet: &Fleet) -> Option<Command> {
        let (at, table) = (order.span(), order.into_inner());
        let command: Command = match toml::Value::Table(table.clone()).try_into() {
            Ok(command) => command,
            Err(error) => {
                self.wrong(at, format!("this is no order: {}", error.message().trim_end()), REFERENCE);
                return None;
            }
        };
        let keys = keys(&command);
        for (key, value) in &table {
            let at = at.clone();
            match (key.as_str(), value.as_str().unwrap_or_default()) {
                ("command", _) => {}
                (key, _) if !keys.contains(&key) => {
                    self.known_of("this order has no key", key, keys.iter().copied(), at);
                }
                ("service", name) => self.service(name, at, fleet),
                ("site" | "to", name) => self.place(name, at, fleet, false),
                _ => {}
            }
        }
        Some(command)
    }

    fn time(&mut self, text: &Spanned<String>, most: Millis) -> Millis {
        match parse_duration(text.as_ref()) {
            Some(time) if time <= most => time,
            Some(_) => {
                let longest = tidegate_kernel::fleet::write_duration(most);
                let what = format!("\"{}\" is after the end, which is at {longest}", text.as_ref());
                self.wrong(text.span(), what, "choose an earlier time, or a greater length");
                0
            }
            None => {
                let what = format!("\"{}\" is no length of time", text.as_ref());
                self.wrong(text.span(), what, "write it like \"500ms\", \"43s\", \"5m\" or \"1h30m\"");
                0
            }
        }
    }

    fn fault(&mut self, fault: &Fault, at: Range<usize>, fleet: &Fleet) {
        match fault {
            Fault::SiteDown(site) | Fault::SiteFrozen(site) | Fault::CommandsFail(site) => {
                self.place(site, at, fleet, false);
            }
            Fault::Cut(cut) => self.places(&cut.from, &cut.to, at, fleet),
            Fault::Loss(lossy) => {
                self.places(&lossy.from, &lossy.to, at.clone(), fleet);
                self.per_cent(lossy.per_cent, at);
            }
            Fault::Delay(late) => self.places(&late.from, &late.to, at, fleet),
            Fault::ServiceDown(of) | Fault::ServiceHangs(of) | Fault::ServiceSlow(of) | Fault::ServiceReadOnly(of) => {
                self.served_at(&of.service, &of.site, at, fleet)
            }
            Fault::NamesChanged(of) => {
                // It may be led to where the service has no place.
                self.service(&of.service, at.clone(), fleet);
                self.place(&of.site, at, fleet, false);
            }
            Fault::ServiceFlaky(of) => {
                self.served_at(&of.service, &of.site, at.clone(), fleet);
                self.per_cent(of.per_cent, at);
            }
            Fault::AgentDown(agent) | Fault::AgentBlind(agent) | Fault::AgentSlow(agent) => {
                self.known("agent", agent, fleet.vantages.iter().map(|vantage| vantage.name.as_str()), at);
            }
            Fault::NodeDown(of)
            | Fault::NodeHangs(of)
            | Fault::NodeFull(of)
            | Fault::NodeStalled(of)
            | Fault::NodeUnguarded(of) => self.node(of, at, fleet),
            Fault::NodeLags(of) => {
                self.node(&NodeOf { cluster: of.cluster.clone(), node: of.node.clone() }, at, fleet);
            }
            Fault::ProviderCrashes(slot) | Fault::ProviderCrashesMidway(slot) | Fault::ProviderSlow(slot) => {
                self.known("slot for names, databases or probes", slot, slots(fleet).into_iter(), at);
            }
            Fault::NamesDown | Fault::NamesForgetful | Fault::HostDown | Fault::ClockJumps(_) => {}
        }
    }

    fn places(&mut self, from: &[String], to: &[String], at: Range<usize>, fleet: &Fleet) {
        from.iter().chain(to).for_each(|name| self.place(name, at.clone(), fleet, true));
        if !from.iter().any(|one| to.iter().any(|other| one != other)) {
            let todo = "name places on both sides; within a place nothing is ever cut, lost or late";
            self.wrong(at, "there is nothing between these".to_owned(), todo);
        }
    }

    /// A service, and a site at which it has a place.
    fn served_at(&mut self, service: &str, site: &str, at: Range<usize>, fleet: &Fleet) {
        self.service(service, at.clone(), fleet);
        self.place_of(service, site, at, fleet);
    }

    /// A site at which that service has a place; of a service that is not known, any site.
    fn place_of(&mut self, service: &str, site: &str, at: Range<usize>, fleet: &Fleet) {
        let Some(declared) = fleet.services.iter().find(|declared| declared.name == service) else {
            return self.place(site, at, fleet, false);
        };
        let places = declared.places.iter().map(|place| fleet.sites[place.site.at()].name.as_str());
        self.known_of(&format!("{service} has no place at"), site, places, at);
    }

    fn place(&mut self, name: &str, at: Range<usize>, fleet: &Fleet, or_internet: bool) {
        let sites = fleet.sites.iter().map(|site| site.name.as_str());
        self.known("site", name, sites.chain(or_internet.then_some(INTERNET)), at);
    }

    fn service(&mut self, name: &str, at: Range<usize>, fleet: &Fleet) {
        self.known("service", name, fleet.services.iter().map(|service| service.name.as_str()), at);
    }

    fn node(&mut self, of: &NodeOf, at: Range<usize>, fleet: &Fleet) {
        self.known("cluster", &of.cluster, fleet.clusters.iter().map(|cluster| cluster.name.as_str()), at.clone());
        if let Some(cluster) = fleet.clusters.iter().find(|cluster| cluster.name == of.cluster) {
            self.known("node", &of.node, cluster.nodes.iter().map(|node| node.name.as_str()), at);
        }
    }

    fn per_cent(&mut self, per_cent: u32, at: Range<usize>) {
        if !(1..=100).contains(&per_cent) {
            self.wrong(at, format!("{per_cent} per cent of something cannot be lost"), "say 1 to 100");
        }
    }

    fn known<'b>(&mut self, kind: &str, name: &str, known: impl Iterator<Item = &'b str>, at: Range<usize>) {
        self.known_of(&format!("the fleet has no {kind}"), name, known, at);
    }

    fn known_of<'b>(&mut self, what: &str, name: &str, known: impl Iterator<Item = &'b str>, at: Range<usize>) {
        let known: Vec<&str> = known.collect();
        if !known.contains(&name) {
            let meant = did_you_mean(name, known.iter().copied());
            let todo = format!("there are: {}", known.join(", "));
            self.wrong(at, format!("{what} `{name}`{meant}"), &todo);
        }
    }

    fn wrong(&mut self, at: Range<usize>, what: String, todo: &str) {
        let (line, column) = self.position(at.start);
        let (file, todo) = (self.file.to_owned(), todo.to_owned());
        self.problems.push(Problem { file, line, column, what, todo, severity: Level::Error });
    }

    /// Line and column, from 1.
    fn position(&self, offset: usize) -> (u32, u32) {
        let before = self.text.get(..offset.min(self.text.len())).unwrap_or(self.text);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line as u32, column as u32)
    }
}

/// What an order may say beside its command.
fn keys(command: &Command) -> &'static [&'static str] {
    match command {
        Command::Failover { .. } => &["service", "to", "accept_loss"],
        Command::Switchover { .. } | Command::Failback { .. } => &["service", "to"],
        Command::Evacuate { .. } => &["site", "to"],
        Command::Pause { .. } => &["service", "reason"],
        Command::Resume { .. } | Command::Adopt { .. } | Command::Reapply { .. } => &["service"],
        Command::Approve { .. } => &["question", "option"],
        Command::Reject { .. } => &["question", "reason"],
        Command::Retry { .. } | Command::Undo { .. } | Command::Abort { .. } => &["run"],
        Command::Skip { .. } => &["run", "step"],
        Command::FinishByHand { .. } => &["run", "note"],
        Command::Rearm { .. } => &["note"],
    }
}
