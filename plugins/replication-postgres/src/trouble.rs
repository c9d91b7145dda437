//! Why a node gave no answer, in words for people, and as the contract's failures.

use std::fmt;
use std::io::{Error, ErrorKind};

use tidegate_sdk::Failure;

/// What SQLSTATE says while a server starts, stops or recovers.
const CANNOT_CONNECT_NOW: &str = "57P03";

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Trouble {
    /// Nothing listens.
    Refused,
    /// Nothing was heard in time.
    TimedOut,
    /// There is no way there, or the name means nothing.
    Unreachable(String),
    /// The connection ended, or what came through it made no sense.
    Broken(String),
    /// The address is not granted.
    Denied(String),
    /// The server does not let us in, or in a way that we do not trust.
    Unauthorized(String),
    /// It is there, and not ready.
    Starting(String),
    /// Older than what this plugin knows.
    TooOld(String),
    /// It answered with an error.
    Server {
        /// SQLSTATE.
        code: String,
        /// In the server's words.
        message: String,
    },
}

impl Trouble {
    /// From a socket.
    pub fn from_io(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionRefused => Trouble::Refused,
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Trouble::TimedOut,
            ErrorKind::PermissionDenied => Trouble::Denied(error.to_string()),
            // Whoever answers is not whom we were to talk to, or not in TLS.
            ErrorKind::InvalidData => Trouble::Unauthorized(error.to_string()),
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Trouble::Unreachable(error.to_string()),
            _ => Trouble::Broken(error.to_string()),
        }
    }

    /// From an error that the server sent; `user` is whom it was about to let in.
    pub fn from_server(code: String, message: String, user: &str) -> Self {
        match code.as_str() {
            CANNOT_CONNECT_NOW => Trouble::Starting(message),
            "28P01" => Trouble::Unauthorized(format!("wrong password for {user}")),
            _ if code.starts_with("28") => Trouble::Unauthorized(message),
            _ => Trouble::Server { code, message },
        }
    }

    /// The key of the fact that tells it.
    pub fn fact(&self) -> &'static str {
        match self {
            Trouble::Starting(_) => "starting",
            Trouble::TooOld(_) => "too-old",
            _ => "error",
        }
    }

    /// Whether a connection that stood is gone, for whatever reason: a restart, or an end of our session.
    pub fn ends_connection(&self) -> bool {
        matches!(self, Trouble::Broken(_)) || matches!(self, Trouble::Server { code, .. } if code.starts_with("57P"))
    }

    /// Whether the connection may be used again.
    pub fn leaves_connection(&self) -> bool {
        matches!(self, Trouble::Server { code, .. } if !code.starts_with("57P"))
    }

    /// Before anything was changed: nothing is open.
    pub fn before(self, node: &str) -> Failure {
        match self {
            Trouble::Denied(text) => Failure::Denied(format!("{node}: {text}")),
            trouble => Failure::Rejected(format!("{node} gave no answer: {trouble}; nothing was changed")),
        }
    }

    /// After a change was sent: an error is the server's no, and silence leaves it open.
    pub fn after(self, node: &str, what: &str) -> Failure {
        if self.leaves_connection() {
            return Failure::Rejected(format!("{node} refused to {what}: {self}; nothing was changed by it"));
        }
        Failure::UnknownOutcome(format!("{node} was told to {what}, then: {self}; look before repeating"))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Refused => f.write_str("connection refused"),
            Trouble::TimedOut => f.write_str("timed out"),
            Trouble::Unreachable(text) => write!(f, "not reachable: {text}"),
            Trouble::Broken(text) => write!(f, "broke off: {text}"),
            Trouble::Denied(text) => write!(f, "not granted: {text}"),
            Trouble::Unauthorized(text) | Trouble::Starting(text) => f.write_str(text),
            Trouble::TooOld(version) => write!(f, "PostgreSQL {version}; 13 and newer are supported"),
            Trouble::Server { code, message } => write!(f, "{message} ({code})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_sdk::Failure;

    use super::Trouble;

    fn server(code: &str) -> Trouble {
        Trouble::from_server(code.to_owned(), "in its words".to_owned(), "tidegate")
    }

    #[test]
    fn tells_a_wrong_password_and_a_starting_server_from_errors() {
        assert_eq!(server("28P01").to_string(), "wrong password for tidegate");
        assert_eq!((server("57P03").fact(), server("42501").fact()), ("starting", "error"));
        assert_eq!(server("42501").to_string(), "in its words (42501)");
    }

    #[test]
    fn only_silence_after_a_change_leaves_it_open() {
        assert!(matches!(Trouble::TimedOut.before("a"), Failure::Rejected(_)));
        assert!(matches!(server("42501").after("a", "promote"), Failure::Rejected(_)));
        assert!(matches!(Trouble::TimedOut.after("a", "promote"), Failure::UnknownOutcome(_)));
        assert!(matches!(server("57P01").after("a", "promote"), Failure::UnknownOutcome(_)));
    }
}
