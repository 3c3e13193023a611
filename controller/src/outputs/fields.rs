//! A message as fields with names, for logs that have them.

use serde::Serialize;
use serde_json::Value;

/// The fields of a message that are one value each, in their order. A list of words is one value; what is more than that is in the
/// message's text.
pub(super) fn fields(message: &impl Serialize) -> Vec<(String, String)> {
    let Ok(Value::Object(fields)) = serde_json::to_value(message) else { return Vec::new() };
    let one = |(name, value)| {
        let value = match value {
            Value::String(value) => value,
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            Value::Array(values) => values.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?.join(" "),
            Value::Null | Value::Object(_) => return None,
        };
        Some((name, value))
    };
    fields.into_iter().filter_map(one).collect()
}
