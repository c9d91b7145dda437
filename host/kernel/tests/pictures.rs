//! What policies see of other services: all that they ask for, of the same moment as their own, and nothing that they do not.

#[path = "support/world.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the world")]
mod world;

use tidegate_kernel::contract::{Decision, Outcome, Situation, Status, Verdict};
use tidegate_kernel::event::{Event, Look, Read};
use tidegate_kernel::fleet::{ServiceId, VantageId};
use tidegate_kernel::picture::Picture;
use tidegate_kernel::record::{Cause, Decided};
use world::*;

const SHOP: ServiceId = ServiceId(0);

fn read(capability: &str, arguments: &[&str], answer: &impl serde::Serialize) -> Read {
    Read {
        capability: capability.into(),
        arguments: serde_json::json!(arguments).to_string(),
        answer: serde_json::json!(answer).to_string(),
    }
}

/// The shop holds with the word of what it sees of the database; nobody else looks.
fn looks_at_db(told: &Situation, picture: &Picture) -> (Result<Decision, String>, Vec<Read>) {
    if told.service != "shop" {
        return (plain_policy(told), Vec::new());
    }
    let seen = picture.health.get("db").map(|sites| sites["east"].consensus.status);
    let leads = picture.routes.get("db.example.org").map(|route| route.endpoints[0].target.as_str());
    let word = format!("{seen:?} {leads:?}");
    let reads = vec![read("health.agreed", &["db", "east"], &seen), read("dns.resolve", &["db.example.org"], &leads)];
    (Ok(decision(Verdict::Hold, &word)), reads)
}

/// Everybody asks for whoever comes next.
fn looks_at_all(told: &Situation, picture: &Picture) -> (Result<Decision, String>, Vec<Read>) {
    let names = (0..70).map(|n| format!("s-{n}")).chain(["nobody".into()]);
    let reads = names.map(|name| read("health.agreed", &[&name, "east"], &picture.health.contains_key(&name)));
    (plain_policy(told), reads.collect())
}

fn two() -> World {
    let mut world = World::new(fleet(&(shop("") + &service("db", ""))));
    world.looker = Some(looks_at_db);
    world.run(10_000);
    world
}

fn decisions(world: &World) -> Vec<&Decided> {
    let decided = world.journal.iter().filter_map(|record| match &record.cause {
        Cause::Decided(decided) if decided.service == "shop" => Some(&**decided),
        _ => None,
    });
    decided.collect()
}

/// The database is looked at, and found dead, from everywhere; nobody else is.
fn db_dies(world: &mut World) {
    for _ in 0..2 {
        world.mono += 1;
        for vantage in 0..3 {
            let look = Look {
                vantage: VantageId(vantage),
                service: ServiceId(1),
                site: world.kernel.site_id("east").expect("a site"),
                outcome: Outcome::Refused,
                latency: None,
                not_before: world.mono,
                detail: String::new(),
            };
            world.give(Event::Look(look));
        }
    }
}

#[test]
fn a_policy_that_looks_nothing_up_is_shown_nothing() {
    let mut world = World::settled(fleet(&(shop("") + &service("db", "depends-on = [\"shop\"]"))));
    world.dead.insert("east");
    world.run(60_000);
    assert!(world.shown.len() > 10);
    assert!(world.shown.iter().all(|(_, picture)| *picture == Picture::default()));
}

#[test]
fn what_a_policy_asks_for_is_in_its_picture_before_its_word_counts() {
    let world = two();
    let shop: Vec<_> = world.shown.iter().filter(|(id, _)| *id == SHOP).map(|(_, picture)| picture).collect();
    assert_eq!(*shop[0], Picture::default(), "nobody had asked yet");
    assert!(shop[1..].iter().all(|picture| picture.health.len() == 1 && picture.routes.len() == 1), "{shop:#?}");
    assert_eq!(world.kernel.picture(SHOP, world.now()).health["db"]["east"].observations.len(), 3);
    let decided = decisions(&world);
    assert!(
        decided.iter().all(|decided| decided.reads[0].answer != "null"),
        "each is recorded with what it read there"
    );
    assert_eq!(decided.last().unwrap().reads[0].answer, "\"healthy\"");
    let mut others = world.shown.iter().filter(|(id, _)| *id != SHOP);
    assert!(others.all(|(_, picture)| *picture == Picture::default()), "who does not ask is shown nothing");
}

#[test]
fn a_policy_is_asked_again_when_what_it_looked_up_changes() {
    let mut world = two();
    let before = decisions(&world).len();
    db_dies(&mut world);
    let decided = decisions(&world);
    assert!(decided.len() > before, "nothing of its own has changed, and it was asked");
    let last = decided.last().unwrap();
    assert!(last.result.as_ref().unwrap().analysis.starts_with("Some(Unhealthy)"), "{last:?}");
    let now = last.situation.body.as_ref().unwrap().now;
    assert_eq!(now, world.now().wall, "frozen at the moment of the change");
}

#[test]
fn what_is_no_longer_asked_for_is_no_longer_drawn() {
    let mut world = two();
    world.looker = None;
    db_dies(&mut world);
    world.shown.clear();
    world.give(Event::Swapped { slot: world.fleet.services[0].policy.clone(), revision: revision(1), probe: false });
    assert!(world.shown.iter().all(|(_, picture)| *picture == Picture::default()), "{:?}", world.shown);
    assert_eq!(world.kernel.picture(SHOP, world.now()), Picture::default());
}

#[test]
fn a_supposed_loss_is_lost_in_the_picture_too() {
    let world = two();
    let east = world.kernel.site_id("east").unwrap();
    let supposed = world.kernel.hypothetical(east, world.now());
    let (_, _, picture) = supposed.iter().find(|(id, ..)| *id == SHOP).unwrap();
    assert_eq!(picture.health["db"]["east"].consensus.status, Status::Unhealthy);
    assert_eq!(world.kernel.picture(SHOP, world.now()).health["db"]["east"].consensus.status, Status::Healthy);
}

#[test]
fn a_picture_has_64_other_services_at_most_and_asking_for_more_comes_to_an_end() {
    let services: String = (0..70).map(|n| service(&format!("s-{n}"), "").replace("load = 40", "load = 0")).collect();
    let mut world = World::new(fleet(&services));
    world.looker = Some(looks_at_all);
    world.run(10_000);
    assert!(!world.shown.is_empty());
    let most = world.shown.iter().map(|(_, picture)| picture.health.len()).max();
    assert_eq!(most, Some(64));
    for service in &world.fleet.services {
        assert!(world.kernel.state().services[&service.name].last.is_some(), "{} was never decided", service.name);
    }
}

#[test]
fn another_fleet_file_finds_nobody_looking_yet() {
    let mut world = two();
    let changed = fleet(&(service("db", "") + &shop("")));
    world.fleet = changed.clone();
    world.give(Event::FleetChanged(changed.into()));
    let db = world.kernel.service_id("db").unwrap();
    assert_eq!(world.kernel.picture(db, world.now()), Picture::default());
    assert_eq!(world.kernel.picture(world.kernel.service_id("shop").unwrap(), world.now()).health.len(), 1);
}
