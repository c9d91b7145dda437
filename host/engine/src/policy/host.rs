//! What a policy finds behind its imports: the frozen picture of its request, and its log.
//!
//! Nothing here waits, and nothing here can change the world. Every answer is recorded by what was asked.

use crate::{
    bindings::policies::tidegate::dr::{dns, health, log, replication, storage, types},
    limits::Limits,
    log::{Level, Log},
    meter::{Meter, NotForPolicies},
    question::{Answer, Question, UNKNOWN},
    request::Request,
    translate,
};
use serde::Serialize;
use tidegate_kernel::contract::Failure;
use wasmtime::component::{HasSelf, Linker, ResourceTable};

/// The state of one store, and so of one call.
pub(crate) struct PolicyHost {
    pub(crate) meter: Meter,
    pub(crate) log: Log,
    pub(crate) table: ResourceTable,
    /// None while the plugin only describes itself.
    pub(crate) request: Option<Request>,
    pub(crate) answers: Vec<Answer>,
    pub(crate) random: super::wasi::Random,
    log_bytes: u64,
}

impl PolicyHost {
    pub(crate) fn new(limits: &Limits, request: Option<Request>) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.resources as usize);
        PolicyHost {
            meter: Meter::new(*limits),
            log: Log::new(limits.log.0),
            table,
            request,
            answers: Vec::new(),
            random: super::wasi::Random::default(),
            log_bytes: limits.log.0,
        }
    }

    pub(crate) fn lines(&mut self) -> Vec<crate::log::Line> {
        self.log.take(self.log_bytes)
    }

    /// What a failover policy is asked. No other kind of request comes with a picture.
    fn question(&self) -> wasmtime::Result<Option<&Question>> {
        match &self.request {
            Some(Request::Failover(question)) => Ok(Some(question)),
            Some(_) => Ok(None),
            None => Err(wasmtime::Error::new(NotForPolicies("an observation outside of a decision".into()))),
        }
    }

    fn record(&mut self, capability: &str, arguments: &[&str], result: &impl Serialize) -> wasmtime::Result<()> {
        let same = |known: &Answer| known.capability == capability && known.arguments == arguments;
        if self.answers.iter().any(same) {
            return Ok(());
        }
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        self.answers.push(Answer {
            capability: capability.to_owned(),
            arguments,
            result: serde_json::to_value(result)?,
        });
        Ok(())
    }
}

/// The contract's imports of every policy world.
pub(crate) fn add_to_linker(linker: &mut Linker<PolicyHost>) -> wasmtime::Result<()> {
    log::add_to_linker::<_, HasSelf<PolicyHost>>(linker, |host| host)?;
    health::add_to_linker::<_, HasSelf<PolicyHost>>(linker, |host| host)?;
    replication::add_to_linker::<_, HasSelf<PolicyHost>>(linker, |host| host)?;
    dns::add_to_linker::<_, HasSelf<PolicyHost>>(linker, |host| host)?;
    storage::add_to_linker::<_, HasSelf<PolicyHost>>(linker, |host| host)
}

impl types::Host for PolicyHost {}

impl log::Host for PolicyHost {
    fn write(&mut self, level: log::Level, text: String) -> wasmtime::Result<()> {
        self.log.line(Level::from(level), text);
        Ok(())
    }
}

impl health::Host for PolicyHost {
    fn observations(&mut self, service: String, site: String) -> wasmtime::Result<Vec<health::Observation>> {
        let found = self.question()?.map(|question| question.observations(&service, &site)).unwrap_or_default();
        self.record("health.observations", &[&service, &site], &found)?;
        Ok(translate::list(found))
    }

    fn agreed(&mut self, service: String, site: String) -> wasmtime::Result<health::Consensus> {
        let found = self.question()?.map_or(UNKNOWN, |question| question.agreed(&service, &site));
        self.record("health.agreed", &[&service, &site], &found)?;
        Ok(found.into())
    }
}

impl replication::Host for PolicyHost {
    fn topology(&mut self, name: String) -> wasmtime::Result<Result<replication::Cluster, types::Failure>> {
        let found = self.question()?.map_or_else(|| Err(no("cluster", &name)), |question| question.topology(&name));
        self.record("replication.topology", &[&name], &found)?;
        Ok(found.map(Into::into).map_err(Into::into))
    }
}

impl dns::Host for PolicyHost {
    fn resolve(&mut self, name: String) -> wasmtime::Result<Result<dns::Route, types::Failure>> {
        let found = self.question()?.map_or_else(|| Err(no("route", &name)), |question| question.resolve(&name));
        self.record("dns.resolve", &[&name], &found)?;
        Ok(found.map(Into::into).map_err(Into::into))
    }
}

// No request carries objects to be found: what a policy is to weigh comes with it, whole.
impl storage::Host for PolicyHost {
    fn list_objects(
        &mut self,
        bucket: String,
        prefix: String,
        cursor: Option<String>,
        limit: u32,
    ) -> wasmtime::Result<Result<storage::Page, types::Failure>> {
        self.question()?;
        let failure = no("bucket", &bucket);
        let arguments = [&*bucket, &prefix, cursor.as_deref().unwrap_or_default(), &limit.to_string()];
        self.record("storage.list-objects", &arguments, &Err::<(), _>(&failure))?;
        Ok(Err(failure.into()))
    }

    fn stat(&mut self, bucket: String, key: String) -> wasmtime::Result<Result<storage::Object, types::Failure>> {
        self.question()?;
        let failure = no("bucket", &bucket);
        self.record("storage.stat", &[&bucket, &key], &Err::<(), _>(&failure))?;
        Ok(Err(failure.into()))
    }
}

fn no(what: &str, name: &str) -> Failure {
    Failure::NotFound(format!("{what} {name} is not in the picture"))
}
