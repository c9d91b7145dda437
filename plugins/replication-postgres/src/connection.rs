//! One conversation with one server: log in, ask, hear the answer, in pieces as long as the caller has patience.
//!
//! So that several servers can be asked at once by one thread. Does not know what is asked.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use postgres_protocol::message::backend::Message;

use crate::settings::Place;
use crate::transport::{self, Stream};
use crate::trouble::Trouble;
use crate::wire::{Access, Answer, Login, Query, Row};

/// The most that a server may say at a stretch before it makes sense.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// What one server says to a query.
pub type Outcome = Result<Vec<Row>, Trouble>;

/// A server's end, at some point of a conversation.
pub struct Connection {
    stream: Box<dyn Stream>,
    user: String,
    input: BytesMut,
    state: State,
    /// Something came since the last question.
    heard: bool,
}

enum State {
    /// With the question that is asked once it is done.
    LoggingIn(Box<Login>, BytesMut),
    Idle,
    Answering(Answer),
    Ended,
}

impl Connection {
    /// Connects and begins to log in.
    pub fn open(place: &Place, access: &Access, patience: Duration) -> Result<Self, Trouble> {
        let stream = transport::open(place, patience)?;
        let mut out = BytesMut::new();
        let login = Box::new(Login::start(access.clone(), &mut out)?);
        let state = State::LoggingIn(login, BytesMut::new());
        let (user, input) = (access.user.clone(), BytesMut::new());
        let mut connection = Connection { stream, user, input, state, heard: false };
        connection.write(&out, patience)?;
        Ok(connection)
    }

    /// Asks; the answer is to be polled for. While one is outstanding no other question is taken.
    pub fn send(&mut self, query: Query<'_>, patience: Duration) -> Result<(), Trouble> {
        let mut out = BytesMut::new();
        query.encode(&mut out)?;
        self.heard = false;
        match &mut self.state {
            State::LoggingIn(_, question) => {
                *question = out;
                return Ok(());
            }
            State::Idle => self.state = State::Answering(Answer::default()),
            State::Answering(_) | State::Ended => {
                return Err(Trouble::Broken("the last answer is outstanding".to_owned()));
            }
        }
        self.write(&out, patience)
    }

    /// Listens that long; none = no whole answer yet.
    pub fn poll(&mut self, patience: Duration) -> Option<Outcome> {
        let end = Instant::now() + patience;
        loop {
            // At least once, however late it is: what has arrived already counts.
            let heard = self.read(end.saturating_duration_since(Instant::now()));
            match heard.and_then(|()| self.digest()) {
                Ok(Some(outcome)) => return Some(outcome),
                Ok(None) if Instant::now() < end => {}
                Ok(None) | Err(Trouble::TimedOut) => return None,
                Err(trouble) => return Some(Err(self.end(trouble))),
            }
        }
    }

    /// Asks and waits for the answer; after a timeout the connection is of no use any more.
    pub fn ask(&mut self, query: Query<'_>, deadline: Instant) -> Outcome {
        let left = || deadline.saturating_duration_since(Instant::now());
        self.send(query, left())?;
        self.poll(left()).unwrap_or_else(|| Err(self.end(Trouble::TimedOut)))
    }

    /// Whether it can take a question.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Whether the question that was sent has not gone out yet.
    pub fn is_logging_in(&self) -> bool {
        matches!(self.state, State::LoggingIn(..))
    }

    /// Whether the server answers, and has only not come as far as the question.
    pub fn is_getting_on(&self) -> bool {
        self.is_logging_in() && self.heard
    }

    fn digest(&mut self) -> Result<Option<Outcome>, Trouble> {
        while let Some(message) = self.next_message()? {
            match &mut self.state {
                State::LoggingIn(login, question) => {
                    let mut out = BytesMut::new();
                    if login.hear(message, &mut out)? {
                        out = std::mem::take(question);
                        self.state = State::Answering(Answer::default());
                    }
                    self.write(&out, Duration::from_millis(100))?;
                }
                State::Answering(answer) => {
                    if answer.hear(message, &self.user)? {
                        let answer = std::mem::take(answer);
                        self.state = State::Idle;
                        return Ok(Some(answer.outcome()));
                    }
                }
                // A notice, or the reason for which the server will end the connection.
                State::Idle | State::Ended => {}
            }
        }
        Ok(None)
    }

    fn next_message(&mut self) -> Result<Option<Message>, Trouble> {
        if self.input.len() > MESSAGE_BYTES_MAX {
            return Err(Trouble::Broken(format!("more than {MESSAGE_BYTES_MAX} bytes in one message")));
        }
        Message::parse(&mut self.input).map_err(|error| Trouble::Broken(format!("it is no PostgreSQL: {error}")))
    }

    fn read(&mut self, patience: Duration) -> Result<(), Trouble> {
        self.stream.set_patience(patience).map_err(|error| Trouble::from_io(&error))?;
        let mut piece = [0; 4096];
        match self.stream.read(&mut piece) {
            Ok(0) => Err(Trouble::Broken("the server ended the connection".to_owned())),
            Ok(count) => {
                self.input.extend_from_slice(&piece[..count]);
                self.heard = true;
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(Trouble::from_io(&error)),
        }
    }

    fn write(&mut self, bytes: &[u8], patience: Duration) -> Result<(), Trouble> {
        let sent = self.stream.set_patience(patience).and_then(|()| self.stream.write_all(bytes));
        let sent = sent.and_then(|()| self.stream.flush());
        sent.map_err(|error| Trouble::from_io(&error))
    }

    /// The server's own words for it, if it had any, say more than that the connection is gone.
    fn end(&mut self, trouble: Trouble) -> Trouble {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Answering(answer) => answer.last_words().unwrap_or(trouble),
            _ => trouble,
        }
    }
}
