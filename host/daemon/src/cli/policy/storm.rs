//! `tidegate policy storm` and `policy replay`: random disasters, a score card, and each bad one again by its seed.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde::Serialize;
use tidegate_kernel::fleet::{Fleet, Mode};
use tidegate_simulator::storm::{Bad, Card, Spread, Storm, replay};

use super::simulated::{BUILT_IN, WithPolicy, deciders, fleet_of, threads};
use super::{Wanted, With, Workbench, report};
use crate::cli::console::Console;
use crate::cli::failed::{Exit, Failed};
use crate::cli::text::{Table, Tone, cell, paint};

/// More bad runs than these do not help on one screen.
const SHOWN: usize = 12;

/// `policy storm`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate policy storm                          a thousand disasters over the built-in fleet
  tidegate policy storm --runs 100000 --json
  tidegate policy storm --policy mine.wasm --against builtin:failover-quorum --html report.html
  tidegate policy storm --fleet fleet.toml       your own fleet as if it might act; nothing of it is touched

The same seed gives the same disasters, and the same card but for the time that it took.
Exit codes: 0 no invariant was broken, 1 one was.")]
pub struct StormOf {
    /// How many disasters.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub runs: u64,
    /// Seed of the first; each further one has the next.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// The policy.
    #[command(flatten)]
    pub with: WithPolicy,
    /// The fleet.
    #[command(flatten)]
    pub over: Over,
    /// Another policy through the same disasters, beside it; its settings are the fleet file's.
    #[arg(long, value_name = "PLUGIN")]
    pub against: Option<String>,
    /// Write a report with plots there.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// `policy replay`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate policy replay --seed 42               what happened in that disaster, line by line
  tidegate policy replay --seed 42 --policy mine.wasm")]
pub struct Replay {
    /// Of a disaster that a storm named.
    #[arg(long, value_name = "N")]
    pub seed: u64,
    /// The policy.
    #[command(flatten)]
    pub with: WithPolicy,
    /// The fleet.
    #[command(flatten)]
    pub over: Over,
}

/// What disasters break over.
#[derive(Args, Clone, Debug)]
pub struct Over {
    /// Your own fleet file [default: three built-in sites; no fleet.toml is looked for].
    // In the place of the option that all commands have: it would promise to look for one.
    #[arg(long, value_name = "FILE", env = "TIDEGATE_FLEET")]
    pub fleet: Option<PathBuf>,
}

/// One policy's card, or two.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Cards {
    /// Of the one policy.
    One(Box<Card>),
    /// Of both, through the same disasters.
    Two {
        /// The policy.
        policy: Box<Card>,
        /// The one that it is held against.
        against: Box<Card>,
    },
}

/// Plays the storm, once or twice.
pub async fn run(console: &Console, asked: &StormOf) -> Result<Exit, Failed> {
    let fleet = asked.over.fleet(console)?;
    let wanted = asked.with.with.generous(&asked.with.policy)?;
    let bench = asked.with.with.bench(threads()).await?;
    let card = play(console, &bench, asked, &fleet, &wanted).await?;
    let cards = match &asked.against {
        None => Cards::One(Box::new(card)),
        Some(other) => {
            // Its settings are its own: those that were named are the first one's.
            let other = Wanted { plugin: other.clone(), settings: serde_json::Value::Null, ..wanted };
            let against = Box::new(play(console, &bench, asked, &fleet, &other).await?);
            Cards::Two { policy: Box::new(card), against }
        }
    };
    if let Some(path) = &asked.html {
        let text = report::html(&sides(asked, &cards));
        std::fs::write(path, text)
            .map_err(|error| Failed::new(format!("the report cannot be written: {error}")).at(path.display()))?;
    }
    console.show(&cards, |cards, _| page(asked, cards))?;
    Ok(if cards.first().checker_hits == 0 { Exit::Done } else { Exit::Failed })
}

/// Plays one disaster, and tells what happened.
pub async fn again(console: &Console, asked: &Replay) -> Result<Exit, Failed> {
    let fleet = asked.over.fleet(console)?;
    let wanted = asked.with.with.generous(&asked.with.policy)?;
    let bench = asked.with.with.bench(1).await?;
    let mut deciders = deciders(&bench, &fleet, &wanted).await?;
    let ended = replay(&fleet, asked.seed, &mut deciders[0]);
    if console.json() {
        let whole = serde_json::json!({ "seed": asked.seed, "timeline": ended.timeline, "ended": ended });
        console.document(&whole)?;
    } else {
        console.say(&ended.timeline.join("\n"))?;
        let hits = ended.hits.iter().map(|hit| format!("{}: {}", hit.checker, hit.text));
        let all = hits.chain(ended.false_moves.clone()).chain(ended.missed_moves.clone());
        for bad in all {
            console.say(&format!("{} {bad}", paint("!!", Tone::Bad)))?;
        }
    }
    Ok(if ended.hits.is_empty() { Exit::Done } else { Exit::Failed })
}

impl Cards {
    /// Of the policy that was asked about.
    pub fn first(&self) -> &Card {
        match self {
            Cards::One(card) | Cards::Two { policy: card, .. } => card,
        }
    }

    /// Of the one beside it.
    pub fn second(&self) -> Option<&Card> {
        match self {
            Cards::One(_) => None,
            Cards::Two { against, .. } => Some(against),
        }
    }
}

impl Over {
    /// The fleet, made to act: a disaster is to show what would be done.
    fn fleet(&self, console: &Console) -> Result<Fleet, Failed> {
        let name = self.fleet.as_ref().map_or("builtin:three-sites".to_owned(), |path| path.display().to_string());
        let unplayed = |why: String| Failed::usage(why).unchanged("nothing was played");
        let mut fleet = fleet_of(&name, Path::new("")).map_err(unplayed)?;
        if fleet.services.is_empty() {
            let next = "declare one as [service.NAME], or leave --fleet away for three built-in sites with ten";
            return Err(unplayed("the fleet has no service that a disaster could take away".to_owned())
                .at(name)
                .next(next));
        }
        if std::mem::replace(&mut fleet.host.mode, Mode::Act) == Mode::Observe {
            console
                .note(&format!("{name} says mode = \"observe\"; it is played as \"act\", to show what would be done"));
        }
        Ok(fleet)
    }
}

/// One policy of a storm with its card.
pub(super) struct Side<'a> {
    /// As it was named.
    pub(super) policy: &'a str,
    pub(super) card: &'a Card,
    /// What is typed behind the seed to replay a disaster with it.
    replay: String,
}

/// The policy, and the one beside it if there is one.
pub(super) fn sides<'a>(asked: &'a StormOf, cards: &'a Cards) -> Vec<Side<'a>> {
    let settings = asked.with.with.settings.as_deref();
    let first = Side::new(asked, &asked.with.policy, cards.first(), settings);
    let second = asked.against.as_deref().zip(cards.second());
    [first].into_iter().chain(second.map(|(policy, card)| Side::new(asked, policy, card, None))).collect()
}

impl<'a> Side<'a> {
    fn new(asked: &StormOf, policy: &'a str, card: &'a Card, settings: Option<&Path>) -> Self {
        let With { limits, cache, .. } = &asked.with.with;
        let path = |path: &Path| path.display().to_string();
        let options = [
            ("--policy", (policy != BUILT_IN).then(|| policy.to_owned())),
            ("--settings", settings.map(path)),
            ("--cache", cache.as_deref().map(path)),
            ("--fleet", asked.over.fleet.as_deref().map(path)),
        ];
        let options = options.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let limits = limits.iter().map(|limit| ("--limit", limit.clone()));
        let replay = options.chain(limits).map(|(name, value)| format!(" {name} {}", quoted(&value))).collect();
        Side { policy, card, replay }
    }

    /// What to type to see that disaster again.
    pub(super) fn replay(&self, seed: u64) -> String {
        format!("tidegate policy replay --seed {seed}{}", self.replay)
    }

    /// What to look at again, for people; `of` is put before each.
    fn bad(&self, of: &str) -> String {
        let bad = &self.card.bad;
        let line =
            |bad: &Bad| format!("{} {of}seed {}: {}: {}\n", paint("!!", Tone::Bad), bad.seed, bad.kind, bad.text);
        let mut text: String = bad.iter().take(SHOWN).map(line).collect();
        if bad.len() > SHOWN {
            text += &format!("and {} more; --json has all\n", bad.len() - SHOWN);
        }
        text + &bad.first().map_or_else(String::new, |bad| format!("next: {}\n", self.replay(bad.seed)))
    }
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./:=@%+,-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

async fn play(
    console: &Console,
    bench: &Workbench,
    asked: &StormOf,
    fleet: &Fleet,
    wanted: &Wanted,
) -> Result<Card, Failed> {
    let deciders = deciders(bench, fleet, wanted).await?;
    let storm = Storm { fleet: fleet.clone(), seed: asked.seed, runs: asked.runs };
    let (begun, visible) = (Instant::now(), std::io::stderr().is_terminal() && !console.json());
    // Blocking is right here: nothing else runs in this process.
    let mut card = tokio::task::block_in_place(|| storm.play(deciders, &|over| show(visible, over, asked.runs)));
    card.wall_s = begun.elapsed().as_secs_f64();
    Ok(card)
}

/// A bar that moves in steps of one per cent.
fn show(visible: bool, over: u64, of: u64) {
    if !visible || (over != of && !over.is_multiple_of(of.div_ceil(100))) {
        return;
    }
    let done = (over * 40 / of.max(1)) as usize;
    let end = if over == of { "\n" } else { "" };
    eprint!("\r[{}{}] {over} of {of} disasters{end}", "=".repeat(done), " ".repeat(40 - done));
    // A terminal that takes no more is no reason to stop.
    let _ = std::io::stderr().flush();
}

fn page(asked: &StormOf, cards: &Cards) -> String {
    let sides = sides(asked, cards);
    let of = |side: &Side<'_>| if sides.len() > 1 { format!("{}: ", side.policy) } else { String::new() };
    table(asked, cards).render() + &sides.iter().map(|side| side.bad(&of(side))).collect::<String>()
}

fn table(asked: &StormOf, cards: &Cards) -> Table {
    let policy = asked.with.policy.as_str();
    match (&asked.against, cards) {
        (Some(other), Cards::Two { policy: card, against }) => {
            let mut table = Table::new(["", policy, other]);
            ROWS.iter().for_each(|(name, figure)| {
                table.row([cell(*name, Tone::Title), figure(card).into(), figure(against).into()]);
            });
            table
        }
        (_, cards) => {
            let mut table = Table::new(["", policy]);
            ROWS.iter().for_each(|(name, figure)| {
                table.row([cell(*name, Tone::Title), figure(cards.first()).into()]);
            });
            table
        }
    }
}

/// A line of the score card.
pub type Row = (&'static str, fn(&Card) -> String);

/// The score card, line by line.
pub const ROWS: [Row; 15] = [
    ("disasters", |card| card.runs.to_string()),
    ("simulated", |card| format!("{:.0} h in {:.1} s", card.sim_hours, card.wall_s)),
    ("invariants broken", |card| card.checker_hits.to_string()),
    ("false moves", |card| card.false_moves.to_string()),
    ("missed moves", |card| card.missed_moves.to_string()),
    ("outage of what was moved", |card| spread(card.rto_s)),
    ("downtime of a disaster", |card| spread(card.downtime_s)),
    ("lost rows", |card| card.lost_writes.to_string()),
    ("rows missed by readers", |card| card.missed_rows.to_string()),
    ("stale reads", |card| format!("{:.2} s", card.stale_reads_s)),
    ("split brain", |card| format!("{:.2} s", card.split_brain_s)),
    ("moves", |card| card.moves.to_string()),
    ("incidents", |card| card.incidents.to_string()),
    ("moves per incident", |card| format!("{:.2}", card.moves_per_incident)),
    ("questions to people", |card| card.questions.to_string()),
];

fn spread(of: Spread) -> String {
    format!("p50 {:.1} s, p90 {:.1} s, p99 {:.1} s", of.p50, of.p90, of.p99)
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn what_a_shell_would_take_apart_is_quoted() {
        for (word, typed) in [
            ("builtin:failover-quorum", "builtin:failover-quorum"),
            ("memory=64MiB", "memory=64MiB"),
            ("my fleet.toml", "'my fleet.toml'"),
            ("$HOME/it's", r"'$HOME/it'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), typed);
        }
    }
}
