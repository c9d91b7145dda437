//! What a runbook may say, and what is found wrong with one before it is ever needed.

use tidegate_kernel::runbook::Runbook;

#[track_caller]
fn problems(text: &str) -> Vec<String> {
    let table: toml::Table = text.parse().expect("TOML");
    let problems = Runbook::parse(&table).err().unwrap_or_default();
    problems.into_iter().map(|problem| format!("{}: {}", problem.at, problem.text)).collect()
}

#[test]
fn every_mistake_is_named_with_its_step() {
    let all = "does exactly one of: check-ready, route, await-healthy, data, hold, confirm, action, command";
    let cases = [
        ("[[step]]\nname = \"a\"\nroute = true", vec![]),
        ("[[step]]\nname = \"a\"", vec![format!("step a: {all}")]),
        ("[[step]]\nname = \"a\"\nroute = true\nconfirm = \"?\"", vec![format!("step a: {all}")]),
        (
            "[[step]]\nname = \"a\"\nroute = true\n[[step]]\nname = \"a\"\nroute = true",
            vec!["step a: two steps have this name".to_owned()],
        ),
        (
            "[[step]]\nname = \"a\"\nroute = true\nneeds = [\"b\"]\n[[step]]\nname = \"b\"\nroute = true",
            vec!["step a: needs b, which is no step above it".to_owned()],
        ),
        (
            "[[step]]\nname = \"a\"\nhold = \"soon\"",
            vec!["step a: soon is no length of time; write 10s, 2m or 1h".to_owned()],
        ),
        (
            "[[step]]\nname = \"a\"\ncommand = \"x\"\nundo = true",
            vec!["step a: only an action can undo itself; name a command or an action as the undo".to_owned()],
        ),
        (
            "[[step]]\nname = \"a\"\nroute = true\npoint-of-no-return = true\n\
             [[step]]\nname = \"b\"\ncommand = \"x\"\npoint-of-no-return = true",
            vec!["step b: a runbook has one point of no return at most".to_owned()],
        ),
        (
            "[[step]]\nname = \"a\"\naction = \"x\"\nundo = true\npoint-of-no-return = true",
            vec!["step a: what cannot be returned from has no undo".to_owned()],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(problems(text), expected, "{text}");
    }
}

#[test]
fn an_unknown_key_is_refused() {
    let found = problems("[[step]]\nname = \"a\"\nroute = true\nretrys = 3");
    assert!(found[0].contains("retrys"), "{found:?}");
}
