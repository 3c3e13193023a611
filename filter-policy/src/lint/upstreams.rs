//! Conditions and limits that are about upstreams, where there are none.

use filter_core::layout::Per;

use super::Linter;
use crate::{
    language::{diagnostics::Code, scope::Scope},
    model::Test,
};

impl Linter<'_> {
    pub(super) fn conditions_on_upstreams(&mut self) {
        let has_callers = self.policy.upstreams.iter().any(|upstream| upstream.callers.is_some());
        for (condition, written) in self.conditions() {
            let is_empty = matches!(&condition.test, Test::Source(lists) if lists.is_empty());
            let is_of = |scope| condition.scope == scope;
            let (what, help) = if is_of(Scope::CallerAllowed) && !has_callers {
                (
                    "no upstream has `callers`: this never matches",
                    "add `callers = \"@set\"` to an `[[upstream]]`: the numbers that its calls may come from",
                )
            } else if is_of(Scope::UpstreamKind) && is_empty {
                ("no upstream is of this kind", "give an `[[upstream]]` this `kind`, or remove the condition")
            } else if is_of(Scope::UpstreamRmd) && is_empty {
                (
                    "no upstream has this filing",
                    "write the numbers of filings as `rmd` in `[[upstream]]`, or remove the condition",
                )
            } else {
                continue;
            };
            self.warn(Code::NoUpstream, &written.scope.span, what, help);
        }
        let has_upstreams = !self.policy.upstreams.is_empty() || !self.policy.labelled.is_empty();
        for (rule, written) in self.rules() {
            let by_upstream = rule.over.as_ref().is_some_and(|over| over.per == Per::Upstream);
            if let Some(per) = written.over.as_ref().and_then(|over| over.per.as_ref())
                && by_upstream
                && !has_upstreams
            {
                let message = "there are no upstreams: this counts by source address";
                let help = "add an `[[upstream]]` with the trunks that share a limit, or write `per = \"source\"`";
                self.warn(Code::NoUpstream, &per.span, message, help);
            }
        }
    }
}
