//! Which commands have been run, by key: the same key is never run twice, and its outcome is told again when asked again.
//!
//! With a file it remembers through restarts, also of the machine: a key is on disk before its command begins, so a key
//! without an outcome was cut short, and what it did is unknown. Remembers the newest [`KEEP`] keys.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tidegate_kernel::contract::{Failure, Output};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::agents::protocol::Order;
use crate::commands::{Declared, Prepared};

/// Commands under way get so long to end before the process stops.
const REST: Duration = Duration::from_secs(10);
/// A run repeats a step's key within its own lifetime; no run has more steps than this.
const KEEP: usize = 1_024;

type Outcome = Result<Output, Failure>;

/// What has been run.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    entries: HashMap<String, Entry>,
    /// The oldest first.
    keys: VecDeque<String>,
    file: Option<File>,
}

/// One key. The outcome is none while its command is under way.
struct Entry {
    order: Order,
    outcome: watch::Sender<Option<Outcome>>,
}

/// One line of the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    Begun(Order),
    Ended { key: String, outcome: Outcome },
}

impl Ledger {
    /// Remembers as long as this process lives.
    pub fn in_memory() -> Ledger {
        Ledger::default()
    }

    /// Remembers in `commands.jsonl` of this directory.
    pub fn open(directory: &Path) -> Result<Ledger> {
        std::fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
        let path = directory.join("commands.jsonl");
        let mut book = Book::default();
        for line in lines(&path)? {
            book.apply(line);
        }
        book.cut_short();
        book.file = Some(rewrite(&path, &book).with_context(|| format!("write {}", path.display()))?);
        Ok(Ledger(Arc::new(Mutex::new(book))))
    }

    /// Runs an order, or tells what became of it when its key was run before. A refusal is not remembered: nothing was run.
    /// Goes on to the end even if nobody waits for it any longer.
    pub async fn run(&self, commands: &BTreeMap<String, Declared>, order: &Order) -> Outcome {
        let mut outcome = self.begin(commands, order)?;
        let ended = outcome.wait_for(Option::is_some).await;
        let outcome = ended.ok().and_then(|outcome| outcome.clone());
        outcome.unwrap_or_else(|| Err(Failure::UnknownOutcome(format!("command {} was given up", order.command))))
    }

    /// Waits until no command is under way; what still is after a while is killed as the process ends, and unknown then.
    pub async fn rest(&self) {
        let under_way: Vec<_> = self.lock().entries.values().map(|entry| entry.outcome.subscribe()).collect();
        let ended = async {
            for mut outcome in under_way {
                // An error says that its entry was forgotten.
                let _ = outcome.wait_for(Option::is_some).await;
            }
        };
        let _ = timeout(REST, ended).await;
    }

    fn begin(
        &self,
        commands: &BTreeMap<String, Declared>,
        order: &Order,
    ) -> Result<watch::Receiver<Option<Outcome>>, Failure> {
        let mut book = self.lock();
        if let Some(entry) = book.entries.get(&order.key) {
            return if entry.order == *order {
                Ok(entry.outcome.subscribe())
            } else {
                Err(crate::agents::other_order(&order.key))
            };
        }
        let declared = commands.get(&order.command);
        let declared =
            declared.ok_or_else(|| Failure::NotFound(format!("no command {} is declared here", order.command)))?;
        let prepared = declared.prepare(order)?;
        book.write(&Line::Begun(order.clone())).map_err(|error| not_recorded(order, &error))?;
        let outcome = book.remember(order.clone()).subscribe();
        tokio::spawn(self.clone().carry_out(order.key.clone(), prepared));
        Ok(outcome)
    }

    async fn carry_out(self, key: String, prepared: Prepared) {
        let outcome = prepared.run().await;
        let line = Line::Ended { key, outcome };
        let mut book = self.lock();
        if let Err(error) = book.write(&line) {
            tracing::error!(%error, "a command's outcome could not be recorded; after a restart it will be unknown");
        }
        book.apply(line);
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn apply(&mut self, line: Line) {
        match line {
            Line::Begun(order) => drop(self.remember(order)),
            Line::Ended { key, outcome } => {
                if let Some(entry) = self.entries.get(&key) {
                    entry.outcome.send_replace(Some(outcome));
                }
            }
        }
    }

    fn remember(&mut self, order: Order) -> watch::Sender<Option<Outcome>> {
        if self.keys.len() == KEEP
            && let Some(oldest) = self.keys.pop_front()
        {
            self.entries.remove(&oldest);
        }
        let outcome = watch::Sender::new(None);
        self.keys.push_back(order.key.clone());
        self.entries.insert(order.key.clone(), Entry { order, outcome: outcome.clone() });
        outcome
    }

    /// What has no outcome as the file is opened will never have one.
    fn cut_short(&mut self) {
        for entry in self.entries.values() {
            let what =
                format!("command {} was cut short by a restart; how far it came is not known", entry.order.command);
            entry.outcome.send_if_modified(|outcome| {
                outcome.is_none() && {
                    *outcome = Some(Err(Failure::UnknownOutcome(what)));
                    true
                }
            });
        }
    }

    fn lines(&self) -> impl Iterator<Item = Line> {
        self.keys.iter().flat_map(|key| {
            let entry = &self.entries[key];
            let ended = entry.outcome.borrow().clone().map(|outcome| Line::Ended { key: key.clone(), outcome });
            std::iter::once(Line::Begun(entry.order.clone())).chain(ended)
        })
    }

    /// Durable when it returns.
    fn write(&mut self, line: &Line) -> std::io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        write_line(file, line)?;
        file.sync_data()
    }
}

/// A line that a crash has torn is the last one, and its command had not begun.
fn lines(path: &Path) -> Result<Vec<Line>> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.with_context(|| format!("read {}", path.display()))?,
    };
    let (whole, _torn) = text.rsplit_once('\n').unwrap_or_default();
    let parse = |(at, line)| {
        serde_json::from_str(line).with_context(|| {
            format!("{}, line {}: not an entry of commands that were run\n  unchanged: the file\n  next: move it away, if no run is open", path.display(), at + 1)
        })
    };
    whole.lines().enumerate().map(parse).collect()
}

/// Only what is still remembered, whole or not at all.
fn rewrite(path: &Path, book: &Book) -> std::io::Result<File> {
    let draft: PathBuf = path.with_extension("draft");
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).open(&draft)?;
    for line in book.lines() {
        write_line(&mut file, &line)?;
    }
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())?;
    Ok(file)
}

fn write_line(file: &mut File, line: &Line) -> std::io::Result<()> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    file.write_all(&bytes)
}

fn not_recorded(order: &Order, error: &std::io::Error) -> Failure {
    Failure::Rejected(format!("command {} could not be recorded, so it was not run: {error}", order.command))
}
