//! Which command a step is, and what its end means.
//!
//! Pure: who runs it, and where, is the host's business.

use std::collections::BTreeMap;

use tidegate_sdk::template::{self, Values};
use tidegate_sdk::{Done, Failure, Output, Problem, Settings, schemars, serde, serde_json};

/// How much of a command's words is kept for people.
const TEXT_CHARS_MAX: usize = 200;

/// A step, as the fleet file declares it under `[action.NAME]`.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Action {
    /// Does it.
    pub run: Command,
    /// Puts it back.
    pub undo: Option<Command>,
    /// Succeeds if it is done already: asked first, so that a repetition after a crash does nothing twice.
    pub done: Option<Command>,
    /// Changes nothing, and succeeds if `run` would.
    pub ready: Option<Command>,
}

/// A command of the fleet file's `[command.NAME]`, with values for its arguments.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Command {
    /// Where: a site, or `{name}` of one of the step's arguments.
    pub site: String,
    /// Which.
    pub command: String,
    /// Each may hold `{names}` of the step's arguments, `{key}` and `{epoch}`; the host checks the result against the
    /// command's own patterns.
    #[serde(default)]
    pub arguments: BTreeMap<String, String>,
}

/// What an undo needs to know of its action.
#[derive(Debug, Default, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Receipt {
    /// As the runbook gave them.
    pub arguments: String,
}

impl Settings for Action {
    fn check(&self) -> Vec<Problem> {
        let Some(ready) = &self.ready else { return Vec::new() };
        let texts = ready.arguments.values().chain([&ready.site]);
        let open = texts.flat_map(|text| template::names(text)).next();
        open.map(|name| Problem::new("/ready", format!("has no step to give a value to {{{name}}}")))
            .into_iter()
            .collect()
    }
}

impl Receipt {
    /// A lost receipt is one without arguments: an undo that needs none still works.
    pub fn read(receipt: Option<&str>) -> Result<Self, Failure> {
        let invalid =
            |error: serde_json::Error| Failure::Invalid(format!("the receipt is not one of this plugin: {error}"));
        receipt.map_or_else(|| Ok(Receipt::default()), |text| serde_json::from_str(text).map_err(invalid))
    }

    fn write(&self) -> String {
        serde_json::json!({ "arguments": self.arguments }).to_string()
    }
}

/// Where a command runs, and with which arguments.
pub fn filled(command: &Command, values: &Values) -> Result<(String, Vec<(String, String)>), Failure> {
    let fill = |text: &String| template::fill(text, values, template::plain);
    let argument = |(name, text): (&String, &String)| Ok((name.clone(), fill(text)?));
    Ok((fill(&command.site)?, command.arguments.iter().map(argument).collect::<Result<_, Failure>>()?))
}

/// A command's words if it succeeded, else why not.
pub fn answered(output: &Output) -> Result<String, String> {
    if output.status == 0 {
        return Ok(start(&output.stdout));
    }
    Err(format!("it ended with status {}: {}", output.status, start(&output.stderr))
        .trim_end_matches([':', ' '])
        .to_owned())
}

/// What was done. A command that failed may have done a part of it: that has to be read back.
pub fn performed(name: &str, output: &Output, receipt: &Receipt) -> Result<Done, Failure> {
    let words = answered(output).map_err(|why| Failure::UnknownOutcome(format!("{name}: {why}")))?;
    Ok(Done { text: format!("{name}: {words}").trim_end_matches([':', ' ']).to_owned(), receipt: receipt.write() })
}

/// There was nothing left to do.
pub fn done_already(name: &str, receipt: &Receipt) -> Done {
    Done { text: format!("{name}: done already"), receipt: receipt.write() }
}

fn start(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().chars().take(TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use tidegate_sdk::{Call, Failure, Output, parse, template};

    use super::{Action, Receipt, answered, done_already, filled, performed};

    const SCALE: &str = r#"{
        "run": {"site": "{site}", "command": "scale", "arguments": {"unit": "{unit}", "run": "{key}@{epoch}"}},
        "undo": {"site": "{site}", "command": "scale-back", "arguments": {"unit": "{unit}"}}
    }"#;

    fn output(status: i32, stdout: &str, stderr: &str) -> Output {
        Output { status, stdout: stdout.into(), stderr: stderr.into() }
    }

    fn call() -> Call {
        Call { epoch: 7, key: "run-1".to_owned(), timeout: 1_000 }
    }

    #[test]
    fn fills_in_the_steps_values_and_leaves_them_whole() {
        let action: Action = parse(SCALE).unwrap();
        let values = template::values(r#"{"site": "west", "unit": "shop; rm -rf /"}"#, &call()).unwrap();
        let (site, arguments) = filled(&action.run, &values).unwrap();
        assert_eq!(site, "west");
        let expected = [("run", "run-1@7"), ("unit", "shop; rm -rf /")];
        assert_eq!(arguments, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn runs_nothing_while_a_value_is_missing() {
        let action: Action = parse(SCALE).unwrap();
        let values = template::values(r#"{"site": "west"}"#, &call()).unwrap();
        assert!(matches!(filled(&action.run, &values), Err(Failure::Invalid(text)) if text.contains("{unit}")));
    }

    #[test]
    fn a_failed_command_leaves_its_outcome_open() {
        let receipt = Receipt { arguments: "{}".to_owned() };
        let done = performed("scale", &output(0, "3 replicas\n", ""), &receipt).unwrap();
        assert_eq!(done.text, "scale: 3 replicas");
        assert_eq!(Receipt::read(Some(&done.receipt)).unwrap(), receipt);
        let failure = performed("scale", &output(1, "", "no such unit\n"), &receipt).unwrap_err();
        assert_eq!(failure, Failure::UnknownOutcome("scale: it ended with status 1: no such unit".to_owned()));
    }

    #[test]
    fn a_command_without_words_is_told_without_them() {
        assert_eq!(performed("scale", &output(0, "", ""), &Receipt::default()).unwrap().text, "scale");
        assert_eq!(answered(&output(2, "", "")), Err("it ended with status 2".to_owned()));
        assert_eq!(done_already("scale", &Receipt::default()).text, "scale: done already");
    }

    #[test]
    fn refuses_a_declaration_that_cannot_work() {
        let cases = [
            (r#"{"run": {"site": "west"}}"#, "/run"),
            (r#"{"run": {"site": "west", "command": "x", "shell": "x"}}"#, "/run/shell"),
            (r#"{"run": {"site": "west", "command": "x"}, "ready": {"site": "{site}", "command": "x"}}"#, "/ready"),
        ];
        for (json, at) in cases {
            let problems = parse::<Action>(json).unwrap_err();
            assert_eq!(problems[0].at, at, "{json}: {problems:?}");
        }
    }
}
