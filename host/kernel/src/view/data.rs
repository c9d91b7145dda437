//! What a plan means for a database: who leads before and after, what may be lost, and how the old primary's end could be
//! proven. Changes nothing; whether an enforcer is armed is the shell's to say.

use crate::event::Moment;
use crate::fleet::{Cluster, STOP};
use crate::guard::{Kind, Proposal};
use crate::kernel::Kernel;
use crate::state::ClusterState;
use crate::view::{DataPlan, ProofView};

impl Kernel {
    /// None for a service without a database, and for what moves none.
    pub(super) fn data_plan(&self, proposal: &Proposal, now: Moment) -> Option<DataPlan> {
        let (_, cluster) = self.cluster_of(proposal.service).filter(|_| proposal.kind.changes_place())?;
        let held = self.held(&cluster.name);
        let leads = held.map(|held| held.primary.clone());
        let to = proposal.promote.first().cloned();
        Some(DataPlan {
            cluster: cluster.name.clone(),
            synchronous: cluster.wait_for,
            proofs: leads.as_deref().map_or_else(Vec::new, |primary| self.proofs(proposal, cluster, primary)),
            loss: self.data_loss(proposal, held, now),
            from: leads,
            to,
        })
    }

    /// What a move may lose of the data, as far as anybody can tell now.
    fn data_loss(&self, proposal: &Proposal, held: Option<&ClusterState>, now: Moment) -> String {
        let (Some(to), Some(held)) = (proposal.promote.first(), held) else {
            return "nobody knows: no node of its data can be named".into();
        };
        let from = &held.primary;
        if proposal.kind != Kind::FailOver {
            return format!("no data: {to} leads only once it has all that {from} has");
        }
        if self.keeps_all(proposal, now) {
            return format!(
                "no acknowledged data: enough of the synchronous standbys answer, and {to} gets all of theirs"
            );
        }
        let until_proof = self.cluster_of(proposal.service).map_or(0, |(_, cluster)| cluster.until_proof());
        let contact = self.clusters_contact(proposal);
        match (self.bound_of(proposal, now), contact) {
            (Some(bound), Some(at)) => {
                let silent = now.mono.saturating_sub(at.mono);
                let behind = bound.saturating_sub(silent).saturating_sub(until_proof);
                let more = match until_proof {
                    0 => format!("more for as long as nothing proves that {from} acknowledges no more"),
                    lease => format!("and it may acknowledge for {lease} ms more until its lease is over"),
                };
                format!(
                    "up to {bound} ms of data: {from} last answered {silent} ms ago, {to} was {behind} ms behind then, {more}"
                )
            }
            _ => format!(
                "nobody knows how much: {from} was not seen to answer since this host started, or {to} did not say how far behind it was"
            ),
        }
    }

    fn clusters_contact(&self, proposal: &Proposal) -> Option<Moment> {
        let (id, _) = self.cluster_of(proposal.service)?;
        self.clusters.watch(id).contact()
    }

    /// Every way in which the old primary's end could be proven, and whether it is open at all.
    fn proofs(&self, proposal: &Proposal, cluster: &Cluster, primary: &str) -> Vec<ProofView> {
        let mut proofs = vec![stop_proof(cluster, primary)];
        if proposal.kind != Kind::FailOver {
            return proofs;
        }
        proofs.push(self.quorum_proof(cluster, primary));
        proofs.push(lease_proof(cluster, primary));
        if proposal.accept_loss.is_some() {
            let text = "whoever ordered it accepted a loss, if the node cannot be stopped and no lease is known".into();
            proofs.push(ProofView { kind: "person".into(), open: true, text });
        }
        proofs
    }

    fn quorum_proof(&self, cluster: &Cluster, primary: &str) -> ProofView {
        let published =
            self.held(&cluster.name).and_then(|held| held.published.as_ref()).filter(|set| set.wait_for > 0);
        let (open, text) = match published {
            Some(set) => {
                let enough = (set.nodes.len() + 1).saturating_sub(set.wait_for as usize);
                let (all, names) = (set.nodes.len(), set.nodes.join(", "));
                (true, format!("{enough} of the {all} synchronous standbys ({names}) leave {primary}"))
            }
            None if cluster.wait_for == 0 => {
                (false, "its commits wait for nobody: a standby's leaving proves nothing".into())
            }
            None => (false, "it is not known whose word its commits wait for".into()),
        };
        ProofView { kind: "standby-quorum".into(), open, text }
    }
}

fn stop_proof(cluster: &Cluster, primary: &str) -> ProofView {
    let command = cluster.node(primary).and_then(|node| node.commands.get(STOP));
    let (open, text) = match command {
        Some(name) => (true, format!("the agent at its site stops {primary} by the command {name}, if it answers")),
        None => (false, format!("no command is declared that stops {primary}")),
    };
    ProofView { kind: "stopped".into(), open, text }
}

fn lease_proof(cluster: &Cluster, primary: &str) -> ProofView {
    let (open, text) = if cluster.wait_for > 0 {
        (false, "only asynchronous clusters have leases".to_owned())
    } else {
        let after = format!("about {} ms after it was renewed for the last time", cluster.until_proof());
        (true, format!("the lease of {primary} ends {after}, if an armed enforcer holds that node"))
    };
    ProofView { kind: "lease".into(), open, text }
}
