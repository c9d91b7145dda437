//! Events a second through the whole kernel, and what one service costs in memory, from 10 services to 10,000.
//!
//! Prints one JSON object for each figure. Looks are good ones, as nearly all are; each is one event.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tidegate_kernel::Kernel;
use tidegate_kernel::contract::{Outcome, Verdict};
use tidegate_kernel::event::{Answered, Effect, Event, Look, Moment, Revision};
use tidegate_kernel::fleet::{Fleet, ServiceId, SiteId, VantageId, parse};
use tidegate_kernel::state::no_decision;

const SIZES: [u32; 4] = [10, 100, 1_000, 10_000];
const EVENTS: u32 = 600_000;
const ROUNDS: usize = 7;

struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "counting what is allocated needs an allocator of our own")]
// SAFETY: every call goes on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let mut used = Vec::new();
    for size in SIZES {
        let fleet = fleet(size);
        let before = IN_USE.load(Ordering::Relaxed);
        let mut host = Host::new(fleet);
        host.settle();
        used.push((size, IN_USE.load(Ordering::Relaxed) - before));
        let mut rates: Vec<f64> = (0..ROUNDS).map(|_| host.round()).collect();
        show(&format!("kernel-events-{size}-services"), "events/s", &mut rates);
    }
    let (few, many) = (used[0], used[SIZES.len() - 1]);
    let each = (many.1 - few.1) as f64 / f64::from(many.0 - few.0);
    show("kernel-memory-per-service", "bytes", &mut [each]);
}

fn show(name: &str, unit: &str, values: &mut [f64]) {
    values.sort_by(f64::total_cmp);
    let (median, min, max) = (values[values.len() / 2], values[0], values[values.len() - 1]);
    let figure = serde_json::json!({
        "name": name, "unit": unit, "median": median.round(), "min": min.round(), "max": max.round(), "n": values.len(),
    });
    println!("{figure}");
}

/// Three sites with an agent each; every service at two of them.
fn fleet(services: u32) -> Fleet {
    let mut text = String::from("[host]\nsite = \"c\"\nagents-listen = \"127.0.0.1:1\"\nmode = \"act\"\n");
    for site in ["a", "b", "c"] {
        text += &format!("[site.{site}]\n[agent.{site}]\nsite = \"{site}\"\ntoken = \"t\"\n");
    }
    text += "[secret]\nt = { env = \"T\" }\n[slot.\"probe/tcp\"]\nplugin = \"builtin:probe-tcp\"\n";
    for n in 0..services {
        text += &format!(
            "[service.s{n}]\nprobe = {{ slot = \"probe/tcp\", interval = \"5s\" }}\n\
             at.a = {{ endpoint = \"a\", target = {{ address = \"a:1\" }} }}\n\
             at.b = {{ endpoint = \"b\", target = {{ address = \"b:1\" }} }}\n"
        );
    }
    parse(Path::new("fleet.toml"), &|_| Ok(text.clone())).expect("the bench's own fleet")
}

struct Host {
    kernel: Kernel,
    services: u32,
    mono: u64,
    next: u32,
    effects: Vec<Effect>,
}

impl Host {
    fn new(fleet: Fleet) -> Host {
        let services = fleet.services.len() as u32;
        Host { kernel: Kernel::new(fleet, Moment::default()), services, mono: 0, next: 0, effects: Vec::new() }
    }

    fn now(&self) -> Moment {
        Moment { mono: self.mono, wall: 1_700_000_000_000 + self.mono }
    }

    /// Everything seen from everywhere, the warm-up over, every policy asked.
    fn settle(&mut self) {
        self.kernel.start(self.now(), &mut self.effects);
        self.answer();
        for _ in 0..4 * 6 * self.services {
            self.look();
        }
        self.mono += 20_000;
        self.kernel.handle(self.now(), Event::Tick, &mut self.effects);
        self.answer();
        for _ in 0..4 * 6 * self.services {
            self.look();
        }
    }

    fn round(&mut self) -> f64 {
        let begun = Instant::now();
        (0..EVENTS).for_each(|_| self.look());
        f64::from(EVENTS) / begun.elapsed().as_secs_f64()
    }

    /// One look after the other: each vantage point at each service and site, round and round, every 5 s.
    fn look(&mut self) {
        let (round, at) = (6 * self.services, self.next);
        self.next = (self.next + 1) % round;
        if at.is_multiple_of((round / 50).max(1)) {
            self.mono += 100;
            for vantage in 0..3 {
                let heard = Event::Heard { vantage: VantageId(vantage), sound: true };
                self.kernel.handle(self.now(), heard, &mut self.effects);
            }
            if self.kernel.next_edge().is_some_and(|due| due <= self.mono) {
                self.kernel.handle(self.now(), Event::Tick, &mut self.effects);
            }
        }
        let look = Look {
            vantage: VantageId((at % 3) as u16),
            service: ServiceId(at / 6),
            site: SiteId((at / 3 % 2) as u16),
            outcome: Outcome::Ok,
            latency: Some(3),
            not_before: self.mono,
            detail: String::new(),
        };
        self.kernel.handle(self.now(), Event::Look(look), &mut self.effects);
        self.answer();
    }

    fn answer(&mut self) {
        let mut at = 0;
        while at < self.effects.len() {
            if let Effect::Decide { ticket, service, .. } = self.effects[at] {
                let event = Event::Decided { ticket, service, answer: Box::new(hold()) };
                self.kernel.handle(self.now(), event, &mut self.effects);
            }
            at += 1;
        }
        self.effects.clear();
    }
}

fn hold() -> Answered {
    let revision = Revision {
        number: 1,
        digest: "sha256:0".into(),
        settings: "sha256:0".into(),
        name: "bench".into(),
        version: "1.0.0".into(),
        memo_format: "1".into(),
    };
    let mut decision = no_decision();
    decision.verdict = Verdict::Hold;
    Answered { revision, settings: String::new(), result: Ok(decision), reads: Vec::new(), fuel: 0, took_us: 0 }
}
