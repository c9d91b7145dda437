//! Looks at each declared cluster again and again, and tells the kernel what was seen and when the look began.
//!
//! One task for each cluster, so that one that hangs delays no other; a look that takes longer than the interval is followed by
//! the next at once. Draws no conclusion.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_kernel::Kernel;
use tidegate_kernel::contract::{Cluster, Failure, Millis};
use tidegate_kernel::event::Event;
use tidegate_kernel::fleet::{self, ClusterId};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::Host;

/// How often it is seen to whether other clusters are declared.
const DECLARED_EVERY: Duration = Duration::from_secs(1);

/// Runs as long as the host.
pub(super) async fn watch(host: Arc<Host>) {
    let mut watched: BTreeMap<String, (Millis, Watcher)> = BTreeMap::new();
    loop {
        let live = host.live();
        let declared = |name: &String| live.fleet.clusters.iter().find(|cluster| cluster.name == *name);
        watched.retain(|name, (interval, _)| declared(name).is_some_and(|cluster| cluster.interval == *interval));
        for cluster in &live.fleet.clusters {
            let watcher = || (cluster.interval, Watcher::start(host.clone(), cluster));
            watched.entry(cluster.name.clone()).or_insert_with(watcher);
        }
        tokio::time::sleep(DECLARED_EVERY).await;
    }
}

/// A cluster's task, which ends with this.
struct Watcher(JoinHandle<()>);

impl Watcher {
    fn start(host: Arc<Host>, cluster: &fleet::Cluster) -> Watcher {
        let (name, interval) = (cluster.name.clone(), Duration::from_millis(cluster.interval));
        Watcher(tokio::spawn(async move {
            let mut ticks = interval_at(Instant::now(), interval);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                if sample(&host, &name).await.is_none() {
                    return;
                }
            }
        }))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One look, told to the kernel; none = the kernel has stopped.
pub(super) async fn sample(host: &Host, name: &str) -> Option<()> {
    let begun = host.clock.mono();
    let result = topology(host, name).await;
    let name = name.to_owned();
    let told = move |kernel: &Kernel| {
        let at = kernel.fleet().clusters.iter().position(|cluster| cluster.name == name);
        at.map(|at| Event::Sampled { cluster: ClusterId(at as u16), begun, result }).into_iter().collect()
    };
    host.core().tell_as_known(told).await.ok()
}

/// A cluster as its provider sees it now.
pub(super) async fn topology(host: &Host, name: &str) -> Result<Cluster, Failure> {
    let live = host.live();
    let cluster = live.fleet.clusters.iter().find(|cluster| cluster.name == name);
    let cluster = cluster.ok_or_else(|| Failure::NotFound(format!("cluster {name}")))?;
    host.slots().topology(&cluster.slot, name).await
}
