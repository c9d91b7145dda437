//! What agent and enforcer of a site say to each other: one JSON object on each line of the agent's standard input, both ways.
//!
//! Each message holds all there is to say, so that a lost or repeated one does no harm. Times are of the machine's boot clock,
//! which both read.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tidegate_kernel::contract::{Epoch, Millis};

/// Longer than any message: what goes on is none.
const LINE_MAX: usize = 1 << 20;

/// What the agent knows of the clusters that have a node here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Told {
    /// Each cluster.
    pub clusters: Vec<Led>,
}

/// Who leads a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Led {
    /// The cluster's name.
    pub cluster: String,
    /// Its primary, by the newest word of the host; none = nobody may be it now.
    pub primary: Option<String>,
    /// That word's epoch.
    pub epoch: Epoch,
    /// Asynchronous: its primary runs by a lease, and not beyond it.
    pub guarded: bool,
    /// When the lease ends; none = this site has none.
    pub until: Option<Millis>,
}

/// What the enforcer says to its agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Holds {
    /// Each node that it holds.
    pub holds: Vec<Held>,
    /// What the agent last told, so that one that was started anew goes on where the other ended.
    pub told: Told,
}

/// A node as its enforcer sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Held {
    /// The cluster's name.
    pub cluster: String,
    /// The node's name.
    pub node: String,
    /// The enforcer was tried, and the node runs below it or not at all: its lease's end is its end.
    pub armed: bool,
    /// What it is or would come up as: `primary` or `standby`.
    pub role: String,
    /// A process of it is there.
    pub running: bool,
    /// Whoever starts it, it comes up as a standby.
    pub barred: bool,
    /// Its lease was over, and it was killed. It may be there still for a moment, and has to be barred.
    #[serde(default)]
    pub killed: bool,
    /// Why it is not armed, does not run, or was ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// One end of a conversation in lines.
pub struct Line {
    stream: UnixStream,
    read: Vec<u8>,
    unsent: Vec<u8>,
}

impl Line {
    /// Over this stream, which never makes anybody wait.
    pub fn over(stream: UnixStream) -> io::Result<Line> {
        stream.set_nonblocking(true)?;
        Ok(Line { stream, read: Vec::new(), unsent: Vec::new() })
    }

    /// The stream, to be waited for.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Something waits until the other one reads.
    pub fn is_blocked(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Sends a message in place of what could not be sent yet.
    pub fn send(&mut self, message: &impl Serialize) -> io::Result<()> {
        // A line that was begun has to be ended.
        if let Some(end) = self.unsent.iter().position(|byte| *byte == b'\n') {
            self.unsent.truncate(end + 1);
        }
        self.unsent.append(&mut serde_json::to_vec(message)?);
        self.unsent.push(b'\n');
        self.flush()
    }

    /// Sends what could not be sent before.
    pub fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(written) => drop(self.unsent.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The newest whole message that has come, if one has. An error is the conversation's end.
    pub fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        self.fill()?;
        let Some(end) = self.read.iter().rposition(|byte| *byte == b'\n') else { return Ok(None) };
        let whole: Vec<u8> = self.read.drain(..=end).collect();
        let newest = whole[..end].rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        Ok(Some(serde_json::from_slice(newest)?))
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut chunk = [0; 4_096];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.read.extend_from_slice(&chunk[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if self.read.len() > LINE_MAX {
                return Err(io::Error::other("a message is too long"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(epoch: Epoch) -> Told {
        Told { clusters: vec![Led { cluster: "orders".into(), epoch, ..Led::default() }] }
    }

    #[test]
    fn the_newest_message_counts_and_the_end_is_noticed() {
        let (here, there) = UnixStream::pair().unwrap();
        let (mut here, mut there) = (Line::over(here).unwrap(), Line::over(there).unwrap());
        assert_eq!(there.receive::<Told>().unwrap(), None);
        here.send(&told(1)).unwrap();
        here.send(&told(2)).unwrap();
        assert_eq!(there.receive::<Told>().unwrap(), Some(told(2)));
        drop(here);
        assert!(there.receive::<Told>().is_err());
    }

    #[test]
    fn keeps_whole_lines_and_the_newest_while_nobody_reads() {
        let (here, there) = UnixStream::pair().unwrap();
        let (mut here, mut there) = (Line::over(here).unwrap(), Line::over(there).unwrap());
        let mut sent = 0;
        while !here.is_blocked() || sent < 10 {
            sent += 1;
            here.send(&told(sent)).unwrap();
        }
        for _ in 0..50 {
            sent += 1;
            here.send(&told(sent)).unwrap();
        }
        let mut newest = None;
        while newest != Some(told(sent)) {
            newest = there.receive::<Told>().unwrap().or(newest);
            here.flush().unwrap();
        }
    }
}
