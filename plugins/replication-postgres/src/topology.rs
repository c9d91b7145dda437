//! From what each node says of itself to the contract's cluster.
//!
//! Pure: tells what is seen now, and nothing that takes memory; the host adds that.

use std::cmp::Ordering;
use std::time::Duration;

use tidegate_sdk::{Cluster, Fact, Node, Proof, Role, Sighting, SyncSet};

use crate::look::Look;
use crate::names::{Left, Synchronous};
use crate::sessions::Seen;
use crate::settings::{self, Declaration};
use crate::trouble::Trouble;

/// Who has looked, as `seen-by` calls it.
const VANTAGE: &str = "provider";

/// The primary's word, against which the others are measured.
struct Reference<'a> {
    look: &'a Look,
    history: &'a [Left],
}

/// The cluster as its nodes tell it.
pub fn cluster(name: &str, declaration: &Declaration, seen: &[Seen]) -> Cluster {
    let identity = identity(seen);
    let primaries: Vec<&Seen> = seen.iter().filter(|seen| is_primary(seen, identity)).collect();
    let reference = match primaries.as_slice() {
        [seen] => seen.look.as_ref().ok().map(|look| Reference { look, history: &seen.history }),
        _ => None,
    };
    let node =
        |(node, seen): (&settings::Node, &Seen)| node_view(declaration, node, seen, identity, reference.as_ref());
    Cluster {
        name: name.to_owned(),
        published: reference.as_ref().and_then(|reference| published(reference.look)),
        nodes: declaration.nodes.iter().zip(seen).map(node).collect(),
        facts: (primaries.len() > 1).then(|| two_primaries(declaration, seen, identity)).into_iter().collect(),
    }
}

/// The one node that is a primary of this cluster, if there is exactly one.
pub fn primary(seen: &[Seen]) -> Option<usize> {
    let identity = identity(seen);
    let mut primaries = seen.iter().enumerate().filter(|(_, seen)| is_primary(seen, identity));
    match (primaries.next(), primaries.next()) {
        (Some((at, _)), None) => Some(at),
        _ => None,
    }
}

/// Which data is this cluster's: what most nodes have; the primary's, if none is in the majority.
fn identity(seen: &[Seen]) -> Option<&str> {
    let looks = || seen.iter().filter_map(|seen| seen.look.as_ref().ok());
    let count = |identity: &str| looks().filter(|look| look.identity == identity).count();
    looks().max_by_key(|look| (count(&look.identity), !look.in_recovery)).map(|look| look.identity.as_str())
}

fn is_primary(seen: &Seen, identity: Option<&str>) -> bool {
    seen.look.as_ref().is_ok_and(|look| !look.in_recovery && Some(look.identity.as_str()) == identity)
}

/// None where commits do not wait at all, or wait for nobody in particular: then nobody may rely on it.
fn published(look: &Look) -> Option<SyncSet> {
    let set = Synchronous::parse(&look.synchronous)?;
    let waits = !matches!(look.commit.as_str(), "off" | "local");
    (waits || set.wait_for == 0).then(|| SyncSet {
        nodes: set.nodes,
        wait_for: set.wait_for,
        epoch: look.set_epoch.unwrap_or_default(),
    })
}

fn node_view(
    declaration: &Declaration,
    node: &settings::Node,
    seen: &Seen,
    identity: Option<&str>,
    reference: Option<&Reference<'_>>,
) -> Node {
    let blank = unanswered(node, seen);
    match &seen.look {
        Err(trouble) => without_answer(blank, trouble),
        Ok(look) if Some(look.identity.as_str()) != identity => foreign(blank, look, identity),
        Ok(look) => answered(blank, declaration, look, seen, reference),
    }
}

/// What is known of a node whatever it says.
fn unanswered(node: &settings::Node, seen: &Seen) -> Node {
    let sighting = Sighting {
        vantage: VANTAGE.to_owned(),
        reached: seen.look.is_ok(),
        attempt_age: milliseconds(seen.attempt_age),
        success_age: seen.success_age.map(milliseconds),
    };
    Node {
        id: node.name.clone(),
        site: node.site.clone(),
        role: Role::Unknown,
        seen_by: vec![sighting],
        writable: None,
        fenced: None,
        identity: None,
        timeline: None,
        forked_at: None,
        received: None,
        replayed: None,
        lag_bytes: None,
        lag_at_contact: None,
        contact_age: None,
        upstream: None,
        upstream_heard: None,
        priority: node.priority,
        facts: Vec::new(),
    }
}

fn without_answer(node: Node, trouble: &Trouble) -> Node {
    let priority = if matches!(trouble, Trouble::TooOld(_)) { 0 } else { node.priority };
    let text = match trouble {
        Trouble::TooOld(version) => version.clone(),
        trouble => trouble.to_string(),
    };
    Node { priority, facts: vec![Fact::new(trouble.fact(), text)], ..node }
}

/// Its positions say nothing of this cluster's data, so they are not told.
fn foreign(node: Node, look: &Look, identity: Option<&str>) -> Node {
    let text = format!("system identifier {}, the cluster's is {}", look.identity, identity.unwrap_or("unknown"));
    let facts = vec![Fact::new("foreign", text)];
    Node { identity: Some(look.identity.clone()), priority: 0, facts, ..node }
}

fn answered(
    node: Node,
    declaration: &Declaration,
    look: &Look,
    seen: &Seen,
    reference: Option<&Reference<'_>>,
) -> Node {
    let fork = reference.and_then(|reference| fork(look, reference));
    let lag_bytes = reference.filter(|_| fork.is_none()).and_then(|reference| lag_bytes(look, reference));
    let receiver = look.receiver.as_ref().filter(|receiver| receiver.is_streaming());
    Node {
        role: if look.in_recovery { Role::Replica } else { Role::Primary },
        writable: Some(!look.in_recovery && !look.read_only),
        fenced: look.fenced.then(|| advisory(look)),
        identity: Some(look.identity.clone()),
        timeline: look.timeline,
        forked_at: seen.history.last().map(|left| left.at),
        received: look.received,
        replayed: look.replayed,
        lag_bytes,
        lag_at_contact: lag_bytes.zip(reference).and_then(|(bytes, reference)| lag(bytes, look, reference.look)),
        contact_age: reference.map(|_| 0),
        upstream: receiver.map(|receiver| upstream(declaration, &receiver.host, receiver.port)),
        upstream_heard: receiver.and_then(|receiver| receiver.heard),
        facts: facts(look, seen, fork),
        ..node
    }
}

fn facts(look: &Look, seen: &Seen, fork: Option<String>) -> Vec<Fact> {
    let facts = [
        ("write-failed", seen.write_failed.clone()),
        ("fork", fork),
        ("epoch", look.epoch.map(|epoch| epoch.to_string())),
        ("slots", look.slots.clone()),
        ("standbys", look.standbys.clone()),
        ("synchronous", (!look.in_recovery && !look.synchronous.is_empty()).then(|| look.synchronous.clone())),
        ("synchronous-commit", matches!(look.commit.as_str(), "off" | "local").then(|| look.commit.clone())),
    ];
    facts.into_iter().filter_map(|(key, value)| Some(Fact::new(key, value?))).collect()
}

/// Has log that the primary does not have, so that it cannot simply follow.
fn fork(look: &Look, reference: &Reference<'_>) -> Option<String> {
    let (mine, theirs) = (look.timeline?, reference.look.timeline?);
    let parted = match mine.cmp(&theirs) {
        Ordering::Less => look.received? > reference.history.iter().find(|left| left.timeline == mine)?.at,
        Ordering::Equal => false,
        Ordering::Greater => true,
    };
    parted.then(|| format!("on timeline {mine}, the primary is on {theirs}"))
}

fn lag_bytes(look: &Look, reference: &Reference<'_>) -> Option<u64> {
    Some(reference.look.received?.saturating_sub(look.received?))
}

/// At most this much would be lost: what was committed after the newest commit that it has. Both times are the primary's.
fn lag(bytes: u64, look: &Look, primary: &Look) -> Option<u64> {
    if bytes == 0 { Some(0) } else { Some(primary.clock.saturating_sub(look.newest_commit?)) }
}

/// The node of that address; else the address.
fn upstream(declaration: &Declaration, host: &str, port: u16) -> String {
    let is_it = |node: &&settings::Node| {
        [node.host_and_port(), declaration.called_by_standbys(node)].contains(&Some((host, port)))
    };
    declaration.nodes.iter().find(is_it).map_or_else(|| format!("{host}:{port}"), |node| node.name.clone())
}

/// Sessions are read-only by default, and any of them may lift that for itself.
pub fn advisory(look: &Look) -> Proof {
    let facts = vec![Fact::new("lifted-by", "any session, for itself")];
    Proof { kind: "advisory".to_owned(), position: look.received, survives_restart: true, facts }
}

fn two_primaries(declaration: &Declaration, seen: &[Seen], identity: Option<&str>) -> Fact {
    let claims = declaration.nodes.iter().zip(seen).filter(|(_, seen)| is_primary(seen, identity));
    let names: Vec<&str> = claims.map(|(node, _)| node.name.as_str()).collect();
    Fact::new("primaries", names.join(", "))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidegate_sdk::{Cluster, Node, Role, parse};

    use super::{cluster, primary};
    use crate::look::{Look, Receiver};
    use crate::names::Left;
    use crate::sessions::Seen;
    use crate::settings::Declaration;
    use crate::trouble::Trouble;

    fn declaration() -> Declaration {
        let node = |name: &str, port: u16| {
            format!(r#"{{"name": "{name}", "site": "site-{name}", "address": "127.0.0.1:{port}"}}"#)
        };
        let nodes = [node("a", 6001), node("b", 6002), node("c", 6003)].join(", ");
        parse(&format!(r#"{{"user": "tidegate", "synchronous": 1, "nodes": [{nodes}]}}"#)).unwrap()
    }

    fn seen(look: Result<Look, Trouble>) -> Seen {
        Seen { look, attempt_age: Duration::from_millis(3), success_age: None, history: Vec::new(), write_failed: None }
    }

    fn main_look() -> Look {
        Look {
            identity: "77".to_owned(),
            timeline: Some(2),
            received: Some(1_000),
            replayed: Some(1_000),
            clock: 50_000,
            synchronous: r#"ANY 1 ("b", "c")"#.to_owned(),
            commit: "on".to_owned(),
            set_epoch: Some(4),
            ..Look::default()
        }
    }

    fn standby(received: u64) -> Look {
        let receiver = Receiver { status: "streaming".into(), host: "127.0.0.1".into(), port: 6001, heard: Some(40) };
        Look {
            in_recovery: true,
            received: Some(received),
            replayed: Some(received),
            receiver: Some(receiver),
            newest_commit: Some(49_400),
            ..main_look()
        }
    }

    fn view(looks: [Result<Look, Trouble>; 3]) -> Cluster {
        cluster("orders", &declaration(), &looks.map(seen))
    }

    fn fact<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
        node.facts.iter().find(|fact| fact.key == key).map(|fact| fact.value.as_str())
    }

    #[test]
    fn measures_each_standby_against_the_primary() {
        let found = view([Ok(main_look()), Ok(standby(1_000)), Ok(standby(900))]);
        let [a, b, c] = found.nodes.as_slice() else { panic!("three nodes") };
        assert_eq!((a.role, b.role, a.writable, b.writable), (Role::Primary, Role::Replica, Some(true), Some(false)));
        assert_eq!((b.lag_bytes, b.lag_at_contact, b.contact_age), (Some(0), Some(0), Some(0)));
        assert_eq!((c.lag_bytes, c.lag_at_contact), (Some(100), Some(600)));
        assert_eq!((b.upstream.as_deref(), b.upstream_heard, a.upstream.as_deref()), (Some("a"), Some(40), None));
        let published = found.published.unwrap();
        assert_eq!((published.nodes, published.wait_for, published.epoch), (vec!["b".into(), "c".into()], 1, 4));
    }

    #[test]
    fn without_the_primary_lag_is_unknown_and_the_standbys_still_speak() {
        let found = view([Err(Trouble::TimedOut), Ok(standby(1_000)), Ok(standby(900))]);
        let [a, b, c] = found.nodes.as_slice() else { panic!("three nodes") };
        assert_eq!((a.role, a.writable, fact(a, "error")), (Role::Unknown, None, Some("timed out")));
        assert!(!a.seen_by[0].reached && b.seen_by[0].reached);
        assert_eq!((b.received, c.received), (Some(1_000), Some(900)));
        assert_eq!((c.lag_bytes, c.lag_at_contact, c.contact_age), (None, None, None));
        assert_eq!((c.upstream.as_deref(), found.published), (Some("a"), None));
    }

    #[test]
    fn reports_two_primaries_as_they_are() {
        let second = Look { timeline: Some(3), ..main_look() };
        let looks = [Ok(main_look()), Ok(second), Ok(standby(900))];
        let found = view(looks.clone());
        assert_eq!((found.nodes[0].role, found.nodes[1].role), (Role::Primary, Role::Primary));
        assert_eq!((found.published, found.facts[0].value.as_str()), (None, "a, b"));
        assert_eq!((found.nodes[2].lag_bytes, primary(&looks.map(seen))), (None, None));
    }

    #[test]
    fn a_node_of_another_cluster_is_no_candidate() {
        let other = Look { identity: "78".to_owned(), ..standby(5_000) };
        let found = view([Ok(main_look()), Ok(standby(1_000)), Ok(other)]);
        let c = &found.nodes[2];
        assert_eq!((c.role, c.priority, c.received), (Role::Unknown, 0, None));
        assert!(fact(c, "foreign").unwrap().contains("78"));
        let claimed = Look { identity: "78".to_owned(), ..main_look() };
        let found = view([Ok(main_look()), Ok(standby(1_000)), Ok(claimed)]);
        assert_eq!((found.nodes[2].role, found.facts.len()), (Role::Unknown, 0));
    }

    #[test]
    fn tells_why_a_node_does_not_answer() {
        let old = Trouble::TooOld("12.22".to_owned());
        let wrong = Trouble::Unauthorized("wrong password for tidegate".to_owned());
        let starting = Trouble::Starting("the database system is starting up".to_owned());
        let found = view([Err(old), Err(wrong), Err(starting)]);
        let [a, b, c] = found.nodes.as_slice() else { panic!("three nodes") };
        assert_eq!((fact(a, "too-old"), a.priority), (Some("12.22"), 0));
        assert_eq!((fact(b, "error"), b.priority), (Some("wrong password for tidegate"), 100));
        assert_eq!(fact(c, "starting"), Some("the database system is starting up"));
    }

    #[test]
    fn a_node_that_went_its_own_way_is_a_fork() {
        let promoted = Seen { history: vec![Left { timeline: 1, at: 800 }], ..seen(Ok(main_look())) };
        let behind = Look { timeline: Some(1), ..standby(700) };
        let ahead = Look { timeline: Some(1), ..standby(900) };
        let found = cluster("orders", &declaration(), &[promoted, seen(Ok(behind)), seen(Ok(ahead))]);
        assert_eq!((fact(&found.nodes[1], "fork"), found.nodes[1].lag_bytes), (None, Some(300)));
        assert_eq!(
            (fact(&found.nodes[2], "fork"), found.nodes[2].lag_bytes),
            (Some("on timeline 1, the primary is on 2"), None)
        );
    }

    #[test]
    fn publishes_no_set_that_commits_do_not_wait_for() {
        let local = Look { commit: "local".to_owned(), ..main_look() };
        let anybody = Look { synchronous: "*".to_owned(), ..main_look() };
        let nobody = Look { synchronous: String::new(), ..main_look() };
        let published = |look| view([Ok(look), Ok(standby(1)), Ok(standby(1))]).published;
        assert_eq!((published(local), published(anybody)), (None, None));
        assert_eq!(published(nobody).map(|set| set.wait_for), Some(0));
    }

    #[test]
    fn calls_a_read_only_default_advisory() {
        let fenced = Look { read_only: true, fenced: true, ..main_look() };
        let found = view([Ok(fenced), Ok(standby(1)), Ok(standby(1))]);
        let proof = found.nodes[0].fenced.as_ref().unwrap();
        assert_eq!(
            (proof.kind.as_str(), proof.position, found.nodes[0].writable),
            ("advisory", Some(1_000), Some(false))
        );
    }
}
