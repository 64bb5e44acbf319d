//! Lists of instances as they are sent: with less than there is, or as a view has them.

use bytes::Bytes;
use serde_json::{Value, json};

use super::question::Question;

/// Leaves out what the question does not ask for and what its token may not read. Gives the rest, and whether
/// something was left out for the token's sake.
pub(super) fn select(body: &Bytes, question: &Question, hidden: &[String]) -> (Bytes, bool) {
    let all = question.tags.is_empty() && !question.passing;
    if all && hidden.is_empty() {
        return (body.clone(), false);
    }
    let mut entries = read(body);
    if !all {
        entries.retain(|entry| is_asked_for(entry, question));
    }
    let before = entries.len();
    entries.retain(|entry| !hidden.iter().any(|node| entry["Node"]["Node"] == **node));
    let filtered = entries.len() < before;
    (Value::from(entries).to_string().into(), filtered)
}

/// The same instances as an agent's view has them: sorted, and without what is empty, as they came in
/// protobuf.
pub(super) fn as_in_a_view(body: &Bytes) -> Bytes {
    let mut entries = read(body);
    entries.sort_by_key(|entry| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&entry["Node"]["Node"]), text(&entry["Service"]["ID"]))
    });
    for entry in &mut entries {
        for (part, key) in [("Node", "Meta"), ("Node", "TaggedAddresses"), ("Service", "Meta")] {
            if let Some(value) = entry[part].get_mut(key)
                && *value == json!({})
            {
                *value = Value::Null;
            }
        }
    }
    Value::from(entries).to_string().into()
}

/// The checks of an instance that do not pass.
pub(super) fn troubled_checks(entry: &Value) -> Vec<Value> {
    let checks = entry["Checks"].as_array().into_iter().flatten();
    checks.filter(|check| check["Status"] != "passing").cloned().collect()
}

/// The tags of all instances, each once.
pub(super) fn tags(instances: &[Value]) -> Value {
    let mut tags: Vec<String> = instances.iter().flat_map(tags_of).map(str::to_owned).collect();
    tags.sort();
    tags.dedup();
    json!(tags)
}

fn tags_of(entry: &Value) -> impl Iterator<Item = &str> {
    entry["Service"]["Tags"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn is_asked_for(entry: &Value, question: &Question) -> bool {
    let has = |tag: &String| tags_of(entry).any(|own| own.eq_ignore_ascii_case(tag));
    question.tags.iter().all(has) && (!question.passing || troubled_checks(entry).is_empty())
}

fn read(body: &Bytes) -> Vec<Value> {
    serde_json::from_slice(body).expect("the catalog holds lists of entries")
}
