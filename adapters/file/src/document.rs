//! A parsed text of any of the three formats: a tree in which each node has its position.
//!
//! Each format has its own parsing library. The result is the same for all three, so that every later message
//! points at the wrong key or value, and one bad entry does not affect its siblings.
//!
//! A tree is many times larger than its text. So entries are converted and dropped one by one, and memory
//! holds the tree of one entry at a time.

mod json;
mod toml;
mod yaml;

use std::path::Path;

pub(crate) use crate::lines::{Lines, Position};

use crate::problem::Mistake;

/// The key of the list of entries.
pub(crate) const LIST: &str = "service";

/// What a text describes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Document<T> {
    /// Everything but the entries: the list of them is empty here.
    pub(crate) root: Node,
    /// What became of the items of the list [`LIST`].
    pub(crate) entries: Vec<T>,
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    /// Anything else that has no use here: floats, dates. The text is for messages.
    Other(&'static str),
    Text(String),
    List(Vec<Node>),
    Table(Vec<Field>),
}

/// One key of a table with its value. A table has each key once; their order means nothing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    pub(crate) at: Position,
    pub(crate) key: String,
    pub(crate) value: Node,
}

impl Value {
    /// What it is, in a sentence after "found".
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Integer(_) => "an integer",
            Self::Other(kind) => kind,
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// How a file is written, told by the end of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Toml,
    Yaml,
    Json,
}

impl Format {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Toml, Self::Yaml, Self::Json];

    /// The format of that file, or `None` when it is not a file of services.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "toml" => Some(Self::Toml),
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    /// What the text describes, each entry made of its tree as soon as that is there.
    pub(crate) fn parse<T: From<Node>>(self, text: &str) -> Result<Document<T>, Mistake> {
        // An editor's byte order mark is no content; it is not in the way of line and column either.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        match self {
            Self::Toml => toml::parse(text),
            Self::Yaml => yaml::parse(text),
            Self::Json => json::parse(text),
        }
    }
}

#[cfg(test)]
mod tests;
