//! TLS as PostgreSQL begins it: asked for in the clear, agreed to by one byte, and then the handshake, which the host makes.
//!
//! It comes about while the answer is read, as far as each read has patience: a server that is slow at it keeps no other
//! from being asked. What is written before waits here, and nothing of it goes out in the clear.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use tidegate_sdk::net::{Connection, Handshake};

use crate::transport::{PATIENCE_MIN, Stream};

/// A connection that is in TLS, or on its way there.
pub struct Secured {
    /// Whom the certificate has to name.
    name: String,
    state: State,
    /// What is to be sent as soon as it may.
    waiting: Vec<u8>,
    deadline: Instant,
}

enum State {
    Asked(Connection),
    Shaking(Handshake),
    Open(Connection),
    Failed,
}

impl Secured {
    /// Connects and asks for TLS.
    pub fn open(address: SocketAddr, name: &str, patience: Duration) -> Result<Self> {
        if cfg!(not(target_family = "wasm")) {
            return Err(Error::new(ErrorKind::InvalidData, "TLS is the host's, and outside of one there is none"));
        }
        let deadline = Instant::now() + patience;
        let mut connection = Connection::open(address, patience)?;
        let mut wish = BytesMut::new();
        frontend::ssl_request(&mut wish);
        connection.write_all(&wish)?;
        connection.flush()?;
        Ok(Secured { name: name.to_owned(), state: State::Asked(connection), waiting: Vec::new(), deadline })
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now()).max(PATIENCE_MIN)
    }

    /// The connection, once it is in TLS; after an error of time the next call goes on from there.
    fn opened(&mut self) -> Result<&mut Connection> {
        while !matches!(self.state, State::Open(_)) {
            self.step()?;
        }
        let left = self.left();
        let State::Open(connection) = &mut self.state else { return Err(Error::from(ErrorKind::NotConnected)) };
        connection.set_timeout(left);
        Ok(connection)
    }

    fn step(&mut self) -> Result<()> {
        let left = self.left();
        if let State::Asked(connection) = &mut self.state {
            connection.set_timeout(left);
            hear_consent(connection)?;
        }
        self.state = match std::mem::replace(&mut self.state, State::Failed) {
            State::Asked(connection) => State::Shaking(connection.begin_secure(&self.name)?),
            State::Shaking(handshake) => match handshake.go_on(left)? {
                Ok(connection) => State::Open(self.catch_up(connection)?),
                Err(handshake) => {
                    self.state = State::Shaking(handshake);
                    return Err(Error::from(ErrorKind::TimedOut));
                }
            },
            State::Open(connection) => State::Open(connection),
            State::Failed => return Err(Error::from(ErrorKind::NotConnected)),
        };
        Ok(())
    }

    fn catch_up(&mut self, mut connection: Connection) -> Result<Connection> {
        connection.write_all(&std::mem::take(&mut self.waiting))?;
        connection.flush()?;
        Ok(connection)
    }
}

/// One byte and not one more: what follows belongs to the handshake, whoever sent it.
fn hear_consent(connection: &mut Connection) -> Result<()> {
    let mut answer = [0];
    connection.read_exact(&mut answer)?;
    let text = match answer[0] {
        b'S' => return Ok(()),
        b'N' => {
            "the server has no TLS (ssl = off), and was told nothing else; set ssl = on there, or write tls = \"disable\" on a network that you trust"
        }
        _ => "what answers there speaks no PostgreSQL, and was told nothing else",
    };
    Err(Error::new(ErrorKind::InvalidData, text))
}

impl Stream for Secured {
    fn set_patience(&mut self, patience: Duration) -> Result<()> {
        self.deadline = Instant::now() + patience;
        Ok(())
    }
}

impl Read for Secured {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.opened()?.read(buffer)
    }
}

impl Write for Secured {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match &self.state {
            State::Open(_) => self.opened()?.write(bytes),
            _ => self.waiting.write(bytes),
        }
    }

    fn flush(&mut self) -> Result<()> {
        match &self.state {
            State::Open(_) => self.opened()?.flush(),
            _ => Ok(()),
        }
    }
}
