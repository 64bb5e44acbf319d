//! The fenced blocks of a page of documentation.

use std::fs;
use std::path::Path;

/// A fenced block.
pub(crate) struct Snippet {
    pub(crate) language: String,
    pub(crate) text: String,
}

/// The blocks of a page of the repository, in their order.
pub(crate) fn snippets(page: &str) -> Vec<Snippet> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
    // Every other part is inside of a fence.
    let inside = text.split("```").skip(1).step_by(2);
    let snippet = |part: &str| {
        let (language, text) = part.split_once('\n').unwrap();
        Snippet { language: language.to_owned(), text: text.to_owned() }
    };
    inside.map(snippet).collect()
}
