//! `[[must]]` and `[[must-not]]`: what is compared has to be something that there can be, or it would never fail.

use std::ops::Range;

use serde::Deserialize;
use tidegate_kernel::contract::{Millis, State, Verdict};
use tidegate_kernel::fleet::{Fleet, Service};
use toml::Spanned;

use super::Reader;
use crate::scenario::Expectation;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Wanted {
    from: Option<Spanned<String>>,
    by: Option<Spanned<String>>,
    until: Option<Spanned<String>>,
    service: Option<Spanned<String>>,
    active: Option<Spanned<String>>,
    state: Option<State>,
    verdict: Option<Spanned<String>>,
    analysis: Option<String>,
    reason: Option<String>,
    told: Option<String>,
    primary: Option<Spanned<String>>,
    run: Option<bool>,
    asks: Option<bool>,
    frozen: Option<bool>,
    braked: Option<bool>,
}

impl Wanted {
    /// Where it says something; the first of these is where it is told of.
    fn places(&self) -> impl Iterator<Item = Range<usize>> {
        let named = [&self.from, &self.by, &self.until, &self.service, &self.active, &self.verdict, &self.primary];
        named.into_iter().flatten().map(Spanned::span)
    }

    /// Whether it can be so or not so of one service only.
    fn is_of_a_service(&self) -> bool {
        self.active.is_some()
            || self.state.is_some()
            || self.verdict.is_some()
            || [&self.analysis, &self.reason].iter().any(|text| text.is_some())
            || self.primary.is_some()
            || self.run.is_some()
            || self.asks.is_some()
    }

    fn says_something(&self) -> bool {
        self.is_of_a_service() || self.told.is_some() || self.frozen.is_some() || self.braked.is_some()
    }
}

impl Reader<'_> {
    pub(super) fn expectation(&mut self, wanted: Spanned<Wanted>, fleet: &Fleet, length: Millis) -> Expectation {
        let whole = wanted.span();
        let wanted = wanted.into_inner();
        let line = self.position(wanted.places().map(|at| at.start).min().unwrap_or(whole.start)).0;
        let (from, to) = self.window(&wanted, length);
        self.check(&wanted, whole, fleet);
        Expectation {
            line,
            from,
            to,
            service: wanted.service.map(Spanned::into_inner),
            active: wanted.active.map(Spanned::into_inner),
            state: wanted.state,
            verdict: wanted.verdict.map(Spanned::into_inner),
            analysis: wanted.analysis,
            reason: wanted.reason,
            told: wanted.told,
            primary: wanted.primary.map(Spanned::into_inner),
            run: wanted.run,
            asks: wanted.asks,
            frozen: wanted.frozen,
            braked: wanted.braked,
        }
    }

    fn window(&mut self, wanted: &Wanted, length: Millis) -> (Millis, Option<Millis>) {
        let mut time = |of: &Option<Spanned<String>>| of.as_ref().map(|of| self.time(of, length));
        let (from, by, until) = (time(&wanted.from), time(&wanted.by), time(&wanted.until));
        if let (Some(_), Some(until)) = (by, &wanted.until) {
            let todo = "`by` and `until` are two words for the end of its time: leave one out";
            self.wrong(until.span(), "its time has two ends".to_owned(), todo);
        }
        let to = by.or(until);
        if let (Some(from), Some(text)) = (from.filter(|from| to.is_some_and(|to| to < *from)), &wanted.from) {
            let to = tidegate_kernel::fleet::write_duration(to.unwrap_or(from));
            let what = format!("\"{}\" is after the end of its time, which is at {to}", text.as_ref());
            self.wrong(text.span(), what, "choose an earlier `from`, or a later `by` or `until`");
        }
        (from.unwrap_or(0), to)
    }

    fn check(&mut self, wanted: &Wanted, whole: Range<usize>, fleet: &Fleet) {
        if let Some(verdict) = &wanted.verdict {
            self.known_of("there is no verdict", verdict.as_ref(), Verdict::NAMES.into_iter(), verdict.span());
        }
        if !wanted.says_something() {
            let what = "it says nothing that could be so or not".to_owned();
            let todo = "add what is to be so, as active = \"SITE\", verdict = \"fail-over\" or told = \"TEXT\"";
            self.wrong(whole.clone(), what, todo);
        }
        let name = wanted.service.as_ref().map_or("", |service| service.as_ref().as_str());
        match &wanted.service {
            Some(service) => self.service(name, service.span(), fleet),
            None if wanted.is_of_a_service() => {
                let what = "of which service this is expected is not said".to_owned();
                self.wrong(whole, what, "add service = \"NAME\"");
            }
            None => {}
        }
        if let Some(active) = &wanted.active {
            self.place_of(name, active.as_ref(), active.span(), fleet);
        }
        let declared = fleet.services.iter().find(|declared| declared.name == name);
        if let (Some(declared), Some(primary)) = (declared, &wanted.primary) {
            self.primary(declared, primary, fleet);
        }
    }

    fn primary(&mut self, service: &Service, primary: &Spanned<String>, fleet: &Fleet) {
        let Some(cluster) = service.cluster.map(|id| &fleet.clusters[id.at()]) else {
            let what = format!("{} has no cluster, and so no primary", service.name);
            return self.wrong(primary.span(), what, "leave `primary` out, or name a service with a cluster");
        };
        let nodes = cluster.nodes.iter().map(|node| node.name.as_str());
        let what = format!("the cluster {} has no node", cluster.name);
        self.known_of(&what, primary.as_ref(), nodes, primary.span());
    }
}
