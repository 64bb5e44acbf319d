//! JSON. `serde_json` gives no positions of values, but borrows raw values from the text: their address is
//! their position.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Document, Field, LIST, Lines, Node, Position, Value};
use crate::problem::Mistake;

/// Each level is scanned again for the one below it, so the depth bounds the time.
const MAX_DEPTH: usize = 32;

pub(super) fn parse<T: From<Node>>(text: &str) -> Result<Document<T>, Mistake> {
    let lines = Lines::new(text);
    let root: &RawValue = read(text, Position::START)?;
    let mut entries = Vec::new();
    if !root.get().starts_with('{') {
        return Ok(Document { root: node(root, &lines, 0)?, entries });
    }
    let at = lines.position_of(root.get());
    let fields: RawFields<'_> = read(root.get(), at)?;
    let value = table(&fields.0, &lines, |key, value| {
        if key != LIST || !value.get().starts_with('[') {
            return node(value, &lines, 1);
        }
        let at = lines.position_of(value.get());
        let items: Vec<&RawValue> = read(value.get(), at)?;
        for item in items {
            entries.push(node(item, &lines, 2)?.into());
        }
        Ok(Node { at, value: Value::List(Vec::new()) })
    });
    Ok(Document { root: Node { at, value: value? }, entries })
}

fn node(raw: &RawValue, lines: &Lines<'_>, depth: usize) -> Result<Node, Mistake> {
    let text = raw.get();
    let at = lines.position_of(text);
    if depth == MAX_DEPTH {
        return Err(Mistake::new(at, format!("more than {MAX_DEPTH} levels of nesting")));
    }
    let value = match text.as_bytes().first() {
        Some(b'{') => {
            let fields: RawFields<'_> = read(text, at)?;
            table(&fields.0, lines, |_, value| node(value, lines, depth + 1))?
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = read(text, at)?;
            let items = items.into_iter().map(|item| node(item, lines, depth + 1));
            Value::List(items.collect::<Result<_, _>>()?)
        }
        Some(b'"') => Value::Text(read(text, at)?),
        Some(b't' | b'f') => Value::Bool(text == "true"),
        Some(b'n') => Value::Null,
        _ => text.parse().map_or(Value::Other("a fraction"), Value::Integer),
    };
    Ok(Node { at, value })
}

fn table(
    raw: &[(&RawValue, &RawValue)],
    lines: &Lines<'_>,
    mut convert: impl FnMut(&str, &RawValue) -> Result<Node, Mistake>,
) -> Result<Value, Mistake> {
    let mut fields: Vec<Field> = Vec::with_capacity(raw.len());
    let mut seen = std::collections::BTreeSet::new();
    for (key, value) in raw {
        let at = lines.position_of(key.get());
        let key: String = read(key.get(), at)?;
        if !seen.insert(key.clone()) {
            return Err(Mistake::new(at, format!("key {key:?} is there twice")));
        }
        let value = convert(&key, value)?;
        fields.push(Field { at, key, value });
    }
    Ok(Value::Table(fields))
}

fn read<'a, T: Deserialize<'a>>(text: &'a str, start: Position) -> Result<T, Mistake> {
    serde_json::from_str(text).map_err(|error| {
        let at = Position { line: error.line().max(1), column: error.column().max(1) };
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        Mistake::new(start.then(at), message)
    })
}

/// An object's keys and values as they stand in the text, in its order.
struct RawFields<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for RawFields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = RawFields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(RawFields(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}
