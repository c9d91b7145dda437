//! What a policy is asked and what came back: plain data, recorded whole.
//!
//! Knows no WebAssembly.

use crate::log::Line;
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};
use tidegate_kernel::{
    contract::{Cluster, Consensus, Decision, Failure, Millis, Observation, Route, SiteView, Situation, Status},
    event::Read,
    picture::{Health, Picture},
};

/// Of what nobody looks at.
pub(crate) const UNKNOWN: Consensus =
    Consensus { status: Status::Unknown, agreeing: 0, voting: 0, expected: 0, held: 0 };

/// One question to a policy: the situation, and what else it may look up while it decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Question {
    /// What the policy is told. Its `settings` are replaced by those of the revision that decides.
    pub situation: Arc<Situation>,
    /// The `memo-format` of the revision that wrote the situation's memo: one with another gets an empty memo.
    pub memo_format: String,
    /// Frozen at the same moment as the situation.
    pub picture: Picture,
}

/// One answer that a policy got while it decided, keyed by what it asked and never by when: a changed policy can be
/// replayed against it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Answer {
    /// "health.observations", "health.agreed", "replication.topology", "dns.resolve", "storage.list-objects", "storage.stat".
    pub capability: String,
    /// In the contract's order.
    pub arguments: Vec<String>,
    /// As `--json` would print it.
    pub result: serde_json::Value,
}

/// What a policy said, or why it said nothing that counts: a failover policy's decision, or the answer of any kind of policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Decided<R = Decision> {
    /// Of the slot, when this was decided.
    pub revision: u64,
    /// Of the plugin's file.
    pub digest: String,
    /// Of the settings that it had.
    pub settings_hash: String,
    /// The decision, or the reason why there is none: then the host holds, and raises an alarm.
    pub result: Result<R, PolicyFault>,
    /// Each capability and arguments once.
    pub answers: Vec<Answer>,
    /// The same for the same question, on every machine.
    pub fuel: u64,
    /// Nanoseconds.
    pub took: u64,
    /// Bytes of linear memory that the instance had at the end: it can grow, and never shrinks.
    #[serde(default)]
    pub memory: u64,
    /// What the policy logged and printed.
    pub log: Vec<Line>,
}

/// Why a policy's call gave no decision. None of these is a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyFault {
    /// It crashed: the trap, and the last thing that it printed.
    Trapped(String),
    /// It used up its work budget of so many units.
    OutOfFuel(u64),
    /// It was not done after so many milliseconds.
    TooLate(Millis),
    /// It ran into another limit; the sentence names it.
    Limit(String),
    /// It asked to wait, or for something that policies do not have.
    NotForPolicies(String),
    /// It says itself that it cannot decide.
    Declined(String),
    /// Its answer makes no sense; the sentence says where.
    Invalid(String),
    /// The host could not ask it: every worker is busy, or the host itself failed.
    Unavailable(String),
}

impl Question {
    /// A question with nothing to look up beyond the situation itself.
    pub fn new(situation: impl Into<Arc<Situation>>) -> Self {
        Question { situation: situation.into(), memo_format: String::new(), picture: Picture::default() }
    }

    /// The question that a record of the journal tells of: its situation, and what was read then in place of a picture. A
    /// policy that reads something else than it read then finds that it is not known.
    pub fn recorded(
        situation: impl Into<Arc<Situation>>,
        memo_format: String,
        reads: &[Read],
    ) -> serde_json::Result<Self> {
        let mut question = Question { situation: situation.into(), memo_format, picture: Picture::default() };
        for read in reads {
            question.put_in(read)?;
        }
        Ok(question)
    }

    /// What every vantage point said of a service at a site.
    pub fn observations(&self, service: &str, site: &str) -> Vec<Observation> {
        match self.picture.health.get(service).and_then(|sites| sites.get(site)) {
            Some(health) => health.observations.clone(),
            None => self.own_site(service, site).map(|view| view.observations.clone()).unwrap_or_default(),
        }
    }

    /// What they say together; of what nobody looks at nothing is known.
    pub fn agreed(&self, service: &str, site: &str) -> Consensus {
        let other = self.picture.health.get(service).and_then(|sites| sites.get(site)).map(|health| health.consensus);
        let own = || self.own_site(service, site).map(|view| view.consensus);
        other.or_else(own).unwrap_or(UNKNOWN)
    }

    /// A database cluster as last seen.
    pub fn topology(&self, name: &str) -> Result<Cluster, Failure> {
        let own = self.situation.cluster.as_ref().filter(|cluster| cluster.name == name);
        let found = self.picture.clusters.get(name).or(own);
        found.cloned().ok_or_else(|| Failure::NotFound(format!("cluster {name} is not in the picture")))
    }

    /// Where a name leads, as last read back.
    pub fn resolve(&self, name: &str) -> Result<Route, Failure> {
        let own = self.situation.route.as_ref().filter(|route| route.name == name);
        let found = self.picture.routes.get(name).or(own);
        found.cloned().ok_or_else(|| Failure::NotFound(format!("route {name} is not in the picture")))
    }

    fn own_site(&self, service: &str, site: &str) -> Option<&SiteView> {
        let own = service == self.situation.service;
        self.situation.sites.iter().find(|view| own && view.site == site)
    }

    /// Puts one recorded answer into the picture. What was not found then is not there now either.
    fn put_in(&mut self, read: &Read) -> serde_json::Result<()> {
        let arguments: Vec<String> = serde_json::from_str(&read.arguments)?;
        let argument = |at: usize| arguments.get(at).cloned().unwrap_or_default();
        match read.capability.as_str() {
            "health.observations" => {
                self.seen(argument(0), argument(1)).observations = serde_json::from_str(&read.answer)?;
            }
            "health.agreed" => self.seen(argument(0), argument(1)).consensus = serde_json::from_str(&read.answer)?,
            "replication.topology" => {
                let found: Result<Cluster, Failure> = serde_json::from_str(&read.answer)?;
                self.picture.clusters.extend(found.map(|cluster| (argument(0), cluster)));
            }
            "dns.resolve" => {
                let found: Result<Route, Failure> = serde_json::from_str(&read.answer)?;
                self.picture.routes.extend(found.map(|route| (argument(0), route)));
            }
            _ => {}
        }
        Ok(())
    }

    /// Begins with what the situation says: of a site of which only the observations were read, the consensus is known all the
    /// same, and the other way round.
    fn seen(&mut self, service: String, site: String) -> &mut Health {
        let own = self.own_site(&service, &site);
        let observations = own.map(|view| view.observations.clone()).unwrap_or_default();
        let consensus = own.map_or(UNKNOWN, |view| view.consensus);
        let sites = self.picture.health.entry(service).or_default();
        sites.entry(site).or_insert(Health { observations, consensus })
    }
}

impl<R> Decided<R> {
    /// The same with another form of what was said.
    pub fn map<S>(self, form: impl FnOnce(R) -> S) -> Decided<S> {
        let Decided { revision, digest, settings_hash, result, answers, fuel, took, memory, log } = self;
        Decided { revision, digest, settings_hash, result: result.map(form), answers, fuel, took, memory, log }
    }
}

impl PolicyFault {
    /// Whether it was the machine's, and not the question's: asked the same again, the policy may well answer.
    pub fn is_of_the_machine(&self) -> bool {
        matches!(self, PolicyFault::TooLate(_) | PolicyFault::Unavailable(_))
    }
}

impl fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PolicyFault::Trapped(text) => write!(f, "the policy crashed: {text}"),
            PolicyFault::OutOfFuel(limit) => write!(f, "the policy used up its work budget (fuel {limit})"),
            PolicyFault::TooLate(limit) => write!(f, "the policy was not done after {limit} ms"),
            PolicyFault::Limit(text) => write!(f, "the policy ran into a limit: {text}"),
            PolicyFault::NotForPolicies(text) => write!(f, "the policy asked for what no policy has: {text}"),
            PolicyFault::Declined(text) => write!(f, "the policy says that it cannot decide: {text}"),
            PolicyFault::Invalid(text) => write!(f, "the policy's answer makes no sense: {text}"),
            PolicyFault::Unavailable(text) => write!(f, "the policy could not be asked: {text}"),
        }
    }
}

impl std::error::Error for PolicyFault {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neutral;

    fn read(capability: &str, arguments: &[&str], answer: &impl Serialize) -> Read {
        let arguments = serde_json::json!(arguments).to_string();
        Read { capability: capability.into(), arguments, answer: serde_json::to_string(answer).unwrap() }
    }

    #[test]
    fn half_of_a_site_in_a_record_does_not_hide_the_other_half_in_the_situation() {
        let mut situation = neutral::situation();
        let consensus = Consensus { status: Status::Healthy, agreeing: 3, voting: 3, expected: 3, held: 9 };
        situation.sites[0].consensus = consensus;
        let (service, site) = (situation.service.clone(), situation.sites[0].site.clone());
        let observations = read("health.observations", &[&service, &site], &Vec::<Observation>::new());
        let question = Question::recorded(situation.clone(), String::new(), &[observations]).unwrap();
        assert!(question.observations(&service, &site).is_empty());
        assert_eq!(question.agreed(&service, &site), consensus);

        let agreed = read("health.agreed", &["other", &site], &consensus);
        let question = Question::recorded(situation, String::new(), &[agreed]).unwrap();
        assert_eq!(question.agreed("other", &site), consensus);
        assert_eq!(question.agreed(&service, &site), consensus);
        assert_eq!(question.agreed("another", &site), UNKNOWN);
    }
}
