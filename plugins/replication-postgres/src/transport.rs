//! Bytes to and from a server: the one place that opens sockets, in the clear or in TLS.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::secured::Secured;
use crate::settings::Place;
use crate::trouble::Trouble;

/// A socket does not take a timeout of nothing.
pub const PATIENCE_MIN: Duration = Duration::from_millis(1);

/// What a connection is made of.
pub trait Stream: Read + Write {
    /// How long the next read or write may take.
    fn set_patience(&mut self, patience: Duration) -> std::io::Result<()>;
}

impl Stream for TcpStream {
    fn set_patience(&mut self, patience: Duration) -> std::io::Result<()> {
        let patience = Some(patience.max(PATIENCE_MIN));
        self.set_read_timeout(patience)?;
        self.set_write_timeout(patience)
    }
}

/// Connects to the first of an address's meanings that answers in time.
pub fn open(place: &Place, patience: Duration) -> Result<Box<dyn Stream>, Trouble> {
    let (started, address) = (Instant::now(), &place.address);
    let addresses: Vec<SocketAddr> = address.to_socket_addrs().map_err(|error| unresolved(address, &error))?.collect();
    let mut last = Trouble::Unreachable(format!("{address} means nothing here"));
    for address in addresses {
        let left = patience.saturating_sub(started.elapsed()).max(PATIENCE_MIN);
        match dress(address, place.certified.as_deref(), left) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Trouble::from_io(&error),
        }
    }
    Err(last)
}

fn dress(address: SocketAddr, certified: Option<&str>, patience: Duration) -> std::io::Result<Box<dyn Stream>> {
    if let Some(name) = certified {
        return Ok(Box::new(Secured::open(address, name, patience)?));
    }
    let stream = TcpStream::connect_timeout(&address, patience)?;
    // A question and its answer are one packet each: waiting for more to send only costs time.
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

fn unresolved(address: &str, error: &std::io::Error) -> Trouble {
    match Trouble::from_io(error) {
        denied @ Trouble::Denied(_) => denied,
        _ => Trouble::Unreachable(format!("{address} cannot be looked up: {error}")),
    }
}
