//! A client of the demonstration's database: writes numbered rows, and notes what it was told is safe, when, and by which server.
//!
//! A `psql` that is fed a row at a time and finds the server that takes writes by itself. A row whose answer was cut off is neither
//! acknowledged nor written again: the next one has the next number.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::task::JoinHandle;

use super::postgres::Postgres;
use super::stage::SITES;

/// The table that it writes to.
pub(super) const TABLE: &str = "CREATE TABLE written (number bigint PRIMARY KEY)";
/// It gives up on an answer after this, and on a connection.
const ANSWER: Duration = Duration::from_millis(500);
/// Between two rows.
const PACE: Duration = Duration::from_millis(5);
/// After a refusal.
const AGAIN: Duration = Duration::from_millis(20);

/// One acknowledged row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ack {
    pub(super) at: Instant,
    pub(super) number: u64,
    /// Address of the server that gave it.
    pub(super) by: String,
}

/// A client at work.
pub(super) struct Writer {
    acks: Arc<Mutex<Vec<Ack>>>,
    task: JoinHandle<()>,
}

impl Writer {
    /// Begins to write.
    pub(super) fn start(servers: &Postgres) -> Writer {
        let hosts: Vec<String> = SITES.iter().map(|(_, address)| address.to_string()).collect();
        let acks = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(write(servers.client(&hosts.join(",")), Arc::clone(&acks)));
        Writer { acks, task }
    }

    /// All acknowledgements so far.
    pub(super) fn acks(&self) -> Vec<Ack> {
        self.acks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes no more.
    pub(super) async fn stop(self) -> Vec<Ack> {
        self.task.abort();
        let Writer { acks, task } = self;
        // Stopped is what it was meant to be; after this nothing is added.
        drop(task.await);
        acks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The longest time between two acknowledgements in a row, if the later one came after `since`.
pub(super) fn outage(acks: &[Ack], since: Instant) -> Duration {
    let gaps = acks.windows(2).filter(|pair| pair[1].at > since).map(|pair| pair[1].at - pair[0].at);
    gaps.max().unwrap_or_default()
}

/// How many acknowledged rows are not among those that a server has, one number a line.
pub(super) fn lost(acks: &[Ack], found: &str) -> Result<usize> {
    let found: BTreeSet<u64> = found.lines().map(str::parse).collect::<Result<_, _>>().context("read the rows")?;
    Ok(acks.iter().filter(|ack| !found.contains(&ack.number)).count())
}

async fn write(mut client: Command, acks: Arc<Mutex<Vec<Ack>>>) {
    client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut next = 0;
    loop {
        // Why it ended is of no use to a client that tries again.
        drop(write_until_cut_off(&mut client, &mut next, &acks).await);
        tokio::time::sleep(AGAIN).await;
    }
}

async fn write_until_cut_off(client: &mut Command, next: &mut u64, acks: &Mutex<Vec<Ack>>) -> Result<()> {
    let mut psql = client.spawn().context("start psql")?;
    let mut asks = psql.stdin.take().context("psql takes nothing")?;
    let mut answers = BufReader::new(psql.stdout.take().context("psql says nothing")?).lines();
    loop {
        let number = *next;
        *next += 1;
        let insert = format!("INSERT INTO written VALUES ({number}) RETURNING number, host(inet_server_addr());\n");
        asks.write_all(insert.as_bytes()).await?;
        let answer = tokio::time::timeout(ANSWER, answers.next_line()).await??.context("psql ended")?;
        let at = Instant::now();
        let (told, by) = answer.split_once('|').context("psql says something else")?;
        ensure!(told.parse() == Ok(number), "psql acknowledged another row");
        acks.lock().unwrap_or_else(PoisonError::into_inner).push(Ack { at, number, by: by.to_owned() });
        tokio::time::sleep(PACE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acks(start: Instant, told: &[u64]) -> Vec<Ack> {
        let ack = |(number, ms)| Ack { at: start + Duration::from_millis(ms), number, by: String::new() };
        (0..).zip(told.iter().copied()).map(ack).collect()
    }

    #[test]
    fn an_outage_is_the_longest_silence_that_ends_after_the_kill() {
        let start = Instant::now();
        let told = acks(start, &[0, 10, 700, 1_600, 1_610]);
        assert_eq!(outage(&told, start + Duration::from_millis(705)), Duration::from_millis(900));
        assert_eq!(outage(&told, start + Duration::from_millis(1_605)), Duration::from_millis(10));
    }

    #[test]
    fn what_was_acknowledged_and_is_not_found_is_lost() {
        let told = acks(Instant::now(), &[0, 10, 20]);
        assert_eq!(lost(&told, "0\n2\n7").unwrap(), 1);
        assert_eq!(lost(&told, "").unwrap(), 3);
        assert!(lost(&told, "psql: error").is_err());
    }
}
