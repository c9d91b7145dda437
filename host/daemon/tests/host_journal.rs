//! The journal's promises: what a crash leaves is recovered, what a hand changes is found, one host at a time writes.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::value::{RawValue, to_raw_value};
use tempfile::TempDir;
use tidegate::journal::{Broken, FileJournal, Head, Reader, SEGMENT_BYTES, Store, verify};

fn bodies(numbers: std::ops::RangeInclusive<u64>) -> Vec<Box<RawValue>> {
    numbers.map(|n| to_raw_value(&serde_json::json!({ "note": format!("what happened, {n}") })).unwrap()).collect()
}

fn open(directory: &Path) -> FileJournal {
    FileJournal::open(directory, SEGMENT_BYTES).unwrap().finish().unwrap()
}

/// A journal of `count` records in one segment, closed.
fn journal(count: u64) -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    open(directory.path()).append(bodies(1..=count)).unwrap();
    let segment = directory.path().join("journal-0000000000000001.jsonl");
    assert!(segment.exists());
    (directory, segment)
}

fn broken(directory: &Path) -> Broken {
    verify(directory).unwrap_err().downcast().unwrap()
}

fn numbers(reader: Reader) -> Vec<u64> {
    reader.map(|entry| entry.unwrap().n).collect()
}

#[test]
fn gives_back_what_was_appended_across_restarts() {
    let (directory, _) = journal(2);
    open(directory.path()).append(bodies(3..=5)).unwrap();
    let entries: Vec<_> = Reader::open(directory.path()).unwrap().map(Result::unwrap).collect();
    let read: Vec<&str> = entries.iter().map(|entry| entry.body.get()).collect();
    let written = bodies(1..=5);
    assert_eq!(read, written.iter().map(|body| body.get()).collect::<Vec<_>>());
    assert_eq!(verify(directory.path()).unwrap().head.n, 5);
}

#[test]
fn recovers_from_a_tail_torn_at_every_byte_of_the_last_record() {
    let (directory, segment) = journal(3);
    let whole = fs::read(&segment).unwrap();
    let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for cut in last + 1..whole.len() {
        fs::write(&segment, &whole[..cut]).unwrap();
        let mut journal = open(directory.path());
        assert_eq!(journal.head().n, 2, "cut at byte {cut}");
        let aside = directory.path().join(format!("torn-{last}-journal-0000000000000001.jsonl"));
        assert_eq!(fs::read(aside).unwrap(), &whole[last..cut], "cut at byte {cut}");
        journal.append(bodies(3..=3)).unwrap();
        drop(journal);
        assert_eq!(fs::read(&segment).unwrap(), whole, "cut at byte {cut}");
    }
}

#[test]
fn recovers_from_sectors_of_zeros_that_a_crash_left() {
    let (directory, segment) = journal(2);
    let whole = fs::read(&segment).unwrap();
    let mut zeroed = whole.clone();
    zeroed.extend([0; 600]);
    zeroed.extend(b"{\"n\":9}\n");
    fs::write(&segment, &zeroed).unwrap();
    assert_eq!(open(directory.path()).head().n, 2);
    assert_eq!(fs::read(&segment).unwrap(), whole);
}

#[test]
fn finds_every_flipped_bit_of_an_earlier_record() {
    let (directory, segment) = journal(3);
    let whole = fs::read(&segment).unwrap();
    let second = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let third = second + whole[second..].iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for at in 0..third {
        for bit in 0..8 {
            let mut changed = whole.clone();
            changed[at] ^= 1 << bit;
            fs::write(&segment, &changed).unwrap();
            let broken = broken(directory.path());
            let record = if at < second { 1 } else { 2 };
            assert_eq!((broken.n, broken.line), (record, record), "bit {bit} of byte {at}: {broken}");
            assert_eq!(broken.file, segment);
        }
    }
}

#[test]
fn finds_lines_removed_repeated_or_in_another_order() {
    let (directory, segment) = journal(4);
    let whole = fs::read_to_string(&segment).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    // The lines that are left, in order, and the first that is wrong.
    let cases: [(&[usize], u64); 5] =
        [(&[1, 2, 3], 1), (&[0, 2, 3], 2), (&[0, 2, 1, 3], 2), (&[0, 1, 1, 2, 3], 3), (&[3, 2, 1, 0], 1)];
    for (order, first_wrong) in cases {
        fs::write(&segment, order.iter().map(|at| lines[*at]).collect::<String>()).unwrap();
        let broken = broken(directory.path());
        assert_eq!((broken.line, broken.n), (first_wrong, first_wrong), "{order:?}: {broken}");
    }
}

#[test]
fn finds_a_record_that_was_written_anew_with_a_matching_hash() {
    let (directory, segment) = journal(3);
    let genuine = fs::read_to_string(&segment).unwrap();
    let other = TempDir::new().unwrap();
    let mut forger = open(other.path());
    forger.append(vec![to_raw_value("nothing happened").unwrap()]).unwrap();
    let forged = fs::read_to_string(other.path().join("journal-0000000000000001.jsonl")).unwrap();
    let rest = genuine.split_once('\n').unwrap().1;
    fs::write(&segment, forged + rest).unwrap();
    let broken = broken(directory.path());
    assert_eq!((broken.line, broken.n), (2, 2));
}

#[test]
fn does_not_open_what_is_broken_and_changes_nothing() {
    let (directory, segment) = journal(3);
    let changed = fs::read_to_string(&segment).unwrap().replacen("happened, 2", "happened, 7", 1);
    fs::write(&segment, &changed).unwrap();
    let error = FileJournal::open(directory.path(), SEGMENT_BYTES).unwrap().finish().unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("journal-0000000000000001.jsonl:2: record 2:"), "{text}");
    assert_eq!(fs::read_to_string(&segment).unwrap(), changed);
}

#[test]
fn refuses_a_second_host_with_the_first_ones_process() {
    let (directory, _) = journal(1);
    let first = open(directory.path());
    let error = FileJournal::open(directory.path(), SEGMENT_BYTES).unwrap_err().to_string();
    assert!(error.contains(&format!("another host (process {})", std::process::id())), "{error}");
    drop(first);
    open(directory.path());
}

#[test]
fn goes_on_in_another_segment_and_notices_a_missing_one() {
    let directory = TempDir::new().unwrap();
    let mut journal = FileJournal::open(directory.path(), 300).unwrap().finish().unwrap();
    for n in 1..=7 {
        journal.append(bodies(n..=n)).unwrap();
    }
    assert_eq!(numbers(journal.read(0).unwrap()), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(numbers(journal.read(4).unwrap()), [5, 6, 7]);
    let whole = verify(directory.path()).unwrap();
    assert!(whole.segments > 2, "{whole:?}");
    fs::remove_file(directory.path().join("journal-0000000000000003.jsonl")).unwrap();
    let broken = broken(directory.path());
    assert_eq!((broken.n, broken.line), (3, 1), "{broken}");
}

#[test]
fn takes_nothing_more_after_the_disk_has_failed_once() {
    let directory = TempDir::new().unwrap();
    let mut journal = FileJournal::open(directory.path(), 1).unwrap().finish().unwrap();
    journal.append(bodies(1..=1)).unwrap();
    // The next segment cannot be begun: its name is taken.
    let next = directory.path().join("journal-0000000000000002.jsonl");
    fs::create_dir(&next).unwrap();
    journal.append(bodies(2..=2)).unwrap_err();
    fs::remove_dir(&next).unwrap();
    let error = journal.append(bodies(2..=2)).unwrap_err().to_string();
    assert!(error.contains("takes nothing more"), "{error}");
    assert_eq!(journal.head().n, 1);
}

#[test]
fn an_empty_directory_is_an_empty_journal() {
    let directory = TempDir::new().unwrap();
    assert_eq!(verify(directory.path()).unwrap().head, Head::empty());
    assert_eq!(open(directory.path()).head(), &Head::empty());
}
