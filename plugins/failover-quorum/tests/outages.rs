//! Outages that have happened, and the quiet days between them: what the policy must say to each.
//!
//! One line of the table is one moment of one story; time stands still inside it.

use failover_quorum::FailoverQuorum;
use tidegate_sdk::{
    Autonomy, Decision, Endpoint, Fact, FailoverPolicy, Move, Outcome, Period, Route, Share, SiteView, Situation,
    SituationBuilder, State, Status, Strategy, Verdict,
};

const MINUTE: u64 = 60_000;

/// What the policy must say: verdict and analysis, and these codes among its reasons, vetoes and conditions.
struct Claim {
    story: &'static str,
    situation: SituationBuilder,
    verdict: &'static str,
    analysis: &'static str,
    codes: &'static [&'static str],
}

fn claim(
    story: &'static str,
    situation: SituationBuilder,
    verdict: &'static str,
    analysis: &'static str,
    codes: &'static [&'static str],
) -> Claim {
    Claim { story, situation, verdict, analysis, codes }
}

/// West serves and is preferred, east and north could.
fn fleet(west: SiteView) -> SituationBuilder {
    three(west, SiteView::healthy("east"), SiteView::healthy("north"))
}

fn three(west: SiteView, east: SiteView, north: SiteView) -> SituationBuilder {
    Situation::builder("shop").site(west).site(east).site(north)
}

/// Dead, as east and north see it; west's own vantage point died with it.
fn dead(site: &str) -> SiteView {
    let mut view = SiteView::seen(site, Status::Unhealthy, 2, 1_000).observed("east", Outcome::TimedOut, 2).observed(
        "north",
        Outcome::TimedOut,
        2,
    );
    view.consensus.voting = 2;
    view
}

/// All of its three services are down.
fn dead_with_all(site: &str) -> SiteView {
    SiteView { services_unhealthy: 3, services_total: 3, ..dead(site) }
}

fn unknown(site: &str, bad: u32, voting: u32, expected: u32) -> SiteView {
    let mut view = SiteView::seen(site, Status::Unknown, bad, 1_000);
    (view.consensus.voting, view.consensus.expected) = (voting, expected);
    view
}

fn healthy_for(site: &str, held: u64) -> SiteView {
    SiteView::seen(site, Status::Healthy, 3, held)
}

fn with_fact(mut site: SiteView, key: &str, value: &str) -> SiteView {
    site.facts.push(Fact::new(key, value));
    site
}

/// East serves since the last move, an hour ago; west is preferred.
fn failed_over(west: SiteView) -> SituationBuilder {
    fleet(west).active("east").state(State::FailedOver, 60 * MINUTE).moved("west", "east", 60 * MINUTE)
}

fn decide(settings: &FailoverQuorum, situation: &Situation) -> Decision {
    settings.decide(situation).expect("the situation is whole")
}

fn codes(decision: &Decision) -> Vec<&str> {
    let vetoes = decision.vetoes.iter().map(|veto| &veto.reason);
    decision.reasons.iter().chain(vetoes).chain(&decision.would_change_if).map(|reason| reason.code.as_str()).collect()
}

fn check(claims: Vec<Claim>) {
    for Claim { story, situation, verdict, analysis, codes: expected } in claims {
        let decision = decide(&FailoverQuorum::default(), &situation.build());
        let said = format!("{story}: {decision:#?}");
        assert_eq!((decision.verdict.name(), decision.analysis.as_str()), (verdict, analysis), "{said}");
        assert!(!decision.reasons.is_empty(), "{said}");
        assert!(
            !decision.would_change_if.is_empty()
                || verdict != "hold"
                || analysis == "moving"
                || analysis == "warming-up",
            "{said}"
        );
        for code in expected {
            assert!(codes(&decision).contains(code), "no {code} in {said}");
        }
    }
}

#[test]
fn quiet_days() {
    check(vec![
        claim("all is well", fleet(SiteView::healthy("west")), "hold", "healthy", &["more-votes"]),
        claim(
            "in maintenance even a dead site stays",
            fleet(dead("west")).with(|s| s.in_maintenance = true),
            "hold",
            "maintenance",
            &[],
        ),
        claim(
            "a host that has just started has seen nothing yet",
            fleet(dead("west")).with(|s| s.warming_up = true),
            "hold",
            "warming-up",
            &[],
        ),
        claim("one move at a time", fleet(dead("west")).state(State::FailingOver, 1_000), "hold", "moving", &[]),
        claim(
            "somebody else has changed the route",
            fleet(dead("west")).with(|s| s.facts.push(Fact::new("drift", "10.9.9.9"))),
            "hold",
            "drift",
            &["drift-settled"],
        ),
        claim(
            "slow, and no patience set for that",
            fleet(SiteView::seen("west", Status::Degraded, 3, 60 * MINUTE)),
            "hold",
            "degraded",
            &[],
        ),
    ]);
}

#[test]
fn a_region_dies() {
    let one_service = fleet(dead("west"));
    let most = SiteView { services_unhealthy: 3, services_total: 4, ..dead("west") };
    let half_dead = SiteView::seen("west", Status::Unhealthy, 3, 1_000)
        .observed("west", Outcome::WriteFailed, 4)
        .observed("east", Outcome::Partial, 4)
        .observed("north", Outcome::Partial, 4);
    check(vec![
        claim(
            "every service of the site is down",
            fleet(dead_with_all("west")),
            "fail-over",
            "dead-site",
            &["candidate", "recovered"],
        ),
        claim("only this service is down", one_service, "fail-over", "dead-service", &[]),
        claim("most services of the site are down", fleet(most), "fail-over", "degraded-site", &[]),
        claim("reads work, writes do not", fleet(half_dead), "fail-over", "half-dead", &[]),
    ]);
}

#[test]
fn nothing_moves_on_doubt() {
    let minority = SiteView::seen("west", Status::Healthy, 2, 60 * MINUTE).observed("east", Outcome::Ok, 99).observed(
        "north",
        Outcome::TimedOut,
        9,
    );
    let cut_off = |s: &mut Situation| s.vantages[2].sound = false;
    let silent = |s: &mut Situation| (s.vantages[1].fresh, s.vantages[2].fresh) = (false, false);
    let blip = SiteView::seen("west", Status::Unhealthy, 2, 0).observed("east", Outcome::TimedOut, 1).observed(
        "north",
        Outcome::TimedOut,
        1,
    );
    check(vec![
        claim("a minority sees it down", fleet(minority), "hold", "healthy", &["minority-sees-it-down", "more-votes"]),
        claim(
            "k8gb's blind secondary: who is cut off has no say",
            fleet(unknown("west", 0, 2, 3)).with(cut_off),
            "hold",
            "vantage-cut-off",
            &["vantage-back"],
        ),
        claim(
            "GitHub 2018: the hub is cut off from both others",
            fleet(unknown("west", 0, 1, 3)).with(silent),
            "hold",
            "blind",
            &["vantage-back"],
        ),
        claim(
            "Azure DevOps 2018: nothing is heard from anybody",
            fleet(unknown("west", 0, 0, 3)).with(silent),
            "hold",
            "blind",
            &["vantage-back"],
        ),
        claim(
            "the vantage points contradict each other",
            fleet(unknown("west", 2, 4, 5)),
            "probe-more",
            "split",
            &["one-more-vote"],
        ),
        claim("far from a majority nobody looks again", fleet(unknown("west", 1, 5, 9)), "hold", "split", &[]),
        claim("one bad look each is a blip", fleet(blip), "hold", "suspected", &["confirmed"]),
    ]);
}

#[test]
fn two_sites_without_a_third_vantage_never_move_by_themselves() {
    let two = |west: SiteView| Situation::builder("shop").site(west).site(SiteView::healthy("east"));
    let looked = |s: &mut Situation| "2 west".clone_into(&mut s.memo);
    let east_only = |s: &mut Situation| s.vantages[0].fresh = false;
    check(vec![
        claim(
            "one to one: look again",
            two(unknown("west", 1, 2, 2)),
            "probe-more",
            "no-third-vantage",
            &["third-vantage"],
        ),
        claim(
            "looked again in vain",
            two(unknown("west", 1, 2, 2)).with(looked),
            "hold",
            "no-third-vantage",
            &["third-vantage", "one-more-vote"],
        ),
        claim(
            "the dead site's own word is missing",
            two(unknown("west", 1, 1, 2)).with(looked).with(east_only),
            "hold",
            "no-third-vantage",
            &["third-vantage", "vantage-back"],
        ),
    ]);
}

#[test]
fn nowhere_to_go() {
    let down = SiteView::unhealthy;
    let small = |name: &str| SiteView::healthy(name).capacity(40);
    let busy = |name: &str| with_fact(with_fact(SiteView::healthy(name), "load", "60"), "in-use", "50");
    check(vec![
        claim(
            "every site is down: moving helps nobody",
            three(dead("west"), down("east"), down("north")),
            "hold",
            "all-sites-down",
            &["candidate"],
        ),
        claim(
            "GoCardless 2017: no candidate is said at once",
            three(dead("west"), down("east"), unknown("north", 0, 1, 3)),
            "ask",
            "no-candidate",
            &["dead-service", "unhealthy", "unknown"],
        ),
        claim(
            "no room anywhere",
            three(dead("west"), small("east"), small("north")),
            "ask",
            "no-candidate",
            &["capacity"],
        ),
        claim(
            "the room is taken by others",
            three(dead("west"), busy("east"), busy("north")),
            "ask",
            "no-candidate",
            &["capacity"],
        ),
        claim(
            "a candidate that has only just come up",
            three(dead("west"), healthy_for("east", 500), down("north")),
            "ask",
            "no-candidate",
            &["just-healthy"],
        ),
        claim(
            "the second best, when the best is full",
            three(dead("west"), small("east"), SiteView::healthy("north")),
            "fail-over",
            "dead-service",
            &["capacity"],
        ),
    ]);
}

#[test]
fn what_is_needed_moves_first() {
    let down = fleet(dead("west")).needs("db", Status::Unhealthy, "west");
    let moved = fleet(dead("west")).needs("db", Status::Healthy, "east");
    let doubtful = fleet(dead("west")).needs("db", Status::Unknown, "west");
    check(vec![
        claim("its database service is down as well", down, "hold", "dependency-down", &["dependency"]),
        claim("its database service has moved", moved, "fail-over", "dead-service", &[]),
        claim("of its database service nothing is known", doubtful, "fail-over", "dead-service", &[]),
    ]);
}

#[test]
fn a_move_in_steps_goes_back_if_the_new_site_is_not_good() {
    let shifting = |west: SiteView, east: SiteView| {
        three(west, east, SiteView::unhealthy("north")).state(State::FailingOver, MINUTE).with(|situation| {
            let endpoint =
                |site: &str, weight| Endpoint { site: site.to_owned(), target: "192.0.2.1".to_owned(), weight };
            let endpoints = vec![endpoint("west", 90), endpoint("east", 10), endpoint("north", 0)];
            let name = "shop.example.com".to_owned();
            situation.route =
                Some(Route { name, ttl_seconds: 30, endpoints, written_by: Some(1), age: 0, facts: Vec::new() });
        })
    };
    let (good, slow) = (SiteView::healthy, |name| SiteView::seen(name, Status::Degraded, 3, MINUTE));
    check(vec![
        claim("the new site is good", shifting(good("west"), good("east")), "hold", "moving", &[]),
        claim("the new site is slow", shifting(good("west"), slow("east")), "switch-over", "target-not-good", &[]),
        claim(
            "the new site is slow, as the old one was",
            shifting(slow("west"), slow("east")),
            "switch-over",
            "target-not-good",
            &[],
        ),
        claim(
            "nothing is known of the new site",
            shifting(good("west"), unknown("east", 0, 1, 3)),
            "switch-over",
            "target-not-good",
            &[],
        ),
        claim("there is no way back", shifting(dead("west"), slow("east")), "hold", "moving", &[]),
    ]);
}

#[test]
fn flapping_and_autonomy_leave_it_to_a_person() {
    let flapping = fleet(dead("west")).moved("east", "west", 20 * MINUTE).moved("west", "east", 30 * MINUTE).moved(
        "east",
        "west",
        59 * MINUTE,
    );
    let long_ago = fleet(dead("west")).moved("east", "west", 20 * MINUTE).moved("west", "east", 30 * MINUTE).moved(
        "east",
        "west",
        61 * MINUTE,
    );
    let by = |autonomy| fleet(dead("west")).with(move |s| s.failover = autonomy);
    check(vec![
        claim("Discord: three moves within the hour", flapping, "ask", "dead-service", &["flapping", "quiet"]),
        claim("two within the hour", long_ago, "fail-over", "dead-service", &[]),
        claim(
            "just moved",
            fleet(dead("west")).moved("east", "west", 9 * MINUTE),
            "ask",
            "dead-service",
            &["cooldown", "cooldown-over"],
        ),
        claim(
            "the cooldown is over",
            fleet(dead("west")).moved("east", "west", 10 * MINUTE),
            "fail-over",
            "dead-service",
            &[],
        ),
        claim("manual", by(Autonomy::Manual), "ask", "dead-service", &["manual", "approved"]),
        claim(
            "semi-automatic, and traffic loses nothing",
            by(Autonomy::SemiAutomatic),
            "fail-over",
            "dead-service",
            &[],
        ),
    ]);
}

#[test]
fn going_back_is_never_in_a_hurry() {
    let home = SiteView::healthy("west");
    let just_back =
        |site: SiteView| fleet(site).active("east").state(State::FailedOver, MINUTE).moved("west", "east", MINUTE);
    check(vec![
        claim("home is still down", failed_over(dead("west")), "hold", "failed-over", &["home-healthy"]),
        claim(
            "GitHub 2018: the link is back after 43 s",
            failed_over(healthy_for("west", 43_000)),
            "hold",
            "failed-over",
            &["hold-down", "hold-down-over"],
        ),
        claim(
            "home is healthy for the hold-down",
            failed_over(home.clone()),
            "fail-back",
            "failed-over",
            &["home-healthy"],
        ),
        claim(
            "home is healthy, and the last move too fresh",
            just_back(home.clone()),
            "hold",
            "failed-over",
            &["cooldown"],
        ),
        claim("home has lost capacity", failed_over(home.clone().capacity(50)), "hold", "failed-over", &["capacity"]),
        claim(
            "manual failback",
            failed_over(home).with(|s| s.failback = Autonomy::Manual),
            "ask",
            "failed-over",
            &["manual"],
        ),
        claim(
            "patroni#2779: the new site dies, home is not settled",
            three(healthy_for("west", 3_000), dead_with_all("east"), SiteView::healthy("north")).active("east").moved(
                "west",
                "east",
                60 * MINUTE,
            ),
            "fail-over",
            "dead-site",
            &[],
        ),
    ]);
}

#[test]
fn the_service_says_how_long_cooldown_and_hold_down_are() {
    let facts = |s: &mut Situation| s.facts = vec![Fact::new("cooldown-ms", "5000"), Fact::new("hold-down-ms", "3000")];
    let situation = fleet(healthy_for("west", 3_000)).active("east").moved("west", "east", 5_000).with(facts).build();
    assert_eq!(decide(&FailoverQuorum::default(), &situation).verdict.name(), "fail-back");

    let own = FailoverQuorum { hold_down: Some(Period::seconds(4)), ..FailoverQuorum::default() };
    let decision = decide(&own, &situation);
    assert_eq!((decision.verdict, decision.ask_again_in), (Verdict::Hold, Some(1_000)));
}

#[test]
fn moves_to_the_best_ranked_fit_site() {
    let decision = decide(&FailoverQuorum::default(), &fleet(dead("west")).build());
    assert_eq!(decision.verdict, Verdict::FailOver(Move::to("east")));
    assert_eq!(decision.vetoes, []);

    let situation =
        three(dead("west"), SiteView::seen("east", Status::Degraded, 2, 1_000), SiteView::healthy("north")).build();
    let decision = decide(&FailoverQuorum::default(), &situation);
    assert_eq!(decision.verdict, Verdict::FailOver(Move::to("north")));
    assert_eq!(decision.vetoes.len(), 1);
}

#[test]
fn offers_the_least_dangerous_relaxation_first() {
    let situation = three(dead("west"), unknown("east", 0, 1, 3), healthy_for("north", 500)).build();
    let Verdict::Ask(question) = decide(&FailoverQuorum::default(), &situation).verdict else { panic!("no question") };
    assert_eq!(question.options, [Move::to("north"), Move::to("east")]);
}

#[test]
fn a_question_stays_the_same_while_its_reason_does() {
    let asked = |ago| {
        let situation = fleet(dead("west")).moved("east", "west", ago).build();
        let decision = decide(&FailoverQuorum::default(), &situation);
        (decision.verdict, decision.reasons, decision.would_change_if)
    };
    assert_eq!(asked(MINUTE), asked(2 * MINUTE));
}

#[test]
fn looks_again_only_so_often() {
    let settings = FailoverQuorum { looks_again: 2, ..FailoverQuorum::default() };
    let mut situation = fleet(unknown("west", 1, 2, 3)).build();
    let mut verdicts = Vec::new();
    for _ in 0..4 {
        let decision = decide(&settings, &situation);
        verdicts.push(decision.verdict.name());
        situation.memo = decision.memo;
    }
    assert_eq!(verdicts, ["probe-more", "probe-more", "hold", "hold"]);
}

#[test]
fn waits_as_long_as_it_was_told() {
    let settings = FailoverQuorum { unhealthy_for: Period::seconds(5), ..FailoverQuorum::default() };
    let mut situation = fleet(dead("west")).build();
    situation.sites[0].consensus.held = 4_000;
    let decision = decide(&settings, &situation);
    assert_eq!((decision.analysis.as_str(), decision.ask_again_in), ("suspected", Some(1_000)));
    situation.sites[0].consensus.held = 5_000;
    assert_eq!(decide(&settings, &situation).verdict.name(), "fail-over");
}

#[test]
fn flapping_looks_count_when_the_bad_ones_outnumber_the_good() {
    let mut situation =
        fleet(SiteView::seen("west", Status::Unhealthy, 2, 1_000).observed("east", Outcome::TimedOut, 1).observed(
            "north",
            Outcome::TimedOut,
            1,
        ))
        .build();
    for (good, bad, verdict) in [(3, 3, "hold"), (2, 3, "fail-over"), (0, 1, "hold")] {
        for word in &mut situation.sites[0].observations {
            (word.good, word.bad) = (good, bad);
        }
        assert_eq!(decide(&FailoverQuorum::default(), &situation).verdict.name(), verdict, "{good} good, {bad} bad");
    }
}

#[test]
fn leaves_a_slow_site_in_steps_if_told_to() {
    let step = |share, hold| failover_quorum::settings::Step { share, hold: Period::seconds(hold) };
    let settings = FailoverQuorum {
        degraded_for: Some(Period::minutes(5)),
        shifts: vec![step(10, 60), step(100, 0)],
        ..FailoverQuorum::default()
    };
    let slow = |held| fleet(SiteView::seen("west", Status::Degraded, 3, held)).build();
    assert_eq!(decide(&settings, &slow(4 * MINUTE)).ask_again_in, Some(MINUTE));
    let Verdict::SwitchOver(to) = decide(&settings, &slow(5 * MINUTE)).verdict else { panic!("no switch-over") };
    assert_eq!((to.to_site.as_str(), to.shifts.len(), to.shifts[0].share, to.shifts[0].hold), ("east", 2, 10, MINUTE));
}

#[test]
fn an_unlisted_active_site_is_an_error_and_no_move() {
    let situation = fleet(dead("west")).with(|s| "south".clone_into(&mut s.active_site)).build();
    assert!(FailoverQuorum::default().decide(&situation).unwrap_err().contains("south"));
}

/// Three sites that share the traffic; `home` is what each has when all is well.
fn shared(sites: [(SiteView, u32, u32); 3]) -> SituationBuilder {
    let view = |(site, home, share): (SiteView, u32, u32)| (with_fact(site, "home-share", &home.to_string()), share);
    let sites = sites.map(view);
    let shares = sites.each_ref().map(|(_, share)| *share);
    let builder = sites.into_iter().fold(Situation::builder("shop"), |builder, (site, _)| builder.site(site));
    builder.with(|situation| {
        situation.strategy = Strategy::ActiveActive;
        for (site, share) in situation.sites.iter_mut().zip(shares) {
            site.share = share;
        }
    })
}

#[test]
fn a_lost_sites_share_goes_to_the_others_and_comes_back() {
    let well = SiteView::healthy;
    let cases = [
        ("all is well", [(well("a"), 50, 50), (well("b"), 30, 30), (well("c"), 20, 20)], None),
        ("one dies", [(dead("a"), 50, 50), (well("b"), 30, 30), (well("c"), 20, 20)], Some([0, 60, 40])),
        ("it stays dead", [(dead("a"), 50, 0), (well("b"), 30, 60), (well("c"), 20, 40)], None),
        (
            "it is back, not for long",
            [(healthy_for("a", MINUTE), 50, 0), (well("b"), 30, 60), (well("c"), 20, 40)],
            None,
        ),
        ("it is back", [(well("a"), 50, 0), (well("b"), 30, 60), (well("c"), 20, 40)], Some([50, 30, 20])),
        (
            "the next one dies, and it is needed",
            [(healthy_for("a", MINUTE), 50, 0), (dead("b"), 30, 60), (well("c"), 20, 40)],
            Some([71, 0, 29]),
        ),
        ("two die", [(dead("a"), 50, 50), (dead("b"), 30, 30), (well("c"), 20, 20)], Some([0, 0, 100])),
        ("all die", [(dead("a"), 50, 50), (dead("b"), 30, 30), (dead("c"), 20, 20)], None),
        ("nothing is known of one", [(unknown("a", 1, 2, 3), 50, 50), (well("b"), 30, 30), (well("c"), 20, 20)], None),
        (
            "one dies, and of another nothing is known",
            [(dead("a"), 50, 50), (unknown("b", 1, 2, 3), 30, 30), (well("c"), 20, 20)],
            Some([0, 30, 70]),
        ),
        (
            "one dies, and another is nearly full",
            [(dead("a"), 50, 50), (well("b").capacity(40), 30, 30), (well("c"), 20, 20)],
            Some([0, 40, 60]),
        ),
        (
            "one dies, and nobody has room for all of it",
            [(dead("a"), 50, 50), (well("b").capacity(40), 30, 30), (well("c").capacity(40), 20, 20)],
            Some([20, 40, 40]),
        ),
        (
            "a standby takes only what the others cannot",
            [(dead("a"), 50, 50), (well("b").capacity(60), 50, 50), (well("c"), 0, 0)],
            Some([0, 60, 40]),
        ),
    ];
    for (story, sites, expected) in cases {
        let decision = decide(&FailoverQuorum::default(), &shared(sites).build());
        let expected = match expected {
            None => Verdict::Hold,
            Some([a, b, c]) => Verdict::Rebalance(vec![Share::of("a", a), Share::of("b", b), Share::of("c", c)]),
        };
        assert_eq!(decision.verdict, expected, "{story}: {decision:#?}");
    }
}

#[test]
fn a_hold_for_shares_says_why() {
    let well = SiteView::healthy;
    let rest = || [(well("b"), 30, 60), (well("c"), 20, 40)];
    let with = |site: SiteView, share| {
        let [b, c] = rest();
        shared([(site, 50, share), b, c])
    };
    let blip = SiteView::seen("a", Status::Unhealthy, 2, 0).observed("b", Outcome::TimedOut, 1).observed(
        "c",
        Outcome::TimedOut,
        1,
    );
    check(vec![
        claim("back, not for long", with(healthy_for("a", MINUTE), 0), "hold", "hold-down", &["hold-down-over"]),
        claim("still dead", with(dead("a"), 0), "hold", "dead-site", &["recovered"]),
        claim("unclear", with(unknown("a", 1, 2, 3), 0), "hold", "unclear", &["more-votes"]),
        claim("a blip", with(blip, 0), "hold", "suspected", &["confirmed"]),
        claim("slow", with(SiteView::seen("a", Status::Degraded, 2, MINUTE), 0), "hold", "degraded", &["lost"]),
    ]);
}
