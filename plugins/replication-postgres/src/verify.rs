//! Asking the data itself, in SQL that an operator wrote: read-only, and each check on its own.

use std::time::Duration;

use tidegate_sdk::Failure;

use crate::hand::Hand;
use crate::trouble::Trouble;
use crate::wire::Query;

/// The first column of each check's first row; nothing if there is none, and the server's error where there is one.
pub fn verify(hand: &Hand<'_>, node: &str, checks: &[String]) -> Result<Vec<String>, Failure> {
    hand.node(node)?;
    hand.glance(node).map_err(|trouble| trouble.before(node))?;
    let mut answers = Vec::new();
    for (at, check) in checks.iter().enumerate() {
        let share = hand.left() / (checks.len() - at) as u32;
        answers.push(ask(hand, node, check, share).map_err(|trouble| trouble.before(node))?);
    }
    Ok(answers)
}

/// One statement only: the extended protocol takes no second one, which could end the read-only transaction.
fn ask(hand: &Hand<'_>, node: &str, check: &str, share: Duration) -> Result<String, Trouble> {
    let limit = share.mul_f32(0.9).as_millis().max(1);
    let begin = format!("BEGIN READ ONLY; SET LOCAL statement_timeout TO {limit}");
    hand.ask(node, Query::Simple(&begin), share)?;
    let answer = hand.ask(node, Query::With(check, &[]), share);
    let ended = hand.ask(node, Query::Simple("ROLLBACK"), hand.one_look());
    match answer {
        Ok(rows) => {
            ended?;
            Ok(rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten().unwrap_or_default())
        }
        Err(error @ Trouble::Server { .. }) => Ok(format!("error: {error}")),
        Err(trouble) => Err(trouble),
    }
}
