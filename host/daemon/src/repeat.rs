//! Whether a policy that is asked the same again says the same: what it decides, what it reads, how much work it does.
//!
//! Knows neither who asks again nor what comes of a difference.

use tidegate_kernel::contract::Decision;
use tidegate_kernel::event::{Answered, Read};
use tidegate_kernel::record::Decided;

use crate::said;

/// What has to come again.
#[derive(Clone, Copy, Debug)]
pub struct Came<'a> {
    /// A decision, or why there is none.
    pub result: &'a Result<Decision, String>,
    /// What was read for it.
    pub reads: &'a [Read],
    /// Units of work.
    pub fuel: u64,
}

impl<'a> From<&'a Answered> for Came<'a> {
    fn from(answered: &'a Answered) -> Self {
        let Answered { result, reads, fuel, .. } = answered;
        Came { result, reads, fuel: *fuel }
    }
}

impl<'a> From<&'a Decided> for Came<'a> {
    fn from(decided: &'a Decided) -> Self {
        let Decided { result, reads, fuel, .. } = decided;
        Came { result, reads, fuel: *fuel }
    }
}

/// What the second does otherwise than the first, to be read behind its name; none = it is the same.
pub fn difference(first: Came<'_>, again: Came<'_>) -> Option<String> {
    if first.result != again.result {
        let (now, before) = (said(again.result), said(first.result));
        let how = if now == before { "the same with other words" } else { "otherwise" };
        return Some(format!("decides {how}: {now} instead of {before}"));
    }
    if first.reads != again.reads {
        return Some("reads something else".to_owned());
    }
    let (before, now) = (first.fuel, again.fuel);
    (before != now).then(|| format!("does {now} units of work instead of {before}"))
}

fn said(result: &Result<Decision, String>) -> String {
    match result {
        Ok(decision) => format!("{} [{}]", said::verdict(&decision.verdict), decision.analysis),
        Err(fault) => fault.clone(),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_kernel::contract::{Reason, Verdict};

    use super::*;

    fn hold(analysis: &str, reasons: Vec<Reason>) -> Result<Decision, String> {
        Ok(Decision {
            verdict: Verdict::Hold,
            analysis: analysis.into(),
            reasons,
            vetoes: Vec::new(),
            would_change_if: Vec::new(),
            ask_again_in: None,
            memo: String::new(),
            facts: Vec::new(),
        })
    }

    #[test]
    fn a_decision_its_reads_and_its_work_have_to_come_again() {
        let (result, crash) = (hold("healthy", Vec::new()), Err("the policy crashed".to_owned()));
        let worded = hold("healthy", vec![Reason::new("seen", "by two")]);
        let read = Read { capability: "dns.resolve".into(), arguments: r#"["x"]"#.into(), answer: "null".into() };
        let came = |result, reads, fuel| Came { result, reads, fuel };
        let first = came(&result, std::slice::from_ref(&read), 7);
        let otherwise = hold("degraded", Vec::new());
        for (again, told) in [
            (first, None),
            (came(&otherwise, first.reads, 7), Some("decides otherwise: hold [degraded] instead of hold [healthy]")),
            (came(&crash, first.reads, 7), Some("decides otherwise: the policy crashed instead of hold [healthy]")),
            (
                came(&worded, first.reads, 7),
                Some("decides the same with other words: hold [healthy] instead of hold [healthy]"),
            ),
            (came(&result, &[], 7), Some("reads something else")),
            (came(&result, first.reads, 8), Some("does 8 units of work instead of 7")),
        ] {
            assert_eq!(difference(first, again).as_deref(), told);
        }
    }
}
