//! What there is to say of a document, and where.

use std::fmt;

use serde::Serialize;

use super::node::Position;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The document is in force nevertheless.
    Warning,
    /// The document is rejected.
    Error,
}

/// One thing that is wrong, or that its author should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub level: Level,
    /// Where it stands.
    #[serde(flatten)]
    pub at: Position,
    /// The field: `spec.http[0].match[1].uri.regex`; empty = the document as a whole.
    pub path: String,
    /// What is wrong, and what was expected.
    pub message: String,
}

/// So many of a level are told of one document: nobody reads more, and whoever writes a million mistakes does not make
/// pilot look for the place of each.
pub(super) const MOST: usize = 100;

/// How much of a path or a message is told, in characters.
const LONGEST: usize = 1000;

/// Whether no more of that level are told.
pub(super) fn is_full(findings: &[Finding], level: Level) -> bool {
    findings.iter().filter(|finding| finding.level == level).count() >= MOST
}

/// Says that there is more than is told.
pub(super) fn tell_of_more(at: Position, findings: &mut Vec<Finding>) {
    let full: Vec<Level> =
        [Level::Warning, Level::Error].into_iter().filter(|level| is_full(findings, *level)).collect();
    for level in full {
        let message = format!("there may be more than the {MOST} that are told");
        findings.push(Finding { level, at, path: String::new(), message });
    }
}

fn cut(text: String) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

impl Finding {
    /// The document is rejected for this.
    pub(super) fn error(at: Position, path: impl ToString, message: impl Into<String>) -> Self {
        Self { level: Level::Error, at, path: cut(path.to_string()), message: cut(message.into()) }
    }

    /// The document is in force, but its author should know this.
    pub(super) fn warning(at: Position, path: impl ToString, message: impl Into<String>) -> Self {
        Self { level: Level::Warning, at, path: cut(path.to_string()), message: cut(message.into()) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at != Position::UNKNOWN {
            write!(f, "{}:{}: ", self.at.line, self.at.column)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}
