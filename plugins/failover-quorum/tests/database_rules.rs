//! What must never be said of a database, whatever the situation: checked against situations that nobody would think of.
//!
//! The rules are written down here a second time, without a word of the policy's own code.

use failover_quorum::FailoverQuorum;
use proptest::prelude::*;
use tidegate_sdk::{
    Candidate, Cluster, Decision, Fact, FailoverPolicy, Move, Node, Outcome, Proof, Role, SiteView, Situation, Status,
    SyncSet, Verdict,
};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
const SITES: [&str; 3] = ["west", "east", "north"];
const HEARD_WITHIN: u64 = 2_500;

/// The first node is the primary, or was.
fn role(at: usize) -> impl Strategy<Value = Role> {
    let (primary, replica) = if at == 0 { (4, 1) } else { (1, 9) };
    prop_oneof![primary => Just(Role::Primary), replica => Just(Role::Replica), 5 => Just(Role::Unknown)]
}

fn place(at: usize) -> impl Strategy<Value = &'static str> {
    let usual = SITES[at % 3];
    prop_oneof![12 => Just(usual), 1 => Just("west"), 1 => Just("south")]
}

fn lag() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![1 => Just(None), 8 => (0_u64..100).prop_map(Some), 1 => (0_u64..100_000).prop_map(Some)]
}

fn age() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![1 => Just(None), 4 => (0_u64..5_000).prop_map(Some), 1 => (0_u64..100_000).prop_map(Some)]
}

fn upstream() -> impl Strategy<Value = Option<String>> {
    prop_oneof![4 => Just(None), 2 => Just(Some("a".to_owned())), 1 => prop::sample::select(&NAMES[..]).prop_map(|name| Some(name.to_owned()))]
}

fn facts() -> impl Strategy<Value = Vec<Fact>> {
    let key = prop::sample::select(&["corrupt", "foreign", "too-old", "starting", "write-failed", "error"][..]);
    prop_oneof![4 => Just(Vec::new()), 1 => key.prop_map(|key| vec![Fact::new(key, "so")])]
}

fn fenced() -> impl Strategy<Value = Option<Proof>> {
    let proof = |kind: &str| Proof { kind: kind.to_owned(), position: None, survives_restart: true, facts: Vec::new() };
    prop_oneof![6 => Just(None), 1 => prop::sample::select(&["stopped", "advisory"][..]).prop_map(move |kind| Some(proof(kind)))]
}

prop_compose! {
    fn node(at: usize)(
        role in role(at),
        upstream in upstream(),
        (heard, lag, contact) in (age(), lag(), age()),
        (timeline, identity) in (prop_oneof![12 => Just(Some(2)), 1 => Just(Some(1)), 1 => Just(Some(3)), 1 => Just(None)], 0..30),
        site in place(at),
        (priority, reached, attempt) in (prop_oneof![1 => Just(0), 6 => Just(100)], any::<bool>(), 0_u64..2_600),
        (facts, fenced, received) in (facts(), fenced(), prop_oneof![6 => (0_u64..2_000).prop_map(Some), 1 => Just(None)]),
    ) -> Node {
        Node::standby(NAMES[at], site, "a").with(|node| {
            (node.role, node.upstream, node.upstream_heard) = (role, upstream, heard);
            (node.lag_at_contact, node.contact_age, node.timeline) = (lag, contact, timeline);
            (node.priority, node.facts, node.fenced, node.received) = (priority, facts, fenced, received);
            (node.seen_by[0].reached, node.seen_by[0].attempt_age) = (reached, attempt);
            node.writable = (role == Role::Primary).then_some(true);
            node.identity = Some(if identity == 0 { "7002" } else { "7001" }.to_owned());
        })
    }
}

prop_compose! {
    fn cluster()(
        nodes in (1_usize..=5).prop_flat_map(|count| (0..count).map(node).collect::<Vec<_>>()),
        published in prop::option::weighted(0.9, (0_u32..3, prop::sample::subsequence(&NAMES[..], 0..=4))),
        known in prop::bool::weighted(0.9),
    ) -> Cluster {
        let set = published.map(|(wait_for, names)| {
            SyncSet { nodes: names.into_iter().map(str::to_owned).collect(), wait_for, epoch: 1 }
        });
        let facts = if known { vec![Fact::new("primary", "a")] } else { Vec::new() };
        Cluster { name: "orders".to_owned(), published: set, nodes, facts }
    }
}

fn site(name: &'static str) -> impl Strategy<Value = SiteView> {
    let status = prop::sample::select(&[Status::Healthy, Status::Degraded, Status::Unhealthy, Status::Unknown][..]);
    let held = prop_oneof![Just(100_u64), Just(10_000), Just(3_600_000)];
    (status, held, prop::bool::weighted(0.1)).prop_map(move |(status, held, full)| {
        let view = SiteView::seen(name, status, 2, held).observed("east", Outcome::Refused, 5);
        if full { view.capacity(50) } else { view }
    })
}

prop_compose! {
    fn situation()(
        cluster in cluster(),
        (down, crashed) in (prop::bool::weighted(0.6), any::<bool>()),
        (west, east, north) in (site("west"), prop_oneof![2 => site("east"), 1 => Just(SiteView::healthy("east"))], Just(SiteView::healthy("north"))),
        rpo in prop_oneof![Just(0_u64), Just(10_000), Just(3_600_000)],
        looks in 0_u32..12,
    ) -> Situation {
        let west = if down { SiteView::seen("west", Status::Unhealthy, 2, 0) } else { west };
        let builder = Situation::builder("orders").site(west).site(east).site(north).cluster(cluster);
        builder.with(|situation| {
            situation.objectives.rpo = rpo;
            if crashed {
                situation.cluster.as_mut().into_iter().flat_map(|cluster| &mut cluster.nodes).for_each(crash);
            }
            situation.memo = format!("{looks}@5 write-failed a\n{looks} vote a");
        }).build()
    }
}

/// The primary is gone and everybody knows it: most of what matters is decided then.
fn crash(node: &mut Node) {
    node.upstream = None;
    if node.id == "a" {
        (node.role, node.timeline) = (Role::Unknown, Some(2));
        node.facts.clear();
    } else if node.role == Role::Primary {
        node.role = Role::Replica;
    }
}

fn decide(situation: &Situation) -> Decision {
    FailoverQuorum::default().decide(situation).expect("the situation is whole")
}

fn moved(decision: &Decision) -> Option<&Move> {
    match &decision.verdict {
        Verdict::FailOver(to) | Verdict::SwitchOver(to) | Verdict::FailBack(to) => Some(to),
        _ => None,
    }
}

fn nodes(situation: &Situation) -> &[Node] {
    &situation.cluster.as_ref().expect("each has one").nodes
}

fn find<'a>(situation: &'a Situation, name: &str) -> &'a Node {
    nodes(situation).iter().find(|node| node.id == name).expect("only nodes are named")
}

fn has(node: &Node, key: &str) -> bool {
    node.facts.iter().any(|fact| fact.key == key)
}

/// It gets log, and not from a standby that speaks for itself.
fn hears(situation: &Situation, node: &Node) -> bool {
    let relay = |from: &String| {
        nodes(situation).iter().any(|other| other.id == *from && other.role == Role::Replica && !has(other, "foreign"))
    };
    let above = node.upstream.as_ref().is_some_and(|from| !relay(from));
    node.role == Role::Replica && above && node.upstream_heard.is_some_and(|age| age <= HEARD_WITHIN)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn never_promotes_what_a_veto_names_or_what_does_not_fit(situation in situation()) {
        let decision = decide(&situation);
        let Some(to) = moved(&decision) else { return Ok(()) };
        prop_assert!(!to.promote.is_empty(), "{decision:#?}");
        for name in &to.promote {
            let vetoed = decision.vetoes.iter().any(|veto| veto.candidate == Candidate::Node(name.clone()));
            let node = find(&situation, name);
            let sound = !has(node, "corrupt") && !has(node, "foreign") && !has(node, "too-old");
            let fits = node.role == Role::Replica && node.priority > 0 && node.site == to.to_site && sound;
            prop_assert!(!vetoed && fits, "{name}: {decision:#?}");
        }
    }

    #[test]
    fn never_fails_over_outside_the_published_set_when_nothing_may_be_lost(situation in situation()) {
        let decision = decide(&situation);
        let Verdict::FailOver(to) = &decision.verdict else { return Ok(()) };
        prop_assert!(to.expected_loss.is_some_and(|loss| loss <= situation.objectives.rpo), "{decision:#?}");
        if situation.objectives.rpo > 0 {
            return Ok(());
        }
        let set = situation.cluster.as_ref().and_then(|cluster| cluster.published.as_ref());
        let set = set.expect("no set, no promise");
        prop_assert!(to.promote.iter().all(|name| set.nodes.contains(name)), "{decision:#?}");
        let reached = nodes(&situation).iter().filter(|node| node.role == Role::Replica && set.nodes.contains(&node.id));
        let most = set.nodes.iter().filter(|name| *name != "a").count();
        prop_assert!(reached.count() + set.wait_for as usize > most, "{decision:#?}");
    }

    #[test]
    fn never_fails_over_while_a_standby_hears_the_primary(situation in situation()) {
        let decision = decide(&situation);
        let heard = nodes(&situation).iter().any(|node| hears(&situation, node));
        prop_assert!(!heard || decision.verdict.name() != "fail-over", "{decision:#?}");
    }

    #[test]
    fn never_fails_over_without_the_vote_unless_writes_fail(situation in situation()) {
        let decision = decide(&situation);
        let voted = situation.sites[0].consensus.status == Status::Unhealthy;
        let excused = ["half-dead-primary", "no-primary"].contains(&decision.analysis.as_str());
        prop_assert!(voted || excused || decision.verdict.name() != "fail-over", "{decision:#?}");
    }

    #[test]
    fn offers_a_person_only_what_can_be_undone(situation in situation()) {
        let decision = decide(&situation);
        let Verdict::Ask(question) = &decision.verdict else { return Ok(()) };
        for name in question.options.iter().flat_map(|option| &option.promote) {
            let node = find(&situation, name);
            let sound = !has(node, "corrupt") && !has(node, "foreign") && node.priority > 0;
            prop_assert!(sound && node.role == Role::Replica, "{name}: {decision:#?}");
        }
    }

    #[test]
    fn fences_only_what_takes_writes_on_an_older_timeline(situation in situation()) {
        let decision = decide(&situation);
        let Verdict::Fence(names) = &decision.verdict else { return Ok(()) };
        let newest = nodes(&situation).iter().filter(|node| !has(node, "foreign")).filter_map(|node| node.timeline).max();
        for name in names {
            let node = find(&situation, name);
            prop_assert!(node.role == Role::Primary && node.timeline < newest, "{name}: {decision:#?}");
        }
    }

    #[test]
    fn holds_when_everything_is_unknown(mut situation in situation()) {
        for node in &mut situation.cluster.as_mut().expect("each has one").nodes {
            node.role = Role::Unknown;
        }
        for site in &mut situation.sites {
            site.consensus.status = Status::Unknown;
        }
        prop_assert_eq!(decide(&situation).verdict, Verdict::Hold);
    }
}

/// The rules above would be empty words if the situations were all alike.
#[test]
fn the_situations_are_of_every_kind() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = std::collections::BTreeMap::<String, u32>::new();
    for _ in 0..4_000 {
        let situation = situation().new_tree(&mut runner).expect("one can be made").current();
        let decision = decide(&situation);
        *seen.entry(decision.verdict.name().to_owned()).or_default() += 1;
        *seen.entry(decision.analysis).or_default() += 1;
    }
    let kinds = [
        "fail-over",
        "switch-over",
        "fence",
        "ask",
        "run",
        "probe-more",
        "hold",
        "dead-primary",
        "hung-primary",
        "two-primaries",
        "dead-primary-and-standbys",
        "unreachable-primary",
        "stale-primary",
        "half-dead-primary",
        "no-primary",
    ];
    for kind in kinds {
        assert!(seen.get(kind).is_some_and(|count| *count >= 5), "{kind}: {seen:#?}");
    }
}
