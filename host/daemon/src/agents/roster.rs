//! Who may speak, and by which plan each agent works: made anew from each fleet file.
//!
//! Keeps tokens only as digests, and compares a given one with all of them in the same time whichever it is.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tidegate_kernel::contract::Millis;
use tidegate_kernel::fleet::{Cluster, Fleet, Vantage, VantageId};
use tokio::sync::watch;

use super::installed::{Installed, own_vantage};
use super::post::Post;
use super::protocol::{Peers, Plan};
use super::{AgentView, plan};
use crate::commands::Declared;

/// A short token could be guessed.
const TOKEN_MIN: usize = 16;

/// All agents of one fleet file.
#[derive(Default)]
pub(super) struct Roster {
    /// In the fleet file's order.
    members: Vec<Member>,
    /// The host's own site, where no agent stands but the host itself.
    here: Option<String>,
    commands_here: BTreeMap<String, Declared>,
    components: HashMap<String, Bytes>,
    pub(super) freshness: Millis,
    pub(super) clusters: Vec<Places>,
}

/// A cluster, as far as its leases go.
pub(super) struct Places {
    pub(super) cluster: String,
    /// Asynchronous.
    pub(super) guarded: bool,
    /// Node → site.
    pub(super) sites: BTreeMap<String, String>,
}

/// One agent.
pub(super) struct Member {
    pub(super) name: Arc<str>,
    pub(super) site: Arc<str>,
    pub(super) domain: Arc<str>,
    token: Option<[u8; 32]>,
    pub(super) plan: Arc<watch::Sender<Arc<Plan>>>,
    pub(super) post: Arc<Post>,
    pub(super) peers: Option<Peers>,
}

impl Roster {
    /// From a fleet file; agents that were in `before` keep what is known of them.
    pub(super) fn new(installed: &Installed, key: &[u8], before: &Roster) -> Result<Roster> {
        let fleet = &installed.installation.fleet;
        let vantages = || fleet.vantages.iter().enumerate().map(|(at, vantage)| (VantageId(at as u16), vantage));
        let agents = vantages().filter(|(_, vantage)| vantage.token.is_some());
        let members =
            agents.map(|(id, vantage)| Member::new(installed, key, id, vantage, before)).collect::<Result<_>>()?;
        let own = own_vantage(fleet);
        let commands_here = match own {
            Some((id, _)) => Declared::all(&plan::commands(fleet, id))?,
            None => BTreeMap::new(),
        };
        let here = own.map(|_| site_name(fleet, fleet.host.site.at()));
        let freshness = fleet.host.freshness;
        let clusters = fleet.clusters.iter().map(|cluster| Places::of(fleet, cluster)).collect();
        Ok(Roster { members, here, commands_here, components: installed.components.clone(), freshness, clusters })
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.iter()
    }

    /// Whose token this is.
    pub(super) fn bearer(&self, token: &str) -> Option<&Member> {
        let given = digest(token);
        // Every token is compared, so that the time tells nothing of which one was nearly right.
        self.members.iter().fold(None, |found, member| {
            let same = member.token.is_some_and(|token| token.ct_eq(&given).into());
            if same { Some(member) } else { found }
        })
    }

    /// The agent that runs a site's commands: always the same one, so that it knows which keys it has run.
    pub(super) fn at_site(&self, site: &str) -> Option<&Member> {
        self.members.iter().find(|member| &*member.site == site)
    }

    pub(super) fn is_here(&self, site: &str) -> bool {
        self.here.as_deref() == Some(site)
    }

    pub(super) fn commands_here(&self) -> &BTreeMap<String, Declared> {
        &self.commands_here
    }

    pub(super) fn component(&self, digest: &str) -> Option<Bytes> {
        self.components.get(digest).cloned()
    }
}

impl Places {
    fn of(fleet: &Fleet, cluster: &Cluster) -> Places {
        let sites = cluster.nodes.iter().map(|node| (node.name.clone(), site_name(fleet, node.site.at())));
        Places { cluster: cluster.name.clone(), guarded: cluster.wait_for == 0, sites: sites.collect() }
    }
}

impl Member {
    fn new(installed: &Installed, key: &[u8], id: VantageId, vantage: &Vantage, before: &Roster) -> Result<Member> {
        let installation = &installed.installation;
        let slots = installed.rollouts.of_domain(&vantage.failure_domain, &installation.slots);
        let plan = Arc::new(plan::of_agent(&installation.fleet, id, &slots));
        Declared::all(&plan.commands).with_context(|| format!("commands of agent {}", vantage.name))?;
        let old = before.members.iter().find(|member| *member.name == *vantage.name);
        let sender = match old {
            Some(old) => {
                old.plan.send_if_modified(|held| {
                    held.version != plan.version && {
                        *held = plan;
                        true
                    }
                });
                old.plan.clone()
            }
            None => Arc::new(watch::Sender::new(plan)),
        };
        Ok(Member {
            name: vantage.name.as_str().into(),
            site: site_name(&installation.fleet, vantage.site.at()).into(),
            domain: vantage.failure_domain.as_str().into(),
            token: installation
                .tokens
                .get(&vantage.name)
                .map(|token| token_digest(&vantage.name, token))
                .transpose()?,
            plan: sender,
            post: old.map(|old| old.post.clone()).unwrap_or_default(),
            peers: plan::peers(&installation.fleet, id, key),
        })
    }

    /// What is known of it.
    pub(super) fn view(&self, now: Millis) -> AgentView {
        let (at, report) = self.post.heard().map_or((None, Default::default()), |(at, report)| (Some(at), report));
        AgentView {
            name: self.name.to_string(),
            site: self.site.to_string(),
            heard_ago: at.map(|at| now.saturating_sub(at)),
            sound: report.sound,
            plan_current: report.plan.as_ref() == Some(&self.plan.borrow().version),
            problems: report.problems,
            missing: report.missing,
            rewritten: report.rewritten,
            remembers: self.post.remembered(),
            counters: report.counters,
        }
    }
}

fn site_name(fleet: &Fleet, at: usize) -> String {
    fleet.sites[at].name.clone()
}

fn token_digest(agent: &str, token: &str) -> Result<[u8; 32]> {
    ensure!(
        token.trim().len() >= TOKEN_MIN,
        "the token of agent {agent} has fewer than {TOKEN_MIN} characters\n  unchanged: the agents known so far\n  \
         next: write a random one, for example from `openssl rand -hex 32`"
    );
    Ok(digest(token))
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.trim()).into()
}
