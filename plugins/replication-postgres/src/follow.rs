//! Whom a standby follows: nobody, for a moment the node that has more, or the primary for good.

use std::time::Duration;

use tidegate_sdk::Failure;

use crate::commands;
use crate::hand::Hand;
use crate::look::Look;
use crate::names::{Left, position_text};
use crate::settings::Node;
use crate::wire::Query;

const CONNINFO: &str = "primary_conninfo";

/// Stops a standby from receiving. What it has then is all that it will ever have of this primary.
pub fn detach(hand: &Hand<'_>, node: &str) -> Result<(), Failure> {
    let look = hand.open(node)?;
    require_standby(node, &look)?;
    let conninfo = hand.setting(node, CONNINFO).map_err(|trouble| trouble.before(node))?;
    if conninfo.as_deref() != Some("") {
        hand.alter(node, &[(CONNINFO, Some(""))])?;
    }
    let detached = hand.wait(node, hand.left(), |look| look.receiver.is_none());
    detached.map(drop).map_err(|_| {
        Failure::UnknownOutcome(format!("{node} was told to stop receiving, and did not say in time that it has"))
    })
}

/// Lets a standby get everything that `source` has, and leaves it following whom it followed before.
pub fn catch_up(hand: &Hand<'_>, node: &str, source: &str) -> Result<(), Failure> {
    let from = hand.node(source)?;
    let goal = hand.glance(source).map_err(|trouble| trouble.before(source))?;
    let look = hand.open(node)?;
    require_standby(node, &look)?;
    require_same_data(node, &look, &goal)?;
    if has_all(&look, &goal) {
        return Ok(());
    }
    refuse_fork(hand, node, &look, source, &goal)?;
    let before = hand.setting(node, CONNINFO).map_err(|trouble| trouble.before(node))?.unwrap_or_default();
    point(hand, node, from)?;
    let caught_up = hand.wait(node, hand.left().mul_f32(0.9), |look| has_all(look, &goal));
    if before.is_empty() {
        detach(hand, node)?;
    }
    caught_up.map(drop).map_err(|last| {
        let at = |look: &Look| look.received.map_or_else(|| "nowhere".to_owned(), position_text);
        let reached = last.as_deref().map_or_else(|| "unknown".to_owned(), at);
        Failure::Rejected(format!(
            "{node} has come to {reached} of {}, which {source} has; repeat, or choose another",
            at(&goal)
        ))
    })
}

/// Makes a node follow the primary: by a word to it if it can, else by the site's commands.
pub fn rejoin(hand: &Hand<'_>, node: &str, primary: &str) -> Result<(), Failure> {
    let (declared, target) = (hand.node(node)?, hand.node(primary)?);
    if node == primary {
        return Err(Failure::Invalid(format!("{node} cannot follow itself")));
    }
    let lead = hand.open(primary)?;
    if lead.in_recovery {
        return Err(Failure::Rejected(format!("{primary} is a standby: {node} was left as it is")));
    }
    match hand.open(node) {
        Ok(look) => {
            require_same_data(node, &look, &lead)?;
            if look.in_recovery && refuse_fork(hand, node, &look, primary, &lead).is_ok() {
                let patience = if declared.commands.is_empty() { hand.left() } else { hand.left() / 4 };
                if follow(hand, node, target, patience)? {
                    return Ok(());
                }
            }
        }
        Err(Failure::Stale(newer)) => return Err(Failure::Stale(newer)),
        Err(_) => {}
    }
    by_command(hand, declared, target)
}

/// `rejoin` keeps what both have; `rebuild` copies everything anew.
fn by_command(hand: &Hand<'_>, node: &Node, primary: &Node) -> Result<(), Failure> {
    let declared: Vec<(&str, &str)> =
        ["rejoin", "rebuild"].into_iter().filter_map(|role| Some((role, node.command(role)?))).collect();
    let name = &node.name;
    let mut last = Failure::Rejected(format!(
        "{name} cannot follow {} by itself, and neither `rejoin` nor `rebuild` is declared for it; nothing was changed",
        primary.name
    ));
    for (at, (role, command)) in declared.iter().enumerate() {
        let share = hand.left() / (declared.len() - at) as u32;
        hand.hang_up(name);
        match run(hand, node, primary, role, command, share) {
            Ok(()) => return Ok(()),
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

fn run(
    hand: &Hand<'_>,
    node: &Node,
    primary: &Node,
    role: &str,
    command: &str,
    share: Duration,
) -> Result<(), Failure> {
    let rest = hand.left().saturating_sub(share);
    let arguments = [("primary".to_owned(), primary.address.clone())];
    let key = format!("{}/{role}", hand.call.key);
    let output = hand.host.run(&node.site, command, &arguments, &key, share)?;
    let how = commands::running(command, "standby", &output)?;
    let patience = hand.left().saturating_sub(rest);
    let name = &node.name;
    let up = hand.wait(name, patience, |look| look.in_recovery).is_ok();
    if up && follow(hand, name, primary, hand.left().saturating_sub(rest))? {
        return Ok(());
    }
    let text =
        format!("{command} says that {name} is up as a standby ({how}), and no log comes to it from {}", primary.name);
    Err(Failure::UnknownOutcome(format!("{text}; look at its log before repeating")))
}

/// Points it there; whether log comes in from there in time, and the primary knows it by its name.
fn follow(hand: &Hand<'_>, node: &str, primary: &Node, patience: Duration) -> Result<bool, Failure> {
    let Some((host, port)) = hand.cluster.declaration.called_by_standbys(primary) else { return Ok(false) };
    point(hand, node, primary)?;
    let Ok(lead) = hand.look(&primary.name) else { return Ok(false) };
    let streams = |look: &Look| look.streams_from(host, port) && look.timeline == lead.timeline;
    if hand.wait(node, patience, streams).is_err() {
        return Ok(false);
    }
    let known =
        Query::With("SELECT 1 FROM pg_stat_replication WHERE application_name = $1 AND state = 'streaming'", &[node]);
    let is_known = || hand.ask(&primary.name, known, hand.one_look()).ok().filter(|rows| !rows.is_empty());
    Ok(hand.poll(patience.max(hand.one_look()), is_known).is_some())
}

/// Writes down whom it shall follow. Where that stands already it is only woken, in case it waits to try again.
fn point(hand: &Hand<'_>, node: &str, to: &Node) -> Result<(), Failure> {
    let wanted = wanted(hand, node, to)?;
    let set = hand.setting(node, CONNINFO).map_err(|trouble| trouble.before(node))?;
    if set.as_deref() == Some(wanted.as_str()) {
        return hand.alter(node, &[]);
    }
    hand.alter(node, &[(CONNINFO, Some(&wanted))])
}

fn wanted(hand: &Hand<'_>, node: &str, to: &Node) -> Result<String, Failure> {
    let declared = &hand.cluster.declaration;
    let password = declared.replication_password.as_deref().map(|name| hand.host.secret(name)).transpose()?;
    declared
        .conninfo(node, to, password.as_deref())
        .ok_or_else(|| Failure::Invalid(format!("{} is not HOST:PORT", to.address)))
}

fn has_all(look: &Look, goal: &Look) -> bool {
    look.timeline == goal.timeline && look.received >= goal.received
}

fn require_standby(node: &str, look: &Look) -> Result<(), Failure> {
    if look.in_recovery {
        return Ok(());
    }
    Err(Failure::Rejected(format!("{node} is a primary, not a standby; nothing was changed")))
}

fn require_same_data(node: &str, look: &Look, other: &Look) -> Result<(), Failure> {
    if look.identity == other.identity {
        return Ok(());
    }
    let text = format!("system identifier {}, not {}", look.identity, other.identity);
    Err(Failure::Rejected(format!("{node} has another cluster's data ({text}); nothing was changed")))
}

/// What has log that the other never had cannot follow it as it is.
fn refuse_fork(hand: &Hand<'_>, node: &str, look: &Look, other: &str, goal: &Look) -> Result<(), Failure> {
    let history = goal.timeline.and_then(|timeline| hand.history(other, timeline)).unwrap_or_default();
    if !is_ahead(look, goal, &history) {
        return Ok(());
    }
    Err(Failure::Rejected(format!("{node} has log that {other} does not have; nothing was changed")))
}

fn is_ahead(look: &Look, goal: &Look, history: &[Left]) -> bool {
    if look.timeline == goal.timeline {
        return look.received > goal.received;
    }
    let left = history.iter().find(|left| Some(left.timeline) == look.timeline);
    look.timeline > goal.timeline || left.is_some_and(|left| look.received > Some(left.at))
}

#[cfg(test)]
mod tests {
    use super::{has_all, is_ahead};
    use crate::look::Look;
    use crate::names::Left;

    fn at(timeline: u64, received: u64) -> Look {
        Look { timeline: Some(timeline), received: Some(received), ..Look::default() }
    }

    #[test]
    fn only_what_the_other_lacks_is_ahead() {
        let history = [Left { timeline: 1, at: 500 }, Left { timeline: 2, at: 800 }];
        for (look, ahead) in [
            (at(3, 900), false),
            (at(3, 1_001), true),
            (at(2, 800), false),
            (at(2, 801), true),
            (at(1, 501), true),
            (at(1, 500), false),
            (at(4, 1), true),
        ] {
            assert_eq!(is_ahead(&look, &at(3, 1_000), &history), ahead, "{look:?}");
        }
    }

    #[test]
    fn a_position_on_another_timeline_is_not_all() {
        assert!(has_all(&at(2, 1_000), &at(2, 1_000)));
        assert!(!has_all(&at(1, 2_000), &at(2, 1_000)));
        assert!(!has_all(&at(2, 999), &at(2, 1_000)));
    }
}
