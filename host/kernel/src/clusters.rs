//! What is known of each database: samples with their ages, what they change of what is held, and who is told of it.
//!
//! Knows no provider. The newest sample is not journaled; what is *held* of a cluster ([`ClusterState`]) is, and only a run
//! changes who the primary is.

mod picture;
mod watch;

use crate::contract::{self, Failure, Millis, Node, Role, Severity, SyncSet};
use crate::desk::Turn;
use crate::event::{Action, Effect, Moment};
use crate::fleet::{ClusterId, Fleet, ServiceId};
use crate::guard::{Kind, Proposal};
use crate::kernel::Kernel;
use crate::record::{Cause, Change, Sensed};
use crate::rules;
use crate::saga::StepStatus;
use crate::state::{ClusterState, Outside, Step};

pub(crate) use watch::{Watch, answers};

/// Every cluster's newest samples, and whose each is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clusters {
    watches: Vec<Watch>,
    owners: Vec<Option<ServiceId>>,
}

impl Clusters {
    pub(crate) fn new(fleet: &Fleet) -> Self {
        let owner = |at: usize| {
            let of_it = |service: &crate::fleet::Service| service.cluster == Some(ClusterId(at as u16));
            fleet.services.iter().position(of_it).map(|service| ServiceId(service as u32))
        };
        Clusters {
            watches: vec![Watch::default(); fleet.clusters.len()],
            owners: (0..fleet.clusters.len()).map(owner).collect(),
        }
    }

    /// For another fleet file: a cluster of the same name keeps what was seen of it.
    pub(crate) fn carry_over(mut self, old: &Fleet, new: &Fleet) -> Self {
        let mut next = Clusters::new(new);
        for (at, cluster) in new.clusters.iter().enumerate() {
            if let Some(from) = old.clusters.iter().position(|old| old.name == cluster.name) {
                next.watches[at] = std::mem::take(&mut self.watches[from]);
            }
        }
        next
    }

    pub(crate) fn watch(&self, cluster: ClusterId) -> &Watch {
        &self.watches[cluster.at()]
    }

    pub(crate) fn outdate(&mut self, cluster: ClusterId, now: Millis) {
        self.watches[cluster.at()].outdate(now);
    }

    fn owner(&self, cluster: ClusterId) -> Option<ServiceId> {
        self.owners[cluster.at()]
    }
}

impl Kernel {
    /// A cluster was looked at.
    pub(crate) fn sampled(
        &mut self,
        id: ClusterId,
        begun: Millis,
        result: Result<contract::Cluster, Failure>,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let Some(cluster) = self.fleet.clusters.get(id.at()).map(|cluster| cluster.name.clone()) else { return };
        let primary = self.state.clusters.get(&cluster).map(|held| held.primary.clone());
        let Moment { mono, wall } = now;
        let begun = Moment { mono: begun.min(mono), wall: wall.saturating_sub(mono.saturating_sub(begun)) };
        let changed = self.clusters.watches[id.at()].take(primary.as_deref(), begun, result, now.mono);
        let mut turn = Turn::new(now);
        self.hold_against(&mut turn, id, &cluster);
        if let (true, Some(service)) = (changed || turn.changed(), self.clusters.owner(id)) {
            self.ask(&mut turn, service);
            self.drive_service(&mut turn, service);
        }
        turn.finish(|| Cause::Sensed(Sensed::Cluster { cluster }), effects);
    }

    /// A service's cluster, if it has one.
    pub(crate) fn cluster_of(&self, service: ServiceId) -> Option<(ClusterId, &crate::fleet::Cluster)> {
        let id = self.fleet.services[service.at()].cluster?;
        Some((id, &self.fleet.clusters[id.at()]))
    }

    pub(crate) fn held(&self, cluster: &str) -> Option<&ClusterState> {
        self.state.clusters.get(cluster)
    }

    /// What the newest sample says against what is held; while a run is at work only the run knows what it means.
    fn hold_against(&mut self, turn: &mut Turn, id: ClusterId, name: &str) {
        let Some(service) = self.clusters.owner(id) else { return };
        if self.service_state(service).is_none_or(|known| known.run.is_some()) {
            return;
        }
        // A look that began before our own last change shows what was there before it.
        let changed = self.held(name).map_or(0, |held| held.since.mono.max(self.set_at(name, &held.primary)));
        let Some(sample) = self.clusters.watch(id).newest_from(changed).cloned() else { return };
        if self.held(name).is_none() {
            return self.first_sight(turn, id, service, name, &sample);
        }
        self.see_primary(turn, id, service, name, &sample);
        self.see_pretenders(turn, service, name, &sample);
    }

    /// The newest step of a run of ours that changed, or was to change, whose word commits on a node wait for.
    fn setting(&self, cluster: &str, node: &str) -> Option<&Step> {
        let sets = |step: &&Step| {
            matches!(&step.action, Action::SetSynchronous { cluster: of, node: on, .. } if of == cluster && on == node)
                && step.state.attempt > 0
        };
        self.state.runs.values().rev().find_map(|run| run.steps.iter().rfind(sets))
    }

    fn set_at(&self, cluster: &str, node: &str) -> Millis {
        self.setting(cluster, node).and_then(|step| step.state.ended).map_or(0, |ended| ended.mono)
    }

    /// Exactly one node takes writes, and nobody answers for other data: that is the primary.
    fn first_sight(
        &mut self,
        turn: &mut Turn,
        id: ClusterId,
        service: ServiceId,
        name: &str,
        sample: &contract::Cluster,
    ) {
        let mut primaries = sample.nodes.iter().filter(|node| node.role == Role::Primary);
        let (Some(primary), None) = (primaries.next(), primaries.next()) else { return };
        let foreign = |node: &Node| node.identity.is_some() && node.identity != primary.identity;
        if !answers(primary) || sample.nodes.iter().any(foreign) {
            return;
        }
        let state = ClusterState {
            primary: primary.id.clone(),
            since: turn.now,
            identity: primary.identity.clone(),
            timeline: primary.timeline,
            published: self.sound_set(id, sample.published.as_ref()).cloned(),
            outside: Default::default(),
            unsound: None,
        };
        self.hold(turn, rules::CLUSTER_SEEN, name, state);
        self.lead(turn, service);
    }

    /// The published set is the host's to change: another one is taken for what it is worth, and told.
    fn see_primary(
        &mut self,
        turn: &mut Turn,
        id: ClusterId,
        service: ServiceId,
        name: &str,
        sample: &contract::Cluster,
    ) {
        let Some(held) = self.held(name) else { return };
        let Some(primary) = sample.nodes.iter().find(|node| node.id == held.primary && answers(node)) else { return };
        let published = self.sound_set(id, sample.published.as_ref());
        let same_set = same_members(published, held.published.as_ref());
        if same_set && primary.timeline.is_none_or(|timeline| held.timeline >= Some(timeline)) {
            return;
        }
        let timeline = primary.timeline.max(held.timeline);
        let published = if same_set { held.published.as_ref() } else { published }.cloned();
        // What came of a change of ours is not known until a look shows it.
        let ours = || held.published.is_none() && self.setting(name, &held.primary).is_some_and(|step| !is_done(step));
        let others = !same_set && !ours();
        let state = ClusterState { timeline, published, ..held.clone() };
        if others {
            let said = sample.published.as_ref().map_or("nobody".to_owned(), |set| set.nodes.join(", "));
            let text = format!("{name}: commits wait for {said} now, and it was not Tidegate that changed that");
            self.tell(turn, service, &format!("published/{name}/{}", turn.now.mono), Severity::Warning, &text, "");
        }
        self.hold(turn, rules::CLUSTER_SEEN, name, state);
    }

    /// A node that leads without having been made the primary keeps writes that nobody else has.
    fn see_pretenders(&mut self, turn: &mut Turn, service: ServiceId, name: &str, sample: &contract::Cluster) {
        let Some(held) = self.held(name) else { return };
        let pretends = |node: &&Node| node.role == Role::Primary && node.id != held.primary;
        let new = sample.nodes.iter().filter(pretends).filter(|node| !held.outside.contains_key(&node.id));
        let told = |node: &Node| {
            (
                node.id.clone(),
                format!("node {} of {name} takes itself for the primary, which is {}", node.id, held.primary),
            )
        };
        for (node, text) in new.map(told).collect::<Vec<_>>() {
            let key = format!("pretender/{name}/{node}/{}", turn.now.mono);
            let body = "What it acknowledges reaches nobody else. It is stopped and made a standby again, if automatic moves are allowed.";
            self.tell(turn, service, &key, Severity::Critical, &text, body);
            self.put_outside(turn, rules::NODE_OUTSIDE, name, &node, text);
        }
    }

    pub(crate) fn put_outside(&mut self, turn: &mut Turn, rule: u16, cluster: &str, node: &str, why: String) {
        let Some(mut held) = self.held(cluster).cloned() else { return };
        let outside = Outside { since: turn.now, why, proof: None, left_at: None, diverged_bytes: None };
        held.outside.insert(node.to_owned(), outside);
        self.hold(turn, rule, cluster, held);
    }

    pub(crate) fn hold(&mut self, turn: &mut Turn, rule: u16, cluster: &str, state: ClusterState) {
        self.set(turn, rule, Change::Cluster { cluster: cluster.to_owned(), state: Box::new(state) });
    }

    /// Whose lease is renewed from now on.
    pub(crate) fn lead(&self, turn: &mut Turn, service: ServiceId) {
        let Some((id, cluster)) = self.cluster_of(service) else { return };
        let held = || self.held(&cluster.name).map(|held| held.primary.clone());
        let primary = self.lease_under_way(service).unwrap_or_else(held);
        let epoch = self.service_state(service).map_or(0, |known| known.life.epoch);
        turn.effect(Effect::Lead { cluster: id, primary, epoch });
    }

    /// At the start, and with a new fleet file: everything is looked at, and whoever leads may go on.
    pub(crate) fn watch_clusters(&self, turn: &mut Turn) {
        (0..self.fleet.clusters.len()).for_each(|at| turn.effect(Effect::Sample { cluster: ClusterId(at as u16) }));
        self.service_ids().for_each(|service| self.lead(turn, service));
    }

    /// Its primary did not answer the newest look.
    pub(crate) fn primary_is_silent(&self, service: ServiceId, now: Moment) -> bool {
        let Some((id, cluster)) = self.cluster_of(service) else { return false };
        let (Some(held), Some(seen)) = (self.held(&cluster.name), self.clusters.watch(id).fresh(now)) else {
            return false;
        };
        !seen.nodes.iter().any(|node| node.id == held.primary && answers(node))
    }

    /// A person names a place; which node there leads is the host's to say: by priority, then by how far it has come.
    pub(crate) fn with_data(&self, proposal: Proposal, now: Moment) -> Proposal {
        let Some((id, cluster)) = self.cluster_of(proposal.service) else { return proposal };
        let Some(held) = self.held(&cluster.name) else { return proposal };
        let seen = self.clusters.watch(id).fresh(now);
        let come = |name: &str| seen.and_then(|seen| seen.nodes.iter().find(|node| node.id == name)?.received);
        let there = |node: &&crate::fleet::ClusterNode| {
            self.fleet.sites[node.site.at()].name == proposal.to && node.name != held.primary && node.priority > 0
        };
        let best = cluster.nodes.iter().filter(there).max_by_key(|node| (node.priority, come(&node.name)));
        let promote: Vec<String> = best.map(|node| node.name.clone()).into_iter().collect();
        let told = Proposal { promote, ..proposal };
        let lossy = told.kind == Kind::FailOver && !self.keeps_all(&told, now);
        let expected_loss = if lossy { self.bound_of(&told, now) } else { Some(0) };
        Proposal { expected_loss, ..told }
    }

    /// What a proposal's promotion might lose, as far as anybody can tell: what the node lacked when the primary last answered, all
    /// that the primary took since, and all that it takes until its end is proven.
    pub(crate) fn bound_of(&self, proposal: &Proposal, now: Moment) -> Option<Millis> {
        let (id, cluster) = self.cluster_of(proposal.service)?;
        let by_now = self.clusters.watch(id).loss_bound(proposal.promote.first()?, now.mono)?;
        Some(by_now + cluster.until_proof())
    }

    /// Nothing acknowledged can be lost: R + W > N of the last published set, with the candidate in it.
    pub(crate) fn keeps_all(&self, proposal: &Proposal, now: Moment) -> bool {
        let Some((id, cluster)) = self.cluster_of(proposal.service).filter(|(_, cluster)| cluster.wait_for > 0) else {
            return false;
        };
        let published = self.held(&cluster.name).and_then(|held| held.published.as_ref());
        let (Some(to), Some(set), Some(seen)) =
            (proposal.promote.first(), published, self.clusters.watch(id).fresh(now))
        else {
            return false;
        };
        let here = seen.nodes.iter().filter(|node| node.role == Role::Replica && set.nodes.contains(&node.id)).count();
        set.nodes.contains(to) && here + set.wait_for as usize > set.nodes.len()
    }

    /// A set that keeps the promise: declared nodes, and as many waited for as declared.
    fn sound_set<'a>(&self, id: ClusterId, found: Option<&'a SyncSet>) -> Option<&'a SyncSet> {
        let cluster = &self.fleet.clusters[id.at()];
        let declared = |set: &&SyncSet| set.nodes.iter().all(|node| cluster.node(node).is_some());
        let enough = |set: &&SyncSet| cluster.wait_for > 0 && set.wait_for >= cluster.wait_for;
        found.filter(enough).filter(declared)
    }
}

fn is_done(step: &Step) -> bool {
    step.state.status == StepStatus::Done
}

fn same_members(one: Option<&SyncSet>, other: Option<&SyncSet>) -> bool {
    let all_in = |one: &SyncSet, other: &SyncSet| one.nodes.iter().all(|node| other.nodes.contains(node));
    match (one, other) {
        (Some(one), Some(other)) => one.wait_for == other.wait_for && all_in(one, other) && all_in(other, one),
        (one, other) => one.is_none() && other.is_none(),
    }
}
