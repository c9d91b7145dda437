//! What the host makes of looks, heartbeats and silence: when the picture changes, and when it must not.

use std::path::Path;

use proptest::prelude::*;
use tidegate_kernel::contract::{Millis, Outcome, Status};
use tidegate_kernel::event::{Look, Moment};
use tidegate_kernel::fleet::{Fleet, ServiceId, SiteId, VantageId, parse};
use tidegate_kernel::sensing::{Edge, Sensing};

const SHOP: ServiceId = ServiceId(0);
const A: SiteId = SiteId(0);
const B: SiteId = SiteId(1);

/// Three sites with an agent each; `shop` is at `a` and `b`, looked at every second, 2 bad, 3 good.
fn fleet(more: &str) -> Fleet {
    let text = format!(
        r#"
[host]
site = "c"
agents-listen = "127.0.0.1:1"
[site.a]
[site.b]
[site.c]
[agent.a]
site = "a"
token = "t"
[agent.b]
site = "b"
token = "t"
[agent.c]
site = "c"
token = "t"
[secret]
t = {{ env = "T" }}
[service.shop]
probe = {{ slot = "probe/tcp" }}
at.a = {{ endpoint = "a", target = {{ address = "a:1" }} }}
at.b = {{ endpoint = "b", target = {{ address = "b:1" }} }}
{more}
"#
    );
    parse(Path::new("fleet.toml"), &|_| Ok(text.clone())).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn at(mono: Millis) -> Moment {
    Moment { mono, wall: 1_700_000_000_000 + mono }
}

/// A fleet being watched: what happens to it, and the edges that came of it.
struct Watch {
    fleet: Fleet,
    sensing: Sensing,
    now: Millis,
    edges: Vec<Edge>,
}

impl Watch {
    fn new(more: &str) -> Watch {
        let fleet = fleet(more);
        let sensing = Sensing::new(&fleet, at(0));
        Watch { fleet, sensing, now: 0, edges: Vec::new() }
    }

    fn heard(&mut self, vantage: u16, sound: bool) {
        self.sensing.heard(&self.fleet, at(self.now), VantageId(vantage), sound, &mut self.edges);
    }

    fn look_from(&mut self, vantage: u16, site: SiteId, outcome: Outcome, not_before: Millis) {
        let look = Look {
            vantage: VantageId(vantage),
            service: SHOP,
            site,
            outcome,
            latency: Some(3),
            not_before,
            detail: String::new(),
        };
        self.sensing.look(&self.fleet, at(self.now), &look, &mut self.edges);
    }

    fn look(&mut self, vantage: u16, site: SiteId, outcome: Outcome) {
        self.look_from(vantage, site, outcome, self.now);
    }

    fn tick(&mut self) {
        self.sensing.tick(&self.fleet, at(self.now), &mut self.edges);
    }

    /// A second passes; then the vantage points named by the letters report `shop` at `a` as: g good, s slow, b refused,
    /// e error, and `b` well. Those with - stay silent; those with x are cut off and see everything bad.
    fn second(&mut self, letters: &str) {
        self.now += 1_000;
        self.tick();
        for (letter, vantage) in letters.chars().zip(0..) {
            let outcome = match letter {
                '-' => continue,
                'g' => Outcome::Ok,
                's' => Outcome::Slow,
                'b' => Outcome::Refused,
                'e' => Outcome::Error,
                _ => Outcome::TimedOut,
            };
            self.heard(vantage, letter != 'x');
            self.look(vantage, A, outcome);
            self.look(vantage, B, if letter == 'x' { Outcome::TimedOut } else { Outcome::Ok });
        }
    }

    fn seconds(&mut self, letters: &[&str]) {
        letters.iter().for_each(|letters| self.second(letters));
    }

    fn status(&self, site: SiteId) -> Status {
        self.sensing.consensus(SHOP, site, at(self.now)).status
    }

    /// The edges since the last time, those of votes and vantage points left out.
    fn turns(&mut self) -> Vec<(SiteId, Status)> {
        let turn = |edge: Edge| match edge {
            Edge::Consensus { site, to, .. } => Some((site, to)),
            Edge::Votes { .. } | Edge::Vantage { .. } => None,
        };
        std::mem::take(&mut self.edges).into_iter().filter_map(turn).collect()
    }
}

#[test]
fn a_dead_site_is_seen_by_the_others_within_two_looks() {
    let mut watch = Watch::new("");
    watch.seconds(&["ggg", "ggg"]);
    assert_eq!(watch.turns(), [(A, Status::Healthy), (B, Status::Healthy)]);
    watch.second("-bb");
    assert_eq!(watch.turns(), []);
    watch.second("-bb");
    assert_eq!(watch.turns(), [(A, Status::Unhealthy)]);
    watch.seconds(&["-bb", "-bb", "-bb", "-bb"]);
    let consensus = watch.sensing.consensus(SHOP, A, at(watch.now));
    assert_eq!((consensus.agreeing, consensus.voting, consensus.expected, consensus.held), (2, 2, 3, 4_000));
    assert_eq!(watch.status(B), Status::Healthy);
    assert_eq!(watch.sensing.unhealthy_at(A), (1, 1));
    assert_eq!(watch.sensing.unhealthy_at(B), (0, 1));
}

#[test]
fn one_vantage_point_cut_off_turns_nothing() {
    for cut in ["bgg", "xgg"] {
        let mut watch = Watch::new("");
        watch.seconds(&["ggg", "ggg"]);
        watch.turns();
        watch.seconds(&[cut; 10]);
        assert_eq!(watch.turns(), [], "{cut}");
    }
}

#[test]
fn the_cut_off_ones_votes_do_not_count_when_they_are_back() {
    let mut watch = Watch::new("");
    watch.seconds(&["ggg", "ggg"]);
    watch.seconds(&["gxx"; 5]);
    watch.turns();
    watch.now += 500;
    watch.heard(1, true);
    watch.heard(2, true);
    assert_eq!(watch.status(A), Status::Unknown);
    watch.seconds(&["ggg", "ggg"]);
    assert_eq!(watch.turns(), [(A, Status::Healthy), (B, Status::Healthy)]);
}

#[test]
fn silence_is_unknown_and_never_unhealthy() {
    let mut watch = Watch::new("");
    watch.seconds(&["ggg", "ggg"]);
    watch.turns();
    watch.now += 86_400_000;
    watch.tick();
    assert_eq!(watch.turns(), [(A, Status::Unknown), (B, Status::Unknown)]);
}

#[test]
fn the_next_edge_is_known_to_the_millisecond() {
    let mut watch = Watch::new("");
    watch.second("ggg");
    watch.turns();
    let due = watch.sensing.next_edge().expect("something can become stale");
    assert_eq!(due, 1_000 + 3_000 + 1);
    watch.now = due - 1;
    watch.tick();
    assert_eq!(watch.edges, []);
    watch.now = due;
    watch.tick();
    assert_eq!(watch.turns(), [(A, Status::Unknown), (B, Status::Unknown)]);
    assert!(watch.sensing.vantages(&watch.fleet, at(due)).iter().all(|vantage| !vantage.fresh));
}

#[test]
fn wall_clocks_are_not_looked_at() {
    let mut watch = Watch::new("");
    watch.seconds(&["ggg", "ggg"]);
    watch.turns();
    for wall in [0, u64::MAX] {
        watch.sensing.tick(&watch.fleet, Moment { mono: watch.now, wall }, &mut watch.edges);
        assert_eq!(watch.edges, []);
    }
}

#[test]
fn it_takes_good_looks_in_a_row_to_be_well_again() {
    let mut watch = Watch::new("");
    watch.seconds(&["ggg", "gbb", "gbb"]);
    assert_eq!(watch.turns().last(), Some(&(A, Status::Unhealthy)));
    watch.seconds(&["ggg", "ggg", "gbb", "ggg", "ggg"]);
    assert_eq!(watch.turns(), []);
    watch.second("ggg");
    assert_eq!(watch.turns(), [(A, Status::Healthy)]);
}

#[test]
fn a_look_that_failed_itself_is_no_vote() {
    let mut watch = Watch::new("");
    watch.seconds(&["ggg", "ggg", "eeg", "eeg"]);
    assert_eq!(watch.turns().last(), Some(&(A, Status::Unknown)));
    watch.second("ggg");
    assert_eq!(watch.turns(), [(A, Status::Healthy)]);
}

#[test]
fn slowness_degrades_by_majority_and_with_hysteresis() {
    let mut watch = Watch::new("");
    watch.seconds(&["ggg", "ggg", "gsg", "gsg", "gsg", "ssg"]);
    assert_eq!(watch.turns(), [(A, Status::Healthy), (B, Status::Healthy)]);
    watch.second("ssg");
    assert_eq!(watch.turns(), [(A, Status::Degraded)]);
    watch.seconds(&["ggg", "ggg"]);
    assert_eq!(watch.turns(), []);
    watch.second("ggg");
    assert_eq!(watch.turns(), [(A, Status::Healthy)]);
}

#[test]
fn a_look_that_comes_late_or_out_of_order_says_nothing_new() {
    let mut watch = Watch::new("");
    watch.seconds(&["ggg", "ggg"]);
    watch.turns();
    for vantage in 0..3 {
        watch.look_from(vantage, A, Outcome::Refused, 1_500);
        watch.look_from(vantage, A, Outcome::Refused, 1_600);
    }
    assert_eq!(watch.edges, []);
    // Claims to be from the future: it is from now, at best.
    watch.look_from(0, A, Outcome::Ok, u64::MAX);
    watch.seconds(&["ggg", "ggg"]);
    assert_eq!(watch.edges, []);
}

#[test]
fn looks_that_were_old_when_they_came_do_not_vote() {
    let mut watch = Watch::new("");
    watch.now = 60_000;
    for vantage in 0..3 {
        watch.heard(vantage, true);
        watch.look_from(vantage, A, Outcome::Ok, 50_000);
    }
    assert_eq!(watch.turns(), []);
    assert_eq!(watch.sensing.consensus(SHOP, A, at(watch.now)).voting, 0);
}

#[test]
fn observations_tell_what_was_seen_and_how_old_it_is() {
    let mut watch = Watch::new("");
    watch.seconds(&["ggg", "gbg", "gbg"]);
    watch.now += 400;
    let seen = watch.sensing.observations(&watch.fleet, SHOP, A, at(watch.now));
    assert_eq!(seen.len(), 3);
    assert_eq!((seen[1].vantage.as_str(), seen[1].outcome, seen[1].age), ("b", Outcome::Refused, 400));
    assert_eq!((seen[1].consecutive, seen[1].good, seen[1].bad), (2, 1, 2));
}

#[test]
fn the_warm_up_ends() {
    let watch = Watch::new("");
    assert!(watch.sensing.warming_up(at(9_999)));
    assert!(!watch.sensing.warming_up(at(10_000)));
}

#[test]
fn a_changed_fleet_file_keeps_the_votes_on_what_is_declared_as_before() {
    let mut watch = Watch::new("");
    watch.seconds(&["ggg", "gbb", "gbb"]);
    watch.turns();
    let more = "[service.login]\nprobe = { slot = \"probe/tcp\" }\nat.a = { endpoint = \"a\", target = { address = \"a:2\" } }";
    let new = fleet(more);
    watch.sensing = watch.sensing.carry_over(&watch.fleet, &new, at(watch.now));
    watch.fleet = new;
    watch.tick();
    assert_eq!(watch.turns(), []);
    assert_eq!((watch.status(A), watch.status(B)), (Status::Unhealthy, Status::Healthy));
    assert_eq!(watch.sensing.consensus(ServiceId(1), A, at(watch.now)).status, Status::Unknown);
    assert_eq!(watch.sensing.unhealthy_at(A), (1, 2));
}

#[test]
fn another_target_is_seen_with_fresh_eyes() {
    let mut watch = Watch::new("");
    watch.seconds(&["ggg", "gbb", "gbb"]);
    let mut new = watch.fleet.clone();
    new.services[0].places[0].target = r#"{"address":"elsewhere:1"}"#.to_owned();
    watch.sensing = watch.sensing.carry_over(&watch.fleet, &new, at(watch.now));
    assert_eq!((watch.status(A), watch.status(B)), (Status::Unknown, Status::Healthy));
}

#[test]
fn a_failure_domain_more_is_expected_at_once() {
    let mut watch = Watch::new("");
    watch.seconds(&["ggg", "gbb", "gbb"]);
    watch.turns();
    let mut new = watch.fleet.clone();
    let extra = |name: &str| tidegate_kernel::fleet::Vantage {
        name: name.to_owned(),
        failure_domain: name.to_owned(),
        ..new.vantages[0].clone()
    };
    let (d, e) = (extra("d"), extra("e"));
    new.vantages.extend([d, e]);
    watch.sensing = watch.sensing.carry_over(&watch.fleet, &new, at(watch.now));
    watch.fleet = new;
    watch.tick();
    assert_eq!(watch.turns(), [(A, Status::Unknown)]);
}

#[derive(Clone, Debug)]
enum Happening {
    Wait(Millis),
    Heard(u16, bool),
    Look(u16, SiteId, Outcome, Millis),
}

fn any_happening() -> impl Strategy<Value = Happening> {
    let outcome = prop::sample::select(Outcome::ALL.to_vec());
    prop_oneof![
        1 => (0u64..2_000).prop_map(Happening::Wait),
        1 => (0u16..3, prop::bool::weighted(0.8)).prop_map(|(vantage, sound)| Happening::Heard(vantage, sound)),
        4 => (0u16..3, prop::sample::select(vec![A, B]), outcome, 0u64..5_000)
            .prop_map(|(vantage, site, outcome, age)| Happening::Look(vantage, site, outcome, age)),
    ]
}

/// Applies what happens; time passes in one jump from edge to edge, or in many small steps.
fn live_through(happenings: &[Happening], step: impl Fn(&Watch, Millis) -> Millis) -> Watch {
    let mut watch = Watch::new("");
    for happening in happenings {
        match *happening {
            Happening::Wait(wait) => {
                let until = watch.now + wait;
                while watch.now < until {
                    watch.now = step(&watch, until).clamp(watch.now + 1, until);
                    watch.tick();
                }
            }
            Happening::Heard(vantage, sound) => watch.heard(vantage, sound),
            Happening::Look(vantage, site, outcome, age) => {
                watch.look_from(vantage, site, outcome, watch.now.saturating_sub(age));
            }
        }
    }
    watch
}

proptest! {
    #[test]
    fn jumping_from_edge_to_edge_misses_nothing(happenings in prop::collection::vec(any_happening(), 0..120)) {
        let jumped = live_through(&happenings, |watch, until| watch.sensing.next_edge().unwrap_or(until));
        let crept = live_through(&happenings, |watch, _| watch.now + 7);
        let every = live_through(&happenings, |watch, _| watch.now + 1);
        prop_assert_eq!(&jumped.edges, &every.edges);
        prop_assert_eq!((jumped.status(A), jumped.status(B)), (every.status(A), every.status(B)));
        prop_assert_eq!((jumped.status(A), jumped.status(B)), (crept.status(A), crept.status(B)));
    }

    #[test]
    fn counting_everything_anew_changes_nothing(happenings in prop::collection::vec(any_happening(), 0..120)) {
        let mut watch = live_through(&happenings, |watch, until| watch.sensing.next_edge().unwrap_or(until));
        watch.tick();
        watch.edges.clear();
        watch.sensing = watch.sensing.carry_over(&watch.fleet.clone(), &watch.fleet, at(watch.now));
        watch.tick();
        prop_assert_eq!(watch.edges, vec![]);
    }
}
