//! A probe that does what the first word of its target says, most of it forbidden; the rest of the target says to whom.
//!
//! Knows nothing of probing.

#![cfg(target_arch = "wasm32")]

wit_bindgen::generate!({ path: "../../../wit/v0.1.0", world: "probe-provider" });

use exports::tidegate::dr::{
    plugin::{Guest as Plugin, Manifest, Problem, Want},
    probe::{Finding, Guest as Probe},
    provider::{Guest as Provider, Setup},
};
use std::{
    cell::Cell,
    hint::black_box,
    io::Read as _,
    net::{TcpStream, ToSocketAddrs as _, UdpSocket},
    time::Duration,
};
use tidegate::dr::{
    health::Outcome,
    log::{self, Level},
    secrets,
    types::{Fact, Failure},
};
use wasip2::http::{outgoing_handler, types as http};

struct Hostile;
export!(Hostile);

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

impl Plugin for Hostile {
    fn describe() -> Manifest {
        Manifest {
            name: "hostile-provider".into(),
            version: "0.1.0".into(),
            summary: "Reaches for what it was not given".into(),
            settings_schema: "{}".into(),
            wants: vec![
                Want::Connect("tcp://*".into()),
                Want::Connect("udp://*".into()),
                Want::Connect("http://*".into()),
                Want::Connect("https://*".into()),
                Want::Directory("/data".into()),
                Want::Secret("own".into()),
            ],
            memo_format: String::new(),
        }
    }

    fn check_settings(settings: String) -> Result<(), Vec<Problem>> {
        if settings.contains("refuse-me") {
            return Err(vec![Problem { at: "/do".into(), text: "refused on request".into() }]);
        }
        Ok(())
    }
}

impl Provider for Hostile {
    fn configure(setup: Setup) -> Result<(), Vec<Problem>> {
        if setup.settings.contains("crash-in-configure") {
            panic!("in configure, on purpose");
        }
        Ok(())
    }

    fn ready(name: String) -> Result<Vec<Fact>, Failure> {
        Ok(vec![Fact { key: "ready".into(), value: name }])
    }
}

impl Probe for Hostile {
    fn check(target: String, _timeout: u64) -> Result<Finding, Failure> {
        CALLS.set(CALLS.get() + 1);
        let (word, rest) = target.split_once(' ').unwrap_or((&target, ""));
        match word {
            "ok" => Ok(found(CALLS.get().to_string())),
            "panic" => panic!("on purpose"),
            "loop" => {
                forever();
                Ok(found(String::new()))
            }
            "memory" => hoard(),
            "stack" => Ok(found(dig(1).to_string())),
            "sleep" => {
                std::thread::sleep(Duration::from_millis(rest.parse().unwrap_or(3_600_000)));
                Ok(found(String::new()))
            }
            "huge" => Ok(found("x".repeat(16 << 20))),
            "enum" => Ok(Finding { outcome: invalid(), latency: None, detail: String::new() }),
            "log-flood" => {
                (0..1_000).for_each(|_| log::write(Level::Info, &"flood ".repeat(1_000)));
                Ok(found(String::new()))
            }
            "host-calls" => loop {
                black_box(std::time::Instant::now());
            },
            "tcp" => outcome(TcpStream::connect(rest)),
            "udp" => outcome(UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.send_to(b"x", rest))),
            "listen" => outcome(std::net::TcpListener::bind(rest)),
            "name" => {
                outcome((rest, 80).to_socket_addrs().map(|found| found.map(|a| a.ip().to_string()).collect::<Vec<_>>()))
            }
            "http" => fetch(rest),
            "read" => outcome(std::fs::read_to_string(rest)),
            "write" => outcome(std::fs::write(rest, "written")),
            "secret" => secrets::get(rest).map(|bytes| found(String::from_utf8_lossy(&bytes).into_owned())),
            "holding" => {
                let _held = std::fs::read_dir("/data");
                panic!("with a resource in my hand")
            }
            _ => Err(Failure::Invalid(target)),
        }
    }
}

fn found(detail: String) -> Finding {
    Finding { outcome: Outcome::Ok, latency: Some(1), detail }
}

fn outcome<T: std::fmt::Debug>(result: std::io::Result<T>) -> Result<Finding, Failure> {
    match result {
        Ok(value) => Ok(found(format!("{value:?}"))),
        Err(error) => Err(Failure::Rejected(format!("{:?}", error.kind()))),
    }
}

fn forever() {
    let mut n = 0_u64;
    while black_box(n) != u64::MAX {
        n = black_box(n) & 0xffff;
        n += 1;
    }
}

fn hoard() -> ! {
    let mut kept = Vec::new();
    loop {
        kept.push(black_box(vec![1_u8; 1 << 20]));
    }
}

#[expect(unconditional_recursion)]
fn dig(depth: u64) -> u64 {
    let room = black_box([depth; 64]);
    dig(room[1] + 1) + room[0]
}

/// A case that the contract does not have.
fn invalid() -> Outcome {
    let byte = black_box(99_u8);
    // SAFETY: there is none; the host has to survive it.
    unsafe { std::ptr::read_volatile((&raw const byte).cast()) }
}

/// GET, following redirects as a naive client would.
fn fetch(url: &str) -> Result<Finding, Failure> {
    let mut url = url.to_owned();
    for _ in 0..3 {
        let answer = get(&url).map_err(|code| Failure::Rejected(format!("{code:?}")))?;
        let location =
            answer.headers().get("location").first().map(|value| String::from_utf8_lossy(value).into_owned());
        match location {
            Some(next) => url = next,
            None => return body(answer).map(found),
        }
    }
    Err(Failure::Rejected("too many redirects".into()))
}

fn get(url: &str) -> Result<http::IncomingResponse, http::ErrorCode> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let request = http::OutgoingRequest::new(http::Fields::new());
    let scheme = if scheme == "https" { http::Scheme::Https } else { http::Scheme::Http };
    let _ = request.set_scheme(Some(&scheme));
    let _ = request.set_authority(Some(authority));
    let _ = request.set_path_with_query(Some(&format!("/{path}")));
    let body = request.body();
    let future = outgoing_handler::handle(request, None)?;
    if let Ok(body) = body {
        let _ = http::OutgoingBody::finish(body, None);
    }
    future.subscribe().block();
    match future.get() {
        Some(Ok(answer)) => answer,
        _ => Err(http::ErrorCode::InternalError(None)),
    }
}

fn body(answer: http::IncomingResponse) -> Result<String, Failure> {
    let body = answer.consume().map_err(|()| Failure::Rejected("no body".into()))?;
    let mut stream = body.stream().map_err(|()| Failure::Rejected("no stream".into()))?;
    let mut text = Vec::new();
    match Body(&mut stream).read_to_end(&mut text) {
        Ok(_) => Ok(format!("{} bytes: {}", text.len(), String::from_utf8_lossy(&text[..text.len().min(64)]))),
        Err(error) => Err(Failure::Rejected(error.to_string())),
    }
}

struct Body<'a>(&'a mut wasip2::io::streams::InputStream);

impl std::io::Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        use wasip2::io::streams::StreamError;
        match self.0.blocking_read(buffer.len() as u64) {
            Ok(bytes) => {
                buffer[..bytes.len()].copy_from_slice(&bytes);
                if bytes.is_empty() { Err(std::io::ErrorKind::Interrupted.into()) } else { Ok(bytes.len()) }
            }
            Err(StreamError::Closed) => Ok(0),
            Err(StreamError::LastOperationFailed(error)) => Err(std::io::Error::other(error.to_debug_string())),
        }
    }
}
