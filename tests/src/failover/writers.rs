//! Clients that write numbered rows and note every acknowledgement: one that roams to whichever node takes writes, and one pinned to
//! each node, so that a second node that acknowledges is seen if there is one.
//!
//! A row whose answer was cut off is neither acknowledged nor written again: the next one has the next number.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, Config, NoTls};

use super::acks::Ack;
use crate::network::Network;

/// Number of the writer that roams; those that are pinned follow in the order of the nodes.
pub const ROAMING: usize = 0;

/// A client gives up on an answer after this, and on a connection.
const ANSWER: Duration = Duration::from_millis(400);
const CONNECT: Duration = Duration::from_millis(250);
/// Between two rows.
const PACE: Duration = Duration::from_millis(5);
/// After a refusal.
const AGAIN: Duration = Duration::from_millis(20);

/// Every writer at work, until it is stopped.
pub struct Writers {
    acks: Arc<Mutex<Vec<Ack>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Writers {
    /// `nodes` are connection strings. Who is pinned to a node that stands apart stands beside it.
    pub fn start(nodes: &[String], network: &Network) -> Writers {
        let acks = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = vec![tokio::spawn(write(nodes.to_vec(), None, ROAMING, acks.clone()))];
        for at in 0..nodes.len() {
            let there = network.clients(at).map_or_else(Handle::current, |runtime| runtime.handle().clone());
            tasks.push(there.spawn(write(nodes.to_vec(), Some(at), at + 1, acks.clone())));
        }
        Writers { acks, tasks }
    }

    /// All acknowledgements so far.
    pub fn acks(&self) -> Vec<Ack> {
        self.acks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the roaming writer has an acknowledgement by another node than this one.
    pub async fn await_other(&self, node: usize, patience: Duration) -> Result<Ack> {
        self.await_ack(patience, |ack| ack.node != node).await.context("no other node took writes")
    }

    /// Waits until the roaming writer has an acknowledgement by this node.
    pub async fn await_from(&self, node: usize, patience: Duration) -> Result<Ack> {
        self.await_ack(patience, |ack| ack.node == node).await.context("the primary took no writes")
    }

    async fn await_ack(&self, patience: Duration, so: impl Fn(&Ack) -> bool) -> Result<Ack> {
        let begun = Instant::now();
        loop {
            let found = self.acks().into_iter().rev().find(|ack| ack.writer == ROAMING && ack.at > begun && so(ack));
            if let Some(ack) = found {
                return Ok(ack);
            }
            anyhow::ensure!(begun.elapsed() < patience, "waited for {} s", patience.as_secs());
            sleep(AGAIN).await;
        }
    }

    /// No more rows; everything that was acknowledged.
    pub async fn stop(self) -> Vec<Ack> {
        for task in &self.tasks {
            task.abort();
        }
        for task in self.tasks {
            // Stopped is what it was meant to be.
            let _ = task.await;
        }
        Arc::try_unwrap(self.acks)
            .map(|acks| acks.into_inner().unwrap_or_else(PoisonError::into_inner))
            .unwrap_or_default()
    }
}

/// The table that they write to, empty: each of them begins with the first row.
pub async fn create_table(node: &str) -> Result<()> {
    let client = connect(node).await.context("connect to create the table")?;
    let table = "CREATE TABLE IF NOT EXISTS written (writer bigint, row bigint, PRIMARY KEY (writer, row)); \
                 TRUNCATE written";
    client.batch_execute(table).await.context("create the table")
}

/// Every row that a node has.
pub async fn found(node: &str) -> Result<BTreeSet<(usize, i64)>> {
    let client = connect(node).await.context("connect to count the rows")?;
    let rows = client.query("SELECT writer, row FROM written", &[]).await.context("count the rows")?;
    Ok(rows.iter().map(|row| (usize::try_from(row.get::<_, i64>(0)).unwrap_or_default(), row.get(1))).collect())
}

async fn write(nodes: Vec<String>, pinned: Option<usize>, writer: usize, acks: Arc<Mutex<Vec<Ack>>>) {
    let (mut row, mut node) = (0_i64, pinned.unwrap_or(0));
    loop {
        if let Ok(Ok(client)) = timeout(CONNECT, connect(&nodes[node])).await
            && (pinned.is_some() || leads(&client).await)
        {
            while insert(&client, writer, row).await {
                let ack = Ack { at: Instant::now(), node, writer, row };
                acks.lock().unwrap_or_else(PoisonError::into_inner).push(ack);
                row += 1;
                sleep(PACE).await;
            }
            row += 1;
        }
        if pinned.is_none() {
            node = (node + 1) % nodes.len();
        }
        sleep(AGAIN).await;
    }
}

async fn leads(client: &Client) -> bool {
    let asked = timeout(ANSWER, client.query_one("SELECT NOT pg_is_in_recovery()", &[])).await;
    matches!(asked, Ok(Ok(row)) if row.get(0))
}

async fn insert(client: &Client, writer: usize, row: i64) -> bool {
    let writer = i64::try_from(writer).unwrap_or_default();
    let done = timeout(ANSWER, client.execute("INSERT INTO written VALUES ($1, $2)", &[&writer, &row])).await;
    matches!(done, Ok(Ok(1)))
}

async fn connect(node: &str) -> Result<Client> {
    let (client, connection) = node.parse::<Config>()?.connect(NoTls).await?;
    // How it ends is seen by whoever asks next.
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}
