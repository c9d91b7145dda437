//! What a host has put on disk of its runs, read while it writes.
//!
//! Knows the form of a journal's lines, and no rule.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// One run, as far as it is on disk.
#[derive(Clone, Debug, Default)]
pub struct OnDisk {
    /// `fail-over`, `switch-over`, `rejoin` …
    pub runbook: String,
    /// Records that say something of it, the one that opened it included.
    pub records: usize,
    /// How it ended.
    pub end: Option<Value>,
}

/// Every run in the journal, in the order of their numbers.
pub fn runs(journal: &Path) -> Result<Vec<OnDisk>> {
    let mut found = Vec::new();
    let mut segments: Vec<_> = std::fs::read_dir(journal).context("read the journal's directory")?.flatten().collect();
    segments.sort_by_key(std::fs::DirEntry::file_name);
    for segment in segments.iter().filter(|segment| segment.path().extension().is_some_and(|end| end == "jsonl")) {
        let text = std::fs::read_to_string(segment.path()).context("read the journal")?;
        // The last line may be under way.
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).for_each(|line| note(&mut found, &line));
    }
    Ok(found)
}

fn note(runs: &mut Vec<OnDisk>, line: &Value) {
    let changes = line["body"]["transitions"].as_array().into_iter().flatten();
    let mut touched = Vec::new();
    for change in changes.map(|transition| &transition["change"]) {
        if let Some(opened) = change["run-opened"]["run"].as_object() {
            let runbook = opened["runbook"].as_str().unwrap_or_default().to_owned();
            runs.push(OnDisk { runbook, ..OnDisk::default() });
            touched.push(runs.len() - 1);
        }
        let of_run = ["step", "run-heading", "run-closed"].into_iter().map(|name| &change[name]);
        touched.extend(of_run.filter_map(|change| change["run"].as_u64()).filter_map(|id| usize::try_from(id).ok()));
        if let Some(id) = change["run-closed"]["run"].as_u64().and_then(|id| usize::try_from(id).ok())
            && let Some(run) = runs.get_mut(id)
        {
            run.end = Some(change["run-closed"]["end"].clone());
        }
    }
    touched.sort_unstable();
    touched.dedup();
    for id in touched {
        if let Some(run) = runs.get_mut(id) {
            run.records += 1;
        }
    }
}
