//! Processes and what they have started, signalled all at once.
//!
//! Knows `/proc` and nothing of what the processes are.

use std::collections::BTreeMap;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A process and everything below it.
pub fn below(root: u32) -> Vec<Pid> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if let Some(parent) = parent(id) {
            children.entry(parent).or_default().push(id);
        }
    }
    let (mut all, mut next) = (Vec::new(), vec![root]);
    while let Some(id) = next.pop() {
        all.push(Pid::from_raw(id.cast_signed()));
        next.extend(children.remove(&id).unwrap_or_default());
    }
    all
}

/// Those below `root` whose command line has this word.
pub fn below_with(root: u32, word: &str) -> Vec<Pid> {
    let has = |pid: &Pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|part| part == word.as_bytes())
    };
    below(root).into_iter().filter(has).collect()
}

/// One that has ended meanwhile is what was wanted, or nobody's concern.
pub fn signal(processes: &[Pid], signal: Signal) {
    for process in processes {
        let _ = kill(*process, signal);
    }
}

fn parent(id: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name in brackets may hold anything.
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}
