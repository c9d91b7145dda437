//! The guard's rules about data: whom a promotion may be of, and what it may lose. A person passes none of them but by
//! accepting a loss on the record.

use super::table::{ask, hold, hold_for};
use super::{Kind, Said, Scene};
use crate::clusters::answers;
use crate::contract::{Cluster, Fact, Millis, Node, Role};
use crate::fleet;
use crate::runbook::REJOIN;
use crate::state::ClusterState;

/// When to ask again about what the next samples may change.
const SOON: Millis = 1_000;
/// A planned move waits for a standby that is further behind.
const PLANNED_LAG: u64 = 16 << 20;
/// Facts of a node that rule it out.
const RULED_OUT: [&str; 3] = ["corrupt", "foreign", "too-old"];

/// The data of a proposal's service.
struct Data<'a> {
    declared: &'a fleet::Cluster,
    held: &'a ClusterState,
    /// The newest sample, if it is fresh.
    seen: Option<&'a Cluster>,
}

impl<'a> Data<'a> {
    fn of(scene: &Scene<'a>) -> Option<Data<'a>> {
        let (id, declared) = scene.kernel.cluster_of(scene.proposal.service)?;
        let held = scene.kernel.held(&declared.name)?;
        Some(Data { declared, held, seen: scene.kernel.clusters.watch(id).fresh(scene.now) })
    }

    fn node(&self, name: &str) -> Option<&'a Node> {
        self.seen?.nodes.iter().find(|node| node.id == name)
    }
}

/// Data and traffic move together, and only data that is there.
pub(super) fn whole(scene: &Scene) -> Option<Said> {
    let proposal = scene.proposal;
    let Some(cluster) = scene.kernel.cluster_of(proposal.service).map(|(_, cluster)| cluster) else {
        let touches = !proposal.promote.is_empty() || !proposal.fence.is_empty();
        return if touches { hold("it names database nodes, and the service has no cluster") } else { None };
    };
    let Some(held) = scene.kernel.held(&cluster.name) else {
        return hold_for(SOON, format!("it is not known yet which node of {} is the primary", cluster.name));
    };
    if proposal.kind == Kind::Fence && proposal.fence.contains(&held.primary) {
        return hold(format!("{} is the agreed primary: stopping it without a move would leave nobody", held.primary));
    }
    if proposal.kind.changes_place() && proposal.promote.is_empty() {
        return hold("its data would stay behind: it names no node to promote");
    }
    None
}

/// The node may lead: declared there, seen just now, of the same data, on the newest timeline.
pub(super) fn candidate(scene: &Scene) -> Option<Said> {
    let name = scene.proposal.promote.first()?;
    let data = Data::of(scene)?;
    let Some(declared) = data.declared.node(name) else {
        return hold(format!("{} has no node {name}", data.declared.name));
    };
    let at = &scene.kernel.fleet.sites[declared.site.at()].name;
    if *at != scene.proposal.to {
        return hold(format!("node {name} stands at {at}, not at {}", scene.proposal.to));
    }
    if declared.priority == 0 {
        return hold(format!("node {name} is never to be promoted (priority 0)"));
    }
    if *name == data.held.primary {
        return hold(format!("node {name} is the primary"));
    }
    if let Some(outside) = data.held.outside.get(name) {
        return hold_for(SOON, format!("node {name} has to be made a standby first: {}", outside.why));
    }
    match data.node(name) {
        Some(node) => fit(scene, &data, node),
        None => hold_for(SOON, format!("nothing new is known of node {name}")),
    }
}

fn fit(scene: &Scene, data: &Data, node: &Node) -> Option<Said> {
    let name = &node.id;
    if node.role != Role::Replica {
        return hold_for(SOON, format!("node {name} does not answer as a standby"));
    }
    if let Some(fact) = node.facts.iter().find(|fact| RULED_OUT.contains(&fact.key.as_str())) {
        return hold(format!("node {name} is ruled out: {} {}", fact.key, fact.value));
    }
    if node.identity.is_none() || node.identity != data.held.identity {
        return hold(format!("node {name} does not show that it has the same data"));
    }
    if node.timeline.is_none() || node.timeline < data.held.timeline {
        return hold_for(SOON, format!("node {name} is on an older timeline than the primary was"));
    }
    if scene.proposal.kind == Kind::FailOver {
        return None;
    }
    if node.upstream.is_none() || node.lag_bytes.is_none_or(|lag| lag > PLANNED_LAG) {
        return hold_for(
            SOON,
            format!("node {name} does not keep up with the primary: a planned move would wait for it"),
        );
    }
    None
}

/// Where nothing may be lost: only a member of the last published set, and enough of the set's members at hand that the old
/// primary can have acknowledged nothing without one of them: R + W > N.
pub(super) fn standby_quorum(scene: &Scene) -> Option<Said> {
    let name = scene.proposal.promote.first()?;
    let data = Data::of(scene)?;
    if data.declared.wait_for == 0 || scene.service.objectives.rpo > 0 || scene.proposal.accept_loss.is_some() {
        return None;
    }
    let Some(set) = &data.held.published else {
        return hold_for(SOON, "it is not published whose word a commit waits for: nobody is promoted without loss");
    };
    if !set.nodes.contains(name) {
        return hold_for(SOON, format!("node {name} is outside the synchronous set {}", set.nodes.join(", ")));
    }
    if scene.proposal.kind != Kind::FailOver {
        return None;
    }
    let here = |name: &&String| data.node(name).is_some_and(|node| answers(node) && node.role == Role::Replica);
    let (reached, all) = (set.nodes.iter().filter(here).count(), set.nodes.len());
    if reached + set.wait_for as usize > all {
        return None;
    }
    let text =
        format!("{reached} of the {all} synchronous standbys are reached, and a commit waited for {}", set.wait_for);
    hold_for(SOON, format!("{text}: one that is not might have what these have not"))
}

/// Where something may be lost: no more than was promised, or than a person has accepted.
pub(super) fn loss_bound(scene: &Scene) -> Option<Said> {
    let data =
        Data::of(scene).filter(|_| scene.proposal.kind == Kind::FailOver && !scene.proposal.promote.is_empty())?;
    let promised = scene.service.objectives.rpo;
    if data.declared.wait_for > 0 && promised == 0 && scene.proposal.accept_loss.is_none() {
        return None;
    }
    if scene.kernel.keeps_all(scene.proposal, scene.now) {
        return None;
    }
    let allowed = promised.max(scene.proposal.accept_loss.unwrap_or(0));
    match scene.kernel.bound_of(scene.proposal, scene.now) {
        Some(bound) if bound <= allowed => None,
        Some(bound) => ask(format!("up to {bound} ms of data may be lost, and {allowed} ms are allowed")),
        None if scene.proposal.accept_loss.is_some() => None,
        None => ask("nobody knows how much would be lost"),
    }
}

/// Checks of the data failed: nobody goes home on that by themselves.
pub(super) fn sound_data(scene: &Scene) -> Option<Said> {
    let data = Data::of(scene).filter(|_| scene.proposal.kind == Kind::FailBack)?;
    let failed = data.held.unsound.as_ref()?;
    ask(format!("a check of the data failed after the last promotion: {failed}"))
}

/// A node that is to be stopped or made a standby again is worked on by its site's agent: one that is silent does nothing. And where
/// a primary runs by a lease, nobody else renews it: one that was promoted beside a silent agent would be ended at once.
pub(super) fn site_heard(scene: &Scene) -> Option<Said> {
    let data = Data::of(scene)?;
    let views = scene.kernel.sensing.vantages(&scene.kernel.fleet, scene.now);
    let at_site = |name: &str| {
        let site = data.declared.node(name).map(|node| node.site);
        let all = scene.kernel.fleet.vantages.iter().zip(&views);
        all.filter(move |(vantage, _)| Some(vantage.site) == site).map(|(_, view)| view.fresh)
    };
    let named = |fact: &&Fact| fact.key == "node";
    let wanted = scene.proposal.invocation.iter().filter(|wanted| wanted.runbook == REJOIN);
    let mut nodes =
        scene.proposal.fence.iter().chain(wanted.flat_map(|w| &w.arguments).filter(named).map(|fact| &fact.value));
    if let Some(silent) = nodes.find(|name| !at_site(name).any(|fresh| fresh)) {
        return hold_for(SOON, format!("no agent is heard from where node {silent} stands"));
    }
    let leads = scene.proposal.promote.first().filter(|_| data.declared.wait_for == 0)?;
    // Where none is declared no lease was ever to be had.
    let silent = at_site(leads).max() == Some(false);
    let text = || format!("no agent is heard from where node {leads} stands: nobody would renew its lease");
    if silent { hold_for(SOON, text()) } else { None }
}
