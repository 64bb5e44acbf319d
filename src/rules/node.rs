//! Values of a document, each with its place.

use std::fmt;

use serde::Serialize;
use serde_json::Number;

/// Where a value begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Position {
    /// Counted from 1; 0 = that is not known.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
}

impl Position {
    /// Where something stands is not known.
    pub const UNKNOWN: Self = Self { line: 0, column: 0 };

    /// Where a text begins.
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

/// A value, with its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Table(Vec<TableField>),
}

/// A key of a table, with its value.
#[derive(Clone, Debug)]
pub(super) struct TableField {
    pub(super) at: Position,
    pub(super) key: String,
    pub(super) value: Node,
}

impl Value {
    /// What it is, for errors.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Null => "null".into(),
            Self::Bool(yes) => yes.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) if text.chars().count() > 60 => "this text".into(),
            Self::Text(text) => format!("{text:?}"),
            Self::List(_) => "a list".into(),
            Self::Table(_) => "a table".into(),
        }
    }
}

impl Node {
    /// What stands under a key of a table.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Table(fields) => fields.iter().find(|field| field.key == key).map(|field| &field.value),
            _ => None,
        }
    }

    /// The same, without places.
    pub(super) fn json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(yes) => (*yes).into(),
            Value::Number(number) => number.clone().into(),
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Self::json).collect(),
            Value::Table(fields) => {
                fields.iter().map(|field| (field.key.clone(), field.value.json())).collect()
            }
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Where the value is to which a path leads, or the nearest one above it that there is.
    pub(super) fn place(&self, path: &Path<'_>) -> Position {
        let mut node = self;
        let mut segments = path.segments();
        // The document's own keys stand above this node.
        segments.next();
        for segment in segments {
            let next = match (segment, &node.value) {
                (Segment::Key(key), Value::Table(fields)) => {
                    let is_it = |field: &&TableField| field.key == key || camel(&field.key) == key;
                    fields.iter().find(is_it).map(|field| &field.value)
                }
                (Segment::Index(index), Value::List(items)) => items.get(index),
                _ => None,
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node.at
    }
}

/// The way from the document to a value: `spec.http[0].timeout`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path<'a> {
    above: Option<&'a Self>,
    segment: Segment<'a>,
}

/// One segment of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Segment<'a> {
    /// Into a table.
    Key(&'a str),
    /// Into a list.
    Index(usize),
}

impl<'a> Path<'a> {
    /// A key of the document itself.
    pub(super) const fn new(key: &'a str) -> Self {
        Self { above: None, segment: Segment::Key(key) }
    }

    pub(super) const fn key(&'a self, key: &'a str) -> Self {
        Self { above: Some(self), segment: Segment::Key(key) }
    }

    pub(super) const fn index(&'a self, index: usize) -> Self {
        Self { above: Some(self), segment: Segment::Index(index) }
    }

    fn segments(&self) -> impl Iterator<Item = Segment<'a>> {
        let mut segments = vec![self.segment];
        let mut above = self.above;
        while let Some(path) = above {
            segments.push(path.segment);
            above = path.above;
        }
        segments.into_iter().rev()
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, segment) in self.segments().enumerate() {
            match segment {
                Segment::Key(key) if i == 0 => f.write_str(key)?,
                Segment::Key(key) if key.contains(['.', '[']) => write!(f, "[{key:?}]")?,
                Segment::Key(key) => write!(f, ".{key}")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// `direct_response` -> `directResponse`.
pub(super) fn camel(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    let mut is_next_upper = false;
    for c in key.chars() {
        match c {
            '_' => is_next_upper = true,
            c if is_next_upper => {
                out.extend(c.to_uppercase());
                is_next_upper = false;
            }
            c => out.push(c),
        }
    }
    out
}
