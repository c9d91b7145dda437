//! How one entry becomes one line and back, and what ties it to the line before.
//!
//! Knows nothing of files.

use std::fmt::Write;

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{Entry, Head};

/// What the first record names as the one before it.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The entry that follows `head`.
pub(super) fn follow(head: &Head, body: Box<RawValue>) -> Entry {
    let n = head.n + 1;
    let hash = hash(n, &head.hash, body.get());
    Entry { n, prev: head.hash.clone(), body, hash }
}

/// The entry's line, with its end. There is one way only to write an entry, so that no byte of a line can change unnoticed.
pub(super) fn render(entry: &Entry) -> String {
    let Entry { n, prev, body, hash } = entry;
    format!("{{\"n\":{n},\"prev\":\"{prev}\",\"body\":{body},\"hash\":\"{hash}\"}}\n")
}

/// The entry of a line that has to follow `head`, or what is wrong with it. Without a hash in `head` (a reader that
/// starts in the middle) the line's own word for the one before is taken.
pub(super) fn parse(line: &[u8], n: u64, prev: Option<&str>) -> Result<Entry, String> {
    let text = std::str::from_utf8(line).map_err(|_| "the line is not text; it was changed after it was written")?;
    let entry: Entry = serde_json::from_str(text).map_err(|error| format!("the line is no journal entry ({error})"))?;
    if entry.n != n {
        return Err(format!("the line is record {}; records are missing or in another order", entry.n));
    }
    if prev.is_some_and(|prev| prev != entry.prev) {
        return Err("it does not follow the record before it; one of the two was replaced".to_owned());
    }
    if entry.hash != hash(entry.n, &entry.prev, entry.body.get()) || render(&entry).as_bytes() != line {
        return Err("its content does not match its hash; it was changed after it was written".to_owned());
    }
    Ok(entry)
}

fn hash(n: u64, prev: &str, body: &str) -> String {
    let digest = Sha256::new().chain_update(format!("{n}\n{prev}\n")).chain_update(body).finalize();
    hex(&digest)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
        text
    })
}
