//! `tidegate ready`: whether a move would work now, checked without changing anything.

use clap::Args;
use serde::{Deserialize, Serialize};
use tidegate_kernel::contract::Reason;

use crate::cli::console::Console;
use crate::cli::failed::{Exit, Failed};
use crate::cli::text::{Table, Tone, cell, paint};
use crate::cli::{Common, reach};
use crate::client::{Fetched, encode};

/// `ready [SERVICE]`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate ready                                 every credential, grant, zone, target and capacity of every service
  tidegate ready shop && echo 'a move would work'")]
pub struct Ready {
    /// One service [default: all].
    pub service: Option<String>,
}

/// One service, as the host checked it now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    /// The service.
    pub service: String,
    /// What a move would fail on; empty = ready.
    pub blockers: Vec<Reason>,
    /// What a service that is ready has for the loss of a site, or lacks.
    #[serde(default)]
    pub notes: Vec<Reason>,
}

/// Asks the host to check, and shows what it found; the exit code says whether all are ready.
pub async fn run(common: &Common, console: &Console, service: Option<&str>) -> Result<Exit, Failed> {
    let checked = ask(common, console, service).await?;
    console.show_fetched(&checked, |checked, _| page(checked))?;
    let all = checked.value.iter().all(|service| service.blockers.is_empty());
    Ok(if all { Exit::Done } else { Exit::Failed })
}

/// Asks the host to check.
pub async fn ask(common: &Common, console: &Console, service: Option<&str>) -> Result<Fetched<Vec<Checked>>, Failed> {
    let client = reach::host(common)?;
    console.progress("checking what a move would need");
    let query = service.map(|service| format!("?service={}", encode(service))).unwrap_or_default();
    Ok(client.fetch(&format!("/v1/ready{query}")).await?)
}

/// What is not ready first.
pub fn page(checked: &[Checked]) -> String {
    let mut table = Table::new(["service", "ready", "because"]);
    let (ready, blocked): (Vec<&Checked>, Vec<&Checked>) =
        checked.iter().partition(|service| service.blockers.is_empty());
    for service in &blocked {
        for (index, reason) in service.blockers.iter().enumerate() {
            let name = if index == 0 { service.service.as_str() } else { "" };
            let verdict = if index == 0 { cell("no", Tone::Bad) } else { "".into() };
            table.row([cell(name, Tone::Title), verdict, said(reason).into()]);
        }
        noted(&mut table, &service.notes);
    }
    for service in &ready {
        let (first, more) =
            service.notes.split_first().map_or((String::new(), &[][..]), |(one, more)| (said(one), more));
        table.row([cell(&service.service, Tone::Title), cell("yes", Tone::Good), first.into()]);
        noted(&mut table, more);
    }
    table.render() + &paint(format!("\n{} of {} ready\n", ready.len(), checked.len()), Tone::Quiet)
}

fn noted(table: &mut Table, notes: &[Reason]) {
    notes.iter().for_each(|note| table.row(["".into(), "".into(), said(note).into()]));
}

fn said(reason: &Reason) -> String {
    format!("{} [{}]", reason.text, reason.code)
}
