//! `tidegate what-if`: what would become of each service if a site were lost now.

use clap::Args;
use tidegate_kernel::view::Judgement;

use crate::cli::console::Console;
use crate::cli::failed::{Exit, Failed};
use crate::cli::status::sentences;
use crate::cli::text::{Table, Tone, cell};
use crate::cli::{Common, reach};
use crate::client::encode;
use crate::said;

/// `what-if --lose SITE`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate what-if --lose us-east                from the live state: each service's verdict, order, loss, blockers
  tidegate what-if --lose us-east --json | jq '.[] | select(.blockers != [])'")]
pub struct WhatIf {
    /// The site that would be lost.
    #[arg(long, value_name = "SITE")]
    pub lose: String,
}

/// Asks the host's policies and guards; nothing is changed, and nothing is recorded.
pub async fn run(common: &Common, console: &Console, asked: &WhatIf) -> Result<Exit, Failed> {
    let path = format!("/v1/what-if?lose={}", encode(&asked.lose));
    let judged = reach::host(common)?.fetch::<Vec<Judgement>>(&path).await?;
    console.show_fetched(&judged, |judged, _| page(judged))?;
    Ok(Exit::Done)
}

/// What needs a person first, then in the order in which services would move.
pub fn page(judged: &[Judgement]) -> String {
    if judged.is_empty() {
        return "no service would be touched\n".to_owned();
    }
    let mut judged: Vec<&Judgement> = judged.iter().collect();
    judged
        .sort_by_key(|judgement| (judgement.blockers.is_empty(), judgement.order.unwrap_or(u32::MAX), judgement.tier));
    let mut table = Table::new(["order", "service", "tier", "verdict", "may lose", "because"]);
    for judgement in judged {
        let (tone, because) = match judgement.blockers.as_slice() {
            [] => (Tone::Good, sentences(&judgement.reasons)),
            blockers => (Tone::Bad, sentences(blockers)),
        };
        table.row([
            judgement.order.map(|order| order.to_string()).unwrap_or_default().into(),
            cell(&judgement.service, Tone::Title),
            judgement.tier.as_str().into(),
            cell(said::verdict(&judgement.verdict), tone),
            judgement.loss.as_str().into(),
            because.into(),
        ]);
    }
    table.render()
}
