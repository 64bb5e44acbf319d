//! From a text to its documents. YAML 1.2, which JSON is a part of; every value with its place.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_saphyr::{Location, Spanned};

use super::finding::Finding;
use super::node::{Node, Position, TableField, Value};

/// More values than any document of a person has.
const MAX_NODES: usize = 2_000_000;
/// More levels than any document of a person has. Each takes a part of the stack of the thread that reads it.
const MAX_DEPTH: usize = 32;
/// How many values aliases may repeat.
const MAX_REPEATED: usize = 100_000;

/// The documents of a text. One that cannot be read takes no other one with it: a line that begins with `---` or `...` ends
/// a document wherever it stands (YAML 1.2.2, 9.1.2).
pub(super) fn pieces(text: &str) -> Vec<Result<Node, Finding>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut pieces = Vec::new();
    let (mut start, mut first_line) = (0, 0);
    let mut offset = 0;
    for (line, content) in lines(text).enumerate() {
        if is_marker(content, "---") {
            pieces.push((first_line, &text[start..offset]));
            (start, first_line) = (offset, line);
        } else if is_marker(content, "...") {
            pieces.push((first_line, &text[start..offset]));
            (start, first_line) = (offset + content.len(), line + 1);
        }
        offset += content.len();
    }
    pieces.push((first_line, &text[start..]));
    let is_something = |(_, piece): &(usize, &str)| !lines(piece).all(says_nothing);
    pieces
        .into_iter()
        .filter(is_something)
        .filter_map(|(line, piece)| parse(piece, line).transpose())
        .collect()
}

/// The lines of a text, each with its end: LF, CR LF or CR (YAML 1.2.2, 5.4).
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = rest.find(['\n', '\r']).map(|at| at + if rest[at..].starts_with("\r\n") { 2 } else { 1 });
        let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        Some(line).filter(|line| !line.is_empty())
    })
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

/// A comment, a directive (`%YAML 1.2`), which stands before the document that it is of, or nothing.
fn says_nothing(line: &str) -> bool {
    line.starts_with('%') || matches!(line.trim_start().chars().next(), None | Some('#'))
}

/// One document. `None` = there is nothing in it.
fn parse(text: &str, lines_above: usize) -> Result<Option<Node>, Finding> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 2 * MAX_NODES,
            max_nodes: MAX_NODES,
            max_documents: 2,
            max_depth: MAX_DEPTH,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPEATED },
        strict_booleans: true,
        with_snippet: false,
    };
    let documents: Vec<Spanned<Value>> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
            let mut at = error.location().map_or(Position::START, position);
            at.line += lines_above;
            Finding::error(at, "", pilot_yaml::words(&error))
        })?;
    let first = documents.into_iter().next();
    let node = first.map(|first| Node { at: position(first.referenced), value: first.value });
    Ok(node.filter(|node| !matches!(node.value, Value::Null)).map(|node| below(node, lines_above)))
}

/// The same node, further down.
fn below(mut node: Node, lines: usize) -> Node {
    node.at.line += lines;
    node.value = match node.value {
        Value::List(items) => Value::List(items.into_iter().map(|item| below(item, lines)).collect()),
        Value::Table(fields) => Value::Table(
            fields
                .into_iter()
                .map(|mut field| {
                    field.at.line += lines;
                    TableField { value: below(field.value, lines), ..field }
                })
                .collect(),
        ),
        value => value,
    };
    node
}

fn position(location: Location) -> Position {
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).max(1);
    Position { line: number(location.line()), column: number(location.column()) }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, yes: bool) -> Result<Value, E> {
        Ok(Value::Bool(yes))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_i128<E: Error>(self, number: i128) -> Result<Value, E> {
        Number::from_i128(number).map(Value::Number).ok_or_else(|| E::custom("this number is too large"))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Number::from_f64(number).map(Value::Number).ok_or_else(|| E::custom("this is no finite number"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Value>>()? {
            list.push(Node { at: position(item.referenced), value: item.value });
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let value = map.next_value::<Spanned<Value>>()?;
            let value = Node { at: position(value.referenced), value: value.value };
            fields.push(TableField { at: position(key.referenced), key: key.value, value });
        }
        Ok(Value::Table(fields))
    }
}
