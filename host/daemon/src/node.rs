//! One node of a PostgreSQL cluster, from the machine it stands on: ended for certain, started, made to follow another.
//!
//! Knows nothing of hosts and agents, nor why anything is asked for. Whoever ends a node puts the *bar* first
//! ([`bar`]): whoever starts it then, it comes up as a standby and takes no write.

pub mod bar;
pub mod conninfo;
pub mod control;
pub mod log;
pub mod owner;
pub mod processes;
pub mod programs;
pub mod rebuild;
pub mod rejoin;
pub mod settings;
pub mod start;
pub mod stop;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use control::Control;
use programs::Programs;

/// Between two looks at what no process tells us by itself.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A node: its data directory, whose owner runs it, and PostgreSQL's programs.
#[derive(Clone, Debug)]
pub struct Node {
    /// Without symbolic links.
    pub data: PathBuf,
    /// PostgreSQL's programs, run as the directory's owner.
    pub programs: Programs,
    /// `postgresql.conf`, where it is not in the data directory.
    pub config: Option<PathBuf>,
}

/// What there is of a node.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// All of its processes.
    pub processes: Vec<processes::Process>,
    /// Whoever starts it, it comes up as a standby.
    pub barred: bool,
    /// What its control file says; none = it cannot be read.
    pub control: Option<Control>,
}

impl Node {
    /// The node in this directory, whose owner this process becomes if it is root. `bin` and `config` none = where
    /// distributions put them.
    pub fn at(data: &Path, bin: Option<&Path>, config: Option<&Path>) -> Result<Node> {
        let directory =
            data.canonicalize().with_context(|| format!("look for the data directory {}", data.display()))?;
        ensure!(directory.is_dir(), "{} is no directory\n  unchanged: everything", data.display());
        owner::become_owner(&directory)?;
        let absolute = |path: &Path| std::path::absolute(path).context("find the current directory");
        let (bin, config) = (bin.map(absolute).transpose()?, config.map(absolute).transpose()?);
        // A shell's own directory must not make us look like one of the node's processes.
        std::env::set_current_dir("/").context("leave the current directory")?;
        let config = config.or_else(|| settings::usual_place(&directory));
        Ok(Node { programs: Programs::of(&directory, bin.as_deref())?, config, data: directory })
    }

    /// What there is of it now.
    pub fn status(&self) -> Result<Status> {
        Ok(Status {
            processes: processes::of(&self.data)?,
            barred: bar::is_put(&self.data),
            control: control::read(self).ok(),
        })
    }

    /// A directory or file beside the data directory.
    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.data.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    }
}

/// Looks until `ready` has something, for no longer than `patience`.
pub(crate) fn wait_for<T>(patience: Duration, mut ready: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = ready()? {
            return Ok(Some(found));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "what is waited for is another program's doing, which tells nobody"
        )]
        std::thread::sleep(LOOK_AGAIN);
    }
}
