//! The numbers of all the kernel's rules, with the sentence that `explain` prints for each.
//!
//! A number, once released, keeps its meaning: journals hold it for ever. Knows nothing of what the rules do.

/// One rule's number.
pub type RuleNumber = u16;

macro_rules! rules {
    ($($number:literal $name:ident $text:literal)*) => {
        $(#[doc = $text] pub const $name: RuleNumber = $number;)*

        /// Every rule, in order of number.
        pub const ALL: &[(RuleNumber, &str)] = &[$(($number, $text)),*];
    };
}

rules! {
    1 WORSE "A service in its place that is not well is degraded."
    2 BETTER "A degraded service that is well again is normal."
    3 LEAVE "A move away from the preferred place is a fail-over."
    4 LEAVE_AGAIN "A move from one substitute to another is a fail-over."
    5 ARRIVE_AWAY "A fail-over that ends elsewhere leaves the service failed over."
    6 ARRIVE_HOME "A fail-over that ends in the preferred place leaves the service normal."
    7 RETURN "A move back to the preferred place is a fail-back."
    8 RETURNED "A fail-back that ends leaves the service normal."
    9 STAY_HOME "A move away that was undone leaves the service where it was, degraded until it is seen well."
    10 STAY_AWAY "A move from a substitute that was undone leaves the service failed over."
    11 STAY_RETURN "A fail-back that was undone leaves the service failed over."
    12 REHOMED_HERE "The fleet file made the substitute the preferred place."
    13 REHOMED_AWAY "The fleet file made another place the preferred one."

    20 DECLARED "The fleet file has a service that the journal did not know."
    21 DECISION "A policy's decision was weighed."
    22 HOLDS_COUNTED "Decisions equal to the last recorded one were counted."
    23 READINESS "What a move would need was checked, with a new result."
    24 CLUSTER_SEEN "What a database's nodes say of it was compared with what is held of it."
    25 NODE_OUTSIDE "A node is no standby any more: it is trusted again once it was made one."
    26 NODE_REJOINED "A node was made a standby again."

    70 RUN_OPENED "A decision or an order became a run."
    71 STEP_STARTED "A step whose needs are met was started."
    72 STEP_ENDED "A step came to a definite end."
    73 STEP_UNKNOWN "A step's outcome is unknown and is read back first."
    74 STEP_RETRIED "A step that failed is tried again after a pause."
    75 RUN_BACK "Before the point of no return, a failure undoes what was done."
    76 RUN_RESTS "A run that can go neither on nor back rests and calls a person."
    77 RUN_CLOSED "A run has ended."
    78 STEP_CUT_SHORT "The host stopped while a step was under way: its outcome is unknown."
    79 RUN_GOES_ON "The name servers answer again: a run that rests at its route tries again by itself."

    90 ASKED "What may not be done without a person became a question."
    91 ANSWERED "A question was answered, expired, or is no longer worth an answer."
    92 PAUSED "A person paused or resumed automatic moves."
    93 REARMED "A person allowed automatic moves again."
    94 TAKEN_OVER "A person took a run into their own hands."
    95 SETTLED "A person said which of two differing routes is right."
    96 EVACUATION_BEGUN "A person ordered everything away from a site."
    97 EVACUATION_WENT_ON "A service has left the site, or the next phase of an evacuation began."
    98 EVACUATION_ENDED "Everything has left the site, or an evacuation stopped and called a person."

    110 INCIDENT "An automatic move belongs to an incident: a cause in a failure domain."
    111 BRAKE "More incidents than allowed: automatic moves stop until a person re-arms."
    112 FREEZE "Failure domains turned bad together: automatic moves stop until a person re-arms."
    113 TELL "People are told."
    114 TOLD "A message reached its channel, or is given up."
    115 ROUTE_SEEN "The servers' answer was compared with what was last written."
    116 ROUTE_WRITTEN "A run changed where the name leads."
    117 PLUGIN_FAULT "A plugin misbehaved."
    118 PROMOTED "A replica was made the primary."
    119 SYNCHRONOUS "Whose word a commit waits for was changed: until it is read back, nobody may be promoted without loss."
    120 DATA_CHECKED "The data itself was asked after a promotion."
    121 DIVERGED "A returned primary has log that nobody else has."
}

/// The sentence of a rule.
pub fn text(number: RuleNumber) -> Option<&'static str> {
    ALL.iter().find(|(known, _)| *known == number).map(|(_, text)| *text)
}
