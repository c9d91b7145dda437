//! What a run kept of what was promised: how long the service was away and what was lost at most, step by step.
//!
//! Told from the run alone, so that it says the same tomorrow. Where the host cannot know, it says so; nothing is rounded
//! in its own favour: an outage begins when the service was last seen well.

use crate::contract::Millis;
use crate::event::{Action, Moment};
use crate::guard::Kind;
use crate::kernel::Kernel;
use crate::runbook::describe;
use crate::runs::data::{PERSON, fence_proof, has_quorum, position, proven, proven_at};
use crate::saga::StepStatus;
use crate::state::{DataMove, Run, RunEnd, Step};
use crate::view::{Kept, LossReport, Mark, OutageReport, RunReport, StepReport};

impl Kernel {
    /// What a run kept, while the state still has it.
    pub fn report(&self, id: crate::event::RunId) -> Option<RunReport> {
        self.state.runs.get(&id).map(report)
    }
}

/// What a run kept.
pub fn report(run: &Run) -> RunReport {
    RunReport {
        id: run.id,
        service: run.service.clone(),
        kind: run.kind.clone(),
        from: run.from.clone(),
        to: run.to.clone(),
        by: run.by.clone(),
        end: run.end.clone(),
        promised: run.promised,
        outage: outage(run),
        loss: loss(run),
        marks: marks(run),
        steps: run.steps.iter().map(|step| step_report(step, run.opened)).collect(),
    }
}

/// What happened when, in the order in which it did.
fn marks(run: &Run) -> Vec<Mark> {
    let mut marks = Vec::new();
    let mut mark = |name: &str, at: Option<Moment>, text: String| {
        if let Some(at) = at {
            marks.push(Mark { name: name.to_owned(), at, text });
        }
    };
    mark("seen well", run.seen_well, format!("a vantage point still found it well at {}", run.from));
    if let Some(data) = &run.data {
        mark(
            "primary answered",
            data.contact,
            format!("node {} of {} answered for the last time", data.from, data.cluster),
        );
    }
    mark("decided", Some(run.opened), run.by.as_ref().map_or("by itself".into(), |by| format!("on the word of {by}")));
    let proof = run.data.as_ref().and_then(|data| proven(run, &data.from));
    mark("proven", proof_had(run), proof.map_or_else(String::new, |proof| proof.kind));
    mark("promoted", ended(run, is_promotion), run.data.as_ref().and_then(|data| data.to.clone()).unwrap_or_default());
    mark("traffic led", ended(run, |action| matches!(action, Action::PointRoute { .. })), format!("to {}", run.to));
    mark(
        "seen well again",
        ended(run, |action| matches!(action, Action::AwaitHealthy { .. })),
        format!("at {}", run.to),
    );
    mark("data checked", ended(run, |action| matches!(action, Action::VerifyData { .. })), String::new());
    mark("closed", run.closed, String::new());
    marks.sort_by_key(|mark| mark.at);
    marks
}

/// When the promotion's proof was had: at the end of the wait for one, else of the primary's own stop.
fn proof_had(run: &Run) -> Option<Moment> {
    let waits = run.steps.iter().any(|step| matches!(step.action, Action::AwaitProof { .. }));
    let kind = |action: &Action| match action {
        Action::AwaitProof { .. } => waits,
        Action::Fence { .. } => !waits,
        _ => false,
    };
    ended(run, kind)
}

fn is_promotion(action: &Action) -> bool {
    matches!(action, Action::Promote { .. })
}

/// When the last step of that kind ended well; none while one of them has not.
fn ended(run: &Run, kind: impl Fn(&Action) -> bool) -> Option<Moment> {
    let of_kind: Vec<&Step> = run.steps.iter().filter(|step| kind(&step.action)).collect();
    let all = of_kind.iter().all(|step| step.state.status == StepStatus::Done);
    of_kind.iter().filter_map(|step| step.state.ended).max().filter(|_| all)
}

fn begun(run: &Run, kind: impl Fn(&Action) -> bool) -> Option<Moment> {
    run.steps.iter().filter(|step| kind(&step.action)).filter_map(|step| step.state.started).min()
}

fn outage(run: &Run) -> OutageReport {
    let (began, ended) = (outage_began(run), outage_ended(run));
    let measured = began.zip(ended).map(|((from, _), to)| to.mono.saturating_sub(from.mono));
    let verdict = match (measured, run.promised, &run.end) {
        (Some(measured), Some(promised), Some(RunEnd::Done)) if measured <= promised.rto => Kept::Kept,
        (Some(_), Some(_), Some(RunEnd::Done)) => Kept::Missed,
        _ => Kept::Unknown,
    };
    OutageReport { at_most: measured, text: outage_text(run, began.map(|(_, from)| from), measured), verdict }
}

/// Nobody saw more than this: the service was last known to answer then.
fn outage_began(run: &Run) -> Option<(Moment, &'static str)> {
    if run.kind == Kind::FailOver.name() {
        let contact = run
            .data
            .as_ref()
            .and_then(|data| data.contact)
            .map(|at| (at, "since its primary answered for the last time"));
        let seen = run.seen_well.map(|at| (at, "since a vantage point found it well for the last time"));
        // Whichever was lost first: a service without its data answers nobody.
        return [contact, seen].into_iter().flatten().min_by_key(|(at, _)| at.mono);
    }
    let stopped = begun(run, |action| matches!(action, Action::Fence { .. }));
    stopped.map(|at| (at, "since its primary began to be stopped"))
}

/// The service counts as back once it is seen well where it went; else once everything that leads there was done.
fn outage_ended(run: &Run) -> Option<Moment> {
    let seen = ended(run, |action| matches!(action, Action::AwaitHealthy { .. }));
    seen.or_else(|| ended(run, |action| matches!(action, Action::PointRoute { .. }) || is_promotion(action)))
}

fn outage_text(run: &Run, since: Option<&str>, measured: Option<Millis>) -> String {
    match (since, measured, &run.end) {
        (Some(since), Some(_), _) => format!("{since}, until it was seen well at {}", run.to),
        (_, _, Some(RunEnd::Undone)) => "the move was undone: it did not end an outage".into(),
        (_, _, Some(RunEnd::ByHand(_))) => "a person finished it: nobody measured when the service was back".into(),
        (Some(_), None, None) => "it is not over".into(),
        (None, _, _) if run.kind == Kind::FailOver.name() => {
            "nobody saw when the service was well for the last time".into()
        }
        _ => "both sides served: nothing was stopped".into(),
    }
}

fn loss(run: &Run) -> LossReport {
    let Some(data) = run.data.as_ref().filter(|data| data.to.is_some()) else {
        return LossReport {
            beforehand: None,
            bytes: None,
            at_most: Some(0),
            text: "no data was moved".into(),
            verdict: Kept::Kept,
        };
    };
    let beforehand = if run.kind == Kind::FailOver.name() { data.beforehand() } else { Some(0) };
    let to = data.to.as_deref().unwrap_or_default();
    if ended(run, is_promotion).is_none() {
        let text = format!("node {to} was not promoted");
        return LossReport { beforehand, bytes: None, at_most: None, text, verdict: Kept::Unknown };
    }
    let bytes = lost_bytes(run, data);
    let quorum = data.published.as_ref().is_some_and(|set| has_quorum(run, set));
    let at_most = if bytes == Some(0) || quorum { Some(0) } else { grown(run, data) };
    LossReport {
        beforehand,
        bytes,
        at_most,
        text: loss_text(data, bytes, quorum),
        verdict: rpo_verdict(run, bytes, at_most),
    }
}

/// The bound as the run began, and what may have been acknowledged until the proof. A person's word bounds nothing.
fn grown(run: &Run, data: &DataMove) -> Option<Millis> {
    let proof = proven(run, &data.from).filter(|proof| proof.kind != PERSON)?;
    let until = proven_at(run).filter(|_| proof.position.is_none()).unwrap_or(run.opened.mono);
    Some(data.loss_bound? + until.saturating_sub(run.opened.mono))
}

fn rpo_verdict(run: &Run, bytes: Option<u64>, at_most: Option<Millis>) -> Kept {
    let Some(promised) = run.promised else { return Kept::Unknown };
    match (at_most, bytes) {
        (Some(bound), _) if bound <= promised.rpo => Kept::Kept,
        (_, Some(lost)) if lost > 0 && promised.rpo == 0 => Kept::Missed,
        _ => Kept::Unknown,
    }
}

fn loss_text(data: &DataMove, bytes: Option<u64>, quorum: bool) -> String {
    let (from, to) = (&data.from, data.to.as_deref().unwrap_or_default());
    match bytes {
        Some(0) => format!("node {to} had all the log that node {from} had"),
        Some(lost) if quorum => {
            format!("no acknowledged write: the {lost} bytes that only node {from} has were acknowledged to nobody")
        }
        Some(lost) => format!("node {to} lacked the last {lost} bytes of log that node {from} had"),
        None if quorum => {
            format!(
                "no acknowledged write: what commits waited for had reached the standbys that node {to} caught up with"
            )
        }
        None => format!("node {from} could not say how far it had come: what only it has is told when it returns"),
    }
}

/// What the candidate lacked of the old primary's log, where the old primary's own end is known.
fn lost_bytes(run: &Run, data: &DataMove) -> Option<u64> {
    let end = fence_proof(run, &data.from)?.position?;
    Some(end.saturating_sub(position(run, data.to.as_deref()?)?))
}

fn step_report(step: &Step, opened: Moment) -> StepReport {
    let state = &step.state;
    let since = |at: Moment| at.mono.saturating_sub(opened.mono);
    StepReport {
        name: step.name.clone(),
        what: describe(&step.action),
        status: state.status,
        began: state.started.map(since),
        took: state.started.zip(state.ended).map(|(from, to)| to.mono.saturating_sub(from.mono)),
        tries: state.attempt,
        text: state.text.clone(),
    }
}
