//! Bytes to and from a server: the one place that opens sockets, and where a TLS stream takes their place.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::settings::Tls;
use crate::trouble::Trouble;

/// A socket does not take a timeout of nothing.
const PATIENCE_MIN: Duration = Duration::from_millis(1);

/// What a connection is made of.
pub trait Stream: Read + Write {
    /// How long the next read or write may take.
    fn set_patience(&self, patience: Duration) -> std::io::Result<()>;
}

impl Stream for TcpStream {
    fn set_patience(&self, patience: Duration) -> std::io::Result<()> {
        let patience = Some(patience.max(PATIENCE_MIN));
        self.set_read_timeout(patience)?;
        self.set_write_timeout(patience)
    }
}

/// Connects to the first of an address's meanings that answers in time.
pub fn open(address: &str, tls: Tls, patience: Duration) -> Result<Box<dyn Stream>, Trouble> {
    let started = Instant::now();
    let addresses: Vec<SocketAddr> = address.to_socket_addrs().map_err(|error| unresolved(address, &error))?.collect();
    let mut last = Trouble::Unreachable(format!("{address} means nothing here"));
    for address in addresses {
        let left = patience.saturating_sub(started.elapsed()).max(PATIENCE_MIN);
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => return dress(stream, tls),
            Err(error) => last = Trouble::from_io(&error),
        }
    }
    Err(last)
}

fn dress(stream: TcpStream, tls: Tls) -> Result<Box<dyn Stream>, Trouble> {
    match tls {
        Tls::Disable => {
            // A question and its answer are one packet each: waiting for more to send only costs time.
            stream.set_nodelay(true).map_err(|error| Trouble::from_io(&error))?;
            Ok(Box::new(stream))
        }
        Tls::Require | Tls::VerifyFull => {
            Err(Trouble::Denied("TLS cannot be had from within this plugin yet".to_owned()))
        }
    }
}

fn unresolved(address: &str, error: &std::io::Error) -> Trouble {
    match Trouble::from_io(error) {
        denied @ Trouble::Denied(_) => denied,
        _ => Trouble::Unreachable(format!("{address} cannot be looked up: {error}")),
    }
}
