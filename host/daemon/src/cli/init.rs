//! `tidegate init`: writes the first fleet file, commented, in observe mode.
//!
//! Knows how the file is written, not how it is read: what it wrote goes through the same check as any other.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::console::Console;
use crate::cli::failed::{Exit, Failed};
use crate::cli::reach;
use crate::cli::text::facts;

/// Where the file goes unless told otherwise.
const DEFAULT_FILE: &str = "fleet.toml";

/// `init`.
#[derive(Args, Debug, Default)]
#[command(after_help = "Examples:
  tidegate init                                  asks, on a terminal
  tidegate init --site us-east --site eu-west --site ap-south \\
      --service 'shop=https://{site}.shop.example/healthz'
  tidegate init --site a --site b --service pay=http://10.0.1.5:8080/up --service pay=http://10.0.2.5:8080/up \\
      --zone example.com --dns-server 10.0.0.53:53")]
pub struct Init {
    /// A site, the preferred one first; NAME=DOMAIN where several sites can fail together.
    #[arg(long = "site", value_name = "NAME[=DOMAIN]")]
    pub sites: Vec<String>,
    /// A service and where it answers: once with {site} in the URL, or once for each site in their order.
    #[arg(long = "service", value_name = "NAME=URL")]
    pub services: Vec<String>,
    /// The DNS zone with the services' names; without it nothing can be moved yet.
    #[arg(long, requires = "dns_server")]
    pub zone: Option<String>,
    /// The zone's primary server, which takes RFC 2136 updates.
    #[arg(long, value_name = "ADDRESS:PORT", requires = "zone")]
    pub dns_server: Option<String>,
    /// The site where this host stands [default: the last one, which is where it survives the first one's loss].
    #[arg(long, value_name = "SITE")]
    pub here: Option<String>,
    /// Where the host keeps its journal.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/tidegate")]
    pub state: PathBuf,
    /// Write over an existing file.
    #[arg(long)]
    pub force: bool,
}

/// All that the file is made of.
#[derive(Debug, PartialEq)]
struct Sketch {
    sites: Vec<Site>,
    services: Vec<Service>,
    dns: Option<Dns>,
    here: String,
    state: PathBuf,
}

#[derive(Debug, PartialEq)]
struct Site {
    name: String,
    failure_domain: Option<String>,
}

#[derive(Debug, PartialEq)]
struct Service {
    name: String,
    /// One for each site, in their order.
    urls: Vec<String>,
}

#[derive(Debug, PartialEq)]
struct Dns {
    zone: String,
    server: String,
}

/// Asks or reads the flags, writes the file and checks it.
pub fn run(init: Init, fleet: Option<&Path>, console: &Console) -> Result<Exit, Failed> {
    let path = fleet.unwrap_or(Path::new(DEFAULT_FILE));
    if path.exists() && !init.force {
        return Err(Failed::usage("there is a fleet file already")
            .at(path.display())
            .unchanged("it was not touched")
            .next("write another one with --fleet FILE, or over it with --force"));
    }
    let sketch = Sketch::from(complete(init, console)?)?;
    write(path, &sketch.to_toml())?;
    reach::fleet_at(path)?;
    sketch.write_tokens(path.parent().unwrap_or(Path::new("")))?;
    let written = serde_json::json!({ "fleet": path, "mode": "observe" });
    console.show(&written, |_, _| what_next(path))?;
    Ok(Exit::Done)
}

/// What the flags leave open, asked on a terminal.
fn complete(mut init: Init, console: &Console) -> Result<Init, Failed> {
    if !init.sites.is_empty() && !init.services.is_empty() {
        return Ok(init);
    }
    if !console.interactive() {
        return Err(Failed::usage("init needs at least one --site and one --service where nobody can be asked")
            .unchanged("nothing was written")
            .next("see `tidegate init --help` for an example"));
    }
    if init.sites.is_empty() {
        let sites = console
            .ask("Your sites, the preferred one first, with blanks between them?", "us-east eu-west ap-south")?;
        init.sites = sites.split_whitespace().map(str::to_owned).collect();
    }
    if init.services.is_empty() {
        let name = console.ask("A service that must survive the loss of a site?", "shop")?;
        let url = format!("https://{{site}}.{name}.example/healthz");
        let url = console.ask("Where does it answer? Write {site} where the site's name goes.", &url)?;
        init.services = vec![format!("{name}={url}")];
    }
    if init.zone.is_none() {
        let zone = console.ask("The DNS zone with the service's name (empty: decide later)?", "")?;
        init.zone = Some(zone).filter(|zone| !zone.is_empty());
    }
    if init.zone.is_some() && init.dns_server.is_none() {
        init.dns_server = Some(console.ask("The zone's primary server?", "127.0.0.1:53")?);
    }
    Ok(init)
}

fn write(path: &Path, text: &str) -> Result<(), Failed> {
    let failed =
        |error: std::io::Error| Failed::new(format!("cannot write the fleet file: {error}")).at(path.display());
    // Written beside and renamed: half a fleet file would be worse than none.
    let beside = path.with_extension("toml.new");
    let mut file = fs::File::create(&beside).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&beside, path).map_err(failed)
}

/// Whoever has this file may report as the agent; what is there already is kept.
fn write_token(path: &Path) -> Result<(), Failed> {
    let failed =
        |error: std::io::Error| Failed::new(format!("cannot write the agent's token: {error}")).at(path.display());
    let mut bytes = [0; 32];
    fs::File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut bytes)).map_err(failed)?;
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => writeln!(file, "{token}").map_err(failed),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

fn what_next(path: &Path) -> String {
    let file = path.display();
    let commands = [
        (format!("  tidegate check --fleet {file}"), "what it says, and which losses it survives"),
        (format!("  tidegate run --fleet {file}"), "start the host"),
        ("  tidegate status --watch".to_owned(), "see what it sees"),
    ];
    let commands = facts(commands.iter().map(|(command, does)| (command.as_str(), (*does).to_owned())));
    format!(
        "wrote {file}: observe mode, so it looks, decides and records, and moves nothing\nnext:\n{commands}\
         set mode = \"act\" when you agree with its decisions\n"
    )
}

impl Sketch {
    fn from(init: Init) -> Result<Self, Failed> {
        let sites: Vec<Site> = init.sites.iter().map(|text| Site::from(text)).collect::<Result<_, _>>()?;
        let services = services(&init.services, &sites)?;
        let dns = init.zone.zip(init.dns_server).map(|(zone, server)| Dns { zone, server });
        let last = sites.last().map(|site| site.name.clone()).unwrap_or_default();
        let here = init.here.unwrap_or(last);
        if !sites.iter().any(|site| site.name == here) {
            return Err(Failed::usage(format!("the host cannot stand at {here}, which is no --site")));
        }
        Ok(Sketch { sites, services, dns, here, state: init.state })
    }
}

impl Site {
    fn from(text: &str) -> Result<Self, Failed> {
        let (name, domain) = match text.split_once('=') {
            Some((name, domain)) => (name, Some(domain)),
            None => (text, None),
        };
        Ok(Site { name: plain_name(name)?, failure_domain: domain.map(plain_name).transpose()? })
    }
}

fn services(texts: &[String], sites: &[Site]) -> Result<Vec<Service>, Failed> {
    let mut services: Vec<Service> = Vec::new();
    for text in texts {
        let (name, url) = text
            .split_once('=')
            .ok_or_else(|| Failed::usage(format!("--service {text} has no URL")).next("write --service NAME=URL"))?;
        let name = plain_name(name)?;
        match services.iter_mut().find(|service| service.name == name) {
            Some(service) => service.urls.push(url.to_owned()),
            None => services.push(Service { name, urls: vec![url.to_owned()] }),
        }
    }
    services.into_iter().map(|service| service.at(sites)).collect()
}

impl Service {
    /// With one URL for each site.
    fn at(mut self, sites: &[Site]) -> Result<Self, Failed> {
        if let [url] = self.urls.as_slice()
            && (url.contains("{site}") || sites.len() == 1)
        {
            self.urls = sites.iter().map(|site| url.replace("{site}", &site.name)).collect();
        }
        if self.urls.len() != sites.len() {
            let (has, wants) = (self.urls.len(), sites.len());
            return Err(Failed::usage(format!("{} has {has} URLs for {wants} sites", self.name))
                .unchanged("nothing was written")
                .next("write {site} in the URL, or repeat --service once for each site, in their order"));
        }
        match self.urls.iter().find(|url| host(url).is_none()) {
            Some(url) => Err(Failed::usage(format!("{url:?} is no URL that a probe can look at"))
                .next("write http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH")),
            None => Ok(self),
        }
    }
}

impl Sketch {
    fn to_toml(&self) -> String {
        let mut text = self.head();
        for (index, site) in self.sites.iter().enumerate() {
            text += &site.to_toml(index + 1);
        }
        for service in &self.services {
            text += &self.service(service);
        }
        text + &self.agents() + &self.slots() + &self.secrets()
    }

    fn write_tokens(&self, beside: &Path) -> Result<(), Failed> {
        let secrets = beside.join("secrets");
        fs::create_dir_all(&secrets).map_err(|error| {
            Failed::new(format!("cannot make the directory for secrets: {error}")).at(secrets.display())
        })?;
        let mut elsewhere = self.sites.iter().filter(|site| site.name != self.here);
        elsewhere.try_for_each(|site| write_token(&secrets.join(format!("agent-{}.token", site.name))))
    }

    fn head(&self) -> String {
        let (here, state, zone) = (quoted(&self.here), quoted(&self.state.display().to_string()), time_zone());
        format!(
            r#"# A fleet of Tidegate. `tidegate check --fleet THIS` says what is wrong with it, and which losses it survives.

[host]
# Where this host stands. It should not be where the services usually are: it has to outlive that site.
site = {here}
# The journal and the command socket; a directory that only Tidegate's user may write to.
state = {state}
# "observe" decides and records, and moves nothing. Set "act" when you agree with what it decided.
mode = "observe"
# Maintenance windows are in this time zone.
time-zone = {zone}
# Where agents report. Off loopback it takes TLS: set tls = {{ certificate = "host.crt", key = "host.key" }} as well.
agents-listen = "127.0.0.1:7441"
"#
        )
    }

    fn agents(&self) -> String {
        let mut text = String::from(
            "\n# Each site looks at the services from where it stands, and the looks are counted by failure domain.\n\
             # Start them with: tidegate agent --site SITE --name SITE --host HOST:7441 --token-file FILE\n",
        );
        for site in self.sites.iter().filter(|site| site.name != self.here) {
            let name = &site.name;
            text += &format!(
                "\n[agent.{name}]\nsite = {site}\ntoken = \"agent-{name}\"\n\
                 # An agent that reaches none of these is cut off itself, and does not vote.\n\
                 # control-targets = [\"tcp://1.1.1.1:443\", \"tcp://9.9.9.9:443\"]\n",
                site = quoted(name),
            );
        }
        text
    }

    /// The DNS provider's slot, where there is one. The policy and the probe have built-in slots.
    fn slots(&self) -> String {
        self.dns.as_ref().map(Dns::to_toml).unwrap_or_default()
    }

    fn secrets(&self) -> String {
        let mut text = String::from("\n# Files beside this one, read again whenever they change.\n[secret]\n");
        for site in self.sites.iter().filter(|site| site.name != self.here) {
            text += &format!("agent-{0} = {{ file = \"secrets/agent-{0}.token\" }}\n", site.name);
        }
        if self.dns.is_some() {
            text += "# The TSIG key that the zone's server knows as \"tidegate\", in base64.\n";
            text += "dns-key = { file = \"secrets/dns.key\" }\n";
        }
        text
    }

    fn service(&self, service: &Service) -> String {
        let name = &service.name;
        let mut text = format!(
            r#"
[service.{name}]
# tier1 is the most critical: it is moved first.
tier = "tier1"
# Back within this time, and how much data may be lost.
rto = "5m"
rpo = "0s"
# One site serves, another could at once. "active-active": all serve, each with a share.
strategy = "active-passive"
# "automatic" moves by itself, "semi-automatic" where nothing promised is lost, "manual" always asks.
failover = "automatic"
failback = "manual"
policy = "failover/default"
# Every second; two bad looks in a row are a vote that it is down, three good ones that it is up.
probe = {{ slot = "probe/http", interval = "1s", timeout = "800ms", bad = 2, good = 3 }}
"#
        );
        text += &self.route(name);
        for (site, url) in self.sites.iter().zip(&service.urls) {
            let (endpoint, url) = (quoted(host(url).unwrap_or_default()), quoted(url));
            let _ = write!(
                text,
                "\n[service.{name}.at.{}]\nendpoint = {endpoint}\ntarget = {{ url = {url} }}\n",
                site.name
            );
        }
        text
    }

    fn route(&self, service: &str) -> String {
        match &self.dns {
            Some(dns) => {
                let name = quoted(&format!("{service}.{}", dns.zone));
                format!("# The name that clients resolve; its TTL is how long they may keep an old answer.\nroute = {{ slot = \"dns/primary\", name = {name}, ttl = \"5s\" }}\n")
            }
            None => "# Nothing can be moved yet: give it a name in DNS.\n# route = { slot = \"dns/primary\", name = \"shop.example.com\", ttl = \"5s\" }\n".to_owned(),
        }
    }
}

impl Site {
    fn to_toml(&self, rank: usize) -> String {
        let mut text = format!("\n[site.{}]\n# 1 is the best place to be.\nrank = {rank}\n", self.name);
        match &self.failure_domain {
            Some(domain) => text += &format!("failure-domain = {}\n", quoted(domain)),
            None => {
                text += "# Sites that can fail together share a domain; it is domains that vote.\n# failure-domain = \"region-1\"\n"
            }
        }
        text
    }
}

impl Dns {
    fn to_toml(&self) -> String {
        let (zone, server) = (quoted(&self.zone), quoted(&self.server));
        let grants = [format!("udp://{}", self.server), format!("tcp://{}", self.server), "secret:dns-key".to_owned()];
        let grants = grants.map(|grant| quoted(&grant)).join(", ");
        format!(
            r#"
# A slot holds a plugin: a component in a sandbox that reaches only what is granted here.
[slot."dns/primary"]
plugin = "builtin:dns-rfc2136"
grants = [{grants}]
settings = {{ zone = {zone}, servers = [{server}], key = "tidegate", secret = "dns-key" }}
"#
        )
    }
}

/// As a TOML string.
fn quoted(text: &str) -> String {
    // JSON's escapes are all TOML's as well.
    serde_json::Value::from(text).to_string()
}

fn time_zone() -> String {
    let zone = jiff::tz::TimeZone::system();
    quoted(zone.iana_name().unwrap_or("UTC"))
}

/// Names become keys of the file, and parts of file names and of DNS names.
fn plain_name(text: &str) -> Result<String, Failed> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    match !text.is_empty() && text.chars().all(plain) {
        true => Ok(text.to_owned()),
        false => Err(Failed::usage(format!("{text:?} cannot be a name"))
            .unchanged("nothing was written")
            .next("use lower-case letters, digits and hyphens")),
    }
}

/// `https://shop.example:8443/up` → `shop.example`.
fn host(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"))?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = match authority.strip_prefix('[') {
        Some(address) => address.split_once(']')?.0,
        None => authority.split(':').next()?,
    };
    Some(host).filter(|host| !host.is_empty() && !host.contains(['{', '}', '@', '"', '\\']))
}
