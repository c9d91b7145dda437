//! The commands that stay: the host, an agent, the name server.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use tidegate_nameserver::{Nameserver, NameserverConfig, TsigAlgorithm, TsigKey};
use tracing_subscriber::EnvFilter;

use crate::cli::console::Console;
use crate::cli::failed::{Exit, Failed};
use crate::cli::{Common, reach};
use crate::enforcer::Hold;
use crate::{agent, enforcer, host, node};

/// What a log says unless RUST_LOG says otherwise: two libraries tell of every refused connection and every query.
const LOGGED: &str = "info,wasmtime_wasi_http=error,hickory_server=warn";

/// `run`, without a word behind it.
#[derive(Args, Debug)]
pub struct HostOf {
    /// Where compiled plugins are kept [default: in the state directory].
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Threads that policies are decided on [default: one for each processor, two at most].
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// How the log is written.
    #[arg(long, value_enum, default_value_t = LogFormat::Human)]
    pub log: LogFormat,
}

/// How a log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object on each line.
    Json,
}

/// `agent`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate agent --site us-east --host 10.0.3.5:7441 --token-file /etc/tidegate/agent.token
  tidegate agent --site us-east --name us-east-2 --host host.example:7441 --token-file agent.token --ca ca.pem

  tidegate agent --site us-east --host 10.0.3.5:7441 --token-file agent.token --state /var/lib/tidegate \\
      --hold orders/b=/var/lib/postgresql/15/main

--host is where the host hears agents: agents-listen of its fleet file. --hold takes root: it makes PID namespaces.")]
pub struct Agent {
    /// The site where it stands.
    #[arg(long)]
    pub site: String,
    /// Its name in the fleet file [default: the site's].
    #[arg(long)]
    pub name: Option<String>,
    /// Where it remembers which commands it ran [default: only while it lives].
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Authorities that its probes' TLS trusts besides this machine's, PEM; --ca is for its host alone.
    #[arg(long, value_name = "FILE")]
    pub trust: Option<PathBuf>,
    /// Where it keeps plugins once they were fetched [default: fetched again at each start].
    #[arg(long, value_name = "DIR")]
    pub plugins: Option<PathBuf>,
    /// A database node here that starts and ends with this process: the agent gets an enforcer above it.
    #[arg(long, value_name = "CLUSTER/NODE=DIR")]
    pub hold: Vec<Hold>,
    /// Where the programs of held databases are [default: where distributions put the version of the data].
    #[arg(long, value_name = "DIR")]
    pub hold_bin: Option<PathBuf>,
    /// An enforcer stands above this process already, at the other end of standard input.
    #[arg(long, hide = true)]
    pub enforced: bool,
    /// How the log is written.
    #[arg(long, value_enum, default_value_t = LogFormat::Human)]
    pub log: LogFormat,
}

/// `as-owner`.
#[derive(Args, Debug)]
pub struct AsOwner {
    /// The data directory.
    pub data: PathBuf,
    /// Where the program's words go.
    pub log: PathBuf,
    /// The program and its arguments.
    #[arg(last = true)]
    pub program: Vec<OsString>,
}

/// `enforcer-part`.
#[derive(Args, Debug)]
pub struct EnforcerPart {
    /// Which.
    #[arg(value_enum)]
    pub part: Part,
    /// What it is for.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<OsString>,
}

/// The enforcer's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// The first process of a namespace.
    Init,
    /// In the trial: the enforcer that is killed.
    StandIn,
    /// In the trial: the program in the namespace.
    Family,
    /// In the trial: ends and leaves its child behind.
    Parent,
    /// In the trial: the child.
    Orphan,
}

/// `nameserver`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  (umask 077; openssl rand -base64 32 > dns.key)
  tidegate nameserver --listen 127.0.0.1:5353 --zone example.test --key-file dns.key
  tidegate nameserver --listen 10.0.0.53:53 --zone example.test --key-file dns.key --state /var/lib/tidegate/zone")]
pub struct NameserverOf {
    /// Where it answers, over UDP and TCP.
    #[arg(long, value_name = "ADDRESS:PORT", required = true)]
    pub listen: Vec<SocketAddr>,
    /// The zone that it answers for.
    #[arg(long)]
    pub zone: String,
    /// File with the TSIG key of those who may update the zone, in base64.
    #[arg(long, value_name = "FILE")]
    pub key_file: PathBuf,
    /// The TSIG key's name.
    #[arg(long, default_value = "tidegate")]
    pub key_name: String,
    /// How updates are signed.
    #[arg(long, value_enum, default_value_t = Algorithm::HmacSha256)]
    pub algorithm: Algorithm,
    /// File that keeps the zone across restarts [default: updates are forgotten at the end].
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// How the log is written.
    #[arg(long, value_enum, default_value_t = LogFormat::Human)]
    pub log: LogFormat,
}

/// How updates are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Algorithm {
    /// The usual choice.
    HmacSha256,
    /// HMAC with SHA-384.
    HmacSha384,
    /// HMAC with SHA-512.
    HmacSha512,
}

/// Runs a host until it is told to stop.
pub async fn host(common: &Common, run: HostOf) -> Result<Exit, Failed> {
    let fleet = reach::fleet_file(common)?;
    // Read here as well, so that every problem is told as `check` tells it.
    reach::fleet_at(&fleet)?;
    log(run.log);
    let options = host::Options { cache: run.cache, workers: run.workers, ..host::Options::default() };
    host::run(&fleet, options).await?;
    Ok(Exit::Done)
}

impl Agent {
    /// It holds databases, and nobody stands above it yet.
    pub fn wants_enforcer(&self) -> bool {
        !self.hold.is_empty() && !self.enforced
    }
}

/// Runs an enforcer, with an agent below it that is started with the same words.
pub fn enforcer(agent: Agent) -> Result<Exit, Failed> {
    log(agent.log);
    let words = std::env::args_os().skip(1).chain(["--enforced".into()]).collect();
    enforcer::run(enforcer::Options { holds: agent.hold, bin: agent.hold_bin, agent: words })?;
    Ok(Exit::Done)
}

/// Becomes a program that a data directory's owner runs.
pub fn as_owner(asked: &AsOwner) -> Result<ExitCode, Failed> {
    node::owner::become_program(&asked.data, &asked.log, &asked.program)?;
    Ok(ExitCode::SUCCESS)
}

/// Is one of the enforcer's parts.
pub fn enforcer_part(asked: &EnforcerPart) -> Result<ExitCode, Failed> {
    let directory = || Path::new(asked.arguments.first().map_or("/".as_ref(), |directory| directory.as_os_str()));
    let ended = match asked.part {
        Part::Init => enforcer::namespace::init(&asked.arguments),
        Part::StandIn => enforcer::trial::stand_in(directory()),
        Part::Family => enforcer::trial::family(),
        Part::Parent => enforcer::trial::parent(),
        Part::Orphan => enforcer::trial::sleep(),
    };
    Ok(ended?)
}

/// Runs an agent until it is told to stop.
pub async fn agent(common: &Common, agent: Agent) -> Result<Exit, Failed> {
    let missing = |what: &str, next: &str| Failed::usage(format!("an agent needs {what}")).next(next);
    let host = common.host.clone().ok_or_else(|| missing("its host's address", "add --host ADDRESS:PORT"))?;
    let token_file = common.token_file.clone().ok_or_else(|| missing("its token", "add --token-file FILE"))?;
    reach::token(&token_file)?;
    log(agent.log);
    let name = agent.name.unwrap_or_else(|| agent.site.clone());
    let options = agent::Options {
        site: agent.site,
        name,
        host,
        token_file,
        ca: common.ca.clone(),
        trust: agent.trust,
        plugins: agent.plugins,
        state: agent.state,
        enforced: agent.enforced,
    };
    agent::run(options).await?;
    Ok(Exit::Done)
}

/// Runs the embedded name server until it is told to stop.
pub async fn nameserver(console: &Console, asked: NameserverOf) -> Result<Exit, Failed> {
    let key = TsigKey { name: asked.key_name, algorithm: asked.algorithm.into(), secret: key(&asked.key_file)? };
    log(asked.log);
    let zone = asked.zone.clone();
    let config = NameserverConfig {
        listen: asked.listen,
        zone: asked.zone,
        keys: vec![key],
        records: Vec::new(),
        state: asked.state,
    };
    let running = Nameserver::start(config).await?;
    let addresses: Vec<String> = running.local_addrs().iter().map(SocketAddr::to_string).collect();
    console.show(&serde_json::json!({ "zone": zone, "listening": addresses }), |_, _| {
        format!("answering for {zone} on {}", addresses.join(", "))
    })?;
    agent::told_to_stop().await?;
    running.stop().await?;
    Ok(Exit::Done)
}

/// Says what happens on standard error.
fn log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOGGED));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Human => {
            log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).with_target(false).init()
        }
        LogFormat::Json => log.json().init(),
    }
}

fn key(path: &Path) -> Result<Vec<u8>, Failed> {
    let text = reach::token(path)?;
    let wrong = || {
        Failed::usage("the TSIG key is not in base64")
            .at(path.display())
            .next("make one with `openssl rand -base64 32`")
    };
    from_base64(&text).filter(|bytes| !bytes.is_empty()).ok_or_else(wrong)
}

/// Standard alphabet; padding may be left out.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let text = text.trim_end_matches('=');
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for letter in text.bytes() {
        let value = ALPHABET.iter().position(|known| *known == letter)?;
        bits = (bits << 6) | u32::try_from(value).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    (count < 6 && bits == 0).then_some(bytes)
}

impl From<Algorithm> for TsigAlgorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::HmacSha256 => TsigAlgorithm::HmacSha256,
            Algorithm::HmacSha384 => TsigAlgorithm::HmacSha384,
            Algorithm::HmacSha512 => TsigAlgorithm::HmacSha512,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::from_base64;

    #[test]
    fn reads_keys_as_openssl_and_keymgr_print_them() {
        let table: [(&str, Option<&[u8]>); 7] = [
            ("", Some(b"")),
            ("Zg==", Some(b"f")),
            ("Zm8=", Some(b"fo")),
            ("Zm9vYmFy", Some(b"foobar")),
            ("Zm9vYg", Some(b"foob")),
            ("Zm9v YmFy", None),
            ("Zh==", None),
        ];
        for (text, bytes) in table {
            assert_eq!(from_base64(text).as_deref(), bytes, "{text:?}");
        }
    }
}
