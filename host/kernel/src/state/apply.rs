//! What a transition does to the state: it sets what it says, and decides nothing.
//!
//! Knows no rules: whether a transition may follow is the kernel's own business before it is written down.

use super::{
    Answer, Declined, Evacuation, Incident, Life, Notice, PastMove, Question, Run, RunEnd, ServiceState, State,
};
use crate::event::{Moment, QuestionId, RunId};
use crate::record::{Change, Transition};
use crate::saga::StepState;

/// Closed runs and answered messages that are kept for `status`; the journal keeps all.
const KEPT_RUNS: usize = 100;
const KEPT_TOLD: usize = 1_000;
const KEPT_MOVES: usize = 8;
const KEPT_INCIDENTS: usize = 100;
const KEPT_EVACUATIONS: usize = 20;

impl State {
    /// Sets what the transition says. The same for live execution and recovery, and total: what names something
    /// unknown changes nothing.
    pub fn apply(&mut self, transition: &Transition) {
        match &transition.change {
            Change::Life { service, life } => self.set_life(service, life),
            Change::Decision { service, last, memo } => self.with(service, |s| {
                s.last = Some((**last).clone());
                s.memo.clone_from(memo);
            }),
            Change::Holds { counts } => self.count(counts),
            Change::Ready { service, readiness } => self.with(service, |s| s.readiness = Some(readiness.clone())),
            Change::Route { service, route } => self.with(service, |s| s.route = Some(route.clone())),
            Change::Drift { service, drift } => self.with(service, |s| s.drift.clone_from(drift)),
            Change::Cluster { cluster, state } => drop(self.clusters.insert(cluster.clone(), (**state).clone())),
            Change::Pause { service: Some(service), pause } => self.with(service, |s| s.pause.clone_from(pause)),
            Change::Pause { service: None, pause } => self.paused.clone_from(pause),
            Change::Declined { service, to, until } => {
                self.with(service, |s| s.declined = Some(Declined { to: to.clone(), until: *until }));
            }
            Change::RunOpened { run } => self.open(run),
            Change::Step { run, step, state } => self.set_step(*run, *step, state),
            Change::RunHeading { run, heading } => {
                if let Some(run) = self.runs.get_mut(run) {
                    run.heading = *heading;
                }
            }
            Change::RunClosed { run, end, at } => self.close(*run, end, *at),
            Change::Asked { question } => self.ask(question),
            Change::Answered { question, answer } => self.answer(*question, answer),
            Change::Incident { incident } => self.set_incident(incident),
            Change::Evacuation { evacuation } => self.set_evacuation(evacuation),
            Change::IncidentsSeen => self.incidents.iter_mut().for_each(|incident| incident.seen = true),
            Change::Brake { tripped } => self.brake.clone_from(tripped),
            Change::Freeze { freeze } => self.freeze.clone_from(freeze),
            Change::Tell { notice } => self.tell(notice),
            Change::Told { key, channel } => {
                self.notices.remove(&notice_key(key, channel));
            }
        }
    }

    fn with(&mut self, service: &str, change: impl FnOnce(&mut ServiceState)) {
        if let Some(state) = self.services.get_mut(service) {
            change(state);
        }
    }

    fn set_life(&mut self, service: &str, life: &Life) {
        match self.services.get_mut(service) {
            Some(state) => state.life = life.clone(),
            None => {
                self.services.insert(service.to_owned(), ServiceState::new(life.clone()));
            }
        }
    }

    fn count(&mut self, counts: &[(String, u64)]) {
        for (service, count) in counts {
            self.with(service, |s| {
                if let Some(last) = &mut s.last {
                    last.repeated += count;
                }
            });
        }
    }

    fn open(&mut self, run: &Run) {
        self.next_run = self.next_run.max(run.id.0 + 1);
        self.with(&run.service, |s| s.run = Some(run.id));
        self.runs.insert(run.id, run.clone());
        while self.runs.len() > KEPT_RUNS {
            let Some(oldest) = self.runs.values().find(|run| run.end.is_some()).map(|run| run.id) else { break };
            self.runs.remove(&oldest);
        }
    }

    fn set_step(&mut self, run: RunId, step: usize, state: &StepState) {
        if let Some(step) = self.runs.get_mut(&run).and_then(|run| run.steps.get_mut(step)) {
            step.state = state.clone();
        }
    }

    fn close(&mut self, run: RunId, end: &RunEnd, at: Moment) {
        let Some(run) = self.runs.get_mut(&run) else { return };
        run.end = Some(end.clone());
        run.closed = Some(at);
        let past = PastMove {
            finished: at,
            from: run.from.clone(),
            to: run.to.clone(),
            succeeded: *end != RunEnd::Undone,
            automatic: run.by.is_none(),
        };
        let (service, moved) = (run.service.clone(), run.moves());
        self.with(&service, |s| {
            s.run = None;
            if moved {
                s.moves.insert(0, past);
                s.moves.truncate(KEPT_MOVES);
            }
        });
    }

    fn ask(&mut self, question: &Question) {
        self.next_question = self.next_question.max(question.id.0 + 1);
        self.questions.insert(question.id, question.clone());
    }

    /// An answered question lives on in the journal only.
    fn answer(&mut self, question: QuestionId, _: &Answer) {
        self.questions.remove(&question);
    }

    fn set_incident(&mut self, incident: &Incident) {
        match self.incidents.iter_mut().find(|known| known.number == incident.number) {
            Some(known) => known.clone_from(incident),
            None => self.incidents.push(incident.clone()),
        }
        if self.incidents.len() > KEPT_INCIDENTS {
            self.incidents.remove(0);
        }
    }

    fn set_evacuation(&mut self, evacuation: &Evacuation) {
        self.evacuations.insert(evacuation.id, evacuation.clone());
        if self.evacuations.len() > KEPT_EVACUATIONS {
            self.evacuations.pop_first();
        }
    }

    fn tell(&mut self, notice: &Notice) {
        if !self.told.contains(&notice.key) {
            self.told.push(notice.key.clone());
        }
        if self.told.len() > KEPT_TOLD {
            self.told.remove(0);
        }
        self.notices.insert(notice_key(&notice.key, &notice.channel), notice.clone());
    }
}

impl ServiceState {
    fn new(life: Life) -> Self {
        ServiceState {
            life,
            route: None,
            drift: None,
            readiness: None,
            pause: None,
            last: None,
            memo: None,
            moves: Vec::new(),
            declined: None,
            run: None,
        }
    }
}

fn notice_key(key: &str, channel: &str) -> String {
    format!("{key} → {channel}")
}
