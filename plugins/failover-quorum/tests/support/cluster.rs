//! A service with a database at three sites, well or in trouble, and what its policy says.
//!
//! Knows no rule.

use failover_quorum::FailoverQuorum;
use tidegate_sdk::{
    Cluster, Decision, Fact, FailoverPolicy, Move, Node, Outcome, Proof, SiteView, Situation, SituationBuilder, State,
    Status, Verdict,
};

pub(crate) const MINUTE: u64 = 60_000;

/// Story, situation, verdict, analysis, and codes among reasons, vetoes and conditions.
pub(crate) type Claim = (&'static str, SituationBuilder, &'static str, &'static str, &'static [&'static str]);

/// Host's record says a; a at west takes the writes, b at east and c at north follow it.
pub(crate) fn nodes(a: Node, b: Node, c: Node) -> Cluster {
    Cluster::of("orders", [a, b, c])
}

pub(crate) fn a() -> Node {
    Node::primary("a", "west")
}

pub(crate) fn b() -> Node {
    Node::standby("b", "east", "a")
}

pub(crate) fn c() -> Node {
    Node::standby("c", "north", "a")
}

/// a's process died 400 ms ago.
pub(crate) fn crashed() -> Cluster {
    nodes(a().silent(400), b().orphaned(400), c().orphaned(400))
}

pub(crate) fn synchronous(cluster: Cluster) -> Cluster {
    cluster.synchronous(1, &["b", "c"])
}

pub(crate) fn service(west: SiteView, cluster: Cluster) -> SituationBuilder {
    three(west, SiteView::healthy("east"), SiteView::healthy("north"), cluster)
}

/// A crash may lose ten seconds, unless a test says otherwise.
pub(crate) fn three(west: SiteView, east: SiteView, north: SiteView, cluster: Cluster) -> SituationBuilder {
    let builder = Situation::builder("orders").site(west).site(east).site(north).cluster(cluster);
    builder.with(|situation| situation.objectives.rpo = 10_000)
}

pub(crate) fn rpo_zero(builder: SituationBuilder) -> SituationBuilder {
    builder.with(|situation| situation.objectives.rpo = 0)
}

pub(crate) fn well() -> SiteView {
    SiteView::healthy("west")
}

/// The vote has just turned; nothing waits for `held`, nor for more looks.
pub(crate) fn voted_down() -> SiteView {
    SiteView::seen("west", Status::Unhealthy, 2, 0).observed("east", Outcome::Refused, 1).observed(
        "north",
        Outcome::Refused,
        1,
    )
}

pub(crate) fn lasting() -> SiteView {
    SiteView::seen("west", Status::Unhealthy, 2, 10_000).observed("east", Outcome::TimedOut, 5).observed(
        "north",
        Outcome::TimedOut,
        5,
    )
}

pub(crate) fn unknown(site: &str, bad: u32, voting: u32, expected: u32) -> SiteView {
    let mut view = SiteView::seen(site, Status::Unknown, bad, 1_000);
    (view.consensus.voting, view.consensus.expected) = (voting, expected);
    view
}

pub(crate) fn told(node: Node, key: &str) -> Node {
    node.with(|node| node.facts.push(Fact::new(key, "it says so")))
}

pub(crate) fn timeline(node: Node, timeline: u64, forked_at: u64) -> Node {
    node.with(|node| (node.timeline, node.forked_at) = (Some(timeline), Some(forked_at)))
}

pub(crate) fn fenced(node: Node, kind: &str) -> Node {
    let proof = Proof { kind: kind.to_owned(), position: None, survives_restart: true, facts: Vec::new() };
    node.with(|node| node.fenced = Some(proof))
}

/// b at east has taken over an hour ago; a is home again as that node, c follows b.
pub(crate) fn taken_over(a: Node) -> SituationBuilder {
    let c = timeline(Node::standby("c", "north", "b"), 2, 500);
    let cluster = Cluster::of("orders", [timeline(Node::primary("b", "east"), 2, 500), a, c]);
    service(well(), cluster).active("east").state(State::FailedOver, 60 * MINUTE).moved("west", "east", 60 * MINUTE)
}

pub(crate) fn decide(settings: &FailoverQuorum, situation: &Situation) -> Decision {
    settings.decide(situation).expect("the situation is whole")
}

pub(crate) fn default(builder: SituationBuilder) -> Decision {
    decide(&FailoverQuorum::default(), &builder.build())
}

pub(crate) fn codes(decision: &Decision) -> Vec<&str> {
    let vetoes = decision.vetoes.iter().map(|veto| &veto.reason);
    decision.reasons.iter().chain(vetoes).chain(&decision.would_change_if).map(|reason| reason.code.as_str()).collect()
}

pub(crate) fn check<const N: usize>(claims: [Claim; N]) {
    for (story, situation, verdict, analysis, expected) in claims {
        let decision = default(situation);
        let said = format!("{story}: {decision:#?}");
        assert_eq!((decision.verdict.name(), decision.analysis.as_str()), (verdict, analysis), "{said}");
        assert!(!decision.reasons.is_empty() && !decision.would_change_if.is_empty(), "{said}");
        for code in expected {
            assert!(codes(&decision).contains(code), "no {code} in {said}");
        }
    }
}

pub(crate) fn promoted(decision: &Decision) -> (&str, &str, Vec<&str>, Option<u64>) {
    let (Verdict::FailOver(to) | Verdict::SwitchOver(to) | Verdict::FailBack(to)) = &decision.verdict else {
        panic!("no move: {decision:#?}")
    };
    let nodes = to.promote.iter().map(String::as_str).collect();
    (decision.verdict.name(), &to.to_site, nodes, to.expected_loss)
}

pub(crate) fn options(decision: &Decision) -> &[Move] {
    match &decision.verdict {
        Verdict::Ask(question) => &question.options,
        _ => panic!("no question: {decision:#?}"),
    }
}

pub(crate) fn has_alarm(decision: &Decision) -> bool {
    decision.facts.iter().any(|fact| fact.key == "alarm")
}
