//! One control call on one cluster: its time, its epoch, and what all control calls do with a node.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use tidegate_sdk::{Call, Failure};

use crate::host::Host;
use crate::look::{LOOK, Look};
use crate::names::{Left, literal};
use crate::sessions::{Dial, Session};
use crate::settings::{Declaration, Node};
use crate::trouble::Trouble;
use crate::wire::{Access, Query, Row};

/// Between two looks at what is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A cluster, and the connections to it.
pub struct Watched {
    /// As declared.
    pub name: String,
    /// What is said of it.
    pub declaration: Declaration,
    /// One for each node, in the declaration's order.
    pub sessions: RefCell<Vec<Session>>,
}

/// What a call works with.
pub struct Hand<'a> {
    /// On which cluster.
    pub cluster: &'a Watched,
    /// Who lends and runs.
    pub host: &'a dyn Host,
    /// Whose call it is.
    pub call: &'a Call,
    dial: Dial,
    deadline: Instant,
}

impl Watched {
    /// Nothing is connected yet.
    pub fn new(name: &str, declaration: Declaration) -> Self {
        let session = |node: &Node| Session::new(&node.name, declaration.place(node));
        let sessions = declaration.nodes.iter().map(session).collect();
        Watched { name: name.to_owned(), declaration, sessions: RefCell::new(sessions) }
    }

    /// How to connect; the password is asked for each time, so that a new one counts at once.
    pub fn dial(&self, host: &dyn Host) -> Result<Dial, Failure> {
        let declared = &self.declaration;
        let password = declared.password.as_deref().map(|name| host.secret(name)).transpose()?;
        let access = Access { user: declared.user.clone(), password, database: declared.database.clone() };
        Ok(Dial { access })
    }

    /// The node of that name, and its place.
    pub fn node(&self, name: &str) -> Result<(usize, &Node), Failure> {
        let found = self.declaration.nodes.iter().enumerate().find(|(_, node)| node.name == name);
        found.ok_or_else(|| Failure::NotFound(format!("the cluster {} has no node {name}", self.name)))
    }
}

impl<'a> Hand<'a> {
    /// The call begins now.
    pub fn new(cluster: &'a Watched, host: &'a dyn Host, call: &'a Call) -> Result<Self, Failure> {
        let deadline = Instant::now() + Duration::from_millis(call.timeout);
        Ok(Hand { cluster, host, call, dial: cluster.dial(host)?, deadline })
    }

    /// What is left of the call's time.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// The node as declared.
    pub fn node(&self, name: &str) -> Result<&'a Node, Failure> {
        self.cluster.node(name).map(|(_, node)| node)
    }

    /// Looks at a node before it is changed: over a connection that works, and only if no newer run has changed it.
    pub fn open(&self, node: &str) -> Result<Look, Failure> {
        self.node(node)?;
        let look = self.glance(node).map_err(|trouble| trouble.before(node))?;
        match look.epoch {
            Some(newer) if newer > self.call.epoch => Err(Failure::Stale(newer)),
            _ => Ok(look),
        }
    }

    /// Looks at a node, whatever its epoch.
    pub fn glance(&self, node: &str) -> Result<Look, Trouble> {
        self.with(node, |session, dial| session.freshen(dial, self.one_look()))?;
        self.look(node)
    }

    /// Looks once more, on the connection that `open` or `glance` has made.
    pub fn look(&self, node: &str) -> Result<Look, Trouble> {
        let rows = self.ask(node, Query::Simple(LOOK), self.one_look())?;
        Look::read(&rows)
    }

    /// Asks a node, for so long at most and never past the call's end.
    pub fn ask(&self, node: &str, query: Query<'_>, patience: Duration) -> Result<Vec<Row>, Trouble> {
        let deadline = Instant::now() + patience.min(self.left());
        self.with(node, |session, dial| session.ask(dial, query, deadline))
    }

    /// As `ask`, for what changes something; `what` completes "was told to".
    pub fn tell(&self, node: &str, statement: &str, what: &str) -> Result<Vec<Row>, Failure> {
        let asked = self.ask(node, Query::Simple(statement), self.left());
        asked.map_err(|trouble| trouble.after(node, what))
    }

    /// Where each timeline that the node came through was left, if it may be read.
    pub fn history(&self, node: &str, timeline: u64) -> Option<Vec<Left>> {
        let deadline = Instant::now() + self.one_look();
        self.with(node, |session, dial| Ok(session.history(dial, timeline, deadline))).ok().flatten()
    }

    /// Writes settings into the server's own file, marks them with the call's epoch, and has them taken up. They survive a
    /// restart of the server. None = as the configuration file says.
    pub fn alter(&self, node: &str, settings: &[(&str, Option<&str>)]) -> Result<(), Failure> {
        for (name, value) in settings {
            self.alter_one(node, name, *value)?;
        }
        self.alter_one(node, "tidegate.epoch", Some(&self.call.epoch.to_string()))?;
        self.tell(node, "SELECT pg_reload_conf()", "reload its settings").map(drop)
    }

    fn alter_one(&self, node: &str, name: &str, value: Option<&str>) -> Result<(), Failure> {
        let what = format!("set {name}");
        if name.starts_with("tidegate.") {
            // Before version 16 only a name that the session knows can be written to the file.
            self.tell(node, &format!("SET {name} TO ''"), &what)?;
            self.tell(node, &format!("RESET {name}"), &what)?;
        }
        let statement = match value {
            Some(value) => format!("ALTER SYSTEM SET {name} TO {}", literal(value)),
            None => format!("ALTER SYSTEM RESET {name}"),
        };
        self.tell(node, &statement, &what).map(drop)
    }

    /// Looks at a node again and again until it is as wanted. The last look, if it never was in time.
    pub fn wait(
        &self,
        node: &str,
        patience: Duration,
        wanted: impl Fn(&Look) -> bool,
    ) -> Result<Look, Option<Box<Look>>> {
        let mut last = None;
        let found = self.poll(patience, || match self.look(node) {
            Ok(look) if wanted(&look) => Some(look),
            Ok(look) => {
                last = Some(Box::new(look));
                None
            }
            Err(_) => None,
        });
        found.ok_or(last)
    }

    /// Tries again and again until there is something, for so long at most and never past the call's end.
    pub fn poll<T>(&self, patience: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + patience.min(self.left());
        loop {
            if let Some(found) = attempt() {
                return Some(found);
            }
            if Instant::now() + LOOK_AGAIN >= deadline {
                return None;
            }
            pause();
        }
    }

    /// A value that the configuration has now; none where our role may not see it.
    pub fn setting(&self, node: &str, name: &str) -> Result<Option<String>, Trouble> {
        let query = Query::With("SELECT setting FROM pg_settings WHERE name = $1", &[name]);
        let rows = self.ask(node, query, self.one_look())?;
        Ok(rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten())
    }

    /// Whether the node said nothing in time a moment ago: asking again would only cost time.
    pub fn is_silent(&self, node: &str) -> bool {
        self.cluster.sessions.borrow().iter().any(|session| session.name == node && session.is_left_alone())
    }

    /// Forgets the connection to a node that goes away.
    pub fn hang_up(&self, node: &str) {
        if let Ok((at, _)) = self.cluster.node(node)
            && let Some(session) = self.cluster.sessions.borrow_mut().get_mut(at)
        {
            session.hang_up();
            session.pulse.stop();
        }
    }

    /// The time of one look, as declared.
    pub fn one_look(&self) -> Duration {
        self.cluster.declaration.timeout().min(self.left())
    }

    fn with<T>(
        &self,
        node: &str,
        use_it: impl FnOnce(&mut Session, &Dial) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let mut sessions = self.cluster.sessions.borrow_mut();
        let session = sessions.iter_mut().find(|session| session.name == node);
        let session = session.ok_or_else(|| Trouble::Unreachable(format!("{node} is not declared")))?;
        use_it(session, &self.dial)
    }
}

/// A server cannot be asked to tell when something has come about.
#[expect(
    clippy::disallowed_methods,
    reason = "a component has no runtime with a timer; its host does other work meanwhile"
)]
fn pause() {
    std::thread::sleep(LOOK_AGAIN);
}
