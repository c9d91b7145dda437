//! The enforcer's loop: what has happened, first of all whether a lease is over, then everything else.

use std::os::fd::AsFd;

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tidegate_kernel::contract::Millis;

use super::children::Agent;
use super::door::{Answer, Ask};
use super::entrance::Entrance;
use super::hold::Node;
use super::line::{Holds, Led, Told};
use super::{Options, since_boot, trial};

/// While a guarded primary runs, it is looked at this often, in milliseconds: so soon after a freeze is it ended.
const WATCH: u8 = 20;
/// Otherwise this often.
const LOOK_AROUND: u8 = 200;
/// For databases to end in order, and for the agent; then they are killed.
const END: Millis = 30_000;

/// Runs until SIGTERM or SIGINT: then the databases end in order, and last the agent.
pub fn run(options: Options) -> Result<()> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT] {
        signals.add(signal);
    }
    signals.thread_block().context("block signals")?;
    let heard = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC);
    let mut watch = Watch::start(options, heard.context("hear signals")?)?;
    while !watch.is_over() {
        watch.wait()?;
        watch.turn();
    }
    tracing::info!("the enforcer has stopped");
    Ok(())
}

struct Watch {
    signals: SignalFd,
    /// Whether the trial went well.
    tried: Result<(), String>,
    /// Without a trial that went well nothing is started here, so nobody may ask for it.
    nodes: Vec<(Node, Option<Entrance>)>,
    agent: Agent,
    told: Told,
    /// When it was told to stop.
    stopping: Option<Millis>,
    ended: bool,
}

impl Watch {
    fn start(options: Options, signals: SignalFd) -> Result<Watch> {
        let tried = trial::run().map_err(|error| format!("{error:#}"));
        match &tried {
            Ok(()) => tracing::info!("tried: what is started here ends with the enforcer"),
            Err(error) => tracing::error!(error, "a lease proves nothing here"),
        }
        let mut nodes = Vec::new();
        for mut hold in options.holds {
            let data = hold.data.canonicalize();
            hold.data = data.with_context(|| format!("look for the data directory {}", hold.data.display()))?;
            let entrance = tried.is_ok().then(|| Entrance::open(&hold.data)).transpose()?;
            nodes.push((Node::new(hold, options.bin.clone()), entrance));
        }
        let agent = Agent::new(options.agent);
        Ok(Watch { signals, tried, nodes, agent, told: Told::default(), stopping: None, ended: false })
    }

    fn is_over(&self) -> bool {
        self.ended
    }

    /// Until something happens. Timers stand still while the machine sleeps, so a guarded primary is looked at often.
    fn wait(&self) -> Result<()> {
        let mut looked = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        if let Some((stream, blocked)) = self.agent.stream() {
            let write = if blocked { PollFlags::POLLOUT } else { PollFlags::empty() };
            looked.push(PollFd::new(stream.as_fd(), PollFlags::POLLIN | write));
        }
        for entrance in self.nodes.iter().filter_map(|(_, entrance)| entrance.as_ref()) {
            looked.push(PollFd::new(entrance.listener().as_fd(), PollFlags::POLLIN));
            looked.extend(entrance.streams().map(|stream| PollFd::new(stream.as_fd(), PollFlags::POLLIN)));
        }
        let watched = self.stopping.is_some() || self.nodes.iter().any(|(node, _)| node.is_watched());
        let timeout = if watched { WATCH } else { LOOK_AROUND };
        match poll(&mut looked, PollTimeout::from(timeout)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error).context("wait for something to happen"),
        }
    }

    fn turn(&mut self) {
        self.hear_signals();
        if let Some(told) = self.agent.hear() {
            self.told = told;
        }
        for (node, _) in &mut self.nodes {
            node.check_lease(led(&self.told, node.cluster()));
        }
        // Before anything that has to wait for a disk: an agent that does not hear of it takes this enforcer for hung.
        self.tell();
        self.serve();
        for (node, _) in &mut self.nodes {
            node.turn(led(&self.told, node.cluster()), self.stopping.is_none() && self.tried.is_ok());
        }
        match self.stopping {
            None => self.agent.keep(),
            Some(since) => self.end(since_boot() > since + END),
        }
        self.tell();
    }

    fn tell(&mut self) {
        let holds = self.nodes.iter().map(|(node, _)| node.told(&self.tried)).collect();
        self.agent.tell(Holds { holds, told: self.told.clone() });
    }

    fn hear_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            let ends = [Signal::SIGTERM, Signal::SIGINT].iter().any(|end| signal.ssi_signo == *end as u32);
            if ends && self.stopping.is_none() {
                tracing::info!("told to stop: the databases end first");
                self.stopping = Some(since_boot());
            }
        }
    }

    fn serve(&mut self) {
        let told = &self.told;
        for (node, entrance) in &mut self.nodes {
            let Some(entrance) = entrance else { continue };
            entrance.serve(|ask| match ask {
                Ask::Rest => {
                    node.rest();
                    Answer::Done
                }
                Ask::Start(role) => match node.ask_to_start(role, led(told, node.cluster())) {
                    Ok(()) => Answer::Done,
                    Err(why) => Answer::Refused(why),
                },
            });
        }
    }

    /// The agent last: it renews the leases that the databases end by.
    fn end(&mut self, at_once: bool) {
        let databases = self.nodes.iter_mut().fold(true, |ended, (node, _)| node.end(at_once) && ended);
        self.ended = databases && self.agent.end(at_once);
        if !databases {
            self.agent.keep();
        }
    }
}

fn led<'a>(told: &'a Told, cluster: &str) -> Option<&'a Led> {
    told.clusters.iter().find(|led| led.cluster == cluster)
}
