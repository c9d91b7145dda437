//! Runbook steps that are commands: declared in the fleet file, run by the agent of a site.
//!
//! Asks the host to run; what to run and what its end means, `decide.rs` knows. No argument ever meets a shell.

pub mod decide;

use std::collections::BTreeMap;
use std::time::Duration;

use decide::{Action, Command, Receipt};
use tidegate_sdk::template::{self, Values};
use tidegate_sdk::{Call, Declared, Done, Fact, Failure, NoSettings, Output, Problem, Provider, Want, run_command};

/// How long a check of readiness may take.
const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// The provider: every action that the fleet file declares for it.
pub struct ActionCommand {
    actions: BTreeMap<String, Action>,
}

impl Provider for ActionCommand {
    type Settings = NoSettings;

    fn wants() -> Vec<Want> {
        vec![Want::Command("*".to_owned())]
    }

    fn configure(_: NoSettings, declared: Declared) -> Result<Self, Vec<Problem>> {
        Ok(ActionCommand { actions: declared.parse()? })
    }

    fn ready(&self, name: &str) -> Result<Vec<Fact>, Failure> {
        let Some(check) = &self.action(name)?.ready else {
            return Ok(vec![Fact::new("checked", "declaration only; declare `ready` to have it asked")]);
        };
        decide::answered(&run(check, &Values::new(), None, READY_TIMEOUT)?).map_err(Failure::Rejected)?;
        Ok(vec![Fact::new("checked", format!("{} at {}", check.command, check.site))])
    }
}

impl tidegate_sdk::Action for ActionCommand {
    fn perform(&self, name: &str, arguments: &str, call: &Call) -> Result<Done, Failure> {
        let action = self.action(name)?;
        let values = template::values(arguments, call)?;
        let timeout = Duration::from_millis(call.timeout);
        let receipt = Receipt { arguments: arguments.to_owned() };
        if let Some(check) = &action.done
            && decide::answered(&run(check, &values, None, timeout)?).is_ok()
        {
            return Ok(decide::done_already(name, &receipt));
        }
        decide::performed(name, &run(&action.run, &values, Some(&call.key), timeout)?, &receipt)
    }

    fn undo(&self, name: &str, receipt: Option<&str>, call: &Call) -> Result<Done, Failure> {
        let action = self.action(name)?;
        let undo = action.undo.as_ref().ok_or_else(|| Failure::Rejected(format!("{name} declares no undo")))?;
        let receipt = Receipt::read(receipt)?;
        let values = template::values(&receipt.arguments, call)?;
        let output = run(undo, &values, Some(&format!("{}/undo", call.key)), Duration::from_millis(call.timeout))?;
        decide::performed(&format!("undo of {name}"), &output, &receipt)
    }
}

tidegate_sdk::action_provider!(ActionCommand);

impl ActionCommand {
    fn action(&self, name: &str) -> Result<&Action, Failure> {
        self.actions.get(name).ok_or_else(|| Failure::NotFound(format!("no action {name} is declared")))
    }
}

fn run(command: &Command, values: &Values, key: Option<&str>, timeout: Duration) -> Result<Output, Failure> {
    let (site, arguments) = decide::filled(command, values)?;
    run_command(&site, &command.command, &arguments, key, timeout)
}
