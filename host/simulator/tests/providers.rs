//! Providers that crash, are slow or time out after taking effect, under production's supervision: what moves, what does not, and who
//! is told.

#[path = "support/night.rs"]
mod night;
#[path = "support/mod.rs"]
mod support;

use night::play;

use tidegate_simulator::Ended;
use tidegate_simulator::fault::{Fault, NodeOf};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60_000;

fn crashes(slot: &str) -> Fault {
    Fault::ProviderCrashes(slot.into())
}

fn crashes_midway(slot: &str) -> Fault {
    Fault::ProviderCrashesMidway(slot.into())
}

fn slow(slot: &str) -> Fault {
    Fault::ProviderSlow(slot.into())
}

/// For good: nothing brings it back within the night.
fn primary_of_orders_dies(at: u64) -> (u64, u64, Fault) {
    (at, at + 60 * MINUTE, Fault::NodeDown(NodeOf { cluster: "orders".into(), node: "east".into() }))
}

/// The lines with a text in them, each with its position.
fn lines<'a>(ended: &'a Ended, text: &'a str) -> impl Iterator<Item = (usize, &'a String)> {
    ended.timeline.iter().enumerate().filter(move |(_, line)| line.contains(text))
}

/// The texts are told in this order, with whatever between them.
#[track_caller]
fn assert_told_in_order(ended: &Ended, texts: &[&str]) {
    let mut from = 0;
    for text in texts {
        let next = lines(ended, text).map(|(at, _)| at).find(|at| *at >= from);
        from = next.unwrap_or_else(|| panic!("no \"{text}\" after line {from}:\n{}", ended.timeline.join("\n"))) + 1;
    }
}

#[track_caller]
fn assert_nothing_was_moved(ended: &Ended) {
    let opened: Vec<_> = lines(ended, " opens: ").collect();
    assert!(ended.moves == 0 && opened.is_empty(), "{opened:#?}\n{}", ended.timeline.join("\n"));
    assert!(ended.services.values().all(|service| service.down == 0.0), "clients saw nothing of it");
}

#[test]
fn a_failover_whose_dns_provider_crashes_is_done_once_the_quarantine_is_over() {
    // The new primary leads within the first second; its name is due when the provider has begun to crash.
    let night = vec![primary_of_orders_dies(MINUTE), (MINUTE + SECOND, 90 * SECOND, crashes("dns/primary"))];
    let ended = play(night, 10 * MINUTE);
    assert_told_in_order(
        &ended,
        &[
            "opens: fail-over of orders",
            "dns-control.apply was cut short: it crashed",
            "dns/primary at the host is quarantined for 5 s: 6 crashes within a minute, the last: it crashed",
            "told on-call: The plugin in dns/primary misbehaved: 6 crashes within a minute",
            "over: the provider in dns/primary crashes",
            "read back: it had not been written",
            "closes: Done",
        ],
    );
    assert!(ended.services["orders"].moved && ended.lost_writes["orders"] == 0);
    let outages = &ended.services["orders"].outages;
    assert!(outages.iter().all(|outage| *outage < 2 * MINUTE), "{outages:?}");
}

#[test]
fn what_a_provider_had_done_before_it_crashed_is_found_and_not_done_again() {
    let night = vec![primary_of_orders_dies(MINUTE), (MINUTE + SECOND, 90 * SECOND, crashes_midway("dns/primary"))];
    let ended = play(night, 10 * MINUTE);
    let crashed = "dns-control.apply was cut short: it crashed";
    assert_told_in_order(
        &ended,
        &["opens: fail-over of orders", crashed, "read back: it had been written", "closes: Done"],
    );
    // The new primary's name leads there long before the provider is well again.
    let outages = &ended.services["orders"].outages;
    assert!(outages.iter().all(|outage| *outage < 25 * SECOND), "{outages:?}");
}

#[test]
fn while_a_provider_is_quarantined_it_is_not_asked_and_that_is_what_is_told() {
    // Every service at east has to be moved at once: the sixth crash is a matter of moments.
    let night = vec![
        (MINUTE, 60 * MINUTE, Fault::SiteDown("east".into())),
        (MINUTE + SECOND, 2 * MINUTE, crashes("dns/primary")),
    ];
    let ended = play(night, 20 * MINUTE);
    assert_told_in_order(
        &ended,
        &["is quarantined for 5 s", "the provider in slot dns/primary is quarantined for", "is quarantined for 10 s"],
    );
    // Six crashes to begin with, then one after each quarantine: whatever else was asked was refused.
    let crashed = lines(&ended, "was cut short: it crashed").count();
    let refused = lines(&ended, "; nothing was done").count();
    assert!(crashed <= 12 && refused > 0, "{crashed} crashed, {refused} refused\n{}", ended.timeline.join("\n"));
}

#[test]
fn a_failover_whose_dns_provider_goes_on_crashing_rests_with_a_person() {
    let night = vec![primary_of_orders_dies(MINUTE), (MINUTE + SECOND, 29 * MINUTE, crashes("dns/primary"))];
    let ended = play(night, 28 * MINUTE);
    assert_told_in_order(&ended, &["opens: fail-over of orders", "is quarantined for 5 s", "heads Resting", " asks: "]);
    assert_eq!(lines(&ended, "closes: Done").count(), 0);
    assert!(ended.questions > 0);
}

#[test]
fn a_name_that_a_slow_provider_wrote_is_read_back_and_not_written_again() {
    // It takes the write, and the answer comes when nobody waits for it any more.
    let night = vec![primary_of_orders_dies(MINUTE), (MINUTE + SECOND, 75 * SECOND, slow("dns/primary"))];
    let ended = play(night, 10 * MINUTE);
    assert_told_in_order(
        &ended,
        &[
            "opens: fail-over of orders",
            "dns-control.apply gave no answer within 10250 ms",
            "read back: it had been written",
            "closes: Done",
        ],
    );
    assert_eq!(lines(&ended, "quarantined").count(), 0, "a provider that is slow is not broken");
    let outages = &ended.services["orders"].outages;
    assert!(outages.iter().all(|outage| *outage < 15 * SECOND), "led there at the first try: {outages:?}");
}

#[test]
fn probes_that_crash_or_are_slow_move_nothing() {
    let ended = play(vec![(MINUTE, 6 * MINUTE, crashes("probe/tcp"))], 20 * MINUTE);
    assert_nothing_was_moved(&ended);
    for agent in ["east", "west", "north"] {
        assert!(lines(&ended, &format!("probe/tcp at agent {agent} is quarantined for 5 s")).count() > 0);
    }
    assert_told_in_order(&ended, &["over: the provider in probe/tcp", "shop: policy says hold [healthy]"]);
    assert_nothing_was_moved(&play(vec![(MINUTE, 6 * MINUTE, slow("probe/tcp"))], 20 * MINUTE));
}

#[test]
fn a_quarantine_that_outlasts_its_cause_is_noticed_to_be_over_however_quiet_it_is() {
    let ended = play(vec![(MINUTE, 100 * SECOND, crashes("probe/tcp"))], 20 * MINUTE);
    let (began, _) = lines(&ended, "probe/tcp at agent east is quarantined for 40 s").last().expect("the fourth");
    let healthy = lines(&ended, "shop: policy says hold [healthy]").find(|(at, _)| *at > began);
    let (_, line) = healthy.unwrap_or_else(|| panic!("blind for ever:\n{}", ended.timeline.join("\n")));
    // The three before it last 35 s together.
    assert!(line.starts_with("02:1"), "{line}");
}

#[test]
fn a_database_provider_that_crashes_or_is_slow_moves_nothing() {
    let slot = "replication/postgres";
    let ended = play(vec![(MINUTE, 6 * MINUTE, crashes(slot))], 20 * MINUTE);
    assert_nothing_was_moved(&ended);
    assert_told_in_order(
        &ended,
        &[
            "replication/postgres at the host is quarantined for 5 s",
            "told on-call: The plugin in replication/postgres",
        ],
    );
    assert_nothing_was_moved(&play(vec![(MINUTE, 6 * MINUTE, slow(slot))], 20 * MINUTE));
}

#[test]
fn a_host_that_starts_again_asks_its_providers_as_though_nothing_had_been() {
    let night = vec![
        (MINUTE, 71 * SECOND, crashes("replication/postgres")),
        (72 * SECOND, 73 * SECOND, Fault::HostDown),
        (75 * SECOND, 90 * SECOND, crashes("replication/postgres")),
    ];
    let ended = play(night, 10 * MINUTE);
    assert_nothing_was_moved(&ended);
    let (again, six) = ("the host starts again", "is quarantined for 5 s: 6 crashes within a minute");
    assert_told_in_order(&ended, &[six, "is quarantined for 10 s: 7 crashes within a minute", again, six]);
}
