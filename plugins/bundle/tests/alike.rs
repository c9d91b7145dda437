//! All plugins are alike: each says in its `plugin.toml` what its component says, with an example that it accepts.

use std::path::PathBuf;

use serde::Deserialize;
use tidegate_sdk::{Declared, Fact, Packaged, Problem, Settings, Want, check_settings, manifest, parse};

/// `plugin.toml`, for people.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    name: String,
    world: String,
    summary: String,
    wants: Vec<String>,
    example: Example,
}

/// What an operator writes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    plugin: String,
    #[serde(default)]
    grants: Vec<String>,
    settings: Option<toml::Value>,
    target: Option<toml::Value>,
    #[serde(default)]
    declared: toml::Table,
}

#[test]
fn failover_quorum() {
    let example = check::<failover_quorum::FailoverQuorum>("failover-quorum", "failover-policy");
    assert!(example.grants.is_empty(), "a policy is granted nothing");
}

#[test]
fn probe_http() {
    let example = check::<probe_http::ProbeHttp>("probe-http", "probe");
    accepts::<probe_http::decide::Target>(&example.target.expect("an example of a target"));
}

#[test]
fn probe_tcp() {
    let example = check::<probe_tcp::ProbeTcp>("probe-tcp", "probe");
    accepts::<probe_tcp::decide::Target>(&example.target.expect("an example of a target"));
}

#[test]
fn dns_rfc2136() {
    let example = check::<dns_rfc2136::Rfc2136>("dns-rfc2136", "dns");
    declares::<dns_rfc2136::route::Declaration>(&example);
}

#[test]
fn replication_postgres() {
    let example = check::<replication_postgres::ReplicationPostgres>("replication-postgres", "replication");
    declares::<replication_postgres::settings::Declaration>(&example);
}

#[test]
fn action_http() {
    let example = check::<action_http::ActionHttp>("action-http", "action");
    declares::<action_http::decide::Action>(&example);
}

#[test]
fn action_command() {
    let example = check::<action_command::ActionCommand>("action-command", "action");
    declares::<action_command::decide::Action>(&example);
}

#[test]
fn notify_webhook() {
    let example = check::<notify_webhook::NotifyWebhook>("notify-webhook", "notify");
    declares::<notify_webhook::decide::Channel>(&example);
}

/// Compares the page with the manifest and with the component that was built.
fn check<T: Packaged>(name: &str, interface: &str) -> Example {
    let home = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    let text = std::fs::read_to_string(home.join("plugin.toml")).expect("every plugin has a plugin.toml");
    let page: Page = toml::from_str(&text).expect("plugin.toml has the keys that all have");
    let manifest = manifest::<T>();
    let wants: Vec<String> = manifest.wants.iter().map(granted_as).collect();
    assert_eq!((&page.name, &page.summary, &page.wants), (&manifest.name, &manifest.summary, &wants));
    assert_eq!(page.example.plugin, format!("builtin:{name}"));
    assert!(page.world.starts_with(interface.split('-').next().unwrap_or(interface)), "{}", page.world);
    assert!(home.join("README.md").exists(), "every plugin has a README");
    assert!(exports(name, interface), "the component does not export {interface}");
    let settings = page.example.settings.as_ref().map(json).unwrap_or_default();
    assert_eq!(check_settings::<T>(&settings), Ok(()), "the example's settings");
    page.example
}

/// A want in the words of a grant.
fn granted_as(want: &Want) -> String {
    match want {
        Want::Connect(pattern) => pattern.clone(),
        Want::Secret(name) => format!("secret:{name}"),
        Want::Directory(name) => format!("directory:{name}"),
        Want::Command(name) => format!("command:{name}"),
    }
}

/// An interface's full name is in a component only where it is imported or exported, and nobody imports these.
fn exports(name: &str, interface: &str) -> bool {
    let component = tidegate_plugins::find(name).expect("it is built in");
    let full = format!("tidegate:dr/{interface}@0.1.0");
    component.bytes.windows(full.len()).any(|part| part == full.as_bytes())
}

fn accepts<T: Settings>(value: &toml::Value) {
    let problems: Vec<Problem> = parse::<T>(&json(value)).err().unwrap_or_default();
    assert_eq!(problems, []);
}

fn declares<T: Settings>(example: &Example) {
    let facts = example.declared.iter().map(|(name, value)| Fact::new(name, json(value))).collect();
    let declared = Declared::new(facts).parse::<T>();
    assert_eq!(declared.map(|all| all.len()), Ok(example.declared.len()));
    assert!(!example.declared.is_empty(), "an example of what is declared");
}

fn json(value: &toml::Value) -> String {
    serde_json::to_string(value).expect("TOML fits in JSON")
}
