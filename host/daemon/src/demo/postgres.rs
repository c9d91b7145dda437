//! Real PostgreSQL for the demonstration: a primary and two standbys, one at each site, in a directory of their own.
//!
//! Knows how servers are found, made, started and killed; not what becomes of them. They refuse to run as root, so root lends them a
//! user.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use nix::unistd::{User, geteuid};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::stage::{SITES, common_port, secret, site_address};
use crate::node::processes;
use crate::node::programs::Programs;

/// The role of everybody here.
pub(super) const USER: &str = "tidegate";
/// Versions before have no `primary_conninfo` that a running standby reads again.
const OLDEST: u32 = 13;
/// Whom root lets the servers run as, the first that there is.
const LENT: [&str; 2] = ["postgres", "nobody"];
/// What the chapter needs.
const NEEDED: [&str; 4] = ["initdb", "postgres", "pg_basebackup", "psql"];
/// Small, and quick to connect again.
const SETTINGS: &str = "\
shared_buffers = 16MB
max_connections = 30
wal_log_hints = on
wal_retrieve_retry_interval = 100ms
unix_socket_directories = ''
logging_collector = off
";

/// The servers, all killed when this is dropped.
pub(super) struct Postgres {
    /// As it calls itself.
    pub(super) version: String,
    /// The same at every site.
    pub(super) port: u16,
    pub(super) password: String,
    programs: Programs,
    owner: Option<User>,
    log: PathBuf,
    running: Vec<Child>,
    directory: TempDir,
}

impl Postgres {
    /// An empty database of the first site, not started; the error says why this machine has none to show. `log` takes what
    /// servers say.
    pub(super) async fn find(log: PathBuf) -> Result<Postgres> {
        let programs = Programs::anywhere(&NEEDED).context("its programs are not on this machine")?;
        let version = version(&programs).await?;
        let directory = tempfile::Builder::new().prefix("tidegate-demo-").tempdir().context("make a directory")?;
        let owner = owner()?;
        if let Some(owner) = &owner {
            chown(directory.path(), Some(owner.uid.as_raw()), Some(owner.gid.as_raw())).context("give it away")?;
        }
        let (password, port) = (secret()?, common_port()?);
        let servers = Postgres { version, port, password, programs, owner, log, running: Vec::new(), directory };
        servers.initialise(SITES[0].0).await?;
        Ok(servers)
    }

    /// Starts the first site's server, and those of the others as copies of it that a commit waits for one of.
    pub(super) async fn start(&mut self) -> Result<()> {
        let (first, _) = SITES[0];
        self.serve(first).await?;
        let standbys = SITES.iter().skip(1).map(|(site, _)| *site);
        for site in standbys.clone() {
            self.copy(site, first).await?;
            self.serve(site).await?;
        }
        let names: Vec<String> = standbys.map(|site| format!("\"{site}\"")).collect();
        self.ask(first, &format!("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 ({})'", names.join(","))).await?;
        self.ask(first, "SELECT pg_reload_conf()").await.map(drop)
    }

    /// Kills every process of a site's server, all at once.
    pub(super) fn kill(&self, site: &str) -> Result<()> {
        let data = self.data(site);
        let found = processes::of(&data)?;
        ensure!(!found.is_empty(), "no database runs at {site}");
        found.iter().try_for_each(|process| processes::signal(&data, process, Signal::KILL))
    }

    /// Ends every server that there is.
    pub(super) async fn strike(servers: Option<Postgres>) -> Result<()> {
        let Some(mut servers) = servers else { return Ok(()) };
        servers.kill_all();
        for server in &mut servers.running {
            server.wait().await.context("wait for the end of a database")?;
        }
        Ok(())
    }

    fn kill_all(&self) {
        for (site, _) in SITES {
            // One that does not run is what is wanted.
            drop(self.kill(site));
        }
    }

    /// What a site's server answers, one line a row.
    pub(super) async fn ask(&self, site: &str, text: &str) -> Result<String> {
        let mut psql = self.client(&site_address(site).to_string());
        succeed(psql.args(["--command", text])).await
    }

    /// A client, to be given its commands. `hosts` as libpq takes them: of several it stays with the first that takes writes.
    pub(super) fn client(&self, hosts: &str) -> Command {
        let mut psql = Command::from(self.quiet("psql"));
        psql.args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set", "ON_ERROR_STOP=1"]);
        let attributes = if hosts.contains(',') { "read-write" } else { "any" };
        psql.arg("--dbname").arg(format!(
            "host={hosts} port={} user={USER} dbname=postgres connect_timeout=2 target_session_attrs={attributes}",
            self.port
        ));
        psql.env("PGPASSWORD", &self.password).kill_on_drop(true);
        psql
    }

    async fn initialise(&self, site: &str) -> Result<()> {
        let file = self.directory.path().join("password");
        std::fs::write(&file, &self.password).context("write the password")?;
        // Between others' eyes and this file stands the directory, which is its owner's alone.
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).context("show the password")?;
        let mut initdb = self.program("initdb");
        initdb.args([
            "--no-sync",
            "--auth=scram-sha-256",
            "--locale=C",
            "--encoding=UTF8",
            "--wal-segsize=1",
            "--username",
            USER,
        ]);
        succeed(initdb.arg("--pwfile").arg(&file).arg("--pgdata").arg(self.data(site))).await?;
        let own = format!("{SETTINGS}port = {}\n", self.port);
        append(&self.data(site).join("postgresql.conf"), &own)?;
        let hosts = "host all all 127.0.0.0/8 scram-sha-256\nhost replication all 127.0.0.0/8 scram-sha-256\n";
        append(&self.data(site).join("pg_hba.conf"), hosts)
    }

    async fn copy(&self, site: &str, primary: &str) -> Result<()> {
        let mut copy = self.program("pg_basebackup");
        let from = format!("host={} port={} user={USER} application_name={site}", site_address(primary), self.port);
        copy.env("PGPASSWORD", &self.password).args(["--no-sync", "--checkpoint=fast", "--write-recovery-conf"]);
        succeed(copy.arg("--dbname").arg(from).arg("--pgdata").arg(self.data(site))).await.map(drop)
    }

    async fn serve(&mut self, site: &str) -> Result<()> {
        let log =
            std::fs::File::options().create(true).append(true).open(&self.log).context("open the servers' log")?;
        let mut server = self.program("postgres");
        server.arg("-D").arg(self.data(site)).arg("-c").arg(format!("listen_addresses={}", site_address(site)));
        server.stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        self.running.push(server.spawn().context("start postgres")?);
        super::stage::until(super::chapters::PATIENCE, &format!("the database at {site}"), async || {
            self.ask(site, "SELECT 1").await.map(Some)
        })
        .await
        .map(drop)
    }

    /// One of PostgreSQL's own, run as the servers are.
    fn program(&self, name: &str) -> Command {
        let mut command = self.quiet(name);
        if let Some(owner) = &self.owner {
            command.uid(owner.uid.as_raw()).gid(owner.gid.as_raw());
        }
        Command::from(command)
    }

    /// One of PostgreSQL's own, deaf to what the environment says of other databases.
    fn quiet(&self, name: &str) -> std::process::Command {
        let mut command = self.programs.command(name);
        command.current_dir(self.directory.path());
        let of_postgres = |(name, _): &(std::ffi::OsString, _)| name.as_encoded_bytes().starts_with(b"PG");
        std::env::vars_os().filter(of_postgres).for_each(|(name, _)| {
            command.env_remove(name);
        });
        command
    }

    fn data(&self, site: &str) -> PathBuf {
        self.directory.path().join(site)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill_all();
    }
}

/// What the servers call themselves, if it is one that Tidegate knows.
async fn version(programs: &Programs) -> Result<String> {
    let said = succeed(Command::from(programs.command("postgres")).arg("--version")).await?;
    let version = said.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()));
    let version = version.with_context(|| format!("its version is not to be read from: {said}"))?;
    let major = version.chars().take_while(char::is_ascii_digit).collect::<String>();
    let known = major.parse::<u32>().is_ok_and(|major| major >= OLDEST);
    ensure!(known, "it is version {version}, and the oldest that can be moved is {OLDEST}");
    Ok(version.to_owned())
}

/// Whom the servers run as, if not us.
fn owner() -> Result<Option<User>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let lent = LENT.iter().find_map(|name| User::from_name(name).ok().flatten()).filter(|user| !user.uid.is_root());
    lent.map(Some).context("it refuses to run as root, and there is neither a user postgres nor nobody")
}

async fn succeed(command: &mut Command) -> Result<String> {
    let program = Path::new(command.as_std().get_program()).file_name().unwrap_or_default().display().to_string();
    let output = command.stdin(Stdio::null()).output().await.with_context(|| format!("start {program}"))?;
    let said = |text: &[u8]| String::from_utf8_lossy(text).trim().to_owned();
    ensure!(output.status.success(), "{program} failed: {}", said(&output.stderr));
    Ok(said(&output.stdout))
}

fn append(file: &Path, text: &str) -> Result<()> {
    let given = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    std::fs::write(file, given + text).with_context(|| format!("write {}", file.display()))
}
