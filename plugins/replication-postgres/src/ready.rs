//! Would the control calls work right now? Looks at each node's rights, settings and commands, and changes nothing.

use std::time::Instant;

use tidegate_sdk::{Fact, Failure};

use crate::hand::Watched;
use crate::host::Host;
use crate::sessions::{Dial, Session};
use crate::settings::Node;
use crate::trouble::Trouble;
use crate::wire::{Query, Row};

/// What a role has to be allowed, what a server has to be set to, and how it says so.
const RIGHTS: &str = "\
SELECT current_setting('server_version'), current_setting('server_version_num')::int >= 150000, rolsuper, \
pg_has_role(current_user, 'pg_monitor', 'member'), pg_has_role(current_user, 'pg_signal_backend', 'member'), \
has_function_privilege('pg_promote(boolean, integer)', 'execute'), \
has_function_privilege('pg_reload_conf()', 'execute'), \
has_function_privilege('pg_read_file(text, bigint, bigint, boolean)', 'execute'), \
current_setting('wal_level') <> 'minimal', current_setting('hot_standby') = 'on', \
current_setting('max_wal_senders')::int > 0, \
current_setting('wal_log_hints') = 'on' OR current_setting('data_checksums') = 'on' \
FROM pg_roles WHERE rolname = current_user";

/// Of version 15 and newer: before, only a superuser may write settings.
const PARAMETERS: &str = "\
SELECT name FROM unnest(string_to_array('primary_conninfo synchronous_standby_names default_transaction_read_only \
tidegate.epoch tidegate.synchronous_epoch tidegate.fenced', ' ')) AS name \
WHERE NOT has_parameter_privilege(name, 'alter system')";

/// What each role of a command is for, said where it is missing.
const ROLES: [(&str, &str); 4] = [
    ("stop", "a fence of it is advisory only and proves nothing"),
    ("start", "a fence cannot be lifted again"),
    ("rejoin", "after it was the primary it can come back only by `rebuild`"),
    ("rebuild", "a node that has gone its own way too far has to be copied by hand"),
];

/// One fact for each node, and one for each thing that it lacks.
pub fn ready(cluster: &Watched, host: &dyn Host) -> Result<Vec<Fact>, Failure> {
    let dial = cluster.dial(host)?;
    let (mut facts, mut missing, mut answered) = (Vec::new(), Vec::new(), 0);
    if let Some(name) = &cluster.declaration.replication_password {
        host.secret(name)?;
    }
    for (node, session) in cluster.declaration.nodes.iter().zip(cluster.sessions.borrow_mut().iter_mut()) {
        match examine(session, &dial, Instant::now() + cluster.declaration.timeout()) {
            Ok((version, lacks)) => {
                answered += 1;
                facts.push(Fact::new(format!("node/{}", node.name), format!("PostgreSQL {version}")));
                missing.extend(lacks.into_iter().map(|what| format!("{}: {what}", node.name)));
            }
            Err(trouble) if is_ours_to_mend(&trouble) => missing.push(format!("{}: {trouble}", node.name)),
            Err(trouble) => facts.push(Fact::new(format!("unanswered/{}", node.name), trouble.to_string())),
        }
        facts.extend(commands(node));
    }
    if answered == 0 && missing.is_empty() {
        missing.push(format!("no node of {} answers", cluster.name));
    }
    if missing.is_empty() { Ok(facts) } else { Err(Failure::Rejected(missing.join("; "))) }
}

/// Not a node that is down, which is what all this is for, but one that would not obey.
fn is_ours_to_mend(trouble: &Trouble) -> bool {
    !matches!(
        trouble,
        Trouble::Refused | Trouble::TimedOut | Trouble::Starting(_) | Trouble::Unreachable(_) | Trouble::Broken(_)
    )
}

fn commands(node: &Node) -> Vec<Fact> {
    let lacks = ROLES.iter().filter(|(role, _)| node.command(role).is_none());
    lacks
        .map(|(role, what)| Fact::new(format!("missing/{}", node.name), format!("no command `{role}`: {what}")))
        .collect()
}

/// Its version, and what it lacks.
fn examine(session: &mut Session, dial: &Dial, deadline: Instant) -> Result<(String, Vec<String>), Trouble> {
    session.freshen(dial, deadline.saturating_duration_since(Instant::now()))?;
    let rows = session.ask(dial, Query::Simple(RIGHTS), deadline)?;
    let row = rows.first().ok_or_else(|| Trouble::Broken("our role is not among its roles".to_owned()))?;
    let mut lacks = lacks(row);
    if !says(row, 2) && says(row, 1) {
        let rows = session.ask(dial, Query::Simple(PARAMETERS), deadline)?;
        let names = rows.into_iter().filter_map(|row| row.into_iter().next().flatten());
        lacks.extend(names.map(|name| format!("may not set {name} (GRANT ALTER SYSTEM ON PARAMETER)")));
    }
    Ok((row[0].clone().unwrap_or_default(), lacks))
}

fn lacks(row: &Row) -> Vec<String> {
    let superuser = says(row, 2);
    let wants = [
        (
            superuser || says(row, 1),
            "has to be a superuser, as before version 15 nobody else may set what has to be set",
        ),
        (superuser || says(row, 3), "has to be a member of pg_monitor"),
        (superuser || says(row, 4), "has to be a member of pg_signal_backend"),
        (says(row, 5), "may not execute pg_promote"),
        (says(row, 6), "may not execute pg_reload_conf"),
        (says(row, 7), "may not execute pg_read_file(text, bigint, bigint, boolean), so that forks stay unseen"),
        (says(row, 8), "wal_level is minimal, so that nobody can follow it"),
        (says(row, 9), "hot_standby is off, so that it does not answer as a standby"),
        (says(row, 10), "max_wal_senders is 0, so that nobody can follow it"),
        (says(row, 11), "neither wal_log_hints nor data checksums are on, so that it cannot be rewound"),
    ];
    wants.into_iter().filter(|(fulfilled, _)| !fulfilled).map(|(_, text)| text.to_owned()).collect()
}

fn says(row: &Row, at: usize) -> bool {
    row.get(at).and_then(Option::as_deref) == Some("t")
}

#[cfg(test)]
mod tests {
    use super::lacks;

    #[test]
    fn names_each_thing_that_is_missing() {
        let row = |lacking: &[usize]| {
            (0..12).map(|at| Some(if lacking.contains(&at) { "f" } else { "t" }.to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(lacks(&row(&[])), Vec::<String>::new());
        assert_eq!(lacks(&row(&[3, 4])), Vec::<String>::new(), "a superuser needs no membership");
        for at in 5..12 {
            assert_eq!(lacks(&row(&[at])).len(), 1, "{at}");
        }
        assert_eq!(lacks(&row(&[1, 2, 3])).len(), 2, "an old server and a plain role");
    }
}
