//! Where the sites of a stage stand: all on this machine's loopback, or the first one apart, in a network namespace behind a router
//! that can stop forwarding without a word. That is how a site looks that is cut off: nothing is refused, nothing comes back.
//!
//! Knows addresses and namespaces (and `ip` of iproute2), and nothing of what stands there.

use std::fs::File;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use nix::sched::{CloneFlags, setns, unshare};
use tokio::runtime::{Builder, Runtime};

const LOOPBACK: &str = "127.0.0.1";
/// The first site, and the router's side towards it.
const SITE: &str = "10.77.1.1";
const TOWARDS_SITE: &str = "10.77.1.254";
/// Everybody else, and the router's side towards them.
const OTHERS: &str = "10.77.2.1";
const TOWARDS_OTHERS: &str = "10.77.2.254";
/// Every address of a network with a site apart, as `pg_hba.conf` says it.
pub const ALL: &str = "10.77.0.0/16";

/// By the position of a site: where it is, and how to be there.
pub struct Network {
    apart: Option<Apart>,
}

struct Apart {
    site: Namespace,
    router: Namespace,
    /// Its threads are at the site.
    clients: Option<Runtime>,
}

impl Network {
    /// Everything on loopback.
    pub fn loopback() -> Network {
        Network { apart: None }
    }

    /// The first site apart. This thread leaves the machine's network for one of its own, in which all other sites are and whatever
    /// the thread starts from now on; so call it on a thread that is the stage's alone, before anything has been started.
    pub fn apart() -> Result<Network> {
        unshare(CloneFlags::CLONE_NEWNET).context("leave the machine's network: needs root")?;
        let (site, router) = (Namespace::new()?, Namespace::new()?);
        ip(&["link", "set", "lo", "up"])?;
        ip(&["link", "add", "up0", "type", "veth", "peer", "name", "others", "netns", &router.path()])?;
        connect("up0", OTHERS)?;
        ip_route(&["add", "default", "via", TOWARDS_OTHERS])?;
        router.within(|| {
            connect("others", TOWARDS_OTHERS)?;
            ip(&["link", "add", "site", "type", "veth", "peer", "name", "up0", "netns", &site.path()])?;
            connect("site", TOWARDS_SITE)?;
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("have the router forward")
        })??;
        let clients = site.within(|| {
            ip(&["link", "set", "lo", "up"])?;
            connect("up0", SITE)?;
            ip_route(&["add", "default", "via", TOWARDS_SITE])?;
            let mut runtime = Builder::new_multi_thread();
            runtime.worker_threads(1).enable_all().build().context("a runtime at the site")
        })??;
        Ok(Network { apart: Some(Apart { site, router, clients: Some(clients) }) })
    }

    /// One site stands apart, so that not everything is on loopback.
    pub fn is_apart(&self) -> bool {
        self.apart.is_some()
    }

    /// Under which address a site is known to all.
    pub fn address(&self, at: usize) -> &'static str {
        match (&self.apart, at) {
            (None, _) => LOOPBACK,
            (Some(_), 0) => SITE,
            (Some(_), _) => OTHERS,
        }
    }

    /// Does something at a site: what is started by it is there.
    pub fn within<T: Send>(&self, at: usize, work: impl FnOnce() -> T + Send) -> Result<T> {
        match &self.apart {
            Some(apart) if at == 0 => apart.site.within(work),
            _ => Ok(work()),
        }
    }

    /// Where clients of a site run that stand beside it; none = with everybody else.
    pub fn clients(&self, at: usize) -> Option<&Runtime> {
        self.apart.as_ref().filter(|_| at == 0)?.clients.as_ref()
    }

    /// From now on nothing gets to the first site or away from it.
    pub fn cut(&self) -> Result<()> {
        self.route("add")
    }

    /// Undoes [`Network::cut`].
    pub fn join(&self) -> Result<()> {
        self.route("del")
    }

    fn route(&self, verb: &str) -> Result<()> {
        let apart = self.apart.as_ref().context("no site stands apart that could be cut off")?;
        let both = || [SITE, OTHERS].iter().try_for_each(|address| ip_route(&[verb, "blackhole", address]));
        apart.router.within(both)?
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // A stage is also dropped inside a runtime, which may not wait for another one.
        if let Some(clients) = self.apart.as_mut().and_then(|apart| apart.clients.take()) {
            clients.shutdown_background();
        }
    }
}

/// A network that lasts as long as this, or anything inside it.
struct Namespace(File);

impl Namespace {
    fn new() -> Result<Namespace> {
        let made = || {
            unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace: needs root")?;
            File::open("/proc/thread-self/ns/net").context("hold a network namespace")
        };
        on_a_thread(made)?.map(Namespace)
    }

    /// As `ip` takes it, as long as this process lives.
    fn path(&self) -> String {
        use std::os::fd::AsRawFd;
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        on_a_thread(|| {
            setns(&self.0, CloneFlags::CLONE_NEWNET).context("enter a network namespace")?;
            Ok(work())
        })?
    }
}

/// A namespace is a thread's; whoever it starts inherits it.
fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    thread::scope(|scope| scope.spawn(work).join()).map_err(|_| anyhow!("it panicked in its network"))
}

fn connect(device: &str, address: &str) -> Result<()> {
    ip(&["address", "add", &format!("{address}/24"), "dev", device])?;
    ip(&["link", "set", device, "up"])
}

fn ip_route(arguments: &[&str]) -> Result<()> {
    ip(&[&["route"], arguments].concat())
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).output();
    let output = output.context("start ip; where it is missing: apt-get install iproute2")?;
    ensure!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
