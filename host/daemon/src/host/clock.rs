//! The host's time: one steady count of milliseconds that never jumps and goes on after a restart, and the wall beside it.
//!
//! Does not know what is timed. Setting the machine's clock changes what people are told, and nothing that is counted.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use tidegate_kernel::contract::{Millis, Timestamp};
use tidegate_kernel::event::Moment;

/// The host's time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    ahead_of_boot: Millis,
}

/// What is kept in the state directory: within one boot the steady count is the machine's own, shifted.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Kept {
    boot: String,
    ahead_of_boot: Millis,
}

/// What the machine says of itself.
struct Machine {
    boot: String,
    since_boot: Millis,
    wall: Timestamp,
}

impl Clock {
    /// Goes on from `last`, the journal's newest record. In the boot that this was kept in, by the machine's own count;
    /// after another boot by the walls' difference, which is taken as nothing if it is negative.
    pub fn resume(state: &Path, last: Option<Moment>) -> anyhow::Result<Self> {
        let machine = Machine::ask()?;
        let path = state.join("clock.json");
        let kept = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok());
        let clock = Clock { ahead_of_boot: ahead_of_boot(kept.as_ref(), last, &machine) };
        let now = Kept { boot: machine.boot, ahead_of_boot: clock.ahead_of_boot };
        if kept.as_ref() != Some(&now) {
            keep(&path, &now).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(clock)
    }

    /// Now.
    pub fn now(&self) -> Moment {
        Moment { mono: self.mono(), wall: wall() }
    }

    /// The steady count.
    pub fn mono(&self) -> Millis {
        since_boot() + self.ahead_of_boot
    }
}

impl Machine {
    fn ask() -> anyhow::Result<Self> {
        let boot =
            fs::read_to_string("/proc/sys/kernel/random/boot_id").context("cannot tell one boot from another")?;
        Ok(Machine { boot: boot.trim().to_owned(), since_boot: since_boot(), wall: wall() })
    }
}

fn ahead_of_boot(kept: Option<&Kept>, last: Option<Moment>, machine: &Machine) -> Millis {
    let last = last.unwrap_or_default();
    let behind_last = last.mono.saturating_sub(machine.since_boot);
    match kept {
        Some(kept) if kept.boot == machine.boot => kept.ahead_of_boot.max(behind_last),
        _ if last == Moment::default() => 0,
        _ => (last.mono + machine.wall.saturating_sub(last.wall)).saturating_sub(machine.since_boot),
    }
}

/// Counts suspension too, unlike the clock that timers run by.
fn since_boot() -> Millis {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec as Millis * 1_000 + time.tv_nsec as Millis / 1_000_000
}

fn wall() -> Timestamp {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as Timestamp)
}

fn keep(path: &Path, kept: &Kept) -> anyhow::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(&serde_json::to_vec(kept)?)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(boot: &str, since_boot: Millis, wall: Timestamp) -> Machine {
        Machine { boot: boot.to_owned(), since_boot, wall }
    }

    #[test]
    fn goes_on_whatever_happened_to_machine_and_wall() {
        let kept = Kept { boot: "a".to_owned(), ahead_of_boot: 70_000 };
        let last = Moment { mono: 100_000, wall: 5_000_000 };
        // What is kept, the last record, the machine, and what the steady count has to be.
        let cases = [
            ("a first start", None, None, machine("a", 42_000, 5_000_000), 42_000),
            ("the same boot", Some(&kept), Some(last), machine("a", 33_000, 5_003_000), 103_000),
            ("the same boot, the wall set back a day", Some(&kept), Some(last), machine("a", 33_000, 0), 103_000),
            ("another boot", Some(&kept), Some(last), machine("b", 8_000, 5_020_000), 120_000),
            ("another boot, the wall set back", Some(&kept), Some(last), machine("b", 8_000, 4_000_000), 100_000),
            ("another boot, long up", Some(&kept), Some(last), machine("b", 900_000, 5_020_000), 900_000),
            ("the file lost", None, Some(last), machine("a", 33_000, 5_003_000), 103_000),
            (
                "the file from before the journal's end",
                Some(&kept),
                Some(last),
                machine("a", 10_000, 5_003_000),
                100_000,
            ),
        ];
        for (name, kept, last, machine, mono) in cases {
            assert_eq!(ahead_of_boot(kept, last, &machine) + machine.since_boot, mono, "{name}");
        }
    }

    #[test]
    fn two_clocks_of_one_boot_agree() {
        let state = tempfile::tempdir().unwrap();
        let last = Moment { mono: u64::from(u32::MAX), wall: 0 };
        let first = Clock::resume(state.path(), Some(last)).unwrap();
        let second = Clock::resume(state.path(), None).unwrap();
        assert_eq!(first.ahead_of_boot, second.ahead_of_boot);
        assert!(first.now().mono >= last.mono);
    }
}
