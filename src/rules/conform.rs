//! Compares what a document says with the shape of its kind, and finds all that does not fit.

use std::sync::LazyLock;

use pilot_registry::duration;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use super::finding::{Finding, Level, is_full};
use super::node::{Node, Path, TableField, Value, camel};
use super::shape::{Shape, Type};

/// A kind of documents: its shape is made once.
pub(super) trait Shaped: JsonSchema + DeserializeOwned + 'static {
    /// The shape of what stands under `spec`.
    fn shape() -> &'static LazyLock<Json>;
}

/// Reads what stands under `spec`. `None` = something does not fit, which `findings` say.
pub(super) fn conform<T: Shaped>(spec: &Node, findings: &mut Vec<Finding>) -> Option<T> {
    let mut walk = Walk { findings, above: Vec::new() };
    let before = walk.errors();
    let path = Path::new("spec");
    let json = walk.value(Shape(T::shape()), &path, spec);
    if walk.errors() > before {
        return None;
    }
    // All that could be wrong was looked at: what is left would be a shape that says less than its type.
    serde_json::from_value(json?)
        .map_err(|error| findings.push(Finding::error(spec.at, path, error.to_string())))
        .ok()
}

struct Walk<'a> {
    findings: &'a mut Vec<Finding>,
    /// The tables around what is looked at, the outermost first.
    above: Vec<(String, Shape<'a>)>,
}

impl<'a> Walk<'a> {
    fn errors(&self) -> usize {
        self.findings.iter().filter(|finding| finding.level == Level::Error).count()
    }

    fn error(&mut self, at: super::Position, path: &Path<'_>, message: impl Into<String>) {
        if !is_full(self.findings, Level::Error) {
            self.findings.push(Finding::error(at, path, message));
        }
    }

    fn warning(&mut self, at: super::Position, path: &Path<'_>, message: impl Into<String>) {
        if !is_full(self.findings, Level::Warning) {
            self.findings.push(Finding::warning(at, path, message));
        }
    }

    /// `None`: it does not fit, which was said.
    fn value(&mut self, shape: Shape<'a>, path: &Path<'_>, node: &Node) -> Option<Json> {
        match (shape.kind(), &node.value) {
            (Some(Type::Table), Value::Table(fields)) => self.table(shape, path, node, fields),
            (Some(Type::Map), Value::Table(fields)) => self.map(shape, path, fields),
            (Some(Type::List), Value::List(items)) => self.list(shape, path, node, items),
            (Some(Type::Text), Value::Text(text)) => self.text(shape, path, node, text),
            (Some(Type::Integer), Value::Number(number)) if !number.is_f64() => {
                self.number(shape, path, node, number)
            }
            (Some(Type::Number), Value::Number(number)) => self.number(shape, path, node, number),
            (Some(Type::Bool), Value::Bool(yes)) => Some((*yes).into()),
            (kind, value) => {
                let hint = if shape.format() == Some("duration") { "" } else { hint(kind, value) };
                self.error(
                    node.at,
                    path,
                    format!("{} does not fit: {}{hint}", value.shown(), shape.expected()),
                );
                None
            }
        }
    }

    fn number(
        &mut self,
        shape: Shape<'_>,
        path: &Path<'_>,
        node: &Node,
        number: &serde_json::Number,
    ) -> Option<Json> {
        let value = number.as_f64().unwrap_or(f64::MAX);
        let (min, max) = shape.bounds();
        if min.is_some_and(|min| value < min) || max.is_some_and(|max| value > max) {
            self.error(node.at, path, format!("{number} does not fit: {}", shape.expected()));
            return None;
        }
        Some(Json::Number(number.clone()))
    }

    fn text(&mut self, shape: Shape<'_>, path: &Path<'_>, node: &Node, text: &str) -> Option<Json> {
        let words = shape.words();
        let wrong = if !words.is_empty() && !words.contains(&text) {
            let near = words.iter().find(|word| word.eq_ignore_ascii_case(text));
            Some(match near {
                Some(near) => format!("{text:?} does not fit: it is written {near}"),
                None => format!("{text:?} does not fit: {}", shape.expected()),
            })
        } else if text.is_empty() && shape.least() > 0 {
            Some("it is empty".to_owned())
        } else {
            match shape.format() {
                Some("duration") => self::duration(text).err(),
                Some("regex") => regex(text).err(),
                Some("regex-or-any") if text != "*" => regex(text).err(),
                _ => None,
            }
        };
        match wrong {
            Some(message) => {
                self.error(node.at, path, message);
                None
            }
            None => Some(text.into()),
        }
    }

    fn list(&mut self, shape: Shape<'a>, path: &Path<'_>, node: &Node, items: &[Node]) -> Option<Json> {
        if (items.len() as u64) < shape.least() {
            self.error(node.at, path, "it is empty");
            return None;
        }
        let inside = shape.item()?;
        let items = items.iter().enumerate().filter_map(|(i, item)| self.value(inside, &path.index(i), item));
        Some(Json::Array(items.collect()))
    }

    fn map(&mut self, shape: Shape<'a>, path: &Path<'_>, fields: &[TableField]) -> Option<Json> {
        let inside = shape.item()?;
        let mut map = Map::new();
        for field in fields {
            if let Some(value) = self.value(inside, &path.key(&field.key), &field.value) {
                map.insert(field.key.clone(), value);
            }
        }
        Some(Json::Object(map))
    }

    fn table(
        &mut self,
        shape: Shape<'a>,
        path: &Path<'_>,
        node: &Node,
        fields: &[TableField],
    ) -> Option<Json> {
        self.above.push((path.to_string(), shape));
        let mut table = Map::new();
        for field in fields {
            let Some((key, inside)) = self.known(shape, path, field, fields) else { continue };
            // As if it were not there.
            if matches!(field.value.value, Value::Null) {
                continue;
            }
            if let Some(instead) = inside.word("x-rejected") {
                self.error(field.at, &path.key(&field.key), instead);
                continue;
            }
            for extension in ["x-inert", "x-old"] {
                if let Some(why) = inside.word(extension) {
                    self.warning(field.at, &path.key(&field.key), why);
                }
            }
            if let Some(value) = self.value(inside, &path.key(&field.key), &field.value)
                && inside.word("x-inert").is_none()
            {
                table.insert(key, value);
            }
        }
        let is_there = |key: &str| fields.iter().any(|field| camel(&field.key) == key);
        for key in shape.required().filter(|key| !is_there(key)) {
            self.error(node.at, path, format!("{key:?} is missing"));
        }
        for group in shape.alternatives() {
            let there: Vec<_> = group.into_iter().filter(|key| table.contains_key(*key)).collect();
            if there.len() > 1 {
                self.error(node.at, path, format!("only one of {} may be there", there.join(", ")));
            }
        }
        self.above.pop();
        Some(Json::Object(table))
    }

    /// The field that a key means, by its name of today.
    fn known(
        &mut self,
        shape: Shape<'a>,
        path: &Path<'_>,
        field: &TableField,
        fields: &[TableField],
    ) -> Option<(String, Shape<'a>)> {
        if let Some(inside) = shape.field(&field.key) {
            return Some((field.key.clone(), inside));
        }
        let here = path.key(&field.key);
        let name = camel(&field.key);
        if let Some(inside) = shape.field(&name) {
            if fields.iter().any(|other| other.key == name) {
                self.error(field.at, &here, format!("it is there twice: also as {name}"));
                return None;
            }
            self.warning(field.at, &here, format!("it is written {name}"));
            return Some((name, inside));
        }
        if is_full(self.findings, Level::Error) {
            return None;
        }
        let message = match shape.removed(&name) {
            Some(instead) => instead.to_owned(),
            None => self.unknown(shape, &name),
        };
        self.error(field.at, &here, message);
        None
    }

    /// What is meant by a name that this table does not have.
    fn unknown(&self, shape: Shape<'_>, name: &str) -> String {
        let known: Vec<&str> = shape.fields().map(|(key, _)| key).collect();
        if let Some(near) = nearest(name, &known) {
            return format!("unknown field: did you mean {near}?");
        }
        let around = self.above.iter().rev().skip(1).find(|(_, shape)| shape.field(name).is_some());
        if let Some((place, _)) = around {
            return format!("unknown field here: it belongs further out, into {place}");
        }
        let holds = |(_, inside): &(&str, Shape<'_>)| {
            let inside = if inside.kind() == Some(Type::List) { inside.item() } else { Some(*inside) };
            inside.is_some_and(|inside| inside.field(name).is_some())
        };
        let within: Vec<&str> = shape.fields().filter(holds).map(|(key, _)| key).collect();
        match within.as_slice() {
            [] => format!("unknown field: expected one of {}", known.join(", ")),
            [key] => format!("unknown field here: it belongs into {key}"),
            keys => format!("unknown field here: it belongs into one of {}", keys.join(", ")),
        }
    }
}

/// What an author may have meant by a value of another kind.
fn hint(kind: Option<Type>, value: &Value) -> &'static str {
    match (kind, value) {
        (Some(Type::Bool), Value::Text(text)) if YAML_1_1.contains(&text.to_ascii_lowercase().as_str()) => {
            ": in YAML 1.2 this is a text"
        }
        (Some(Type::Integer | Type::Number | Type::Bool), Value::Text(_)) => ", without quotes",
        (Some(Type::Text), Value::Number(_) | Value::Bool(_)) => ", in quotes",
        (Some(Type::List), _) => ": each item begins with \"- \"",
        (Some(Type::Table), Value::List(_)) => ", without \"- \"",
        _ => "",
    }
}

/// What was true or false in YAML 1.1.
const YAML_1_1: [&str; 6] = ["yes", "no", "on", "off", "y", "n"];

/// As Go's programs write durations: with units.
fn duration(text: &str) -> Result<(), String> {
    duration::parse(text, "5s").map(|_| ())
}

/// Longer ones are refused by Istio, too.
const LONGEST_REGEX: usize = 1024;

/// Envoy's regular expressions are RE2's.
fn regex(text: &str) -> Result<(), String> {
    let length = text.chars().count();
    if length == 0 {
        return Err("it is empty".into());
    }
    if length > LONGEST_REGEX {
        return Err(format!("it has {length} characters: expected at most {LONGEST_REGEX}"));
    }
    super::regex::check(text).map_err(|fault| format!("{text:?} is no regular expression of RE2: {fault}"))
}

/// No field has a longer name, in bytes, and to compare longer ones takes time and memory.
const LONGEST_NAME: usize = 64;

/// The known word that `word` is most likely meant to be, if one is near.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    if word.len() > LONGEST_NAME {
        return None;
    }
    let lower = word.to_lowercase();
    let distances =
        known.iter().map(|known| (strsim::damerau_levenshtein(&lower, &known.to_lowercase()), *known));
    let (distance, known) = distances.min()?;
    (distance <= 1 + word.chars().count() / 5).then_some(known)
}
