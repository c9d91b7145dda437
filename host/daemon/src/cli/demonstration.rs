//! `tidegate demo`, and the two processes that only it starts.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::cli::console::Console;
use crate::cli::failed::{Exit, Failed};
use crate::demo::{self, Options, site};

/// `demo`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate demo                                  a minute, on loopback, nothing to install
  tidegate demo --keep                           everything stays up at the end, to be explored
  tidegate demo --hang                           the site goes silent instead of dying
  tidegate demo --json | jq .                    one document with what was measured

A real PostgreSQL is moved too where one is installed (pg_config, $PATH, the usual places); where not, a line says why.
Fails if any of what it claims did not happen.")]
pub struct Demo {
    /// Leave everything running at the end, until Ctrl-C.
    #[arg(long)]
    pub keep: bool,
    /// The site hangs instead of dying: it takes connections and answers nothing.
    #[arg(long)]
    pub hang: bool,
    /// Where fleet file, journal and logs go [default: a temporary directory, kept only if something goes wrong].
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
}

/// `demo-site`: a small HTTP service.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  tidegate demo-site --name eu-west --listen 127.0.1.1:8080")]
pub struct Site {
    /// What it answers.
    #[arg(long)]
    pub name: String,
    /// Where it answers.
    #[arg(long)]
    pub listen: SocketAddr,
}

/// `demo-uplink`: a line that can be cut.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  tidegate demo-uplink --listen 127.0.3.1:9000 --to 127.0.1.1:8080")]
pub struct Uplink {
    /// The near end.
    #[arg(long)]
    pub listen: SocketAddr,
    /// The far end.
    #[arg(long)]
    pub to: SocketAddr,
}

/// Tells the story.
pub async fn run(console: &Console, asked: Demo) -> Result<Exit, Failed> {
    let options = Options { keep: asked.keep, hang: asked.hang, json: console.json(), directory: asked.directory };
    Ok(if demo::run(options).await? { Exit::Done } else { Exit::Failed })
}

/// Serves until it is killed.
pub async fn serve(asked: Site) -> Result<Exit, Failed> {
    site::serve(&asked.name, asked.listen).await?;
    Ok(Exit::Done)
}

/// Forwards until it is killed.
pub async fn forward(asked: Uplink) -> Result<Exit, Failed> {
    site::uplink(asked.listen, asked.to).await?;
    Ok(Exit::Done)
}
