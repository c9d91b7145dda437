//! What the fleet file means, and what an operator is told when it cannot be used: the wording is part of the product.
//!
//! Each `fleet_problems/NAME.toml` is refused with exactly `NAME.out`. Run with `UPDATE_GOLDENS=1` to write them anew.

use std::io;
use std::path::{Path, PathBuf};

use tidegate_kernel::contract::{Autonomy, Strategy};
use tidegate_kernel::fleet::{
    Fleet, Mode, Problem, SiteId, in_maintenance, local_time, parse, parse_duration, write_duration,
};

fn read_file(path: &Path) -> io::Result<String> {
    std::fs::read_to_string(path)
}

fn from_text(text: &str) -> Result<Fleet, Vec<Problem>> {
    parse(Path::new("fleet.toml"), &|_| Ok(text.to_owned()))
}

fn told(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fleets")
}

fn minimal(service: &str) -> String {
    format!(
        "[host]\nsite = \"west\"\n[site.west]\n[site.east]\n[service.shop]\nprobe = {{ slot = \"probe/tcp\" }}\n{service}\n\
         [service.shop.at.west]\nendpoint = \"w\"\ntarget = {{ address = \"w:1\" }}\n\
         [service.shop.at.east]\nendpoint = \"e\"\ntarget = {{ address = \"e:1\" }}\n"
    )
}

#[test]
fn every_problem_is_told_with_its_place_and_what_to_do() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fleet_problems");
    let mut cases = 0;
    for entry in std::fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        cases += 1;
        let name = Path::new(path.file_name().unwrap());
        let problems = parse(name, &|name| read_file(&directory.join(name))).expect_err("a fleet file that is refused");
        let golden = path.with_extension("out");
        if std::env::var_os("UPDATE_GOLDENS").is_some() {
            std::fs::write(&golden, told(&problems)).unwrap();
        }
        assert_eq!(told(&problems), std::fs::read_to_string(&golden).unwrap_or_default(), "{}", path.display());
    }
    assert!(cases >= 10, "only {cases} cases in {}", directory.display());
}

#[test]
fn every_example_is_accepted() {
    let mut examples_read = 0;
    for entry in std::fs::read_dir(examples()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            parse(&path, &read_file).unwrap_or_else(|problems| panic!("{}", told(&problems)));
            examples_read += 1;
        }
    }
    assert!(examples_read >= 3);
}

#[test]
fn a_short_fleet_gets_safe_defaults() {
    let fleet = from_text(&minimal("")).unwrap_or_else(|problems| panic!("{}", told(&problems)));
    let shop = &fleet.services[0];
    assert_eq!(fleet.host.mode, Mode::Observe);
    assert_eq!((shop.failover, shop.failback), (Autonomy::SemiAutomatic, Autonomy::Manual));
    assert_eq!(shop.objectives.rpo, 0);
    assert_eq!((shop.probe.interval, shop.probe.timeout, shop.probe.bad, shop.probe.good), (1_000, 800, 2, 3));
    assert_eq!((shop.cooldown, shop.hold_down), (600_000, 600_000));
    assert!(!shop.one_domain_suffices);
    assert_eq!(fleet.host.listen, ["unix:/var/lib/tidegate/tidegate.sock"]);
    assert_eq!(fleet.host.agents_listen, None);
}

#[test]
fn the_host_looks_itself_where_no_agent_stands_beside_it() {
    let alone = from_text(&minimal("")).unwrap();
    assert_eq!(alone.vantages.len(), 1);
    assert_eq!((alone.vantages[0].name.as_str(), alone.vantages[0].failure_domain.as_str()), ("host", "west"));
    let agent = "[agent.a]\nsite = \"west\"\ntoken = \"t\"\n[secret]\nt = { env = \"T\" }\n";
    let text = minimal("").replace("[host]\n", "[host]\nagents-listen = \"127.0.0.1:1\"\n") + agent;
    let beside = from_text(&text).unwrap_or_else(|problems| panic!("{}", told(&problems)));
    assert_eq!(beside.vantages.len(), 1);
    assert_eq!(beside.vantages[0].name, "a");
}

#[test]
fn a_built_in_probe_may_reach_the_declared_targets_only() {
    let fleet = from_text(&minimal("")).unwrap();
    assert_eq!(fleet.slots["probe/tcp"].grants, ["tcp://e:1", "tcp://w:1"]);
    assert_eq!(fleet.slots["failover/default"].plugin, "builtin:failover-quorum");
    assert!(!fleet.slots.contains_key("probe/http"));
}

#[test]
fn defaults_fill_in_what_a_service_leaves_unsaid() {
    let fleet = parse(&examples().join("three-sites.toml"), &read_file)
        .unwrap_or_else(|problems| panic!("{}", told(&problems)));
    let service = |name: &str| fleet.services.iter().find(|service| service.name == name).unwrap();
    assert_eq!(service("shop").route.as_ref().unwrap().ttl_seconds, 30);
    assert_eq!(service("reports").route.as_ref().unwrap().ttl_seconds, 300);
    assert_eq!(service("reports").route.as_ref().unwrap().slot, "dns/primary");
    assert_eq!(service("reports").probe.bad, 2);
    assert_eq!(service("login").strategy, Strategy::ActiveActive);
    assert_eq!(
        service("shop").depends_on,
        [fleet
            .services
            .iter()
            .position(|s| s.name == "login")
            .map(|at| tidegate_kernel::fleet::ServiceId(at as u32))
            .unwrap()]
    );
}

#[test]
fn sites_are_numbered_by_rank() {
    let text =
        minimal("").replace("[site.west]", "[site.west]\nrank = 7").replace("[site.east]", "[site.east]\nrank = 1");
    let fleet = from_text(&text).unwrap();
    assert_eq!(fleet.sites[0].name, "east");
    assert_eq!(fleet.services[0].active_at_start, SiteId(0));
    assert_eq!(fleet.services[0].places[1].endpoint, "w");
}

#[test]
fn active_active_shares_are_equal_unless_declared() {
    let fleet = from_text(&minimal("strategy = \"active-active\"")).unwrap();
    let shares: Vec<u32> = fleet.services[0].places.iter().map(|place| place.share).collect();
    assert_eq!(shares, [50, 50]);
}

#[test]
fn relative_paths_start_at_the_file_that_names_them() {
    let main =
        format!("include = [\"parts/more.toml\"]\n{}", minimal("").replace("[host]\n", "[host]\nstate = \"state\"\n"));
    let more = "[secret]\nkey = { file = \"dns.key\" }\n";
    let read = |path: &Path| Ok(if path.ends_with("more.toml") { more.to_owned() } else { main.clone() });
    let fleet =
        parse(Path::new("/etc/tidegate/fleet.toml"), &read).unwrap_or_else(|problems| panic!("{}", told(&problems)));
    assert_eq!(fleet.host.state, Path::new("/etc/tidegate/state"));
    assert_eq!(fleet.host.plugins.as_deref(), Some(Path::new("/etc/tidegate")));
    assert_eq!(format!("{:?}", fleet.secrets["key"]), "File(\"/etc/tidegate/parts/dns.key\")");
}

#[test]
fn what_a_provider_declares_reaches_it_as_json() {
    let slot = "[slot.\"dns/a\"]\nplugin = \"file:dns.wasm\"\nsettings = { zone = \"example.com\", tries = 3 }\n";
    let route = "route = { slot = \"dns/a\", name = \"shop.example.com\", ttl = \"1m\", type = \"AAAA\" }";
    let fleet = from_text(&(minimal(route) + slot)).unwrap_or_else(|problems| panic!("{}", told(&problems)));
    assert_eq!(fleet.services[0].route.as_ref().unwrap().declared, r#"{"type":"AAAA"}"#);
    assert_eq!(fleet.slots["dns/a"].settings["tries"], 3);
    assert_eq!(fleet.services[0].places[0].target, r#"{"address":"w:1"}"#);
}

#[test]
fn an_include_that_is_missing_is_told_where_it_is_asked_for() {
    let read = |path: &Path| match path.to_str() {
        Some("fleet.toml") => Ok("include = [\"gone.toml\"]\n".to_owned()),
        _ => Err(io::Error::new(io::ErrorKind::NotFound, "no such file")),
    };
    let problems = parse(Path::new("fleet.toml"), &read).unwrap_err();
    assert_eq!(
        told(&problems),
        "fleet.toml:1:12: cannot read gone.toml: no such file\n  do: correct the path or the file's permissions\n"
    );
}

#[test]
fn durations_are_read_and_written() {
    let cases = [("800ms", 800), ("30s", 30_000), ("5m", 300_000), ("2h", 7_200_000), ("1d", 86_400_000), ("0s", 0)];
    for (text, millis) in cases {
        assert_eq!(parse_duration(text), Some(millis), "{text}");
        assert_eq!(write_duration(millis), text);
    }
    assert_eq!(parse_duration("1h30m"), Some(5_400_000));
    for wrong in ["", "5", "s", "5 m", "-5s", "1.5h", "5x", "99999999999999999999d", "18446744073709551615d"] {
        assert_eq!(parse_duration(wrong), None, "{wrong}");
    }
}

#[test]
fn maintenance_is_in_the_fleets_own_time() {
    let fleet = from_text(&minimal("maintenance = [{ days = [\"sat\"], from = \"23:00\", to = \"01:00\" }]")).unwrap();
    let windows = &fleet.services[0].maintenance;
    let hour = |hours: u64| hours * 3_600_000;
    for (day, time, open) in
        [(5, hour(22), false), (5, hour(23), true), (6, 0, true), (6, hour(1), false), (5, 0, false)]
    {
        assert_eq!(in_maintenance(windows, day, time), open, "day {day} at {time}");
    }
    // Saturday, 2026-11-21 22:30 UTC is half past eleven in Vienna; in July the same hour is half past midnight on Sunday.
    assert_eq!(local_time("Europe/Vienna", 1_795_300_200_000), (5, hour(23) + 1_800_000));
    assert_eq!(local_time("Europe/Vienna", 1_784_413_800_000), (6, 1_800_000));
    assert_eq!(local_time("UTC", 0), (3, 0));
}
