//! What people are told: at least once, each with its key, and not once for every service of the same incident.
//!
//! Knows no channel's provider; a message that does not get through is sent again until it is given up.

use crate::contract::{Fact, Failure, Message, Millis, Severity};
use crate::desk::{Timer, Turn};
use crate::event::{Effect, JournalHead, Moment};
use crate::fleet::ServiceId;
use crate::kernel::Kernel;
use crate::record::{Cause, Change};
use crate::rules;
use crate::state::{LastDecision, Notice};

const RESEND_FIRST: Millis = 2_000;
const RESEND_MAX: Millis = 300_000;
/// After about two hours nobody is helped by the same words any more.
const RESENDS_MAX: u32 = 30;

impl Kernel {
    /// Tells the people of one service, once for each key.
    pub(crate) fn tell(
        &mut self,
        turn: &mut Turn,
        id: ServiceId,
        key: &str,
        severity: Severity,
        subject: &str,
        body: &str,
    ) {
        let service = &self.fleet.services[id.at()];
        let facts = vec![Fact { key: "service".into(), value: service.name.clone() }];
        let channels = match &service.notify[..] {
            [] => self.fleet.channels.keys().cloned().collect(),
            some => some.to_vec(),
        };
        let message = Message { severity, subject: subject.into(), body: body.into(), at: turn.now.wall, facts };
        self.send(turn, key, &channels, &message);
    }

    /// Tells everybody.
    pub(crate) fn tell_fleet(&mut self, turn: &mut Turn, key: &str, severity: Severity, text: &str) {
        let channels: Vec<String> = self.fleet.channels.keys().cloned().collect();
        let (subject, body) = (text.to_owned(), String::new());
        self.send(turn, key, &channels, &Message { severity, subject, body, at: turn.now.wall, facts: Vec::new() });
    }

    /// A policy failed: once for each kind of fault, for all services of the slot together.
    pub(crate) fn tell_fault(&mut self, turn: &mut Turn, id: ServiceId, last: &LastDecision) {
        let (service, fault) = (&self.fleet.services[id.at()], last.fault.clone().unwrap_or_default());
        let slot = service.policy.clone();
        let subject = format!("The policy in {slot} failed: {} is held where it is", service.name);
        let body = format!("{fault}\nNothing was changed. It is asked again soon, with an empty memo.");
        let key = format!("policy-fault/{slot}/{}/{}", last.revision.number, service.name);
        self.tell(turn, id, &key, Severity::Critical, &subject, &body);
    }

    /// A policy wants people to know: once each time that its analysis changes to it.
    pub(crate) fn tell_alarm(&mut self, turn: &mut Turn, id: ServiceId, last: &LastDecision) {
        let Some(severity) = last.alarm else { return };
        let service = self.fleet.services[id.at()].name.clone();
        let subject = format!("{service}: {}", last.analysis.replace('-', " "));
        let body: Vec<&str> = last.reasons.iter().map(|reason| reason.text.as_str()).collect();
        let key = format!("alarm/{service}/{}/{}", last.analysis, turn.now.mono);
        self.tell(turn, id, &key, severity, &subject, &body.join("\n"));
    }

    /// Somebody changed the journal behind an agent's back: recorded each time that it is noticed, told once.
    pub(crate) fn rewritten(
        &mut self,
        agent: String,
        seen: JournalHead,
        shown: JournalHead,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let mut turn = Turn::new(now);
        let text = format!(
            "The journal was changed or cut: agent {agent} remembers record {} as {}, and was shown record {} as {}. Find out \
             who did it before you trust what it says; `tidegate journal verify` and a copy of it help",
            seen.number, seen.hash, shown.number, shown.hash
        );
        let key = format!("journal-rewritten/{agent}/{}/{}", seen.hash, shown.hash);
        self.tell_fleet(&mut turn, &key, Severity::Critical, &text);
        turn.finish_recorded(Cause::Rewritten { agent, seen, shown }, effects);
    }

    fn send(&mut self, turn: &mut Turn, key: &str, channels: &[String], message: &Message) {
        if self.state.told.iter().any(|told| told == key) {
            return;
        }
        for channel in channels {
            let wanted = self.fleet.channels.get(channel).is_some_and(|to| message.severity >= to.severity);
            if !wanted {
                continue;
            }
            let notice = Notice { key: key.to_owned(), channel: channel.clone(), message: message.clone() };
            self.set(turn, rules::TELL, Change::Tell { notice: Box::new(notice.clone()) });
            turn.effect(notify(&notice));
        }
    }

    /// A message reached its channel, or did not.
    pub(crate) fn sent(
        &mut self,
        key: String,
        channel: String,
        result: Result<(), Failure>,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let mut turn = Turn::new(now);
        let known = self.state.notices.values().any(|notice| notice.key == key && notice.channel == channel);
        if !known {
            return;
        }
        let failure = result.err();
        if failure.is_some() && self.again(&key, &channel, now) {
            return;
        }
        self.desk.resends.remove(&(key.clone(), channel.clone()));
        self.set(&mut turn, rules::TOLD, Change::Told { key: key.clone(), channel: channel.clone() });
        turn.finish(|| Cause::Sent { key, channel, failure }, effects);
    }

    fn again(&mut self, key: &str, channel: &str, now: Moment) -> bool {
        let tries = self.desk.resends.entry((key.to_owned(), channel.to_owned())).or_default();
        *tries += 1;
        let pause = RESEND_FIRST.saturating_mul(1 << (*tries - 1).min(16)).min(RESEND_MAX);
        if *tries > RESENDS_MAX {
            return false;
        }
        self.desk.at(now.mono + pause, Timer::Resend(key.to_owned(), channel.to_owned()));
        true
    }

    /// A message is due again.
    pub(crate) fn resend(&mut self, turn: &mut Turn, key: &str, channel: &str) {
        let waiting = self.state.notices.values().find(|notice| notice.key == key && notice.channel == channel);
        if let Some(notice) = waiting {
            turn.effect(notify(notice));
        }
    }

    /// Messages not known to have been sent, after a start.
    pub(crate) fn resend_all(&self, turn: &mut Turn) {
        self.state.notices.values().for_each(|notice| turn.effect(notify(notice)));
    }
}

fn notify(notice: &Notice) -> Effect {
    Effect::Notify { key: notice.key.clone(), channel: notice.channel.clone(), message: notice.message.clone() }
}
