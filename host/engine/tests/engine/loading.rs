//! What gets in: only a component of the world that the slot takes, and everything else is refused by name.

use crate::support::{connect, decide, engine, policy, policy_slot, probe, refused};
use serde_json::json;
use std::{io::Write as _, os::unix::fs::PermissionsExt as _};
use tidegate_engine::{Engine, EngineConfig, Grants, RevisionSpec};
use tidegate_test_guests as guests;

fn with(bytes: Vec<u8>) -> RevisionSpec {
    RevisionSpec { bytes, ..policy("nothing") }
}

/// The same component under another name of one of its imports or exports, of the same length.
fn renamed(from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = guests::hostile_policy().to_vec();
    let mut found = false;
    for at in 0..bytes.len() - from.len() {
        if bytes[at..].starts_with(from.as_bytes()) {
            bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
            found = true;
        }
    }
    assert!(found, "{from}");
    bytes
}

#[tokio::test]
async fn what_is_no_plugin_of_this_slot_is_refused_by_name() {
    let engine = engine().await;
    let module = b"\0asm\x01\0\0\0".to_vec();
    let empty = b"\0asm\x0d\0\x01\0".to_vec();
    let whole = guests::hostile_policy();
    let cases = [
        ("not-wasm", "does not begin with", with(b"#!/bin/sh\n".to_vec())),
        ("not-wasm", "does not begin with", with(Vec::new())),
        ("core-module", "component", with(module)),
        ("damaged", "cut off", with(whole[..whole.len() / 2].to_vec())),
        ("damaged", "cut off", with(whole[..6].to_vec())),
        ("no-world", "nothing of the contract", with(empty)),
        ("too-large", "more than", with(vec![0; (32 << 20) + 1])),
        ("wrong-world", "probe-provider", with(guests::hostile_provider().to_vec())),
        ("no-slot", "is no slot", RevisionSpec { slot: "failover".into(), ..policy("nothing") }),
        ("contract-version", "0.2.0", with(renamed("tidegate:dr/log@0.1.0", "tidegate:dr/log@0.2.0"))),
        ("unknown-import", "acme:things/io", with(renamed("wasi:cli/stderr@0.2", "acme:things/io1@0.2"))),
        ("unknown-import", "dns-", with(renamed("tidegate:dr/health@0.1.0", "tidegate:dr/dns-ct@0.1.0"))),
        (
            "too-much-memory",
            "memory",
            RevisionSpec { limits: crate::support::limits(json!({"memory": "32KiB"})), ..policy("x") },
        ),
        ("settings", "refused on request", policy("refuse-me")),
        ("settings", "refused on request", RevisionSpec { settings: json!("refuse-me"), ..probe(Grants::default()) }),
        ("self-test", "configure", RevisionSpec { settings: json!("crash-in-configure"), ..probe(Grants::default()) }),
    ];
    for (code, text, spec) in cases {
        let refusal = refused(&engine, spec).await;
        assert_eq!(refusal.code, code, "{refusal}");
        assert!(refusal.to_string().contains(text), "{code}: expected “{text}” in: {refusal}");
    }
}

#[tokio::test]
async fn a_gigabyte_is_refused_before_it_is_read() {
    let engine = engine().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    // The second could not be read at all: there is no memory for it.
    for size in [1_u64 << 30, 1 << 42] {
        file.as_file().set_len(size).unwrap();
        let refusal = engine.read(file.path()).unwrap_err();
        assert_eq!(refusal.code, "too-large");
        assert!(refusal.why.contains(&size.to_string()) && refusal.why.contains("32MiB"), "{refusal}");
    }
}

/// Not a whole plugin, but one as far as can be seen before it runs.
fn shell(exports: &[(&str, &[&str])], code: &str) -> Vec<u8> {
    let mut text = format!(
        "(component
          (core module $m {code} (func (export \"f\")))
          (core instance $i (instantiate $m))
          (func $f (canon lift (core func $i \"f\")))"
    );
    for (interface, functions) in exports {
        let functions: String = functions.iter().map(|name| format!("(export \"{name}\" (func $f))")).collect();
        let name = format!("tidegate:dr/{interface}@0.1.0");
        text += &format!("(instance ${interface} {functions}) (export \"{name}\" (instance ${interface}))");
    }
    wat::parse_str(text + ")").unwrap()
}

#[tokio::test]
async fn a_table_that_grows_without_end_or_is_too_large_from_the_start_is_stopped() {
    let engine = engine().await;
    let plugin: (&str, &[&str]) = ("plugin", &["describe", "check-settings"]);
    let a_policy = [plugin, ("failover-policy", &["decide"])];
    let a_probe = [plugin, ("provider", &["configure", "ready"]), ("probe", &["check"])];
    let growing = "(table 1 funcref)
        (func $grow (loop (drop (table.grow 0 (ref.null func) (i32.const 100))) (br 0)))
        (start $grow)";
    for (code, table) in [("self-test", growing), ("too-large-a-table", "(table 100000 funcref)")] {
        let policy = refused(&engine, with(shell(&a_policy, table))).await;
        let provider = RevisionSpec { bytes: shell(&a_probe, table), ..probe(Grants::default()) };
        for (refusal, limit) in [(policy, 10_000), (refused(&engine, provider).await, 20_000)] {
            assert_eq!(refusal.code, code, "{refusal}");
            assert!(refusal.why.contains(&format!("table-elements: {limit}")), "{code}: {refusal}");
        }
    }
    assert!(decide(&policy_slot(&engine, policy("nothing")).await).await.result.is_ok(), "others are undisturbed");
}

#[tokio::test]
async fn compiled_code_is_never_taken_from_outside() {
    let config = wasmtime::Config::new();
    let compiled = wasmtime::Engine::new(&config).unwrap().precompile_component(guests::hostile_policy()).unwrap();
    assert_eq!(refused(&engine().await, with(compiled)).await.code, "precompiled");
}

#[tokio::test]
async fn what_a_plugin_wants_and_does_not_get_is_known_before_it_is_missed() {
    let engine = engine().await;
    let staged = engine.stage(probe(connect(&["tcp://10.0.0.1:1"]))).await.unwrap();
    let missing: Vec<_> = staged.missing_grants().iter().map(|want| format!("{want:?}")).collect();
    assert!(missing.iter().any(|want| want.contains("own")), "{missing:?}");
    assert!(!missing.iter().any(|want| want.contains("tcp://")), "{missing:?}");
}

#[tokio::test]
async fn the_cache_is_private_and_what_does_not_verify_is_compiled_again() {
    let home = tempfile::tempdir().unwrap();
    let cache = home.path().join("cache");
    let start =
        || Engine::start(EngineConfig { policy_workers: 1, cache: Some(cache.clone()), ..EngineConfig::default() });
    decide(&policy_slot(&start().await.unwrap(), policy("nothing")).await).await.result.unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&cache), mode(&cache.join("key"))), (0o700, 0o600));
    let compiled = || {
        let mut entries: Vec<_> = std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.retain(|path| path.extension().is_some_and(|extension| extension == "compiled"));
        assert_eq!(entries.len(), 1);
        entries.remove(0)
    };
    let good = std::fs::read(compiled()).unwrap();
    // One bit of machine code, the authentication itself, and an entry that is cut off.
    for damage in [(good.len() / 2, good.len()), (3, good.len()), (usize::MAX, 10)] {
        let mut bad = good.clone();
        if let Some(byte) = bad.get_mut(damage.0) {
            *byte ^= 1;
        }
        bad.truncate(damage.1);
        std::fs::File::create(compiled()).unwrap().write_all(&bad).unwrap();
        decide(&policy_slot(&start().await.unwrap(), policy("nothing")).await).await.result.unwrap();
        assert_eq!(std::fs::read(compiled()).unwrap().len(), good.len(), "compiled again");
    }
    std::fs::set_permissions(&cache, std::fs::Permissions::from_mode(0o755)).unwrap();
    let refusal = start().await.unwrap_err();
    assert!(refusal.why.contains("open to others"), "{refusal}");
}
