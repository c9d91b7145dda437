//! The reference and the examples say what the parser does, and no input makes it panic.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tidegate_kernel::fleet::{Outlook, check, parse, survivals};

fn read_file(path: &Path) -> io::Result<String> {
    std::fs::read_to_string(path)
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fleets")
}

/// Every key that the parser knows, as its own advice lists them.
fn known_keys() -> BTreeSet<String> {
    let text = r#"
[host]
x = 1
tls = { x = 1 }
brake = { x = 1 }
[site.a]
x = 1
[agent.a]
x = 1
[service.a]
x = 1
probe = { x = 1 }
maintenance = [{ x = 1 }]
[service.a.at.a]
x = 1
[slot."dns/a"]
x = 1
[command.a]
x = 1
[secret]
a = { x = 1 }
[person.a]
x = 1
"#;
    let problems = parse(Path::new("fleet.toml"), &|_| Ok(text.to_owned())).expect_err("unknown keys");
    let advice = problems.iter().filter(|problem| problem.what.contains("unknown key"));
    let lists = advice.filter_map(|problem| problem.todo.split_once("use one of: ").map(|(_, list)| list.to_owned()));
    lists.flat_map(|list| list.split(", ").map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn the_reference_names_every_key() {
    let reference = read_file(&Path::new(env!("CARGO_MANIFEST_DIR")).join("FLEET.md")).unwrap();
    let written: BTreeSet<&str> = reference.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).collect();
    let keys = known_keys();
    assert!(keys.len() > 60, "{keys:?}");
    let missing: Vec<&String> = keys.iter().filter(|key| !written.contains(key.as_str())).collect();
    assert!(missing.is_empty(), "not in FLEET.md: {missing:?}");
}

#[test]
fn the_examples_are_found_to_be_what_they_say() {
    let cases: [(&str, &[&str]); 3] = [
        ("minimal.toml", &["observe-only", "few-vantages", "no-control-targets", "nobody-told"]),
        ("three-sites.toml", &[]),
        ("two-sites.toml", &["few-vantages", "nobody-told", "never-by-itself"]),
    ];
    for (name, codes) in cases {
        let fleet = parse(&examples().join(name), &read_file).expect("an example");
        let found: Vec<String> = check(&fleet).into_iter().map(|finding| finding.code).collect();
        assert_eq!(found, codes, "{name}");
    }
}

#[test]
fn with_three_failure_domains_every_loss_of_a_site_is_survived_without_a_person() {
    let fleet = parse(&examples().join("three-sites.toml"), &read_file).expect("an example");
    for survival in survivals(&fleet) {
        let service = &fleet.services[survival.service.at()];
        let asks = survival.outlook == Outlook::Asks;
        let is_manual = service.name == "reports";
        assert!(!asks || is_manual, "{} at {:?}: {}", service.name, survival.site, survival.reason);
    }
}

proptest! {
    #[test]
    fn no_fleet_file_makes_the_parser_panic(at in any::<prop::sample::Index>(), cut in 0usize..60, put in ".{0,12}") {
        let texts = ["three-sites.toml", "three-sites/services.toml"].map(|name| read_file(&examples().join(name)).unwrap());
        let whole = texts.join("\n").replace("include = ", "# ");
        let from = whole.floor_char_boundary(at.index(whole.len()));
        let to = whole.ceil_char_boundary((from + cut).min(whole.len()));
        let text = format!("{}{put}{}", &whole[..from], &whole[to..]);
        match parse(Path::new("fleet.toml"), &|_| Ok(text.clone())) {
            Ok(fleet) => { check(&fleet); }
            Err(problems) => prop_assert!(!problems.is_empty()),
        }
    }

    #[test]
    fn leaving_out_lines_makes_no_panic_either(left_out in prop::collection::btree_set(0usize..150, 1..12)) {
        let texts = ["three-sites.toml", "three-sites/services.toml"].map(|name| read_file(&examples().join(name)).unwrap());
        let whole = texts.join("\n").replace("include = ", "# ");
        let kept = whole.lines().enumerate().filter(|(at, _)| !left_out.contains(at)).map(|(_, line)| line);
        let text = kept.collect::<Vec<_>>().join("\n");
        if let Ok(fleet) = parse(Path::new("fleet.toml"), &|_| Ok(text.clone())) {
            check(&fleet);
        }
    }
}
