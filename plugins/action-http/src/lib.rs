//! Runbook steps that are HTTP requests: declared in the fleet file, called by name.
//!
//! Sends; what to send and what an answer means, `decide.rs` knows.

pub mod decide;

use std::collections::BTreeMap;
use std::time::Duration;

use decide::{Action, Receipt};
use tidegate_sdk::template::{self, Values};
use tidegate_sdk::{Call, Declared, Done, Fact, Failure, NoSettings, Problem, Provider, Want, http, secret_text};

/// How long a check of readiness may take.
const READY_TIMEOUT: Duration = Duration::from_secs(5);

/// The provider: every action that the fleet file declares for it.
pub struct ActionHttp {
    actions: BTreeMap<String, Action>,
}

impl Provider for ActionHttp {
    type Settings = NoSettings;

    fn wants() -> Vec<Want> {
        let connect = ["http://*:*", "https://*:*"].map(|pattern| Want::Connect(pattern.to_owned()));
        connect.into_iter().chain([Want::Secret("*".to_owned())]).collect()
    }

    fn configure(_: NoSettings, declared: Declared) -> Result<Self, Vec<Problem>> {
        Ok(ActionHttp { actions: declared.parse()? })
    }

    fn ready(&self, name: &str) -> Result<Vec<Fact>, Failure> {
        let action = self.action(name)?;
        let token = bearer(action)?;
        let Some(check) = &action.ready else {
            return Ok(vec![Fact::new("checked", "declaration and secret only; declare `ready` to have it asked")]);
        };
        send(check, &Values::new(), token, None, READY_TIMEOUT)?;
        Ok(vec![Fact::new("checked", format!("{} {}", check.method, check.url))])
    }
}

impl tidegate_sdk::Action for ActionHttp {
    fn perform(&self, name: &str, arguments: &str, call: &Call) -> Result<Done, Failure> {
        let action = self.action(name)?;
        let values = template::values(arguments, call)?;
        let response = send(action, &values, bearer(action)?, Some(&call.key), Duration::from_millis(call.timeout))?;
        Ok(decide::performed(name, &response, Receipt { arguments: arguments.to_owned() }))
    }

    fn undo(&self, name: &str, receipt: Option<&str>, call: &Call) -> Result<Done, Failure> {
        let action = self.action(name)?;
        let undo = action.undo.as_deref().ok_or_else(|| Failure::Rejected(format!("{name} declares no undo")))?;
        let values = template::values(&Receipt::read(receipt)?.arguments, call)?;
        let key = decide::undo_key(&call.key);
        let response = send(undo, &values, bearer(action)?, Some(&key), Duration::from_millis(call.timeout))?;
        Ok(decide::undone(name, &response))
    }
}

tidegate_sdk::action_provider!(ActionHttp);

impl ActionHttp {
    fn action(&self, name: &str) -> Result<&Action, Failure> {
        self.actions.get(name).ok_or_else(|| Failure::NotFound(format!("no action {name} is declared")))
    }
}

fn send(
    action: &Action,
    values: &Values,
    token: Option<String>,
    key: Option<&str>,
    timeout: Duration,
) -> Result<http::Response, Failure> {
    let request = decide::request(action, values, token.as_deref(), key, timeout)?;
    decide::expected(action, http::send(&request).map_err(http::Error::into_failure)?)
}

fn bearer(action: &Action) -> Result<Option<String>, Failure> {
    action.bearer_secret.as_deref().map(secret_text).transpose()
}
