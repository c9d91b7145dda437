//! Decisions in few words: a verdict, why, who was passed over, and what would change it.
//!
//! Knows no policy; every function only fills in the contract's records.

use std::time::Duration;

use crate::contract::{
    Candidate, Decision, Fact, Invocation, Look, Move, Question, Reason, Share, Shift, Verdict, Veto,
};
use crate::provider::milliseconds;

impl Reason {
    /// A code for machines, a sentence for people.
    pub fn new(code: impl Into<String>, text: impl Into<String>) -> Self {
        Reason { code: code.into(), text: text.into() }
    }
}

impl Fact {
    /// A key, and its value in the key's own form.
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Fact { key: key.into(), value: value.into() }
    }
}

impl Decision {
    /// A verdict with its first reason; the reason's code is also the analysis until [`Decision::analysed_as`] says otherwise.
    pub fn new(verdict: Verdict, code: impl Into<String>, text: impl Into<String>) -> Self {
        let reason = Reason::new(code, text);
        Decision {
            verdict,
            analysis: reason.code.clone(),
            reasons: vec![reason],
            vetoes: Vec::new(),
            would_change_if: Vec::new(),
            ask_again_in: None,
            memo: String::new(),
            facts: Vec::new(),
        }
    }

    /// Change nothing.
    pub fn hold(code: impl Into<String>, text: impl Into<String>) -> Self {
        Decision::new(Verdict::Hold, code, text)
    }

    /// Look at these sites again now, then ask again.
    pub fn probe_more<S: Into<String>>(
        sites: impl IntoIterator<Item = S>,
        code: impl Into<String>,
        text: impl Into<String>,
    ) -> Self {
        let looks = sites.into_iter().map(|site| Look { site: site.into(), node: None }).collect();
        Decision::new(Verdict::ProbeMore(looks), code, text)
    }

    /// The active side is lost: move.
    pub fn fail_over(to: Move, code: impl Into<String>, text: impl Into<String>) -> Self {
        Decision::new(Verdict::FailOver(to), code, text)
    }

    /// Both sides are alive: move, and lose nothing.
    pub fn switch_over(to: Move, code: impl Into<String>, text: impl Into<String>) -> Self {
        Decision::new(Verdict::SwitchOver(to), code, text)
    }

    /// Move back to the preferred site.
    pub fn fail_back(to: Move, code: impl Into<String>, text: impl Into<String>) -> Self {
        Decision::new(Verdict::FailBack(to), code, text)
    }

    /// Change the shares of an active-active service; they add up to 100.
    pub fn rebalance(shares: Vec<Share>, code: impl Into<String>, text: impl Into<String>) -> Self {
        Decision::new(Verdict::Rebalance(shares), code, text)
    }

    /// Stop these nodes from taking writes, and move nothing.
    pub fn fence(nodes: Vec<String>, code: impl Into<String>, text: impl Into<String>) -> Self {
        Decision::new(Verdict::Fence(nodes), code, text)
    }

    /// Run a runbook that the fleet file lists for the service.
    pub fn run(invocation: Invocation, code: impl Into<String>, text: impl Into<String>) -> Self {
        Decision::new(Verdict::Run(invocation), code, text)
    }

    /// Have a person decide between these moves, the best first.
    pub fn ask(
        question: impl Into<String>,
        options: Vec<Move>,
        expires_in: Duration,
        code: impl Into<String>,
        text: impl Into<String>,
    ) -> Self {
        let question = Question { text: question.into(), options, expires_in: milliseconds(expires_in) };
        Decision::new(Verdict::Ask(question), code, text)
    }

    /// What the policy takes the situation to be.
    pub fn analysed_as(mut self, analysis: impl Into<String>) -> Self {
        self.analysis = analysis.into();
        self
    }

    /// One more reason.
    pub fn because(mut self, code: impl Into<String>, text: impl Into<String>) -> Self {
        self.reasons.push(Reason::new(code, text));
        self
    }

    /// A site that was weighed and passed over.
    pub fn veto(mut self, site: impl Into<String>, code: impl Into<String>, text: impl Into<String>) -> Self {
        self.vetoes.push(Veto { candidate: Candidate::Site(site.into()), reason: Reason::new(code, text) });
        self
    }

    /// What would have to be different for another verdict.
    pub fn would_change_if(mut self, code: impl Into<String>, text: impl Into<String>) -> Self {
        self.would_change_if.push(Reason::new(code, text));
        self
    }

    /// Ask again no later than after this, whatever is observed.
    pub fn ask_again_in(mut self, wait: Duration) -> Self {
        self.ask_again_in = Some(milliseconds(wait));
        self
    }

    /// What the next decision on this service is told again; at most 4 KiB.
    pub fn remember(mut self, memo: impl Into<String>) -> Self {
        self.memo = memo.into();
        self
    }
}

impl Move {
    /// All traffic to a site, at once.
    pub fn to(site: impl Into<String>) -> Self {
        let all = Shift { share: 100, hold: 0 };
        Move { to_site: site.into(), promote: Vec::new(), shifts: vec![all], expected_loss: None }
    }

    /// Traffic in these steps instead; the last is 100 per cent.
    pub fn gradually(mut self, shifts: Vec<Shift>) -> Self {
        self.shifts = shifts;
        self
    }

    /// What may be lost.
    pub fn losing(mut self, at_most: Duration) -> Self {
        self.expected_loss = Some(milliseconds(at_most));
        self
    }
}

impl Share {
    /// A site's part of the traffic.
    pub fn of(site: impl Into<String>, per_cent: u32) -> Self {
        Share { site: site.into(), per_cent }
    }
}

impl Verdict {
    /// The verdict's name in the contract.
    pub fn name(&self) -> &'static str {
        match self {
            Verdict::Hold => "hold",
            Verdict::ProbeMore(_) => "probe-more",
            Verdict::SwitchOver(_) => "switch-over",
            Verdict::FailOver(_) => "fail-over",
            Verdict::FailBack(_) => "fail-back",
            Verdict::Rebalance(_) => "rebalance",
            Verdict::Fence(_) => "fence",
            Verdict::Run(_) => "run",
            Verdict::Ask(_) => "ask",
        }
    }
}
