//! A real host that asks a sample of its own decisions again.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

#[path = "support/stage.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the stage")]
mod stage;

use std::net::Ipv4Addr;

use serde_json::{Value, json};
use stage::*;

/// How often the host was answered like this when it asked again.
async fn rechecked(stage: &Stage, result: &str) -> u64 {
    let counter = format!("tidegate_decision_rechecks_total{{slot=\"failover/default\",result=\"{result}\"}} ");
    let mut lines = stage.client.lines("/metrics").await.unwrap();
    while let Some(line) = lines.next().await.unwrap() {
        if let Some(count) = line.strip_prefix(&counter) {
            return count.parse().unwrap();
        }
    }
    0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_asks_a_sample_of_its_decisions_again_and_is_answered_the_same() {
    let (left, _left) = service(Ipv4Addr::new(127, 0, 0, 1)).await;
    let (right, _right) = service(Ipv4Addr::new(127, 0, 0, 2)).await;
    let dns = nameserver().await;
    let stage = Stage::new(|directory| fleet(directory, left, right, dns.local_addr()));
    let host = stage.start().await;
    // Each change of a pause has the policy asked anew: a sample that came while it was busy is not the last.
    let again = || async {
        let pause = json!({ "command": "pause", "service": "shop", "reason": "to stir" });
        let _: Value = stage.client.post("/v1/orders", &pause).await.unwrap();
        let resume = json!({ "command": "resume", "service": "shop" });
        let _: Value = stage.client.post("/v1/orders", &resume).await.unwrap();
        rechecked(&stage, "same").await > 0
    };
    until("a decision was asked about again", again).await;
    assert_eq!(rechecked(&stage, "different").await, 0);
    host.stop().await;
}
