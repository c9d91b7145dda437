//! One held node: seen, started, ended and barred, as its rule says.

use std::path::Path;

use anyhow::{Context, Result};
use tidegate_kernel::contract::Millis;

use super::held::{Do, Rule, Seen, may_start};
use super::line::{self, Led};
use super::namespace::Namespace;
use super::{Hold, since_boot};
use crate::node::programs::Programs;
use crate::node::start::Role;
use crate::node::{bar, owner, processes, settings, start};

/// Between two looks whether somebody else has started the server.
const LOOK_FOR_OTHERS: Millis = 250;

/// A held node.
pub(super) struct Node {
    hold: Hold,
    bin: Option<std::path::PathBuf>,
    rule: Rule,
    namespace: Option<Namespace>,
    others: bool,
    look_from: Millis,
    fencing: bool,
    why: Option<String>,
}

impl Node {
    pub(super) fn new(hold: Hold, bin: Option<std::path::PathBuf>) -> Node {
        let rule = Rule::default();
        Node { hold, bin, rule, namespace: None, others: false, look_from: 0, fencing: false, why: None }
    }

    /// Whether its lease may end soon, so that it has to be looked at often.
    pub(super) fn is_watched(&self) -> bool {
        self.fencing || (self.rule.deadline().is_some() && self.runs())
    }

    /// Kills the server if its lease is over, before anything else is done for any node.
    pub(super) fn check_lease(&mut self, led: Option<&Led>) {
        let seen = self.see();
        if !self.fencing && self.rule.decide(since_boot(), &self.hold.node, seen, led) == Do::Fence {
            self.kill_all();
            self.fencing = true;
        }
    }

    /// Does what the rule says, as far as `may_begin`.
    pub(super) fn turn(&mut self, led: Option<&Led>, may_begin: bool) {
        if self.fencing {
            return self.fence();
        }
        let seen = self.see();
        let done = match self.rule.decide(since_boot(), &self.hold.node, seen, led) {
            Do::StartStandby if may_begin => self.start(),
            Do::StartPrimary if may_begin => bar::lift(&self.hold.data).and_then(|()| self.start()),
            Do::Bar => bar::put(&self.hold.data),
            _ => return,
        };
        if let Err(error) = done {
            self.rule.started(since_boot());
            self.note(format!("{error:#}"));
        }
    }

    /// It is stopped by somebody who has barred it, and shall not be started again.
    pub(super) fn rest(&mut self) {
        self.rule.rest();
        self.note("stopped by `tidegate node`".into());
    }

    /// Somebody asks for it to be started; the answer is why it is not.
    pub(super) fn ask_to_start(&mut self, role: Role, led: Option<&Led>) -> Result<(), String> {
        if self.fencing {
            return Err("it is being ended, because its lease is over".into());
        }
        if role == Role::Primary {
            let named = led.filter(|led| led.primary.as_ref() == Some(&self.hold.node));
            let named = named.filter(|led| may_start(since_boot(), led)).ok_or_else(|| {
                let Hold { cluster, node, .. } = &self.hold;
                format!("the host has not said that {node} is the primary of {cluster}, or it has no lease")
            })?;
            tracing::info!(node = self.name(), epoch = named.epoch, "is started as the primary");
            bar::lift(&self.hold.data).map_err(|error| format!("{error:#}"))?;
        }
        self.rule.wake();
        Ok(())
    }

    /// Has the server end in order; true once nothing of it runs below this enforcer.
    pub(super) fn end(&mut self, at_once: bool) -> bool {
        match &mut self.namespace {
            Some(namespace) if at_once => namespace.kill(),
            Some(namespace) => namespace.ask_to_end(),
            None => {}
        }
        !self.see().ours
    }

    /// As the agent is told.
    pub(super) fn told(&self, tried: &Result<(), String>) -> line::Held {
        let barred = bar::is_put(&self.hold.data);
        let others = self.others.then(|| "its server was not started by the enforcer".to_owned());
        line::Held {
            cluster: self.hold.cluster.clone(),
            node: self.hold.node.clone(),
            armed: tried.is_ok() && !self.others,
            role: if barred { "standby" } else { "primary" }.into(),
            running: self.runs(),
            barred,
            killed: self.fencing,
            why: tried.clone().err().or(others).or_else(|| self.why.clone()),
        }
    }

    fn runs(&self) -> bool {
        self.namespace.is_some() || self.others
    }

    fn see(&mut self) -> Seen {
        if self.namespace.as_mut().is_some_and(Namespace::has_ended) {
            self.namespace = None;
            tracing::warn!(node = self.name(), "its server has ended");
        }
        let now = since_boot();
        if self.namespace.is_some() {
            self.others = false;
        } else if self.fencing || now >= self.look_from {
            // What cannot be told counts as running: it is neither started again nor taken for ended.
            self.others = processes::of(&self.hold.data).map_or(true, |found| !found.is_empty());
            self.look_from = now + LOOK_FOR_OTHERS;
        }
        Seen { ours: self.namespace.is_some(), others: self.others, barred: bar::is_put(&self.hold.data) }
    }

    fn start(&mut self) -> Result<()> {
        let data = &self.hold.data;
        // Whatever was seen some time ago: two servers on one directory must not be.
        self.others = !processes::of(data)?.is_empty();
        if self.others {
            return Ok(());
        }
        self.rule.started(since_boot());
        // A killed server's file says that it is ready: whoever waits for this one would believe it.
        let _ = std::fs::remove_file(data.join("postmaster.pid"));
        let programs = Programs::of(data, self.bin.as_deref())?;
        let mut arguments = owner::arguments(data, &data.join(start::LOG), &programs.path("postgres"));
        arguments.extend(["-D".into(), data.into()]);
        arguments.extend(start::arguments(settings::usual_place(data).as_deref()).map(Into::into));
        let namespace = Namespace::start(Path::new("/proc/self/exe"), &arguments, Path::new("/"))
            .with_context(|| format!("start the server in {}", data.display()))?;
        tracing::info!(node = self.name(), barred = bar::is_put(data), init = namespace.pid(), "its server is started");
        (self.namespace, self.why) = (Some(namespace), None);
        Ok(())
    }

    fn kill_all(&mut self) {
        if let Some(namespace) = &mut self.namespace {
            namespace.kill();
        }
        for process in processes::of(&self.hold.data).unwrap_or_default() {
            let _ = processes::signal(&self.hold.data, &process, rustix::process::Signal::KILL);
        }
    }

    /// Goes on until nothing of it is left and the bar is put.
    fn fence(&mut self) {
        self.kill_all();
        let barred = bar::put(&self.hold.data);
        let seen = self.see();
        match barred {
            Err(error) => self.note(format!("its lease is over and its server was killed, but: {error:#}")),
            Ok(()) if !seen.ours && !seen.others => {
                self.fencing = false;
                self.rule.lease_was_over();
                self.note("its lease was over: its server was killed, and it is barred until it has another".into());
            }
            Ok(()) => {}
        }
    }

    fn note(&mut self, why: String) {
        if self.why.as_ref() != Some(&why) {
            tracing::warn!(node = self.name(), why, "a held node");
            self.why = Some(why);
        }
    }

    fn name(&self) -> String {
        format!("{}/{}", self.hold.cluster, self.hold.node)
    }

    pub(super) fn cluster(&self) -> &str {
        &self.hold.cluster
    }
}
