//! What the site's commands print, and what it proves.
//!
//! Pure. Believes nothing but the last line, and of that only what it says in so many words.

use tidegate_sdk::{Fact, Failure, Output, Proof, serde, serde_json};

/// How much of an odd answer is shown.
const SHOWN_MAX: usize = 200;

/// What `stop` prints.
#[derive(Debug, serde::Deserialize)]
struct Stopped {
    stopped: bool,
    /// Processes of it that still run.
    left: u64,
    /// It cannot come up as a primary by itself.
    barred: bool,
    #[serde(default)]
    clean: bool,
    position: Option<u64>,
    timeline: Option<u64>,
}

/// What `start`, `rejoin` and `rebuild` print.
#[derive(Debug, serde::Deserialize)]
struct Running {
    running: bool,
    role: String,
    how: Option<String>,
}

/// The proof that `stop` brought, if it is one.
pub fn stopped(name: &str, mode: &str, output: &Output) -> Result<Proof, Failure> {
    let said: Stopped = last_line(name, output)?;
    if !(said.stopped && said.left == 0 && said.barred) {
        let text =
            format!("{name} says: stopped {}, {} processes left, barred {}", said.stopped, said.left, said.barred);
        return Err(Failure::UnknownOutcome(format!("{text}; that proves nothing, the node may still take writes")));
    }
    let timeline = said.timeline.map(|timeline| Fact::new("timeline", timeline.to_string()));
    let facts = [Fact::new("clean", said.clean.to_string()), Fact::new("mode", mode)].into_iter().chain(timeline);
    Ok(Proof { kind: "stopped".to_owned(), position: said.position, survives_restart: true, facts: facts.collect() })
}

/// How the node came up in that role, if it did.
pub fn running(name: &str, role: &str, output: &Output) -> Result<String, Failure> {
    let said: Running = last_line(name, output)?;
    if said.running && said.role == role {
        return Ok(said.how.unwrap_or_else(|| "started".to_owned()));
    }
    Err(Failure::Rejected(format!("{name} says: running {}, as {}, not as {role}", said.running, said.role)))
}

fn last_line<T: serde::de::DeserializeOwned>(name: &str, output: &Output) -> Result<T, Failure> {
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    serde_json::from_str(line).map_err(|error| {
        let (said, complaint) = (shown(line), shown(String::from_utf8_lossy(&output.stderr).trim()));
        Failure::UnknownOutcome(format!(
            "{name} ended with {} and its last line is no answer ({error}): {said:?}, {complaint:?}; look at the node before repeating",
            output.status
        ))
    })
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use tidegate_sdk::{Failure, Output};

    use super::{running, stopped};

    fn output(stdout: &str) -> Output {
        Output { status: 0, stdout: stdout.as_bytes().to_vec(), stderr: Vec::new() }
    }

    #[test]
    fn only_a_stop_without_rest_and_with_a_bar_is_a_proof() {
        let text = r#"{"stopped":true,"left":0,"barred":true,"clean":true,"position":50331688,"timeline":3}"#;
        let proof = stopped("a-stop", "fast", &output(&format!("stopping\n{text}\n\n"))).unwrap();
        assert_eq!((proof.kind.as_str(), proof.position, proof.survives_restart), ("stopped", Some(50_331_688), true));
        for (yes, no) in [
            ("\"stopped\":true", "\"stopped\":false"),
            ("\"left\":0", "\"left\":2"),
            ("\"barred\":true", "\"barred\":false"),
        ] {
            let failure = stopped("a-stop", "fast", &output(&text.replace(yes, no))).unwrap_err();
            assert!(matches!(failure, Failure::UnknownOutcome(text) if text.contains("proves nothing")), "{no}");
        }
    }

    #[test]
    fn rubbish_proves_nothing() {
        for text in
            ["", "done", "{}", r#"{"stopped":true}"#, r#"{"stopped":"yes","left":0,"barred":true}"#, "\u{fffd}\u{0}"]
        {
            assert!(matches!(stopped("a-stop", "fast", &output(text)), Err(Failure::UnknownOutcome(_))), "{text}");
            assert!(matches!(running("a-start", "primary", &output(text)), Err(Failure::UnknownOutcome(_))), "{text}");
        }
        let long = stopped("a-stop", "fast", &output(&"x".repeat(100_000))).unwrap_err();
        assert!(format!("{long:?}").len() < 600);
    }

    #[test]
    fn a_node_that_came_up_otherwise_is_a_no() {
        let text = r#"{"running":true,"role":"standby","how":"rewound"}"#;
        assert_eq!(running("a-rejoin", "standby", &output(text)), Ok("rewound".to_owned()));
        assert!(matches!(running("a-start", "primary", &output(text)), Err(Failure::Rejected(_))));
        let stopped = text.replace("true", "false");
        assert!(matches!(running("a-rejoin", "standby", &output(&stopped)), Err(Failure::Rejected(_))));
    }
}
