//! Declared commands: an argument vector with places for checked arguments, run without any shell.
//!
//! Knows nothing of who asks or why. The declaration comes from the fleet file, by way of the host; whoever runs it holds every
//! argument against its pattern here, and what passes is data in one place of one element, whatever characters it has.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, Uid, User};
use regex_lite::Regex;
use tidegate_kernel::contract::{Failure, Output};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::agents::protocol::{CommandPlan, Order};

/// All that a command finds in its environment besides `LANG`.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Something that a command left behind may hold its output open: no longer than this after the command itself has ended.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// One declared command, checked.
#[derive(Debug)]
pub struct Declared {
    name: String,
    plan: CommandPlan,
    patterns: BTreeMap<String, Regex>,
}

/// A command with its arguments in place.
#[derive(Debug)]
pub struct Prepared {
    name: String,
    argv: Vec<String>,
    run_as: Option<String>,
    timeout: Duration,
    output_max: u64,
}

impl Declared {
    /// Checks a declaration: an absolute program without placeholders, and for each placeholder a pattern that compiles.
    pub fn new(name: &str, plan: &CommandPlan) -> Result<Declared> {
        let program = plan.argv.first().with_context(|| format!("command {name} has an empty argv"))?;
        ensure!(
            program.starts_with('/') && placeholders(program).next().is_none(),
            "command {name}: the program {program:?} is not an absolute path without placeholders"
        );
        let compiled = plan.arguments.iter().map(|(argument, pattern)| {
            let regex = anchored(pattern).with_context(|| format!("command {name}, pattern of {argument}"))?;
            Ok((argument.clone(), regex))
        });
        let patterns: BTreeMap<String, Regex> = compiled.collect::<Result<_>>()?;
        for placeholder in plan.argv.iter().flat_map(|element| placeholders(element)) {
            ensure!(
                patterns.contains_key(placeholder),
                "command {name}: {{{placeholder}}} has no pattern in `arguments`"
            );
        }
        Ok(Declared { name: name.into(), plan: plan.clone(), patterns })
    }

    /// Checks all of them.
    pub fn all(plans: &BTreeMap<String, CommandPlan>) -> Result<BTreeMap<String, Declared>> {
        plans.iter().map(|(name, plan)| Ok((name.clone(), Declared::new(name, plan)?))).collect()
    }

    /// Puts the arguments in place. Refuses one that is missing, unknown, or does not match its pattern from end to end.
    pub fn prepare(&self, order: &Order) -> Result<Prepared, Failure> {
        if let Some(unknown) = order.arguments.keys().find(|argument| !self.patterns.contains_key(*argument)) {
            return Err(self.invalid(format!("takes no argument {unknown:?}")));
        }
        for (argument, pattern) in &self.patterns {
            let value = order.arguments.get(argument);
            let value = value.ok_or_else(|| self.invalid(format!("wants the argument {argument:?}")))?;
            // The operating system could not pass a NUL on.
            if !pattern.is_match(value) || value.contains('\0') {
                let declared = &self.plan.arguments[argument];
                return Err(self.invalid(format!("argument {argument:?}: {value:?} does not match {declared:?}")));
            }
        }
        Ok(Prepared {
            name: self.name.clone(),
            argv: self.plan.argv.iter().map(|element| fill(element, &order.arguments)).collect(),
            run_as: self.plan.run_as.clone(),
            timeout: Duration::from_millis(order.timeout.min(self.plan.timeout)),
            output_max: self.plan.output_max,
        })
    }

    /// Why it could not be run on this machine now; none = it could be tried.
    pub fn missing(&self) -> Option<String> {
        let program = self.plan.argv.first()?;
        no_program(Path::new(program)).or_else(|| other_user(self.plan.run_as.as_deref()).err())
    }

    fn invalid(&self, what: String) -> Failure {
        Failure::Invalid(format!("command {} {what}; nothing was run", self.name))
    }
}

impl Prepared {
    /// Runs it to its end, or kills it with all its children at its timeout: then nobody knows how far it came.
    pub async fn run(self) -> Result<Output, Failure> {
        let mut child = self.spawn()?;
        let group = Group::of(&child);
        let (stdout, stderr) =
            (collect(child.stdout.take(), self.output_max), collect(child.stderr.take(), self.output_max));
        let status = match timeout(self.timeout, child.wait()).await {
            Ok(Ok(status)) => status,
            Ok(Err(error)) => return Err(self.unknown(&format!("cannot be waited for: {error}"))),
            Err(_) => return Err(self.unknown(&format!("was killed after {} ms", self.timeout.as_millis()))),
        };
        group.ended();
        Ok(Output { status: code(status), stdout: stdout.finish().await, stderr: stderr.finish().await })
    }

    fn spawn(&self) -> Result<Child, Failure> {
        let (program, arguments) = self.argv.split_first().expect("a declared command has a program");
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("PATH", PATH).env("LANG", "C.UTF-8").current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        if let Some(user) = self.other_user()? {
            // As root, setting the user drops the supplementary groups as well.
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command.spawn().map_err(|error| self.not_run(&format!("cannot start {program}{}: {error}", self.as_whom())))
    }

    fn other_user(&self) -> Result<Option<User>, Failure> {
        other_user(self.run_as.as_deref()).map_err(|what| self.not_run(&what))
    }

    fn as_whom(&self) -> String {
        self.run_as.as_deref().map(|name| format!(" as {name}")).unwrap_or_default()
    }

    fn not_run(&self, what: &str) -> Failure {
        Failure::Rejected(format!("command {}: {what}; nothing was run", self.name))
    }

    fn unknown(&self, what: &str) -> Failure {
        Failure::UnknownOutcome(format!("command {} {what}; how far it came is not known", self.name))
    }
}

/// A command's process group: killed when this is dropped before the command has ended.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Group {
        Group(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }

    /// What it left running on purpose stays.
    fn ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// What a command prints, as far as it is kept.
struct Collected {
    kept: std::sync::Arc<std::sync::Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Collected {
    async fn finish(mut self) -> Vec<u8> {
        if timeout(LAST_WORDS, &mut self.reader).await.is_err() {
            self.reader.abort();
        }
        std::mem::take(&mut *self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// Reads to the end, so that the command is never stopped by a full pipe, and keeps the first `max` bytes.
fn collect(source: Option<impl AsyncRead + Unpin + Send + 'static>, max: u64) -> Collected {
    let kept = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let keep = kept.clone();
    let reader = tokio::spawn(async move {
        let Some(mut source) = source else { return };
        let mut chunk = [0; 4096];
        while let Ok(read @ 1..) = source.read(&mut chunk).await {
            let mut kept = keep.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let room = usize::try_from(max).unwrap_or(usize::MAX).saturating_sub(kept.len());
            kept.extend_from_slice(&chunk[..read.min(room)]);
        }
    });
    Collected { kept, reader }
}

/// As shells say it: 128 and the signal for what a signal ended.
/// Whom to become first; none = it runs as whoever this process is. Only root may: another process with the right to change
/// its user would hand its own supplementary groups on.
fn other_user(run_as: Option<&str>) -> Result<Option<User>, String> {
    let Some(name) = run_as else { return Ok(None) };
    let user = match User::from_name(name) {
        Ok(Some(user)) => user,
        Ok(None) => return Err(format!("there is no user {name} on this machine")),
        Err(error) => return Err(format!("cannot look up the user {name}: {error}")),
    };
    let own = Uid::current();
    if user.uid == own {
        return Ok(None);
    }
    if own.is_root() {
        return Ok(Some(user));
    }
    Err(format!(
        "it is declared to run as {name}, and only root can change to another user (this process has uid {own})"
    ))
}

fn no_program(path: &Path) -> Option<String> {
    let path_shown = path.display();
    match std::fs::metadata(path) {
        Err(error) => Some(format!("there is no program {path_shown}: {error}")),
        Ok(found) if !found.is_file() => Some(format!("{path_shown} is no program")),
        Ok(found) if found.permissions().mode() & 0o111 == 0 => Some(format!("{path_shown} may not be executed")),
        Ok(_) => None,
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// The whole value has to match, so the pattern is checked alone before anything is put around it: `a)|(b` must not
/// slip out of its brackets.
fn anchored(pattern: &str) -> Result<Regex> {
    Regex::new(pattern)?;
    Ok(Regex::new(&format!(r"\A(?:{pattern})\z"))?)
}

/// The names in `{name}`; other braces are ordinary characters.
fn placeholders(element: &str) -> impl Iterator<Item = &str> {
    pieces(element).filter_map(|piece| match piece {
        Piece::Placeholder(name) => Some(name),
        Piece::Text(_) => None,
    })
}

/// Replaces each placeholder once; what comes in is not looked at again.
fn fill(element: &str, arguments: &BTreeMap<String, String>) -> String {
    let piece = |piece| match piece {
        Piece::Text(text) => text,
        Piece::Placeholder(name) => arguments[name].as_str(),
    };
    pieces(element).map(piece).collect()
}

enum Piece<'a> {
    Text(&'a str),
    Placeholder(&'a str),
}

fn pieces(element: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = element;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some((name, after)) =
            rest.strip_prefix('{').and_then(|inner| inner.split_once('}')).filter(|(name, _)| is_name(name))
        {
            rest = after;
            return Some(Piece::Placeholder(name));
        }
        let end = rest.char_indices().skip(1).find(|(_, char)| *char == '{').map_or(rest.len(), |(at, _)| at);
        let (text, after) = rest.split_at(end);
        rest = after;
        Some(Piece::Text(text))
    })
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    type Arguments<'a> = &'a [(&'a str, &'a str)];

    fn declared(argv: &[&str], arguments: Arguments<'_>) -> Result<Declared> {
        let plan = CommandPlan {
            argv: argv.iter().map(|element| (*element).to_owned()).collect(),
            arguments: arguments.iter().map(|(name, pattern)| ((*name).to_owned(), (*pattern).to_owned())).collect(),
            run_as: None,
            timeout: 60_000,
            output_max: 1_024,
        };
        Declared::new("test", &plan)
    }

    fn order(arguments: Arguments<'_>) -> Order {
        let arguments = arguments.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Order { key: "key".into(), command: "test".into(), arguments, timeout: 60_000 }
    }

    fn argv(declared: &Declared, arguments: Arguments<'_>) -> Result<Vec<String>, Failure> {
        declared.prepare(&order(arguments)).map(|prepared| prepared.argv)
    }

    async fn run(argv: &[&str]) -> Result<Output, Failure> {
        declared(argv, &[]).unwrap().prepare(&order(&[])).unwrap().run().await
    }

    async fn run_as(user: &str, argv: &[&str]) -> Result<Output, Failure> {
        let mut prepared = declared(argv, &[]).unwrap().prepare(&order(&[])).unwrap();
        prepared.run_as = Some(user.into());
        prepared.run().await
    }

    /// On a thread of its own, which the kernel of the operating system gives what only this test wants.
    fn on_a_thread_that(prepares: impl FnOnce() + Send, run: impl Future<Output = ()> + Send) {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                prepares();
                runtime.block_on(run);
            });
        });
    }

    #[test]
    fn holds_the_whole_value_against_the_pattern() {
        let cases = [
            ("[a-z]+", "db", true),
            ("[a-z]+", "db1", false),
            ("[a-z]+", "db\n", false),
            ("[a-z]+", "1db", false),
            ("[a-z]+", "", false),
            ("a|b", "b", true),
            ("a|b", "ab", false),
            ("^a$", "a", true),
            ("(?m)^a$", "a\nb", false),
            (".*", "a\nb", false),
            ("(?s).*", "a\0b", false),
            ("", "", true),
            ("", "a", false),
        ];
        for (pattern, value, accepted) in cases {
            let declared = declared(&["/bin/echo", "{it}"], &[("it", pattern)]).unwrap();
            assert_eq!(argv(&declared, &[("it", value)]).is_ok(), accepted, "{pattern:?} and {value:?}");
        }
    }

    #[test]
    fn puts_each_argument_where_it_belongs_and_nowhere_else() {
        let declared =
            declared(&["/bin/echo", "--a={a}", "{b}{a}", "{c d}", "{", "é{a}"], &[("a", "(?s).*"), ("b", ".*")])
                .unwrap();
        let cases = [
            ("x", "y", ["/bin/echo", "--a=x", "yx", "{c d}", "{", "éx"]),
            ("{b}", "{a}", ["/bin/echo", "--a={b}", "{a}{b}", "{c d}", "{", "é{b}"]),
            ("; rm -rf /", "$(id)", ["/bin/echo", "--a=; rm -rf /", "$(id); rm -rf /", "{c d}", "{", "é; rm -rf /"]),
            ("a b", "'\"", ["/bin/echo", "--a=a b", "'\"a b", "{c d}", "{", "éa b"]),
        ];
        for (a, b, expected) in cases {
            assert_eq!(argv(&declared, &[("a", a), ("b", b)]), Ok(expected.map(str::to_owned).to_vec()));
        }
    }

    #[test]
    fn says_what_is_missing_before_it_is_needed() {
        let directory = tempfile::tempdir().unwrap();
        let plain = directory.path().join("plain");
        std::fs::write(&plain, "text").unwrap();
        let missing = |program: &str, run_as: Option<&str>| {
            let plan = declared(&[program], &[]).unwrap().plan;
            Declared::new("try", &CommandPlan { run_as: run_as.map(Into::into), ..plan }).unwrap().missing()
        };
        assert_eq!(missing("/bin/true", None), None);
        for (program, run_as, words) in [
            ("/no/such/program", None, "there is no program"),
            (directory.path().to_str().unwrap(), None, "is no program"),
            (plain.to_str().unwrap(), None, "may not be executed"),
            ("/bin/true", Some("no-such-user"), "there is no user no-such-user"),
        ] {
            let why = missing(program, run_as).unwrap_or_default();
            assert!(why.contains(words), "{program}: {why}");
        }
    }

    #[test]
    fn refuses_arguments_that_are_missing_or_unknown() {
        let declared = declared(&["/bin/echo", "{a}"], &[("a", ".*")]).unwrap();
        for arguments in [&[][..], &[("b", "x")], &[("a", "x"), ("b", "x")]] {
            assert!(matches!(argv(&declared, arguments), Err(Failure::Invalid(_))), "{arguments:?}");
        }
    }

    #[test]
    fn refuses_declarations_that_could_run_something_else() {
        let cases: [(&[&str], Arguments<'_>); 6] = [
            (&[], &[]),
            (&["echo"], &[]),
            (&["/bin/{it}"], &[("it", ".*")]),
            (&["/bin/echo", "{it}"], &[]),
            (&["/bin/echo", "{it}"], &[("it", "(")]),
            (&["/bin/echo", "{it}"], &[("it", "a)|(b")]),
        ];
        for (argv, arguments) in cases {
            assert!(declared(argv, arguments).is_err(), "{argv:?} {arguments:?}");
        }
    }

    #[tokio::test]
    async fn what_a_shell_would_obey_stays_data() {
        let echo = declared(&["/bin/echo", "-n", "{it}"], &[("it", "(?s).*")]).unwrap();
        for hostile in ["; id", "$(id)", "`id`", "a && b", "| cat", "> /tmp/x", "*", "$PATH", "a\nb", "'\"\\"] {
            let output = echo.prepare(&order(&[("it", hostile)])).unwrap().run().await.unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), hostile);
        }
    }

    #[tokio::test]
    async fn starts_with_an_empty_environment() {
        let output = run(&["/usr/bin/env"]).await.unwrap();
        let mut names: Vec<_> =
            output.stdout.split(|byte| *byte == b'\n').filter_map(|line| line.split(|b| *b == b'=').next()).collect();
        names.retain(|name| !name.is_empty());
        names.sort_unstable();
        assert_eq!(names, [b"LANG".as_slice(), b"PATH"]);
    }

    #[test]
    fn runs_as_the_declared_user_without_the_groups_of_root() {
        assert!(Uid::current().is_root(), "this test changes to another user: run it as root");
        let with_a_group = || rustix::thread::set_thread_groups(&[rustix::process::Gid::from_raw(4_242)]).unwrap();
        on_a_thread_that(with_a_group, async {
            let groups = |output: Output| String::from_utf8(output.stdout).unwrap();
            assert_eq!(groups(run(&["/usr/bin/id", "-G"]).await.unwrap()), "0 4242\n", "what is to be dropped");
            let nobody = User::from_name("nobody").unwrap().unwrap();
            assert_eq!(groups(run_as("nobody", &["/usr/bin/id", "-G"]).await.unwrap()), format!("{}\n", nobody.gid));
            assert_eq!(groups(run_as("nobody", &["/usr/bin/id", "-un"]).await.unwrap()), "nobody\n");
        });
    }

    #[test]
    fn runs_nothing_where_it_cannot_become_the_declared_user() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let without_the_right = || {
            if Uid::current().is_root() {
                let daemon = rustix::process::Uid::from_raw(1);
                rustix::thread::set_thread_res_uid(daemon, daemon, daemon).unwrap();
            }
        };
        on_a_thread_that(without_the_right, async {
            for (user, named) in
                [("nobody", "only root can change to another user"), ("no-such-user", "there is no user")]
            {
                let refused = run_as(user, &["/bin/rm", "-f", path]).await.unwrap_err();
                let Failure::Rejected(told) = &refused else { panic!("{refused:?}") };
                assert!(told.contains(named) && told.contains(user) && told.ends_with("nothing was run"), "{told}");
            }
            let own = User::from_uid(Uid::current()).unwrap().unwrap();
            assert!(
                run_as(&own.name, &["/bin/true"]).await.is_ok_and(|output| output.status == 0),
                "that is no change"
            );
        });
        assert!(file.path().exists());
    }

    #[tokio::test]
    async fn tells_how_it_ended_and_what_it_said() {
        let output = run(&["/bin/sh", "-c", "echo out; echo err >&2; exit 7"]).await.unwrap();
        assert_eq!(output, Output { status: 7, stdout: b"out\n".to_vec(), stderr: b"err\n".to_vec() });
        assert_eq!(run(&["/bin/sh", "-c", "kill -9 $$"]).await.unwrap().status, 137);
    }

    #[tokio::test]
    async fn keeps_no_more_output_than_declared_and_lets_it_run_to_its_end() {
        let output = run(&["/bin/sh", "-c", "head -c 1000000 /dev/zero; exit 3"]).await.unwrap();
        assert_eq!((output.status, output.stdout.len()), (3, 1_024));
    }

    #[tokio::test]
    async fn does_not_wait_for_what_it_left_behind() {
        let output = run(&["/bin/sh", "-c", "sleep 600 & echo $!"]).await.unwrap();
        let left: i32 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        nix::sys::signal::kill(Pid::from_raw(left), Signal::SIGKILL).expect("it was left running");
    }

    #[tokio::test]
    async fn kills_the_whole_group_at_the_timeout() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let plan = CommandPlan {
            argv: ["/bin/sh", "-c", "sleep 600 & echo $! > \"$0\"; wait", file.path().to_str().unwrap()]
                .map(str::to_owned)
                .to_vec(),
            arguments: BTreeMap::new(),
            run_as: None,
            timeout: 500,
            output_max: 0,
        };
        let outcome = Declared::new("test", &plan).unwrap().prepare(&order(&[])).unwrap().run().await;
        assert!(matches!(outcome, Err(Failure::UnknownOutcome(_))), "{outcome:?}");
        let child: i32 = std::fs::read_to_string(file.path()).unwrap().trim().parse().unwrap();
        while is_running(child) {
            tokio::task::yield_now().await;
        }
    }

    /// Not a zombie that nobody has collected yet either.
    fn is_running(process: i32) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        status.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
    }

    #[tokio::test]
    async fn says_that_nothing_was_run_when_it_cannot_start() {
        let missing = run(&["/does/not/exist"]).await;
        assert!(matches!(missing, Err(Failure::Rejected(_))), "{missing:?}");
        let plan = CommandPlan {
            argv: vec!["/bin/true".into()],
            arguments: BTreeMap::new(),
            run_as: Some("no-such-user".into()),
            timeout: 1_000,
            output_max: 0,
        };
        let nobody = Declared::new("test", &plan).unwrap().prepare(&order(&[])).unwrap().run().await;
        assert!(matches!(nobody, Err(Failure::Rejected(_))), "{nobody:?}");
    }
}
