//! The rules of leases, and their one claim under any order of messages and losses: nobody believes in a lease after its end.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[test]
fn whoever_confirms_and_whoever_acknowledges_always_have_one_in_common() {
    for agents in 2..=9 {
        let needed = acknowledgements_needed(agents).expect("more than one agent");
        assert!((agents - 1) - needed < confirmations_needed(agents), "{agents} agents");
        assert!(needed < agents, "{agents} agents: it must be possible");
    }
    assert_eq!(acknowledgements_needed(1), None);
    assert_eq!(acknowledgements_needed(0), None);
}

#[test]
fn a_witness_confirms_nothing_older_than_what_it_knows() {
    let mut witness = Witness::default();
    assert!(witness.confirm(4, 100));
    assert!(witness.learn(5) && !witness.learn(5) && !witness.learn(3));
    assert!(!witness.confirm(4, 200));
    assert!(witness.confirm(5, 300) && witness.confirm(6, 300));
    assert_eq!(witness.known("orders", 400), Known { cluster: "orders".into(), epoch: 5, confirmed_ago: Some(300) });
}

#[test]
fn a_witness_that_was_started_anew_may_have_confirmed_until_then() {
    let witness = Witness::remembering(5, 1_000);
    assert_eq!(witness.known("orders", 1_200).confirmed_ago, Some(200));
    assert_eq!(Witness::default().known("orders", 1_200).confirmed_ago, None);
}

#[test]
fn a_host_renews_for_the_leader_until_it_has_ended_that() {
    let mut granted = Granted::since(0);
    assert!(!granted.renew("a", 10), "nobody leads yet");
    granted.lead(Some("a"), 3, 20);
    assert!(granted.renew("a", 30) && !granted.renew("b", 30));
    granted.end(4);
    assert!(!granted.renew("a", 40));
    granted.lead(Some("a"), 3, 50);
    assert!(!granted.renew("a", 60), "an older word");
    granted.lead(Some("b"), 4, 70);
    assert!(granted.renew("b", 80));
}

#[test]
fn too_few_acknowledgements_prove_nothing_and_the_holders_own_is_none() {
    let agents = ["a", "b", "c"].map(str::to_owned);
    let mut granted = Granted::since(0);
    granted.lead(Some("n"), 1, 1_000);
    granted.end(2);
    let known = |confirmed_ago| Known { cluster: "orders".into(), epoch: 2, confirmed_ago };
    for agent in ["a", "b"] {
        granted.acknowledge(agent, &known(None), 2_000);
        assert_eq!(granted.ends(2, "a", &agents), None);
    }
    granted.acknowledge("c", &Known { epoch: 1, ..known(None) }, 2_000);
    assert_eq!(granted.ends(2, "a", &agents), None, "it knows the old epoch only");
    granted.acknowledge("c", &known(Some(500)), 2_000);
    assert_eq!(granted.ends(2, "a", &agents), Some(1_500 + LEASE + FENCE + MARGIN));
}

/// Something that happens at a moment; every message takes as long as it says, or is lost.
#[derive(Clone, Debug)]
enum Happens {
    /// The holder asks the host.
    Renewal { there: Option<u64>, back: Option<u64> },
    /// The holder asks the others.
    Round { ways: Vec<(Option<u64>, Option<u64>)> },
    /// The host tells an agent of the new epoch; its answer comes back.
    Announcement { agent: usize, there: Option<u64>, back: Option<u64> },
    /// An agent's process is started anew.
    Restart { agent: usize },
    /// The host's process is started anew, and told again who leads, or that it has ended.
    HostRestart,
    /// The host ends the lease.
    End,
}

/// What is under way.
#[derive(Clone, Debug)]
enum Step {
    Begins(Happens),
    HostIsAsked { asked: u64, back: Option<u64> },
    HolderHas { asked: u64 },
    PeerIsAsked { round: usize, agent: usize, back: Option<u64> },
    PeerConfirms { round: usize },
    AgentLearns { agent: usize, back: Option<u64> },
    HostHears { agent: usize, known: Known },
}

const OLD: Epoch = 1;
const NEW: Epoch = 2;

struct World {
    agents: Vec<String>,
    host: Granted,
    ended: bool,
    /// The holder is the first.
    witnesses: Vec<Witness>,
    rounds: Vec<(u64, usize)>,
    until: u64,
    /// The earliest moment that the host ever computed.
    ends: Option<u64>,
    queue: Vec<(u64, Step)>,
}

impl World {
    fn new(agents: usize) -> World {
        let mut host = Granted::since(0);
        host.lead(Some("n"), OLD, 0);
        World {
            agents: (0..agents).map(|agent| agent.to_string()).collect(),
            host,
            ended: false,
            witnesses: vec![Witness::default(); agents],
            rounds: Vec::new(),
            until: 0,
            ends: None,
            queue: Vec::new(),
        }
    }

    fn after(&mut self, now: u64, delay: Option<u64>, step: Step) {
        if let Some(delay) = delay {
            self.queue.push((now + delay, step));
        }
    }

    fn run(&mut self) {
        while let Some(next) = (0..self.queue.len()).min_by_key(|at| self.queue[*at].0) {
            let (now, step) = self.queue.remove(next);
            self.step(now, step);
            if self.ended
                && let Some(ends) = self.host.ends(NEW, "0", &self.agents)
            {
                self.ends = Some(self.ends.map_or(ends, |earlier| earlier.min(ends)));
            }
        }
    }

    fn step(&mut self, now: u64, step: Step) {
        match step {
            Step::Begins(happens) => self.begin(now, happens),
            Step::HostIsAsked { asked, back } => {
                if self.host.renew("n", now) {
                    self.after(now, back, Step::HolderHas { asked });
                }
            }
            Step::HolderHas { asked } => self.until = self.until.max(until(asked)),
            Step::PeerIsAsked { round, agent, back } => {
                if self.witnesses[agent].confirm(OLD, now) {
                    self.after(now, back, Step::PeerConfirms { round });
                }
            }
            Step::PeerConfirms { round } => {
                self.rounds[round].1 += 1;
                let (began, confirmed) = self.rounds[round];
                if confirmed >= confirmations_needed(self.agents.len()) && self.witnesses[0].epoch() <= OLD {
                    self.until = self.until.max(until(began));
                }
            }
            Step::AgentLearns { agent, back } => {
                self.witnesses[agent].learn(NEW);
                let known = self.witnesses[agent].known("orders", now);
                self.after(now, back, Step::HostHears { agent, known });
            }
            Step::HostHears { agent, known } => {
                let name = self.agents[agent].clone();
                self.host.acknowledge(&name, &known, now);
            }
        }
    }

    fn begin(&mut self, now: u64, happens: Happens) {
        match happens {
            Happens::Renewal { there, back } => self.after(now, there, Step::HostIsAsked { asked: now, back }),
            Happens::Round { ways } => {
                self.rounds.push((now, 0));
                let round = self.rounds.len() - 1;
                for (agent, (there, back)) in (1..self.agents.len()).zip(ways) {
                    self.after(now, there, Step::PeerIsAsked { round, agent, back });
                }
            }
            Happens::Announcement { agent, there, back } if self.ended => {
                let agent = agent % self.agents.len();
                self.after(now, there, Step::AgentLearns { agent, back });
            }
            Happens::Announcement { .. } => {}
            Happens::Restart { agent } => {
                let agent = agent % self.agents.len();
                self.witnesses[agent] = Witness::remembering(self.witnesses[agent].epoch(), now);
            }
            Happens::HostRestart => {
                self.host = Granted::since(now);
                self.host.lead(Some("n"), OLD, now);
                if self.ended {
                    self.host.end(NEW);
                }
            }
            Happens::End => {
                self.host.end(NEW);
                self.ended = true;
            }
        }
    }
}

fn way() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![4 => (0..800_u64).prop_map(Some), 1 => Just(None)]
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        6 => (way(), way()).prop_map(|(there, back)| Happens::Renewal { there, back }),
        6 => vec((way(), way()), 6).prop_map(|ways| Happens::Round { ways }),
        9 => (0..7_usize, way(), way()).prop_map(|(agent, there, back)| Happens::Announcement { agent, there, back }),
        1 => (0..7_usize).prop_map(|agent| Happens::Restart { agent }),
        1 => Just(Happens::HostRestart),
        2 => Just(Happens::End),
    ]
}

/// Runs a schedule; gives until when the holder believed, and the end that the host computed if it did.
fn played(agents: usize, schedule: &[(u64, Happens)]) -> (u64, Option<u64>) {
    let mut world = World::new(agents);
    world.queue = schedule.iter().map(|(at, happens)| (*at, Step::Begins(happens.clone()))).collect();
    world.run();
    (world.until, world.ends)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn nobody_believes_in_a_lease_after_its_end(agents in 2..7_usize, schedule in vec((0..6_000_u64, happens()), 1..60)) {
        let (until, ends) = played(agents, &schedule);
        if let Some(ends) = ends {
            prop_assert!(until + FENCE <= ends, "believed until {until}, ended at {ends}");
        }
    }
}

#[test]
fn the_claim_is_tried_by_schedules_in_which_an_end_is_computed() {
    let here = Some(1);
    let announce = |agent| (3_000, Happens::Announcement { agent, there: here, back: here });
    let schedule = [
        (1_000, Happens::Renewal { there: here, back: here }),
        (2_000, Happens::Round { ways: vec![(here, here); 6] }),
        (2_500, Happens::End),
        (2_600, Happens::Round { ways: vec![(here, here); 6] }),
        announce(1),
        announce(2),
        (3_500, Happens::Round { ways: vec![(here, here); 6] }),
    ];
    let (until, ends) = played(3, &schedule);
    assert_eq!(until, 2_600 + LEASE, "no majority confirmed the last round");
    // One millisecond on the way there, and one back.
    assert_eq!(ends, Some(2_601 + 1 + LEASE + FENCE + MARGIN));
}
