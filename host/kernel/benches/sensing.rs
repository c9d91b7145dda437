//! What a look costs, with ten services and with ten thousand: one JSON object for each figure.
//!
//! Three sites, three vantage points; each vantage point reports its looks in the order of the services, as agents do.
//! One service in a hundred turns bad for a while and well again; the rest is quiet.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use tidegate_kernel::contract::{Millis, Outcome};
use tidegate_kernel::event::{Look, Moment};
use tidegate_kernel::fleet::{Fleet, ServiceId, SiteId, VantageId, parse};
use tidegate_kernel::sensing::{Edge, Sensing};

const SITES: u16 = 3;
const VANTAGES: u16 = 3;
const LOOKS: usize = 1_800_000;
const RUNS: usize = 9;

fn main() {
    for services in [10, 100, 1_000, 10_000] {
        let fleet = fleet(services);
        let mut rates: Vec<f64> = (0..RUNS).map(|_| looks_per_second(&fleet)).collect();
        rates.sort_by(f64::total_cmp);
        let figure = serde_json::json!({
            "name": format!("sensing-looks-{services}-services"),
            "unit": "looks/s",
            "median": rates[RUNS / 2].round(),
            "min": rates[0].round(),
            "max": rates[RUNS - 1].round(),
            "n": RUNS,
        });
        println!("{figure}");
    }
}

fn fleet(services: usize) -> Fleet {
    let mut text = "[host]\nsite = \"a\"\nagents-listen = \"127.0.0.1:1\"\n[secret]\nt = { env = \"T\" }\n".to_owned();
    for site in ["a", "b", "c"] {
        let _ = writeln!(text, "[site.{site}]\n[agent.{site}]\nsite = \"{site}\"\ntoken = \"t\"");
    }
    for service in 0..services {
        let _ = writeln!(text, "[service.s{service}]\nprobe = {{ slot = \"probe/tcp\" }}");
        for site in ["a", "b", "c"] {
            let _ = writeln!(
                text,
                "at.{site} = {{ endpoint = \"{site}\", target = {{ address = \"{site}:{service}\" }} }}"
            );
        }
    }
    parse(Path::new("fleet.toml"), &|_| Ok(text.clone())).expect("a sound fleet")
}

/// Rounds of one look from everywhere at everything, a second apart, with the heartbeats and the tick that belong to it.
fn looks_per_second(fleet: &Fleet) -> f64 {
    let mut sensing = Sensing::new(fleet, Moment::default());
    let mut edges: Vec<Edge> = Vec::with_capacity(1_024);
    let a_round = fleet.services.len() * usize::from(SITES) * usize::from(VANTAGES);
    let rounds = (LOOKS / a_round).max(10);
    let started = Instant::now();
    for round in 0..rounds {
        let now = Moment { mono: (round as Millis + 1) * 1_000, wall: 0 };
        sensing.tick(fleet, now, &mut edges);
        for vantage in (0..VANTAGES).map(VantageId) {
            sensing.heard(fleet, now, vantage, true, &mut edges);
            report(&mut sensing, fleet, now, vantage, round, &mut edges);
        }
        edges.clear();
    }
    (rounds * a_round) as f64 / started.elapsed().as_secs_f64()
}

fn report(sensing: &mut Sensing, fleet: &Fleet, now: Moment, vantage: VantageId, round: usize, edges: &mut Vec<Edge>) {
    for service in 0..fleet.services.len() {
        for site in (0..SITES).map(SiteId) {
            let outcome = outcome(service, site, round);
            let look = Look {
                vantage,
                service: ServiceId(service as u32),
                site,
                outcome,
                latency: Some(3 + (round % 5) as Millis),
                not_before: now.mono - 300,
                detail: if outcome == Outcome::Ok { String::new() } else { "connection refused".to_owned() },
            };
            sensing.look(fleet, now, &look, edges);
        }
    }
}

fn outcome(service: usize, site: SiteId, round: usize) -> Outcome {
    let is_troubled = service % 100 == 7 && site == SiteId(0);
    if is_troubled && round % 20 < 6 { Outcome::Refused } else { Outcome::Ok }
}
