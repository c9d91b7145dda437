//! The chapter on data: the primary of a real PostgreSQL is killed under a client that writes, and nothing that it was told is lost.

use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{DOOMED, PATIENCE, Story, millis, moving_decision, state, until};
use crate::demo::fleet;
use crate::demo::postgres::Postgres;
use crate::demo::read::{self, moving_run};
use crate::demo::report::Database;
use crate::demo::stage::{SITES, site_address};
use crate::demo::writer::{self, Ack, Writer};

/// The service with the data.
const ORDERS: &str = "orders";
/// Rows that the client has to have before anything happens, and from whoever leads afterwards.
const ROWS: usize = 50;

impl Story {
    /// Tells it with PostgreSQL if there is one, and says in a line if there is none.
    pub(super) async fn lose_database(&mut self) -> Result<()> {
        match Postgres::find(self.stage.directory.join("postgres.log")).await {
            Ok(servers) => self.lose_primary(servers).await,
            Err(why) => {
                self.show.chapter(&format!("No database: PostgreSQL cannot be used here: {why:#}"));
                Ok(())
            }
        }
    }

    async fn lose_primary(&mut self, servers: Postgres) -> Result<()> {
        let version = servers.version.clone();
        self.show
            .chapter(&format!("The database at {DOOMED} is killed: PostgreSQL {version} under a client that writes"));
        let servers = self.database.insert(servers);
        servers.start().await.context("start PostgreSQL")?;
        servers.ask(DOOMED, writer::TABLE).await.context("create a table")?;
        self.stage.declare(&fleet::database(ORDERS, servers.port), &servers.password)?;
        self.until_movable().await?;
        self.good("the host took over a fleet file with it: a commit waits for one of two standbys");
        let servers = self.database.as_ref().context("PostgreSQL is gone")?;
        let writer = Writer::start(servers);
        until_rows(&writer, &site_address(DOOMED).to_string(), true).await?;
        let killed = Instant::now();
        self.script.database_lost(ORDERS);
        servers.kill(DOOMED)?;
        until_rows(&writer, &site_address(DOOMED).to_string(), false).await?;
        self.until_moved().await?;
        let acks = writer.stop().await;
        self.count_rows(version, &acks, killed).await
    }

    /// Nothing stands in the way of a move.
    async fn until_movable(&self) -> Result<()> {
        until(PATIENCE, "the host to see the database, and that it could be moved", async || {
            let status = self.stage.ask(&["status"]).await?;
            let orders = read::service(&status, ORDERS).context("the host has no orders yet")?;
            let works = orders["places"].as_array().is_some_and(|places| places.iter().all(is_healthy));
            Ok((works && leads(orders) == Some(DOOMED) && state(&status, ORDERS) == Some("normal")).then_some(()))
        })
        .await
    }

    async fn until_moved(&self) -> Result<()> {
        until(PATIENCE, "the move of the database to end", async || {
            let status = self.stage.ask(&["status"]).await?;
            Ok((state(&status, ORDERS) == Some("failed-over")).then_some(()))
        })
        .await
    }

    /// What the client counted, and what the host says of it.
    async fn count_rows(&mut self, version: String, acks: &[Ack], killed: Instant) -> Result<()> {
        let status = self.stage.ask(&["status"]).await?;
        let leads = read::service(&status, ORDERS).and_then(leads).context("nobody leads the database")?.to_owned();
        let servers = self.database.as_ref().context("PostgreSQL is gone")?;
        let rows = servers.ask(&leads, "SELECT number FROM written").await.context("count the rows")?;
        let records = self.stage.records(ORDERS).await?;
        let (_, decision) =
            moving_decision(&records, ORDERS).context("the journal has no verdict that moved orders")?;
        let reasons: Vec<&str> = decision.reasons.iter().map(|reason| reason.text.as_str()).collect();
        let verdict = decision.verdict.name();
        self.good(&format!("verdict {verdict}: {}", reasons.join("; ")));
        let proof = self.proof().await?;
        let (outage_ms, lost) = (millis(writer::outage(acks, killed)), writer::lost(acks, &rows)?);
        let database = Database { version, outage_ms, acknowledged: acks.len(), lost, proof, leads };
        self.report.database = Some(database.clone());
        let Database { acknowledged, leads, .. } = database;
        self.claim(
            leads != DOOMED,
            &format!("{leads} leads; the client went {outage_ms} ms without an acknowledgement"),
        );
        self.claim(lost == 0, &format!("{acknowledged} rows acknowledged, {lost} of them lost"));
        Ok(())
    }

    /// The kind of proof that the promotion rested on.
    async fn proof(&self) -> Result<String> {
        let run = moving_run(&self.stage.ask(&["run", "list"]).await?, ORDERS).context("no run moved orders")?;
        let shown = self.stage.ask(&["run", "show", &run]).await?;
        let text = read::proof(&shown).context("the run tells no proof")?;
        self.good(&format!("proof that nobody else takes writes: {text}"));
        self.quote(&["run", "show", &run]).await?;
        Ok(text.split(':').next().unwrap_or(text).to_owned())
    }
}

fn is_healthy(place: &Value) -> bool {
    place["consensus"]["status"] == "healthy" && place["consensus"]["voting"] == SITES.len()
}

fn leads(service: &Value) -> Option<&str> {
    service["database"]["primary"].as_str()
}

/// Waits until enough of the newest rows were acknowledged by this server, or by another one.
async fn until_rows(writer: &Writer, server: &str, by: bool) -> Result<()> {
    let what = if by { "the client to write" } else { "another database to take writes" };
    until(PATIENCE, what, async || {
        let acks = writer.acks();
        let newest = acks.iter().rev().take_while(|ack| (ack.by == server) == by);
        Ok((newest.count() >= ROWS).then_some(()))
    })
    .await
}
