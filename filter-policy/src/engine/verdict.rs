//! A decision, as the command line shows it.

use serde_json::{Map, Value, json};

use super::{Decision, Facts, Reading};
use crate::{image::Image, model::Policy};

/// The fields of `explain --json` and `replay --json`.
#[must_use]
pub fn decision_json(
    policy: &Policy,
    image: &Image,
    facts: &Facts<'_>,
    decision: &Decision,
    reading: &Reading<'_>,
) -> Map<String, Value> {
    let name = |rule: usize| image.rule_names.get(rule).cloned().unwrap_or_default();
    let would: Vec<Value> = decision
        .would
        .iter()
        .filter_map(|&rule| policy.rules.get(rule))
        .map(|rule| json!({ "rule": rule.name, "verdict": rule.action.kind().verdict_name() }))
        .collect();
    let mut object = Map::new();
    object.insert("verdict".to_owned(), decision.reason.verdict_name().into());
    object.insert("reason".to_owned(), decision.reason.name().into());
    object.insert("rule".to_owned(), decision.rule.map(name).into());
    object.insert("would".to_owned(), would.into());
    let mut scopes = reading.scopes();
    scopes.extend(reading.known(facts));
    object.insert("scopes".to_owned(), scopes.into());
    object
}
