//! Whether what must happen did, and what must not did not: looked at after every record, for only records change anything.

use tidegate_kernel::Kernel;
use tidegate_kernel::contract::Millis;
use tidegate_kernel::record::{Change, Record};
use tidegate_kernel::state::{Ruling, ServiceState};

use super::{Expectation, Failure, Scenario};
use crate::simulation::Ended;
use crate::timeline::clock;

/// What has been seen of each expectation.
pub(super) struct Judge<'a> {
    must: Vec<(&'a Expectation, Option<Millis>)>,
    must_not: Vec<(&'a Expectation, Option<Millis>)>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(scenario: &'a Scenario) -> Self {
        let unseen = |all: &'a [Expectation]| all.iter().map(|expectation| (expectation, None)).collect();
        Judge { must: unseen(&scenario.must), must_not: unseen(&scenario.must_not) }
    }

    pub(super) fn look(&mut self, now: Millis, kernel: &Kernel, record: &Record) {
        for (expectation, seen) in self.must.iter_mut().chain(&mut self.must_not) {
            let due = now >= expectation.from && expectation.to.is_none_or(|to| now <= to);
            if seen.is_none() && due && expectation.holds(kernel, record) {
                *seen = Some(now);
            }
        }
    }

    pub(super) fn judge(self, scenario: &Scenario, ended: &Ended) -> Vec<Failure> {
        let mut failures = Vec::new();
        for (expectation, _) in self.must.iter().filter(|(_, seen)| seen.is_none()) {
            let by = expectation.to.map_or("at any time".to_owned(), |to| format!("by {}", clock(to)));
            let text = format!("it did not come to this {by}: {}", expectation.words());
            failures.push(Failure { line: expectation.line, text });
        }
        for (expectation, seen) in &self.must_not {
            if let Some(seen) = seen {
                let text = format!("it came to this at {}: {}", clock(*seen), expectation.words());
                failures.push(Failure { line: expectation.line, text });
            }
        }
        failures.extend(limits(scenario, ended));
        failures
            .extend(ended.hits.iter().map(|hit| Failure { line: 0, text: format!("{}: {}", hit.checker, hit.text) }));
        failures
    }
}

fn limits(scenario: &Scenario, ended: &Ended) -> Vec<Failure> {
    let at_most = &scenario.at_most;
    let mut failures = Vec::new();
    let mut fail = |text: String| failures.push(Failure { line: 0, text });
    for (cluster, most) in &at_most.lost_writes {
        let lost = ended.lost_writes.get(cluster).copied().unwrap_or(0);
        if lost > *most {
            fail(format!("{lost} acknowledged rows of {cluster} were lost, at most {most} may be"));
        }
    }
    if let Some(most) = at_most.moves.filter(|most| ended.moves > *most) {
        fail(format!("{} moves began by themselves, at most {most} may", ended.moves));
    }
    for (service, most) in &at_most.downtime {
        let down = ended.services.get(service).map_or(0.0, |service| service.down);
        if down > *most as f64 {
            fail(format!("clients of {service} went {down:.0} ms without an answer, at most {most} ms may they"));
        }
    }
    failures
}

impl Expectation {
    fn holds(&self, kernel: &Kernel, record: &Record) -> bool {
        let state = kernel.state();
        let whole = self.frozen.is_none_or(|frozen| state.freeze.is_some() == frozen)
            && self.braked.is_none_or(|braked| state.brake.is_some() == braked)
            && self.told.as_ref().is_none_or(|text| tells(record, text));
        let named = match &self.service {
            None => true,
            Some(service) => state.services.get(service).is_some_and(|known| self.holds_of(kernel, service, known)),
        };
        whole && named
    }

    fn holds_of(&self, kernel: &Kernel, service: &str, known: &ServiceState) -> bool {
        let last = known.last.as_ref();
        let says =
            |wanted: &Option<String>, said: Option<&str>| wanted.as_deref().is_none_or(|text| said == Some(text));
        says(&self.active, Some(&known.life.active))
            && self.state.is_none_or(|state| known.life.state == state)
            && says(&self.verdict, last.map(|last| last.verdict.name()))
            && says(&self.analysis, last.map(|last| last.analysis.as_str()))
            && self.reason.as_ref().is_none_or(|code| gives(known, code))
            && self.run.is_none_or(|run| known.run.is_some() == run)
            && self
                .asks
                .is_none_or(|asks| kernel.state().open_questions().any(|question| question.service == service) == asks)
            && says(&self.primary, primary(kernel, service).as_deref())
    }

    /// For people.
    fn words(&self) -> String {
        let texts = [
            ("service", &self.service),
            ("active", &self.active),
            ("verdict", &self.verdict),
            ("analysis", &self.analysis),
            ("reason", &self.reason),
            ("told", &self.told),
            ("primary", &self.primary),
        ];
        let flags = [("run", self.run), ("asks", self.asks), ("frozen", self.frozen), ("braked", self.braked)];
        let state = self.state.map(|state| format!("state = {state}"));
        let texts = texts.into_iter().filter_map(|(name, text)| Some(format!("{name} = {}", text.as_ref()?)));
        let flags = flags.into_iter().filter_map(|(name, flag)| Some(format!("{name} = {}", flag?)));
        texts.chain(state).chain(flags).collect::<Vec<_>>().join(", ")
    }
}

fn tells(record: &Record, text: &str) -> bool {
    record.transitions.iter().any(|transition| match &transition.change {
        Change::Tell { notice } => notice.message.subject.contains(text),
        _ => false,
    })
}

/// As a reason, as a veto, or as what the guard held it for.
fn gives(known: &ServiceState, code: &str) -> bool {
    let Some(last) = &known.last else { return false };
    let ruled = match &last.ruling {
        Ruling::Hold(because) | Ruling::Ask { because, .. } => because.as_slice(),
        Ruling::Nothing | Ruling::Run(_) => &[],
    };
    let vetoes = last.vetoes.iter().map(|veto| &veto.reason);
    last.reasons.iter().chain(ruled).chain(vetoes).any(|reason| reason.code == code)
}

fn primary(kernel: &Kernel, service: &str) -> Option<String> {
    let declared = kernel.fleet().services.iter().find(|declared| declared.name == service)?;
    let cluster = &kernel.fleet().clusters[declared.cluster?.at()].name;
    Some(kernel.state().clusters.get(cluster)?.primary.clone())
}
