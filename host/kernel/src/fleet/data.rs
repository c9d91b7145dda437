//! What a service's database can keep, by the fleet file alone: which loss it survives, by which proof, and what it promises
//! in vain.
//!
//! Knows no provider and no running host: whether an enforcer is armed, or a standby in step, is seen only there.

use std::collections::BTreeSet;

use super::check::{Finding, warning};
use super::clusters::STOP;
use super::duration::write_duration;
use super::problem::Level;
use super::{Cluster, ClusterNode, Fleet, Service, SiteId};
use crate::contract::{Autonomy, Millis, Strategy};

/// Until a standby is sure to hear its primary no more: that is written to once a second.
const UNHEARD: Millis = 2_500;
/// Fewer agents cannot outvote the one that holds a lease.
const AGENTS: usize = 3;

/// A service and its database.
pub(super) struct Data<'a> {
    fleet: &'a Fleet,
    service: &'a Service,
    cluster: &'a Cluster,
}

impl<'a> Data<'a> {
    pub(super) fn of(fleet: &'a Fleet, service: &'a Service) -> Option<Data<'a>> {
        Some(Data { fleet, service, cluster: &fleet.clusters[service.cluster?.at()] })
    }

    /// By which proof it would be promoted at one of `to` once `gone` is lost; or why a person would be asked.
    pub(super) fn proof(&self, gone: &BTreeSet<SiteId>, to: SiteId, domains: u32) -> Result<String, String> {
        let site = &self.fleet.sites[to.at()].name;
        if domains < 3 {
            return Err("data moves by itself only where three failure domains look".to_owned());
        }
        if !self.cluster.nodes.iter().any(|node| node.site == to && node.priority > 0) {
            return Err(format!("no node of {} at {site} may be promoted", self.cluster.name));
        }
        if self.cluster.wait_for > 0 { self.quorum_proof(gone) } else { self.lease_proof(gone) }
    }

    fn quorum_proof(&self, gone: &BTreeSet<SiteId>) -> Result<String, String> {
        let (all, wait_for) = (self.cluster.nodes.len().saturating_sub(1), self.cluster.wait_for as usize);
        let left = self.nodes_left(gone);
        let text = format!("{left} of {all} standbys would be left, and a commit waits for {wait_for}");
        if left + wait_for > all {
            return Ok(format!("by standby quorum: {text}"));
        }
        Err(format!("{text}: one that is lost might have what these have not"))
    }

    fn lease_proof(&self, gone: &BTreeSet<SiteId>) -> Result<String, String> {
        if self.service.objectives.rpo < self.least_loss() {
            return Err(self.too_little());
        }
        if self.peers() < AGENTS {
            return Err(self.no_lease());
        }
        let agents = || self.fleet.vantages.iter().filter(|vantage| vantage.token.is_some());
        let (left, all) = (agents().filter(|agent| !gone.contains(&agent.site)).count(), agents().count());
        if 2 * left <= all {
            return Err(format!(
                "{left} of {all} agents would be left: a lease could still be confirmed by the others"
            ));
        }
        Ok("by the end of the site's lease, if the agent there holds the node (`tidegate agent --hold`)".to_owned())
    }

    fn nodes_left(&self, gone: &BTreeSet<SiteId>) -> usize {
        self.cluster.nodes.iter().filter(|node| !gone.contains(&node.site)).count()
    }

    /// What an asynchronous primary may acknowledge between the last that anybody has of it and the proof of its end.
    fn least_loss(&self) -> Millis {
        self.cluster.interval + UNHEARD + self.cluster.until_proof()
    }

    fn too_little(&self) -> String {
        let (rpo, least) = (write_duration(self.service.objectives.rpo), write_duration(self.least_loss()));
        format!(
            "its rpo is {rpo}, and without synchronous standbys up to {least} are lost until a crash is seen and proven"
        )
    }

    fn no_lease(&self) -> String {
        format!("{} agents answer each other (peers-listen), and a lease needs {AGENTS}", self.peers())
    }

    fn peers(&self) -> usize {
        self.fleet.vantages.iter().filter(|vantage| vantage.peers_listen.is_some()).count()
    }

    fn domain(&self, site: SiteId) -> &'a str {
        &self.fleet.sites[site.at()].failure_domain
    }

    /// Everything that it promises in vain.
    pub(super) fn findings(&self, findings: &mut Vec<Finding>) {
        if self.service.strategy == Strategy::ActiveActive {
            findings.push(self.never_shared());
        }
        let checks = [Self::alone, Self::together, Self::promises, Self::set, Self::stops, Self::leases, Self::watched];
        findings.extend(checks.iter().filter_map(|check| check(self)));
    }

    fn found(&self, code: &str, what: String, todo: &str) -> Option<Finding> {
        Some(warning(code, &self.service.name, what, todo))
    }

    /// Data has one primary: other shares would move nothing of it.
    fn never_shared(&self) -> Finding {
        Finding {
            severity: Level::Error,
            code: "data-not-shared".to_owned(),
            about: self.service.name.clone(),
            what: format!(
                "is active-active, and its data {} has one primary: no shift of traffic is allowed",
                self.cluster.name
            ),
            todo: "make it active-passive, or give the data to a service of its own that this one depends on"
                .to_owned(),
        }
    }

    fn alone(&self) -> Option<Finding> {
        if self.cluster.nodes.len() > 1 {
            return None;
        }
        let what = format!("its data {} has one node: its loss is the loss of the data", self.cluster.name);
        self.found("one-node", what, "declare standbys at other sites")
    }

    fn together(&self) -> Option<Finding> {
        let domains: BTreeSet<&str> = self.cluster.nodes.iter().map(|node| self.domain(node.site)).collect();
        let [domain] = domains.into_iter().collect::<Vec<_>>()[..] else { return None };
        if self.cluster.nodes.len() < 2 {
            return None;
        }
        let what =
            format!("all nodes of {} stand in failure domain {domain}: they are lost together", self.cluster.name);
        self.found("nodes-together", what, "declare a node in another failure domain")
    }

    fn promises(&self) -> Option<Finding> {
        if self.cluster.wait_for > 0 || self.service.objectives.rpo >= self.least_loss() {
            return None;
        }
        let what = format!("a person is asked at every crash: {}", self.too_little());
        let todo = format!("set synchronous = 1 in [cluster.{}], or promise an rpo of more", self.cluster.name);
        self.found("rpo-out-of-reach", what, &todo)
    }

    /// A set that cannot do without one of its nodes stops writes, or cannot be moved.
    fn set(&self) -> Option<Finding> {
        let (standbys, wait_for) = (self.cluster.nodes.len().saturating_sub(1), self.cluster.wait_for as usize);
        if wait_for == 0 || standbys == 0 {
            return None;
        }
        if wait_for == standbys {
            let what = format!("a commit waits for each of its {standbys} standbys: the loss of one stops all writes");
            return self.found("no-standby-to-spare", what, "declare one standby more, or wait for fewer");
        }
        let home = self.cluster.nodes.iter().find(|node| node.site == self.service.active_at_start)?;
        let lost = self.domain(home.site);
        let left = self.cluster.nodes.iter().filter(|node| self.domain(node.site) != lost).count();
        if left + wait_for > standbys {
            return None;
        }
        let what = format!(
            "with {lost} {} of its {} nodes are lost: {left} of {standbys} standbys left rule out no loss where a commit waits \
             for {wait_for}",
            self.cluster.nodes.len() - left,
            self.cluster.nodes.len()
        );
        self.found("set-lost-with-site", what, "spread the nodes over more failure domains, or wait for more of them")
    }

    fn stops(&self) -> Option<Finding> {
        let cannot = |node: &&ClusterNode| !node.commands.contains_key(STOP);
        let names: Vec<&str> = self.cluster.nodes.iter().filter(cannot).map(|node| node.name.as_str()).collect();
        if names.is_empty() {
            return None;
        }
        let other = if self.cluster.wait_for > 0 { "its standbys' quorum" } else { "the end of its lease" };
        let what = format!(
            "no command stops {}: only {other} proves its end, and no planned move is possible",
            names.join(", ")
        );
        self.found("no-stop-command", what, "declare commands = { stop = \"…\" } for each node, and the [command.…]")
    }

    fn leases(&self) -> Option<Finding> {
        if self.cluster.wait_for > 0 || self.peers() >= AGENTS {
            return None;
        }
        let what = format!("a person is asked when a whole site is lost: {}", self.no_lease());
        self.found("no-lease", what, "give three agents a peers-listen, or set synchronous = 1")
    }

    fn watched(&self) -> Option<Finding> {
        let domains: BTreeSet<&str> =
            self.fleet.vantages.iter().map(|vantage| vantage.failure_domain.as_str()).collect();
        if domains.len() >= 3 || self.service.failover == Autonomy::Manual {
            return None;
        }
        let what =
            format!("{} failure domains look at it, and data moves by itself only where three do", domains.len());
        self.found("data-needs-three-domains", what, "run agents at sites in three failure domains")
    }
}
