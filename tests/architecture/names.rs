//! Refuses type names that mean two things.
//!
//! What all of pilot can use has a name that no other type has which all of pilot can use. Within one area (`src/xds`,
//! `src/translate`, an adapter's `src`) no two files have types of one name, whoever can use them.

use std::collections::BTreeMap;

use super::{code, root, rust_files};

/// Names that several files have, and why nobody takes one for the other.
const ALLOWED: [(&str, &str); 6] = [
    ("Admin", "a section of pilot.toml, which is always `config::Admin`, and what it configures"),
    ("Args", "what a verb of the command line takes; each verb is a file"),
    ("Guard", "a section of pilot.toml, and what it configures"),
    ("Mesh", "a section of pilot.toml, and what it configures"),
    ("Report", "what a verb of the command line prints; each verb is a file"),
    ("State", "a section of pilot.toml, and the state of a registry"),
];

/// Where a type is written: its area, its file, and whether all of pilot can use it.
type Place = (String, String, bool);

#[test]
fn a_type_name_means_one_thing() {
    let types = types();
    assert!(types.len() > 500, "only {} names were found: the test no longer reads the sources", types.len());
    let ambiguous: BTreeMap<&str, Vec<&str>> = types
        .iter()
        .filter(|(_, places)| is_ambiguous(places))
        .map(|(name, places)| (&**name, places.iter().map(|(_, file, _)| &**file).collect()))
        .collect();
    let unknown: Vec<_> = ambiguous.iter().filter(|(name, _)| !is_allowed(name)).collect();
    assert!(
        unknown.is_empty(),
        "give these types names of their own, or say in ALLOWED why not:\n{unknown:#?}"
    );
    let orphans: Vec<_> = ALLOWED.iter().filter(|(name, _)| !ambiguous.contains_key(name)).collect();
    assert!(orphans.is_empty(), "ALLOWED has names that mean one thing: {orphans:?}");
}

#[test]
fn types_are_found_by_their_first_line() {
    let found = |line| type_of(line);
    assert_eq!(found("pub struct Layer {"), Some(("Layer", true)));
    assert_eq!(found("pub(crate) enum Act<'a> {"), Some(("Act", true)));
    assert_eq!(found("pub(super) trait Told: Content {"), Some(("Told", false)));
    assert_eq!(found("type Key = (Kind, Arc<str>);"), Some(("Key", false)));
    assert_eq!(found("pub fn struct_of() {"), None);
    assert_eq!(found("    type Item = Layer;"), None, "it belongs to a trait");
}

fn is_allowed(name: &str) -> bool {
    ALLOWED.iter().any(|(allowed, _)| *allowed == name)
}

fn is_ambiguous(places: &[Place]) -> bool {
    places.iter().enumerate().any(|(i, (area, file, wide))| {
        places[..i].iter().any(|(other_area, other, other_wide)| {
            file != other && (area == other_area || (*wide && *other_wide))
        })
    })
}

/// All types of pilot and of the model, by name.
fn types() -> BTreeMap<String, Vec<Place>> {
    let mut types: BTreeMap<String, Vec<Place>> = BTreeMap::new();
    for sources in ["src", "adapters/registry/src"] {
        for file in rust_files(&root().join(sources)) {
            let name = file.strip_prefix(root()).unwrap().with_extension("").to_str().unwrap().to_owned();
            if name.split('/').any(|part| part == "tests") {
                continue;
            }
            let area = if sources == "src" { name.split('/').nth(1).unwrap() } else { sources };
            for (_, line) in code(&file) {
                if let Some((type_, wide)) = type_of(&line) {
                    let place = (area.to_owned(), name.clone(), wide);
                    types.entry(type_.to_owned()).or_default().push(place);
                }
            }
        }
    }
    types
}

/// The type that a line begins to define, and whether all of pilot can use it.
fn type_of(line: &str) -> Option<(&str, bool)> {
    let (seen_by, item) = match line.strip_prefix("pub") {
        Some(rest) => rest.split_once(' ')?,
        None => ("(self)", line),
    };
    let (keyword, name) = item.split_once(' ')?;
    let name = name.split(|c: char| !c.is_alphanumeric()).next()?;
    let wide = !["(self)", "(super)"].contains(&seen_by);
    ["struct", "enum", "trait", "type"].contains(&keyword).then_some((name, wide))
}
