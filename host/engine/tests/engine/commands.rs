//! Commands: a provider has run what it was granted, as it asked for it, and nothing else.

use crate::{
    databases::{call, spec},
    support::{engine_with, limits},
};
use serde_json::json;
use std::sync::{Arc, Mutex};
use tidegate_engine::{
    CommandRun, CommandRunner, Engine, EngineConfig, Grants, Outside, ProviderSlot, grants::BoxFuture,
};
use tidegate_kernel::contract::{Failure, Output};

/// Runs nothing, and remembers what it was asked to.
#[derive(Default)]
struct Runs(Mutex<Vec<CommandRun>>);

impl CommandRunner for Runs {
    fn run<'a>(&'a self, run: CommandRun) -> BoxFuture<'a, Result<Output, Failure>> {
        let number = {
            let mut runs = self.0.lock().unwrap();
            runs.push(run);
            runs.len()
        };
        Box::pin(async move { Ok(Output { status: -1, stdout: format!("run {number}").into(), stderr: b"!".into() }) })
    }
}

async fn slot(engine: &Engine, commands: &[&str]) -> ProviderSlot {
    let commands = commands.iter().map(|name| (*name).to_owned()).collect();
    let spec = spec(Grants { commands, ..Grants::default() }, limits(json!({})));
    ProviderSlot::install(engine.stage(spec).await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_command_runs_only_if_it_was_granted_and_with_the_key_that_was_given() {
    let runs = Arc::new(Runs::default());
    let outside = Outside { commands: runs.clone(), ..Outside::default() };
    let engine = engine_with(EngineConfig { outside, ..EngineConfig::default() }).await;
    let slot = slot(&engine, &["a-stop"]).await;
    for name in ["run:b-stop:key", "run:*:key", "run::key"] {
        let failure = slot.promote("orders", name, &call(5_000)).await.unwrap_err();
        assert!(matches!(failure, Failure::Denied(_)), "{name}: {failure}");
    }
    assert_eq!(slot.health().refused, 3);
    assert!(runs.0.lock().unwrap().is_empty(), "nothing was run");
    // Whether a repeated key runs twice is for who runs it, who has to see the key each time.
    for (node, said) in
        [("run:a-stop:k/stop", "-1 run 1 !"), ("run:a-stop:k/stop", "-1 run 2 !"), ("run:a-stop", "-1 run 3 !")]
    {
        assert_eq!(slot.promote("orders", node, &call(5_000)).await, Err(Failure::Rejected(said.into())), "{node}");
    }
    let run = |key: Option<&str>| CommandRun {
        slot: "replication/default".into(),
        site: "eu-west".into(),
        name: "a-stop".into(),
        arguments: vec![("mode".into(), "fast".into())],
        key: key.map(str::to_owned),
        timeout: 5_000,
    };
    assert_eq!(*runs.0.lock().unwrap(), [run(Some("k/stop")), run(Some("k/stop")), run(None)]);
}
