//! The agent's own probe slots in an engine of its own: the revisions that the plan names, replaced while looks go on.
//!
//! Knows nothing of targets, nor where the plan and the code come from.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use bytes::Bytes;
use tidegate_engine::grants::BoxFuture;
use tidegate_engine::{Engine, EngineConfig, Grants, Nothing, Outside, ProviderSlot, RevisionSpec, SecretSource};
use tidegate_kernel::contract::Failure;

use super::{Fitting, Outfit};
use crate::agents::protocol::SlotPlan;
use crate::prober::{Looker, Looking};

/// Probe slots by name.
pub(super) struct Slots {
    engine: Engine,
    secrets: Arc<Secrets>,
    held: ArcSwap<HashMap<String, Held>>,
}

/// One slot, and the plan that it follows.
#[derive(Clone)]
struct Held {
    plan: SlotPlan,
    slot: Arc<ProviderSlot>,
}

impl Slots {
    /// Without any slot. Compiled code is kept in `state`, so that a restart is quick; `trust` are authorities of the
    /// operator's own, for the probes' TLS.
    pub(super) async fn start(state: Option<&Path>, trust: Option<&Path>) -> Result<Slots> {
        let secrets = Arc::new(Secrets::default());
        let config = EngineConfig {
            // It asks no policies; the engine has at least one thread for them.
            policy_workers: 1,
            cache: state.map(|state| state.join("compiled")),
            outside: Outside { secrets: secrets.clone(), commands: Arc::new(Nothing) },
            extra_roots: crate::tls::trusted(trust)?,
            ..EngineConfig::default()
        };
        let engine = Engine::start(config).await.context("start the engine")?;
        Ok(Slots { engine, secrets, held: ArcSwap::default() })
    }

    /// The slot as the plan wants it; as it is, if it follows that plan already.
    async fn follow(&self, name: &str, plan: SlotPlan, held: Option<Held>, code: &Bytes) -> Result<Held> {
        let held = match held {
            Some(held) if held.plan == plan => return Ok(held),
            held => held,
        };
        let staged = self.engine.stage(spec(name, &plan, code)?).await?;
        let slot = match held {
            Some(held) => {
                held.slot.swap(staged).await?;
                held.slot
            }
            None => Arc::new(ProviderSlot::install(staged)?),
        };
        Ok(Held { plan, slot })
    }
}

impl Outfit for Slots {
    fn fit(&self, slots: BTreeMap<String, SlotPlan>, components: HashMap<String, Bytes>) -> Fitting<'_> {
        Box::pin(async move {
            self.secrets.replace(&slots);
            let before = self.held.load_full();
            let (mut after, mut problems) = (HashMap::new(), Vec::new());
            for (name, plan) in slots {
                let held = before.get(&name).cloned();
                let code = components.get(&plan.digest).cloned().unwrap_or_default();
                match self.follow(&name, plan, held.clone(), &code).await {
                    Ok(held) => drop(after.insert(name, held)),
                    Err(error) => {
                        problems.push(format!("slot {name}: {error:#}"));
                        after.extend(held.map(|held| (name, held)));
                    }
                }
            }
            self.held.store(Arc::new(after));
            problems
        })
    }
}

impl Looker for Slots {
    fn look<'a>(&'a self, slot: &'a str, bulkhead: &'a str, target: &'a str, timeout: Duration) -> Looking<'a> {
        Box::pin(async move {
            let held = self.held.load().get(slot).map(|held| held.slot.clone());
            let slot = held.ok_or_else(|| Failure::NotFound(format!("slot {slot} could not be set up here")))?;
            slot.check(bulkhead, target, timeout.as_millis() as u64).await
        })
    }
}

fn spec(name: &str, plan: &SlotPlan, code: &Bytes) -> Result<RevisionSpec> {
    Ok(RevisionSpec {
        slot: name.to_owned(),
        source: plan.digest.clone(),
        bytes: code.to_vec(),
        settings: plan.settings.clone(),
        grants: grants(&plan.grants)?,
        limits: serde_json::from_value(plan.limits.clone()).context("limits")?,
        declared: plan.declared.clone(),
        cases: Vec::new(),
    })
}

/// Connections and secrets: a probe has no other imports.
fn grants(words: &[String]) -> Result<Grants> {
    let mut grants = Grants::default();
    for word in words {
        match word.split_once(':') {
            Some(("secret", name)) => drop(grants.secrets.insert(name.to_owned())),
            Some(("command" | "directory", _)) => tracing::warn!(grant = word, "a probe can use no such grant"),
            _ => grants.connect.push(word.parse().map_err(anyhow::Error::msg)?),
        }
    }
    Ok(grants)
}

/// What the plan brought along; the engine's gate lets each slot see only those of its grants.
#[derive(Default)]
struct Secrets(RwLock<BTreeMap<String, Vec<u8>>>);

impl Secrets {
    fn replace(&self, slots: &BTreeMap<String, SlotPlan>) {
        let all = slots.values().flat_map(|slot| slot.secrets.clone()).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = all;
    }
}

impl SecretSource for Secrets {
    fn get<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<u8>, Failure>> {
        let secret = self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        Box::pin(async move { secret.ok_or_else(|| Failure::NotFound(format!("secret {name}"))) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidegate_kernel::contract::{Finding, Outcome};

    use super::*;

    fn plan(digest: &str, grants: &[&str]) -> BTreeMap<String, SlotPlan> {
        let plan = SlotPlan {
            digest: digest.into(),
            revision: 1,
            settings: json!({}),
            grants: grants.iter().map(|grant| (*grant).to_owned()).collect(),
            limits: json!({}),
            declared: Vec::new(),
            secrets: BTreeMap::new(),
        };
        BTreeMap::from([("probe/tcp".to_owned(), plan)])
    }

    fn code() -> HashMap<String, Bytes> {
        let built_in = tidegate_plugins::find("probe-tcp").unwrap().bytes;
        [("good".to_owned(), Bytes::from_static(built_in)), ("bad".to_owned(), Bytes::from_static(b"no component"))]
            .into()
    }

    async fn look(slots: &Slots, address: &str) -> Result<Finding, Failure> {
        let target = json!({ "address": address }).to_string();
        slots.look("probe/tcp", "west", &target, Duration::from_secs(5)).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn looks_by_the_plan_and_keeps_what_worked_when_a_plan_does_not() {
        let slots = Slots::start(None, None).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        assert!(matches!(look(&slots, &address).await, Err(Failure::NotFound(_))), "no slot yet");

        assert_eq!(slots.fit(plan("good", &["tcp://127.0.0.0/8:*"]), code()).await, Vec::<String>::new());
        assert_eq!(look(&slots, &address).await.unwrap().outcome, Outcome::Ok);

        let problems = slots.fit(plan("bad", &["tcp://127.0.0.0/8:*"]), code()).await;
        assert!(problems.len() == 1 && problems[0].contains("probe/tcp"), "{problems:?}");
        assert_eq!(look(&slots, &address).await.unwrap().outcome, Outcome::Ok, "the revision before still looks");

        slots.fit(plan("good", &[]), code()).await;
        assert!(!look(&slots, &address).await.is_ok_and(|finding| finding.outcome.is_good()), "nothing is granted now");

        slots.fit(BTreeMap::new(), code()).await;
        assert!(matches!(look(&slots, &address).await, Err(Failure::NotFound(_))), "the slot has gone");
    }
}
