//! A cluster's nodes with the connections to them, which outlive a call; and how all are asked at once.
//!
//! One thread, so nobody is waited for while another could answer: questions go out to all, then answers are taken as they
//! come. A node that said nothing in time is left alone for a while and costs the next looks no time; one that had too little
//! time to log in goes on with that in the next look.

use std::time::{Duration, Instant};

use crate::connection::{Connection, Outcome};
use crate::look::{LOOK, Look};
use crate::names::{self, Left};
use crate::pulse::Pulse;
use crate::settings::{Declaration, Place};
use crate::trouble::Trouble;
use crate::wire::{Access, Query};

/// How long each of several is listened to in turn.
const TURN: Duration = Duration::from_millis(2);

/// How long a node that said nothing in time is left alone.
const REST: Duration = Duration::from_secs(1);

/// What has arrived while others were connected to is still read.
const GRACE: Duration = Duration::from_millis(20);

/// One node, and what is kept of it between calls.
pub struct Session {
    /// As declared.
    pub name: String,
    /// Where it is, and how it is spoken to.
    pub place: Place,
    connection: Option<Connection>,
    /// When it was last asked, and when it last answered.
    pub attempted: Option<Instant>,
    /// See `attempted`.
    pub succeeded: Option<Instant>,
    silent_until: Option<Instant>,
    /// Where each timeline that it came through was left; read once for each timeline.
    history: Option<(u64, Vec<Left>)>,
    /// The writes that prove life while it is the primary.
    pub pulse: Pulse,
}

/// What a node said.
pub struct Seen {
    /// Its answer, or why there is none.
    pub look: Result<Look, Trouble>,
    /// Since it was asked.
    pub attempt_age: Duration,
    /// Since it last answered.
    pub success_age: Option<Duration>,
    /// Where each timeline that it came through was left.
    pub history: Vec<Left>,
    /// Why the last write that proves life did not succeed.
    pub write_failed: Option<String>,
}

/// How connections are made.
pub struct Dial {
    /// As whom.
    pub access: Access,
}

impl Session {
    /// Nothing is connected yet.
    pub fn new(name: &str, place: Place) -> Self {
        Session {
            name: name.to_owned(),
            place,
            connection: None,
            attempted: None,
            succeeded: None,
            silent_until: None,
            history: None,
            pulse: Pulse::default(),
        }
    }

    /// Asks this node alone, on the connection that is there or a new one.
    pub fn ask(&mut self, dial: &Dial, query: Query<'_>, deadline: Instant) -> Outcome {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&self.place, &dial.access, left)?,
        };
        let outcome = connection.ask(query, deadline);
        self.keep(connection, &outcome);
        outcome
    }

    /// A connection that works, so that what follows does not fail for an old one's sake.
    pub fn freshen(&mut self, dial: &Dial, patience: Duration) -> Result<(), Trouble> {
        let had_one = self.connection.is_some();
        match self.ask(dial, Query::Simple("SELECT 1"), Instant::now() + patience) {
            Err(trouble) if had_one && trouble.ends_connection() => {
                self.ask(dial, Query::Simple("SELECT 1"), Instant::now() + patience).map(drop)
            }
            outcome => outcome.map(drop),
        }
    }

    /// Forgets the connection.
    pub fn hang_up(&mut self) {
        self.connection = None;
    }

    fn keep(&mut self, connection: Connection, outcome: &Outcome) {
        let works = outcome.as_ref().err().is_none_or(Trouble::leaves_connection);
        self.connection = (works && connection.is_idle()).then_some(connection);
    }

    /// Sends the question, connecting first if need be.
    fn begin(&mut self, dial: &Dial, patience: Duration) -> Result<(), Trouble> {
        self.attempted = Some(Instant::now());
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&self.place, &dial.access, patience)?,
        };
        connection.send(Query::Simple(LOOK), patience)?;
        self.connection = Some(connection);
        Ok(())
    }

    fn poll(&mut self, patience: Duration) -> Option<Outcome> {
        let mut connection = self.connection.take()?;
        let outcome = connection.poll(patience);
        match &outcome {
            None => self.connection = Some(connection),
            Some(outcome) => self.keep(connection, outcome),
        }
        outcome
    }

    /// It answers, and has not been let in yet.
    fn is_getting_on(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::is_getting_on)
    }

    /// It said nothing in time a moment ago.
    pub fn is_left_alone(&self) -> bool {
        self.connection.is_none() && self.silent_until.is_some_and(|until| Instant::now() < until)
    }

    /// Where each timeline that `timeline` came through was left; none if it may not be read. Read once.
    pub fn history(&mut self, dial: &Dial, timeline: u64, deadline: Instant) -> Option<Vec<Left>> {
        if let Some((of, history)) = &self.history
            && *of == timeline
        {
            return Some(history.clone());
        }
        let history = if timeline > 1 { self.read_history(dial, timeline, deadline)? } else { Vec::new() };
        self.history = Some((timeline, history.clone()));
        Some(history)
    }

    fn read_history(&mut self, dial: &Dial, timeline: u64, deadline: Instant) -> Option<Vec<Left>> {
        let file = names::history_file(timeline);
        let rows = self.ask(dial, Query::With("SELECT pg_read_file($1, 0, 1048576, true)", &[&file]), deadline).ok()?;
        Some(names::history(rows.first()?.first()?.as_deref()?))
    }
}

/// Asks every node, all at once; one answer for each, in order.
pub fn look(sessions: &mut [Session], dial: &Dial, declaration: &Declaration) -> Vec<Seen> {
    let deadline = Instant::now() + declaration.timeout();
    let mut looks: Vec<Option<Result<Look, Trouble>>> = begin(sessions, dial, deadline);
    collect(sessions, dial, deadline, &mut looks);
    let silent = || Err(Trouble::TimedOut);
    sessions
        .iter_mut()
        .zip(looks)
        .map(|(session, look)| seen(session, dial, look.unwrap_or_else(silent), deadline))
        .collect()
}

/// The question goes first where a connection stands; then the others are connected to, which may take time. Of that each has
/// its share, and one is left to hear them all: where no connection comes about, as to a site that is cut off, those that were
/// connected to before still have to log in.
fn begin(sessions: &mut [Session], dial: &Dial, deadline: Instant) -> Vec<Option<Result<Look, Trouble>>> {
    let mut looks: Vec<Option<Result<Look, Trouble>>> = sessions.iter().map(|_| None).collect();
    let connected: Vec<bool> = sessions.iter().map(|session| session.connection.is_some()).collect();
    for (at, session) in sessions.iter_mut().enumerate().filter(|(at, _)| connected[*at]) {
        looks[at] = session.begin(dial, TURN).err().map(Err);
    }
    let mut others: Vec<usize> = (0..sessions.len()).filter(|at| !connected[*at]).collect();
    while let Some(at) = others.pop() {
        if sessions[at].is_left_alone() {
            looks[at] = Some(Err(Trouble::TimedOut));
            continue;
        }
        let share = deadline.saturating_duration_since(Instant::now()) / (others.len() as u32 + 2);
        looks[at] = sessions[at].begin(dial, share).err().map(Err);
    }
    looks
}

/// Takes the answers as they come. Where an old connection turns out to be gone, a new one tells why.
fn collect(sessions: &mut [Session], dial: &Dial, deadline: Instant, looks: &mut [Option<Result<Look, Trouble>>]) {
    let deadline = deadline.max(Instant::now() + GRACE);
    let mut again = vec![true; sessions.len()];
    loop {
        let pending: Vec<usize> = (0..sessions.len()).filter(|at| looks[*at].is_none()).collect();
        let left = deadline.saturating_duration_since(Instant::now());
        if pending.is_empty() || left.is_zero() {
            return;
        }
        for at in &pending {
            let patience = if pending.len() == 1 { left } else { TURN.min(left) };
            let Some(outcome) = sessions[*at].poll(patience) else { continue };
            looks[*at] = match outcome {
                Err(trouble) if std::mem::take(&mut again[*at]) && trouble.ends_connection() => {
                    sessions[*at].begin(dial, deadline.saturating_duration_since(Instant::now())).err().map(Err)
                }
                outcome => Some(outcome.and_then(|rows| Look::read(&rows))),
            };
        }
    }
}

fn seen(session: &mut Session, dial: &Dial, look: Result<Look, Trouble>, deadline: Instant) -> Seen {
    let now = Instant::now();
    match &look {
        Ok(_) => (session.succeeded, session.silent_until) = (Some(now), None),
        Err(Trouble::TimedOut) if !session.is_left_alone() && !session.is_getting_on() => {
            session.hang_up();
            session.silent_until = Some(now + REST);
        }
        Err(_) => {}
    }
    let timeline = look.as_ref().ok().and_then(|look| look.timeline);
    Seen {
        look,
        attempt_age: session.attempted.map_or(Duration::ZERO, |at| at.elapsed()),
        success_age: session.succeeded.map(|at| at.elapsed()),
        history: timeline
            .and_then(|timeline| session.history(dial, timeline, deadline.max(now + GRACE)))
            .unwrap_or_default(),
        write_failed: None,
    }
}
