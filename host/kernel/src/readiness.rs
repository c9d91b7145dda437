//! Whether all that a move would need works, checked again and again while nothing is wrong.
//!
//! Knows not how it is checked: the shell asks the providers. Told when it is lost and when it is back.

use crate::contract::{Millis, Reason, Severity};
use crate::desk::{Timer, Turn};
use crate::event::{Effect, Moment};
use crate::fleet::ServiceId;
use crate::kernel::Kernel;
use crate::record::{Cause, Change};
use crate::rules;
use crate::state::Readiness;

const CHECK_EVERY: Millis = 300_000;
/// What stands in the way is often repaired within seconds.
const CHECK_AGAIN: Millis = 10_000;

impl Kernel {
    /// Asks now, and from then on every so often.
    pub(crate) fn check_ready(&mut self, turn: &mut Turn, id: ServiceId) {
        self.check_ready_later(turn, id);
        turn.effect(Effect::CheckReady { service: id });
    }

    fn check_ready_later(&mut self, turn: &mut Turn, id: ServiceId) {
        let readiness = self.service_state(id).and_then(|known| known.readiness.as_ref());
        let blocked = readiness.is_some_and(|readiness| !readiness.blockers.is_empty());
        let pause = if blocked { CHECK_AGAIN } else { CHECK_EVERY };
        self.desk.service_timer(id, Timer::CheckReady(id), turn.now.mono + pause + spread(id));
    }

    /// The answer; only a new one is news.
    pub(crate) fn ready_checked(
        &mut self,
        id: ServiceId,
        blockers: Vec<Reason>,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let mut turn = Turn::new(now);
        let Some(known) = self.service_state(id) else { return };
        let codes = |blockers: &[Reason]| blockers.iter().map(|reason| reason.code.clone()).collect::<Vec<_>>();
        let before = known.readiness.as_ref().map(|readiness| codes(&readiness.blockers));
        if before.as_ref() == Some(&codes(&blockers)) {
            return;
        }
        let service = self.fleet.services[id.at()].name.clone();
        self.tell_readiness(&mut turn, id, before.is_some_and(|codes| !codes.is_empty()), &blockers);
        let readiness = Readiness { blockers, since: now };
        self.set(&mut turn, rules::READINESS, Change::Ready { service: service.clone(), readiness });
        self.check_ready_later(&mut turn, id);
        turn.finish(|| Cause::ReadyChecked { service }, effects);
    }

    fn tell_readiness(&mut self, turn: &mut Turn, id: ServiceId, was_blocked: bool, blockers: &[Reason]) {
        let service = self.fleet.services[id.at()].name.clone();
        let key = format!("ready/{service}/{}", turn.now.mono);
        if !blockers.is_empty() {
            let why: Vec<&str> = blockers.iter().map(|reason| reason.text.as_str()).collect();
            let subject = format!("{service} could not be moved now");
            self.tell(turn, id, &key, Severity::Critical, &subject, &why.join("\n"));
        } else if was_blocked {
            self.tell(turn, id, &key, Severity::Info, &format!("{service} could be moved again"), "");
        }
    }
}

/// So that a large fleet does not ask everything in the same moment.
pub(crate) fn spread(id: ServiceId) -> Millis {
    u64::from(id.0) * 977 % 5_000
}
