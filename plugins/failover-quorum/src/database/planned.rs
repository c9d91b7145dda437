//! Moves that lose nothing, because the primary still answers: it stops taking writes, the standby catches up, then takes over.
//!
//! Where that cannot be, says why; an emergency is `decide.rs`'s.

use std::time::Duration;

use tidegate_sdk::{Decision, Move, Node, PastMove};

use super::Case;
use super::analysis::Finding;
use super::candidates::{self, Choice, Purpose};
use super::decide::emergency;
use super::picture::has;
use crate::decide::{SOON, dependency_down, question};
use crate::{limits, memo, words};

/// Failing writes are looked at this often.
const STEP: Duration = Duration::from_millis(500);
/// The next look at the nodes comes within a second.
const AGAIN: Duration = Duration::from_millis(200);
/// A move that failed so lately will not work now either.
const LATELY: u64 = 10 * 60_000;

/// Reads work, writes do not.
pub fn is_half_dead(primary: &Node) -> bool {
    has(primary, "write-failed") || primary.writable == Some(false)
}

/// Writes that keep failing: the planned way first, the emergency where that cannot be.
pub fn half_dead(case: &Case, primary: &Node) -> Decision {
    let (code, about) = ("half-dead-primary", format!("write-failed {}", primary.id));
    let text = format!("{} answers, and takes no writes", primary.id);
    let step = STEP.as_millis() as u64;
    let (times, line) = memo::seen(&case.situation.memo, &about, case.situation.now, step);
    if times < case.settings.write_failed_looks {
        let wanted = format!("writes fail {} times, {} apart", case.settings.write_failed_looks, words::span(step));
        return Decision::hold(code, text).would_change_if("confirmed", wanted).remember(line).ask_again_in(STEP);
    }
    let failed = |past: &PastMove| !past.succeeded && past.from_site == case.active.site && past.finished_ago < LATELY;
    let choice = candidates::weigh(case, Purpose::Planned);
    let to = best(case, &choice).filter(|_| !case.situation.moves.first().is_some_and(failed));
    let decision = match to {
        Some(to) => over(case, to, &choice, code, text),
        None => forced(case, &choice, code, text),
    };
    decision.remember(line)
}

/// Without the primary's help; but not while a standby gets log from it.
fn forced(case: &Case, choice: &Choice, code: &str, text: String) -> Decision {
    if case.picture.hearing(case.within()).next().is_none() {
        return emergency(case, code, text);
    }
    nobody(choice, code, text).because("heard", "a standby still gets log from it")
}

/// The vantage points have lost it, and the host has not: who uses it has.
pub fn isolated(case: &Case, primary: &Node) -> Decision {
    let votes = words::votes(&case.active.consensus);
    let (code, text) =
        ("isolated-primary", format!("{} answers us, and {votes} vantage points do not reach it", primary.id));
    if case.picture.age().is_none_or(|age| age >= case.active.consensus.held) {
        // A primary that has just died looks the same until it is looked at again.
        let text = format!("{votes} vantage points do not reach {}, which answered before they lost it", primary.id);
        let decision = Decision::hold(code, text).ask_again_in(AGAIN);
        return decision.would_change_if("sample", "the provider tells what it is like since then");
    }
    leave(case, code, text)
}

/// The service leaves its site, with its data.
pub fn leave(case: &Case, code: &str, text: String) -> Decision {
    let choice = candidates::weigh(case, Purpose::Planned);
    match best(case, &choice) {
        Some(to) => over(case, to, &choice, code, text),
        None => nobody(&choice, code, text),
    }
}

/// The primary was stopped from taking writes and is a standby now: it has everything, and takes them again. Where it may not,
/// it is as good as lost.
pub fn restore(case: &Case, finding: &Finding, primary: &Node) -> Decision {
    let mut choice = candidates::weigh(case, Purpose::Emergency);
    choice.fit.retain(|(node, _)| node.id == primary.id);
    match best(case, &choice) {
        Some(to) => over(case, to, &choice, finding.code(), finding.text()),
        None => emergency(case, finding.code(), finding.text()),
    }
}

fn best(case: &Case, choice: &Choice) -> Option<Move> {
    choice.best(case.situation.objectives.rpo)
}

fn over(case: &Case, to: Move, choice: &Choice, code: &str, text: String) -> Decision {
    if let Some(decision) = dependency_down(case.situation) {
        return decision.because(code, text);
    }
    let chosen = format!("{} at {} takes over, and nothing is lost", to.promote.join(", else "), to.to_site);
    let moving = Decision::switch_over(to.clone(), code, text).because("candidate", chosen);
    let moving = moving.would_change_if("recovered", "it works again");
    let mut decision = match limits::obstacle(case.settings, case.situation, case.situation.failover) {
        None => moving,
        Some(obstacle) => question(case.settings, case.situation, moving, vec![to], obstacle),
    };
    decision.vetoes = choice.vetoes();
    decision
}

fn nobody(choice: &Choice, code: &str, text: String) -> Decision {
    let decision = Decision::hold("no-candidate", "something speaks against every other node").because(code, text);
    let mut decision = decision.would_change_if("candidate", "one veto falls").ask_again_in(SOON);
    decision.vetoes = choice.vetoes();
    decision
}
