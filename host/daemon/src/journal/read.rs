//! Reads a journal from its segments, one record at a time, and checks the chain on the way.
//!
//! Changes nothing, and needs no lock: it can read what a running host is writing.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{Broken, Entry, GENESIS, Head, chain};

/// A longer line is not written, and not read.
pub(super) const LINE_BYTES_MAX: u64 = 16 << 20;

/// A run of zeros of a sector's length is what a disk leaves of a write that a crash cut short.
const SECTOR: usize = 512;

/// Every record of a journal in order. Ends at a torn tail, and after the first broken record.
#[derive(Debug)]
pub struct Reader {
    segments: std::vec::IntoIter<PathBuf>,
    current: Option<Segment>,
    /// The last good record; without a hash until the first one has been read, where reading began in the middle.
    n: u64,
    hash: Option<String>,
    skip_to: u64,
    stop_at: Option<u64>,
    torn: Option<Torn>,
    done: bool,
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    lines: BufReader<File>,
    line: u64,
    offset: u64,
}

/// What a crash has left of a write that nobody had waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The last segment.
    pub file: PathBuf,
    /// Where the good part ends.
    pub offset: u64,
}

/// A journal found whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The newest record.
    pub head: Head,
    /// Files.
    pub segments: usize,
    /// What is left of an unfinished write, if anything is.
    pub torn: Option<Torn>,
}

impl Reader {
    /// From the first record on.
    pub fn open(directory: &Path) -> anyhow::Result<Self> {
        Self::after(directory, 0)
    }

    /// From the record after `after` on.
    pub fn after(directory: &Path, after: u64) -> anyhow::Result<Self> {
        let mut segments = segments(directory)?;
        let begin = segments.iter().rposition(|(first, _)| *first <= after + 1).unwrap_or(0);
        let first = segments.get(begin).map_or(1, |(first, _)| *first);
        let paths: Vec<_> = segments.drain(..).skip(begin).map(|(_, path)| path).collect();
        let from_the_start = begin == 0;
        Ok(Reader {
            segments: paths.into_iter(),
            current: None,
            n: if from_the_start { 0 } else { first - 1 },
            hash: from_the_start.then(|| GENESIS.to_owned()),
            skip_to: after,
            stop_at: None,
            torn: None,
            done: false,
        })
    }

    /// Reads no further than record `n`: what lies behind it may be half written.
    pub fn up_to(mut self, n: u64) -> Self {
        self.stop_at = Some(n);
        self
    }

    /// What an unfinished write has left, once everything has been read.
    pub fn torn(&self) -> Option<&Torn> {
        self.torn.as_ref()
    }

    /// The last record read.
    pub fn head(&self) -> Head {
        Head { n: self.n, hash: self.hash.clone().unwrap_or_else(|| GENESIS.to_owned()) }
    }

    fn step(&mut self) -> Result<Option<Entry>, Broken> {
        loop {
            if self.stop_at.is_some_and(|stop| self.n >= stop) {
                return Ok(None);
            }
            let Some(segment) = &mut self.current else {
                let Some(path) = self.segments.next() else { return Ok(None) };
                self.current = Some(Segment::open(path, self.n + 1)?);
                continue;
            };
            let (line, offset) = segment.next_line(self.n + 1)?;
            if line.is_empty() {
                self.current = None;
                continue;
            }
            return match chain::parse(&line, self.n + 1, self.hash.as_deref()) {
                Ok(entry) => Ok(Some(self.accept(entry))),
                Err(what) => self.reject(&line, offset, what).map(|()| None),
            };
        }
    }

    fn accept(&mut self, entry: Entry) -> Entry {
        self.n = entry.n;
        self.hash = Some(entry.hash.clone());
        entry
    }

    /// A bad line is a torn tail if it is the journal's last and unfinished, or zeros that a crash has left; else it is broken.
    fn reject(&mut self, line: &[u8], offset: u64, what: String) -> Result<(), Broken> {
        let segment = self.current.as_mut().expect("a line was read from a segment");
        let is_last = self.segments.len() == 0;
        if is_last && (!line.ends_with(b"\n") || has_lost_sector(line)) {
            self.torn = Some(Torn { file: segment.path.clone(), offset });
            return Ok(());
        }
        Err(segment.broken(self.n + 1, what))
    }
}

impl Iterator for Reader {
    type Item = Result<Entry, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.done {
            match self.step() {
                Ok(Some(entry)) if entry.n <= self.skip_to => {}
                Ok(Some(entry)) => return Some(Ok(entry)),
                Ok(None) => self.done = true,
                Err(broken) => {
                    self.done = true;
                    return Some(Err(broken));
                }
            }
        }
        None
    }
}

impl Segment {
    fn open(path: PathBuf, n: u64) -> Result<Self, Broken> {
        let opened = File::open(&path);
        let lines = opened.map_err(|error| unreadable(&path, 1, n, &error))?;
        Ok(Segment { path, lines: BufReader::new(lines), line: 0, offset: 0 })
    }

    /// The next line with its end, and where it begins; empty at the end of the segment.
    fn next_line(&mut self, n: u64) -> Result<(Vec<u8>, u64), Broken> {
        let begin = self.offset;
        let mut line = Vec::new();
        self.line += 1;
        let read = (&mut self.lines).take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        self.offset += read.map_err(|error| unreadable(&self.path, self.line, n, &error))? as u64;
        Ok((line, begin))
    }

    fn broken(&self, n: u64, what: String) -> Broken {
        Broken { file: self.path.clone(), line: self.line, n, what }
    }
}

/// Reads a whole journal and says how far it goes, or where it is broken.
pub fn verify(directory: &Path) -> anyhow::Result<Verified> {
    let segments = segments(directory)?.len();
    let mut reader = Reader::open(directory)?;
    for entry in &mut reader {
        entry?;
    }
    Ok(Verified { head: reader.head(), segments, torn: reader.torn })
}

/// The segments of a journal with the number of each one's first record, in order.
pub(super) fn segments(directory: &Path) -> anyhow::Result<Vec<(u64, PathBuf)>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("cannot list the journal in {}", directory.display()))?,
    };
    let mut segments = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("cannot list the journal in {}", directory.display()))?.path();
        if let Some(first) = first_record(&path) {
            segments.push((first, path));
        }
    }
    segments.sort();
    Ok(segments)
}

/// The file of the segment that begins with record `first`.
pub(super) fn segment_path(directory: &Path, first: u64) -> PathBuf {
    directory.join(format!("journal-{first:016}.jsonl"))
}

fn first_record(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix("journal-")?.strip_suffix(".jsonl")?.parse().ok()
}

fn has_lost_sector(line: &[u8]) -> bool {
    line.split(|byte| *byte != 0).any(|zeros| zeros.len() >= SECTOR)
}

fn unreadable(path: &Path, line: u64, n: u64, error: &io::Error) -> Broken {
    Broken { file: path.to_owned(), line, n, what: format!("cannot be read: {error}") }
}
