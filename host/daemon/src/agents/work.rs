//! What one agent is asked to do, and what became of it: a command's outcome is definite, or said to be unknown.
//!
//! An item is repeated until the agent's next question acknowledges it, which is safe because the agent runs no key twice.
//! An item that a process has taken is never given to another one.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use tidegate_kernel::contract::{Failure, Output};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::lock;
use super::protocol::{Done, Order, Task, WorkItem};

/// An agent that has not come for a command by then is not there.
const PICK_UP: Duration = Duration::from_secs(5);

type Outcome = Result<Output, Failure>;

/// One agent's work.
pub(super) struct WorkQueue {
    queue: Mutex<Queue>,
    /// Number of the newest item.
    newest: watch::Sender<u64>,
}

#[derive(Default)]
struct Queue {
    /// The agent's process that last asked.
    session: u64,
    /// Not yet acknowledged.
    items: VecDeque<WorkItem>,
    /// Commands without an outcome, by key.
    waiting: HashMap<String, Waiting>,
}

struct Waiting {
    order: Order,
    given: bool,
    askers: Vec<oneshot::Sender<Outcome>>,
}

impl Default for WorkQueue {
    fn default() -> Self {
        WorkQueue { queue: Mutex::default(), newest: watch::Sender::new(0) }
    }
}

impl WorkQueue {
    /// Adds something that needs no answer, unless it is waiting already.
    pub(super) fn push(&self, task: Task) {
        let mut queue = lock(&self.queue);
        if queue.items.iter().all(|item| item.task != task) {
            self.add(&mut queue, task);
        }
    }

    /// Has the agent run a command and waits for what became of it.
    pub(super) async fn run(&self, agent: &str, order: Order, patience: Duration) -> Outcome {
        let key = order.key.clone();
        let answer = self.ask(order)?;
        let _withdraw = Withdraw { queue: self, key: key.clone() };
        // Dropped before the above, which withdraws what nobody waits for.
        let mut answer = answer;
        if let Ok(answered) = timeout(PICK_UP.min(patience), &mut answer).await {
            return answered.unwrap_or_else(|_| Err(unknown(agent, "the command was given up")));
        }
        if !self.is_given(&key) {
            tracing::warn!(agent, key, "nobody came for the command; it was not run");
            return Err(Failure::Busy(1_000));
        }
        match timeout(patience.saturating_sub(PICK_UP), answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(unknown(agent, "the command was given up")),
            Err(_) => Err(unknown(agent, "it took the command and has not come back in time")),
        }
    }

    /// Everything after item `after`, as soon as there is anything, for the process `session`.
    pub(super) async fn after(&self, session: u64, after: u64, patience: Duration) -> Vec<WorkItem> {
        let mut newest = self.newest.subscribe();
        self.begin_session(session);
        let _ = timeout(patience, newest.wait_for(|newest| *newest > after)).await;
        self.give(session, after)
    }

    /// The agent says what became of a command.
    pub(super) fn done(&self, done: Done) {
        let mut queue = lock(&self.queue);
        queue.forget_item(&done.key);
        for asker in queue.waiting.remove(&done.key).into_iter().flat_map(|waiting| waiting.askers) {
            let _ = asker.send(done.result.clone());
        }
    }

    fn ask(&self, order: Order) -> Result<oneshot::Receiver<Outcome>, Failure> {
        let (asker, answer) = oneshot::channel();
        let key = order.key.clone();
        let mut queue = lock(&self.queue);
        match queue.waiting.get_mut(&key) {
            Some(waiting) if !waiting.order.repeats(&order) => return Err(other_order(&key)),
            Some(waiting) => waiting.askers.push(asker),
            None => {
                queue.waiting.insert(key.clone(), Waiting { order: order.clone(), given: false, askers: vec![asker] });
                self.add(&mut queue, Task::Run(order));
            }
        }
        Ok(answer)
    }

    fn add(&self, queue: &mut Queue, task: Task) {
        self.newest.send_modify(|newest| {
            *newest += 1;
            queue.items.push_back(WorkItem { number: *newest, task });
        });
    }

    /// What an earlier process of the agent had taken is lost with it.
    fn begin_session(&self, session: u64) {
        let mut queue = lock(&self.queue);
        if std::mem::replace(&mut queue.session, session) == session {
            return;
        }
        queue.items.retain(|item| matches!(item.task, Task::Run(_)));
        let lost: Vec<String> = queue.waiting.iter().filter(|(_, w)| w.given).map(|(key, _)| key.clone()).collect();
        for key in lost {
            queue.forget_item(&key);
            for asker in queue.waiting.remove(&key).into_iter().flat_map(|waiting| waiting.askers) {
                let _ =
                    asker.send(Err(Failure::UnknownOutcome("the agent was restarted while it had the command".into())));
            }
        }
    }

    fn give(&self, session: u64, after: u64) -> Vec<WorkItem> {
        let mut queue = lock(&self.queue);
        if queue.session != session {
            return Vec::new();
        }
        queue.items.retain(|item| item.number > after);
        let Queue { items, waiting, .. } = &mut *queue;
        for item in items.iter() {
            if let Task::Run(order) = &item.task
                && let Some(waiting) = waiting.get_mut(&order.key)
            {
                waiting.given = true;
            }
        }
        items.iter().cloned().collect()
    }

    fn is_given(&self, key: &str) -> bool {
        lock(&self.queue).waiting.get(key).is_some_and(|waiting| waiting.given)
    }
}

impl Queue {
    fn forget_item(&mut self, key: &str) {
        self.items.retain(|item| !matches!(&item.task, Task::Run(order) if order.key == key));
    }
}

/// Takes a command back when the last one who asked for it has gone.
struct Withdraw<'a> {
    queue: &'a WorkQueue,
    key: String,
}

impl Drop for Withdraw<'_> {
    fn drop(&mut self) {
        let mut queue = lock(&self.queue.queue);
        let Some(waiting) = queue.waiting.get_mut(&self.key) else { return };
        waiting.askers.retain(|asker| !asker.is_closed());
        if waiting.askers.is_empty() {
            queue.waiting.remove(&self.key);
            queue.forget_item(&self.key);
        }
    }
}

/// The same key with other words is somebody's mistake, and must not pass for the first.
pub(crate) fn other_order(key: &str) -> Failure {
    Failure::Invalid(format!("key {key} belongs to another command or other arguments; nothing was run"))
}

fn unknown(agent: &str, what: &str) -> Failure {
    Failure::UnknownOutcome(format!("agent {agent}: {what}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn order(key: &str) -> Order {
        Order { key: key.into(), command: "stop".into(), arguments: Default::default(), timeout: 1_000 }
    }

    fn output() -> Output {
        Output { status: 0, stdout: b"ok".to_vec(), stderr: Vec::new() }
    }

    fn asked(queue: &Arc<WorkQueue>, key: &str, patience: Duration) -> tokio::task::JoinHandle<Outcome> {
        let (queue, order) = (queue.clone(), order(key));
        tokio::spawn(async move { queue.run("a", order, patience).await })
    }

    #[tokio::test]
    async fn repeats_an_item_until_it_is_acknowledged() {
        let queue = Arc::new(WorkQueue::default());
        let run = asked(&queue, "k", LONG);
        let first = queue.after(1, 0, LONG).await;
        assert_eq!(queue.after(1, 0, LONG).await, first, "the answer was lost on its way");
        queue.done(Done { key: "k".into(), result: Ok(output()) });
        assert_eq!(run.await.unwrap(), Ok(output()));
        assert_eq!(queue.after(1, 0, Duration::ZERO).await, []);
    }

    #[tokio::test]
    async fn never_gives_a_taken_command_to_another_process() {
        let queue = Arc::new(WorkQueue::default());
        let run = asked(&queue, "k", LONG);
        queue.after(1, 0, LONG).await;
        assert_eq!(queue.after(2, 0, Duration::ZERO).await, []);
        assert!(matches!(run.await.unwrap(), Err(Failure::UnknownOutcome(_))));
    }

    #[tokio::test]
    async fn gives_an_untaken_command_to_whichever_process_comes_first() {
        let queue = Arc::new(WorkQueue::default());
        queue.after(1, 0, Duration::ZERO).await;
        let _run = asked(&queue, "k", LONG);
        assert_eq!(queue.after(2, 0, LONG).await.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn says_that_nothing_was_run_when_nobody_came_for_it() {
        let queue = Arc::new(WorkQueue::default());
        assert_eq!(queue.run("a", order("k"), LONG).await, Err(Failure::Busy(1_000)));
        assert_eq!(queue.after(1, 0, Duration::ZERO).await, [], "it is withdrawn");
    }

    #[tokio::test(start_paused = true)]
    async fn says_that_the_outcome_is_unknown_when_the_agent_stays_away() {
        let queue = Arc::new(WorkQueue::default());
        let run = asked(&queue, "k", LONG);
        queue.after(1, 0, LONG).await;
        assert!(matches!(run.await.unwrap(), Err(Failure::UnknownOutcome(_))));
    }

    #[tokio::test]
    async fn answers_everybody_who_asked_with_the_same_key_and_refuses_other_words() {
        let queue = Arc::new(WorkQueue::default());
        let runs = [asked(&queue, "k", LONG), asked(&queue, "k", LONG)];
        assert_eq!(queue.after(1, 0, LONG).await.len(), 1);
        tokio::task::yield_now().await;
        let other = Order { command: "start".into(), ..order("k") };
        assert!(matches!(queue.run("a", other, LONG).await, Err(Failure::Invalid(_))));
        queue.done(Done { key: "k".into(), result: Ok(output()) });
        for run in runs {
            assert_eq!(run.await.unwrap(), Ok(output()));
        }
    }
}
