//! What distance does: delay, loss and cuts of one way reach everything that crosses a link, and clients miss what is not there.

#[path = "support/night.rs"]
mod night;
#[path = "support/mod.rs"]
mod support;

use night::play;

use tidegate_simulator::fault::{Between, Fault, Late, Lossy, NodeOf};
use tidegate_simulator::fleets::three_sites;
use tidegate_simulator::storm::disaster;
use tidegate_simulator::{Ended, Simulation, What};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60_000;

fn places(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn delay(from: &str, to: &[&str], by: u64) -> Fault {
    Fault::Delay(Late { from: places(&[from]), to: places(to), by, one_way: false })
}

fn loss(from: &str, to: &[&str], per_cent: u32) -> Fault {
    Fault::Loss(Lossy { from: places(&[from]), to: places(to), per_cent, one_way: false })
}

fn one_way(from: &str, to: &str) -> Fault {
    Fault::Cut(Between { from: places(&[from]), to: places(&[to]), one_way: true })
}

fn dies(cluster: &str, node: &str) -> Fault {
    Fault::NodeDown(NodeOf { cluster: cluster.into(), node: node.into() })
}

fn down(ended: &Ended, service: &str) -> f64 {
    ended.services[service].down
}

fn story(ended: &Ended) -> String {
    format!("{:#?}\n{}", ended.services, ended.timeline.join("\n"))
}

#[test]
fn a_standby_behind_a_long_or_lossy_link_is_behind_by_it_and_that_much_is_lost() {
    let lost = |link: Option<Fault>| {
        // Shortly before: where looks time out, nobody would wait for it to die.
        let link = link.map(|link| (3 * MINUTE - 2 * SECOND, 5 * MINUTE, link));
        let dies = (3 * MINUTE, 60 * MINUTE, dies("events", "east"));
        let ended = play(link.into_iter().chain([dies]).collect(), 8 * MINUTE);
        assert!(ended.services["events"].moved, "{}", story(&ended));
        assert_eq!(
            ended.missed_rows["events"], ended.lost_writes["events"],
            "who reads at the new primary misses them"
        );
        ended.lost_writes["events"]
    };
    let others = ["west", "north"];
    assert_eq!(lost(None), 1);
    assert_eq!(lost(Some(delay("east", &others, 200))), 5);
    assert_eq!(lost(Some(loss("east", &others, 50))), 5, "each of two is sent again after 200 ms");
}

#[test]
fn a_commit_that_waits_for_a_standby_waits_for_the_way_there_and_back() {
    let others = ["west", "north"];
    let ended = play(vec![(MINUTE, 3 * MINUTE, delay("east", &others, 1_000))], 4 * MINUTE);
    // Until it is moved to where the standbys are near.
    let waited = down(&ended, "orders");
    assert!((5.0 * SECOND as f64..30.0 * SECOND as f64).contains(&waited), "{waited}: {}", story(&ended));
    assert_eq!((down(&ended, "shop"), ended.lost_writes["orders"]), (0.0, 0));
    // One that is near is enough.
    let ended = play(vec![(MINUTE, 3 * MINUTE, delay("east", &["north"], 1_000))], 4 * MINUTE);
    assert_eq!(down(&ended, "orders"), 0.0, "{}", story(&ended));
}

#[test]
fn a_lease_whose_renewal_takes_too_long_ends() {
    let far = play(vec![(MINUTE, MINUTE + 10 * SECOND, delay("east", &["north", "west"], 360))], 2 * MINUTE);
    let stopped = down(&far, "events");
    assert!((5.0 * SECOND as f64..10.0 * SECOND as f64).contains(&stopped), "{stopped}: {}", story(&far));
    // Where the host alone is far away the other agents confirm.
    let host = play(vec![(MINUTE, MINUTE + 10 * SECOND, delay("north", &["east"], 360))], 2 * MINUTE);
    assert_eq!(down(&host, "events"), 0.0, "{}", story(&host));
}

#[test]
fn clients_go_without_what_a_link_loses_and_without_anything_beyond_their_patience() {
    let ended = play(vec![(MINUTE, 3 * MINUTE, loss("east", &["internet"], 25))], 5 * MINUTE);
    assert_eq!(down(&ended, "shop"), 0.25 * 2.0 * MINUTE as f64, "{}", story(&ended));
    let ended = play(vec![(MINUTE, 3 * MINUTE, delay("east", &["internet"], 900))], 5 * MINUTE);
    assert_eq!(down(&ended, "shop"), 0.0, "{}", story(&ended));
    let ended = play(vec![(MINUTE, 3 * MINUTE, delay("east", &["internet"], 1_000))], 5 * MINUTE);
    assert_eq!(down(&ended, "shop"), 2.0 * MINUTE as f64, "{}", story(&ended));
}

#[test]
fn a_name_is_written_where_only_the_answer_is_lost_and_not_where_the_question_is() {
    let written = |cut: Fault| {
        // The new primary leads within the first second; its name is due when the link is cut.
        let night = vec![(MINUTE, 60 * MINUTE, dies("orders", "east")), (MINUTE + SECOND, MINUTE + 20 * SECOND, cut)];
        let ended = play(night, 10 * MINUTE);
        let back = ended.timeline.iter().filter_map(|line| line.split_once("read back: ")).map(|(_, what)| what);
        let back: Vec<&str> = back.collect();
        assert!(ended.services["orders"].moved, "{}", story(&ended));
        (back.join(", "), down(&ended, "orders"))
    };
    let (answered, short) = written(one_way("internet", "north"));
    assert!(answered.starts_with("it had been written"), "{answered}");
    let (lost, long) = written(one_way("north", "internet"));
    assert!(lost.starts_with("it had not been written"), "{lost}");
    assert!(
        short + 10.0 * SECOND as f64 <= long,
        "{short}, {long}: clients are led there although the host has not heard"
    );
}

#[test]
fn clients_that_are_still_led_to_a_primary_that_was_replaced_miss_what_was_written_since() {
    // Nothing that it writes is acknowledged any more, and whoever has its name in a cache still reads there.
    let cut = Fault::Cut(Between { from: places(&["east"]), to: places(&["west", "north"]), one_way: false });
    let ended = play(vec![(MINUTE, 3 * MINUTE, cut)], 8 * MINUTE);
    assert!(ended.services["orders"].moved, "{}", story(&ended));
    assert!((SECOND..=10 * SECOND).contains(&ended.stale_reads), "{}: {}", ended.stale_reads, story(&ended));
    assert!(ended.missed_rows["orders"] > 0 && ended.lost_writes["orders"] == 0, "{:?}", ended.missed_rows);
}

/// As many as take some seconds.
const SEEDS: std::ops::Range<u64> = 5_000..5_200;

#[test]
fn no_invariant_is_broken_where_links_are_long_lossy_or_cut_one_way() {
    let fleet = three_sites().unwrap();
    let deciders = support::compiled(&fleet, 2);
    let of_a_link = |fault: &Fault| match fault {
        Fault::Cut(between) => between.one_way,
        fault => matches!(fault, Fault::Loss(_) | Fault::Delay(_)),
    };
    let has_one = |seed: &u64| {
        let script = disaster(&fleet, *seed);
        script.happenings.iter().any(|happening| matches!(&happening.what, What::Break(fault) if of_a_link(fault)))
    };
    let seeds: Vec<u64> = SEEDS.filter(has_one).collect();
    assert!(seeds.len() > 25, "{}", seeds.len());
    std::thread::scope(|scope| {
        for (at, mut decider) in deciders.into_iter().enumerate() {
            let (fleet, seeds) = (&fleet, &seeds);
            scope.spawn(move || {
                for seed in seeds.iter().skip(at).step_by(2) {
                    let simulation = Simulation::new(fleet, disaster(fleet, *seed), *seed);
                    let hits = simulation.hurried().run(&mut decider).hits;
                    assert!(hits.is_empty(), "seed {seed}: {hits:#?}");
                }
            });
        }
    });
}
