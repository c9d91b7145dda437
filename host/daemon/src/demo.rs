//! The demonstration: a region dies, a sandboxed policy decides, real DNS answers change under a real client.
//!
//! Where PostgreSQL is installed, a real database moves too. Tells a story of chapters over real processes on loopback. It asks and
//! orders only by the commands that an operator types; each claim is checked, and the exit code says whether all of it happened.

mod chapters;
mod fleet;
mod postgres;
mod read;
mod report;
mod script;
mod show;
pub mod site;
mod stage;
mod visitor;
mod writer;

use std::path::PathBuf;

use anyhow::{Context, Result};

use self::chapters::Story;
pub use self::report::Report;

/// What the demonstration is asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Stay up at the end, to be explored, until interrupted.
    pub keep: bool,
    /// The site hangs instead of dying: it takes connections and answers nothing.
    pub hang: bool,
    /// One JSON document at the end, and nothing else.
    pub json: bool,
    /// Where its files go; none = a temporary directory.
    pub directory: Option<PathBuf>,
}

/// Tells the whole story; true only if all of it happened.
///
/// # Errors
/// If the stage cannot be set, or if a chapter waits in vain for something to happen.
pub async fn run(options: Options) -> Result<bool> {
    let (directory, temporary) = match &options.directory {
        Some(directory) => (std::path::absolute(directory).context("find the directory")?, None),
        None => {
            let temporary = tempfile::Builder::new().prefix("tidegate-demo-").tempdir().context("make a directory")?;
            (temporary.path().to_owned(), Some(temporary))
        }
    };
    let mut story = Story::begin(directory, &options)?;
    let told = tokio::select! {
        told = story.tell() => told,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    if options.keep && told.is_ok() {
        story.stay().await?;
    }
    let report = story.end(told).await;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report).context("write the report")?);
    }
    if let Some(temporary) = temporary.filter(|_| !report.happened()) {
        eprintln!("what the processes logged is kept in {}", temporary.keep().display());
    }
    Ok(report.happened())
}
