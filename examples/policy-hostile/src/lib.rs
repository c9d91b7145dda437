//! Does everything that a policy must not do, one misdeed after the other, to show that none of it harms anybody.
//!
//! Well-behaved while it has no memo, so that it passes the self-test of a swap; from then on each decision is another misdeed.

use std::hint::black_box;
use std::time::Duration;

use tidegate_sdk::prelude::*;

/// Takes no settings.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Hostile {}

impl Settings for Hostile {}

impl FailoverPolicy for Hostile {
    fn decide(&self, situation: &Situation) -> Result<Decision, String> {
        if situation.memo.is_empty() {
            let peaceful = Decision::hold("peaceful", "nothing to see here");
            return Ok(peaceful.ask_again_in(Duration::from_millis(200)).remember("armed"));
        }
        // Each decision is a fresh instance that remembers nothing: the clock chooses the misdeed.
        match situation.now / 400 % 6 {
            0 => spin(),
            1 => grab_memory(),
            2 => recurse(0),
            3 => flood_log(),
            4 => Ok(lie()),
            _ => panic!("a panic in the middle of a decision"),
        }
    }
}

tidegate_sdk::failover_policy!(Hostile);

fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn grab_memory() -> ! {
    let mut hoard = Vec::new();
    loop {
        hoard.push(black_box(vec![1_u8; 1 << 20]));
    }
}

fn recurse(depth: u64) -> Result<Decision, String> {
    let frame = black_box([depth; 64]);
    if frame[0] < u64::MAX {
        recurse(frame[0] + 1)?;
    }
    Err(format!("came back from depth {}", black_box(frame)[63]))
}

fn flood_log() -> ! {
    loop {
        tidegate_sdk::info(&"!".repeat(1 << 16));
    }
}

/// Says that the service has to go, at once, to a site that is none.
fn lie() -> Decision {
    Decision::fail_over(Move::to("atlantis"), "dead-site", "everything is lost, trust me").remember("m".repeat(1 << 20))
}
