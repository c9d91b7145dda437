//! Whether each record of a journal follows from those before it by the rules: what recovery takes for granted.
//!
//! Asks no policy and knows no fleet: what was seen is not journaled, and what the fleet file said then is gone. So a change
//! that only these two explain is held against what the journal itself shows, and no more is claimed.

use crate::event::{Command, Moment};
use crate::record::{Cause, Change, Decided, Record, Transition};
use crate::rules::{self, RuleNumber};
use crate::service;
use crate::state::{self, Answer, ClusterState, LastDecision, ServiceState, State, content_hash};

mod evacuation;
mod life;
mod run;

/// Reads a journal from its first record on.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    state: State,
    last: Option<Moment>,
    /// Of the host that wrote what is being read.
    version: String,
    /// Transitions that were held against the rules.
    pub transitions: u64,
    /// Checkpoints whose hash was compared.
    pub checkpoints: u64,
}

/// One transition, where it stands.
struct Scene<'a> {
    before: &'a State,
    record: &'a Record,
    /// What the same record says ahead of it.
    earlier: &'a [Transition],
    rule: RuleNumber,
}

/// Nothing, or why it does not follow.
type Follows = Result<(), String>;

impl Replay {
    /// Takes the next record; says what in it does not follow. It is applied all the same, so that what comes after is
    /// held against what the journal says.
    pub fn follow(&mut self, record: &Record) -> Vec<String> {
        let mut strange: Vec<String> = self.place(record).err().into_iter().collect();
        for (at, transition) in record.transitions.iter().enumerate() {
            let earlier = &record.transitions[..at];
            let scene = Scene { before: &self.state, record, earlier, rule: transition.rule };
            if let Err(why) = scene.follows(&transition.change) {
                strange.push(format!("rule {}: {why}", transition.rule));
            }
            self.state.apply(transition);
            self.transitions += 1;
        }
        strange.extend(self.whole(record).err());
        self.last = Some(record.at);
        strange
    }

    /// What the journal says up to here.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Of the host that wrote the last record.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Whether a record may stand here at all.
    fn place(&mut self, record: &Record) -> Follows {
        let first = self.last.is_none();
        if let Cause::Started { version, recovered } = &record.cause {
            self.version.clone_from(version);
            must(*recovered != first, || "a host starts without the records before it".into())?;
        } else {
            must(!first, || "a journal begins with the start of a host".into())?;
        }
        let later = self.last.is_none_or(|last| last.mono <= record.at.mono);
        must(later, || "it happened before the record that stands before it".into())
    }

    /// What a record has to have as a whole.
    fn whole(&mut self, record: &Record) -> Follows {
        match &record.cause {
            Cause::Decided(decided) => self.decided(decided, record),
            Cause::Checkpoint { format: state::FORMAT, state } => {
                self.checkpoints += 1;
                must(self.state.hash() == *state, || "the records before it do not add up to its state".into())
            }
            _ => Ok(()),
        }
    }

    fn decided(&self, decided: &Decided, record: &Record) -> Follows {
        let noted = |transition: &Transition| matches!(transition.change, Change::Decision { .. });
        must(record.transitions.iter().any(noted), || "a decision was asked for, and none is noted".into())?;
        // Another version may write the same situation in other words.
        let body = decided.situation.body.as_ref().filter(|_| self.version == env!("CARGO_PKG_VERSION"));
        let whole = body.is_none_or(|body| content_hash(body) == decided.situation.hash);
        must(whole, || "the situation is not the one that was decided on: its hash is another".into())
    }
}

impl Scene<'_> {
    fn follows(&self, change: &Change) -> Follows {
        must(rules::text(self.rule).is_some(), || "there is no such rule".into())?;
        must(may_make(self.rule, change), || "that rule makes no such change".into())?;
        match change {
            Change::Life { service, life } => self.life(service, life),
            Change::RunOpened { run } => self.run_opened(run),
            Change::Step { run, step, state } => self.step(*run, *step, state),
            Change::RunHeading { run, heading } => self.run_heading(*run, *heading),
            Change::RunClosed { run, end, at } => self.run_closed(*run, end, *at),
            Change::Decision { service, last, .. } => self.decision(service, last),
            Change::Route { service, route } => self.route(service, route),
            Change::Cluster { cluster, state } => self.cluster(cluster, state),
            Change::Holds { counts } => counts.iter().try_for_each(|(service, _)| self.service(service).map(drop)),
            Change::Ready { service, .. } | Change::Drift { service, .. } => self.service(service).map(drop),
            Change::Pause { service, pause } => self.pause(service.as_deref(), pause.is_some()),
            Change::Declined { service, .. } => {
                self.service(service)?;
                must(self.orders(|order| matches!(order, Command::Reject { .. })), || "nobody refused it".into())
            }
            Change::Asked { question } => {
                let next = question.id.0 == self.before.next_question && question.answer.is_none();
                must(next, || format!("question q{} is not the next one", question.id.0))?;
                self.service(&question.service).map(drop)
            }
            Change::Answered { question, answer } => self.answered(*question, answer),
            Change::Incident { incident } => {
                let known = self.before.incidents.iter().find(|known| known.number == incident.number);
                let next = self.before.incidents.last().map_or(1, |last| last.number + 1);
                let grows = known.map_or(incident.number == next, |known| known.services.is_subset(&incident.services));
                must(grows, || format!("incident {} neither is the next one nor grows", incident.number))
            }
            Change::Evacuation { evacuation } => self.evacuation(evacuation),
            Change::Brake { tripped: None } | Change::Freeze { freeze: None } | Change::IncidentsSeen => {
                must(self.orders(|order| matches!(order, Command::Rearm { .. })), || "nobody re-armed".into())
            }
            Change::Brake { .. } => must(self.before.brake.is_none(), || "the brake had tripped already".into()),
            Change::Freeze { .. } => must(self.before.freeze.is_none(), || "moves were frozen already".into()),
            Change::Told { key, channel } => {
                let mut waiting = self.before.notices.values();
                let known = waiting.any(|notice| notice.key == *key && notice.channel == *channel);
                must(known, || format!("no message {key} was on its way to {channel}"))
            }
            Change::Tell { .. } => Ok(()),
        }
    }

    fn service(&self, name: &str) -> Result<&ServiceState, String> {
        self.before.services.get(name).ok_or_else(|| format!("the service {name} is not known"))
    }

    fn orders(&self, so: impl FnOnce(&Command) -> bool) -> bool {
        matches!(&self.record.cause, Cause::Ordered { command, .. } if so(command))
    }

    fn is_by(&self, name: &str) -> bool {
        matches!(&self.record.cause, Cause::Ordered { by, .. } if by == name)
    }

    /// What is noted of a decision is what was decided.
    fn decision(&self, service: &str, last: &LastDecision) -> Follows {
        self.service(service)?;
        let Cause::Decided(decided) = &self.record.cause else { return Err("there was no decision".into()) };
        let decision = decided.result.clone().unwrap_or_else(|_| state::no_decision());
        let told = (&last.verdict, &last.analysis, &last.reasons, &last.vetoes, &last.would_change_if);
        let said =
            (&decision.verdict, &decision.analysis, &decision.reasons, &decision.vetoes, &decision.would_change_if);
        let same = decided.service == service
            && decided.revision == last.revision
            && decided.situation.hash == last.situation
            && decided.result.as_ref().err() == last.fault.as_ref()
            // An older host noted no alarm.
            && last.alarm.is_none_or(|alarm| state::alarm_of(&decision) == Some(alarm))
            && told == said;
        must(same, || format!("what is noted is not what the policy of {service} decided"))
    }

    /// Only a promotion changes the primary, and the one before is no standby until it was made one.
    fn cluster(&self, name: &str, state: &ClusterState) -> Follows {
        let Some(before) = self.before.clusters.get(name) else {
            return must(self.rule == rules::CLUSTER_SEEN, || format!("nothing was known of {name} yet"));
        };
        let promotes = self.rule == rules::PROMOTED;
        must(promotes == (before.primary != state.primary), || format!("that rule does not change who leads {name}"))?;
        let kept = !promotes || state.outside.contains_key(&before.primary);
        must(kept, || format!("node {} still counts, though it was replaced", before.primary))
    }

    fn pause(&self, service: Option<&str>, pausing: bool) -> Follows {
        service.map_or(Ok(()), |name| self.service(name).map(drop))?;
        let ordered = self.orders(|order| match order {
            Command::Pause { service: of, .. } => pausing && of.as_deref() == service,
            Command::Resume { service: of } => !pausing && of.as_deref() == service,
            _ => false,
        });
        must(ordered, || "nobody ordered it".into())
    }

    fn answered(&self, question: crate::event::QuestionId, answer: &Answer) -> Follows {
        let open = self.before.questions.get(&question);
        let open = open.ok_or_else(|| format!("question q{} is not open", question.0))?;
        let so = match answer {
            Answer::Approved { by, .. } | Answer::Rejected { by, .. } => self.is_by(by),
            Answer::Expired => open.expires.is_some_and(|due| due <= self.record.at.mono),
            Answer::Withdrawn(_) => true,
        };
        must(so, || format!("question q{} was not answered so", question.0))
    }
}

/// The changes that each rule makes.
fn may_make(rule: RuleNumber, change: &Change) -> bool {
    use crate::rules as r;
    match change {
        Change::Life { .. } => {
            matches!(rule, r::DECLARED | r::RUN_OPENED | r::RUN_CLOSED | r::SETTLED)
                || service::RULES.iter().any(|row| row.number == rule)
        }
        Change::Decision { .. } => rule == r::DECISION,
        Change::Holds { .. } => rule == r::HOLDS_COUNTED,
        Change::Ready { .. } => rule == r::READINESS,
        Change::Route { .. } => matches!(rule, r::ROUTE_SEEN | r::ROUTE_WRITTEN | r::SETTLED),
        Change::Drift { .. } => matches!(rule, r::ROUTE_SEEN | r::SETTLED),
        Change::Cluster { .. } => matches!(
            rule,
            r::CLUSTER_SEEN
                | r::NODE_OUTSIDE
                | r::NODE_REJOINED
                | r::PROMOTED
                | r::SYNCHRONOUS
                | r::DATA_CHECKED
                | r::DIVERGED
        ),
        Change::Pause { .. } => rule == r::PAUSED,
        Change::RunOpened { .. } => rule == r::RUN_OPENED,
        Change::Step { .. } => !run::events(rule).is_empty(),
        Change::RunHeading { .. } => matches!(rule, r::RUN_BACK | r::RUN_RESTS | r::TAKEN_OVER | r::RUN_GOES_ON),
        Change::RunClosed { .. } => rule == r::RUN_CLOSED,
        Change::Asked { .. } => rule == r::ASKED,
        Change::Answered { .. } | Change::Declined { .. } => rule == r::ANSWERED,
        Change::Incident { .. } => rule == r::INCIDENT,
        Change::Evacuation { .. } => {
            matches!(rule, r::EVACUATION_BEGUN | r::EVACUATION_WENT_ON | r::EVACUATION_ENDED)
        }
        Change::IncidentsSeen => rule == r::REARMED,
        Change::Brake { tripped } => rule == if tripped.is_some() { r::BRAKE } else { r::REARMED },
        Change::Freeze { freeze } => rule == if freeze.is_some() { r::FREEZE } else { r::REARMED },
        Change::Tell { .. } => rule == r::TELL,
        Change::Told { .. } => rule == r::TOLD,
    }
}

fn must(so: bool, else_say: impl FnOnce() -> String) -> Follows {
    if so { Ok(()) } else { Err(else_say()) }
}
