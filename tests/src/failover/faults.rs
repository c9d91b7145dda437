//! What happens to the primary's site, and what is done afterwards to bring it back.
//!
//! Knows a stage and nothing of what is measured.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::stage::{NODES, SERVICE, Stage};
use super::tree;

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Every process of the site dies: database, agent and enforcer.
    Kill,
    /// The database dies; its site's agent lives.
    PgKill,
    /// Every process of the site hangs, and goes on much later.
    Hang,
    /// Nothing gets to the site or away from it. Everything there lives, and its clients with it.
    Cut,
    /// The site's agent dies.
    AgentKill,
    /// The site's enforcer dies, and with it its database.
    EnforcerKill,
    /// The host dies.
    HostKill,
    /// A person moves the primary.
    Switchover,
    /// Every process of a standby's site dies.
    StandbyKill,
    /// The agent of a standby's site hangs for longer than its word counts.
    VantageCut,
    /// The agent of the primary's site hangs for 3 s. An asynchronous primary would lose its lease by that.
    AgentPause,
}

impl Fault {
    /// What is measured, in the order in which it is told.
    pub const ALL: [Fault; 8] = [
        Fault::Kill,
        Fault::PgKill,
        Fault::Hang,
        Fault::Cut,
        Fault::AgentKill,
        Fault::EnforcerKill,
        Fault::HostKill,
        Fault::Switchover,
    ];

    /// On the command line and in figures.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Kill => "kill",
            Fault::PgKill => "pgkill",
            Fault::Hang => "hang",
            Fault::Cut => "cut",
            Fault::AgentKill => "agentkill",
            Fault::EnforcerKill => "enforcerkill",
            Fault::HostKill => "hostkill",
            Fault::Switchover => "switchover",
            Fault::StandbyKill => "standbykill",
            Fault::VantageCut => "vantagecut",
            Fault::AgentPause => "agentpause",
        }
    }

    /// Another node leads afterwards. A database that died alone may be back before.
    pub fn moves(self) -> bool {
        matches!(self, Fault::Kill | Fault::Hang | Fault::Cut | Fault::EnforcerKill | Fault::Switchover)
    }

    /// How long it is left alone before the site is brought back.
    pub fn lasts(self) -> Duration {
        match self {
            Fault::Kill | Fault::EnforcerKill | Fault::Hang | Fault::Cut => Duration::from_secs(8),
            Fault::HostKill | Fault::StandbyKill | Fault::VantageCut => Duration::from_secs(5),
            Fault::AgentPause => Duration::from_secs(3),
            Fault::PgKill | Fault::AgentKill | Fault::Switchover => Duration::from_secs(2),
        }
    }

    /// Makes it happen to the site `at`.
    pub fn strike(self, stage: &mut Stage, at: usize) -> Result<()> {
        match self {
            Fault::Kill => tree::signal(&stage.site(at), Signal::SIGKILL),
            Fault::PgKill => tree::signal(&stage.database(at)?, Signal::SIGKILL),
            Fault::Hang => tree::signal(&stage.site(at), Signal::SIGSTOP),
            Fault::Cut => stage.cut(at)?,
            Fault::AgentKill => tree::signal(&stage.agent(at), Signal::SIGKILL),
            Fault::EnforcerKill => tree::signal(&stage.site(at)[..1], Signal::SIGKILL),
            Fault::HostKill => stage.kill_host()?,
            Fault::StandbyKill => tree::signal(&stage.site(standby(at)), Signal::SIGKILL),
            Fault::VantageCut => tree::signal(&stage.agent(standby(at)), Signal::SIGSTOP),
            Fault::AgentPause => tree::signal(&stage.agent(at), Signal::SIGSTOP),
            Fault::Switchover => {
                let order = ["switchover", SERVICE, "--yes", "--json"];
                stage.ask(&order).context("order the switchover").map(drop)?;
            }
        }
        Ok(())
    }

    /// Brings back what it took.
    pub fn heal(self, stage: &mut Stage, at: usize) -> Result<()> {
        match self {
            Fault::Kill | Fault::EnforcerKill => stage.restart_agent(at),
            Fault::StandbyKill => stage.restart_agent(standby(at)),
            Fault::Hang => go_on(&stage.site(at)),
            Fault::Cut => stage.postgres.network.join(),
            Fault::VantageCut => go_on(&stage.agent(standby(at))),
            Fault::AgentPause => go_on(&stage.agent(at)),
            Fault::HostKill => stage.start_host(),
            Fault::PgKill | Fault::AgentKill | Fault::Switchover => Ok(()),
        }
    }
}

/// One of those that follow the primary.
fn standby(primary: usize) -> usize {
    (primary + 1) % NODES.len()
}

fn go_on(processes: &[Pid]) -> Result<()> {
    tree::signal(processes, Signal::SIGCONT);
    Ok(())
}
