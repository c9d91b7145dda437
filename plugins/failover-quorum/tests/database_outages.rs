//! Outages of databases that have happened: split brains, old primaries that came back, and nobody left to promote.
//!
//! Where a story needs more than a moment, the memo is carried from one to the next.

#[path = "support/cluster.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod cluster;

use cluster::*;
use failover_quorum::FailoverQuorum;
use tidegate_sdk::{Cluster, Fact, Invocation, Node, Outcome, SiteView, Situation, SituationBuilder, Status, Verdict};

#[test]
fn two_primaries_are_never_guessed_between() {
    let both = nodes(a(), Node::primary("b", "east"), c());
    let newer = nodes(a(), timeline(Node::primary("b", "east"), 2, 500), c());
    let untold = Cluster { facts: Vec::new(), ..nodes(a(), Node::primary("b", "east"), c()) };
    let follows = nodes(a(), b().silent(100), timeline(Node::standby("c", "north", "b"), 2, 500));
    check([
        ("the same timeline", service(well(), both), "hold", "two-primaries", &["one-primary"]),
        ("the host's record says the older", service(well(), newer), "hold", "two-primaries", &[]),
        ("the host has no record", service(well(), untold), "hold", "two-primaries", &[]),
        ("a standby follows a newer one that we do not see", service(well(), follows), "hold", "two-primaries", &[]),
    ]);
    assert!(has_alarm(&default(service(well(), nodes(a(), Node::primary("b", "east"), c())))));
}

#[test]
fn an_old_primary_that_is_back_is_fenced_and_then_rejoined() {
    let back = || timeline(Node::primary("a", "west"), 1, 0);
    let standby = Node::standby("a", "west", "b").orphaned(MINUTE);
    let run = |node: &str| {
        Verdict::Run(Invocation { runbook: "rejoin".to_owned(), arguments: vec![Fact::new("node", node)] })
    };
    let fencing = default(taken_over(back()));
    assert_eq!(
        (fencing.verdict.clone(), fencing.analysis.as_str()),
        (Verdict::Fence(vec!["a".to_owned()]), "stale-primary")
    );
    assert!(has_alarm(&fencing));
    let advisory = default(taken_over(fenced(back(), "advisory")));
    assert_eq!(advisory.verdict, fencing.verdict, "a read-only default is no fence");

    let cases = [fenced(back(), "stopped"), fenced(back().silent(MINUTE), "stopped"), standby];
    for node in cases {
        let decision = default(taken_over(node));
        assert_eq!(
            (decision.verdict.clone(), decision.analysis.as_str()),
            (run("a"), "stale-primary"),
            "{decision:#?}"
        );
    }
    let gone = default(taken_over(timeline(Node::primary("a", "west"), 1, 0).silent(MINUTE)));
    assert_eq!(gone.verdict, Verdict::Hold, "a node that is gone is not run after");
}

#[test]
fn a_standby_that_follows_nobody_is_made_to_after_a_while() {
    let stray =
        |since| service(well(), nodes(a(), b().with(|b| (b.upstream, b.upstream_heard) = (None, Some(since))), c()));
    let waits = default(stray(9_000));
    assert_eq!((waits.verdict.name(), waits.ask_again_in), ("hold", Some(1_001)), "then it is due");
    assert_eq!(default(stray(11_000)).verdict.name(), "run");
    let foreign = default(stray(11_000).with(|s| {
        let cluster = s.cluster.as_mut().expect("it has one");
        cluster.nodes[1].facts.push(Fact::new("foreign", "7002"));
    }));
    assert_eq!(foreign.verdict.name(), "hold", "another cluster's data is not overwritten");
}

#[test]
fn a_repair_that_does_not_help_is_tried_more_and_more_rarely() {
    let mut situation = taken_over(fenced(timeline(Node::primary("a", "west"), 1, 0), "stopped")).build();
    let begun = situation.now;
    let mut tries = Vec::new();
    while situation.now < begun + 20_000 {
        let decision = decide(&FailoverQuorum::default(), &situation);
        if decision.verdict.name() == "run" {
            tries.push(situation.now - begun);
        }
        assert_eq!(decision.analysis, "stale-primary");
        situation.memo = decision.memo;
        situation.now += 500;
    }
    assert_eq!(tries, [0, 2_000, 6_000, 14_000]);
}

#[test]
fn an_old_primary_is_fenced_even_while_the_new_one_does_not_answer() {
    let b = timeline(Node::primary("b", "east"), 2, 500).silent(3_000);
    let c = timeline(Node::standby("c", "north", "b"), 2, 500).orphaned(3_000);
    let cluster = Cluster::of("orders", [b, Node::primary("a", "west"), c]);
    let decision = default(service(well(), cluster).active("east"));
    assert_eq!(decision.verdict, Verdict::Fence(vec!["a".to_owned()]), "patroni#2787: epochs decide, not who shouts");
}

#[test]
fn github_2018_a_cut_link_moves_no_data() {
    let east_hears = nodes(a().silent(3_000), Node::standby("b", "west", "a").silent(3_000), c().orphaned(3_000));
    let inside = nodes(a().silent(3_000), Node::standby("b", "west", "a"), c().orphaned(3_000));
    check([
        (
            "t=10, a standby inside still hears",
            rpo_zero(service(lasting(), inside)),
            "probe-more",
            "unreachable-primary",
            &[],
        ),
        (
            "t=10, nobody inside is reached: a person decides, and is told the loss",
            rpo_zero(service(lasting(), east_hears)),
            "ask",
            "no-candidate",
            &["asynchronous", "unreachable"],
        ),
        ("t=60, healed", rpo_zero(service(well(), nodes(a(), b(), c()))), "hold", "healthy", &[]),
    ]);
}

#[test]
fn gocardless_2017_says_within_one_decision_that_nobody_fits() {
    let cluster = synchronous(nodes(a().silent(400), b().silent(400), c().orphaned(400)));
    let decision = default(rpo_zero(service(voted_down(), cluster)));
    let vetoes: Vec<&str> = decision.vetoes.iter().map(|veto| veto.reason.code.as_str()).collect();
    assert_eq!(vetoes, ["unreachable", "no-standby-quorum"]);
    assert_eq!(options(&decision).len(), 1, "{decision:#?}");
}

#[test]
fn patroni_3453_a_frozen_agent_is_no_dead_database() {
    let moving = nodes(a().silent(20_000), b(), c());
    let decision = default(service(lasting(), moving));
    assert_eq!((decision.verdict.name(), decision.analysis.as_str()), ("probe-more", "unreachable-primary"));
}

#[test]
fn datadog_says_that_the_window_closes_before_it_is_closed() {
    let lag = |lag| nodes(a(), b().with(move |b| b.lag_at_contact = lag), c().with(move |c| c.lag_at_contact = lag));
    let closing = |cluster| service(well(), cluster);
    check([
        ("half of the RPO", closing(lag(Some(5_001))), "hold", "failover-window-closing", &["healthy"]),
        ("the lag is unknown", closing(lag(None)), "hold", "failover-window-closing", &[]),
        ("within it", closing(lag(Some(4_000))), "hold", "healthy", &[]),
        (
            "too few of the set are reached",
            closing(synchronous(nodes(a(), b(), c().silent(MINUTE)))),
            "hold",
            "failover-window-closing",
            &[],
        ),
    ]);
}

#[test]
fn two_sites_without_a_third_vantage_never_move_data() {
    let cluster = Cluster::of("orders", [a().silent(MINUTE), b().orphaned(MINUTE)]);
    let builder = Situation::builder("orders").site(unknown("west", 1, 2, 2)).site(SiteView::healthy("east"));
    let decision = default(builder.cluster(cluster));
    assert!(codes(&decision).contains(&"third-vantage"), "{decision:#?}");
    assert_ne!(decision.verdict.name(), "fail-over");
}

#[test]
fn a_returned_primary_is_not_asked_to_serve() {
    let decision =
        default(taken_over(Node::primary("a", "west")).with(|s| s.sites[1].consensus.status = Status::Degraded));
    assert_eq!(decision.verdict, Verdict::Fence(vec!["a".to_owned()]), "repmgr#766");
}

#[test]
fn another_clusters_primary_is_no_rival() {
    let foreign = told(Node::primary("b", "east"), "foreign");
    let decision = default(service(well(), nodes(a(), foreign, c())));
    assert_eq!((decision.verdict.name(), decision.analysis.as_str()), ("hold", "standby-lost"));
}

/// What happens around the policy: at each time (ms since the beginning) the world is another, and the memo is carried along.
fn live(mut moments: Vec<(u64, SituationBuilder)>) -> Vec<(&'static str, String)> {
    let mut memo = String::new();
    moments
        .drain(..)
        .map(|(at, builder)| {
            let mut situation = builder.build();
            (situation.now, situation.memo) = (situation.now + at, memo.clone());
            let decision = decide(&FailoverQuorum::default(), &situation);
            memo.clone_from(&decision.memo);
            (decision.verdict.name(), decision.analysis)
        })
        .collect()
}

#[test]
fn a_crash_takes_two_quick_looks() {
    let gone = |since| nodes(a().silent(since), b().orphaned(since), c().orphaned(since));
    let one_look =
        SiteView::healthy("west").observed("east", Outcome::Refused, 1).observed("north", Outcome::Refused, 1);
    let moments = vec![
        (0, service(well(), nodes(a(), b(), c()))),
        (250, service(well(), gone(250))),
        (450, service(one_look, gone(450))),
        (650, service(voted_down(), gone(650))),
    ];
    let said: Vec<&str> = live(moments).into_iter().map(|(verdict, _)| verdict).collect();
    assert_eq!(said, ["hold", "probe-more", "probe-more", "fail-over"]);
}

#[test]
fn github_2018_from_the_cut_to_the_healing() {
    let link = |cluster, west| rpo_zero(service(west, cluster));
    let (cut, healed) = (|age| nodes(a().silent(age), b().orphaned(age), c().orphaned(age)), || nodes(a(), b(), c()));
    let back = Node::primary("a", "west").with(|a| (a.timeline, a.forked_at) = (Some(1), None));
    let moments = vec![
        (0, link(cut(1_000), well())),
        (10_000, link(cut(10_000), lasting())),
        (43_000, link(healed(), SiteView::seen("west", Status::Healthy, 3, 100))),
        (900_000, taken_over(back)),
    ];
    let said = live(moments);
    let said: Vec<(&str, &str)> = said.iter().map(|(verdict, analysis)| (*verdict, analysis.as_str())).collect();
    let expected =
        [("probe-more", "dead-primary"), ("ask", "no-candidate"), ("hold", "healthy"), ("fence", "stale-primary")];
    assert_eq!(said, expected, "nothing moves by itself; variant B: the old primary is refused when it is back");
}

#[test]
fn a_returned_primary_is_fenced_made_to_follow_and_goes_home_late() {
    let (back, follows) = (Node::primary("a", "west"), timeline(Node::standby("a", "west", "b"), 2, 500));
    let settling = |builder: SituationBuilder| builder.with(|s| s.sites[0].consensus.held = MINUTE);
    let moments = vec![
        (0, settling(taken_over(back.clone()))),
        (500, settling(taken_over(fenced(back, "stopped")))),
        (5_000, settling(taken_over(follows.clone()))),
        (9 * MINUTE, taken_over(follows)),
    ];
    let said: Vec<&str> = live(moments).into_iter().map(|(verdict, _)| verdict).collect();
    assert_eq!(said, ["fence", "run", "hold", "fail-back"]);
}
