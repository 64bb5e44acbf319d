//! YAML 1.2, by `serde-saphyr`, which tells the place of each value. Aliases are followed, within limits. Several
//! documents in one file are one list of services.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::{Document, Field, LIST, Node, Position, Value};
use crate::problem::Mistake;

/// Enough for the largest file with short values; what aliases add is bounded apart from it.
const MAX_NODES: usize = 32_000_000;
/// How many values aliases may repeat.
const MAX_REPEATED: usize = 250_000;
/// How many documents one file may have.
const MAX_DOCUMENTS: usize = 10_000;

pub(super) fn parse<T: From<Node>>(text: &str) -> Result<Document<T>, Mistake> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 2 * MAX_NODES,
            max_nodes: MAX_NODES,
            max_documents: MAX_DOCUMENTS,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPEATED },
        strict_booleans: true,
        with_snippet: false,
    };
    // Empty documents, like that behind a final `---`, are passed over.
    let documents: Vec<Spanned<Raw<T, ROOT>>> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| {
            Mistake::new(error.location().map_or(Position::START, position), pilot_yaml::words(&error))
        })?;
    let mut documents = documents.into_iter();
    let Some(first) = documents.next() else {
        return Ok(Document {
            root: Node { at: Position::START, value: Value::Table(Vec::new()) },
            entries: Vec::new(),
        });
    };
    let at = position(first.referenced);
    let mut document = Document { root: Node { at, value: first.value.value }, entries: first.value.entries };
    for other in documents {
        append(&mut document, other)?;
    }
    Ok(document)
}

/// Adds the services of a further document. What else it says stays in the tree, for who reads that to refuse.
fn append<T>(document: &mut Document<T>, other: Spanned<Raw<T, ROOT>>) -> Result<(), Mistake> {
    let at = position(other.referenced);
    let Raw { value, entries } = other.value;
    let Value::Table(further) = value else {
        let message = format!("this document is {}: expected a table with the key `service:`", value.kind());
        return Err(Mistake::new(at, message));
    };
    let list = further.iter().find(|field| field.key == LIST).map(|field| &field.value.value);
    match list {
        Some(Value::List(_)) => {}
        Some(other) => {
            let message = format!("service: expected a list of services, found {}", other.kind());
            return Err(Mistake::new(at, message));
        }
        None => return Err(Mistake::new(at, "this document has no list `service:`: each of a file has one")),
    }
    if let Value::Table(fields) = &mut document.root.value {
        fields.extend(further.into_iter().filter(|field| field.key != LIST));
    }
    document.entries.extend(entries);
    Ok(())
}

fn position(location: Location) -> Position {
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).max(1);
    Position { line: number(location.line()), column: number(location.column()) }
}

/// Where in the document a value is.
const ROOT: u8 = 0;
const ENTRIES: u8 = 1;
const INSIDE: u8 = 2;

/// A value, and the entries that were part of it, which it lacks.
struct Raw<T, const LEVEL: u8> {
    value: Value,
    entries: Vec<T>,
}

impl<T, const LEVEL: u8> From<Value> for Raw<T, LEVEL> {
    fn from(value: Value) -> Self {
        Self { value, entries: Vec::new() }
    }
}

impl<'de, T: From<Node>, const LEVEL: u8> Deserialize<'de> for Raw<T, LEVEL> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue(PhantomData))
    }
}

struct AnyValue<T, const LEVEL: u8>(PhantomData<T>);

impl<'de, T: From<Node>, const LEVEL: u8> Visitor<'de> for AnyValue<T, LEVEL> {
    type Value = Raw<T, LEVEL>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Value::Null.into())
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(Value::Null.into())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, yes: bool) -> Result<Self::Value, E> {
        Ok(Value::Bool(yes).into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Value::Integer(number.into()).into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Value::Integer(number.into()).into())
    }

    fn visit_i128<E>(self, number: i128) -> Result<Self::Value, E> {
        Ok(Value::Integer(number).into())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Value::Other("a fraction").into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Value::Text(text.to_owned()).into())
    }

    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(Value::Text(text).into())
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Self::Value, E> {
        Ok(Value::Other("binary data").into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let (mut list, mut entries) = (Vec::new(), Vec::new());
        while let Some(item) = items.next_element::<Spanned<Raw<T, INSIDE>>>()? {
            let item = Node { at: position(item.referenced), value: item.value.value };
            if LEVEL == ENTRIES {
                entries.push(item.into());
            } else {
                list.push(item);
            }
        }
        Ok(Raw { value: Value::List(list), entries })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut fields, mut entries) = (Vec::new(), Vec::new());
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let value = if LEVEL == ROOT && key.value == LIST {
                let list = map.next_value::<Spanned<Raw<T, ENTRIES>>>()?;
                entries = list.value.entries;
                Node { at: position(list.referenced), value: list.value.value }
            } else {
                let value = map.next_value::<Spanned<Raw<T, INSIDE>>>()?;
                Node { at: position(value.referenced), value: value.value.value }
            };
            fields.push(Field { at: position(key.referenced), key: key.value, value });
        }
        Ok(Raw { value: Value::Table(fields), entries })
    }
}
