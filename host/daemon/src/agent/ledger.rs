//! Which commands have been run, by key: the same key is never run twice, and its outcome is told again when asked again.
//!
//! With a file it remembers through restarts, also of the machine: a key is on disk before its command begins, so a key
//! without an outcome was cut short, and what it did is unknown. Remembers the newest thousand keys.

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
            return if entry.order.repeats(order) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agents::protocol::CommandPlan;

    /// Adds a line to a file and says so.
    fn commands(file: &Path) -> BTreeMap<String, Declared> {
        let plan = CommandPlan {
            argv: ["/bin/sh", "-c", "echo ran >> \"$0\"; echo done", file.to_str().unwrap()]
                .map(str::to_owned)
                .to_vec(),
            arguments: BTreeMap::new(),
            run_as: None,
            timeout: 60_000,
            output_max: 1_024,
        };
        Declared::all(&BTreeMap::from([("add".to_owned(), plan)])).unwrap()
    }

    fn order(key: &str) -> Order {
        Order { key: key.into(), command: "add".into(), arguments: BTreeMap::new(), timeout: 60_000 }
    }

    fn times_run(file: &Path) -> usize {
        std::fs::read_to_string(file).unwrap_or_default().lines().count()
    }

    #[tokio::test]
    async fn runs_each_key_once_and_tells_its_outcome_as_often_as_asked() {
        let directory = tempfile::tempdir().unwrap();
        let ran = directory.path().join("ran");
        let (ledger, commands) = (Ledger::in_memory(), commands(&ran));
        let (order_a, order_b) = (order("a"), order("b"));
        let outcomes = tokio::join!(
            ledger.run(&commands, &order_a),
            ledger.run(&commands, &order_a),
            ledger.run(&commands, &order_b)
        );
        for outcome in [outcomes.0, outcomes.1, outcomes.2, ledger.run(&commands, &order_a).await] {
            assert_eq!(outcome.unwrap().stdout, b"done\n");
        }
        assert_eq!(times_run(&ran), 2);
    }

    #[tokio::test]
    async fn refuses_a_key_with_other_words() {
        let directory = tempfile::tempdir().unwrap();
        let commands = commands(&directory.path().join("ran"));
        let ledger = Ledger::in_memory();
        ledger.run(&commands, &order("a")).await.unwrap();
        let other = Order { arguments: BTreeMap::from([("to".into(), "b".into())]), ..order("a") };
        assert!(matches!(ledger.run(&commands, &other).await, Err(Failure::Invalid(_))));
        let with_less_time = Order { timeout: 1, ..order("a") };
        assert_eq!(ledger.run(&commands, &with_less_time).await.unwrap().stdout, b"done\n");
    }

    #[tokio::test]
    async fn remembers_through_a_restart_what_was_run() {
        let directory = tempfile::tempdir().unwrap();
        let ran = directory.path().join("ran");
        let commands = commands(&ran);
        for _ in 0..3 {
            let ledger = Ledger::open(directory.path()).unwrap();
            assert_eq!(ledger.run(&commands, &order("a")).await.unwrap().stdout, b"done\n");
        }
        assert_eq!(times_run(&ran), 1);
    }

    #[tokio::test]
    async fn does_not_run_again_what_a_restart_cut_short() {
        let directory = tempfile::tempdir().unwrap();
        let ran = directory.path().join("ran");
        let begun = serde_json::to_string(&Line::Begun(order("a"))).unwrap();
        std::fs::write(directory.path().join("commands.jsonl"), format!("{begun}\n{{\"begun\":{{\"key\":\"torn"))
            .unwrap();
        let ledger = Ledger::open(directory.path()).unwrap();
        let outcome = ledger.run(&commands(&ran), &order("a")).await;
        assert!(matches!(outcome, Err(Failure::UnknownOutcome(_))), "{outcome:?}");
        assert_eq!(times_run(&ran), 0);
    }

    #[tokio::test]
    async fn remembers_no_refusal() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::in_memory();
        let refused = ledger.run(&BTreeMap::new(), &order("a")).await;
        assert!(matches!(refused, Err(Failure::NotFound(_))));
        ledger.run(&commands(&directory.path().join("ran")), &order("a")).await.unwrap();
    }

    #[tokio::test]
    async fn forgets_the_oldest_keys_first() {
        let mut book = Book::default();
        for number in 0..KEEP + 2 {
            book.remember(order(&number.to_string()));
        }
        assert_eq!(book.entries.len(), KEEP);
        assert!(!book.entries.contains_key("1") && book.entries.contains_key("2"));
    }
}
