//! From an offset in a text to line and column.

/// A place in a text: line and column, both from 1. Columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Position {
    pub(crate) const START: Self = Self { line: 1, column: 1 };

    /// The place of something `inner` says about a text that itself begins here.
    pub(crate) fn then(self, inner: Self) -> Self {
        let column = if inner.line == 1 { self.column + inner.column - 1 } else { inner.column };
        Self { line: self.line + inner.line - 1, column }
    }
}

/// Looks up places in a text. Known places at short distances make a look-up cheap even in a text
/// that is one long line.
pub(crate) struct Lines<'a> {
    text: &'a str,
    known: Vec<(usize, Position)>,
}

const DISTANCE: usize = 256;

impl<'a> Lines<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let mut known = vec![(0, Position::START)];
        let (mut start, mut at) = (0, Position::START);
        while start + DISTANCE < text.len() {
            let end = boundary(text, start + DISTANCE);
            at = advance(at, &text[start..end]);
            known.push((end, at));
            start = end;
        }
        Self { text, known }
    }

    /// Where the byte at `offset` is; the end of the text where it is behind that.
    pub(crate) fn position(&self, offset: usize) -> Position {
        let index = self.known.partition_point(|(known, _)| *known <= offset) - 1;
        let (start, at) = self.known[index];
        advance(at, &self.text[start..boundary(self.text, offset)])
    }

    /// Where `part`, a slice of the text, begins.
    pub(crate) fn position_of(&self, part: &str) -> Position {
        self.position((part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize))
    }
}

/// The end of the character that the byte in front of `offset` is part of.
fn boundary(text: &str, offset: usize) -> usize {
    (offset..text.len()).find(|offset| text.is_char_boundary(*offset)).unwrap_or(text.len())
}

/// The place behind `part`, which begins at `at`.
fn advance(at: Position, part: &str) -> Position {
    match part.rfind('\n') {
        None => Position { line: at.line, column: at.column + part.chars().count() },
        Some(last) => {
            let line = at.line + part.matches('\n').count();
            Position { line, column: 1 + part[last + 1..].chars().count() }
        }
    }
}
