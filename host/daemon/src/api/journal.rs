//! The journal as a stream of lines, read from the disk as fast as it is taken, and never kept in memory.

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use tidegate_kernel::event::RunId;
use tidegate_kernel::record::{Cause, Change, Record};
use tokio::sync::mpsc;

use super::answer::{Answer, Told, with_type};
use crate::host::Host;
use crate::journal::{Entry, Reader, directory};

/// Lines read ahead of the client.
const AHEAD: usize = 64;

type Piece = io::Result<Frame<Bytes>>;

/// Lines on their way.
struct Lines(mpsc::Receiver<Piece>);

/// Picks what concerns one service: what names it, and what happened in its runs.
struct Filter {
    /// As JSON.
    name: String,
    service: String,
    runs: BTreeSet<RunId>,
}

impl Body for Lines {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Piece>> {
        self.get_mut().0.poll_recv(context)
    }
}

/// Entries after `after`, those of one service if it is named.
pub(super) fn stream(host: &Host, after: u64, service: Option<String>) -> Answer {
    // A run's later records name only the run, so that a service's are known only to who has read from the beginning.
    let begin = if service.is_some() { 0 } else { after };
    let reader = Reader::after(&directory(host.state()), begin).map_err(|error| Told::failed(&error, "journal"))?;
    let reader = reader.up_to(host.core().head().n);
    let (sender, lines) = mpsc::channel(AHEAD);
    let filter = service.map(Filter::new);
    tokio::task::spawn_blocking(move || read(reader, after, filter, &sender));
    Ok(with_type(StatusCode::OK, Lines(lines).boxed(), "application/x-ndjson"))
}

fn read(reader: Reader, after: u64, mut filter: Option<Filter>, sender: &mpsc::Sender<Piece>) {
    for entry in reader {
        let piece = match entry {
            Ok(entry) => match filter.as_mut().map_or(Ok(true), |filter| filter.picks(&entry)) {
                Ok(true) if entry.n > after => line(&entry),
                Ok(_) => continue,
                Err(error) => Err(io::Error::other(error)),
            },
            Err(broken) => Err(io::Error::other(broken)),
        };
        let ended = piece.is_err();
        // An error: the client has gone.
        if sender.blocking_send(piece).is_err() || ended {
            return;
        }
    }
}

fn line(entry: &Entry) -> Piece {
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    Ok(Frame::data(line.into()))
}

impl Filter {
    fn new(service: String) -> Self {
        Filter { name: serde_json::Value::from(service.as_str()).to_string(), service, runs: BTreeSet::new() }
    }

    fn picks(&mut self, entry: &Entry) -> anyhow::Result<bool> {
        let record = entry.record()?;
        self.note_runs(&record);
        Ok(entry.body.get().contains(&self.name) || self.is_of_a_run(&record))
    }

    fn note_runs(&mut self, record: &Record) {
        for transition in &record.transitions {
            if let Change::RunOpened { run } = &transition.change
                && run.service == self.service
            {
                self.runs.insert(run.id);
            }
        }
    }

    fn is_of_a_run(&self, record: &Record) -> bool {
        let by_cause = matches!(&record.cause, Cause::Stepped { run, .. } if self.runs.contains(run));
        let changed = |change: &Change| match change {
            Change::Step { run, .. } | Change::RunHeading { run, .. } | Change::RunClosed { run, .. } => {
                self.runs.contains(run)
            }
            _ => false,
        };
        by_cause || record.transitions.iter().any(|transition| changed(&transition.change))
    }
}
