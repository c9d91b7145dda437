//! What `check` says of databases: promises that cannot be kept, and the proof by which each loss is survived.

use std::path::Path;

use tidegate_kernel::fleet::{Fleet, Level, Outlook, Problem, SiteId, check, parse, survivals};

/// Three sites with an agent each; the host stands at the third. `{}` is for what one of the tests changes.
fn text(sites: &str, peers: &str, cluster: &str, service: &str) -> String {
    let agent = |site: &str, port: u16| {
        let peers = if peers.contains(site) { format!("peers-listen = \"127.0.0.1:{port}\"") } else { String::new() };
        format!(
            "[agent.{site}]\nsite = \"{site}\"\ntoken = \"t\"\ncontrol-targets = [\"tcp://192.0.2.1:53\"]\n{peers}\n"
        )
    };
    let agents = [agent("first", 1), agent("second", 2), agent("third", 3)].concat();
    format!(
        r#"
[host]
site = "third"
mode = "act"
agents-listen = "127.0.0.1:1"
{sites}
{agents}
[secret]
t = {{ env = "T" }}
[slot."notify/a"]
plugin = "builtin:notify-webhook"
[channel.a]
slot = "notify/a"
[slot."dns/a"]
plugin = "builtin:dns-rfc2136"
[command.stop]
argv = ["/bin/stop"]
{cluster}
[service.shop]
cluster = "orders"
failover = "automatic"
probe = {{ slot = "probe/tcp" }}
route = {{ slot = "dns/a", name = "shop.example.com" }}
at.first = {{ endpoint = "f", target = {{ address = "f:1" }} }}
at.second = {{ endpoint = "s", target = {{ address = "s:1" }} }}
{service}
"#
    )
}

const SITES: &str = "[site.first]\n[site.second]\n[site.third]\n";
const PEERS: &str = "first second third";
const STOP: &str = "commands = { stop = \"stop\" }";

fn nodes(more: &str) -> String {
    ["first", "second", "third"]
        .iter()
        .map(|site| format!("[cluster.orders.node.{site}]\nsite = \"{site}\"\n{more}\n"))
        .collect()
}

fn cluster(keys: &str) -> String {
    format!("[cluster.orders]\n{keys}\n{}", nodes(STOP))
}

fn read(text: &str) -> Result<Fleet, Vec<Problem>> {
    parse(Path::new("fleet.toml"), &|_| Ok(text.to_owned()))
}

fn fleet(text: &str) -> Fleet {
    read(text).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn codes(text: &str) -> Vec<String> {
    check(&fleet(text)).into_iter().map(|finding| finding.code).collect()
}

/// What the loss of the first site means.
fn lost(text: &str) -> (Outlook, String) {
    let lost =
        survivals(&fleet(text)).into_iter().find(|survival| survival.site == SiteId(0)).expect("it is served there");
    (lost.outlook, lost.reason)
}

#[test]
fn a_sound_cluster_gives_no_finding() {
    assert_eq!(codes(&text(SITES, PEERS, &cluster("synchronous = 1"), "rpo = \"0s\"")), [""; 0]);
    assert_eq!(codes(&text(SITES, PEERS, &cluster(""), "rpo = \"10s\"")), [""; 0]);
}

#[test]
fn a_synchronous_cluster_moves_by_the_word_of_its_standbys() {
    let (outlook, reason) = lost(&text(SITES, "", &cluster("synchronous = 1"), "rpo = \"0s\""));
    assert_eq!(outlook, Outlook::Moves(vec![SiteId(1)]));
    assert!(reason.contains("standby quorum: 2 of 2"), "{reason}");
}

#[test]
fn an_asynchronous_cluster_moves_by_the_end_of_a_lease_or_asks() {
    let (outlook, reason) = lost(&text(SITES, PEERS, &cluster(""), "rpo = \"10s\""));
    assert_eq!(outlook, Outlook::Moves(vec![SiteId(1)]));
    assert!(reason.contains("lease"), "{reason}");
    let few = text(SITES, "first second", &cluster(""), "rpo = \"10s\"");
    assert_eq!(lost(&few).0, Outlook::Asks, "{few}");
    assert_eq!(codes(&few), ["no-lease", "never-by-itself"]);
}

#[test]
fn an_rpo_below_what_a_crash_takes_to_be_seen_is_out_of_reach() {
    for rpo in ["0s", "2s"] {
        let promise = text(SITES, PEERS, &cluster(""), &format!("rpo = \"{rpo}\""));
        assert_eq!(codes(&promise), ["rpo-out-of-reach", "never-by-itself"], "{rpo}");
        assert!(lost(&promise).1.contains("are lost until a crash is seen"), "{:?}", lost(&promise));
    }
}

#[test]
fn a_cluster_of_one_node_or_of_one_domain_is_named() {
    let one = "[cluster.orders]\n[cluster.orders.node.a]\nsite = \"first\"\ncommands = { stop = \"stop\" }\n";
    let alone = text(SITES, PEERS, one, "rpo = \"10s\"").replace("at.second", "#");
    assert!(codes(&alone).contains(&"one-node".to_owned()), "{:?}", codes(&alone));
    let together = "[site.first]\nfailure-domain = \"x\"\n[site.second]\nfailure-domain = \"x\"\n[site.third]\nfailure-domain = \"x\"\n";
    let codes = codes(&text(together, PEERS, &cluster("synchronous = 1"), "rpo = \"0s\""));
    for code in ["nodes-together", "data-needs-three-domains"] {
        assert!(codes.contains(&code.to_owned()), "{codes:?}");
    }
}

#[test]
fn a_set_that_cannot_do_without_a_node_is_named() {
    assert_eq!(codes(&text(SITES, PEERS, &cluster("synchronous = 2"), "rpo = \"0s\"")), ["no-standby-to-spare"]);
    let more = "[cluster.orders.node.first-b]\nsite = \"first\"\ncommands = { stop = \"stop\" }\n";
    let more = format!("{}{more}{}", cluster("synchronous = 1"), more.replace("first-b", "first-c"));
    let with_site = text(SITES, PEERS, &more, "rpo = \"0s\"");
    assert_eq!(codes(&with_site), ["set-lost-with-site", "never-by-itself"]);
    assert_eq!(lost(&with_site).0, Outlook::Asks);
}

#[test]
fn a_node_that_nothing_can_stop_is_named() {
    let cluster = format!("[cluster.orders]\nsynchronous = 1\n{}", nodes(""));
    assert_eq!(codes(&text(SITES, PEERS, &cluster, "rpo = \"0s\"")), ["no-stop-command"]);
}

#[test]
fn data_is_never_shared_out() {
    let shared = text(SITES, PEERS, &cluster("synchronous = 1"), "rpo = \"0s\"\nstrategy = \"active-active\"");
    let findings = check(&fleet(&shared));
    let error = findings.iter().find(|finding| finding.code == "data-not-shared").expect("it is found");
    assert_eq!(error.severity, Level::Error);
}

#[test]
fn one_domain_never_suffices_for_data() {
    let text = text(SITES, PEERS, &cluster("synchronous = 1"), "rpo = \"0s\"\none-domain-suffices = true");
    let problems = read(&text).unwrap_err();
    assert!(problems.iter().any(|problem| problem.what.contains("one-domain-suffices")), "{problems:?}");
}
