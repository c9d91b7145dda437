//! One look at a TCP port: connect, and if the target says so, send something and expect an answer.
//!
//! Knows sockets and nothing of what findings mean; `decide.rs` knows that.

pub mod decide;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use decide::{Seen, Settings, Target};
use tidegate_sdk::{Declared, Failure, Finding, Probe, Problem, Provider, Want};

/// The provider; it has nothing to remember between two looks.
pub struct ProbeTcp {
    settings: Settings,
}

impl Provider for ProbeTcp {
    type Settings = Settings;

    fn wants() -> Vec<Want> {
        vec![Want::Connect("tcp://*:*".to_owned())]
    }

    fn configure(settings: Settings, _: Declared) -> Result<Self, Vec<Problem>> {
        Ok(ProbeTcp { settings })
    }
}

impl Probe for ProbeTcp {
    type Target = Target;

    fn check(&self, target: Target, timeout: Duration) -> Result<Finding, Failure> {
        let timeout = target.timeout.map_or(timeout, |own| timeout.min(own.into()));
        let start = Instant::now();
        let seen = look(&target, start, timeout);
        decide::judge(&self.settings, &target, seen, start.elapsed())
    }
}

tidegate_sdk::probe_provider!(ProbeTcp);

fn look(target: &Target, start: Instant, timeout: Duration) -> Seen {
    let addresses: Vec<SocketAddr> = match target.address.to_socket_addrs() {
        Ok(addresses) => addresses.collect(),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Seen::Denied(error.to_string()),
        Err(error) => return Seen::Unresolved(error.to_string()),
    };
    let mut last = Seen::Unresolved("the name has no address".to_owned());
    for address in addresses {
        match connect(address, left(start, timeout)) {
            Ok(stream) => return converse(stream, target, start, timeout),
            Err(seen) => last = seen,
        }
    }
    last
}

fn connect(address: SocketAddr, timeout: Option<Duration>) -> Result<TcpStream, Seen> {
    let timeout = timeout.ok_or(Seen::TimedOut)?;
    TcpStream::connect_timeout(&address, timeout).map_err(|error| match error.kind() {
        ErrorKind::ConnectionRefused => Seen::Refused,
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Seen::TimedOut,
        ErrorKind::PermissionDenied => Seen::Denied(format!("{address}: {error}")),
        _ => Seen::Unreachable(format!("{address}: {error}")),
    })
}

fn converse(mut stream: TcpStream, target: &Target, start: Instant, timeout: Duration) -> Seen {
    if let Some(question) = target.question()
        && let Err(seen) = say(&mut stream, question, left(start, timeout))
    {
        return seen;
    }
    if target.wants_answer() { listen(stream, target, start, timeout) } else { Seen::Connected }
}

fn say(stream: &mut TcpStream, question: &[u8], timeout: Option<Duration>) -> Result<(), Seen> {
    let timeout = timeout.ok_or(Seen::Silent)?;
    let sent = stream.set_write_timeout(Some(timeout)).and_then(|()| stream.write_all(question));
    sent.map_err(|error| Seen::Broken(error.to_string()))
}

/// Reads until the expected was said, or it cannot be any more.
fn listen(mut stream: TcpStream, target: &Target, start: Instant, timeout: Duration) -> Seen {
    let mut heard = Vec::new();
    let mut piece = [0; 512];
    while heard.len() < decide::BANNER_BYTES_MAX {
        let Some(left) = left(start, timeout) else { return Seen::Silent };
        if let Err(error) = stream.set_read_timeout(Some(left)) {
            return Seen::Broken(error.to_string());
        }
        match stream.read(&mut piece) {
            Ok(0) => return Seen::Answered(heard),
            Ok(count) => heard.extend_from_slice(&piece[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Seen::Silent,
            Err(error) => return Seen::Broken(error.to_string()),
        }
        if target.is_answered(&heard) || target.is_misanswered(&heard) {
            return Seen::Answered(heard);
        }
    }
    Seen::Answered(heard)
}

/// What is left of the time; a socket does not take a timeout of zero.
fn left(start: Instant, timeout: Duration) -> Option<Duration> {
    timeout.checked_sub(start.elapsed()).filter(|left| !left.is_zero())
}
