//! What an operator can set.
//!
//! Knows no situation; what depends on one (the service's own cooldown) is in `limits.rs`.

use tidegate_sdk::{Period, Problem, Settings, Shift, schemars, serde};

/// A standby of an idle primary gets log once a second; with less than that and a margin it would seem to have lost it.
const HEARD_WITHIN_MIN: Period = Period::milliseconds(1_500);

/// The policy is a value of its settings.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct FailoverQuorum {
    /// Bad looks in a row before a vantage point's word is believed; or as many within its window, if they outnumber the good.
    pub bad_looks: u32,
    /// How long most vantage points have to agree that the active site is unhealthy.
    pub unhealthy_for: Period,
    /// How long the active site may be degraded before the service is switched over; not given: a degraded site keeps it.
    pub degraded_for: Option<Period>,
    /// How long a site has to be healthy before anything moves there.
    pub healthy_for: Period,
    /// Quiet time after the end of a move; not given: the service's own, else 10m.
    pub cooldown: Option<Period>,
    /// How long a site has to be healthy before its traffic goes back there; not given: the service's own, else 5m.
    pub hold_down: Option<Period>,
    /// So many moves within `flapping-window` are flapping: a person decides about the next.
    pub flapping_moves: u32,
    /// See `flapping-moves`.
    pub flapping_window: Period,
    /// Traffic in steps when both sides are alive; none: all at once.
    pub shifts: Vec<Step>,
    /// How often to look again at once while one more vote could decide.
    pub looks_again: u32,
    /// How long a question to a person stays open.
    pub question_expires_in: Period,
    /// Databases: a standby that got log within this time still hears the primary; no word of a node counts for longer.
    pub heard_within: Period,
    /// Databases: what an asynchronous primary may go on taking until its end is proven; part of every loss bound.
    pub proof_within: Period,
    /// Databases: how far a standby may be behind for a move in which nothing is to be lost.
    pub lag_max: Period,
    /// Databases: how often in a row, half a second apart, writes have to fail while reads work.
    pub write_failed_looks: u32,
}

/// Traffic for the new site in per cent, held that long and found good before the next step.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Step {
    /// In per cent; the last step's is 100.
    pub share: u32,
    /// How long to stay there.
    #[serde(default)]
    pub hold: Period,
}

impl Default for FailoverQuorum {
    fn default() -> Self {
        FailoverQuorum {
            bad_looks: 2,
            unhealthy_for: Period::seconds(0),
            degraded_for: None,
            healthy_for: Period::seconds(2),
            cooldown: None,
            hold_down: None,
            flapping_moves: 3,
            flapping_window: Period::minutes(60),
            shifts: Vec::new(),
            looks_again: 2,
            question_expires_in: Period::minutes(15),
            // The provider writes a sign of life every second: one may be late.
            heard_within: Period::milliseconds(2_500),
            // The lease of a site, what its enforcer takes to kill, and a margin.
            proof_within: Period::milliseconds(2_250),
            lag_max: Period::seconds(5),
            write_failed_looks: 4,
        }
    }
}

impl Settings for FailoverQuorum {
    fn check(&self) -> Vec<Problem> {
        let at_least_one = [
            ("/bad-looks", self.bad_looks),
            ("/flapping-moves", self.flapping_moves),
            ("/write-failed-looks", self.write_failed_looks),
        ];
        let zero = at_least_one.iter().filter(|(_, count)| *count == 0);
        let mut problems: Vec<Problem> = zero.map(|(at, _)| Problem::new(*at, "must be at least 1")).collect();
        problems.extend(self.check_shifts());
        problems.extend(self.check_heard_within());
        problems
    }
}

impl FailoverQuorum {
    /// The steps as the contract has them.
    pub fn contract_shifts(&self) -> Vec<Shift> {
        self.shifts.iter().map(|step| Shift { share: step.share, hold: step.hold.as_millis() }).collect()
    }

    fn check_heard_within(&self) -> Option<Problem> {
        let enough = self.heard_within >= HEARD_WITHIN_MIN;
        (!enough).then(|| {
            Problem::new("/heard-within", "must be more than the second between two signs of life: 1500ms at least")
        })
    }

    fn check_shifts(&self) -> Option<Problem> {
        let shares: Vec<u32> = self.shifts.iter().map(|step| step.share).collect();
        let grows = shares.is_sorted_by(|one, next| one < next) && shares.first() != Some(&0);
        let complete = shares.last().is_none_or(|last| *last == 100);
        (!grows || !complete)
            .then(|| Problem::new("/shifts", "each share must be larger than the one before, and the last one 100"))
    }
}

#[cfg(test)]
mod tests {
    use tidegate_sdk::{Settings, check_settings, parse};

    use super::FailoverQuorum;

    #[test]
    fn the_defaults_are_accepted() {
        assert_eq!(FailoverQuorum::default().check(), []);
        assert_eq!(parse::<FailoverQuorum>("{}"), Ok(FailoverQuorum::default()));
    }

    #[test]
    fn refuses_settings_that_cannot_work() {
        let cases = [
            (r#"{"bad-looks": 0}"#, "/bad-looks"),
            (r#"{"flapping-moves": 0}"#, "/flapping-moves"),
            (r#"{"heard-within": "1s"}"#, "/heard-within"),
            (r#"{"write-failed-looks": 0}"#, "/write-failed-looks"),
            (r#"{"unhealthy-for": 5}"#, "/unhealthy-for"),
            (r#"{"cool-down": "5m"}"#, "/cool-down"),
            (r#"{"shifts": [{"share": 10, "hold": "1m"}]}"#, "/shifts"),
            (r#"{"shifts": [{"share": 50}, {"share": 50}, {"share": 100}]}"#, "/shifts"),
            (r#"{"shifts": [{"share": 0}, {"share": 100}]}"#, "/shifts"),
            (r#"{"shifts": [{"hold": "1m"}]}"#, "/shifts/0"),
        ];
        for (settings, at) in cases {
            let problems = check_settings::<FailoverQuorum>(settings).unwrap_err();
            assert_eq!(problems[0].at, at, "{settings}: {problems:?}");
        }
    }
}
