//! What `pg_controldata` says of a data directory, in numbers.

use anyhow::{Context, Result};
use serde::Serialize;

use super::Node;

/// The control file, as far as it is needed here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Control {
    /// What it calls the state, for example `in production`.
    pub state: String,
    /// Names the cluster; all its nodes have the same.
    pub system: String,
    /// Where the latest checkpoint's record begins, in bytes.
    pub checkpoint: u64,
    /// Its timeline.
    pub timeline: u64,
    /// A standby is consistent only from here on; 0 = it is no standby.
    pub consistent_from: u64,
    /// The timeline of that.
    pub consistent_timeline: u64,
    /// Bytes in one file of the log.
    pub segment: u64,
    /// `pg_rewind` can tell what has changed.
    pub rewindable: bool,
}

impl Control {
    /// Ended in order, so that nothing has to be recovered.
    pub fn is_clean(&self) -> bool {
        self.state.starts_with("shut down")
    }
}

/// Of this node.
pub fn read(node: &Node) -> Result<Control> {
    let text = node.programs.run("pg_controldata", ["-D".as_ref(), node.data.as_os_str()])?;
    parse(&text).with_context(|| format!("understand what pg_controldata says of {}", node.data.display()))
}

/// `0/3000028` as a number of bytes.
pub fn position(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    Some(u64::from(u32::from_str_radix(high, 16).ok()?) << 32 | u64::from(u32::from_str_radix(low, 16).ok()?))
}

/// A number of bytes as PostgreSQL writes it.
pub fn written(position: u64) -> String {
    format!("{:X}/{:X}", position >> 32, position & 0xffff_ffff)
}

fn parse(text: &str) -> Result<Control> {
    let field = |name: &str| {
        let found = text.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| *key == name);
        found.map(|(_, value)| value.trim()).with_context(|| format!("it does not say {name:?}"))
    };
    let place = |name: &str| position(field(name)?).with_context(|| format!("{name:?} is no position"));
    let number = |name: &str| field(name)?.parse().with_context(|| format!("{name:?} is no number"));
    Ok(Control {
        state: field("Database cluster state")?.to_owned(),
        system: field("Database system identifier")?.to_owned(),
        checkpoint: place("Latest checkpoint location")?,
        timeline: number("Latest checkpoint's TimeLineID")?,
        consistent_from: place("Minimum recovery ending location")?,
        consistent_timeline: number("Min recovery ending loc's timeline")?,
        segment: number("Bytes per WAL segment")?,
        rewindable: field("wal_log_hints setting")? == "on" || field("Data page checksum version")? != "0",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_positions() {
        for (text, number) in [("0/0", 0), ("0/3000028", 0x300_0028), ("1A/FFFFFFFF", 0x1a_ffff_ffff)] {
            assert_eq!(position(text), Some(number));
            assert_eq!(written(number), text);
        }
        for text in ["", "3000028", "0/x", "100000000/0"] {
            assert_eq!(position(text), None, "{text}");
        }
    }

    #[test]
    fn says_which_line_is_missing() {
        let error = format!("{:#}", parse("Database cluster state: in production").unwrap_err());
        assert!(error.contains("Database system identifier"), "{error}");
    }
}
