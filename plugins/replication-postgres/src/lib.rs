//! Glue between the contract's world `replication-provider` and the parts beside it.
//!
//! README.md is the operator's manual. Speaks to PostgreSQL servers and asks for commands; decides nothing.

pub mod commands;
pub mod connection;
pub mod fence;
pub mod follow;
pub mod hand;
pub mod host;
pub mod look;
pub mod names;
pub mod promote;
pub mod pulse;
pub mod ready;
pub mod secured;
pub mod sessions;
pub mod settings;
pub mod topology;
pub mod transport;
pub mod trouble;
pub mod verify;
pub mod wire;

use std::collections::BTreeMap;

use tidegate_sdk::{
    Call, Cluster, Declared, Fact, Failure, NoSettings, Problem, Proof, Provider, Replication, SyncSet, Want,
};

use crate::hand::{Hand, Watched};
use crate::host::{Granted, Host};
use crate::settings::Declaration;

tidegate_sdk::replication_provider!(ReplicationPostgres);

/// The provider: every cluster that the fleet file declares for it, and the connections to their nodes.
pub struct ReplicationPostgres {
    clusters: BTreeMap<String, Watched>,
    host: Box<dyn Host>,
}

impl Provider for ReplicationPostgres {
    type Settings = NoSettings;

    fn wants() -> Vec<Want> {
        vec![Want::Connect("tcp://*:*".to_owned()), Want::Secret("*".to_owned()), Want::Command("*".to_owned())]
    }

    fn configure(_: NoSettings, declared: Declared) -> Result<Self, Vec<Problem>> {
        Self::with_host(&declared, Box::new(Granted))
    }

    fn ready(&self, name: &str) -> Result<Vec<Fact>, Failure> {
        ready::ready(self.cluster(name)?, self.host.as_ref())
    }
}

impl Replication for ReplicationPostgres {
    /// Every node is asked, all at once; one that does not answer keeps no other from answering.
    fn topology(&self, name: &str) -> Result<Cluster, Failure> {
        let cluster = self.cluster(name)?;
        let dial = cluster.dial(self.host.as_ref())?;
        let mut sessions = cluster.sessions.borrow_mut();
        let mut seen = sessions::look(&mut sessions, &dial, &cluster.declaration);
        let primary = topology::primary(&seen);
        for (at, (session, seen)) in sessions.iter_mut().zip(&mut seen).enumerate() {
            let writes = Some(at) == primary && seen.look.as_ref().is_ok_and(|look| !look.read_only);
            if writes {
                seen.write_failed = session.pulse.beat(&session.place, &dial);
            } else {
                session.pulse.stop();
            }
        }
        Ok(topology::cluster(name, &cluster.declaration, &seen))
    }

    fn fence(&self, cluster: &str, node: &str, call: &Call) -> Result<Proof, Failure> {
        fence::fence(&self.hand(cluster, call)?, node)
    }

    fn unfence(&self, cluster: &str, node: &str, call: &Call) -> Result<(), Failure> {
        fence::unfence(&self.hand(cluster, call)?, node)
    }

    fn detach(&self, cluster: &str, node: &str, call: &Call) -> Result<(), Failure> {
        follow::detach(&self.hand(cluster, call)?, node)
    }

    fn catch_up(&self, cluster: &str, node: &str, source: &str, call: &Call) -> Result<(), Failure> {
        follow::catch_up(&self.hand(cluster, call)?, node, source)
    }

    fn promote(&self, cluster: &str, node: &str, call: &Call) -> Result<(), Failure> {
        promote::promote(&self.hand(cluster, call)?, node)
    }

    fn rejoin(&self, cluster: &str, node: &str, primary: &str, call: &Call) -> Result<(), Failure> {
        follow::rejoin(&self.hand(cluster, call)?, node, primary)
    }

    fn set_synchronous(&self, cluster: &str, node: &str, set: SyncSet, call: &Call) -> Result<(), Failure> {
        promote::set_synchronous(&self.hand(cluster, call)?, node, &set)
    }

    fn verify(&self, cluster: &str, node: &str, checks: &[String], call: &Call) -> Result<Vec<String>, Failure> {
        verify::verify(&self.hand(cluster, call)?, node, checks)
    }
}

impl ReplicationPostgres {
    /// With a host of one's own, as tests have it.
    pub fn with_host(declared: &Declared, host: Box<dyn Host>) -> Result<Self, Vec<Problem>> {
        let watched = |(name, declaration): (String, Declaration)| {
            let cluster = Watched::new(&name, declaration);
            (name, cluster)
        };
        Ok(ReplicationPostgres { clusters: declared.parse()?.into_iter().map(watched).collect(), host })
    }

    fn cluster(&self, name: &str) -> Result<&Watched, Failure> {
        self.clusters.get(name).ok_or_else(|| Failure::NotFound(format!("no cluster {name} is declared")))
    }

    fn hand<'a>(&'a self, cluster: &str, call: &'a Call) -> Result<Hand<'a>, Failure> {
        Hand::new(self.cluster(cluster)?, self.host.as_ref(), call)
    }
}
