//! What is wrong with YAML, in the words of whoever writes it. The library's own are those of its programmers.

use serde_saphyr::Error;
use serde_saphyr::budget::BudgetBreach;

/// What is wrong, and what to write instead, without the place.
pub fn words(error: &Error) -> String {
    match error {
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("key {key:?} is there twice"),
        Error::DuplicateMappingKey { key: None, .. } => "a key is there twice".to_owned(),
        Error::UnknownAnchor { .. } => "an alias (*name) whose anchor (&name) is not there".to_owned(),
        Error::AliasReplayCounterOverflow { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::RecursiveReferencesRequireWeakTypes { .. } => REPEATED.to_owned(),
        Error::Budget { breach, .. } => breached(breach),
        Error::Eof { .. } => "the text ends too early: something that was opened is not closed".to_owned(),
        _ => {
            let text = error.to_string();
            syntax(text.split(" at line ").next().unwrap_or_default())
        }
    }
}

fn breached(breach: &BudgetBreach) -> String {
    match breach {
        BudgetBreach::Depth { .. } => "it nests too deeply",
        BudgetBreach::Documents { .. } => "more documents (---) than are read from one text: use several",
        BudgetBreach::Aliases { .. } | BudgetBreach::Anchors { .. } => {
            "more aliases (*name) and anchors (&name) than are read: write the values out"
        }
        _ => "more values than are read from one text: use several",
    }
    .to_owned()
}

const REPEATED: &str = "aliases (*name) repeat more than is read: write the values out";

/// The mistakes that are made most, by the beginning of what the parser says of them.
const SYNTAX: &[(&str, &str)] = &[
    ("alias replay", REPEATED),
    ("alias expansion", REPEATED),
    ("tab", "a tab: YAML is indented by spaces"),
    ("while scanning a plain scalar, found a tab", "a tab: YAML is indented by spaces"),
    ("a block scalar content cannot start with a tab", "a tab: YAML is indented by spaces"),
    ("invalid indentation", "the indentation is wrong: what belongs together begins in one column"),
    (
        "while parsing a block mapping, did not find expected key",
        "expected a key here: what belongs together begins in one column, and a text with special characters \
         stands in quotes",
    ),
    (
        "while parsing a block collection, did not find expected '-'",
        "the indentation is wrong: expected a key in the column of the keys above, or an item that begins with \"- \" \
         in the column of the other items",
    ),
    (
        "mapping values are not allowed",
        "a second \": \" in one line: is the line before indented as it should be, or are quotes missing?",
    ),
    (
        "block sequence entries are not allowed",
        "a \"- \" where no list can begin: expected it in a line of its own",
    ),
    ("mapping keys are not allowed", "a \"? \" where no key can begin: expected it in a line of its own"),
    ("cannot deserialize null into string", "a key that is empty: expected a text"),
    ("expected string scalar", "a key that is a list or a table: expected a text"),
    ("simple key expected ':'", "expected \": \" after the key"),
    ("':' must be followed by a valid YAML whitespace", "expected a space after \":\""),
    ("'-' must be followed by a valid YAML whitespace", "expected a space after \"-\""),
    ("unclosed bracket '['", "a \"[\" that is not closed"),
    ("unclosed bracket '{'", "a \"{\" that is not closed"),
    ("unexpected EOF while parsing a flow sequence", "a \"[\" that is not closed"),
    ("unexpected EOF while parsing a flow mapping", "a \"{\" that is not closed"),
    ("while parsing a flow mapping, did not find", "expected \",\" or \"}\""),
    ("while parsing a flow sequence, expected", "expected \",\" or \"]\""),
    ("misplaced bracket", "a bracket that was not opened"),
    ("mismatched bracket", "a bracket that closes another kind than was opened"),
    ("unclosed quote", "a quote that is not closed"),
    ("invalid trailing content after", "text behind the closing quote"),
    (
        "while parsing a quoted scalar, found unknown escape",
        "an unknown escape: write \"\\\\\" for a backslash",
    ),
    ("recursion limit exceeded", "it nests too deeply"),
    (
        "did not find expected <document start>",
        "something behind the end of the document: expected \"---\" before it",
    ),
];

fn syntax(text: &str) -> String {
    match SYNTAX.iter().find(|(begin, _)| text.starts_with(begin)) {
        Some((_, words)) => (*words).to_owned(),
        None => format!("not YAML: {text}"),
    }
}
