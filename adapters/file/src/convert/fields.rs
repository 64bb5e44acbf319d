//! Reads fields of tables, and reports what is wrong with them.

use std::fmt::Display;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use pilot_registry::{Labels, Port};

use crate::document::{Field, Node, Position, Value};
use crate::problem::Mistake;

/// The mistakes of one entry: all of them, so that one look is enough to mend them. At most a hundred.
#[derive(Debug, Default)]
pub(crate) struct Mistakes(Vec<Mistake>);

impl Mistakes {
    pub(crate) fn add(&mut self, at: Position, message: impl Into<String>) {
        if self.0.len() < 100 {
            self.0.push(Mistake::new(at, message));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn into_inner(self) -> Vec<Mistake> {
        self.0
    }

    fn expected(&mut self, node: &Node, what: &str, expected: &str) {
        self.add(node.at, format!("{what}: expected {expected}, found {}", node.value.kind()));
    }
}

/// A table of which every key is known.
pub(crate) struct Table<'a> {
    pub(crate) at: Position,
    fields: &'a [Field],
}

impl<'a> Table<'a> {
    /// The node as a table, which may look like `example`. Keys that are not in `known` are mistakes.
    pub(crate) fn open(
        node: &'a Node,
        (what, example): (&str, &str),
        known: &[&str],
        mistakes: &mut Mistakes,
    ) -> Option<Self> {
        let Value::Table(fields) = &node.value else {
            mistakes.expected(node, what, &format!("a table like {example}"));
            return None;
        };
        for field in fields.iter().filter(|field| !known.contains(&field.key.as_str())) {
            mistakes.add(field.at, format!("unknown key {:?}: {}", field.key, expected(&field.key, known)));
        }
        Some(Self { at: node.at, fields })
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'a Node> {
        self.fields.iter().find(|field| field.key == key).map(|field| &field.value)
    }
}

/// What was expected instead of `word`: the nearest of the known words when it is near, and all of them.
pub(crate) fn expected(word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(known) => format!("did you mean {known:?}?"),
        None => format!("expected one of {}", known.join(", ")),
    }
}

/// The nearest of the known words when it is near, or the word itself.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance = |known: &&str| strsim::damerau_levenshtein(&word.to_lowercase(), known);
    let known = known.iter().copied().filter(|_| word.len() <= 64);
    let (distance, known) = known.map(|known| (distance(&known), known)).min()?;
    (distance <= 1 + known.len() / 4).then_some(known)
}

pub(crate) fn text<'a>(node: &'a Node, what: &str, mistakes: &mut Mistakes) -> Option<&'a str> {
    match &node.value {
        Value::Text(text) => Some(text),
        Value::Null | Value::List(_) | Value::Table(_) => {
            mistakes.expected(node, what, "text");
            None
        }
        _ => {
            mistakes.expected(node, what, "text in quotes");
            None
        }
    }
}

/// Text that is then parsed; the type's own error says what is wrong.
pub(crate) fn parsed<T: FromStr<Err: Display>>(
    node: &Node,
    what: &str,
    mistakes: &mut Mistakes,
) -> Option<T> {
    match text(node, what, mistakes)?.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            mistakes.add(node.at, format!("{error}"));
            None
        }
    }
}

/// One word of a few, in any case.
pub(crate) fn word<T: Copy>(
    node: &Node,
    what: &str,
    words: &[(&str, T)],
    mistakes: &mut Mistakes,
) -> Option<T> {
    let text = text(node, what, mistakes)?;
    let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
    if found.is_none() {
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        mistakes.add(node.at, format!("unknown {what} {text:?}: expected one of {}", known.join(", ")));
    }
    found.map(|(_, value)| *value)
}

pub(crate) fn boolean(node: &Node, what: &str, mistakes: &mut Mistakes) -> Option<bool> {
    match node.value {
        Value::Bool(value) => Some(value),
        _ => {
            mistakes.expected(node, what, "true or false");
            None
        }
    }
}

/// A duration: `5s`.
pub(crate) fn duration(node: &Node, what: &str, mistakes: &mut Mistakes) -> Option<Duration> {
    match pilot_registry::duration::parse(text(node, what, mistakes)?, "5s") {
        Ok(duration) if duration.is_zero() => {
            mistakes.add(node.at, format!("{what} 0 makes no sense here: expected a longer time"));
            None
        }
        Ok(duration) => Some(duration),
        Err(error) => {
            mistakes.add(node.at, format!("{what}: {error}"));
            None
        }
    }
}

/// A number of times: 1 or more.
pub(crate) fn count(node: &Node, what: &str, mistakes: &mut Mistakes) -> Option<NonZeroU32> {
    let number = integer(node, what, mistakes)?;
    let count = u32::try_from(number).ok().and_then(NonZeroU32::new);
    if count.is_none() {
        mistakes.add(node.at, format!("{what} {number} makes no sense: expected 1 or more"));
    }
    count
}

pub(crate) fn integer(node: &Node, what: &str, mistakes: &mut Mistakes) -> Option<i128> {
    match node.value {
        Value::Integer(number) => Some(number),
        _ => {
            mistakes.expected(node, what, "an integer");
            None
        }
    }
}

pub(crate) fn port(node: &Node, what: &str, mistakes: &mut Mistakes) -> Option<Port> {
    let number = integer(node, what, mistakes)?;
    let port = u32::try_from(number).ok().and_then(|number| Port::try_from(number).ok());
    if port.is_none() {
        mistakes.add(node.at, format!("{what} {number} is not a port: expected 1 to 65535"));
    }
    port
}

pub(crate) fn list<'a>(node: &'a Node, what: &str, mistakes: &mut Mistakes) -> &'a [Node] {
    match &node.value {
        Value::List(items) => items,
        _ => {
            mistakes.expected(node, what, "a list");
            &[]
        }
    }
}

/// A list of texts that are parsed; `None` reads as an empty list.
pub(crate) fn parsed_list<T: FromStr<Err: Display>>(
    node: Option<&Node>,
    what: &str,
    mistakes: &mut Mistakes,
) -> Vec<T> {
    let Some(node) = node else { return Vec::new() };
    let items = list(node, what, mistakes).iter();
    items.filter_map(|item| parsed(item, what, mistakes)).collect()
}

/// A table of texts; `None` reads as an empty one.
pub(crate) fn labels(node: Option<&Node>, mistakes: &mut Mistakes) -> Labels {
    let Some(node) = node else { return Labels::new() };
    let Value::Table(fields) = &node.value else {
        mistakes.expected(node, "labels", "a table");
        return Labels::new();
    };
    let label = |field: &Field| {
        let what = format!("label {:?}", field.key);
        Some((field.key.clone(), text(&field.value, &what, mistakes)?.to_owned()))
    };
    fields.iter().filter_map(label).collect()
}
