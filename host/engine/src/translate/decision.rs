//! What a policy says, moved out of the generated types without a copy.
//!
//! Whether it makes sense is `policy::check`'s business.

use super::{list, same_record};
use crate::bindings::policies::{
    exports::tidegate::dr::{failover_policy as policy, plugin},
    tidegate::dr::types,
};
use tidegate_kernel::contract as plain;

same_record!(types::Fact => plain::Fact, { key, value });
same_record!(types::Reason => plain::Reason, { code, text });
same_record!(policy::Shift => plain::Shift, { share, hold });
same_record!(policy::Share => plain::Share, { site, per_cent });
same_record!(policy::Look => plain::Look, { site, node });
same_record!(policy::Veto => plain::Veto, { candidate, reason });
same_record!(plugin::Problem => plain::Problem, { at, text });

impl From<policy::Move> for plain::Move {
    fn from(from: policy::Move) -> Self {
        plain::Move {
            to_site: from.to_site,
            promote: from.promote,
            shifts: list(from.shifts),
            expected_loss: from.expected_loss,
        }
    }
}

impl From<policy::Question> for plain::Question {
    fn from(from: policy::Question) -> Self {
        plain::Question { text: from.text, options: list(from.options), expires_in: from.expires_in }
    }
}

impl From<policy::Invocation> for plain::Invocation {
    fn from(from: policy::Invocation) -> Self {
        plain::Invocation { runbook: from.runbook, arguments: list(from.arguments) }
    }
}

impl From<policy::Candidate> for plain::Candidate {
    fn from(from: policy::Candidate) -> Self {
        match from {
            policy::Candidate::Site(site) => plain::Candidate::Site(site),
            policy::Candidate::Node(node) => plain::Candidate::Node(node),
        }
    }
}

impl From<policy::Verdict> for plain::Verdict {
    fn from(from: policy::Verdict) -> Self {
        match from {
            policy::Verdict::Hold => plain::Verdict::Hold,
            policy::Verdict::ProbeMore(looks) => plain::Verdict::ProbeMore(list(looks)),
            policy::Verdict::SwitchOver(to) => plain::Verdict::SwitchOver(to.into()),
            policy::Verdict::FailOver(to) => plain::Verdict::FailOver(to.into()),
            policy::Verdict::FailBack(to) => plain::Verdict::FailBack(to.into()),
            policy::Verdict::Rebalance(shares) => plain::Verdict::Rebalance(list(shares)),
            policy::Verdict::Fence(nodes) => plain::Verdict::Fence(nodes),
            policy::Verdict::Run(run) => plain::Verdict::Run(run.into()),
            policy::Verdict::Ask(question) => plain::Verdict::Ask(question.into()),
        }
    }
}

impl From<policy::Decision> for plain::Decision {
    fn from(from: policy::Decision) -> Self {
        plain::Decision {
            verdict: from.verdict.into(),
            analysis: from.analysis,
            reasons: list(from.reasons),
            vetoes: list(from.vetoes),
            would_change_if: list(from.would_change_if),
            ask_again_in: from.ask_again_in,
            memo: from.memo,
            facts: list(from.facts),
        }
    }
}

impl From<plugin::Want> for plain::Want {
    fn from(from: plugin::Want) -> Self {
        match from {
            plugin::Want::Connect(what) => plain::Want::Connect(what),
            plugin::Want::Secret(what) => plain::Want::Secret(what),
            plugin::Want::Directory(what) => plain::Want::Directory(what),
            plugin::Want::Command(what) => plain::Want::Command(what),
        }
    }
}

impl From<plugin::Manifest> for plain::Manifest {
    fn from(from: plugin::Manifest) -> Self {
        plain::Manifest {
            name: from.name,
            version: from.version,
            summary: from.summary,
            settings_schema: from.settings_schema,
            wants: list(from.wants),
            memo_format: from.memo_format,
        }
    }
}
