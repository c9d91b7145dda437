//! What a database's provider is asked: each call is counted, and goes to the slot that holds the provider.

use tidegate_kernel::contract::{Call, Cluster, Failure, Proof, SyncSet};

use super::Slots;

impl Slots {
    /// A cluster as it can be seen now.
    pub async fn topology(&self, slot: &str, cluster: &str) -> Result<Cluster, Failure> {
        let held = self.provider(slot)?;
        self.counted(slot, "replication.topology", held.provider()?.topology(cluster).await)
    }

    /// Stops a node from acknowledging writes, and proves it.
    pub async fn fence(&self, slot: &str, cluster: &str, node: &str, call: &Call) -> Result<Proof, Failure> {
        let held = self.provider(slot)?;
        self.counted(slot, "replication-control.fence", held.provider()?.fence(cluster, node, call).await)
    }

    /// Lifts a fence.
    pub async fn unfence(&self, slot: &str, cluster: &str, node: &str, call: &Call) -> Result<(), Failure> {
        let held = self.provider(slot)?;
        self.counted(slot, "replication-control.unfence", held.provider()?.unfence(cluster, node, call).await)
    }

    /// Makes a replica's position final.
    pub async fn detach(&self, slot: &str, cluster: &str, node: &str, call: &Call) -> Result<(), Failure> {
        let held = self.provider(slot)?;
        self.counted(slot, "replication-control.detach", held.provider()?.detach(cluster, node, call).await)
    }

    /// Lets a replica get all that `source` has.
    pub async fn catch_up(
        &self,
        slot: &str,
        cluster: &str,
        node: &str,
        source: &str,
        call: &Call,
    ) -> Result<(), Failure> {
        let held = self.provider(slot)?;
        self.counted(slot, "replication-control.catch-up", held.provider()?.catch_up(cluster, node, source, call).await)
    }

    /// Makes a replica the primary.
    pub async fn promote(&self, slot: &str, cluster: &str, node: &str, call: &Call) -> Result<(), Failure> {
        let held = self.provider(slot)?;
        self.counted(slot, "replication-control.promote", held.provider()?.promote(cluster, node, call).await)
    }

    /// Makes a node follow `primary`.
    pub async fn rejoin(
        &self,
        slot: &str,
        cluster: &str,
        node: &str,
        primary: &str,
        call: &Call,
    ) -> Result<(), Failure> {
        let held = self.provider(slot)?;
        self.counted(slot, "replication-control.rejoin", held.provider()?.rejoin(cluster, node, primary, call).await)
    }

    /// Says whose word a commit on a node waits for.
    pub async fn set_synchronous(
        &self,
        slot: &str,
        cluster: &str,
        node: &str,
        set: &SyncSet,
        call: &Call,
    ) -> Result<(), Failure> {
        let held = self.provider(slot)?;
        let done = held.provider()?.set_synchronous(cluster, node, set, call).await;
        self.counted(slot, "replication-control.set-synchronous", done)
    }

    /// Asks the data itself.
    pub async fn verify(
        &self,
        slot: &str,
        cluster: &str,
        node: &str,
        checks: &[String],
        call: &Call,
    ) -> Result<Vec<String>, Failure> {
        let held = self.provider(slot)?;
        self.counted(slot, "replication-control.verify", held.provider()?.verify(cluster, node, checks, call).await)
    }
}
