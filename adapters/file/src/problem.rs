//! A problem in a file, with its place.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::lines::Position;

/// Something wrong with a file: `services.toml:3:9: unknown protocol "htp": expected one of …`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file or folder, as the configuration names it.
    pub file: PathBuf,
    /// The line, from 1, where the problem has a place in the file.
    pub line: Option<usize>,
    /// The column, from 1, in characters.
    pub column: Option<usize>,
    /// What is wrong and what was expected.
    pub message: String,
}

impl Problem {
    /// A problem with the file as a whole.
    pub(crate) fn of_file(file: &Path, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: None, column: None, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        for number in [self.line, self.column].into_iter().flatten() {
            write!(f, ":{number}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Something wrong at a place in a text, before it is known which file the text is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) at: Position,
    pub(crate) message: String,
}

impl Mistake {
    pub(crate) fn new(at: Position, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }

    pub(crate) fn of_file(&self, file: &Path) -> Problem {
        Problem {
            file: file.to_owned(),
            line: Some(self.at.line),
            column: Some(self.at.column),
            message: self.message.clone(),
        }
    }
}
