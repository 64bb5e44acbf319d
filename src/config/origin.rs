//! Where each value of a configuration comes from.
//!
//! Values are known by their spans, which the TOML parser keeps for those of the file. A setting (an
//! environment variable or a flag) gets a span behind the end of the text, so that one look at an error's
//! span tells its place, whoever found the error.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Problem;

/// The places of all keys of a configuration that was read.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    file: String,
    text: String,
    settings: Vec<String>,
    values: BTreeMap<String, Range<usize>>,
}

impl Origins {
    pub(super) fn new(file: &str, text: &str) -> Self {
        Self { file: file.into(), text: text.into(), ..Self::default() }
    }

    /// Values from these variables and flags follow those that are known already.
    pub(super) fn add<'s>(&mut self, settings: impl Iterator<Item = &'s str>) {
        self.settings.extend(settings.map(str::to_owned));
    }

    /// The span that stands for the setting with that index.
    pub(super) fn span_of_setting(&self, index: usize) -> Range<usize> {
        // One behind the end of the text is a place where errors of the file can be.
        let at = self.text.len() + 1 + index;
        at..at + 1
    }

    /// Notes where everything in the table is.
    pub(super) fn note(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let path = join(prefix, key.get_ref());
            if let DeValue::Table(table) = value.get_ref() {
                self.note(&path, table);
            }
            self.values.insert(path, value.span());
        }
    }

    /// A problem with the value of `key`, or, where that is a default, with the table around it.
    pub fn problem(&self, key: &str, message: impl Into<String>) -> Problem {
        let mut place = Some(key);
        let span = loop {
            match place {
                Some(path) if self.values.contains_key(path) => break self.values.get(path),
                Some(path) => place = path.rsplit_once('.').map(|(table, _)| table),
                None => break None,
            }
        };
        let problem = Problem { key: Some(key.into()), message: message.into(), ..Problem::default() };
        match span {
            Some(span) => Problem { key: problem.key, message: problem.message, ..self.place(span.start) },
            None => Problem { file: Some(self.file.clone()), ..problem },
        }
    }

    /// A problem at that offset.
    pub(super) fn problem_at(&self, offset: usize, key: Option<&str>, message: impl Into<String>) -> Problem {
        Problem { key: key.map(Into::into), message: message.into(), ..self.place(offset) }
    }

    /// The innermost key whose value has that span, or holds what has it: an item of a list.
    pub(super) fn key_at(&self, span: &Range<usize>) -> Option<&str> {
        let holds = |value: &Range<usize>| value.start <= span.start && span.end <= value.end;
        let around = |value: &Range<usize>| value == span || (!span.is_empty() && holds(value));
        let keys = self.values.iter().filter(|(_, value)| around(value));
        keys.min_by_key(|(key, value)| (value.len(), Reverse(key.len()))).map(|(key, _)| key.as_str())
    }

    /// The text of the file.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether the value of that key is the file's own.
    pub(super) fn is_from_file(&self, key: &str) -> bool {
        self.values.get(key).is_some_and(|span| span.start <= self.text.len())
    }

    fn place(&self, offset: usize) -> Problem {
        let setting = offset.checked_sub(self.text.len() + 1).and_then(|index| self.settings.get(index));
        if let Some(name) = setting {
            return Problem { setting: Some(name.clone()), ..Problem::default() };
        }
        let (line, column) = position(&self.text, offset);
        Problem {
            file: Some(self.file.clone()),
            line: Some(line),
            column: Some(column),
            ..Problem::default()
        }
    }
}

/// Line and column, counted from 1, columns in characters.
pub(super) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
}

/// `a.b` of `a` and `b`.
pub(super) fn join(table: &str, key: &str) -> String {
    if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") }
}

/// Puts a value at that path, with the tables on the way there.
pub(super) fn put<'i>(table: &mut DeTable<'i>, path: &str, value: Spanned<DeValue<'i>>) {
    let (key, rest) = match path.split_once('.') {
        Some((key, rest)) => (key, Some(rest)),
        None => (path, None),
    };
    let span = value.span();
    let key = Spanned::new(span.clone(), key.to_owned().into());
    let Some(rest) = rest else {
        table.insert(key, value);
        return;
    };
    let inner = table.entry(key).or_insert_with(|| Spanned::new(span, DeValue::Table(DeTable::new())));
    // A value where a table should be is reported as such; the setting has no place in it.
    if let DeValue::Table(inner) = inner.get_mut() {
        put(inner, rest, value);
    }
}

/// Takes out what is at that path.
pub(super) fn take(table: &mut DeTable<'_>, path: &str) -> bool {
    match path.split_once('.') {
        None => table.remove(path).is_some(),
        Some((key, rest)) => match table.get_mut(key).map(Spanned::get_mut) {
            Some(DeValue::Table(inner)) => take(inner, rest),
            _ => false,
        },
    }
}
