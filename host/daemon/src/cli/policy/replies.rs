//! What policies of each kind say, for people: on one line, and on one screen.
//!
//! Does not know how they were asked.

use std::fmt::Write as _;

use tidegate_engine::{Reply, Request};
use tidegate_kernel::contract::tiering::Placement;
use tidegate_kernel::contract::{Millis, Money, Reason, cost, retention, tiering};

use crate::cli::explain;
use crate::cli::text::{Cell, Table, Tone, cell, facts, paint};
use crate::cli::times::length;
use crate::said;

const DAY: Millis = 86_400_000;

/// The answer in a few words, and the codes that stand behind it.
pub(super) fn short(reply: &Reply) -> (String, String) {
    match reply {
        Reply::Failover(decision) => (said::verdict(&decision.verdict), decision.analysis.clone()),
        Reply::Retention(choices) => {
            let kept = choices.iter().filter(|choice| choice.keep).count();
            (format!("keep {kept} of {}", choices.len()), codes(reply).join(", "))
        }
        Reply::Tiering(choices) => {
            let count = |is: fn(&Placement) -> bool| choices.iter().filter(|choice| is(&choice.placement)).count();
            let (moved, expired) = (
                count(|placement| matches!(placement, Placement::MoveTo(_))),
                count(|placement| *placement == Placement::Expire),
            );
            let also = if expired > 0 { format!(", expire {expired}") } else { String::new() };
            (format!("move {moved} of {}{also}", choices.len()), codes(reply).join(", "))
        }
        Reply::Cost(advice) => {
            let each = advice.assignments.iter().map(|assigned| format!("{}: {}", assigned.service, assigned.strategy));
            let all = each.collect::<Vec<_>>().join(", ");
            (if all.is_empty() { "nothing to assign".to_owned() } else { all }, codes(reply).join(", "))
        }
    }
}

/// Each code that it gives, once, in the order of its answer.
pub(super) fn codes(reply: &Reply) -> Vec<String> {
    let mut codes: Vec<String> = Vec::new();
    let mut add = |reasons: &[Reason]| {
        for reason in reasons {
            if !codes.contains(&reason.code) {
                codes.push(reason.code.clone());
            }
        }
    };
    match reply {
        Reply::Failover(decision) => {
            add(&[Reason::new(&decision.analysis, "")]);
            add(&decision.reasons);
            decision.vetoes.iter().for_each(|veto| add(std::slice::from_ref(&veto.reason)));
        }
        Reply::Retention(choices) => choices.iter().for_each(|choice| add(&choice.reasons)),
        Reply::Tiering(choices) => choices.iter().for_each(|choice| add(&choice.reasons)),
        Reply::Cost(advice) => {
            advice.assignments.iter().for_each(|assigned| add(&assigned.reasons));
            advice.savings.iter().for_each(|saving| add(&saving.reasons));
            add(&advice.warnings);
        }
    }
    codes
}

/// The answer beside what it answers; empty for a failover policy's, which `eval` tells as `explain` does.
pub(super) fn page(reply: &Reply, request: &Request) -> String {
    match (reply, request) {
        (Reply::Retention(choices), Request::Retention(asked)) => backups(choices, asked),
        (Reply::Tiering(choices), Request::Tiering(asked)) => objects(choices, asked),
        (Reply::Cost(advice), Request::Cost(asked)) => spending(advice, asked),
        _ => String::new(),
    }
}

fn backups(choices: &[retention::Choice], asked: &retention::Request) -> String {
    let mut table = Table::new(["backup", "kind", "age", "needs", "", "because"]);
    for (choice, backup) in choices.iter().zip(&asked.backups) {
        table.row([
            backup.id.as_str().into(),
            backup.kind.as_str().into(),
            age(asked.now, backup.taken_at).into(),
            backup.parent.as_deref().unwrap_or_default().into(),
            if choice.keep { cell("stays", Tone::Good) } else { cell("goes", Tone::Warning) },
            because(&choice.reasons),
        ]);
    }
    format!("{}\n{}", paint(&asked.dataset.name, Tone::Title), table.render())
}

fn objects(choices: &[tiering::Choice], asked: &tiering::Request) -> String {
    let mut table = Table::new(["object", "size", "last read", "is", "belongs in", "saves a month", "because"]);
    for (choice, item) in choices.iter().zip(&asked.items) {
        let object = &item.object;
        table.row([
            object.key.as_str().into(),
            size(object.size).into(),
            object.accessed_at.map_or_else(|| "unknown".to_owned(), |at| age(asked.now, at)).into(),
            object.stored_as.as_str().into(),
            placed(choice.placement.clone(), object.stored_as.as_str()),
            amount(choice.saves).into(),
            because(&choice.reasons),
        ]);
    }
    format!("{}\n{}", paint(&asked.bucket, Tone::Title), table.render())
}

fn placed(placement: Placement, now: &str) -> Cell {
    match placement {
        Placement::Stay => now.into(),
        Placement::MoveTo(class) => cell(class.as_str(), Tone::Good),
        Placement::Expire => cell("nowhere: it expires", Tone::Warning),
    }
}

fn spending(advice: &cost::Advice, asked: &cost::Request) -> String {
    let currency = &asked.currency;
    let mut services = Table::new(["service", "is", "is worth", "a month", "saves a year", "objectives", "because"]);
    for assigned in &advice.assignments {
        let now = asked.services.iter().find(|service| service.service == assigned.service);
        services.row([
            assigned.service.as_str().into(),
            now.map_or("", |service| service.current.as_str()).into(),
            cell(assigned.strategy.as_str(), Tone::Title),
            amount(assigned.monthly).into(),
            amount(assigned.avoided_loss_yearly).into(),
            if assigned.meets_objectives { cell("met", Tone::Good) } else { cell("not met", Tone::Bad) },
            because(&assigned.reasons),
        ]);
    }
    let mut text = services.render();
    if !advice.savings.is_empty() {
        let mut savings = Table::new(["asset", "change", "saves a month", "risk", "because"]);
        for saving in &advice.savings {
            savings.row([
                saving.asset.as_str().into(),
                saving.change.as_str().into(),
                amount(saving.monthly).into(),
                saving.risk.as_str().into(),
                because(&saving.reasons),
            ]);
        }
        let _ = write!(text, "\n{}", savings.render());
    }
    let mut lines = vec![
        ("a month", format!("{} {currency}", amount(advice.monthly))),
        ("avoided", format!("{} {currency} of loss a year", amount(advice.avoided_loss_yearly))),
    ];
    lines.extend(explain::reasons("warning", &advice.warnings));
    let _ = write!(text, "\n{}", facts(lines));
    text
}

fn because(reasons: &[Reason]) -> Cell {
    let each = reasons.iter().map(|reason| format!("{} [{}]", reason.text, reason.code));
    each.collect::<Vec<_>>().join("; ").into()
}

/// In days where hours say nothing.
fn age(now: u64, then: u64) -> String {
    match now.checked_sub(then) {
        None => format!("in {}", length(then - now)),
        Some(ago) if ago >= 10 * DAY => format!("{} d", ago / DAY),
        Some(ago) => length(ago),
    }
}

/// Millionths in hundredths, the rest cut off.
fn amount(money: Money) -> String {
    let sign = if money < 0 { "-" } else { "" };
    let hundredths = money.unsigned_abs() / 10_000;
    format!("{sign}{}.{:02}", hundredths / 100, hundredths % 100)
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = UNITS.iter().enumerate().rposition(|(at, _)| bytes >> (10 * at) > 0).unwrap_or(0);
    format!("{} {}", bytes >> (10 * unit), UNITS[unit])
}

#[cfg(test)]
mod tests {
    use tidegate_engine::Reply;
    use tidegate_kernel::contract::{Reason, retention};

    use super::{age, amount, codes, short, size};

    #[test]
    fn money_sizes_and_ages_are_short_and_true() {
        assert_eq!([0, 12_340_000, -10_000, 9_999].map(amount), ["0.00", "12.34", "-0.01", "0.00"]);
        assert_eq!([0, 1_023, 1_024, 100 << 30, 3 << 50].map(size), ["0 B", "1023 B", "1 KiB", "100 GiB", "3072 TiB"]);
        assert_eq!([age(9, 9), age(864_000_000, 0), age(0, 1_000)], ["0 ms", "10 d", "in 1 s"]);
    }

    #[test]
    fn an_answer_of_many_parts_is_one_line_with_each_code_once() {
        let choice = |keep, code: &str| retention::Choice {
            id: String::new(),
            keep,
            reasons: vec![Reason::new(code, ""), Reason::new("young", "")],
        };
        let reply = Reply::Retention(vec![choice(true, "held"), choice(false, "old")]);
        assert_eq!(codes(&reply), ["held", "young", "old"]);
        assert_eq!(short(&reply), ("keep 1 of 2".to_owned(), "held, young, old".to_owned()));
    }
}
