//! What `check` warns of, and which losses a fleet survives without a person.

use std::path::Path;

use tidegate_kernel::fleet::{Finding, Fleet, Level, Outlook, SiteId, Survival, check, parse, survivals};

/// Three sites with an agent each; the host stands at the third.
const THREE: &str = r#"
[host]
site = "third"
mode = "act"
agents-listen = "127.0.0.1:1"
[site.first]
jurisdiction = "EU"
[site.second]
jurisdiction = "EU"
[site.third]
jurisdiction = "US"
[agent.first]
site = "first"
token = "t"
control-targets = ["tcp://192.0.2.1:53"]
[agent.second]
site = "second"
token = "t"
control-targets = ["tcp://192.0.2.2:53"]
[agent.third]
site = "third"
token = "t"
control-targets = ["tcp://192.0.2.3:53"]
[secret]
t = { env = "T" }
[slot."dns/a"]
plugin = "builtin:dns-rfc2136"
[slot."notify/a"]
plugin = "builtin:notify-webhook"
[channel.a]
slot = "notify/a"
[defaults.service]
probe = { slot = "probe/tcp" }
route = { slot = "dns/a", name = "shop.example.com" }
"#;

const FIRST_AND_SECOND: &str = r#"
at.first = { endpoint = "f", target = { address = "f:1" }, load = 60 }
at.second = { endpoint = "s", target = { address = "s:1" }, load = 60 }
"#;

fn fleet(text: &str) -> Fleet {
    parse(Path::new("fleet.toml"), &|_| Ok(text.to_owned())).unwrap_or_else(|problems| {
        panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })
}

fn shop(keys: &str) -> Fleet {
    fleet(&format!("{THREE}\n[service.shop]\n{keys}\n{FIRST_AND_SECOND}"))
}

fn lose(fleet: &Fleet, site: u16, service: &str) -> Survival {
    let of_service = |survival: &Survival| fleet.services[survival.service.at()].name == service;
    survivals(fleet)
        .into_iter()
        .find(|survival| survival.site == SiteId(site) && of_service(survival))
        .expect("a service at the site")
}

fn codes(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.code.as_str()).collect()
}

#[test]
fn a_sound_fleet_gives_no_finding() {
    assert_eq!(check(&shop("")), []);
}

#[test]
fn the_loss_of_the_active_site_is_survived_by_majority() {
    let fleet = shop("");
    let lost = lose(&fleet, 0, "shop");
    assert_eq!(lost.outlook, Outlook::Moves(vec![SiteId(1)]));
    assert_eq!(lost.reason, "2 of 3 failure domains are left to see it");
    assert_eq!(lose(&fleet, 1, "shop").outlook, Outlook::Untouched);
}

#[test]
fn what_keeps_a_loss_from_being_survived_alone_is_said() {
    let cases = [
        ("failover = \"manual\"", "its failover is manual"),
        ("approval = [\"fail-over\"]", "`fail-over` waits for an approval"),
        ("active = \"second\"", "served from second; it has one place less to go to"),
    ];
    for (keys, reason) in cases {
        assert_eq!(lose(&shop(keys), 0, "shop").reason, reason, "{keys}");
    }
}

#[test]
fn two_failure_domains_ask_unless_one_suffices() {
    let two = THREE
        .replace("\n[agent.third]\nsite = \"third\"", "\n[agent.third]\nfailure-domain = \"second\"\nsite = \"third\"");
    let text = |keys: &str| format!("{two}\n[service.shop]\n{keys}\n{FIRST_AND_SECOND}");
    let asks = lose(&fleet(&text("")), 0, "shop");
    assert_eq!(asks.outlook, Outlook::Asks);
    assert!(asks.reason.starts_with("1 of 2 failure domains"), "{}", asks.reason);
    assert_eq!(codes(&check(&fleet(&text("")))), ["few-vantages", "never-by-itself"]);
    let moves = lose(&fleet(&text("one-domain-suffices = true")), 0, "shop");
    assert_eq!(moves.outlook, Outlook::Moves(vec![SiteId(1)]));
}

#[test]
fn nobody_is_left_to_decide_where_the_host_itself_is_lost() {
    let text = format!(
        "{}\n[service.shop]\n{FIRST_AND_SECOND}",
        THREE.replace("site = \"third\"\nmode", "site = \"first\"\nmode")
    );
    assert_eq!(lose(&fleet(&text), 0, "shop").reason, "this host stands there: nobody is left to decide");
}

#[test]
fn sites_that_share_a_failure_domain_are_lost_together() {
    let text = THREE.replace("[site.second]", "[site.second]\nfailure-domain = \"first\"");
    let fleet = fleet(&format!("{text}\n[service.shop]\n{FIRST_AND_SECOND}"));
    assert_eq!(lose(&fleet, 0, "shop").outlook, Outlook::Lost);
    assert!(codes(&check(&fleet)).contains(&"loss-not-survived"));
}

#[test]
fn the_most_critical_service_gets_the_capacity() {
    let second = FIRST_AND_SECOND.replace("60", "50");
    let fleet = fleet(&format!(
        "{THREE}\n[service.shop]\ntier = \"tier2\"\n{FIRST_AND_SECOND}\n[service.pay]\ntier = \"tier1\"\n{second}"
    ));
    assert_eq!(lose(&fleet, 0, "pay").outlook, Outlook::Moves(vec![SiteId(1)]));
    let shop = lose(&fleet, 0, "shop");
    assert_eq!((shop.outlook, shop.reason.as_str()), (Outlook::Asks, "second would be loaded to 110 %"));
}

#[test]
fn an_active_active_service_needs_room_for_the_share_that_is_lost() {
    let places = "strategy = \"active-active\"\nat.first = { endpoint = \"f\", target = {} }\nat.second = { endpoint = \"s\", target = {} }";
    let roomy = fleet(&format!("{THREE}\n[service.shop]\n{places}"));
    assert_eq!(lose(&roomy, 0, "shop").outlook, Outlook::Moves(vec![SiteId(1)]));
    let tight =
        fleet(&format!("{}\n[service.shop]\n{places}", THREE.replace("[site.second]", "[site.second]\ncapacity = 70")));
    assert_eq!(lose(&tight, 0, "shop").reason, "second would get 100 % of it and can take 70 %");
}

#[test]
fn a_service_cannot_be_promised_better_than_what_it_needs() {
    let text = format!(
        "{THREE}\n[service.shop]\ntier = \"tier1\"\nrto = \"1m\"\ndepends-on = [\"login\"]\n{FIRST_AND_SECOND}\n\
         [service.login]\nrto = \"10m\"\n{}",
        FIRST_AND_SECOND.replace("60", "20")
    );
    let findings = check(&fleet(&text));
    let told: Vec<&str> = findings.iter().map(|finding| finding.what.as_str()).collect();
    assert_eq!(
        told,
        [
            "promised back in 1m, and needs login, promised in 10m only",
            "is tier1, and needs login, which is only tier3"
        ]
    );
}

#[test]
fn a_place_outside_the_jurisdictions_is_an_error_and_no_target() {
    let at = "at.first = { endpoint = \"f\", target = {} }\nat.third = { endpoint = \"t\", target = {} }";
    let fleet = fleet(&format!("{THREE}\n[service.shop]\njurisdictions = [\"EU\"]\n{at}"));
    let findings = check(&fleet);
    assert_eq!(codes(&findings), ["outside-jurisdiction", "loss-not-survived"]);
    assert_eq!(findings[0].severity, Level::Error);
    assert_eq!(findings[0].what, "third is outside its jurisdictions (there: US; allowed: EU)");
    assert_eq!(lose(&fleet, 0, "shop").outlook, Outlook::Lost);
}

#[test]
fn a_promise_that_detection_alone_breaks_is_told() {
    let findings = check(&shop("rto = \"20s\""));
    assert_eq!(
        findings[0].what,
        "its rto of 20s is over before it can be met: 2800ms to see a loss, 30s until caches let go"
    );
}

#[test]
fn observe_mode_is_told_once_for_the_whole_fleet() {
    let text = format!("{}\n[service.shop]\n{FIRST_AND_SECOND}", THREE.replace("mode = \"act\"", "mode = \"observe\""));
    assert_eq!(codes(&check(&fleet(&text))), ["observe-only"]);
}
