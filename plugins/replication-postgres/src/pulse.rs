//! The write through the primary, once a second: so that the log grows, and the age of the newest log at a standby says
//! whether the primary lives.
//!
//! On a connection of its own and never waited for: a disk that hangs must not hold up a look.

use std::time::{Duration, Instant};

use crate::connection::Connection;
use crate::look::WRITE;
use crate::sessions::Dial;
use crate::settings::Place;
use crate::trouble::Trouble;
use crate::wire::Query;

/// From one write to the next.
const INTERVAL: Duration = Duration::from_secs(1);

/// A write that is not confirmed after that long has failed.
const OVERDUE: Duration = Duration::from_secs(2);

/// For connecting, and for each look on the way to being logged in.
const GLANCE: Duration = Duration::from_millis(50);

/// The state of the writes through one node.
#[derive(Default)]
pub struct Pulse {
    connection: Option<Connection>,
    /// When the last write was sent, and whether its answer is outstanding.
    sent: Option<Instant>,
    outstanding: bool,
    failed: Option<String>,
}

impl Pulse {
    /// Hears what came of the last write, and sends the next when it is due; why the last one failed, if it did.
    pub fn beat(&mut self, place: &Place, dial: &Dial) -> Option<String> {
        if self.outstanding {
            self.hear();
        }
        let due = self.sent.is_none_or(|at| at.elapsed() >= INTERVAL);
        if !self.outstanding && due {
            self.send(place, dial);
        }
        self.failed.clone()
    }

    /// The node is not the primary (any more).
    pub fn stop(&mut self) {
        *self = Pulse::default();
    }

    fn hear(&mut self) {
        let Some(connection) = &mut self.connection else { return self.conclude(None) };
        let waited = self.sent.map(|at| at.elapsed()).unwrap_or_default();
        // To log in takes several answers, and looks may be far between.
        let patience = if connection.is_logging_in() { GLANCE } else { Duration::ZERO };
        match connection.poll(patience) {
            Some(Ok(_)) => self.conclude(None),
            // The connection is gone, the server perhaps not: the next one tells.
            Some(Err(trouble)) if trouble.ends_connection() => {
                (self.connection, self.outstanding, self.sent) = (None, false, None);
            }
            Some(Err(trouble)) => self.conclude(Some(trouble)),
            None if waited < OVERDUE => {}
            None => self.conclude(Some(Trouble::TimedOut)),
        }
    }

    fn send(&mut self, place: &Place, dial: &Dial) {
        self.sent = Some(Instant::now());
        let connection = match self.connection.take() {
            Some(connection) => Ok(connection),
            None => Connection::open(place, &dial.access, GLANCE),
        };
        let sent = connection.and_then(|mut connection| {
            connection.send(Query::Simple(WRITE), GLANCE)?;
            Ok(connection)
        });
        match sent {
            Ok(connection) => (self.connection, self.outstanding) = (Some(connection), true),
            Err(trouble) => self.conclude(Some(trouble)),
        }
    }

    fn conclude(&mut self, trouble: Option<Trouble>) {
        self.outstanding = false;
        // After an error in the midst of several statements a transaction may be open: begin anew.
        if trouble.is_some() {
            self.connection = None;
        }
        self.failed = trouble.map(|trouble| trouble.to_string());
    }
}
