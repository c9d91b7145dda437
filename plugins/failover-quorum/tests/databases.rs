//! Databases in trouble: what the policy must say of the primary, of each standby, and of what would be lost.
//!
//! One line of a table is one moment of one story; time stands still inside it.

#[path = "support/cluster.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod cluster;

use cluster::*;
use failover_quorum::FailoverQuorum;
use tidegate_sdk::{Autonomy, Cluster, Decision, Node, Outcome, Period, SiteView, Situation, Status, Verdict};

#[test]
fn quiet_days_of_a_database() {
    let blip = SiteView::seen("west", Status::Healthy, 2, MINUTE).observed("north", Outcome::TimedOut, 4);
    let stopped = nodes(a(), b().silent(MINUTE), c());
    let late = nodes(a(), b(), c().with(|c| c.lag_at_contact = Some(6_000)));
    let alone = Cluster::of("orders", [a()]);
    check([
        ("all is well", service(well(), nodes(a(), b(), c())), "hold", "healthy", &["more-votes"]),
        ("all is well, synchronous", service(well(), synchronous(nodes(a(), b(), c()))), "hold", "healthy", &[]),
        (
            "one vantage point is cut off",
            service(blip, nodes(a(), b(), c())),
            "hold",
            "healthy",
            &["minority-sees-it-down"],
        ),
        ("a standby is stopped", service(well(), stopped), "hold", "standby-lost", &["healthy"]),
        ("a standby is late", service(well(), late), "hold", "standby-lagging", &["healthy"]),
        ("one node", service(well(), alone), "hold", "primary-without-standbys", &["healthy"]),
        (
            "in maintenance a crash stays",
            service(voted_down(), crashed()).with(|s| s.in_maintenance = true),
            "hold",
            "maintenance",
            &[],
        ),
    ]);
}

#[test]
fn a_crash_is_decided_with_the_vote_and_not_before() {
    let half = SiteView::seen("west", Status::Unknown, 1, 300).observed("east", Outcome::Refused, 1);
    check([
        (
            "the first sample that shows it",
            service(well(), crashed()),
            "probe-more",
            "dead-primary",
            &["vote", "more-votes"],
        ),
        ("half of the vote", service(half, crashed()), "probe-more", "dead-primary", &["vote"]),
        ("the vote", service(voted_down(), crashed()), "fail-over", "dead-primary", &["candidate"]),
        (
            "the vote, synchronous",
            rpo_zero(service(voted_down(), synchronous(crashed()))),
            "fail-over",
            "dead-primary",
            &[],
        ),
    ]);
    let first = default(service(well(), crashed()));
    assert!(first.ask_again_in <= Some(200), "{first:#?}");
    let lost = default(service(voted_down(), crashed()));
    // 10 ms behind, 400 ms without contact, and what it takes to prove its end, rounded up.
    assert_eq!(promoted(&lost), ("fail-over", "east", vec!["b"], Some(5_000)));
    let nothing = default(rpo_zero(service(voted_down(), synchronous(crashed()))));
    assert_eq!(promoted(&nothing), ("fail-over", "east", vec!["b"], Some(0)));
}

#[test]
fn the_standbys_word_replaces_waiting_for_the_settings() {
    let patient = FailoverQuorum { unhealthy_for: Period::minutes(5), bad_looks: 9, ..FailoverQuorum::default() };
    let decision = decide(&patient, &service(voted_down(), crashed()).build());
    assert_eq!(decision.verdict.name(), "fail-over");
    let answering = decide(&patient, &service(voted_down(), nodes(a(), b(), c())).build());
    assert_eq!((answering.verdict.name(), answering.analysis.as_str()), ("hold", "suspected"));
}

#[test]
fn quick_looks_end_where_no_vote_comes() {
    let mut situation = service(well(), crashed()).build();
    let mut verdicts = Vec::new();
    for _ in 0..12 {
        let decision = decide(&FailoverQuorum::default(), &situation);
        verdicts.push(decision.verdict.name());
        situation.memo = decision.memo;
    }
    assert_eq!(verdicts[..10], ["probe-more"; 10]);
    assert_eq!(verdicts[10..], ["hold"; 2]);
}

#[test]
fn the_state_of_the_primary_has_a_name() {
    let hearing = nodes(a().silent(3_000), b(), c().orphaned(3_000));
    let through_b = nodes(a().silent(3_000), b().orphaned(3_000), Node::standby("c", "north", "b"));
    let untold = nodes(a().silent(3_000), b().with(|b| b.upstream_heard = None), c().orphaned(3_000));
    let silent = nodes(a().silent(3_000), b().silent(3_000), c().silent(3_000));
    let hung = nodes(
        a().silent(3_000).with(|a| a.seen_by[0].reached = true),
        b().with(|b| b.upstream_heard = Some(2_600)),
        c().with(|c| c.upstream_heard = Some(2_600)),
    );
    let never = || {
        let unmet = |node: Node| node.with(|node| (node.contact_age, node.lag_at_contact) = (None, None));
        nodes(unmet(a().silent(0)), unmet(b().orphaned(0)), unmet(c().orphaned(0)))
    };
    let nobody = Cluster { facts: Vec::new(), ..nodes(b().orphaned(0), c().orphaned(0), c().silent(0)) };
    let elsewhere = Cluster::of("orders", [Node::primary("b", "east"), Node::standby("a", "west", "b")]);
    let old_sample =
        || nodes(a(), b(), c()).nodes.into_iter().map(|node| node.with(|n| n.seen_by[0].attempt_age = 3_000));
    check([
        ("a standby hears it", service(lasting(), hearing), "probe-more", "unreachable-primary", &["standbys-lose-it"]),
        ("a standby gets old log from another", service(lasting(), through_b), "fail-over", "dead-primary", &[]),
        ("a standby cannot tell", service(lasting(), untold), "probe-more", "unreachable-primary", &[]),
        ("nobody answers us", service(lasting(), silent), "hold", "dead-primary-and-standbys", &["standby-reached"]),
        ("it accepts and says nothing", service(lasting(), hung), "fail-over", "hung-primary", &[]),
        ("never reached since the start", service(lasting(), never()), "hold", "primary-never-reached", &["reached"]),
        ("nobody knows who it is", service(lasting(), nobody), "hold", "no-primary", &["primary"]),
        ("it stands elsewhere", service(well(), elsewhere), "hold", "primary-elsewhere", &["together"]),
        (
            "its only node is dead",
            service(lasting(), Cluster::of("orders", [a().silent(400)])),
            "hold",
            "primary-without-standbys",
            &["recovered"],
        ),
        (
            "the provider is silent",
            service(lasting(), Cluster::of("orders", old_sample())),
            "hold",
            "no-sample",
            &["sample"],
        ),
    ]);
}

#[test]
fn what_stops_nobody_is_an_alarm() {
    let silent = nodes(a().silent(3_000), b().silent(3_000), c().silent(3_000));
    assert!(has_alarm(&default(service(lasting(), silent))));
    assert!(!has_alarm(&default(service(well(), nodes(a(), b().silent(MINUTE), c())))));
}

#[test]
fn looks_at_an_unreachable_primary_only_so_often() {
    let mut situation = service(well(), nodes(a().silent(3_000), b(), c())).build();
    let mut verdicts = Vec::new();
    for _ in 0..4 {
        let decision = decide(&FailoverQuorum::default(), &situation);
        verdicts.push(decision.verdict.name());
        situation.memo = decision.memo;
    }
    assert_eq!(verdicts, ["probe-more", "probe-more", "hold", "hold"]);
}

#[test]
fn asks_again_as_soon_as_a_hung_primary_can_be_lost() {
    let heard = |age| nodes(a().silent(age), b().with(move |b| b.upstream_heard = Some(age)), c().orphaned(age));
    let decision = default(service(lasting(), heard(2_000)));
    assert_eq!((decision.analysis.as_str(), decision.ask_again_in), ("unreachable-primary", Some(501)));
    assert_eq!(default(service(lasting(), heard(2_501))).verdict.name(), "fail-over");
}

#[test]
fn a_veto_names_what_speaks_against_a_node() {
    let lost = |b: Node| service(voted_down(), nodes(a().silent(400), b, c().orphaned(400)));
    let orphan = || b().orphaned(400);
    let cases = [
        ("priority-zero", lost(orphan().with(|b| b.priority = 0))),
        ("unreachable", lost(b().silent(400))),
        ("starting", lost(told(b().silent(400), "starting"))),
        ("foreign", lost(told(orphan(), "foreign"))),
        ("foreign", lost(orphan().with(|b| b.identity = Some("7002".to_owned())))),
        ("timeline-unknown", lost(orphan().with(|b| b.timeline = None))),
        ("older-timeline", lost(orphan().with(|b| b.timeline = Some(0)))),
        ("fork", lost(orphan().with(|b| b.timeline = Some(2)))),
        ("too-old", lost(told(orphan(), "too-old"))),
        ("corrupt", lost(told(orphan(), "corrupt"))),
        ("position-unknown", lost(orphan().with(|b| b.received = None))),
        ("position-unknown", lost(orphan().with(|b| b.replayed = None))),
        ("loss-unknown", lost(orphan().with(|b| b.lag_at_contact = None))),
        ("loss", lost(orphan().with(|b| b.lag_at_contact = Some(9_000)))),
        ("no-place", lost(orphan().with(|b| b.site = "south".to_owned()))),
        ("just-healthy", lost(orphan()).with(|s| s.sites[1].consensus.held = 100)),
        ("capacity", lost(orphan()).with(|s| s.sites[1].capacity = 50)),
        ("unknown", lost(orphan()).with(|s| s.sites[1].consensus.status = Status::Unknown)),
        ("unhealthy", lost(orphan()).with(|s| s.sites[1].consensus.status = Status::Unhealthy)),
    ];
    for (code, situation) in cases {
        let decision = default(situation);
        let vetoes: Vec<&str> = decision.vetoes.iter().map(|veto| veto.reason.code.as_str()).collect();
        assert_eq!((promoted(&decision).2, vetoes), (vec!["c"], vec![code]), "{decision:#?}");
    }
}

#[test]
fn a_standby_whose_promotion_began_elsewhere_is_a_fork() {
    let cluster = nodes(
        timeline(a().silent(400), 3, 900),
        timeline(b().orphaned(400), 3, 800),
        timeline(c().orphaned(400), 2, 700).with(|c| c.received = Some(950)),
    );
    let decision = default(service(voted_down(), cluster));
    assert_eq!((decision.verdict.name(), decision.analysis.as_str()), ("hold", "no-candidate"));
    assert!(decision.vetoes.iter().all(|veto| veto.reason.code == "fork"), "{decision:#?}");
}

#[test]
fn the_best_is_near_then_ranked_then_preferred_then_advanced() {
    let orphan = |id: &str, site: &str, priority, received| {
        Node::standby(id, site, "a").orphaned(400).with(|n| (n.priority, n.received) = (priority, Some(received)))
    };
    let best = |standbys: Vec<Node>| {
        let cluster = Cluster::of("orders", std::iter::once(a().silent(400)).chain(standbys));
        let decision = default(service(voted_down(), cluster));
        let (_, site, nodes, _) = promoted(&decision);
        format!("{site}: {}", nodes.join(" "))
    };
    let (near, far) = (orphan("n", "west", 1, 900), orphan("f", "north", 100, 1_000));
    let (low, high) = (orphan("l", "east", 50, 1_000), orphan("h", "east", 60, 900));
    let further = orphan("m", "east", 50, 1_001);
    assert_eq!(best(vec![far.clone(), high.clone(), near]), "west: n");
    assert_eq!(best(vec![far, low.clone(), high.clone()]), "east: h l");
    assert_eq!(best(vec![low, further, high]), "east: h m l");
}

#[test]
fn nothing_is_lost_only_where_the_arithmetic_says_so() {
    let sync =
        |nodes: Cluster, wait_for, set: &[&str]| rpo_zero(service(voted_down(), nodes.synchronous(wait_for, set)));
    let changing = Cluster { published: None, ..crashed() };
    let one_gone = || nodes(a().silent(400), b().orphaned(400), c().silent(400));
    check([
        ("R 2 + W 1 > N 2", sync(crashed(), 1, &["b", "c"]), "fail-over", "dead-primary", &[]),
        ("R 1 + W 2 > N 2", sync(one_gone(), 2, &["b", "c"]), "fail-over", "dead-primary", &[]),
        (
            "R 1 + W 1 = N 2",
            sync(one_gone(), 1, &["b", "c"]),
            "ask",
            "no-candidate",
            &["no-standby-quorum", "unreachable"],
        ),
        ("the primary does not count", sync(crashed(), 1, &["a", "b", "c"]), "fail-over", "dead-primary", &[]),
        ("b alone is in the set", sync(one_gone(), 1, &["b"]), "fail-over", "dead-primary", &[]),
        ("the other one is", sync(one_gone(), 1, &["c"]), "ask", "no-candidate", &["not-synchronous"]),
        ("the set is changing", rpo_zero(service(voted_down(), changing)), "ask", "no-candidate", &["set-changing"]),
        ("no set", rpo_zero(service(voted_down(), crashed())), "ask", "no-candidate", &["asynchronous"]),
    ]);
    let forked = nodes(a().silent(400), b().orphaned(400), c().orphaned(400).with(|c| c.timeline = Some(2)));
    let decision = default(sync(forked, 1, &["b", "c"]));
    assert!(codes(&decision).contains(&"no-standby-quorum"), "a fork is no member that was reached: {decision:#?}");
}

#[test]
fn with_some_loss_allowed_a_lost_quorum_leaves_the_bound() {
    let one_gone = nodes(a().silent(400), b().orphaned(400), c().silent(400));
    let decision = default(service(voted_down(), synchronous(one_gone)));
    assert_eq!(promoted(&decision), ("fail-over", "east", vec!["b"], Some(5_000)));
}

#[test]
fn asks_with_the_loss_of_each_option_where_the_rpo_would_be_broken() {
    let cluster = nodes(
        a().silent(8_000),
        b().orphaned(8_000).with(|b| b.lag_at_contact = Some(20_000)),
        c().orphaned(8_000).with(|c| c.lag_at_contact = Some(1_000)),
    );
    let decision = default(service(voted_down(), cluster));
    let offered: Vec<_> = options(&decision).iter().map(|to| (to.promote.join(" "), to.expected_loss)).collect();
    assert_eq!(
        offered,
        [("c".to_owned(), Some(1_800_000)), ("b".to_owned(), Some(1_800_000))],
        "within a quarter of an hour"
    );
    let Verdict::Ask(question) = &decision.verdict else { panic!("{decision:#?}") };
    let text = "Promote c at north although up to 15 s of the newest writes may be lost? The RPO allows 10 s. A yes within 15 min \
                accepts what it has become by then, at most 30 min";
    assert_eq!(question.text, text);
    assert!(["loss", "recovered"].iter().all(|code| codes(&decision).contains(code)), "{decision:#?}");
    assert!(has_alarm(&decision));
}

#[test]
fn a_question_about_a_loss_stays_the_same_while_it_grows_a_little() {
    let asked = |since| {
        let decision = default(rpo_zero(service(
            voted_down(),
            nodes(a().silent(since), b().orphaned(since), c().orphaned(since)),
        )));
        (decision.verdict, decision.reasons)
    };
    assert_eq!(asked(3_000), asked(4_000));
    assert_ne!(asked(3_000), asked(30_000));
}

#[test]
fn of_two_losses_that_are_said_alike_the_smaller_one_is_offered_first_however_long_it_takes() {
    for since in [1_000, 30_000, 70_000, 100_000, 200_000, 1_000_000, 10_000_000] {
        let cluster = nodes(
            a().silent(since),
            b().orphaned(since).with(|b| b.lag_at_contact = Some(45_000)),
            c().orphaned(since).with(|c| c.lag_at_contact = Some(20)),
        );
        let decision = default(rpo_zero(service(voted_down(), cluster)));
        let offered: Vec<_> = options(&decision).iter().map(|to| to.promote.join(" ")).collect();
        assert_eq!(offered, ["c", "b"], "after {since} ms");
    }
}

#[test]
fn nobody_is_offered_what_is_damaged_or_another_history() {
    let cluster = nodes(
        a().silent(400),
        told(b().orphaned(400), "corrupt"),
        c().orphaned(400).with(|c| c.identity = Some("7002".to_owned())),
    );
    let decision = default(service(voted_down(), cluster));
    assert_eq!((decision.verdict.name(), decision.analysis.as_str()), ("hold", "no-candidate"));
}

#[test]
fn autonomy_and_quiet_time_make_a_question_of_a_move_of_data() {
    let by = |autonomy| service(voted_down(), crashed()).with(move |s| s.failover = autonomy);
    check([
        ("semi-automatic, within the RPO", by(Autonomy::SemiAutomatic), "fail-over", "dead-primary", &[]),
        ("manual", by(Autonomy::Manual), "ask", "dead-primary", &["manual"]),
        (
            "just moved",
            service(voted_down(), crashed()).moved("east", "west", MINUTE),
            "ask",
            "dead-primary",
            &["cooldown"],
        ),
        (
            "what it needs moves first",
            service(voted_down(), crashed()).needs("keys", Status::Unhealthy, "west"),
            "hold",
            "dependency-down",
            &["dead-primary"],
        ),
    ]);
    let asked = default(by(Autonomy::Manual));
    assert_eq!(options(&asked)[0].promote, ["b"]);
}

/// Looks on, half a second apart, until the answer is another one than at first.
fn after_looks(mut situation: Situation) -> (Decision, u32) {
    let first = decide(&FailoverQuorum::default(), &situation);
    let mut decision = first.clone();
    for looks in 1..10 {
        if decision.verdict != first.verdict {
            return (decision, looks);
        }
        situation.memo = decision.memo;
        situation.now += 500;
        decision = decide(&FailoverQuorum::default(), &situation);
    }
    (decision, 10)
}

#[test]
fn a_half_dead_primary_is_left_in_peace_if_it_can_be() {
    let quiet = |node: Node| node.with(|node| node.upstream_heard = Some(9_000));
    let half = |b: Node, c: Node| nodes(told(a(), "write-failed"), b, c);
    let (decision, looks) = after_looks(service(well(), half(quiet(b()), quiet(c()))).build());
    assert_eq!((promoted(&decision), looks), (("switch-over", "east", vec!["b"], Some(0)), 4));
    assert_eq!(decision.analysis, "half-dead-primary");

    let late = |node: Node| quiet(node).with(|node| node.lag_at_contact = Some(6_000));
    let (decision, _) = after_looks(service(well(), half(late(b()), late(c()))).build());
    assert_eq!(promoted(&decision).0, "fail-over", "nobody is near enough for the planned way");

    let failed = service(well(), half(quiet(b()), quiet(c())))
        .moved("west", "east", MINUTE)
        .with(|s| s.moves[0].succeeded = false);
    let (decision, _) = after_looks(failed.build());
    assert_eq!((decision.verdict.name(), decision.analysis.as_str()), ("ask", "half-dead-primary"));

    let (decision, _) =
        after_looks(service(well(), half(late(b()).with(|b| b.upstream_heard = Some(100)), late(c()))).build());
    assert!(codes(&decision).contains(&"heard") && decision.verdict == Verdict::Hold, "{decision:#?}");
}

#[test]
fn a_clock_jump_makes_no_primary_half_dead() {
    let mut situation = service(well(), nodes(told(a(), "write-failed"), b(), c())).build();
    for jump in [0, 3_600_000] {
        situation.now += jump;
        let decision = decide(&FailoverQuorum::default(), &situation);
        assert_eq!(decision.verdict, Verdict::Hold, "{jump}");
        situation.memo = decision.memo;
    }
}

#[test]
fn a_primary_that_only_we_reach_moves_without_loss() {
    let (voted, cluster) = (lasting(), nodes(a(), b(), c()));
    let decision = default(service(voted, cluster));
    assert_eq!(promoted(&decision), ("switch-over", "east", vec!["b"], Some(0)));
    assert_eq!(decision.analysis, "isolated-primary");
    let early = service(lasting(), nodes(a(), b(), c())).with(|s| s.sites[0].consensus.held = 0);
    let early = default(early);
    assert_eq!(
        (&early.verdict, early.analysis.as_str()),
        (&Verdict::Hold, "isolated-primary"),
        "it may just have died"
    );
    let following_nobody = nodes(a(), b().orphaned(100), c().with(|c| c.lag_at_contact = None));
    check([
        ("the vote is too young", service(voted_down(), nodes(a(), b(), c())), "hold", "suspected", &["confirmed"]),
        (
            "nobody is in step",
            service(lasting(), following_nobody),
            "hold",
            "no-candidate",
            &["not-streaming", "loss-unknown"],
        ),
    ]);
}

#[test]
fn a_primary_that_was_stopped_for_nothing_takes_writes_again() {
    let demoted = fenced(Node::standby("a", "west", "nobody").orphaned(9_000), "lease");
    let decision = default(service(well(), nodes(demoted.clone(), b().orphaned(9_000), c().orphaned(9_000))));
    assert_eq!(promoted(&decision), ("switch-over", "west", vec!["a"], Some(0)));
    assert_eq!(decision.analysis, "no-primary");
    let unmet = |node: Node| node.with(|node| node.contact_age = None);
    let restarted = nodes(unmet(demoted.clone()), unmet(b().orphaned(9_000)), unmet(c().orphaned(9_000)));
    assert_eq!(default(service(well(), restarted)).analysis, "primary-never-reached", "what we are told may be old");
    let fed = default(service(well(), nodes(demoted, Node::standby("b", "east", "x"), c().orphaned(9_000))));
    assert_eq!((fed.verdict.name(), fed.analysis.as_str()), ("probe-more", "unreachable-primary"), "somebody feeds b");
}

#[test]
fn a_slow_site_hands_its_database_over_if_told_to() {
    let settings = FailoverQuorum { degraded_for: Some(Period::minutes(5)), ..FailoverQuorum::default() };
    let slow = SiteView::seen("west", Status::Degraded, 3, 6 * MINUTE);
    let decision = decide(&settings, &service(slow, nodes(a(), b(), c())).build());
    assert_eq!(promoted(&decision), ("switch-over", "east", vec!["b"], Some(0)));
}

#[test]
fn goes_home_only_with_a_node_that_is_in_step() {
    let home = || timeline(Node::standby("a", "west", "b"), 2, 500);
    let decision = default(taken_over(home()));
    assert_eq!(promoted(&decision), ("fail-back", "west", vec!["a"], Some(0)));
    check([
        (
            "home is late",
            taken_over(home().with(|a| a.lag_at_contact = Some(9_000))),
            "hold",
            "failed-over",
            &["lagging"],
        ),
        ("home is silent", taken_over(home().silent(MINUTE)), "hold", "failed-over", &["unreachable"]),
        (
            "home is not settled",
            taken_over(home()).with(|s| s.sites[0].consensus.held = MINUTE),
            "hold",
            "failed-over",
            &["hold-down"],
        ),
    ]);
}
