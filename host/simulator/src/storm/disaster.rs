//! One random disaster: what breaks, for how long, who gives orders and who answers.

use tidegate_kernel::contract::Millis;
use tidegate_kernel::event::Command;
use tidegate_kernel::fleet::Fleet;

use crate::chance::Chance;
use crate::fault::{At, Between, Fault, Flaky, INTERNET, Lagging, Late, Lossy, NodeOf, slots};
use crate::simulation::{Happening, Script, What};

/// Everything is well until then.
pub(super) const BEGINS: Millis = 30_000;
/// After the last fault the world goes on for so long: hold-downs end, and services go home.
const AFTERMATH: Millis = 20 * 60_000;
/// What makes no two looks alike lasts at most this long: none of its time can be skipped.
const UNSTEADY_MAX: Millis = 120_000;
/// Apart from the numbers that decide what happens in the world.
const STREAM: u64 = 0x7469_6465_6761_7465;

pub(super) fn draw(fleet: &Fleet, seed: u64) -> Script {
    let mut chance = Chance::new(seed ^ STREAM);
    let faults = [1, 1, 1, 2, 2, 3][chance.below(6) as usize];
    let mut happenings = Vec::new();
    let mut last = BEGINS;
    for _ in 0..faults {
        let at = BEGINS + chance.below(90_000);
        let fault = fault(fleet, &mut chance);
        let longest = if fault.is_unsteady() { UNSTEADY_MAX } else { Millis::MAX };
        let lasts = length(&mut chance).min(longest);
        // One in twelve is never mended.
        let lasts = (fault.is_unsteady() || chance.below(12) > 0).then_some(lasts);
        last = last.max(at + lasts.unwrap_or(0));
        happenings.push(Happening { at, lasts, what: What::Break(fault) });
    }
    people(fleet, &mut chance, last, &mut happenings);
    let crash_at_record = (chance.below(10) == 0).then(|| chance.between(30, 150) as usize);
    Script { happenings, length: last + AFTERMATH, crash_at_record, mutants: Vec::new() }
}

/// From three seconds to an hour, short ones as likely as long ones.
fn length(chance: &mut Chance) -> Millis {
    const STEPS: [Millis; 8] = [3_000, 10_000, 30_000, 60_000, 180_000, 600_000, 1_800_000, 3_600_000];
    let step = chance.below(STEPS.len() as u64 - 1) as usize;
    chance.between(STEPS[step], STEPS[step + 1])
}

/// Half of the time somebody answers what is asked; now and then somebody orders something.
fn people(fleet: &Fleet, chance: &mut Chance, last: Millis, happenings: &mut Vec<Happening>) {
    if chance.per_cent(50) {
        let at = BEGINS + 90_000 + chance.below(600_000);
        for service in &fleet.services {
            happenings.push(Happening { at, lasts: None, what: What::Approve(service.name.clone()) });
        }
    }
    if chance.per_cent(10) {
        let at = BEGINS + chance.below(last);
        if let Some(command) = order(fleet, chance) {
            happenings.push(Happening { at, lasts: None, what: What::Order(command) });
        }
    }
}

fn order(fleet: &Fleet, chance: &mut Chance) -> Option<Command> {
    let service = chance.one(&fleet.services)?.name.clone();
    let site = chance.one(&fleet.sites)?.name.clone();
    Some(match chance.below(6) {
        0 => Command::Failover { service, to: None, accept_loss: None },
        1 => Command::Failover { service, to: Some(site), accept_loss: Some(60_000) },
        2 => Command::Switchover { service, to: None },
        3 => Command::Failback { service, to: None },
        4 => Command::Evacuate { site, to: None },
        _ => Command::Rearm { note: "looked at it".into() },
    })
}

/// One of everything that can break.
fn fault(fleet: &Fleet, chance: &mut Chance) -> Fault {
    let site = |chance: &mut Chance| chance.one(&fleet.sites).map(|site| site.name.clone()).unwrap_or_default();
    let agent = |chance: &mut Chance| chance.one(&fleet.vantages).map(|agent| agent.name.clone()).unwrap_or_default();
    let at = |chance: &mut Chance| {
        let service = chance.one(&fleet.services).expect("a fleet has services");
        // Where it is served, more often than not.
        let place = match chance.per_cent(70) {
            true => service.active_at_start,
            false => chance.one(&service.places).expect("a service has places").site,
        };
        At { service: service.name.clone(), site: fleet.sites[place.at()].name.clone() }
    };
    let kinds = if fleet.clusters.is_empty() { 17 } else { 23 };
    match chance.below(kinds) {
        0 => Fault::SiteDown(site(chance)),
        1 => Fault::SiteFrozen(site(chance)),
        2 => Fault::Cut(between(fleet, chance)),
        3 => {
            let Between { from, to, one_way } = between(fleet, chance);
            Fault::Loss(Lossy { from, to, per_cent: chance.between(5, 80) as u32, one_way })
        }
        4 => {
            let Between { from, to, one_way } = between(fleet, chance);
            Fault::Delay(Late { from, to, by: chance.between(20, 1_500), one_way })
        }
        5 => Fault::ServiceDown(at(chance)),
        6 => Fault::ServiceHangs(at(chance)),
        7 => Fault::ServiceSlow(at(chance)),
        8 => {
            let At { service, site } = at(chance);
            Fault::ServiceFlaky(Flaky { service, site, per_cent: chance.between(5, 90) as u32 })
        }
        9 => Fault::ServiceReadOnly(at(chance)),
        10 => match chance.below(3) {
            0 => Fault::AgentDown(agent(chance)),
            1 => Fault::AgentBlind(agent(chance)),
            _ => Fault::AgentSlow(agent(chance)),
        },
        11 => Fault::CommandsFail(site(chance)),
        12 => [Fault::NamesDown, Fault::NamesForgetful][chance.below(2) as usize].clone(),
        13 => Fault::NamesChanged(at(chance)),
        14 => Fault::HostDown,
        15 => Fault::ClockJumps(chance.between(0, 20_000_000) as i64 - 10_000_000),
        16 => {
            let slots: Vec<&str> = slots(fleet).into_iter().collect();
            let slot = chance.one(&slots).expect("services are looked at").to_string();
            match chance.below(3) {
                0 => Fault::ProviderCrashes(slot),
                1 => Fault::ProviderCrashesMidway(slot),
                _ => Fault::ProviderSlow(slot),
            }
        }
        17 => Fault::NodeDown(node(fleet, chance)),
        18 => Fault::NodeHangs(node(fleet, chance)),
        19 => Fault::NodeFull(node(fleet, chance)),
        20 => {
            let NodeOf { cluster, node } = node(fleet, chance);
            Fault::NodeLags(Lagging { cluster, node, by: chance.between(100, 60_000) })
        }
        21 => Fault::NodeStalled(node(fleet, chance)),
        _ => Fault::NodeUnguarded(node(fleet, chance)),
    }
}

/// Two places, or one against all the others.
fn between(fleet: &Fleet, chance: &mut Chance) -> Between {
    let mut places: Vec<String> = fleet.sites.iter().map(|site| site.name.clone()).collect();
    places.push(INTERNET.to_owned());
    let from = places.swap_remove(chance.below(places.len() as u64) as usize);
    let to = match chance.per_cent(40) {
        true => places,
        false => chance.one(&places).cloned().into_iter().collect(),
    };
    Between { from: vec![from], to, one_way: chance.per_cent(25) }
}

fn node(fleet: &Fleet, chance: &mut Chance) -> NodeOf {
    let cluster = chance.one(&fleet.clusters).expect("a fleet with clusters");
    let node = chance.one(&cluster.nodes).map(|node| node.name.clone()).unwrap_or_default();
    NodeOf { cluster: cluster.name.clone(), node }
}
