//! The policy workers' threads: a bounded queue in front of them, and never a wait inside one.
//!
//! Knows nothing of what a job does.

use super::PolicyWorker;
use anyhow::Context as _;
use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::JoinHandle,
};

type Job = Box<dyn FnOnce(&PolicyWorker) + Send>;

/// The threads and their queue; they end when this is dropped.
pub(crate) struct Workers {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
    pub(crate) workers: Vec<PolicyWorker>,
}

struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    capacity: usize,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Workers {
    pub(crate) fn start(workers: Vec<PolicyWorker>, capacity: usize) -> anyhow::Result<Self> {
        let queue = Arc::new(Queue { waiting: Mutex::default(), changed: Condvar::new(), capacity });
        let mut threads = Vec::new();
        for worker in workers.clone() {
            let queue = queue.clone();
            let builder = std::thread::Builder::new().name(format!("policy-{}", worker.index));
            threads.push(builder.spawn(move || queue.serve(&worker)).context("start a policy worker")?);
        }
        Ok(Workers { queue, threads, workers })
    }

    /// Hands the job to the next free worker; false = the queue is full.
    pub(crate) fn submit(&self, job: Job) -> bool {
        let mut waiting = self.queue.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.jobs.len() >= self.queue.capacity {
            return false;
        }
        waiting.jobs.push_back(job);
        drop(waiting);
        self.queue.changed.notify_one();
        true
    }

    /// Jobs that no worker has taken yet.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.waiting.lock().unwrap_or_else(PoisonError::into_inner).jobs.len()
    }
}

impl Queue {
    fn serve(&self, worker: &PolicyWorker) {
        while let Some(job) = self.next() {
            job(worker);
        }
    }

    fn next(&self) -> Option<Job> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(job) = waiting.jobs.pop_front() {
                return Some(job);
            }
            if waiting.closed {
                return None;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.queue.waiting.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.queue.changed.notify_all();
        for thread in self.threads.drain(..) {
            // The last handle to the engine may be dropped by a worker itself.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workers").field("workers", &self.workers).finish_non_exhaustive()
    }
}
