//! A TCP connection that can become TLS on the way, as PostgreSQL, SMTP and others begin it: `std`'s own keeps its WASI
//! streams to itself, and the host's TLS needs them.
//!
//! The host makes the handshake and checks the certificate, against the roots of its machine and the operator's own:
//! there is no way to encrypt without checking whom one talks to. Knows no protocol.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use wasip2::clocks::monotonic_clock;
use wasip2::io::poll::{Pollable, poll};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress};
use wasip2::sockets::tcp::TcpSocket;
use wasip2::sockets::tcp_create_socket::create_tcp_socket;

use tls::wasi::tls::types::{ClientConnection, ClientHandshake, FutureClientStreams};

mod tls {
    //! What `wasi:tls` is in Rust, with WASI's own streams.
    wit_bindgen::generate!({
        path: "wit",
        world: "wasi:tls/imports",
        with: {
            "wasi:io/error@0.2.12": wasip2::io::error,
            "wasi:io/poll@0.2.12": wasip2::io::poll,
            "wasi:io/streams@0.2.12": wasip2::io::streams,
        },
        generate_all,
    });
}

/// The longest piece that is read at once.
const CHUNK: usize = 64 << 10;

/// A connection to where the operator has granted `tcp://`.
///
/// The fields are dropped in this order, because the host counts a stream as a child of what it came from.
#[derive(Debug)]
pub struct Connection {
    input: InputStream,
    output: OutputStream,
    tls: Option<Session>,
    _socket: TcpSocket,
    timeout: Duration,
}

/// A handshake under way: for who has others to talk to meanwhile.
#[derive(Debug)]
pub struct Handshake {
    streams: FutureClientStreams,
    server_name: String,
    socket: TcpSocket,
}

/// Says goodbye when it is dropped, so that the other side can tell the end from a cut.
#[derive(Debug)]
struct Session(ClientConnection);

impl Connection {
    /// Connects. The timeout is that of each later wait as well, until it is set anew.
    pub fn open(to: SocketAddr, timeout: Duration) -> Result<Self> {
        let family = if to.is_ipv4() { IpAddressFamily::Ipv4 } else { IpAddressFamily::Ipv6 };
        let socket = create_tcp_socket(family).map_err(refused)?;
        socket.start_connect(&instance_network(), address(to)).map_err(refused)?;
        let ready = socket.subscribe();
        let (input, output) = loop {
            match socket.finish_connect() {
                Ok(streams) => break streams,
                Err(ErrorCode::WouldBlock) => wait(&ready, timeout)?,
                Err(code) => return Err(refused(code)),
            }
        };
        drop(ready);
        Ok(Connection { input, output, tls: None, _socket: socket, timeout })
    }

    /// How long a read or a write may wait for the other side.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Goes on in TLS; the certificate has to be valid for this name or address.
    pub fn secure(self, server_name: &str) -> Result<Self> {
        let timeout = self.timeout;
        self.begin_secure(server_name)?.go_on(timeout)?.map_err(|_| Error::from(ErrorKind::TimedOut))
    }

    /// As [`secure`](Self::secure), waiting for nothing yet.
    pub fn begin_secure(self, server_name: &str) -> Result<Handshake> {
        let Connection { input, output, tls, _socket: socket, .. } = self;
        if tls.is_some() {
            return Err(Error::new(ErrorKind::InvalidInput, "the connection is in TLS already"));
        }
        let streams = ClientHandshake::finish(ClientHandshake::new(server_name, input, output));
        Ok(Handshake { streams, server_name: server_name.to_owned(), socket })
    }

    /// How much can be written now; none while a flush is under way.
    fn room(&self) -> Result<usize> {
        loop {
            match self.output.check_write().map_err(|error| broken(&error))? {
                0 => wait(&self.output.subscribe(), self.timeout)?,
                room => return Ok(usize::try_from(room).unwrap_or(usize::MAX)),
            }
        }
    }
}

impl Handshake {
    /// Waits that long: the connection in TLS, with that as its timeout, or the handshake, which needs more time.
    pub fn go_on(self, timeout: Duration) -> Result<std::result::Result<Connection, Self>> {
        loop {
            match self.streams.get() {
                None => match wait(&self.streams.subscribe(), timeout) {
                    Err(error) if error.kind() == ErrorKind::TimedOut => return Ok(Err(self)),
                    waited => waited?,
                },
                Some(Ok(Ok((connection, input, output)))) => {
                    let tls = Some(Session(connection));
                    return Ok(Ok(Connection { input, output, tls, _socket: self.socket, timeout }));
                }
                Some(Ok(Err(error))) => {
                    let text = format!("no TLS with {}: {}", self.server_name, error.to_debug_string());
                    return Err(Error::new(ErrorKind::InvalidData, text));
                }
                Some(Err(())) => return Err(Error::other("the host gave the streams away already")),
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.0.close_output();
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let most = buffer.len().min(CHUNK);
        if most == 0 {
            return Ok(0);
        }
        loop {
            match self.input.read(most as u64) {
                Ok(bytes) if bytes.is_empty() => wait(&self.input.subscribe(), self.timeout)?,
                Ok(bytes) => {
                    buffer[..bytes.len()].copy_from_slice(&bytes);
                    return Ok(bytes.len());
                }
                Err(StreamError::Closed) => return Ok(0),
                Err(error) => return Err(broken(&error)),
            }
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let room = self.room()?.min(bytes.len());
        self.output.write(&bytes[..room]).map_err(|error| broken(&error))?;
        Ok(room)
    }

    fn flush(&mut self) -> Result<()> {
        self.output.flush().map_err(|error| broken(&error))?;
        self.room().map(drop)
    }
}

fn wait(ready: &Pollable, timeout: Duration) -> Result<()> {
    let late = monotonic_clock::subscribe_duration(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
    if poll(&[ready, &late]).contains(&0) { Ok(()) } else { Err(Error::from(ErrorKind::TimedOut)) }
}

fn broken(error: &StreamError) -> Error {
    match error {
        StreamError::Closed => Error::from(ErrorKind::BrokenPipe),
        StreamError::LastOperationFailed(error) => Error::other(error.to_debug_string()),
    }
}

fn refused(code: ErrorCode) -> Error {
    let kind = match code {
        ErrorCode::AccessDenied => ErrorKind::PermissionDenied,
        ErrorCode::ConnectionRefused => ErrorKind::ConnectionRefused,
        ErrorCode::ConnectionReset => ErrorKind::ConnectionReset,
        ErrorCode::ConnectionAborted => ErrorKind::ConnectionAborted,
        ErrorCode::RemoteUnreachable => ErrorKind::HostUnreachable,
        ErrorCode::Timeout => ErrorKind::TimedOut,
        _ => ErrorKind::Other,
    };
    Error::new(kind, code.message())
}

fn address(to: SocketAddr) -> IpSocketAddress {
    let port = to.port();
    match to.ip() {
        IpAddr::V4(ip) => IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address: ip.octets().into() }),
        IpAddr::V6(ip) => {
            IpSocketAddress::Ipv6(Ipv6SocketAddress { port, flow_info: 0, address: ip.segments().into(), scope_id: 0 })
        }
    }
}
