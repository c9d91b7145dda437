//! `tidegate evacuate`: everything away from a site, what is needed first, on one approval for all.
//!
//! In which order and whether at all is the host's decision; here it is shown, confirmed by the person, and ordered.

use std::fmt::Write as _;

use clap::Args;
use tidegate_kernel::event::{Accepted, Command};
use tidegate_kernel::state::{Evacuation, EvacuationEnd, Leaving};
use tidegate_kernel::view::{EvacuationPlan, LeavingPlan, run_name};

use crate::cli::console::Console;
use crate::cli::failed::{Exit, Failed};
use crate::cli::orders::{confirm, show_accepted};
use crate::cli::status::sentences;
use crate::cli::text::{Cell, Table, Tone, cell, paint};
use crate::cli::times::Times;
use crate::cli::{Common, orders, reach};

/// `evacuate SITE`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate evacuate us-east --dry-run            phases, and each service's plan, guards and loss
  tidegate evacuate us-east                      asks you to type the site's name, then moves everything
  tidegate evacuate us-east --to eu-west --yes   in a script
  tidegate evacuate --list                       those before, and how they ended

Exit codes: 0 begun, 2 bad usage, 3 refused by a guard: nothing was moved.")]
pub struct Evacuate {
    /// The site.
    #[arg(required_unless_present = "list")]
    pub site: Option<String>,
    /// The site to move to, for what has a place there [default: the best one for each service].
    #[arg(long, value_name = "SITE")]
    pub to: Option<String>,
    /// Show what would happen, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask for the site's name: for scripts.
    #[arg(long)]
    pub yes: bool,
    /// List the evacuation under way and those before.
    #[arg(long, conflicts_with_all = ["site", "to", "dry_run", "yes"])]
    pub list: bool,
}

/// Shown only; or confirmed and ordered.
pub async fn run(common: &Common, console: &Console, asked: &Evacuate) -> Result<Exit, Failed> {
    let client = reach::host(common)?;
    let Some(site) = &asked.site else {
        let all = client.fetch::<Vec<Evacuation>>("/v1/evacuations").await?;
        console.show_fetched(&all, |all, times| list(all, times))?;
        return Ok(Exit::Done);
    };
    let command = Command::Evacuate { site: site.clone(), to: asked.to.clone() };
    if asked.dry_run {
        let planned = client.send::<EvacuationPlan>("/v1/plan", &command).await?;
        console.show_fetched(&planned, plan)?;
        let blocked = planned.value.phases.iter().flatten().any(|leaving| !leaving.blockers.is_empty());
        return Ok(if blocked { Exit::Refused } else { Exit::Done });
    }
    confirm(console, site, "This moves everything away from there", asked.yes)?;
    let accepted: Accepted = client.post("/v1/orders", &command).await?;
    show_accepted(console, &accepted)?;
    Ok(Exit::Done)
}

/// The phases first, then each service's own plan.
pub fn plan(plan: &EvacuationPlan, times: &Times) -> String {
    let mut table = Table::new(["phase", "service", "does", "may lose", "guards"]);
    for (at, phase) in plan.phases.iter().enumerate() {
        for leaving in phase {
            let loss = leaving.plan.as_ref().map_or("", |plan| plan.loss.as_str());
            table.row([
                (at + 1).to_string().into(),
                cell(&leaving.service, Tone::Title),
                does(leaving).into(),
                loss.into(),
                guards(leaving),
            ]);
        }
    }
    let to = plan.to.as_ref().map(|to| format!(" to {to}, where there is a place")).unwrap_or_default();
    let mut text = format!("{} evacuation of {}{to}\n\n{}", paint("dry run", Tone::Title), plan.site, table.render());
    if !plan.stays.is_empty() {
        let _ = writeln!(
            text,
            "\n{}",
            paint(format!("without another place, there stay {}", plan.stays.join(", ")), Tone::Warning)
        );
    }
    for plan in plan.phases.iter().flatten().filter_map(|leaving| leaving.plan.as_ref()) {
        let _ = write!(text, "\n{}", orders::plan(plan, times));
    }
    text
}

fn does(leaving: &LeavingPlan) -> String {
    match (&leaving.plan, leaving.under_way) {
        (_, Some(run)) => format!("run {} leads it away already", run_name(run)),
        (Some(plan), None) => format!("{} to {}", plan.kind, plan.to),
        (None, None) => "nothing".to_owned(),
    }
}

fn guards(leaving: &LeavingPlan) -> Cell {
    match leaving.blockers.as_slice() {
        [] => cell("passed", Tone::Good),
        blockers => cell(sentences(blockers), Tone::Bad),
    }
}

/// Those that the host remembers, each with its services.
pub fn list(all: &[Evacuation], times: &Times) -> String {
    if all.is_empty() {
        return "nothing was evacuated\n".to_owned();
    }
    all.iter().map(|evacuation| block(evacuation, times)).collect::<Vec<_>>().join("\n")
}

/// One evacuation with its services.
pub fn block(evacuation: &Evacuation, times: &Times) -> String {
    let mut text = format!("{}, by {} {}\n", line(evacuation), evacuation.by, times.distance(evacuation.opened.wall));
    let mut table = Table::new(["phase", "service", "to", "run", "is"]);
    for (at, phase) in evacuation.phases.iter().enumerate() {
        for leaving in phase {
            table.row([
                (at + 1).to_string().into(),
                cell(&leaving.service, Tone::Title),
                leaving.to.as_str().into(),
                leaving.run.map(run_name).unwrap_or_default().into(),
                stands(evacuation, at, leaving),
            ]);
        }
    }
    text += &table.render();
    if !evacuation.stays.is_empty() {
        let _ = writeln!(text, "without another place, there stay {}", evacuation.stays.join(", "));
    }
    text
}

fn line(evacuation: &Evacuation) -> String {
    let name = paint(format!("evacuation e{}", evacuation.id), Tone::Title);
    let (how, tone) = match &evacuation.end {
        None => (format!("under way, phase {} of {}", evacuation.phase + 1, evacuation.phases.len()), Tone::Title),
        Some(EvacuationEnd::Done) => ("done".to_owned(), Tone::Good),
        Some(EvacuationEnd::Stopped(why)) => (format!("stopped: {why}"), Tone::Bad),
    };
    format!("{name} of {}: {}", evacuation.site, paint(how, tone))
}

fn stands(evacuation: &Evacuation, phase: usize, leaving: &Leaving) -> Cell {
    match (leaving.gone, leaving.run, &evacuation.end) {
        (true, Some(_), _) => cell("gone", Tone::Good),
        (true, None, _) => cell("was not there any more", Tone::Good),
        (false, Some(_), None) => cell("on its way", Tone::Title),
        (false, Some(_), Some(_)) => cell("see its run", Tone::Bad),
        (false, None, None) if phase > evacuation.phase => cell("waits for what it needs", Tone::Quiet),
        (false, None, _) => cell("not begun", Tone::Warning),
    }
}
