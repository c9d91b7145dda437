//! How a service's database is shown: who leads, who is how far behind, who does not count and why.

use tidegate_kernel::view::{DatabaseStatus, NodeStatus};

use crate::cli::text::{Cell, Table, Tone, cell, paint};
use crate::cli::times::{Times, length};

/// A look at the nodes that is older than this is worth a word.
const OLD: u64 = 3_000;

/// What stands out of it, and whose word a commit waits for.
pub fn lines<'a>(database: &DatabaseStatus, times: &Times) -> Vec<(&'a str, String)> {
    let mut lines = Vec::new();
    if let Some(failed) = &database.unsound {
        lines.push((
            "unsound",
            paint(format!("a check of the data failed after the last promotion: {failed}"), Tone::Bad),
        ));
    }
    lines.push(("data", format!("{}: {}", database.cluster, leader(database, times))));
    lines.push(("commits", commits(database)));
    let old = database.sample_age.is_none_or(|age| age > OLD);
    match (&database.failure, database.sample_age) {
        (Some(failure), _) => lines.push(("nodes", paint(format!("the last look failed: {failure}"), Tone::Warning))),
        (None, None) => lines.push(("nodes", paint("not looked at yet", Tone::Warning))),
        (None, Some(age)) if old => {
            lines.push(("nodes", paint(format!("last looked at {} ago", length(age)), Tone::Warning)))
        }
        _ => {}
    }
    lines
}

/// Each node on a line.
pub fn nodes(database: &DatabaseStatus) -> String {
    let mut table = Table::new(["node", "site", "role", "behind", "follows", "counts"]);
    for node in &database.nodes {
        table.row([
            cell(&node.name, Tone::Title),
            node.site.as_str().into(),
            role(node),
            behind(node).into(),
            node.upstream.as_deref().unwrap_or_default().into(),
            counts(node),
        ]);
    }
    table.render()
}

fn leader(database: &DatabaseStatus, times: &Times) -> String {
    match (&database.primary, database.since) {
        (Some(primary), Some(since)) => {
            format!("{} leads since {}, {}", paint(primary, Tone::Title), times.show(since), times.distance(since))
        }
        _ => paint("it is not known yet who leads", Tone::Warning),
    }
}

fn commits(database: &DatabaseStatus) -> String {
    match &database.published {
        Some(set) => format!("wait for {} of {}", set.wait_for, set.nodes.join(", ")),
        None if database.synchronous == 0 => "wait for no standby".to_owned(),
        None => paint("nobody knows for whom: nothing is promoted without loss", Tone::Warning),
    }
}

fn role(node: &NodeStatus) -> Cell {
    match (node.leads, node.answers) {
        (true, true) => cell("primary", Tone::Good),
        (true, false) => cell("primary, silent", Tone::Bad),
        (false, false) => cell("silent", Tone::Warning),
        (false, true) => cell(node.role.as_str(), Tone::Plain),
    }
}

fn behind(node: &NodeStatus) -> String {
    let bytes = node.lag_bytes.map(|bytes| format!("{bytes} bytes"));
    let time = node.lag.map(length);
    [bytes, time].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A node that is not to be promoted, or not trusted, says why.
fn counts(node: &NodeStatus) -> Cell {
    let mut why: Vec<String> = node.outside.iter().cloned().collect();
    why.extend(node.proof.iter().map(|proof| format!("it acknowledges nothing (proof: {proof})")));
    why.extend(node.diverged_bytes.map(|bytes| format!("{bytes} bytes of log that nobody else has")));
    why.extend((node.priority == 0).then(|| "never promoted (priority 0)".to_owned()));
    let said = node
        .facts
        .iter()
        .map(|fact| if fact.value.is_empty() { fact.key.clone() } else { format!("{} {}", fact.key, fact.value) });
    why.extend(said);
    match (node.outside.is_some(), why.is_empty()) {
        (_, true) => cell("yes", Tone::Good),
        (true, false) => cell(format!("no: {}", why.join("; ")), Tone::Bad),
        (false, false) => cell(why.join("; "), Tone::Plain),
    }
}
