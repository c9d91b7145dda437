//! What has happened to each step of a run, and what comes next: one table that live execution and recovery share.
//!
//! Knows nothing of sites, routes or plugins: here a step is a status with needs, retries, an undo or none, and perhaps
//! the point of no return. That point is passed when its step is durably started; from then on there is no way back.

#![expect(missing_docs, reason = "fields whose name and type say it all")]

use serde::{Deserialize, Serialize};

use crate::contract::Millis;
use crate::event::Moment;

/// Read-backs of one unknown outcome before a person is called.
pub const UNKNOWNS_MAX: u32 = 8;
/// Undos of one step before it counts as stuck.
pub const UNDOS_MAX: u32 = 4;
/// A call that has not come back this long after its own timeout counts as cut short.
pub const GRACE: Millis = 5_000;

const BACKOFF_FIRST: Millis = 1_000;
const BACKOFF_MAX: Millis = 60_000;

/// Where a step is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepStatus {
    #[default]
    Pending,
    Running,
    /// It may or may not have happened: read back before anything else.
    Unknown,
    Done,
    /// Definitely not done; with a due time it will be tried again.
    Failed,
    Undoing,
    Undone,
    /// Its undo failed: a person is needed.
    Stuck,
    /// A person did it, or did without it.
    Skipped,
}

/// What can happen to a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepEvent {
    Started,
    Succeeded,
    Failed,
    OutcomeUnknown,
    UndoStarted,
    UndoSucceeded,
    UndoFailed,
    /// A person wants another try.
    Retried,
    /// A person does without it.
    Skipped,
}

/// An event that a step in this status cannot have: a late or repeated answer, which counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IllegalEvent {
    pub status: StepStatus,
    pub event: StepEvent,
}

impl StepStatus {
    /// The status after `event`.
    pub fn next(self, event: StepEvent) -> Result<StepStatus, IllegalEvent> {
        use {StepEvent as E, StepStatus as S};
        match (self, event) {
            // From unknown it is the read-back that starts; from failed, the next try.
            (S::Pending | S::Failed | S::Unknown, E::Started) => Ok(S::Running),
            (S::Running, E::Succeeded) => Ok(S::Done),
            (S::Running, E::Failed) => Ok(S::Failed),
            (S::Running, E::OutcomeUnknown) => Ok(S::Unknown),
            // What may have happened, and was done without, is undone as well.
            (S::Done | S::Unknown | S::Undoing, E::UndoStarted) => Ok(S::Undoing),
            (S::Undoing, E::UndoSucceeded) => Ok(S::Undone),
            // Repeating an undo under its key is safe, so an undo has no unknown: it is tried again until it is stuck.
            (S::Undoing, E::UndoFailed) => Ok(S::Stuck),
            (S::Failed, E::Retried) => Ok(S::Failed),
            (S::Unknown, E::Retried) => Ok(S::Unknown),
            (S::Stuck, E::Retried) => Ok(S::Undoing),
            (S::Pending | S::Failed | S::Unknown | S::Stuck, E::Skipped) => Ok(S::Skipped),
            (status, event) => Err(IllegalEvent { status, event }),
        }
    }

    /// Whether the world may still change because of it.
    pub fn in_flight(self) -> bool {
        matches!(self, StepStatus::Running | StepStatus::Undoing)
    }
}

/// What has happened to one step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StepState {
    pub status: StepStatus,
    /// Tries begun; part of the idempotency key, so a read-back is no new one.
    #[serde(default)]
    pub attempt: u32,
    /// Outcomes of this try that were unknown.
    #[serde(default)]
    pub unknowns: u32,
    #[serde(default)]
    pub undos: u32,
    /// On the kernel's steady clock: when a try, a read-back or an undo is due, or a running call counts as cut short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Millis>,
    /// The how-manieth of its run to be done: undo goes in the reverse order, but for what is undone last.
    #[serde(default)]
    pub done_as: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Moment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Moment>,
    /// The last word about it, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// What its undo may need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
}

/// What never changes about a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    pub needs: Vec<usize>,
    pub timeout: Millis,
    pub retries: u32,
    pub undoable: bool,
    /// Its undo needs what the other undos give back.
    pub undone_last: bool,
    pub point_of_no_return: bool,
    /// The run goes on without it.
    pub optional: bool,
}

/// Which way a run goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Heading {
    Forward,
    Back,
    /// Until a person says how to go on.
    Resting,
}

/// What a run does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Start these steps: for the first time, again, or to read their outcome back.
    Start(Vec<usize>),
    Undo(usize),
    /// Nothing before an outcome or a due time.
    Wait,
    TurnBack,
    /// A person is needed, because of this step.
    Rest(usize),
    CloseDone,
    CloseUndone,
}

/// What a run does next. Total: whatever the states are, there is an answer.
pub fn next(shapes: &[Shape], states: &[StepState], heading: Heading, now: Millis) -> Next {
    match heading {
        Heading::Resting => Next::Wait,
        Heading::Forward => forward(shapes, states, now),
        Heading::Back => back(shapes, states, now),
    }
}

/// Whether the point of no return is behind: its step was started, however it ended.
pub fn passed(shapes: &[Shape], states: &[StepState]) -> bool {
    shapes.iter().zip(states).any(|(shape, state)| shape.point_of_no_return && state.attempt > 0)
}

/// The next time at which [`next`] may say something else without anything having happened. What is due already has had
/// its turn, and waits for something else.
pub fn next_due(states: &[StepState], now: Millis) -> Option<Millis> {
    states.iter().filter_map(|state| state.due).filter(|due| *due > now).min()
}

impl StepState {
    /// The state after `event`; `done_before` counts the run's steps already done.
    pub fn after(
        &self,
        event: StepEvent,
        shape: &Shape,
        at: Moment,
        done_before: u32,
    ) -> Result<StepState, IllegalEvent> {
        let mut after = StepState { status: self.status.next(event)?, due: None, ..self.clone() };
        match event {
            StepEvent::Started => after.begin(self.status, shape, at),
            StepEvent::Succeeded => after.finish(at, done_before + 1),
            StepEvent::Failed => after.fail(shape, at),
            StepEvent::OutcomeUnknown => after.doubt(at),
            StepEvent::UndoStarted => after.begin_undo(shape, at),
            StepEvent::UndoFailed => after.fail_undo(at),
            StepEvent::UndoSucceeded | StepEvent::Skipped => after.ended = Some(at),
            StepEvent::Retried => after.try_again(at),
        }
        Ok(after)
    }

    fn begin(&mut self, before: StepStatus, shape: &Shape, at: Moment) {
        if before != StepStatus::Unknown {
            self.attempt += 1;
            self.unknowns = 0;
        }
        self.started = self.started.or(Some(at));
        self.ended = None;
        self.due = Some(at.mono.saturating_add(shape.timeout).saturating_add(GRACE));
    }

    fn finish(&mut self, at: Moment, done_as: u32) {
        self.done_as = done_as;
        self.ended = Some(at);
    }

    fn fail(&mut self, shape: &Shape, at: Moment) {
        self.ended = Some(at);
        if self.attempt <= shape.retries {
            self.due = Some(at.mono + backoff(self.attempt));
        }
    }

    fn doubt(&mut self, at: Moment) {
        self.unknowns += 1;
        if self.unknowns <= UNKNOWNS_MAX {
            // The first read-back is at once: most often the connection was cut after the work was done.
            let pause = if self.unknowns == 1 { 0 } else { backoff(self.unknowns - 1) };
            self.due = Some(at.mono + pause);
        }
    }

    fn begin_undo(&mut self, shape: &Shape, at: Moment) {
        self.undos += 1;
        self.due = Some(at.mono.saturating_add(shape.timeout).saturating_add(GRACE));
    }

    fn fail_undo(&mut self, at: Moment) {
        if self.undos < UNDOS_MAX {
            self.status = StepStatus::Undoing;
            self.due = Some(at.mono + backoff(self.undos));
        } else {
            self.ended = Some(at);
        }
    }

    fn try_again(&mut self, at: Moment) {
        self.due = Some(at.mono);
        // What is unknown stays so: the next try is a read-back, and is told from a first try by this.
        self.unknowns = self.unknowns.min(1);
        self.undos = 0;
    }

    /// Neither under way nor to be tried again by itself.
    fn given_up(&self) -> bool {
        match self.status {
            StepStatus::Failed | StepStatus::Unknown => self.due.is_none(),
            StepStatus::Stuck => true,
            _ => false,
        }
    }
}

fn forward(shapes: &[Shape], states: &[StepState], now: Millis) -> Next {
    let lost = |step: &usize| states[*step].given_up() && !shapes[*step].optional;
    if let Some(lost) = (0..states.len()).find(lost) {
        return after_failure(shapes, states, lost, now);
    }
    let ready: Vec<usize> = (0..states.len()).filter(|&step| may_start(shapes, states, step, now)).collect();
    if !ready.is_empty() {
        return Next::Start(ready);
    }
    let settled = |step| is_settled(&shapes[step], &states[step]);
    if (0..states.len()).all(settled) { Next::CloseDone } else { Next::Wait }
}

/// A step is given up: those beside it come to a definite end first, then the run turns back, or rests.
fn after_failure(shapes: &[Shape], states: &[StepState], lost: usize, now: Millis) -> Next {
    if let Some(wait) = definite_first(states, now) {
        return wait;
    }
    if passed(shapes, states) || states[lost].status != StepStatus::Failed {
        return Next::Rest(lost);
    }
    Next::TurnBack
}

fn back(shapes: &[Shape], states: &[StepState], now: Millis) -> Next {
    if let Some(wait) = definite_first(states, now) {
        return wait;
    }
    let open = |step: &usize| match states[*step].status {
        StepStatus::Unknown => !shapes[*step].optional,
        status => status == StepStatus::Stuck,
    };
    if let Some(lost) = (0..states.len()).find(open) {
        return Next::Rest(lost);
    }
    let last = (0..states.len())
        .filter(|&step| matches!(states[step].status, StepStatus::Done | StepStatus::Unknown) && shapes[step].undoable)
        .max_by_key(|&step| (!shapes[step].undone_last, states[step].done_as));
    last.map_or(Next::CloseUndone, Next::Undo)
}

/// What is under way or in doubt comes to an end before anything is undone.
fn definite_first(states: &[StepState], now: Millis) -> Option<Next> {
    let doubtful: Vec<usize> = (0..states.len())
        .filter(|&step| states[step].status == StepStatus::Unknown && states[step].due.is_some_and(|due| due <= now))
        .collect();
    if !doubtful.is_empty() {
        return Some(Next::Start(doubtful));
    }
    // An undo that failed waits for its next try; one that is under way waits for its outcome. Both have a due time.
    let undoing = states.iter().position(|s| s.status == StepStatus::Undoing);
    if let Some(step) = undoing {
        return Some(if states[step].due.is_some_and(|due| due <= now) { Next::Undo(step) } else { Next::Wait });
    }
    let waiting = |s: &StepState| s.status == StepStatus::Running || s.status == StepStatus::Unknown && s.due.is_some();
    states.iter().any(waiting).then_some(Next::Wait)
}

fn may_start(shapes: &[Shape], states: &[StepState], step: usize, now: Millis) -> bool {
    let state = &states[step];
    match state.status {
        StepStatus::Pending => shapes[step].needs.iter().all(|&need| is_settled(&shapes[need], &states[need])),
        StepStatus::Failed | StepStatus::Unknown => state.due.is_some_and(|due| due <= now),
        _ => false,
    }
}

fn is_settled(shape: &Shape, state: &StepState) -> bool {
    matches!(state.status, StepStatus::Done | StepStatus::Skipped) || shape.optional && state.given_up()
}

/// 1 s, 2 s, 4 s … at most a minute.
fn backoff(tries: u32) -> Millis {
    BACKOFF_FIRST.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(BACKOFF_MAX)
}
