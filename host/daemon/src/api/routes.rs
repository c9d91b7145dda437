//! From a request to the host's method that answers it, and the role that each one needs.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use serde_json::json;
use tidegate_kernel::Kernel;
use tidegate_kernel::event::{Command, RunId};

use super::answer::{Answer, Told, document, refused, text};
use super::people::{Caller, Role};
use super::{journal, plugins};
use crate::host::Host;

/// Orders and plans are short.
const ORDER_BYTES_MAX: usize = 64 << 10;

/// A component of this size takes minutes to compile; the engine's own limit may be lower.
const PLUGIN_BYTES_MAX: usize = 64 << 20;

/// A request, taken apart.
pub(super) struct Question {
    method: Method,
    path: Vec<String>,
    query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) caller: Caller,
}

/// Asked without a name: by watchdogs and by Prometheus on this machine.
pub(super) fn is_public(path: &str) -> bool {
    path == "/healthz"
}

/// The answer for somebody unknown: nothing but that the kernel answers.
pub(super) async fn public(host: &Host) -> Answer {
    host.core().look(|_, _| ()).await?;
    Ok(text("ok\n".to_owned(), "text/plain; charset=utf-8"))
}

/// The answer to a request of somebody known.
pub(super) async fn answer(request: Request<Incoming>, caller: Caller, host: &Arc<Host>) -> Answer {
    let question = Question::read(request, caller).await?;
    let path: Vec<&str> = question.path.iter().map(String::as_str).collect();
    question.allow(role(&question.method, &path))?;
    match (question.method.as_str(), path.as_slice()) {
        ("GET", ["healthz"]) => public(host).await,
        ("GET", ["metrics"]) => Ok(text(host.figures().await?, "text/plain; version=0.0.4; charset=utf-8")),
        ("GET", ["v1", "version"]) => document(&json!({ "version": env!("CARGO_PKG_VERSION") })),
        ("GET", ["v1", "journal"]) => journal::stream(host, question.after()?, question.query("service")),
        ("GET", ["v1", "ready"]) => ready(host, question.query("service")).await,
        ("GET", ["v1", rest @ ..]) if !rest.starts_with(&["plugins"]) => look(host, rest, &question).await,
        ("POST", ["v1", "orders"]) => order(host, &question).await,
        ("POST", ["v1", "plan"]) => plan(host, &question).await,
        ("POST", ["v1", "reload"]) => reload(host).await,
        ("POST", ["v1", "channels", name, "test"]) => test_channel(host, name, &question.caller).await,
        (_, ["v1", "plugins", rest @ ..]) => plugins::answer(host, rest, &question).await,
        _ => Err(question.no_such_path()),
    }
}

/// Seeing is for everybody known; a plan changes nothing, and its body is a command.
fn role(method: &Method, path: &[&str]) -> Role {
    match (method, path) {
        (&Method::GET, _) | (_, ["v1", "plan"]) => Role::Viewer,
        // Which of the two an order needs, its command says.
        (_, ["v1", "orders"]) => Role::Viewer,
        _ => Role::Operator,
    }
}

impl Question {
    async fn read(request: Request<Incoming>, caller: Caller) -> Result<Self, Told> {
        let (parts, body) = request.into_parts();
        let path: Vec<String> = parts.uri.path().split('/').skip(1).map(decode).collect();
        let is_plugin = path.get(1).is_some_and(|part| part == "plugins");
        // Nobody who may only see can make the host take in a large body.
        let most = if is_plugin && caller.may(Role::Operator) { PLUGIN_BYTES_MAX } else { ORDER_BYTES_MAX };
        let body = Limited::new(body, most).collect().await.map_err(|error| unread(error.as_ref(), most))?.to_bytes();
        let query = parts.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let query = query
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(key, value)| (decode(key), decode(value)));
        Ok(Question { method: parts.method, path, query: query.collect(), headers: parts.headers, body, caller })
    }

    fn allow(&self, role: Role) -> Result<(), Told> {
        if self.caller.may(role) { Ok(()) } else { Err(Told::may_not(&self.caller.name, role)) }
    }

    pub(super) fn method(&self) -> &str {
        self.method.as_str()
    }

    fn query(&self, key: &str) -> Option<String> {
        self.query.iter().find(|(own, _)| own == key).map(|(_, value)| value.clone())
    }

    fn after(&self) -> Result<u64, Told> {
        let Some(after) = self.query("after") else { return Ok(0) };
        after.parse().map_err(|_| bad_request(format!("`{after}` is no record's number"), "after", "write a number"))
    }

    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Told> {
        serde_json::from_slice(&self.body).map_err(|error| {
            bad_request(format!("the body is not what this takes: {error}"), "body", "send JSON as api.rs says")
        })
    }

    pub(super) fn no_such_path(&self) -> Told {
        let path = format!("{} /{}", self.method, self.path.join("/"));
        Told::no_such("question", &path, "look into the manual; this may be another version of the host")
    }
}

pub(super) fn bad_request(what: String, at: &str, next: &str) -> Told {
    Told::new(StatusCode::BAD_REQUEST, what, at, next)
}

/// What the kernel shows.
async fn look(host: &Host, path: &[&str], question: &Question) -> Answer {
    let core = host.core();
    match path {
        ["status"] => document(&host.status().await?),
        ["services", name] => {
            let service = (*name).to_owned();
            let shown = core.look(move |kernel, now| kernel.service_status(&service, now)).await?;
            document(&shown.ok_or_else(|| Told::no_such("service", name, "`tidegate status` lists them all"))?)
        }
        ["what-if"] => {
            let site = question
                .query("lose")
                .ok_or_else(|| bad_request("which site?".to_owned(), "lose", "add ?lose=SITE"))?;
            let judged = host.what_if(&site).await?;
            document(&judged.ok_or_else(|| Told::no_such("site", &site, "`tidegate status` lists them all"))?)
        }
        ["runs"] => document(&core.look(|kernel, now| kernel.runs(now)).await?),
        ["runs", id] => {
            let run = run_id(id)?;
            let shown = core.look(move |kernel, now| kernel.run(run, now)).await?;
            document(&shown.ok_or_else(|| no_such_run(id))?)
        }
        ["runs", id, "report"] => {
            let run = run_id(id)?;
            let shown = core.look(move |kernel, _| kernel.report(run)).await?;
            document(&shown.ok_or_else(|| no_such_run(id))?)
        }
        ["evacuations"] => {
            let all = |kernel: &Kernel, _| kernel.state().evacuations.values().rev().cloned().collect::<Vec<_>>();
            document(&core.look(all).await?)
        }
        ["questions"] => {
            document(&core.look(|kernel, _| kernel.state().open_questions().cloned().collect::<Vec<_>>()).await?)
        }
        _ => Err(question.no_such_path()),
    }
}

fn run_id(id: &str) -> Result<RunId, Told> {
    let run = id.strip_prefix('r').unwrap_or(id).parse().map(RunId);
    run.map_err(|_| bad_request(format!("`{id}` is no run"), id, "write its number, as `run list` shows it"))
}

fn no_such_run(id: &str) -> Told {
    Told::no_such("run", id, "`tidegate run list` lists them all")
}

async fn order(host: &Host, question: &Question) -> Answer {
    let command: Command = question.json()?;
    question.allow(match command {
        Command::Approve { .. } | Command::Reject { .. } => Role::Approver,
        _ => Role::Operator,
    })?;
    match host.order(&question.caller.name, command).await? {
        Ok(accepted) => document(&accepted),
        Err(why) => refused(&why),
    }
}

async fn plan(host: &Host, question: &Question) -> Answer {
    let command: Command = question.json()?;
    if let Command::Evacuate { site, to } = command {
        return match host.plan_evacuation(site, to).await? {
            Ok(plan) => document(&plan),
            Err(why) => refused(&why),
        };
    }
    match host.plan(command).await? {
        Ok(plan) => document(&plan),
        Err(why) => refused(&why),
    }
}

async fn ready(host: &Host, service: Option<String>) -> Answer {
    if let Some(name) = &service
        && host.live().service(name).is_none()
    {
        return Err(Told::no_such("service", name, "`tidegate status` lists them all"));
    }
    let checked = host.check_ready(service.as_deref()).await?;
    let shown = |(service, blockers): (String, Vec<_>)| {
        let notes = host.ready_notes(&service);
        json!({ "service": service, "blockers": blockers, "notes": notes })
    };
    let shown: Vec<_> = checked.into_iter().map(shown).collect();
    document(&shown)
}

async fn reload(host: &Arc<Host>) -> Answer {
    match host.reload().await {
        Ok(()) => document(&json!({ "reloaded": true })),
        Err(error) => Err(Told {
            status: StatusCode::UNPROCESSABLE_ENTITY.as_u16(),
            what: format!("{error:#}"),
            at: host.fleet_file().display().to_string(),
            unchanged: "the host goes on with the fleet file and the secrets that it had".to_owned(),
            next: "correct what is named, then reload again".to_owned(),
        }),
    }
}

async fn test_channel(host: &Host, name: &str, caller: &Caller) -> Answer {
    if !host.live().fleet.channels.contains_key(name) {
        return Err(Told::no_such("channel", name, "the fleet file's [channel.NAME] sections are the ones there are"));
    }
    match host.test_channel(name, &caller.name).await {
        Ok(()) => document(&json!({ "sent": true })),
        Err(failure) => {
            let next = "correct the channel, its grants or its secret in the fleet file, and try again";
            Err(Told::new(
                StatusCode::BAD_GATEWAY,
                format!("the message was not sent: {failure}"),
                format!("[channel.{name}]"),
                next,
            ))
        }
    }
}

fn unread(error: &(dyn std::error::Error + Send + Sync + 'static), most: usize) -> Told {
    if error.is::<http_body_util::LengthLimitError>() {
        let what = format!("the body is longer than {most} bytes");
        return Told::new(StatusCode::PAYLOAD_TOO_LARGE, what, "body", "send less");
    }
    bad_request(format!("the body did not arrive: {error}"), "body", "send it again")
}

/// `%2F` and its like; what is no such code stays as it is.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let code = (*byte == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(meant) => {
                decoded.push(meant);
                at += 3;
            }
            None => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_paths_are_decoded_once() {
        for (written, meant) in [
            ("failover%2Fdefault", "failover/default"),
            ("a%252Fb", "a%2Fb"),
            ("100%", "100%"),
            ("%zz%4", "%zz%4"),
            ("%C3%A4", "ä"),
        ] {
            assert_eq!(decode(written), meant);
        }
    }

    #[test]
    fn only_looking_is_for_viewers() {
        for (method, path, role_needed) in [
            (Method::GET, ["v1", "status"].as_slice(), Role::Viewer),
            (Method::GET, &["v1", "plugins"], Role::Viewer),
            (Method::POST, &["v1", "plan"], Role::Viewer),
            (Method::POST, &["v1", "plugins", "failover/default", "swap"], Role::Operator),
            (Method::POST, &["v1", "reload"], Role::Operator),
            (Method::POST, &["v1", "channels", "ops", "test"], Role::Operator),
        ] {
            assert_eq!(role(&method, path), role_needed, "{method} {path:?}");
        }
    }
}
