//! The demonstration's fleet file: an ordinary one, written with the addresses of today.

use super::postgres::USER;
use super::stage::{CUT_OFF, SITES, Stage, ZONE};

/// The whole file.
pub(super) fn file(stage: &Stage) -> String {
    let mut text = head(stage);
    for (rank, (site, _)) in SITES.iter().enumerate() {
        text += &place(stage, site, rank + 1);
    }
    text += &service(stage, "shop", "active-passive", "failover/default");
    text += &service(stage, "catalog", "active-active", "failover/default");
    text += &service(stage, "lab", "active-passive", "failover/lab");
    text
}

/// A service with a PostgreSQL at each site, as a further part of the file.
pub(super) fn database(name: &str, port: u16) -> String {
    let mut text = format!(
        r#"
[secret.pg-password]
file = "pg.password"

[service.{name}]
tier = "tier1"
rto = "30s"
rpo = "0s"
cluster = "{name}"
failover = "automatic"
failback = "manual"
cooldown = "3s"
probe = {{ slot = "probe/tcp", interval = "250ms", bad = 2, good = 2 }}

# No commands: that nobody else takes writes is proven by the standbys that a commit waits for.
[cluster.{name}]
synchronous = 1
verify = ["select count(*) >= 0 from written"]
user = "{USER}"
password = "pg-password"
replication-password = "pg-password"
"#
    );
    for (site, address) in SITES {
        text += &format!(
            r#"
[cluster.{name}.node.{site}]
site = "{site}"
address = "{address}:{port}"
[service.{name}.at.{site}]
endpoint = "{address}"
target = {{ address = "{address}:{port}", speaks = "postgres" }}
"#
        );
    }
    text
}

fn head(stage: &Stage) -> String {
    let (agents, nameserver) = (stage.agents_listen(), stage.nameserver);
    format!(
        r#"# The fleet of `tidegate demo`: three sites on loopback, three services, a nameserver.

[host]
site = "us-east"
state = "state"
listen = "unix:state/tidegate.sock"
agents-listen = "{agents}"
mode = "act"
warm-up = "3s"

[secret]
dns-key = {{ file = "dns.key" }}
agent-eu-west = {{ file = "agent-eu-west.token" }}
agent-us-east = {{ file = "agent-us-east.token" }}
agent-ap-south = {{ file = "agent-ap-south.token" }}

[slot."failover/default"]
plugin = "builtin:failover-quorum"

# A slot of its own for a policy that nobody trusts yet: see the chapter on the hostile plugin.
[slot."failover/lab"]
plugin = "builtin:failover-quorum"

[slot."probe/http"]
plugin = "builtin:probe-http"
grants = ["http://127.0.1.1:*", "http://127.0.2.1:*", "http://127.0.3.1:*"]

[slot."dns/demo"]
plugin = "builtin:dns-rfc2136"
grants = ["udp://{nameserver}", "tcp://{nameserver}", "secret:dns-key"]
settings = {{ zone = "{ZONE}", servers = ["{nameserver}"], key = "tidegate", secret = "dns-key" }}
"#
    )
}

fn place(stage: &Stage, site: &str, rank: usize) -> String {
    let control = if site == CUT_OFF { stage.uplink_to(stage.nameserver) } else { stage.nameserver };
    format!(
        r#"
[site.{site}]
rank = {rank}

[agent.{site}]
site = "{site}"
token = "agent-{site}"
control-targets = ["tcp://{control}"]
"#
    )
}

fn service(stage: &Stage, name: &str, strategy: &str, policy: &str) -> String {
    let mut text = format!(
        r#"
[service.{name}]
tier = "tier1"
rto = "30s"
rpo = "0s"
strategy = "{strategy}"
failover = "automatic"
failback = "automatic"
policy = "{policy}"
# Short, so that the story fits into a minute; in earnest these are minutes.
cooldown = "3s"
hold-down = "5s"
probe = {{ slot = "probe/http", interval = "1s", timeout = "800ms", bad = 2, good = 3 }}
route = {{ slot = "dns/demo", name = "{name}.{ZONE}", type = "A", ttl = "1s" }}
"#
    );
    for (index, (site, address)) in SITES.iter().enumerate() {
        let share = if strategy == "active-active" {
            format!("share = {}\n", 33 + u32::from(index == 0))
        } else {
            String::new()
        };
        let (direct, uplink) = (stage.service_at(site), stage.uplink_to(stage.service_at(site)));
        text += &format!(
            r#"
[service.{name}.at.{site}]
endpoint = "{address}"
{share}target = {{ url = "http://{direct}/" }}
from.{CUT_OFF} = {{ url = "http://{uplink}/" }}
"#
        );
    }
    text
}
