//! Whether what must happen did, and what must not did not.
//!
//! What lasts is looked at when its time begins, and after every record, for only records change it. What is said counts when it is
//! said.

use tidegate_kernel::Kernel;
use tidegate_kernel::contract::{Fact, Millis};
use tidegate_kernel::record::{Change, Record};
use tidegate_kernel::state::{Ruling, ServiceState};

use super::{Expectation, Failure, Scenario};
use crate::simulation::{Ended, Seen};
use crate::timeline::clock;

/// What has been seen of each expectation.
pub(super) struct Judge<'a> {
    must: Vec<(&'a Expectation, Option<Met>)>,
    must_not: Vec<(&'a Expectation, Option<Met>)>,
}

/// When an expectation was first met, and whether it had come to that before.
#[derive(Clone, Copy)]
struct Met {
    at: Millis,
    already: bool,
}

impl<'a> Judge<'a> {
    pub(super) fn new(scenario: &'a Scenario) -> Self {
        let unseen = |all: &'a [Expectation]| all.iter().map(|expectation| (expectation, None)).collect();
        Judge { must: unseen(&scenario.must), must_not: unseen(&scenario.must_not) }
    }

    pub(super) fn look(&mut self, now: Millis, kernel: &Kernel, seen: Seen<'_>) {
        for (expectation, met) in self.must.iter_mut().chain(&mut self.must_not) {
            let due = now >= expectation.from && expectation.to.is_none_or(|to| now <= to);
            if met.is_none() && due && expectation.is_said(seen) && expectation.holds(kernel) {
                *met = Some(Met { at: now, already: matches!(seen, Seen::Moment) });
            }
        }
    }

    pub(super) fn judge(self, scenario: &Scenario, ended: &Ended) -> Vec<Failure> {
        let mut failures = Vec::new();
        for (expectation, _) in self.must.iter().filter(|(_, met)| met.is_none()) {
            let by = expectation.to.map_or("at any time".to_owned(), |to| format!("by {}", clock(to)));
            let text = format!("it did not come to this {by}: {}", expectation.words());
            failures.push(Failure { line: expectation.line, text });
        }
        for (expectation, met) in &self.must_not {
            if let Some(Met { at, already }) = met {
                let what = if *already { "it was so at" } else { "it came to this at" };
                let text = format!("{what} {}: {}", clock(*at), expectation.words());
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
    let written = ended.journal.len();
    if let Some(at) = scenario.script.crash_at_record.filter(|at| *at > written) {
        fail(format!("the host was to die at its record {at}, and wrote only {written}"));
    }
    failures
}

impl Expectation {
    /// Whether somebody says it in this moment, as far as it is something that is said; what lasts may be looked at in any.
    fn is_said(&self, seen: Seen<'_>) -> bool {
        let service = self.service.as_deref();
        let of_a_decision = [&self.verdict, &self.analysis, &self.reason].into_iter().any(Option::is_some);
        let tells = |text| matches!(seen, Seen::Record(record) if tells(record, service, text));
        (!of_a_decision || decides(seen, service)) && self.told.as_deref().is_none_or(tells)
    }

    fn holds(&self, kernel: &Kernel) -> bool {
        let state = kernel.state();
        let whole = self.frozen.is_none_or(|frozen| state.freeze.is_some() == frozen)
            && self.braked.is_none_or(|braked| state.brake.is_some() == braked);
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

/// Its policy has answered, be it with something new or not.
fn decides(seen: Seen<'_>, service: Option<&str>) -> bool {
    match seen {
        Seen::Record(record) => record.transitions.iter().any(|transition| match &transition.change {
            Change::Decision { service: of, .. } => service == Some(of),
            _ => false,
        }),
        Seen::Repeated(of) => service == Some(of),
        Seen::Moment => false,
    }
}

/// People are told that; where a service is named, of that service.
fn tells(record: &Record, service: Option<&str>, text: &str) -> bool {
    let is_of = |facts: &[Fact], name: &str| facts.iter().any(|fact| fact.key == "service" && fact.value == name);
    record.transitions.iter().any(|transition| match &transition.change {
        Change::Tell { notice } => {
            let message = &notice.message;
            message.subject.contains(text) && service.is_none_or(|name| is_of(&message.facts, name))
        }
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
