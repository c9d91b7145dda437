//! The journal in a directory of this machine: one writer by lock, one `fdatasync` for each batch, segments by size.
//!
//! Does not know what is waiting for a record to be durable.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde_json::value::RawValue;

use super::read::{LINE_BYTES_MAX, Torn, segment_path, segments};
use super::{Broken, Entry, Head, Reader, Store, chain};

/// A segment that has grown beyond this is followed by another one.
pub const SEGMENT_BYTES: u64 = 16 << 20;

/// An open journal: the only writer of its directory.
#[derive(Debug)]
pub struct FileJournal {
    directory: PathBuf,
    /// Held for its lock.
    _lock: File,
    /// None until the first record, and after an error: then nothing more is written.
    segment: Option<File>,
    segment_bytes: u64,
    segment_bytes_max: u64,
    head: Head,
    failed: bool,
}

/// A journal on its way to be opened: its lock is taken, its records are yet to be read.
#[derive(Debug)]
pub struct Opening {
    directory: PathBuf,
    lock: File,
    reader: Reader,
    segment_bytes_max: u64,
}

impl FileJournal {
    /// Takes the lock of the journal in `directory`, which is made if it is missing.
    pub fn open(directory: &Path, segment_bytes_max: u64) -> anyhow::Result<Opening> {
        fs::create_dir_all(directory).with_context(|| format!("cannot make the directory {}", directory.display()))?;
        let lock = take_lock(directory)?;
        let reader = Reader::open(directory)?;
        Ok(Opening { directory: directory.to_owned(), lock, reader, segment_bytes_max })
    }

    fn write(&mut self, lines: &str) -> anyhow::Result<()> {
        if self.segment_bytes >= self.segment_bytes_max {
            self.segment = None;
        }
        let segment = match &mut self.segment {
            Some(segment) => segment,
            None => {
                self.segment_bytes = 0;
                self.segment.insert(new_segment(&self.directory, self.head.n + 1)?)
            }
        };
        segment.write_all(lines.as_bytes()).context("cannot write to the journal")?;
        segment.sync_data().context("the disk did not confirm the journal's newest records")?;
        self.segment_bytes += lines.len() as u64;
        Ok(())
    }
}

impl Store for FileJournal {
    fn append(&mut self, bodies: Vec<Box<RawValue>>) -> anyhow::Result<()> {
        ensure!(!self.failed, "the journal takes nothing more since an earlier error; start the host again");
        let (lines, head) = render(&self.head, bodies)?;
        if let Err(error) = self.write(&lines) {
            self.failed = true;
            return Err(error.context(format!("journal in {}", self.directory.display())));
        }
        self.head = head;
        Ok(())
    }

    fn head(&self) -> &Head {
        &self.head
    }

    fn read(&self, after: u64) -> anyhow::Result<Reader> {
        Ok(Reader::after(&self.directory, after)?.up_to(self.head.n))
    }
}

/// The records there are; a broken one ends them.
impl Iterator for Opening {
    type Item = Result<Entry, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        self.reader.next()
    }
}

impl Opening {
    /// Reads what is left, puts a torn tail aside, and opens the journal for writing.
    pub fn finish(mut self) -> anyhow::Result<FileJournal> {
        for entry in &mut self.reader {
            entry.context("the journal is not as it was written; nothing was changed")?;
        }
        if let Some(torn) = self.reader.torn() {
            cut_off(torn)?;
        }
        let last = segments(&self.directory)?.pop();
        let segment = last.map(|(_, path)| open_for_append(&path)).transpose()?;
        let segment_bytes = segment.as_ref().map_or(Ok(0), |file| file.metadata().map(|metadata| metadata.len()))?;
        Ok(FileJournal {
            directory: self.directory,
            _lock: self.lock,
            segment,
            segment_bytes,
            segment_bytes_max: self.segment_bytes_max,
            head: self.reader.head(),
            failed: false,
        })
    }
}

/// All lines of a batch and the head after it; nothing is written if one of them is too long.
fn render(head: &Head, bodies: Vec<Box<RawValue>>) -> anyhow::Result<(String, Head)> {
    let mut head = head.clone();
    let mut lines = String::new();
    for body in bodies {
        let entry = chain::follow(&head, body);
        let line = chain::render(&entry);
        ensure!(line.len() as u64 <= LINE_BYTES_MAX, "record {} is longer than {LINE_BYTES_MAX} bytes", entry.n);
        lines.push_str(&line);
        head = Head { n: entry.n, hash: entry.hash };
    }
    Ok((lines, head))
}

fn take_lock(directory: &Path) -> anyhow::Result<File> {
    let path = directory.join("lock");
    let opened = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
    let mut lock = opened.with_context(|| format!("cannot open {}", path.display()))?;
    match lock.try_lock() {
        Ok(()) => note_owner(&mut lock).with_context(|| format!("cannot write to {}", path.display()))?,
        Err(TryLockError::WouldBlock) => bail!(
            "another host{} is running on the state in {}; nothing was changed. Stop it first, or give this one a state of its own",
            owner(&mut lock),
            directory.display()
        ),
        Err(TryLockError::Error(error)) => bail!("cannot lock {}: {error}", path.display()),
    }
    Ok(lock)
}

fn note_owner(lock: &mut File) -> std::io::Result<()> {
    lock.set_len(0)?;
    writeln!(lock, "{}", std::process::id())
}

fn owner(lock: &mut File) -> String {
    let mut text = String::new();
    let read = lock.read_to_string(&mut text);
    if read.is_ok() && !text.trim().is_empty() { format!(" (process {})", text.trim()) } else { String::new() }
}

fn new_segment(directory: &Path, first: u64) -> anyhow::Result<File> {
    let path = segment_path(directory, first);
    let file = OpenOptions::new().create_new(true).append(true).open(&path);
    let file = file.with_context(|| format!("cannot begin the segment {}", path.display()))?;
    sync_directory(directory)?;
    Ok(file)
}

fn open_for_append(path: &Path) -> anyhow::Result<File> {
    OpenOptions::new().append(true).open(path).with_context(|| format!("cannot write to {}", path.display()))
}

/// Keeps what a crash has left of an unfinished write beside the segment, and cuts it off there.
fn cut_off(torn: &Torn) -> anyhow::Result<()> {
    let directory = torn.file.parent().unwrap_or(Path::new("."));
    let name = torn.file.file_name().unwrap_or_default().to_string_lossy();
    let aside = directory.join(format!("torn-{}-{name}", torn.offset));
    let mut segment = OpenOptions::new().read(true).write(true).open(&torn.file)?;
    let mut tail = Vec::new();
    segment.seek(SeekFrom::Start(torn.offset))?;
    segment.read_to_end(&mut tail)?;
    fs::write(&aside, &tail).with_context(|| format!("cannot keep the torn tail in {}", aside.display()))?;
    File::open(&aside)?.sync_all()?;
    segment.set_len(torn.offset)?;
    segment.sync_all()?;
    sync_directory(directory)?;
    tracing::warn!(
        segment = %torn.file.display(), kept_in = %aside.display(), bytes = tail.len(),
        "the journal ended in an unfinished write; nothing had acted on it, and it was cut off"
    );
    Ok(())
}

fn sync_directory(directory: &Path) -> anyhow::Result<()> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.with_context(|| format!("the disk did not confirm the directory {}", directory.display()))
}
