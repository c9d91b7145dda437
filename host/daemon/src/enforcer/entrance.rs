//! The enforcer's side of [`super::door`]: takes who comes, and never waits for anybody.

use std::fs::{DirBuilder, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use super::door::{Answer, Ask, PLACE, socket};

/// Those who come and say nothing are forgotten when so many others have come.
const VISITORS_MAX: usize = 16;
/// The longest question.
const ASK_MAX: usize = 256;

/// One node's socket.
pub(super) struct Entrance {
    listener: UnixListener,
    path: PathBuf,
    data: PathBuf,
    visitors: Vec<Visitor>,
}

struct Visitor {
    stream: UnixStream,
    said: Vec<u8>,
}

impl Entrance {
    /// Refuses if another enforcer holds the node.
    pub(super) fn open(data: &Path) -> Result<Entrance> {
        let made = DirBuilder::new().recursive(true).mode(0o755).create(PLACE);
        made.with_context(|| format!("make {PLACE}"))?;
        let path = socket(data);
        ensure!(
            UnixStream::connect(&path).is_err(),
            "another enforcer holds {}\n  unchanged: everything\n  next: stop it first",
            data.display()
        );
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).with_context(|| format!("listen at {}", path.display()))?;
        // Who may ask is decided by who they are.
        std::fs::set_permissions(&path, Permissions::from_mode(0o666))
            .context("open the socket to the node's owner")?;
        listener.set_nonblocking(true).context("never wait for a visitor")?;
        Ok(Entrance { listener, path, data: data.to_owned(), visitors: Vec::new() })
    }

    pub(super) fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Those who have not asked yet.
    pub(super) fn streams(&self) -> impl Iterator<Item = &UnixStream> {
        self.visitors.iter().map(|visitor| &visitor.stream)
    }

    /// Answers whoever has asked.
    pub(super) fn serve(&mut self, mut answer: impl FnMut(Ask) -> Answer) {
        while let Ok((stream, _)) = self.listener.accept() {
            if self.is_welcome(&stream) && stream.set_nonblocking(true).is_ok() {
                self.visitors.push(Visitor { stream, said: Vec::new() });
            }
        }
        self.visitors.retain_mut(|visitor| match visitor.listen() {
            Some(Some(ask)) => {
                visitor.reply(&answer(ask));
                false
            }
            Some(None) => true,
            None => false,
        });
        let too_many = self.visitors.len().saturating_sub(VISITORS_MAX);
        self.visitors.drain(..too_many);
    }

    fn is_welcome(&self, stream: &UnixStream) -> bool {
        let Ok(who) = getsockopt(stream, PeerCredentials) else { return false };
        let owner = std::fs::metadata(&self.data).map(|data| data.uid());
        who.uid() == 0 || owner.is_ok_and(|owner| owner == who.uid())
    }
}

impl Drop for Entrance {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Visitor {
    /// None = has gone, or talks nonsense; nothing yet = stays.
    fn listen(&mut self) -> Option<Option<Ask>> {
        let mut chunk = [0; ASK_MAX];
        match self.stream.read(&mut chunk) {
            Ok(0) => return None,
            Ok(read) => self.said.extend_from_slice(&chunk[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(None),
            Err(_) => return None,
        }
        match self.said.iter().position(|byte| *byte == b'\n') {
            Some(end) => serde_json::from_slice(&self.said[..end]).ok().map(Some),
            None => (self.said.len() < ASK_MAX).then_some(None),
        }
    }

    fn reply(&mut self, answer: &Answer) {
        // A small line fits into every socket's buffer; who does not read it has gone.
        let line = serde_json::to_string(answer).unwrap_or_default();
        let _ = self.stream.write_all(format!("{line}\n").as_bytes());
    }
}
