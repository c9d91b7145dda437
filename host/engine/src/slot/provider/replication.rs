//! What a database's provider is asked: how its clusters are, and what is done to a node of one.
//!
//! Looks and changes have bulkheads of their own for each cluster: a cluster that hangs starves no other, and while a
//! node is rebuilt for minutes its cluster is still looked at. Does not know when either is due.

use super::{Call, ContractCall, ProviderSlot};
use crate::provider::Work;
use tidegate_kernel::contract::{Cluster, Failure, Proof, SyncSet};

/// One change of one cluster: the arguments as the guest takes them, and the answer as the kernel does.
macro_rules! change {
    ($slot:ident, $method:ident, $name:literal, $cluster:ident, $call:ident, $($argument:expr),*) => {{
        let (cluster, control) = ($cluster.to_owned(), $call.clone());
        let key = format!("{cluster}/control");
        ask!($slot, $slot.control($name, &key, $call), Work::Replication(_, work) => |store| {
            let done = work.$method(store, &cluster, $($argument,)* &control.into()).await?;
            Ok(done.map(Into::into).map_err(Failure::from))
        })
    }};
}

impl ProviderSlot {
    /// A database cluster, as the provider sees it now.
    pub async fn topology(&self, cluster: &str) -> Result<Cluster, Failure> {
        let name = cluster.to_owned();
        let call: Call<'_> = self.call("replication.topology", cluster, None);
        ask!(self, call, Work::Replication(replication, _) => |store| {
            Ok(replication.call_topology(store, &name).await?.map(Into::into).map_err(Into::into))
        })
    }

    /// Keeps a node from acknowledging writes, and says how that is known.
    pub async fn fence(&self, cluster: &str, node: &str, call: &ContractCall) -> Result<Proof, Failure> {
        let node = node.to_owned();
        change!(self, call_fence, "replication-control.fence", cluster, call, &node)
    }

    /// Lets a fenced node take writes again.
    pub async fn unfence(&self, cluster: &str, node: &str, call: &ContractCall) -> Result<(), Failure> {
        let node = node.to_owned();
        change!(self, call_unfence, "replication-control.unfence", cluster, call, &node)
    }

    /// Stops a replica from receiving, so that its position is final.
    pub async fn detach(&self, cluster: &str, node: &str, call: &ContractCall) -> Result<(), Failure> {
        let node = node.to_owned();
        change!(self, call_detach, "replication-control.detach", cluster, call, &node)
    }

    /// Brings a node to where `source` is.
    pub async fn catch_up(&self, cluster: &str, node: &str, source: &str, call: &ContractCall) -> Result<(), Failure> {
        let (node, source) = (node.to_owned(), source.to_owned());
        change!(self, call_catch_up, "replication-control.catch-up", cluster, call, &node, &source)
    }

    /// Makes a replica the primary.
    pub async fn promote(&self, cluster: &str, node: &str, call: &ContractCall) -> Result<(), Failure> {
        let node = node.to_owned();
        change!(self, call_promote, "replication-control.promote", cluster, call, &node)
    }

    /// Makes a node follow `primary`, giving up what never reached it.
    pub async fn rejoin(&self, cluster: &str, node: &str, primary: &str, call: &ContractCall) -> Result<(), Failure> {
        let (node, primary) = (node.to_owned(), primary.to_owned());
        change!(self, call_rejoin, "replication-control.rejoin", cluster, call, &node, &primary)
    }

    /// Says which replicas a commit on a node waits for.
    pub async fn set_synchronous(
        &self,
        cluster: &str,
        node: &str,
        set: &SyncSet,
        call: &ContractCall,
    ) -> Result<(), Failure> {
        let (node, set) = (node.to_owned(), set.clone().into());
        change!(self, call_set_synchronous, "replication-control.set-synchronous", cluster, call, &node, &set)
    }

    /// Asks the data itself: one answer for each check, in order.
    pub async fn verify(
        &self,
        cluster: &str,
        node: &str,
        checks: &[String],
        call: &ContractCall,
    ) -> Result<Vec<String>, Failure> {
        let (node, checks, asked) = (node.to_owned(), checks.to_vec(), checks.len());
        let answers: Vec<String> =
            change!(self, call_verify, "replication-control.verify", cluster, call, &node, &checks)?;
        if answers.len() == asked {
            return Ok(answers);
        }
        Err(Failure::UnknownOutcome(format!("the provider answered {} of {asked} checks", answers.len())))
    }
}
