//! The story itself: one function a chapter, each of which checks what it claims.

mod database;

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use serde_json::Value;

use super::Options;
use super::postgres::Postgres;
use super::read::{active_site, all_is_well, faults, is_adrift, is_sound, moving_decision, state};
use super::report::{Report, Swap};
use super::script::Script;
use super::show::Show;
use super::stage::{CUT_OFF, DOOMED, SITES, Stage, ZONE, site_address, until};
use super::visitor::{Visitor, outage, resolve};

/// Active-passive, active-active, and the one that gets the hostile policy.
const SERVICES: [&str; 3] = ["shop", "catalog", "lab"];
/// Decisions that the policy is asked for while it is replaced.
const LOAD: u64 = 20_000;
/// How long anything may take before the story gives up on it.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// The story while it is told.
pub(super) struct Story {
    stage: Stage,
    hang: bool,
    show: Show,
    report: Report,
    script: Script,
    shop: Option<Visitor>,
    catalog: Option<Visitor>,
    /// As long as it is here, its servers run.
    database: Option<Postgres>,
}

impl Story {
    pub(super) fn begin(directory: PathBuf, options: &Options) -> Result<Story> {
        let show = Show::new(options.json);
        Ok(Story {
            stage: Stage::set(directory)?,
            hang: options.hang,
            show,
            report: Report::default(),
            script: Script::default(),
            shop: None,
            catalog: None,
            database: None,
        })
    }

    pub(super) async fn tell(&mut self) -> Result<()> {
        self.raise().await.context("raise the stage")?;
        self.cut_off().await.context("cut off one vantage point")?;
        self.die().await.context("kill a site")?;
        self.swap().await.context("replace the policy under load")?;
        self.let_loose().await.context("let a hostile plugin loose")?;
        self.come_back().await.context("bring the site back")?;
        self.lose_database().await.context("lose a database")?;
        self.prove().await.context("prove it")
    }

    /// Waits, with everything up, until the person has seen enough.
    pub(super) async fn stay(&self) -> Result<()> {
        let directory = self.stage.directory.display();
        self.show.chapter("Everything stays up. Look around, and press Ctrl-C when you have seen enough");
        self.show.fact(&format!("export TIDEGATE_HOST=unix:{directory}/state/tidegate.sock"));
        self.show.fact("tidegate status --watch");
        tokio::signal::ctrl_c().await.context("wait for Ctrl-C")
    }

    /// Ends every process and sums up.
    pub(super) async fn end(mut self, told: Result<()>) -> Report {
        self.count_calls();
        if let Err(error) = told {
            self.wrong(&format!("{error:#}"));
        }
        let Story { stage, show, mut report, database, .. } = self;
        let struck = stage.strike().await;
        if let Err(error) = struck.and(Postgres::strike(database).await) {
            show.bad(&format!("{error:#}"));
            report.wrong.push(format!("{error:#}"));
        }
        if report.happened() {
            show.chapter("All of it happened");
        } else {
            show.chapter("Not all of it happened");
            report.wrong.iter().for_each(|wrong| show.bad(wrong));
        }
        report
    }

    async fn raise(&mut self) -> Result<()> {
        self.show.chapter("Three sites, a nameserver, a host; every one a process of its own");
        self.stage.raise()?;
        for (site, address) in SITES {
            let pid = self.stage.pid(&format!("service at {site}")).unwrap_or_default();
            self.show.fact(&format!("{site:9} {address}:{}  service pid {pid}", self.stage.port));
        }
        self.show.fact(&format!("nameserver {}, zone {ZONE}", self.stage.nameserver));
        self.take_over_names().await?;
        self.shop = Some(Visitor::start(self.stage.nameserver, &format!("shop.{ZONE}"), self.stage.port));
        self.catalog = Some(Visitor::start(self.stage.nameserver, &format!("catalog.{ZONE}"), self.stage.port));
        self.good("the host decides, the names lead to their sites, two clients call every 20 ms");
        self.quote(&["status"]).await
    }

    /// The nameserver knows none of the names yet: a first write is a person's decision.
    async fn take_over_names(&mut self) -> Result<()> {
        for service in SERVICES {
            until(PATIENCE, &format!("the host to see that the name of {service} is not ours yet"), async || {
                let status = self.stage.ask(&["status"]).await?;
                Ok(is_adrift(&status, service).then_some(()))
            })
            .await?;
        }
        self.quote(&["reapply", SERVICES[0]]).await?;
        for service in SERVICES.iter().skip(1) {
            self.stage.ask(&["reapply", service]).await?;
        }
        for service in SERVICES {
            self.until_served(service, &[]).await?;
        }
        until(PATIENCE, "every vantage point to see every service well", async || {
            let status = self.stage.ask(&["status"]).await?;
            Ok(all_is_well(&status).then_some(()))
        })
        .await
    }

    async fn cut_off(&mut self) -> Result<()> {
        self.show.chapter(&format!("The vantage point at {CUT_OFF} is cut off: to it, everything is dead"));
        self.script.cut_off();
        self.stage.cut_uplinks().await?;
        let unsound = until(PATIENCE, "the host to notice", async || {
            let status = self.stage.ask(&["status"]).await?;
            Ok((!is_sound(&status, CUT_OFF)).then_some(()))
        });
        unsound.await?;
        // Long enough for two bad looks of everything that it sees, were they believed.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let status = self.stage.ask(&["status"]).await?;
        let still = SERVICES
            .iter()
            .all(|name| active_site(&status, name) == Some(DOOMED) && state(&status, name) == Some("normal"));
        self.claim(still, "nothing moved: one blind vantage point is not a dead region");
        self.quote(&["explain", "shop"]).await?;
        self.stage.raise_uplinks()?;
        self.script.mended();
        until(PATIENCE, "the vantage point to see again", async || {
            let status = self.stage.ask(&["status"]).await?;
            Ok(is_sound(&status, CUT_OFF).then_some(()))
        })
        .await
    }

    async fn die(&mut self) -> Result<()> {
        let end = if self.hang {
            "hangs: its service and its agent are stopped"
        } else {
            "dies: its service and its agent are killed"
        };
        self.show.chapter(&format!("{DOOMED} {end}"));
        let (killed, killed_at) = (Instant::now(), SystemTime::now());
        self.script.site_lost(&SERVICES, self.hang);
        if self.hang {
            self.stage.freeze_site(DOOMED)?;
        } else {
            self.stage.kill_site(DOOMED).await?;
        }
        let doomed = site_address(DOOMED);
        until(PATIENCE, "the name to lead elsewhere", async || {
            let (addresses, _) = resolve(self.stage.nameserver, &format!("shop.{ZONE}")).await?;
            Ok((!addresses.contains(&doomed.into())).then_some(()))
        })
        .await?;
        self.report.dns_changed_ms = Some(millis(killed.elapsed()));
        self.until_served("shop", &[DOOMED]).await?;
        self.until_served("catalog", &[DOOMED]).await?;
        self.read_verdict(killed_at).await?;
        self.client_is_served_again(killed).await?;
        self.quote(&["explain", "shop"]).await?;
        self.quote(&["run", "list"]).await
    }

    /// What the journal says of the move.
    async fn read_verdict(&mut self, killed_at: SystemTime) -> Result<()> {
        let records = self.stage.records("shop").await?;
        let (at, decision) =
            moving_decision(&records, "shop").context("the journal has no verdict that moved the shop")?;
        let since = killed_at.duration_since(SystemTime::UNIX_EPOCH).context("read the clock")?;
        self.report.detected_ms = Some(at.wall.saturating_sub(millis(since)));
        self.report.verdict = Some(decision.verdict.name().to_owned());
        self.report.reasons = decision.reasons.iter().map(|reason| reason.text.clone()).collect();
        let detected = self.report.detected_ms.unwrap_or_default();
        let verdict = self.report.verdict.clone().unwrap_or_default();
        self.good(&format!("verdict {verdict} after {detected} ms: {}", self.report.reasons.join("; ")));
        self.good(&format!(
            "the authoritative answer changed after {} ms",
            self.report.dns_changed_ms.unwrap_or_default()
        ));
        Ok(())
    }

    async fn client_is_served_again(&mut self, killed: Instant) -> Result<()> {
        let visitor = self.shop.as_ref().context("the shop has no client")?;
        until(PATIENCE, "the client to be served again", async || {
            let calls = visitor.calls();
            let last = calls.iter().rev().take(10).filter(|call| call.result.as_ref().is_ok_and(|site| site != DOOMED));
            Ok((last.count() == 10).then_some(()))
        })
        .await?;
        let calls = visitor.calls();
        let lost = calls.iter().filter(|call| call.began >= killed && call.result.is_err()).count();
        let gap = millis(outage(&calls, killed));
        self.report.client_outage_ms = Some(gap);
        self.good(&format!("the client of the shop went {gap} ms without an answer and lost {lost} calls"));
        Ok(())
    }

    async fn swap(&mut self) -> Result<()> {
        self.show.chapter(&format!("The failover policy is replaced while it answers {LOAD} questions"));
        let settings = self.stage.directory.join("stricter.json");
        std::fs::write(&settings, "{}").context("write the new settings")?;
        let load = LOAD.to_string();
        let exercise = ["plugin", "exercise", "failover/default", "--decisions", &load];
        let swap_command = [
            "plugin",
            "swap",
            "failover/default",
            "builtin:failover-quorum",
            "--settings",
            &settings.display().to_string(),
        ];
        let (exercised, swapped) = tokio::join!(self.stage.ask(&exercise), async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            self.stage.ask(&swap_command).await
        });
        let (exercised, swapped) = (exercised?, swapped?);
        let number = |value: &Value, key: &str| value[key].as_u64().with_context(|| format!("no {key} in {value}"));
        self.report.swap = Swap {
            decisions: number(&exercised, "decisions")?,
            dropped: number(&exercised, "dropped")?,
            stale: number(&exercised, "stale")?,
            longest_gap_us: number(&exercised, "longest-gap-us")?,
            ready_ms: swapped["ready-ms"].as_f64().context("the swap took no time")?,
        };
        let by_revision = exercised["by-revision"].as_object().context("no revisions")?;
        self.claim(by_revision.len() > 1, &format!("both revisions answered: {}", exercised["by-revision"]));
        let Swap { decisions, dropped, stale, longest_gap_us, .. } = self.report.swap.clone();
        let text =
            format!("{decisions} decisions, {dropped} dropped, {stale} by the old revision after the acknowledgement");
        self.claim(dropped == 0 && stale == 0 && decisions >= 10_000, &text);
        self.show.fact(&format!("longest time between two answers: {longest_gap_us} us"));
        self.quote(&["plugin", "list"]).await
    }

    async fn let_loose(&mut self) -> Result<()> {
        self.show.chapter("A hostile policy gets the lab: it loops, grabs memory, floods, panics, and lies");
        let before = self.stage.ask(&["status"]).await?;
        let hostile = self.stage.directory.join("hostile.wasm");
        std::fs::write(&hostile, tidegate_plugins::examples::policy_hostile()).context("write the hostile plugin")?;
        let refused = self.stage.type_command(&["plugin", "swap", "failover/default", "builtin:probe-tcp"]).await?;
        self.claim(!refused.status.success(), "a component of the wrong world is refused by name:");
        self.show.quote("tidegate plugin swap failover/default builtin:probe-tcp", &said(&refused));
        let hostile = hostile.display().to_string();
        self.stage.ask(&["plugin", "swap", "failover/lab", &hostile]).await?;
        self.report.hostile.loaded = true;
        let faults = until(PATIENCE, "the hostile policy to misbehave", async || {
            let faults = faults(&self.stage.records("lab").await?, "lab");
            Ok((faults.len() >= 3).then_some(faults))
        })
        .await?;
        faults.iter().for_each(|fault| self.show.fact(fault));
        let status = self.stage.ask(&["status"]).await?;
        let stayed = |service: &str| active_site(&status, service) == active_site(&before, service);
        let undisturbed = SERVICES.iter().all(|service| stayed(service)) && self.stage.fallen().is_empty();
        self.report.hostile.contained = undisturbed;
        self.claim(
            undisturbed,
            "each misdeed ended as a recorded hold; every service stayed where it was, every process is up",
        );
        self.stage.ask(&["plugin", "rollback", "failover/lab"]).await?;
        self.good("rolled back to the last good revision");
        Ok(())
    }

    async fn come_back(&mut self) -> Result<()> {
        self.show.chapter(&format!("{DOOMED} comes back; after the hold-down the shop goes home"));
        let returned = Instant::now();
        if self.hang {
            self.stage.thaw_site(DOOMED)?;
        } else {
            self.stage.raise_site(DOOMED)?;
        }
        self.script.mended();
        until(PATIENCE, "the shop to go home", async || {
            let status = self.stage.ask(&["status"]).await?;
            Ok((active_site(&status, "shop") == Some(DOOMED) && state(&status, "shop") == Some("normal")).then_some(()))
        })
        .await?;
        self.report.failed_back = true;
        let calls = self.shop.as_ref().map(Visitor::calls).unwrap_or_default();
        let lost = calls.iter().filter(|call| call.began >= returned && call.result.is_err()).count();
        self.good(&format!("failed back; its client lost {lost} calls on the way"));
        self.until_served("catalog", &[]).await?;
        self.quote(&["status"]).await
    }

    async fn prove(&mut self) -> Result<()> {
        self.show.chapter("The proof");
        self.quote(&["explain", "shop"]).await?;
        let verified = self.stage.ask(&["journal", "verify"]).await?;
        self.report.journal.records = verified["records"].as_u64().context("the journal has no records")?;
        self.report.journal.verified = verified["verified"] == true;
        let text = format!("{} records, every one chained to the one before", self.report.journal.records);
        self.claim(self.report.journal.verified, &text);
        let scenario = self.script.scenario(&self.stage.journal(&[]).await?);
        std::fs::write(self.stage.directory.join("demonstration.toml"), scenario).context("write the scenario")
    }

    /// Waits until the service is at rest, its name leads somewhere, and to none of the `avoided` sites.
    async fn until_served(&self, service: &str, avoided: &[&str]) -> Result<()> {
        let name = format!("{service}.{ZONE}");
        until(PATIENCE, &format!("{service} to be served"), async || {
            let (addresses, _) = resolve(self.stage.nameserver, &name).await?;
            let status = self.stage.ask(&["status"]).await?;
            let rests = matches!(state(&status, service), Some("normal" | "failed-over" | "degraded"));
            let elsewhere = avoided.iter().all(|site| !addresses.contains(&site_address(site).into()));
            Ok((rests && elsewhere).then_some(()))
        })
        .await
    }

    fn count_calls(&mut self) {
        for visitor in [self.shop.take(), self.catalog.take()].into_iter().flatten() {
            let calls = visitor.stop();
            self.report.client_requests += calls.len();
            self.report.client_errors += calls.iter().filter(|call| call.result.is_err()).count();
        }
    }

    async fn quote(&self, command: &[&str]) -> Result<()> {
        let output = self.stage.type_command(command).await?;
        self.show.quote(&format!("tidegate {}", command.join(" ")), &said(&output));
        Ok(())
    }

    fn claim(&mut self, holds: bool, text: &str) {
        if holds { self.good(text) } else { self.wrong(text) }
    }

    fn good(&self, text: &str) {
        self.show.good(text);
    }

    fn wrong(&mut self, text: &str) {
        self.show.bad(text);
        self.report.wrong.push(text.to_owned());
    }
}

/// What a command said, and if it failed, why.
fn said(output: &std::process::Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&text).trim_end().to_owned()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
