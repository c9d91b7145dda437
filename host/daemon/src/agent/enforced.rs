//! The agent's end of its conversation with the enforcer above it: [`crate::enforcer::line`], over standard input.
//!
//! When the enforcer has gone, this process ends too: another enforcer brings an agent of its own.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as Plain;
use std::sync::Arc;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::getppid;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::lease::Keeper;

/// Speaks as long as the enforcer is there.
pub(super) fn talk(keeper: Arc<Keeper>) -> Result<impl Future<Output = ()>> {
    let stdin: OwnedFd = std::io::stdin().as_fd().try_clone_to_owned().context("take standard input")?;
    let stream = Plain::from(stdin);
    stream.set_nonblocking(true).context("never wait for the enforcer")?;
    let (hears, says) = UnixStream::from_std(stream).context("speak with the enforcer")?.into_split();
    Ok(async move {
        let ended = tokio::select! {
            ended = hear(&keeper, hears) => ended,
            ended = say(&keeper, says) => ended,
        };
        if let Err(error) = ended {
            tracing::error!(%error, "the conversation with the enforcer broke off");
        }
        tracing::error!("the enforcer has gone; this agent ends too");
        std::process::exit(1);
    })
}

/// What it holds ends with it, and so does this process.
pub(super) fn kill_enforcer() {
    let _ = kill(getppid(), Signal::SIGKILL);
}

async fn hear(keeper: &Keeper, stream: OwnedReadHalf) -> Result<()> {
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next_line().await? {
        keeper.hear(serde_json::from_str(&line).context("the enforcer's word is of another version")?);
    }
    Ok(())
}

async fn say(keeper: &Keeper, mut stream: OwnedWriteHalf) -> Result<()> {
    let mut told = keeper.told();
    loop {
        told.changed().await.context("the keeper has gone")?;
        let mut line = serde_json::to_vec(&*told.borrow_and_update())?;
        line.push(b'\n');
        stream.write_all(&line).await?;
    }
}
