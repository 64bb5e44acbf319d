//! Documents of rules in files that the command line names.

use std::path::Path;

use crate::config::{Problem, Problems};
use crate::registries;
use crate::rules::{self, DEFAULT_NAMESPACE, Document, Finding, Level};

/// What is in a file or a folder.
pub(super) struct Read {
    /// Each file with its text.
    pub(super) texts: Vec<(String, String)>,
    /// The documents of all.
    pub(super) documents: Vec<Document>,
}

/// Reads the documents of a file, or of a folder.
///
/// # Errors
/// A file cannot be read, a document is wrong, or there is none: all of that, at its place.
pub(super) fn read(path: &Path) -> Result<Read, Problems> {
    let (texts, mut problems) = registries::rules_in(path.to_owned());
    let mut read = Read { texts: Vec::new(), documents: Vec::new() };
    for (place, text) in texts.iter() {
        for document in rules::read(&text.text, DEFAULT_NAMESPACE) {
            let errors = document.findings.iter().filter(|finding| finding.level == Level::Error);
            problems.extend(errors.map(|finding| problem(place, finding)));
            read.documents.push(document);
        }
        read.texts.push((place.to_string(), text.text.to_string()));
    }
    if problems.is_empty() && read.documents.is_empty() {
        problems.push(Problem::with_file(path.display().to_string(), "there is no document in it"));
    }
    if problems.is_empty() { Ok(read) } else { Err(Problems(problems)) }
}

/// What there is to say of a document, at its place in a file.
pub(super) fn problem(place: &str, finding: &Finding) -> Problem {
    Problem {
        key: Some(finding.path.clone()).filter(|path| !path.is_empty()),
        line: Some(finding.at.line),
        column: Some(finding.at.column),
        ..Problem::with_file(place, finding.message.clone())
    }
}
