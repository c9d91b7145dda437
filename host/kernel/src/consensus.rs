//! What the vantage points say together: one pure function over their votes, counted in failure domains.
//!
//! Knows no time, no service and no site; who may vote, and how old a vote is, is the business of [`crate::sensing`].

use crate::contract::Status;

/// What one vantage point says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ballot {
    /// It works.
    Good,
    /// It works, too slowly.
    Slow,
    /// It does not work.
    Bad,
}

/// One vantage point that counts in `expected`; without a ballot if it is stale, unsound, silent, or its look failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// Number of its failure domain.
    pub domain: u16,
    /// Its word, if it counts.
    pub ballot: Option<Ballot>,
}

/// How many failure domains have to say what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Failure domains with a declared vantage point, whether they are heard of or not.
    pub expected: u32,
    /// Of the domains that vote, the part that has to say bad; always more than half.
    pub bad_fraction: f64,
    /// The word of a single domain counts where no other votes.
    pub one_domain_suffices: bool,
}

/// The domains' votes, counted. A domain votes bad only if all its ballots are bad, and slow only if none is good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tally {
    /// Domains that say it works.
    pub good: u16,
    /// Domains that say it works too slowly.
    pub slow: u16,
    /// Domains that say it does not work.
    pub bad: u16,
}

impl Tally {
    /// Counts `votes` by domain. `best` is scratch space of the caller's: the hot path allocates nothing.
    pub fn count(votes: impl Iterator<Item = Vote>, best: &mut Vec<Option<Ballot>>) -> Tally {
        best.clear();
        for vote in votes {
            let domain = usize::from(vote.domain);
            if domain >= best.len() {
                best.resize(domain + 1, None);
            }
            best[domain] = better(best[domain], vote.ballot);
        }
        best.iter().flatten().fold(Tally::default(), Tally::with)
    }

    fn with(mut self, ballot: &Ballot) -> Tally {
        match ballot {
            Ballot::Good => self.good += 1,
            Ballot::Slow => self.slow += 1,
            Ballot::Bad => self.bad += 1,
        }
        self
    }

    /// Domains that vote.
    pub fn voting(self) -> u32 {
        u32::from(self.good) + u32::from(self.slow) + u32::from(self.bad)
    }

    /// What follows from the votes.
    ///
    /// | the domains                                                                    | together    |
    /// |--------------------------------------------------------------------------------|-------------|
    /// | one domain suffices for the service, and all that vote say bad                 | `unhealthy` |
    /// | more than half of all *expected* say bad, at least two, and the fraction asked | `unhealthy` |
    /// | half of the expected or fewer vote (one domain suffices: none does)            | `unknown`   |
    /// | most of those that vote reach it, and most see it slow or bad                  | `degraded`  |
    /// | most of those that vote reach it                                               | `healthy`   |
    /// | anything else                                                                  | `unknown`   |
    ///
    /// Bad is counted against the expected, not only against the voting: who contradicted and fell silent since
    /// does not help to make a service unhealthy. A minority that sees it bad changes nothing: it is shown, and it is
    /// more likely cut off itself.
    pub fn status(self, rule: &Rule) -> Status {
        let (voting, bad) = (self.voting(), u32::from(self.bad));
        let works = voting - bad;
        let one_will_do = rule.one_domain_suffices && voting > 0;
        if (one_will_do && works == 0) || self.is_bad_by_majority(rule) {
            Status::Unhealthy
        } else if (2 * voting <= rule.expected && !(one_will_do && bad == 0)) || 2 * works <= voting {
            Status::Unknown
        } else if 2 * (u32::from(self.slow) + bad) > voting {
            Status::Degraded
        } else {
            Status::Healthy
        }
    }

    fn is_bad_by_majority(self, rule: &Rule) -> bool {
        const ROUNDING: f64 = 1e-9;
        let bad = u32::from(self.bad);
        let as_asked = f64::from(bad) + ROUNDING >= rule.bad_fraction * f64::from(self.voting());
        bad >= 2 && 2 * bad > rule.expected && as_asked
    }

    /// Domains that say what `status` says; of an unknown one, those that say bad.
    pub fn agreeing(self, status: Status) -> u32 {
        match status {
            Status::Healthy => u32::from(self.good) + u32::from(self.slow),
            Status::Degraded => u32::from(self.slow) + u32::from(self.bad),
            Status::Unhealthy | Status::Unknown => u32::from(self.bad),
        }
    }
}

fn better(one: Option<Ballot>, other: Option<Ballot>) -> Option<Ballot> {
    use Ballot::{Bad, Good, Slow};
    match (one, other) {
        (Some(Good), _) | (_, Some(Good)) => Some(Good),
        (Some(Slow), _) | (_, Some(Slow)) => Some(Slow),
        (Some(Bad), _) | (_, Some(Bad)) => Some(Bad),
        (None, None) => None,
    }
}
