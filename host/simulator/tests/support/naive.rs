//! Policies that everybody writes first.

use tidegate_kernel::contract::{Decision, Move, Outcome, Question, Reason, Role, Situation, State, Status, Verdict};

fn decision(verdict: Verdict, code: &str) -> Result<Decision, String> {
    Ok(Decision {
        verdict,
        analysis: code.into(),
        reasons: vec![Reason::new(code, code)],
        vetoes: Vec::new(),
        would_change_if: Vec::new(),
        ask_again_in: Some(1_000),
        memo: String::new(),
        facts: Vec::new(),
    })
}

/// Nothing ever happens.
pub(crate) fn sleepy(_: &Situation) -> Result<Decision, String> {
    decision(Verdict::Hold, "fine")
}

/// One bad look, or a primary that does not answer, and off it goes to the next site; and home as soon as that answers.
pub(crate) fn eager(told: &Situation) -> Result<Decision, String> {
    if matches!(told.state, State::FailingOver | State::FailingBack) {
        return decision(Verdict::Hold, "moving");
    }
    let here = told.sites.iter().find(|site| site.site == told.active_site);
    let silent = told.cluster.as_ref().is_some_and(|cluster| {
        cluster.nodes.iter().any(|node| node.site == told.active_site && node.role == Role::Unknown)
    });
    let doubtful = |outcome: Outcome| !outcome.is_good();
    let bad = here.is_some_and(|site| {
        site.consensus.status != Status::Healthy || site.observations.iter().any(|look| doubtful(look.outcome))
    });
    if bad || silent {
        return away(told);
    }
    if told.active_site != told.preferred_site {
        return decision(Verdict::FailBack(to(told, &told.preferred_site)), "home");
    }
    decision(Verdict::Hold, "fine")
}

/// To the next site, whatever that is like.
fn away(told: &Situation) -> Result<Decision, String> {
    match told.sites.iter().find(|site| site.site != told.active_site) {
        Some(next) => decision(Verdict::FailOver(to(told, &next.site)), "bad"),
        None => decision(Verdict::Hold, "nowhere"),
    }
}

fn to(told: &Situation, site: &str) -> Move {
    let nodes = told.cluster.iter().flat_map(|cluster| &cluster.nodes).filter(|node| node.site == site);
    Move {
        to_site: site.into(),
        promote: nodes.map(|node| node.id.clone()).collect(),
        shifts: Vec::new(),
        expected_loss: None,
    }
}

/// Off it goes as the eager one does, and whoever was left behind is nobody's business.
pub(crate) fn forgetful(told: &Situation) -> Result<Decision, String> {
    if told.state == State::FailedOver { decision(Verdict::Hold, "fine") } else { eager(told) }
}

/// A primary that does not answer is a question, with the other sites in the operator's order, whatever they hold.
pub(crate) fn orderly(told: &Situation) -> Result<Decision, String> {
    let nodes = || told.cluster.iter().flat_map(|cluster| &cluster.nodes);
    let silent = nodes().any(|node| node.site == told.active_site && node.role == Role::Unknown);
    let standbys = nodes().filter(|node| node.role == Role::Replica);
    let options: Vec<Move> = standbys.map(|node| to(told, &node.site)).collect();
    match options.first() {
        Some(first) if silent && told.state != State::FailedOver => {
            let text = format!("Promote {} at {}?", first.promote[0], first.to_site);
            decision(Verdict::Ask(Question { text, options, expires_in: 900_000 }), "silent")
        }
        _ => decision(Verdict::Hold, "fine"),
    }
}

/// A silent agent is a dead site.
pub(crate) fn nervous(told: &Situation) -> Result<Decision, String> {
    let silent = told.vantages.iter().any(|vantage| vantage.name == told.active_site && !vantage.fresh);
    if silent && told.state == State::Normal { away(told) } else { decision(Verdict::Hold, "fine") }
}
