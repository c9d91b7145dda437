//! Questions to people: asked once, kept while they are worth an answer, and answered for one version of the service.
//!
//! An approval starts its move only if nothing has changed since the policy last wanted it; else the policy is asked once
//! more. Knows nothing of who may answer: the shell has found that out.

use crate::contract::{self, Decision, Reason, Severity, Verdict};
use crate::desk::{Timer, Turn};
use crate::event::{Accepted, Moment, QuestionId, Refused, Revision};
use crate::fleet::{ServiceId, write_duration};
use crate::guard::{Kind, Origin, Proposal};
use crate::kernel::Kernel;
use crate::record::Change;
use crate::rules;
use crate::saga::StepEvent;
use crate::state::{About, Answer, Question, Ruling};

/// A question of the guard's is put for this long, then it is asked anew if it is still worth it.
const EXPIRES: contract::Millis = 3_600_000;

/// An estimate that has outgrown its question is asked anew as what it will be after this time, and that is how long it is asked.
const ROOM: contract::Millis = 900_000;

/// A person who says yes to an estimated loss has said yes to what is lost while the agents learn of it.
const UNTIL_TOLD: contract::Millis = 2_750;

impl Kernel {
    /// A verdict that may not be carried out without a person becomes a question; the same one is asked once.
    pub(crate) fn ask_person(
        &mut self,
        turn: &mut Turn,
        proposal: &Proposal,
        because: Vec<Reason>,
        revision: &Revision,
    ) -> QuestionId {
        let service = &self.fleet.services[proposal.service.at()].name;
        let verdict = proposal.verdict();
        let text = format!("{service}: may {} to {} begin?", verdict.name(), proposal.to);
        self.put_question(turn, proposal.service, vec![verdict], text, because, EXPIRES, revision)
    }

    /// The policy itself wants a person to decide.
    pub(crate) fn ask_for_policy(
        &mut self,
        turn: &mut Turn,
        id: ServiceId,
        asked: &contract::Question,
        decision: &Decision,
        revision: &Revision,
    ) -> Ruling {
        let options = asked.options.iter().cloned().map(Verdict::FailOver).collect();
        let because = decision.reasons.clone();
        let expires = if asked.expires_in == 0 { EXPIRES } else { asked.expires_in };
        let question = self.put_question(turn, id, options, asked.text.clone(), because.clone(), expires, revision);
        Ruling::Ask { question, because }
    }

    #[expect(clippy::too_many_arguments, reason = "a question has that many parts, and each caller knows others")]
    fn put_question(
        &mut self,
        turn: &mut Turn,
        id: ServiceId,
        options: Vec<Verdict>,
        text: String,
        reasons: Vec<Reason>,
        expires_in: contract::Millis,
        revision: &Revision,
    ) -> QuestionId {
        self.desk.service(id).question_version = Some(self.desk.services[id.at()].version);
        if let Some(open) = self.same_question(id, &options) {
            return open;
        }
        self.withdraw_moves(turn, id, "the policy now asks something else");
        let epoch = self.service_state(id).map_or(0, |known| known.life.epoch);
        let expires = turn.now.mono.saturating_add(expires_in);
        let question = Question {
            id: QuestionId(self.state.next_question),
            service: self.fleet.services[id.at()].name.clone(),
            about: About::Move { options, epoch, revision: revision.clone() },
            text,
            reasons,
            asked: turn.now,
            expires: Some(expires),
            answer: None,
        };
        let (number, subject) = (question.id, question.text.clone());
        let why: Vec<&str> = question.reasons.iter().map(|reason| reason.text.as_str()).collect();
        let body =
            format!("{}\nAnswer with `tidegate approve q{n}` or `tidegate reject q{n}`.", why.join("\n"), n = number.0);
        self.set(turn, rules::ASKED, Change::Asked { question: Box::new(question) });
        self.desk.at(expires, Timer::Expire(number));
        self.tell(turn, id, &format!("question/{}", number.0), Severity::Critical, &subject, &body);
        number
    }

    fn same_question(&self, id: ServiceId, wanted: &[Verdict]) -> Option<QuestionId> {
        let name = &self.fleet.services[id.at()].name;
        let same = |question: &&Question| match &question.about {
            About::Move { options, .. } => question.service == *name && same_options(options, wanted),
            _ => false,
        };
        self.state.open_questions().find(same).map(|question| question.id)
    }

    /// Questions about moving a service that are no longer worth an answer.
    pub(crate) fn withdraw_moves(&mut self, turn: &mut Turn, id: ServiceId, why: &str) {
        let name = &self.fleet.services[id.at()].name;
        let of_service =
            |question: &&Question| question.service == *name && matches!(question.about, About::Move { .. });
        let over: Vec<QuestionId> =
            self.state.open_questions().filter(of_service).map(|question| question.id).collect();
        for question in over {
            self.set(turn, rules::ANSWERED, Change::Answered { question, answer: Answer::Withdrawn(why.into()) });
        }
    }

    /// Nobody answered in time: the policy is asked whether it is still worth asking.
    pub(crate) fn expire(&mut self, turn: &mut Turn, question: QuestionId) {
        let Some(open) = self.state.questions.get(&question) else { return };
        let service = self.service_id(&open.service);
        self.set(turn, rules::ANSWERED, Change::Answered { question, answer: Answer::Expired });
        if let Some(service) = service {
            self.ask(turn, service);
        }
    }

    /// A person says yes.
    pub(crate) fn approve(
        &mut self,
        turn: &mut Turn,
        by: &str,
        question: QuestionId,
        option: usize,
    ) -> Result<Accepted, Refused> {
        let open = self.open_question(question)?;
        match open.about.clone() {
            About::Move { options, epoch, .. } => {
                let verdict = options.get(option).ok_or_else(|| no_option(option, options.len()))?;
                self.approve_move(turn, by, &open, verdict, epoch, option)
            }
            About::Confirm { run, step } => {
                let answer = Answer::Approved { by: by.into(), option };
                self.set(turn, rules::ANSWERED, Change::Answered { question, answer });
                self.end_step(turn, run, step, StepEvent::Succeeded, &format!("{by} says so"));
                self.drive(turn, run);
                Ok(accepted(format!("run r{} goes on", run.0), Some(question)))
            }
            About::Rest { run, .. } => Err(usage(
                "resting",
                &format!(
                    "run r{} rests; say what to do: `tidegate run retry|skip|undo|finish-by-hand r{}`",
                    run.0, run.0
                ),
            )),
        }
    }

    fn approve_move(
        &mut self,
        turn: &mut Turn,
        by: &str,
        open: &Question,
        verdict: &Verdict,
        epoch: u64,
        option: usize,
    ) -> Result<Accepted, Refused> {
        let id =
            self.service_id(&open.service).ok_or_else(|| usage("service", "that service is no longer declared"))?;
        let desk = &self.desk.services[id.at()];
        if desk.question_version != Some(desk.version) || desk.asked.is_some() {
            self.ask(turn, id);
            return Err(Refused {
                by_guard: true,
                reasons: vec![Reason::new(
                    "changed-since",
                    "something has changed since the policy wanted this; it is being asked again. Nothing was done; \
                     look at `tidegate status` and approve again if the question is still there",
                )],
            });
        }
        let proposal = self.approved(id, verdict, by, epoch, turn.now)?;
        if let Some(refused) = self.outgrown(turn, open, option, &proposal) {
            return Err(refused);
        }
        self.admit(&proposal, turn)?;
        let answer = Answer::Approved { by: by.into(), option };
        self.set(turn, rules::ANSWERED, Change::Answered { question: open.id, answer });
        let run = self.open_run(turn, &proposal).map_err(|reason| Refused { by_guard: true, reasons: vec![reason] })?;
        let text = format!("run r{} has begun: {} to {}", run.0, verdict.name(), proposal.to);
        Ok(Accepted { text, run: Some(run), question: Some(open.id) })
    }

    fn approved(
        &self,
        id: ServiceId,
        verdict: &Verdict,
        by: &str,
        epoch: u64,
        now: Moment,
    ) -> Result<Proposal, Refused> {
        let strategy = self.fleet.services[id.at()].strategy;
        let proposal = self.service_state(id).and_then(|known| Proposal::of(verdict, id, known, strategy));
        let proposal = proposal.ok_or_else(|| usage("verdict", "there is nothing to do"))?;
        let accept_loss = self.loss_accepted(&proposal, now);
        Ok(Proposal { origin: Origin::Person(by.into()), epoch, accept_loss, ..proposal })
    }

    /// With the yes to a promotion goes the yes to what it was said to lose: so much, or nobody knows how much.
    fn loss_accepted(&self, proposal: &Proposal, now: Moment) -> Option<contract::Millis> {
        let nothing = || proposal.expected_loss == Some(0) && self.keeps_all(proposal, now);
        if proposal.kind != Kind::FailOver || proposal.promote.is_empty() || nothing() {
            return None;
        }
        let bound = self.bound_of(proposal, now).map(|bound| bound.max(proposal.expected_loss.unwrap_or(0)));
        Some(bound.map_or(contract::Millis::MAX, |bound| bound.saturating_add(UNTIL_TOLD)))
    }

    /// Nobody says yes to more than was shown: an estimate that has outgrown its question becomes a new one.
    fn outgrown(&mut self, turn: &mut Turn, open: &Question, option: usize, wanted: &Proposal) -> Option<Refused> {
        let shown = wanted.expected_loss.filter(|_| wanted.kind == Kind::FailOver)?;
        let bound = self.bound_of(wanted, turn.now).filter(|bound| *bound > shown.saturating_add(UNTIL_TOLD))?;
        if self.keeps_all(wanted, turn.now) {
            return None;
        }
        let About::Move { mut options, revision, .. } = open.about.clone() else { return None };
        for verdict in &mut options {
            self.leave_room(verdict, wanted, turn.now);
        }
        self.withdraw_moves(turn, wanted.service, "its estimate of the loss has grown");
        let (text, reasons) = (grown_text(open, &options), grown_reasons(open));
        let anew = self.put_question(turn, wanted.service, options, text, reasons, ROOM, &revision);
        let which = if option == 0 { String::new() } else { format!(" --option {}", option + 1) };
        let text = format!(
            "up to {bound} ms of data may be lost by now, and {shown} ms were shown. Nothing was done; `tidegate approve q{}{which}` \
             accepts what it has become by then, at most {}",
            anew.0,
            write_duration(with_room(bound))
        );
        Some(Refused { by_guard: true, reasons: vec![Reason::new("changed-since", text)] })
    }

    /// What it may lose by the time that a person has read it.
    fn leave_room(&self, verdict: &mut Verdict, asked: &Proposal, now: Moment) {
        let Verdict::FailOver(to) = verdict else { return };
        let proposal = Proposal { promote: to.promote.clone(), ..asked.clone() };
        to.expected_loss = self.bound_of(&proposal, now).map(with_room).or(to.expected_loss);
    }

    /// A person says no: the same move is not asked about again for the length of the cooldown.
    pub(crate) fn reject(
        &mut self,
        turn: &mut Turn,
        by: &str,
        question: QuestionId,
        reason: &str,
    ) -> Result<Accepted, Refused> {
        let open = self.open_question(question)?;
        if let About::Rest { run, .. } = open.about {
            return Err(usage("resting", &format!("run r{} rests; it needs an order, not a no", run.0)));
        }
        let answer = Answer::Rejected { by: by.into(), reason: reason.into() };
        self.set(turn, rules::ANSWERED, Change::Answered { question, answer });
        match open.about {
            About::Confirm { run, step } => {
                self.end_step(turn, run, step, StepEvent::Failed, &format!("{by} says no: {reason}"));
                self.drive(turn, run);
            }
            About::Move { options, .. } => self.decline(turn, &open.service, &options),
            About::Rest { .. } => {}
        }
        Ok(accepted("refused; nothing is moved".into(), Some(question)))
    }

    fn decline(&mut self, turn: &mut Turn, service: &str, options: &[Verdict]) {
        let Some(id) = self.service_id(service) else { return };
        let until = turn.now.mono.saturating_add(self.fleet.services[id.at()].cooldown.max(EXPIRES));
        let strategy = self.fleet.services[id.at()].strategy;
        let to = options.first().and_then(|verdict| Proposal::of(verdict, id, self.service_state(id)?, strategy));
        if let Some(to) = to.map(|proposal| proposal.to) {
            let service = service.to_owned();
            self.set(turn, rules::ANSWERED, Change::Declined { service, to, until });
        }
    }

    fn open_question(&self, question: QuestionId) -> Result<Question, Refused> {
        let open = self.state.questions.get(&question).cloned();
        open.ok_or_else(|| usage("question", &format!("there is no open question q{}", question.0)))
    }
}

pub(crate) fn accepted(text: String, question: Option<QuestionId>) -> Accepted {
    Accepted { text, run: None, question }
}

/// A wrong name or a wrong time, rather than a guard's no.
pub(crate) fn usage(code: &str, text: &str) -> Refused {
    Refused { by_guard: false, reasons: vec![Reason::new(code, text)] }
}

fn no_option(option: usize, options: usize) -> Refused {
    usage("option", &format!("there is no option {option}; the question has {options}, counted from 0"))
}

/// To whole minutes, upwards.
fn with_room(bound: contract::Millis) -> contract::Millis {
    bound.saturating_add(ROOM).div_ceil(60_000).saturating_mul(60_000)
}

/// The options by their numbers, as the command line counts them, with what a yes to each says yes to.
fn grown_text(open: &Question, options: &[Verdict]) -> String {
    let option = |(nth, verdict): (usize, &Verdict)| {
        let Verdict::FailOver(to) = verdict else { return format!("{nth}: {}", verdict.name()) };
        let most = to
            .expected_loss
            .map_or("nobody knows how much".to_owned(), |most| format!("at most {}", write_duration(most)));
        format!("{nth}: promote {} at {}, {most}", to.promote.join(", else "), to.to_site)
    };
    let options: Vec<String> = (1..).zip(options).map(option).collect();
    let (service, open_for) = (&open.service, write_duration(ROOM));
    format!("{service}: a yes within {open_for} accepts what is lost by then. {}", options.join("; "))
}

/// What named the old figure is left out: the text has the new one.
fn grown_reasons(open: &Question) -> Vec<Reason> {
    open.reasons.iter().filter(|reason| reason.code != "loss-bound").cloned().collect()
}

/// An estimate that grows while nobody answers makes no other question of it.
fn same_options(asked: &[Verdict], wanted: &[Verdict]) -> bool {
    let bare = |verdict: &Verdict| match verdict.clone() {
        Verdict::FailOver(to) => Verdict::FailOver(contract::Move { expected_loss: None, ..to }),
        other => other,
    };
    asked.len() == wanted.len() && asked.iter().zip(wanted).all(|(a, b)| bare(a) == bare(b))
}
