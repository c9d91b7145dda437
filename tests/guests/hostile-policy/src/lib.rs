//! A failover policy that breaks one rule for each word in its settings; without one it holds.
//!
//! Knows nothing of failing over.

#![cfg(target_arch = "wasm32")]

wit_bindgen::generate!({ path: "../../../wit/v0.1.0", world: "failover" });

use exports::tidegate::dr::{
    failover_policy::{Candidate, Decision, Guest as Policy, Move, Share, Situation, Verdict},
    plugin::{Guest as Plugin, Manifest, Problem},
};
use std::hint::black_box;
use tidegate::dr::{
    dns, health,
    log::{self, Level},
    replication,
    types::{Fact, Reason},
};

struct Hostile;
export!(Hostile);

#[cfg(feature = "loop-in-start")]
#[used]
#[unsafe(link_section = ".init_array")]
static AT_START: extern "C" fn() = {
    extern "C" fn spin() {
        forever();
    }
    spin
};

impl Plugin for Hostile {
    fn describe() -> Manifest {
        if cfg!(feature = "loop-in-describe") {
            forever();
        }
        Manifest {
            name: "hostile-policy".into(),
            version: "0.1.0".into(),
            summary: "Breaks rules".into(),
            settings_schema: "{}".into(),
            wants: vec![],
            memo_format: "words".into(),
        }
    }

    fn check_settings(settings: String) -> Result<(), Vec<Problem>> {
        if settings.contains("refuse-me") {
            return Err(vec![Problem { at: "/do".into(), text: "refused on request".into() }]);
        }
        Ok(())
    }
}

impl Policy for Hostile {
    fn decide(situation: Situation) -> Result<Decision, String> {
        let mut decision = hold("quiet");
        match word(&situation.settings) {
            "loop" => forever(),
            "memory" => hoard(),
            "stack" => decision.analysis = dig(1).to_string(),
            "panic" => panic!("on purpose"),
            "panic-when-lost" if is_lost(&situation) => panic!("just when it is needed"),
            "loop-when-lost" if is_lost(&situation) => forever(),
            "sleep" => std::thread::sleep(std::time::Duration::from_secs(3_600)),
            "host-calls" => loop {
                black_box(health::agreed("x", "y"));
            },
            "log-flood" => (0..1_000).for_each(|_| log::write(Level::Info, &"flood ".repeat(1_000))),
            "print-flood" => (0..1_000).for_each(|_| println!("{}", "flood ".repeat(100))),
            "transfer" => log::write(Level::Info, &"x".repeat(2 << 20)),
            "huge-string" => decision.analysis = "x".repeat(2 << 20),
            "huge-list" => decision.facts = vec![Fact { key: "k".into(), value: "v".into() }; 20_000],
            "memo" => decision.memo = "x".repeat(4_097),
            "mars" => decision.verdict = Verdict::FailOver(to("mars")),
            "shares" => decision.verdict = Verdict::Rebalance(vec![share("a", 70), share("b", 70)]),
            "veto" => decision.vetoes = vec![veto("nobody")],
            "enum" => decision.verdict = Verdict::Ask(nonsense()),
            "decline" => return Err("I would rather not".into()),
            "network" => decision.analysis = format!("{:?}", std::net::TcpStream::connect("127.0.0.1:80")),
            "file" => decision.analysis = format!("{:?}", std::fs::read("/etc/passwd")),
            "exit" => std::process::exit(3),
            "hold-and-trap" => {
                let _held = std::io::stdout().lock();
                println!("with a lock in my hand");
                core::arch::wasm32::unreachable();
            }
            "look" => decision.facts = look(&situation),
            "surroundings" => decision.facts = surroundings(),
            "memo-back" => decision.analysis = situation.memo,
            "count" => count(&mut decision, &situation.memo),
            "roomy" => decision.analysis = fill(8 << 20),
            "roomy-when-lost" if is_lost(&situation) => decision.analysis = fill(8 << 20),
            "slow" => decision.analysis = work(400_000).to_string(),
            "say" => decision.analysis = situation.settings,
            _ => {}
        }
        Ok(decision)
    }
}

/// `{"do":"loop"}` → `loop`
fn word(settings: &str) -> &str {
    settings.split('"').nth(3).unwrap_or_default()
}

/// The active site is found to be down.
fn is_lost(situation: &Situation) -> bool {
    let active = situation.sites.iter().find(|view| view.site == situation.active_site);
    active.is_some_and(|view| matches!(view.consensus.status, health::Status::Unhealthy))
}

fn hold(analysis: &str) -> Decision {
    Decision {
        verdict: Verdict::Hold,
        analysis: analysis.into(),
        reasons: vec![],
        vetoes: vec![],
        would_change_if: vec![],
        ask_again_in: None,
        memo: String::new(),
        facts: vec![],
    }
}

fn forever() {
    let mut n = 0_u64;
    while black_box(n) != u64::MAX {
        n = black_box(n) & 0xffff;
        n += 1;
    }
}

fn hoard() {
    let mut kept = Vec::new();
    loop {
        kept.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// How often it has been asked, as far as it remembers.
fn count(decision: &mut Decision, memo: &str) {
    let times = memo.parse().unwrap_or(0) + 1;
    decision.analysis = format!("times-{times}");
    decision.memo = times.to_string();
}

/// Twice what a policy has by default.
fn fill(bytes: usize) -> String {
    format!("bytes-{}", black_box(vec![1_u8; bytes]).len())
}

#[expect(unconditional_recursion)]
fn dig(depth: u64) -> u64 {
    let room = black_box([depth; 64]);
    dig(room[1] + 1) + room[0]
}

fn work(rounds: u64) -> u64 {
    (0..rounds).fold(1, |sum, n| black_box(sum ^ n))
}

fn to(site: &str) -> Move {
    Move { to_site: site.into(), promote: vec![], shifts: vec![], expected_loss: None }
}

fn share(site: &str, per_cent: u32) -> Share {
    Share { site: site.into(), per_cent }
}

fn veto(site: &str) -> exports::tidegate::dr::failover_policy::Veto {
    let reason = Reason { code: "far".into(), text: "too far".into() };
    exports::tidegate::dr::failover_policy::Veto { candidate: Candidate::Site(site.into()), reason }
}

/// A question with a list whose length is a lie is beyond safe Rust; one without words is not.
fn nonsense() -> exports::tidegate::dr::failover_policy::Question {
    exports::tidegate::dr::failover_policy::Question { text: String::new(), options: vec![], expires_in: 0 }
}

fn look(situation: &Situation) -> Vec<Fact> {
    let own = health::observations(&situation.service, "a").len();
    let other = health::agreed("other", "b").voting;
    health::agreed("other", "b");
    let cluster = replication::topology("db").map(|cluster| cluster.nodes.len());
    let route = dns::resolve("nowhere.example").map(|route| route.name);
    let fact = |key: &str, value: String| Fact { key: key.into(), value };
    vec![
        fact("own", own.to_string()),
        fact("other", other.to_string()),
        fact("cluster", format!("{cluster:?}")),
        fact("route", format!("{route:?}")),
    ]
}

/// Everything that a pure function must not see, as it sees it.
fn surroundings() -> Vec<Fact> {
    let fact = |key: &str, value: String| Fact { key: key.into(), value };
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let clock = std::time::Instant::now();
    let mut map = std::collections::HashMap::new();
    (0..20).for_each(|n| drop(map.insert(n, n)));
    vec![
        fact("now", since.as_millis().to_string()),
        fact("elapsed", (0..1_000).map(|_| clock.elapsed()).max().unwrap_or_default().as_nanos().to_string()),
        fact("random", map.keys().map(ToString::to_string).collect::<Vec<_>>().join(",")),
        fact("environment", std::env::vars().count().to_string()),
        fact("arguments", std::env::args().count().to_string()),
    ]
}
