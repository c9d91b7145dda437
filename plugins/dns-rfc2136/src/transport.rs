//! Bytes to a server and back, by UDP or TCP, until a deadline.
//!
//! Does not know what the bytes say: whoever asks also tells which datagram is the answer.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// A datagram may be lost, so each is sent up to this many times, evenly over the time there is.
const UDP_TRIES: u32 = 3;

/// What passes everywhere unfragmented (DNS flag day 2020); more goes by TCP.
const UDP_REQUEST_MAX: usize = 1232;

/// How long a guest sleeps before it looks again: WASI has no time limit for receiving a datagram.
const UDP_LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Longer than any DNS message by UDP.
const UDP_ANSWER_MAX: usize = 65_535;

/// How requests travel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// Datagrams, and TCP where an answer is too long for one.
    #[default]
    Udp,
    /// Always TCP.
    Tcp,
}

impl Transport {
    /// One request and its answer; `is_answer` tells it from stray datagrams.
    pub fn exchange(
        self,
        server: SocketAddr,
        request: &[u8],
        deadline: Instant,
        is_answer: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<u8>> {
        if self == Self::Tcp || request.len() > UDP_REQUEST_MAX {
            return by_tcp(server, request, deadline);
        }
        let answer = by_udp(server, request, deadline, is_answer)?;
        if is_truncated(&answer) { by_tcp(server, request, deadline) } else { Ok(answer) }
    }
}

/// Waits a moment in a loop that asks for something again.
pub fn pause(length: Duration) {
    #[expect(clippy::disallowed_methods, reason = "a guest has no other way to wait, and no other work to do")]
    std::thread::sleep(length);
}

fn by_udp(server: SocketAddr, request: &[u8], deadline: Instant, is_answer: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    socket.set_nonblocking(true)?;
    let each = remaining(deadline)? / UDP_TRIES;
    for _ in 0..UDP_TRIES {
        socket.send(request)?;
        if let Some(answer) = receive(&socket, Instant::now() + each, &is_answer)? {
            return Ok(answer);
        }
    }
    Err(ErrorKind::TimedOut.into())
}

fn receive(socket: &UdpSocket, until: Instant, is_answer: impl Fn(&[u8]) -> bool) -> Result<Option<Vec<u8>>> {
    let mut datagram = vec![0; UDP_ANSWER_MAX];
    loop {
        match socket.recv(&mut datagram) {
            Ok(length) if is_answer(&datagram[..length]) => return Ok(Some(datagram[..length].to_vec())),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => pause(UDP_LOOK_AGAIN),
            Err(error) => return Err(error),
        }
        if Instant::now() >= until {
            return Ok(None);
        }
    }
}

fn by_tcp(server: SocketAddr, request: &[u8], deadline: Instant) -> Result<Vec<u8>> {
    let length = u16::try_from(request.len()).map_err(|_| Error::other("the request is longer than DNS allows"))?;
    let mut stream = TcpStream::connect_timeout(&server, remaining(deadline)?)?;
    stream.set_write_timeout(Some(remaining(deadline)?))?;
    stream.write_all(&[&length.to_be_bytes(), request].concat())?;
    let mut length = [0; 2];
    read_exactly(&mut stream, &mut length, deadline)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    read_exactly(&mut stream, &mut answer, deadline)?;
    Ok(answer)
}

/// A limit on each read alone would let a server that sends byte by byte go on for ever.
fn read_exactly(stream: &mut TcpStream, mut buffer: &mut [u8], deadline: Instant) -> Result<()> {
    while !buffer.is_empty() {
        stream.set_read_timeout(Some(remaining(deadline)?))?;
        match stream.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => buffer = &mut buffer[read..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(ErrorKind::TimedOut.into()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn remaining(deadline: Instant) -> Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

/// The TC bit of the header.
fn is_truncated(answer: &[u8]) -> bool {
    answer.get(2).is_some_and(|flags| flags & 0x02 != 0)
}
