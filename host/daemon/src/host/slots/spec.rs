//! From the fleet file's words about a slot to what the engine stages.
//!
//! Runs nothing: it finds the component's bytes, and reads grants and limits in full.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use serde_json::Value;
use tidegate_engine::grants::{Directory, Grants};
use tidegate_engine::{Engine, RevisionSpec, inspect};
use tidegate_kernel::contract::Fact;
use tidegate_kernel::fleet::{Fleet, Place, Service, Slot, VantageId};

use crate::agents::plan;

/// What a slot is to run, with its bytes: equal ones need no new revision.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    /// As the fleet file has it, or as somebody has loaded it.
    pub(crate) slot: Slot,
    pub(crate) declared: Vec<Fact>,
    /// The slot's, with room for what the host itself looks at.
    pub(crate) limits: Value,
    pub(crate) digest: String,
    pub(crate) bytes: Bytes,
}

impl Wanted {
    /// Reads the component of a slot and holds it against its digest. `directory` is where `file:` begins.
    pub(crate) fn read(
        engine: &Engine,
        fleet: &Fleet,
        name: &str,
        slot: &Slot,
        directory: &Path,
    ) -> anyhow::Result<Self> {
        let bytes = component(engine, &slot.plugin, directory).with_context(|| format!("slot {name}"))?;
        Self::of_bytes(fleet, name, slot.clone(), bytes)
    }

    /// The same with bytes that somebody brought.
    pub(crate) fn of_bytes(fleet: &Fleet, name: &str, slot: Slot, bytes: Bytes) -> anyhow::Result<Self> {
        let digest = inspect::digest(&bytes);
        if let Some(pinned) = &slot.digest {
            ensure!(
                *pinned == digest,
                "slot {name}: the fleet file wants a component with the digest {pinned}, and {} has {digest}\n  unchanged: the slot \
                 keeps what it had\n  next: find out who changed the file; if the change is wanted, write the new digest into \
                 [slot.\"{name}\"]",
                slot.plugin
            );
        }
        let limits = limits(fleet, name, &slot);
        Ok(Wanted { declared: declared(fleet, name), limits, slot, digest, bytes })
    }

    /// The same code with the same settings and limits, wherever each of them came from.
    pub(crate) fn runs_as(&self, other: &Wanted) -> bool {
        (&self.digest, &self.slot.settings, &self.limits) == (&other.digest, &other.slot.settings, &other.limits)
    }

    /// As the engine stages it.
    pub(crate) fn spec(&self, name: &str) -> anyhow::Result<RevisionSpec> {
        Ok(RevisionSpec {
            slot: name.to_owned(),
            source: self.slot.plugin.clone(),
            bytes: self.bytes.to_vec(),
            settings: settings(&self.slot),
            grants: grants(&self.slot.grants).with_context(|| format!("slot {name}: grants"))?,
            limits: serde_json::from_value(self.limits.clone()).with_context(|| format!("slot {name}: limits"))?,
            declared: self.declared.clone(),
            cases: Vec::new(),
        })
    }
}

/// Where the host looks itself, a probe's slot is made large enough for every target to be a black hole.
fn limits(fleet: &Fleet, name: &str, slot: &Slot) -> Value {
    let own = fleet.vantages.iter().position(|vantage| vantage.token.is_none());
    match own {
        Some(at) if name.starts_with("probe/") => {
            plan::probe_limits(name, &slot.limits, &plan::targets(fleet, VantageId(at as u16)))
        }
        _ => slot.limits.clone(),
    }
}

/// Puts `named` limits in the place of those that the slot has.
pub(crate) fn replace_limits(name: &str, slot: &mut Slot, named: Value) -> anyhow::Result<()> {
    let Value::Object(named) = named else { bail!("slot {name}: limits: {named} is no JSON object") };
    let mut limits = slot.limits.as_object().cloned().unwrap_or_default();
    limits.extend(named);
    slot.limits = limits.into();
    Ok(())
}

/// What a slot without settings says.
fn settings(slot: &Slot) -> Value {
    if slot.settings.is_null() { serde_json::json!({}) } else { slot.settings.clone() }
}

/// `tcp://…` and its like, `secret:NAME`, `command:NAME`, `directory:NAME=PATH` (or `directory:PATH`, then the plugin knows it
/// by its path), for reading only.
pub fn grants(words: &[String]) -> anyhow::Result<Grants> {
    let mut grants = Grants::default();
    for word in words {
        match word.split_once(':') {
            Some(("secret", name)) => drop(grants.secrets.insert(name.to_owned())),
            Some(("command", name)) => drop(grants.commands.insert(name.to_owned())),
            Some(("directory", rest)) => {
                let (name, path) = rest.split_once('=').unwrap_or((rest, rest));
                let directory = Directory { path: PathBuf::from(path), writable: false };
                grants.directories.insert(name.to_owned(), directory);
            }
            _ => grants.connect.push(word.parse().map_err(|why: String| anyhow::anyhow!(why))?),
        }
    }
    Ok(grants)
}

/// The secrets that a slot's grants name.
pub(crate) fn granted_secrets(slot: &Slot) -> impl Iterator<Item = &str> {
    slot.grants.iter().filter_map(|grant| grant.strip_prefix("secret:"))
}

/// The bytes of `builtin:NAME` or `file:PATH`.
pub(crate) fn component(engine: &Engine, plugin: &str, directory: &Path) -> anyhow::Result<Bytes> {
    match plugin.split_once(':') {
        Some(("builtin", name)) => match tidegate_plugins::find(name) {
            Some(builtin) => Ok(Bytes::from_static(builtin.bytes)),
            None => bail!("no plugin {name} comes with this host; those that do: {}", builtins()),
        },
        Some(("file", path)) => Ok(engine.read(&directory.join(path))?.into()),
        _ => bail!("`{plugin}` is neither builtin:NAME nor file:PATH"),
    }
}

fn builtins() -> String {
    tidegate_plugins::all().iter().map(|builtin| builtin.name).collect::<Vec<_>>().join(", ")
}

/// What the fleet file declares for the slot: routes, clusters, actions and channels.
fn declared(fleet: &Fleet, slot: &str) -> Vec<Fact> {
    let routes = fleet.services.iter().filter_map(|service| Some((service, service.route.as_ref()?)));
    let routes = routes.filter(|(_, route)| route.slot == slot);
    let routes = routes.map(|(service, route)| (&route.name, declared_route(fleet, service, &route.declared)));
    let actions = fleet.actions.iter().filter(|(_, action)| action.slot == slot);
    let actions = actions.map(|(name, action)| (name, action.declared.clone()));
    let channels = fleet.channels.iter().filter(|(_, channel)| channel.slot == slot);
    let channels = channels.map(|(name, channel)| (name, channel.declared.clone()));
    let clusters = fleet.clusters.iter().filter(|cluster| cluster.slot == slot);
    let clusters = clusters.map(|cluster| (&cluster.name, cluster.declared.clone()));
    let all = routes.chain(actions).chain(channels).chain(clusters);
    all.map(|(name, declared)| Fact { key: name.clone(), value: declared }).collect()
}

/// The operator's own words about a name, and where it can lead: so that the provider knows which target is which site's.
fn declared_route(fleet: &Fleet, service: &Service, words: &str) -> String {
    let mut declared: serde_json::Value = serde_json::from_str(words).unwrap_or_default();
    let endpoint =
        |place: &Place| serde_json::json!({ "site": fleet.sites[place.site.at()].name, "target": place.endpoint });
    declared["endpoints"] = service.places.iter().map(endpoint).collect();
    declared.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_each_kind_of_grant_and_names_what_is_none() {
        let words = [
            "tcp://10.0.0.1:5432",
            "https://*.example.com",
            "secret:api",
            "command:restart",
            "directory:zone=/srv/zone",
        ];
        let granted = grants(&words.map(str::to_owned)).unwrap();
        assert_eq!(granted.connect.len(), 2);
        assert_eq!(granted.secrets.iter().collect::<Vec<_>>(), ["api"]);
        assert_eq!(granted.commands.iter().collect::<Vec<_>>(), ["restart"]);
        assert_eq!(granted.directories["zone"], Directory { path: "/srv/zone".into(), writable: false });
        let error = grants(&["gopher://hole".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("gopher"), "{error}");
    }
}
