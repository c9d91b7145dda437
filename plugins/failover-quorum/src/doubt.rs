//! Nothing is known for sure: look again if one more vote could decide, else hold, and say whose word is missing.
//!
//! Never moves anything: an unknown state is no state to act on.

use tidegate_sdk::{Decision, SiteView, Situation};

use crate::analysis::{self, Doubt};
use crate::decide::LATER;
use crate::memo;
use crate::settings::FailoverQuorum;

/// A closer look, or a hold.
pub fn decide(settings: &FailoverQuorum, situation: &Situation, active: &SiteView, doubt: Doubt) -> Decision {
    let text = text(situation, active, doubt);
    let looks = memo::looks(&situation.memo, &active.site);
    let decision = if one_vote_could_decide(active) && looks < settings.looks_again {
        let decision = Decision::probe_more([&active.site], doubt.code(), text);
        decision.remember(memo::remember(looks + 1, &active.site))
    } else {
        Decision::hold(doubt.code(), text).remember(memo::remember(looks, &active.site)).ask_again_in(LATER)
    };
    say_what_is_missing(decision, situation, active, doubt)
}

fn text(situation: &Situation, active: &SiteView, doubt: Doubt) -> String {
    let (site, consensus) = (&active.site, &active.consensus);
    let (bad, voting, expected) = (consensus.agreeing, consensus.voting, consensus.expected);
    match doubt {
        Doubt::NoThirdVantage => {
            format!("{bad} of {expected} vantage points see {site} down, and no third one can say who is right")
        }
        Doubt::VantageCutOff => {
            let missing: Vec<&str> = analysis::missing(situation).collect();
            format!(
                "{} is itself cut off, so its word about {site} does not count; {voting} of {expected} are left",
                missing.join(", ")
            )
        }
        Doubt::Blind => {
            format!("only {voting} of {expected} vantage points are heard about {site}: it may be us who are cut off")
        }
        Doubt::Split => format!("the vantage points contradict each other about {site}: {bad} of {voting} see it down"),
    }
}

fn say_what_is_missing(decision: Decision, situation: &Situation, active: &SiteView, doubt: Doubt) -> Decision {
    let mut decision = decision;
    if doubt == Doubt::NoThirdVantage {
        decision =
            decision.would_change_if("third-vantage", "a vantage point in a third failure domain says who is right");
    }
    for vantage in analysis::missing(situation) {
        decision = decision.would_change_if("vantage-back", format!("{vantage} is heard again"));
    }
    let (code, votes) = match one_vote_could_decide(active) {
        true => ("one-more-vote", "one more vantage point sees"),
        false => ("more-votes", "most vantage points see"),
    };
    decision.would_change_if(code, format!("{votes} {} down", active.site))
}

/// The host's rule: at least two, and more than half of all.
fn one_vote_could_decide(active: &SiteView) -> bool {
    let bad = active.consensus.agreeing;
    bad >= 1 && 2 * (bad + 1) > active.consensus.expected
}
