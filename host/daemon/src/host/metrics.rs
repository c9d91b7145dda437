//! What the host counts, and how Prometheus reads it.
//!
//! Knows the names and meanings of the figures, and nothing of where they come from.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// One figure: its name, what it means, and the names of its labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Figure {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    labels: &'static [&'static str],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Counter,
    Gauge,
}

macro_rules! figures {
    ($($name:ident $kind:ident $text:literal [$($label:literal),*] $help:literal)*) => {$(
        #[doc = $help]
        pub const $name: Figure = Figure { name: $text, kind: Kind::$kind, help: $help, labels: &[$($label),*] };
    )*};
}

figures! {
    EVENTS Counter "tidegate_events_total" [] "Events that the kernel has handled."
    LOOKS Counter "tidegate_looks_total" [] "Looks that reached the kernel."
    INBOX Gauge "tidegate_inbox_length" [] "Events waiting for the kernel."
    INBOX_FULL Counter "tidegate_inbox_full_total" [] "Times that somebody had to wait because the kernel's inbox was full."
    DECISIONS Counter "tidegate_decisions_total" ["slot", "verdict"] "Decisions, by what the policy said."
    DECISION_FAULTS Counter "tidegate_decision_faults_total" ["slot"] "Decisions that a policy failed to give; each counts as a hold."
    DEMOTIONS Counter "tidegate_demotions_total" ["slot"] "Policies that were put out of service for being stopped again and again."
    SHADOW Gauge "tidegate_shadow_questions" ["slot", "result"] "What came of the questions to a slot's shadow; begins anew with each active revision."
    RECHECKS Counter "tidegate_decision_rechecks_total" ["slot", "result"] "Decisions that were asked about again, by whether the answer was the same."
    DECISION_SECONDS Counter "tidegate_decision_seconds_total" ["slot"] "Time that decisions took."
    JOURNAL_RECORDS Counter "tidegate_journal_records_total" [] "Records made durable."
    JOURNAL_SYNCS Counter "tidegate_journal_syncs_total" [] "Times that the disk was asked to confirm."
    JOURNAL_SYNC_SECONDS Counter "tidegate_journal_sync_seconds_total" [] "Time that writing and confirming took."
    JOURNAL_HEAD Gauge "tidegate_journal_head" [] "Number of the newest durable record."
    STEPS Counter "tidegate_steps_total" ["outcome"] "Runbook steps that came back."
    POLICY_QUEUE Gauge "tidegate_policy_queue_length" [] "Questions that wait for a policy worker."
    PROVIDER_CALLS Counter "tidegate_provider_calls_total" ["slot", "call", "result"] "Calls of providers."
    PROVIDER_POOL Gauge "tidegate_provider_instances" ["slot", "state"] "A provider's instances."
    MESSAGES Counter "tidegate_messages_total" ["channel", "result"] "Messages to people."
    ORDERS Counter "tidegate_orders_total" ["result"] "What people ordered."
    RELOADS Counter "tidegate_reloads_total" ["result"] "Times that fleet file and secrets were read again."
    SLOT_REVISION Gauge "tidegate_slot_revision" ["slot", "plugin", "digest"] "Number of the slot's current revision."
    SERVICES Gauge "tidegate_services" ["state"] "Services by state."
    AGENT_SILENCE Gauge "tidegate_agent_silence_seconds" ["agent"] "Time since an agent's last report."
    HEARTBEATS Counter "tidegate_heartbeats_total" ["result"] "Heartbeats to the operator's own watch."
    START Gauge "tidegate_start_time_seconds" [] "When this process began, in seconds since 1970."
}

/// All figures with their values.
#[derive(Debug, Default)]
pub struct Metrics {
    values: Mutex<Values>,
}

type Values = BTreeMap<Figure, BTreeMap<Vec<String>, f64>>;

impl Metrics {
    /// One more.
    pub fn count(&self, figure: Figure, labels: &[&str]) {
        self.add(figure, labels, 1.0);
    }

    /// That much more.
    pub fn add(&self, figure: Figure, labels: &[&str], more: f64) {
        self.change(figure, labels, |value| *value += more);
    }

    /// That much more time.
    pub fn took(&self, figure: Figure, labels: &[&str], time: Duration) {
        self.add(figure, labels, time.as_secs_f64());
    }

    /// As it is now.
    pub fn set(&self, figure: Figure, labels: &[&str], now: f64) {
        self.change(figure, labels, |value| *value = now);
    }

    /// Forgets every value of a figure whose labels come and go.
    pub fn clear(&self, figure: Figure) {
        self.lock().remove(&figure);
    }

    /// In Prometheus' text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for (figure, series) in self.lock().iter() {
            let Figure { name, kind, help, labels } = figure;
            let kind = if *kind == Kind::Counter { "counter" } else { "gauge" };
            // Writing to a string does not fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (values, number) in series {
                let _ = writeln!(text, "{name}{} {number}", braces(labels, values));
            }
        }
        text
    }

    fn change(&self, figure: Figure, labels: &[&str], change: impl FnOnce(&mut f64)) {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        change(self.lock().entry(figure).or_default().entry(labels).or_default());
    }

    /// Held for plain arithmetic only, so a panic elsewhere leaves it whole.
    fn lock(&self) -> std::sync::MutexGuard<'_, Values> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn braces(labels: &[&str], values: &[String]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let pairs: Vec<_> =
        labels.iter().zip(values).map(|(label, value)| format!("{label}=\"{}\"", escape(value))).collect();
    format!("{{{}}}", pairs.join(","))
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_prometheus_reads() {
        let metrics = Metrics::default();
        metrics.count(DECISIONS, &["failover/default", "hold"]);
        metrics.add(DECISIONS, &["failover/default", "hold"], 2.0);
        metrics.count(MESSAGES, &["the \"loud\"\\one\n", "sent"]);
        metrics.set(INBOX, &[], 7.0);
        let expected = "\
# HELP tidegate_decisions_total Decisions, by what the policy said.
# TYPE tidegate_decisions_total counter
tidegate_decisions_total{slot=\"failover/default\",verdict=\"hold\"} 3
# HELP tidegate_inbox_length Events waiting for the kernel.
# TYPE tidegate_inbox_length gauge
tidegate_inbox_length 7
# HELP tidegate_messages_total Messages to people.
# TYPE tidegate_messages_total counter
tidegate_messages_total{channel=\"the \\\"loud\\\"\\\\one\\n\",result=\"sent\"} 1
";
        assert_eq!(metrics.render(), expected);
    }
}
