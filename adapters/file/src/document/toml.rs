//! TOML, by the `toml` package's own tree with spans.
//!
//! That tree is about forty times larger than its text. So the text is cut before each header of an entry,
//! and the pieces are parsed one by one: text between two headers belongs to one entry only.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeArray, DeInteger, DeTable, DeValue};

use super::{Document, Field, LIST, Lines, Node, Position, Value};
use crate::problem::Mistake;

pub(super) fn parse<T: From<Node>>(text: &str) -> Result<Document<T>, Mistake> {
    let lines = Lines::new(text);
    let mut parts = Parts::default();
    for (start, end) in pieces(text) {
        let piece = &text[start..end];
        if let Err(mistake) = parts.add(piece, start, &lines) {
            if is_plain(piece) {
                return Err(mistake);
            }
            return whole(text, &lines);
        }
        // The headers may not add to such a list, or they may: it is the library that knows.
        if start == 0 && end < text.len() && !text.trim_start().starts_with(HEADER) && parts.has_list() {
            return whole(text, &lines);
        }
    }
    Ok(parts.document(&lines))
}

const HEADER: &str = "[[service]]";

/// The pieces of a text that begin with the header of an entry, and what stands before the first.
fn pieces(text: &str) -> impl Iterator<Item = (usize, usize)> {
    let mut cuts = vec![0];
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        if offset > 0 && line.trim_start().starts_with(HEADER) {
            cuts.push(offset);
        }
        offset += line.len();
    }
    let ends: Vec<_> = cuts.iter().copied().skip(1).chain([text.len()]).collect();
    cuts.into_iter().zip(ends)
}

/// Whether no cut can be in the middle of a text of several lines, one of which looks like a header.
fn is_plain(piece: &str) -> bool {
    !piece.contains("\"\"\"") && !piece.contains("'''")
}

fn whole<T: From<Node>>(text: &str, lines: &Lines<'_>) -> Result<Document<T>, Mistake> {
    let mut parts = Parts::default();
    parts.add(text, 0, lines)?;
    Ok(parts.document(lines))
}

/// What the pieces said so far.
struct Parts<T> {
    fields: Vec<Field>,
    entries: Vec<T>,
}

impl<T> Default for Parts<T> {
    fn default() -> Self {
        Self { fields: Vec::new(), entries: Vec::new() }
    }
}

impl<T: From<Node>> Parts<T> {
    /// Adds a piece of the text that begins at that offset.
    fn add(&mut self, piece: &str, start: usize, lines: &Lines<'_>) -> Result<(), Mistake> {
        let place = Place { lines, start };
        let table = DeTable::parse(piece).map_err(|error| {
            let at = place.position(error.span().map_or(0, |span| span.start));
            Mistake::new(at, error.message().trim().replace('\n', ", "))
        })?;
        for (key, value) in table.into_inner() {
            match value.get_ref() {
                DeValue::Array(items) if key.get_ref() == LIST => {
                    self.add_entries(items, &place)?;
                    if self.has_list() {
                        continue;
                    }
                    let list = Node { at: place.of(&value), value: Value::List(Vec::new()) };
                    self.fields.push(Field { at: place.of(&key), key: LIST.to_owned(), value: list });
                }
                _ => self.fields.push(place.field(&key, &value)?),
            }
        }
        Ok(())
    }

    fn add_entries(&mut self, items: &DeArray<'_>, place: &Place<'_>) -> Result<(), Mistake> {
        for item in items.iter() {
            self.entries.push(place.node(item)?.into());
        }
        Ok(())
    }

    fn has_list(&self) -> bool {
        self.fields.iter().any(|field| field.key == LIST)
    }

    fn document(mut self, lines: &Lines<'_>) -> Document<T> {
        self.fields.sort_by_key(|field| field.at);
        let root = Node { at: lines.position(0), value: Value::Table(self.fields) };
        Document { root, entries: self.entries }
    }
}

/// Where a piece stands in the text.
struct Place<'a> {
    lines: &'a Lines<'a>,
    start: usize,
}

impl Place<'_> {
    fn position(&self, offset: usize) -> Position {
        self.lines.position(self.start + offset)
    }

    fn of<T>(&self, part: &Spanned<T>) -> Position {
        self.position(part.span().start)
    }

    fn node(&self, value: &Spanned<DeValue<'_>>) -> Result<Node, Mistake> {
        let at = self.of(value);
        let value = match value.get_ref() {
            DeValue::String(text) => Value::Text(text.clone().into_owned()),
            DeValue::Integer(number) => Value::Integer(
                integer(number).ok_or_else(|| Mistake::new(at, format!("integer {number} is too large")))?,
            ),
            DeValue::Float(_) => Value::Other("a fraction"),
            DeValue::Boolean(yes) => Value::Bool(*yes),
            DeValue::Datetime(_) => Value::Other("a date or time"),
            DeValue::Array(items) => {
                Value::List(items.iter().map(|item| self.node(item)).collect::<Result<_, _>>()?)
            }
            DeValue::Table(fields) => {
                let fields = fields.iter().map(|(key, value)| self.field(key, value));
                Value::Table(fields.collect::<Result<_, _>>()?)
            }
        };
        Ok(Node { at, value })
    }

    fn field(&self, key: &Spanned<Cow<'_, str>>, value: &Spanned<DeValue<'_>>) -> Result<Field, Mistake> {
        Ok(Field { at: self.of(key), key: key.get_ref().clone().into_owned(), value: self.node(value)? })
    }
}

fn integer(number: &DeInteger<'_>) -> Option<i128> {
    i128::from_str_radix(number.as_str(), number.radix()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_piece_knows_its_place() {
        let text =
            "# two\n[[service]]\nhost = 'a'\n[service.labels]\nx = 'y'\n  [[service]] # 2\nhost = 'ü'\nz = 1";
        let document: Document<Node> = parse(text).unwrap();
        assert_eq!(document, whole(text, &Lines::new(text)).unwrap());
        assert_eq!(document.entries.len(), 2);
        let mistake = parse::<Node>(&text.replace("z = 1", "ü = 1")).unwrap_err();
        assert_eq!(mistake.at, Position { line: 8, column: 1 }, "{}", mistake.message);
    }

    /// Lines of which some begin an entry, some only look like it, and some do not go together.
    fn lines() -> impl Strategy<Value = String> {
        let line = prop_oneof![
            6 => Just("[[service]]"),
            2 => Just("  [[service]] # one"),
            4 => prop::sample::select(vec!["host = 'a'", "ports = [80]", "x = \"\"\"", "\"\"\"", "'''", "y = [", "]"]),
            2 => prop::sample::select(vec!["[service.labels]", "[[service.endpoints]]", "v = 'w'", "# no"]),
            1 => prop::sample::select(vec!["service = []", "service = 1", "[[ service ]]", "[[\"service\"]]"]),
        ];
        prop::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"))
    }

    proptest! {
        #[test]
        fn pieces_say_what_the_whole_says(text in lines()) {
            let all = whole::<Node>(&text, &Lines::new(&text));
            prop_assert_eq!(parse::<Node>(&text).ok(), all.ok());
        }
    }
}
