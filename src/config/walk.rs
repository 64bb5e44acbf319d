//! Finds all unknown keys and all values of a wrong type, and removes them from the document.

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::origin::join;
use super::schema::{Scalar, Shape};
use super::{Origins, Problem};

/// What the walk has found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) problems: Vec<Problem>,
    /// The keys that were taken out.
    pub(super) broken: Vec<String>,
}

/// Compares the table with the schema. What does not fit is reported and taken out, so that the rest can
/// be looked at further.
pub(super) fn walk(schema: &Value, table: &mut DeTable<'_>, origins: &Origins) -> Findings {
    let mut findings = Findings::default();
    let schema = Shape::new(schema);
    walk_table(schema, schema, "", table, origins, &mut findings);
    findings
}

fn walk_table(
    schema: Shape<'_>,
    shape: Shape<'_>,
    prefix: &str,
    table: &mut DeTable<'_>,
    origins: &Origins,
    findings: &mut Findings,
) {
    let mut misfits = Vec::new();
    for (key, value) in table.iter_mut() {
        let path = join(prefix, key.get_ref());
        let (offset, message) = match shape.get(key.get_ref()) {
            None => {
                let message = misplaced_key(schema, prefix, key.get_ref());
                let message = message.or_else(|| key_of_another_level(schema, prefix, key.get_ref()));
                let message = message.unwrap_or_else(|| unknown_key(shape, prefix, key.get_ref()));
                (key.span().start, message)
            }
            Some(shape) => match (table_shape(shape), value.get_mut()) {
                (Some(shape), DeValue::Table(inner)) => {
                    walk_table(schema, shape, &path, inner, origins, findings);
                    continue;
                }
                (_, inner) => match wrong_type(shape, inner) {
                    Some(message) => (value.span().start, message),
                    None => continue,
                },
            },
        };
        findings.problems.push(origins.problem_at(offset, Some(&path), message));
        findings.broken.push(path);
        misfits.push(key.get_ref().to_string());
    }
    for key in misfits {
        table.remove(key.as_str());
    }
}

/// The shape of a table that may stand there.
fn table_shape(shape: Shape<'_>) -> Option<Shape<'_>> {
    if shape.is_table() { Some(shape) } else { shape.table_instead() }
}

/// What is meant by a key that is right elsewhere: a kind of registry is a table of its own, below a name, and so is a kind
/// of store.
fn misplaced_key(schema: Shape<'_>, table: &str, key: &str) -> Option<String> {
    let (group, name) = table.split_once('.').filter(|(_, name)| !name.contains('.'))?;
    let what = match group {
        "registry" => "registry",
        "rules" => "store of rules",
        _ => return None,
    };
    let entry = schema.get(group)?.any_key()?;
    if let Some(kind) =
        entry.keys().find(|(kind, shape)| *kind == name && shape.is_table()).map(|(_, shape)| shape)
        && kind.keys().any(|(known, _)| known == key)
    {
        return Some(format!(
            "{name} is a kind of {what}, and the {what} has no name: write [{group}.NAME.{name}], like \
             [{group}.local.{name}]"
        ));
    }
    ["type", "kind"].contains(&key).then(|| {
        let kinds: Vec<String> = entry
            .keys()
            .filter(|(_, shape)| shape.is_table())
            .map(|(kind, _)| format!("[{group}.{name}.{kind}]"))
            .collect();
        format!("the kind of a {what} is a table of its own: expected one of {}", kinds.join(", "))
    })
}

/// What is meant by a key that a table above this one has, or one directly below it.
fn key_of_another_level(schema: Shape<'_>, table: &str, key: &str) -> Option<String> {
    let mut above = Vec::new();
    let (mut shape, mut path) = (schema, String::new());
    for part in table.split('.') {
        above.push((shape, path.clone()));
        (shape, path) = (shape.get(part)?, join(&path, part));
    }
    let has = |shape: Shape<'_>| shape.keys().any(|(known, _)| known == key);
    // At the top there are only tables.
    if let Some(levels) = above.iter().skip(1).rev().position(|(shape, _)| has(*shape)) {
        let (_, owner) = &above[above.len() - 1 - levels];
        let up = if levels == 0 { "one level".to_owned() } else { format!("{} levels", levels + 1) };
        return Some(format!("unknown key: it belongs {up} up, in [{owner}]"));
    }
    let below = shape.keys().filter(|(_, shape)| shape.is_table() && has(*shape));
    let below: Vec<String> = below.map(|(name, _)| format!("[{}]", join(table, name))).collect();
    (!below.is_empty()).then(|| format!("unknown key: it belongs one level down, in {}", below.join(" or ")))
}

fn unknown_key(shape: Shape<'_>, table: &str, key: &str) -> String {
    let known: Vec<&str> = shape.keys().map(|(key, _)| key).collect();
    let place = if table.is_empty() { "pilot.toml".into() } else { format!("[{table}]") };
    match nearest(key, known.iter().copied()) {
        Some(near) => format!("unknown key: did you mean {near:?}?"),
        None => format!("unknown key: {place} has {}", super::problem::quoted(&known)),
    }
}

fn wrong_type(shape: Shape<'_>, value: &DeValue<'_>) -> Option<String> {
    let (min, max) = shape.bounds();
    let fits = match (shape.scalar(), value) {
        (Some(Scalar::String), DeValue::String(text)) => {
            let words = shape.words();
            words.is_empty() || words.contains(&text.as_ref())
        }
        (Some(Scalar::Integer), DeValue::Integer(number)) => {
            i64::from_str_radix(number.as_str(), number.radix())
                .is_ok_and(|number| (min..=max).contains(&number))
        }
        (Some(Scalar::Boolean), DeValue::Boolean(_)) => true,
        // Neither a scalar nor a table: whoever deserializes it knows.
        (None, _) => !shape.is_table(),
        _ => false,
    };
    (!fits).then(|| format!("{}: {}", shown(value), shape.expected()))
}

fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.chars().count() > 60 => "this string does not fit".into(),
        DeValue::String(text) => format!("{:?} does not fit", text.as_ref()),
        DeValue::Integer(number) => format!("{number} does not fit"),
        DeValue::Float(number) => format!("{number} does not fit"),
        DeValue::Boolean(flag) => format!("{flag} does not fit"),
        DeValue::Datetime(time) => format!("{time} does not fit"),
        DeValue::Array(_) => "an array does not fit".into(),
        DeValue::Table(_) => "a table does not fit".into(),
    }
}

/// The known word that `word` is most likely meant to be, if one is near.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let distances = known.map(|known| (strsim::damerau_levenshtein(&lower, &known.to_lowercase()), known));
    let (distance, known) = distances.min()?;
    (distance <= 1 + word.chars().count() / 4).then_some(known)
}
