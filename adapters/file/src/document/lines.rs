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
        let mut at = Position::START;
        let mut next = DISTANCE;
        for (offset, c) in text.char_indices() {
            if offset >= next {
                known.push((offset, at));
                next = offset + DISTANCE;
            }
            at = step(at, c);
        }
        Self { text, known }
    }

    /// Where the byte at `offset` is; the end of the text where it is behind that.
    pub(crate) fn position(&self, offset: usize) -> Position {
        let index = self.known.partition_point(|(known, _)| *known <= offset) - 1;
        let (start, at) = self.known[index];
        let before = self.text[start..].char_indices().take_while(|(index, _)| start + index < offset);
        before.fold(at, |at, (_, c)| step(at, c))
    }

    /// Where `part`, a slice of the text, begins.
    pub(crate) fn position_of(&self, part: &str) -> Position {
        self.position((part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize))
    }
}

fn step(at: Position, c: char) -> Position {
    match c {
        '\n' => Position { line: at.line + 1, column: 1 },
        _ => Position { line: at.line, column: at.column + 1 },
    }
}
