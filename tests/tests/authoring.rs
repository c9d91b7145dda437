//! Writing a policy, from `tidegate policy new` to a decision, in each language; and the examples, as their READMEs say.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tidegate_tests::binary;
use tidegate_tests::guests::{Language, Project};

/// What a component that brings its interpreter along needs beyond a slot's defaults; and where it stays compiled.
const ROOM: [&str; 4] = ["--limit", "memory=64MiB", "--cache", concat!(env!("CARGO_TARGET_TMPDIR"), "/compiled")];

/// What a policy can decide.
const KINDS: [&str; 4] = ["failover", "retention", "tiering", "cost"];

fn tidegate(arguments: &[&str]) -> Output {
    let mut command = Command::new(binary::tidegate());
    command.args(["policy"]).args(arguments).args(["--json"]).output().expect("the program was built")
}

fn document(output: &Output) -> Value {
    let said = || format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}", said());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said()))
}

/// What `policy check` finds in a component with its project's own settings.
fn check(project: &Project, component: &Path) -> Value {
    let settings = project.dir.join("settings.json");
    let (component, settings) = (component.to_str().expect("a path"), settings.to_str().expect("a path"));
    let report = document(&tidegate(&[&["check", component, "--settings", settings], &ROOM[..]].concat()));
    assert_eq!(report["deterministic"], true, "{report}");
    report
}

/// A policy as `policy new` writes it.
fn new(language: Language, kind: &'static str) -> Project {
    Project::new(language, kind, &format!("night-{kind}-{}", language.word())).expect("it is written")
}

/// What a new policy says to each of the situations that `policy check` has for its kind.
fn decisions(project: &Project) -> Vec<Value> {
    let component = project.component().expect("it builds");
    let report = check(project, &component);
    let name = project.dir.file_name().expect("it has a name").to_string_lossy();
    assert_eq!((report["manifest"]["name"].as_str(), report["world"].as_str()), (Some(&*name), Some(project.kind)));
    let situations = report["situations"].as_array().expect("situations");
    assert!(situations.iter().all(|asked| asked["fault"].is_null()), "{report}");
    situations.iter().map(|asked| asked["decision"].clone()).collect()
}

/// Tested by its own tests, and asked.
fn tried(language: Language, kind: &'static str) -> Vec<Value> {
    let project = new(language, kind);
    project.test().unwrap_or_else(|error| panic!("the tests of {kind} pass: {error:#}"));
    decisions(&project)
}

#[test]
fn a_new_policy_in_rust_passes_its_own_tests_and_decides() {
    let [failover, retention, tiering, cost] = KINDS.map(|kind| tried(Language::Rust, kind));
    let verdicts: Vec<&Value> = failover.iter().map(|decision| &decision["verdict"]).collect();
    assert_eq!(verdicts[1]["fail-over"]["to-site"], "b", "the active site is lost");
    assert!([0, 2, 3, 4].iter().all(|at| verdicts[*at] == "hold"), "{verdicts:?}");
    let kept = |said: &Value| -> Vec<bool> {
        said.as_array().into_iter().flatten().map(|choice| choice["keep"] == true).collect()
    };
    assert_eq!(kept(&retention[0]), [true, true, true], "the last full ones, and what is young");
    assert_eq!(kept(&retention[2]), [true, true, false], "all of them are a year older");
    assert_eq!(tiering[2][1]["placement"]["move-to"], "archive", "nothing is promised of restores");
    assert_eq!(tiering[3][1]["placement"], "stay", "no restore has been proven from another");
    assert_eq!(cost[0]["assignments"][0]["strategy"], "pilot-light", "it pays for more than it needs");
    assert_eq!(cost[3]["assignments"][0]["meets-objectives"], false, "no offer is quick enough");
}

#[test]
fn a_new_policy_in_python_passes_its_own_tests_and_decides_as_the_one_in_rust_does() {
    decides_as_in_rust(Language::Python);
}

#[test]
fn a_new_policy_in_javascript_passes_its_own_tests_and_decides_as_the_one_in_rust_does() {
    decides_as_in_rust(Language::JavaScript);
}

/// Whatever it decides about.
fn decides_as_in_rust(language: Language) {
    if !language.is_here() {
        return;
    }
    for kind in KINDS {
        assert_eq!(tried(language, kind), decisions(&new(Language::Rust, kind)), "{kind}");
    }
}

#[test]
fn the_example_in_python_goes_where_it_is_cheap() {
    let Some((project, component)) = example(Language::Python, "policy-python-cheapest-site") else { return };
    let said = ask(&project, &component, |_| {});
    assert_eq!(said["decision"]["verdict"]["switch-over"]["to-site"], "b", "{said}");
    let said = ask(&project, &component, |situation| situation["active-site"] = json!("b"));
    assert_eq!(said["decision"]["verdict"], "hold", "{said}");
    let said = ask(&project, &component, |situation| situation["active-site"] = json!("mars"));
    assert_eq!(said["fault"]["declined"], "there is no site mars", "{said}");
}

#[test]
fn the_example_in_javascript_asks_while_somebody_is_there() {
    /// Wednesday, 25 November 2026, 12:00 UTC.
    const NOON: u64 = 1_795_608_000_000;
    const HOUR: u64 = 3_600_000;
    let Some((project, component)) = example(Language::JavaScript, "policy-javascript-office-hours") else { return };
    let lost_at = |now: u64| {
        ask(&project, &component, |situation| {
            situation["now"] = json!(now);
            situation["sites"][0]["consensus"]["status"] = json!("unhealthy");
        })
    };
    let said = lost_at(NOON);
    assert_eq!(said["decision"]["verdict"]["ask"]["options"][0]["to-site"], "b", "{said}");
    assert_eq!(said["decision"]["verdict"]["ask"]["expires-in"], 600_000, "{said}");
    let said = lost_at(NOON + 6 * HOUR);
    assert_eq!(said["decision"]["verdict"]["fail-over"]["to-site"], "b", "{said}");
    let said = ask(&project, &component, |situation| situation["active-site"] = json!("mars"));
    assert_eq!(said["fault"]["declined"], "there is no site mars", "{said}");
}

/// An example that has passed its own tests, and its component; its README shows what it says today.
fn example(language: Language, name: &str) -> Option<(Project, PathBuf)> {
    let project = Project::example(language, name);
    language.is_here().then(|| {
        project.test().expect("its tests pass");
        let component = project.component().expect("it builds");
        readme_shows(&project, &check(&project, &component));
        (project, component)
    })
}

/// Situation by situation; the fuel is another one after each build in Python.
fn readme_shows(project: &Project, report: &Value) {
    let readme = std::fs::read_to_string(project.dir.join("README.md")).expect("a README");
    for asked in report["situations"].as_array().expect("situations") {
        let (situation, because) = (asked["situation"].as_str().expect("text"), &asked["decision"]["analysis"]);
        let line = readme.lines().find(|line| line.trim_start().starts_with(situation)).unwrap_or_default();
        assert_eq!(line.split_whitespace().next_back(), because.as_str(), "{situation}: {line}");
    }
}

/// What it says, as `policy eval` prints it, to the example situation with one change.
fn ask(project: &Project, component: &Path, change: impl FnOnce(&mut Value)) -> Value {
    let mut situation = document(&tidegate(&["eval", "--example"]));
    change(&mut situation);
    let input = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(input.path(), situation.to_string()).expect("it is written");
    let settings = project.dir.join("settings.json");
    let paths = [component, input.path(), &settings].map(|path| path.to_str().expect("a path"));
    let [component, input, settings] = paths;
    let asked = ["eval", component, "--input", input, "--settings", settings];
    let output = tidegate(&[&asked[..], &ROOM[..]].concat());
    serde_json::from_slice(&output.stdout).expect("a document")
}

#[test]
fn the_example_in_javascript_is_built_with_what_a_new_policy_is_built_with() {
    let pins = |project: &str| -> Value {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(project).join("package.json");
        let package: Value = serde_json::from_slice(&std::fs::read(file).expect("a file")).expect("JSON");
        package["devDependencies"].clone()
    };
    assert_eq!(pins("examples/policy-javascript-office-hours"), pins("sdk/templates/javascript"));
}

#[test]
fn settings_are_refused_by_a_policy_in_any_language_as_the_operator_would_see_it() {
    let cases = [
        (Language::Python, "policy-python-cheapest-site", r#"{"prices": {"a": "6"}}"#, "/prices/a"),
        (Language::JavaScript, "policy-javascript-office-hours", r#"{"form": 8}"#, "/form: unknown key"),
    ];
    for (language, name, settings, why) in cases {
        let Some((_, component)) = example(language, name) else { continue };
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), settings).expect("it is written");
        let (component, settings) = (component.to_str().expect("a path"), file.path().to_str().expect("a path"));
        let output = tidegate(&[&["check", component, "--settings", settings], &ROOM[..]].concat());
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.code() == Some(2) && told.contains(why), "{name}: {told}");
    }
}
