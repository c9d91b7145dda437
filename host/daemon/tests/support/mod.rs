//! PostgreSQL servers for the tests of a site: on loopback, each in a directory of its own, run by the user `postgres`.
//!
//! What is not installed, or a test that is not run by root, fails with what to do: nothing is skipped.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail with it")]
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use serde_json::Value;
use tempfile::TempDir;
use tidegate::node::processes::{self, Process};

pub(crate) const BIN: &str = "/usr/lib/postgresql/15/bin";
/// A busy machine is no fault.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The binary under test.
pub(crate) fn tidegate() -> Command {
    Command::new(env!("CARGO_BIN_EXE_tidegate"))
}

/// A directory whose nodes are ended with it.
pub(crate) struct Place {
    pub(crate) directory: TempDir,
}

/// One node.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) data: PathBuf,
    pub(crate) port: u16,
}

impl Place {
    pub(crate) fn new() -> Place {
        assert!(geteuid().is_root(), "this test makes namespaces and changes users: run it as root");
        assert!(Path::new(BIN).exists(), "this test needs PostgreSQL: apt-get install postgresql-15");
        let directory = tempfile::tempdir().unwrap();
        give(directory.path());
        Place { directory }
    }

    /// A fresh primary that runs nowhere yet; `settings` are lines of its postgresql.conf.
    pub(crate) fn server(&self, name: &str, settings: &str) -> Server {
        let data = self.directory.path().join(name);
        as_postgres(&format!("{BIN}/initdb"), &["-D", path(&data), "-A", "trust", "-N", "-U", "postgres"]);
        let server = Server { name: name.into(), data, port: free_port() };
        server.configure(settings);
        server
    }

    /// A standby of `primary`, which runs.
    pub(crate) fn standby(&self, name: &str, primary: &Server) -> Server {
        let data = self.directory.path().join(name);
        let port = primary.port.to_string();
        let arguments = ["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-D", path(&data), "-c", "fast", "-R"];
        as_postgres(&format!("{BIN}/pg_basebackup"), &arguments);
        let server = Server { name: name.into(), data, port: free_port() };
        server.configure("");
        server
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for entry in std::fs::read_dir(self.directory.path()).into_iter().flatten().flatten() {
            for process in processes::of(&entry.path()).unwrap_or_default() {
                let _ = processes::signal(&entry.path(), &process, rustix::process::Signal::KILL);
            }
        }
    }
}

impl Server {
    fn configure(&self, settings: &str) {
        let file = self.data.join("postgresql.conf");
        let before = std::fs::read_to_string(&file).unwrap();
        let own = format!(
            "port={}\nlisten_addresses='127.0.0.1'\nunix_socket_directories=''\nwal_log_hints=on\nshared_buffers=1MB\n\
             max_connections=20\nfsync=on\n{settings}\n",
            self.port
        );
        std::fs::write(&file, before + &own).unwrap();
    }

    /// `tidegate node …` for it.
    pub(crate) fn node(&self, arguments: &[&str]) -> Output {
        let (verb, rest) = arguments.split_first().unwrap();
        tidegate().args(["node", verb, "--data", path(&self.data)]).args(rest).output().unwrap()
    }

    /// The JSON object that it prints, once it says that it is so.
    #[track_caller]
    pub(crate) fn does(&self, arguments: &[&str]) -> Value {
        let output = self.node(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        last_line(&output)
    }

    pub(crate) fn stop(&self, mode: &str) -> Value {
        self.does(&["stop", "--mode", mode])
    }

    pub(crate) fn start(&self, role: &str) {
        self.does(&["start", "--role", role]);
    }

    pub(crate) fn follow(&self, verb: &str, primary: &Server) -> Output {
        let address = format!("127.0.0.1:{}", primary.port);
        self.node(&[verb, "--primary", &address, "--user", "postgres", "--name", &self.name])
    }

    pub(crate) fn sql(&self, statement: &str) -> Option<String> {
        let port = self.port.to_string();
        let mut psql = Command::new(format!("{BIN}/psql"));
        psql.args(["-XAtq", "-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-d", "postgres", "-c", statement]);
        let output = psql.env("PGCONNECT_TIMEOUT", "5").output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
    }

    /// It takes a write and says so.
    pub(crate) fn writes(&self) -> bool {
        self.sql("create table if not exists t (n int); insert into t values (1)").is_some()
    }

    pub(crate) fn is_standby(&self) -> bool {
        self.sql("select pg_is_in_recovery()").as_deref() == Some("t")
    }

    pub(crate) fn processes(&self) -> Vec<Process> {
        processes::of(&self.data).unwrap()
    }

    pub(crate) fn postmaster(&self) -> Option<i32> {
        processes::postmaster(&self.processes()).map(|process| process.pid)
    }

    pub(crate) fn is_barred(&self) -> bool {
        self.data.join("standby.signal").exists()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.data.join("start.log")).unwrap_or_default()
    }
}

/// Waits for a condition; says what was waited for if it does not come.
#[track_caller]
pub(crate) fn await_that(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come about");
        #[expect(
            clippy::disallowed_methods,
            reason = "what is waited for is another program's doing, which tells nobody"
        )]
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn send(pid: i32, signal: Signal) {
    // What has ended already needs no signal.
    assert!(matches!(kill(Pid::from_raw(pid), signal), Ok(()) | Err(Errno::ESRCH)));
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(crate) fn text(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

pub(crate) fn last_line(output: &Output) -> Value {
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(printed.lines().last().unwrap_or_default()).unwrap()
}

pub(crate) fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// To the user that servers run as.
pub(crate) fn give(path: &Path) {
    let user = User::from_name("postgres").unwrap().expect("PostgreSQL's package makes its user");
    chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
}

pub(crate) fn as_postgres(program: &str, arguments: &[&str]) {
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--", program]).args(arguments).current_dir("/").stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{program}: {}", text(&output));
}

/// Started by the user that servers run as.
pub(crate) fn run_by_postgres(command: &mut Command) {
    let user = User::from_name("postgres").unwrap().expect("PostgreSQL's package makes its user");
    command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
}
