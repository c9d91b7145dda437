//! Where a node's log ends, read from the log itself: what it holds, not what its control file remembers.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result};

use super::Node;
use super::control::{Control, position};

/// The unit in which log is written; every page begins with a header.
const PAGE: u64 = 8_192;
const PAGE_HEADER: u64 = 24;
/// A segment's first page has a longer one.
const SEGMENT_HEADER: u64 = 40;
/// Records begin at multiples of it.
const ALIGNMENT: u64 = 8;

/// Where the shutdown checkpoint of a cleanly ended primary ends: nothing was written after it.
pub fn end_of_shutdown(node: &Node, control: &Control) -> Result<Option<u64>> {
    if control.state != "shut down" {
        return Ok(None);
    }
    last_record(node, control, Some(1))
}

/// Where the valid log of a node that does not run ends, as far as one timeline tells; none = it goes over several.
pub fn end(node: &Node, control: &Control) -> Result<Option<u64>> {
    let consistent = control.consistent_timeline;
    if consistent != 0 && consistent != control.timeline {
        return Ok(None);
    }
    Ok(last_record(node, control, None)?.map(|end| end.max(control.consistent_from)))
}

/// The end of the last record from the latest checkpoint on, or of that many records.
fn last_record(node: &Node, control: &Control, count: Option<u32>) -> Result<Option<u64>> {
    let mut command = node.programs.command("pg_waldump");
    command.arg("-p").arg(node.data.join("pg_wal")).args(["-t", &control.timeline.to_string()]);
    command.args(["-s", &super::control::written(control.checkpoint)]);
    command.args(count.iter().flat_map(|count| ["-n".to_owned(), count.to_string()]));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().context("start pg_waldump")?;
    let printed = child.stdout.take().context("read what pg_waldump says")?;
    let mut last = None;
    for line in BufReader::new(printed).lines() {
        last = record(&line.context("read what pg_waldump says")?).or(last);
    }
    // That it ends with an error is how it says that the log ends there.
    child.wait().context("wait for pg_waldump")?;
    Ok(last.map(|(start, length)| end_of(start, length, control.segment)))
}

/// Start and length: `rmgr: XLOG len (rec/tot): 114/ 114, tx: 0, lsn: 0/01500718, prev …`.
fn record(line: &str) -> Option<(u64, u64)> {
    let total = line.split_once("(rec/tot):")?.1.split_once('/')?.1.split_once(',')?.0;
    let start = line.split_once("lsn:")?.1.split_once(',')?.0;
    Some((position(start.trim())?, total.trim().parse().ok()?))
}

/// Where a record ends, aligned; the headers of the pages that it goes over are no part of its length.
fn end_of(start: u64, length: u64, segment: u64) -> u64 {
    let (mut at, mut left) = (start, length.next_multiple_of(ALIGNMENT));
    loop {
        let room = PAGE - at % PAGE;
        if left <= room {
            return at + left;
        }
        left -= room;
        at += room;
        at += if at % segment == 0 { SEGMENT_HEADER } else { PAGE_HEADER };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_where_a_record_is() {
        let line = "rmgr: XLOG        len (rec/tot):    114/   114, tx:          0, lsn: 0/01500718, prev 0/015006E0, desc: CHECKPOINT_SHUTDOWN";
        assert_eq!(record(line), Some((0x150_0718, 114)));
        assert_eq!(record("pg_waldump: error"), None);
    }

    #[test]
    fn a_record_ends_aligned_and_after_the_headers_that_it_goes_over() {
        let segment = 16 << 20;
        for (start, length, end) in [
            (0x300_0028, 114, 0x300_00a0),
            (0x300_0028, 112, 0x300_0098),
            (0x300_1fc0, 64, 0x300_2000),
            (0x300_1fc0, 72, 0x300_2000 + 24 + 8),
            (0x3ff_ffc0, 72, 0x400_0000 + 40 + 8),
            (0x300_0028, 20_000, 0x300_0028 + 20_000 + 2 * 24),
        ] {
            assert_eq!(end_of(start, length, segment), end, "{start:x} {length}");
        }
    }
}
