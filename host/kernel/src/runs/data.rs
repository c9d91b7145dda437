//! What a run does to a database beside calling its provider: it waits for a proof, begins no promotion without one, and
//! notes who leads afterwards.
//!
//! Knows no order of steps; what a node said stands in the receipts of the steps before.

use crate::contract::{Cluster, Fact, Millis, Node, Proof, Role, Severity, SyncSet};
use crate::desk::{Lease, Timer, Turn};
use crate::event::{Action, Effect, Moment, RunId};
use crate::fleet::{self, ServiceId, write_duration};
use crate::guard::{Kind, Proposal};
use crate::kernel::Kernel;
use crate::record::Cause;
use crate::rules;
use crate::runbook::{DataOccasion, REJOIN};
use crate::saga::{StepEvent, StepStatus};
use crate::state::{About, ClusterState, DataMove, Outside, Run, Step};

/// Without a proof after this long a person is asked.
pub(super) const PROOF_PATIENCE: Millis = 15_000;
/// When nobody could tell how long a lease lasts, it is asked again.
const LEASE_AGAIN: Millis = 1_000;
/// A person knows that it is off.
pub(crate) const PERSON: &str = "person";
/// The kind of a proof that is a lease's end.
const LEASE: &str = "lease";
/// A proof of this kind can be lifted by any session.
const ADVISORY: &str = "advisory";

/// What a proposal would do to its service's database.
pub(super) struct AboutData<'a> {
    cluster: &'a fleet::Cluster,
    held: &'a ClusterState,
    candidate: Option<&'a str>,
    planned: bool,
    epoch: u64,
    nodes: Vec<String>,
    outside: Vec<String>,
}

impl AboutData<'_> {
    pub(super) fn occasion(&self) -> DataOccasion<'_> {
        DataOccasion {
            cluster: self.cluster,
            primary: &self.held.primary,
            candidate: self.candidate,
            planned: self.planned,
            epoch: self.epoch,
            nodes: &self.nodes,
            outside: &self.outside,
        }
    }
}

impl Kernel {
    /// None for a service without a database, or one of which nothing is known yet.
    pub(super) fn about_data<'a>(&'a self, proposal: &'a Proposal) -> Option<AboutData<'a>> {
        let (_, cluster) = self.cluster_of(proposal.service)?;
        let held = self.held(&cluster.name)?;
        let nodes = match &proposal.invocation {
            Some(wanted) if wanted.runbook == REJOIN => {
                let named = wanted.arguments.iter().filter(|fact| fact.key == "node");
                named.map(|fact| fact.value.clone()).collect()
            }
            _ => proposal.fence.clone(),
        };
        let mut outside: Vec<String> = held.outside.keys().cloned().collect();
        outside.extend(nodes.iter().cloned());
        Some(AboutData {
            cluster,
            held,
            candidate: proposal.promote.first().map(String::as_str),
            planned: matches!(proposal.kind, Kind::SwitchOver | Kind::FailBack),
            epoch: proposal.epoch + 1,
            nodes,
            outside,
        })
    }

    /// What is known of the data as a run begins.
    pub(super) fn data_move(&self, proposal: &Proposal, now: Moment) -> Option<DataMove> {
        let (id, cluster) = self.cluster_of(proposal.service)?;
        let (held, watch) = (self.held(&cluster.name)?, self.clusters.watch(id));
        let to = proposal.promote.first().cloned();
        let lossy = to.as_ref().filter(|_| proposal.kind == Kind::FailOver);
        Some(DataMove {
            cluster: cluster.name.clone(),
            from: held.primary.clone(),
            contact: watch.contact(),
            loss_bound: lossy.and_then(|to| watch.loss_bound(to, now.mono)),
            until_proof: cluster.until_proof(),
            accept_loss: proposal.accept_loss,
            published: held
                .published
                .clone()
                .filter(|set| set.wait_for > 0 && to.as_ref().is_some_and(|to| set.nodes.contains(to))),
            to,
        })
    }

    /// A step that waits for a proof has it, or goes on looking for one.
    pub(super) fn look_for_proof(&mut self, turn: &mut Turn, id: RunId) {
        let Some(run) = self.state.runs.get(&id) else { return };
        let waits =
            |step: &Step| matches!(step.action, Action::AwaitProof { .. }) && step.state.status == StepStatus::Running;
        let Some(step) = run.steps.iter().position(waits) else { return };
        let Some(proof) = self.proof(run, turn.now) else { return self.end_lease(turn, id) };
        let text = format!("{}: {}", proof.kind, told(&proof.facts));
        let receipt = serde_json::to_string(&proof).ok();
        self.step_changes(turn, id, step, StepEvent::Succeeded, rules::STEP_ENDED, |state| {
            state.text = text;
            state.receipt = receipt;
        });
    }

    /// Why the old primary can acknowledge nothing any more; the first of the proofs that there is.
    fn proof(&self, run: &Run, now: Moment) -> Option<Proof> {
        let data = run.data.as_ref()?;
        let stopped = || fence_proof(run, &data.from).filter(|proof| proof.kind != ADVISORY);
        let left = || self.left_by_its_standbys(run);
        let lapsed = || self.lease_over(run, now);
        let accepted = || {
            let lease = self.desk.leases.get(&run.id).and_then(|lease| lease.ends);
            let by = run.by.as_ref().filter(|_| data.accept_loss.is_some() && lease.is_none())?;
            fence_given_up(run, &data.from).then(|| simple(PERSON, vec![fact("by", by)]))
        };
        stopped().or_else(left).or_else(lapsed).or_else(accepted)
    }

    /// More than N − W of the published set receive nothing from it any more.
    fn left_by_its_standbys(&self, run: &Run) -> Option<Proof> {
        let set = self.held(&run.data.as_ref()?.cluster)?.published.as_ref().filter(|set| set.wait_for > 0)?;
        let left: Vec<&str> = detached(run).filter(|node| set.nodes.iter().any(|member| member == node)).collect();
        let enough = left.len() + set.wait_for as usize > set.nodes.len();
        enough
            .then(|| simple("standby-quorum", vec![fact("detached", left.join(" ")), fact("set", set.nodes.join(" "))]))
    }

    fn lease_over(&self, run: &Run, now: Moment) -> Option<Proof> {
        let ends = self.desk.leases.get(&run.id)?.ends?;
        (ends <= now.mono).then(|| simple(LEASE, vec![fact("over-for-ms", now.mono - ends)]))
    }

    /// Has the site's lease end, where one is held at all.
    fn end_lease(&mut self, turn: &mut Turn, id: RunId) {
        let Some(run) = self.state.runs.get(&id) else { return };
        let cluster = run.data.as_ref().map(|data| data.cluster.as_str());
        let at = self.fleet.clusters.iter().position(|declared| Some(declared.name.as_str()) == cluster);
        let Some(at) = at.filter(|at| self.fleet.clusters[*at].wait_for == 0) else { return };
        let (epoch, now) = (run.epoch, turn.now.mono);
        let lease = self.desk.leases.entry(id).or_default();
        if lease.ends.is_some() || lease.asked.is_some_and(|asked| now < asked + LEASE_AGAIN) {
            return;
        }
        lease.asked = Some(now);
        self.desk.at(now + LEASE_AGAIN, Timer::Run(id));
        turn.effect(Effect::EndLease { run: id, cluster: fleet::ClusterId(at as u16), epoch });
    }

    /// Who may hold a lease while a run takes it away, whatever else is asked for meanwhile: nobody from its end on, and whoever is
    /// promoted once that has begun. None = no run does.
    pub(crate) fn lease_under_way(&self, service: ServiceId) -> Option<Option<String>> {
        let run = self.state.runs.get(&self.service_state(service)?.run?)?;
        let from = &run.data.as_ref()?.from;
        let promoted = run.steps.iter().find_map(|step| match &step.action {
            Action::Promote { node, .. } if step.state.attempt > 0 => Some(node.clone()),
            _ => None,
        });
        let ended = || {
            self.desk.leases.contains_key(&run.id)
                || proven(run, from).is_some_and(|proof| [LEASE, PERSON].contains(&proof.kind.as_str()))
        };
        promoted.map(Some).or_else(|| ended().then_some(None))
    }

    /// When the last lease that anybody may hold for a run's cluster ends.
    pub(crate) fn lease_ends(
        &mut self,
        id: RunId,
        ends: Result<Millis, String>,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        if self.state.runs.get(&id).is_none_or(|run| run.end.is_some()) {
            return;
        }
        let lease: &mut Lease = self.desk.leases.entry(id).or_default();
        match ends {
            Ok(ends) => {
                lease.ends = Some(ends);
                self.desk.at(ends, Timer::Run(id));
            }
            Err(why) => lease.why = why,
        }
        let mut turn = Turn::new(now);
        self.drive(&mut turn, id);
        turn.finish(|| Cause::Due(format!("run r{}", id.0)), effects);
    }

    /// Nothing proves it: a person may know better, and says so on the record.
    pub(super) fn proof_late(&mut self, turn: &mut Turn, id: RunId, step: usize, service: &str, node: &str) {
        let asked = self.state.open_questions().any(|question| question.about == About::Confirm { run: id, step });
        if asked {
            return self.end_step(
                turn,
                id,
                step,
                StepEvent::Failed,
                "nobody could prove it, and nobody answered in time",
            );
        }
        let timeout = self.state.runs.get(&id).map_or(0, |run| run.steps[step].timeout);
        let due = turn.now.mono.saturating_add(timeout);
        self.amend(turn, id, step, |state| state.due = Some(due));
        let why = self.desk.leases.get(&id).map_or(String::new(), |lease| lease.why.clone());
        let because = if why.is_empty() { String::new() } else { format!(" ({why})") };
        let bound = self.state.runs.get(&id).and_then(|run| run.data.as_ref()?.beforehand());
        let lost = bound.map_or("nobody knows how much".to_owned(), |bound| format!("about {bound} ms of data"));
        let text = format!(
            "Nothing proves that node {node} acknowledges no write any more{because}. If you know that it is off for good, say \
             yes: run r{} of {service} then promotes another one, and {lost} may be lost. If it is not off, both take writes",
            id.0
        );
        self.ask_confirm(turn, id, step, service, text);
    }

    /// Asked right before a promotion begins: the proof is there, and the candidate has what it has to have.
    pub(super) fn not_promotable(&self, run: &Run, step: usize) -> Option<String> {
        let Action::Promote { node, .. } = &run.steps[step].action else { return None };
        let Some(data) = &run.data else { return Some("it is not known what the run does to the database".into()) };
        let Some(proof) = proven(run, &data.from) else {
            return Some(format!("nothing proves that node {} acknowledges no write any more", data.from));
        };
        let Some(received) = position(run, node) else {
            return Some(format!("node {node} does not say how far it has come"));
        };
        match proof.position {
            Some(end) if end <= received => None,
            Some(end) if run.kind != Kind::FailOver.name() => {
                Some(format!("node {node} lacks the last {} bytes of what {} has", end - received, data.from))
            }
            None if run.kind != Kind::FailOver.name() => Some(format!("nobody knows how far {} had come", data.from)),
            // Whoever said so was told what may be lost.
            _ if proof.kind == PERSON => None,
            _ => self.too_much_lost(run, data, node),
        }
    }

    fn too_much_lost(&self, run: &Run, data: &DataMove, node: &str) -> Option<String> {
        let service = self.service_id(&run.service)?;
        let (id, cluster) = self.cluster_of(service)?;
        let promised = self.fleet.services[service.at()].objectives.rpo;
        if cluster.wait_for > 0 {
            let set = self.held(&cluster.name).and_then(|held| held.published.as_ref());
            let whole = set.is_some_and(|set| set.nodes.iter().any(|member| member == node) && has_quorum(run, set));
            if whole {
                return None;
            }
            if promised == 0 && data.accept_loss.is_none() {
                return Some("too few of the synchronous standbys are at hand to rule out a loss".into());
            }
        }
        let allowed = promised.max(data.accept_loss.unwrap_or(0));
        let until = proven_at(run).unwrap_or(run.opened.mono);
        // After a crash of the host only the run itself remembers what it began with.
        let noted = || Some(data.loss_bound? + until.saturating_sub(run.opened.mono));
        match self.clusters.watch(id).loss_bound(node, until).or_else(noted) {
            Some(bound) if bound <= allowed => None,
            Some(bound) => Some(format!("up to {bound} ms of data would be lost, and {allowed} ms are allowed")),
            None if data.accept_loss.is_some() => None,
            None => Some("nobody knows how much would be lost".into()),
        }
    }

    /// The action as it is carried out: with what only the steps before could tell. Whoever is to lead may have a lease first.
    pub(super) fn prepared(&mut self, turn: &mut Turn, id: RunId, action: Action) -> Action {
        let Some(run) = self.state.runs.get(&id) else { return action };
        match action {
            Action::CatchUp { cluster, node, source } if source.is_empty() => {
                let source = most_advanced(run).unwrap_or_else(|| node.clone());
                Action::CatchUp { cluster, node, source }
            }
            Action::Promote { cluster, node } => {
                let at = self.fleet.clusters.iter().position(|declared| declared.name == cluster);
                if let Some(at) = at {
                    let (cluster, epoch) = (fleet::ClusterId(at as u16), run.epoch);
                    turn.effect(Effect::Lead { cluster, primary: Some(node.clone()), epoch });
                }
                Action::Promote { cluster, node }
            }
            Action::SetSynchronous { cluster, node, set } => {
                self.unpublish(turn, &cluster, &node);
                Action::SetSynchronous { cluster, node, set }
            }
            other => other,
        }
    }

    /// While it changes, nobody is promoted without loss.
    fn unpublish(&mut self, turn: &mut Turn, cluster: &str, node: &str) {
        let Some(held) = self.held(cluster).filter(|held| held.primary == node && held.published.is_some()).cloned()
        else {
            return;
        };
        self.hold(turn, rules::SYNCHRONOUS, cluster, ClusterState { published: None, ..held });
    }

    /// A detached standby of which a look at all positions learnt nothing, if the step may look again: one that is lost by chance would
    /// leave the run without its quorum, or without the standby that has come furthest.
    pub(super) fn unread_position(&self, id: RunId, step: usize, receipt: &str) -> Option<String> {
        let run = self.state.runs.get(&id)?;
        let at = &run.steps[step];
        if !matches!(at.action, Action::ReadPositions { .. }) || at.state.attempt > at.retries {
            return None;
        }
        let seen: Cluster = serde_json::from_str(receipt).ok()?;
        detached(run).find(|name| !is_read(&seen.nodes, name)).map(str::to_owned)
    }

    /// A step on the database has ended well.
    pub(super) fn data_changed(&mut self, turn: &mut Turn, id: RunId, step: usize) {
        let Some(run) = self.state.runs.get(&id).cloned() else { return };
        match &run.steps[step].action {
            Action::Promote { cluster, node } => self.promoted(turn, &run, cluster, node),
            Action::SetSynchronous { cluster, node, set } => self.publish(turn, cluster, node, set),
            Action::Rejoin { cluster, node, .. } => self.rejoined(turn, cluster, node),
            Action::Fence { cluster, node } => self.stopped(turn, &run, cluster, node),
            Action::VerifyData { cluster, .. } => self.data_checked(turn, cluster, None),
            _ => {}
        }
    }

    /// A check of the data that fails alarms, and keeps the service from going home by itself.
    pub(super) fn data_failed(&mut self, turn: &mut Turn, id: RunId, step: usize) {
        let Some(run) = self.state.runs.get(&id) else { return };
        let at = &run.steps[step];
        let (Action::VerifyData { cluster, .. }, StepStatus::Failed, None) =
            (&at.action, at.state.status, at.state.due)
        else {
            return;
        };
        let (cluster, text, service) = (cluster.clone(), at.state.text.clone(), self.service_id(&run.service));
        self.data_checked(turn, &cluster, Some(text.clone()));
        if let Some(service) = service {
            let subject = format!("{cluster}: a check of the data failed after the promotion");
            self.tell(turn, service, &format!("data/{cluster}/{}", id.0), Severity::Critical, &subject, &text);
        }
    }

    fn data_checked(&mut self, turn: &mut Turn, cluster: &str, unsound: Option<String>) {
        let Some(held) = self.held(cluster).filter(|held| held.unsound != unsound).cloned() else { return };
        self.hold(turn, rules::DATA_CHECKED, cluster, ClusterState { unsound, ..held });
    }

    fn promoted(&mut self, turn: &mut Turn, run: &Run, cluster: &str, node: &str) {
        let Some(mut held) = self.held(cluster).cloned() else { return };
        let before = std::mem::replace(&mut held.primary, node.to_owned());
        let why = format!("it was the primary before node {node}");
        let proof = proven(run, &before);
        let left_at = position(run, node);
        held.outside.insert(before, Outside { since: turn.now, why, proof, left_at, diverged_bytes: None });
        held.since = turn.now;
        held.published = run.steps.iter().find_map(|step| match &step.action {
            Action::SetSynchronous { node: of, set, .. } if of == node && step.state.status == StepStatus::Done => {
                Some(set.clone())
            }
            _ => None,
        });
        self.hold(turn, rules::PROMOTED, cluster, held);
        // A policy that was shown the sample from before would see a dead primary, and the new one as its standby.
        if let Some(at) = self.fleet.clusters.iter().position(|declared| declared.name == cluster) {
            let id = fleet::ClusterId(at as u16);
            self.clusters.outdate(id, turn.now.mono);
            turn.effect(Effect::Sample { cluster: id });
        }
    }

    fn publish(&mut self, turn: &mut Turn, cluster: &str, node: &str, set: &SyncSet) {
        let Some(held) = self.held(cluster).filter(|held| held.primary == node).cloned() else { return };
        self.hold(turn, rules::SYNCHRONOUS, cluster, ClusterState { published: Some(set.clone()), ..held });
    }

    fn rejoined(&mut self, turn: &mut Turn, cluster: &str, node: &str) {
        let Some(mut held) = self.held(cluster).filter(|held| held.primary != node).cloned() else { return };
        if held.outside.remove(node).is_some() {
            self.hold(turn, rules::NODE_REJOINED, cluster, held);
        }
    }

    /// A node that had no right to lead has been stopped: what it has that nobody else has is told.
    fn stopped(&mut self, turn: &mut Turn, run: &Run, cluster: &str, node: &str) {
        let Some(mut held) = self.held(cluster).cloned() else { return };
        let (Some(proof), Some(outside)) = (fence_proof(run, node), held.outside.get_mut(node)) else { return };
        // Where yet another one was promoted since, that one's fork says nothing of this node.
        let passed_over = outside.left_at.filter(|_| outside.since.mono < held.since.mono);
        let newest = || self.service_id(&run.service).and_then(|service| self.forked_at(service, &held.primary));
        let fork = passed_over.or_else(newest);
        outside.diverged_bytes = proof.position.zip(fork).map(|(end, fork)| end.saturating_sub(fork));
        outside.proof = Some(proof);
        let (since, diverged) = (outside.since, outside.diverged_bytes.unwrap_or(0));
        self.hold(turn, rules::DIVERGED, cluster, held);
        if let (Some(service), 1..) = (self.service_id(&run.service), diverged) {
            let subject = format!("node {node} of {cluster} has {diverged} bytes of log that nobody else has");
            let body = format!(
                "It stands apart since {} ago. They are given up as it is made a standby again; copy its data directory \
                 first if you need them.",
                write_duration(turn.now.mono.saturating_sub(since.mono) / 1_000 * 1_000)
            );
            let key = format!("diverged/{cluster}/{node}/{}", since.mono);
            self.tell(turn, service, &key, Severity::Warning, &subject, &body);
        }
    }

    /// Where the primary left the history that it shares with the others.
    fn forked_at(&self, service: crate::fleet::ServiceId, primary: &str) -> Option<u64> {
        let (id, _) = self.cluster_of(service)?;
        self.clusters.watch(id).newest()?.nodes.iter().find(|node| node.id == primary)?.forked_at
    }
}

fn fact(key: &str, value: impl ToString) -> Fact {
    Fact { key: key.into(), value: value.to_string() }
}

fn simple(kind: &str, facts: Vec<Fact>) -> Proof {
    Proof { kind: kind.into(), position: None, survives_restart: true, facts }
}

fn told(facts: &[Fact]) -> String {
    facts.iter().map(|fact| format!("{} {}", fact.key, fact.value)).collect::<Vec<_>>().join(", ")
}

fn done(run: &Run) -> impl Iterator<Item = &Step> {
    run.steps.iter().filter(|step| step.state.status == StepStatus::Done)
}

/// What stopping a node has proven.
pub(crate) fn fence_proof(run: &Run, node: &str) -> Option<Proof> {
    let step = done(run).find(|step| matches!(&step.action, Action::Fence { node: of, .. } if of == node))?;
    serde_json::from_str(step.state.receipt.as_ref()?).ok()
}

fn fence_given_up(run: &Run, node: &str) -> bool {
    let of_node = |step: &&Step| matches!(&step.action, Action::Fence { node: of, .. } if of == node);
    let given_up = |status| matches!(status, StepStatus::Failed | StepStatus::Unknown | StepStatus::Skipped);
    run.steps.iter().find(of_node).is_none_or(|step| given_up(step.state.status) && step.state.due.is_none())
}

impl Run {
    /// Nothing but a person's word says that the old primary acknowledges no write any more.
    pub fn rests_on_a_word(&self) -> bool {
        let proof = self.data.as_ref().and_then(|data| proven(self, &data.from));
        proof.is_some_and(|proof| proof.kind == PERSON)
    }
}

/// The proof that a promotion rests on: the step that waited for one, else the primary's own clean stop.
pub(crate) fn proven(run: &Run, primary: &str) -> Option<Proof> {
    let stopped = fence_proof(run, primary).filter(|proof| proof.kind != ADVISORY);
    let Some(waited) = run.steps.iter().find(|step| matches!(step.action, Action::AwaitProof { .. })) else {
        return stopped;
    };
    match waited.state.status {
        // What was skipped or confirmed is a person's word.
        StepStatus::Done | StepStatus::Skipped => {
            let noted = waited.state.receipt.as_ref().and_then(|receipt| serde_json::from_str(receipt).ok());
            stopped.or(noted).or_else(|| Some(simple(PERSON, vec![fact("said", &waited.state.text)])))
        }
        _ => None,
    }
}

pub(crate) fn proven_at(run: &Run) -> Option<Millis> {
    let waited = run.steps.iter().find(|step| matches!(step.action, Action::AwaitProof { .. }))?;
    waited.state.ended.map(|ended| ended.mono)
}

/// Standbys whose positions this run has made final.
fn detached(run: &Run) -> impl Iterator<Item = &str> {
    done(run).filter_map(|step| match &step.action {
        Action::Detach { node, .. } => Some(node.as_str()),
        _ => None,
    })
}

/// Enough of the set are at hand for one of them to have every commit. Who was detached and did not say how far it had come is not at
/// hand: nobody can catch up with it.
pub(crate) fn has_quorum(run: &Run, set: &SyncSet) -> bool {
    let nodes = positions(run).map(|cluster| cluster.nodes).unwrap_or_default();
    let counts = |node: &&str| set.nodes.iter().any(|member| member == node) && is_read(&nodes, node);
    let here = detached(run).filter(counts).count();
    here + set.wait_for as usize > set.nodes.len()
}

/// The newest reading of all positions in this run.
fn positions(run: &Run) -> Option<Cluster> {
    let step = done(run).filter(|step| matches!(step.action, Action::ReadPositions { .. })).last()?;
    serde_json::from_str(step.state.receipt.as_ref()?).ok()
}

/// It has said how far it has come.
fn is_read(nodes: &[Node], name: &str) -> bool {
    nodes.iter().any(|node| node.id == name && rank(node).is_some())
}

fn rank(node: &Node) -> Option<(u64, u64)> {
    Some((node.timeline?, node.received.max(node.replayed)?))
}

/// The detached standby that has come furthest.
fn most_advanced(run: &Run) -> Option<String> {
    let here: Vec<&str> = detached(run).collect();
    let nodes =
        positions(run)?.nodes.into_iter().filter(|node| node.role == Role::Replica && here.contains(&node.id.as_str()));
    nodes.filter_map(|node| Some((rank(&node)?, node.id))).max().map(|(_, id)| id)
}

/// How far a node has come: after it has caught up, as far as the one that it caught up with.
pub(crate) fn position(run: &Run, node: &str) -> Option<u64> {
    let caught_up = done(run).any(|step| matches!(&step.action, Action::CatchUp { node: of, .. } if of == node));
    let source = if caught_up { most_advanced(run) } else { None }.unwrap_or_else(|| node.to_owned());
    let nodes = positions(run)?.nodes;
    nodes.iter().find(|node| node.id == source).and_then(rank).map(|(_, received)| received)
}
