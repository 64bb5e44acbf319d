//! Refuses circles between files.
//!
//! A file knows another one when its code names something that is written there. Re-exports are followed to where
//! the thing is written: `use crate::catalog::Part` knows `catalog/part.rs`, not `catalog.rs`, which only passes
//! `Part` on.
//!
//! A file may use what is written in the file that its folder belongs to, as `catalog/intake/disk.rs` does with
//! `catalog/intake.rs`: the folder is a part of that file. All other arrows must make no circle.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use super::{code, root, rust_files};

type Module = Vec<String>;

/// One file of a crate.
#[derive(Default)]
struct Source {
    name: String,
    /// What it brings into its scope: the local name, and the absolute path of the thing.
    imports: BTreeMap<String, Vec<String>>,
    /// Imports that count only where its own code uses them.
    passed_on: BTreeSet<String>,
    /// Absolute paths of what its code names.
    paths: Vec<Vec<String>>,
    /// All words of its code outside of `use`.
    words: BTreeSet<String>,
}

#[test]
fn no_file_is_in_a_circle() {
    let mut arrows = BTreeMap::new();
    let adapters = std::fs::read_dir(root().join("adapters")).unwrap();
    let adapters = adapters.map(|entry| entry.unwrap().path().join("src")).filter(|path| path.is_dir());
    for sources in adapters.chain([root().join("src")]) {
        arrows.append(&mut arrows_of(&read(&sources)));
    }
    let count: usize = arrows.values().map(BTreeSet::len).sum();
    assert!(count > 300, "only {count} arrows were found: the test no longer reads the sources");
    let closing = arrows.iter().flat_map(|(from, to)| to.iter().map(move |to| (from, to)));
    let circles: BTreeSet<Vec<&str>> = closing.filter_map(|(from, to)| circle(&arrows, from, to)).collect();
    let circles: Vec<String> = circles.into_iter().map(|circle| circle.join(" -> ")).collect();
    assert!(
        circles.is_empty(),
        "files in circles: move what both need to a file of its own\n{}",
        circles.join("\n")
    );
}

#[test]
fn a_reexport_is_no_arrow_and_an_item_is() {
    let source = |text: &str| parse("", &[], &["child".into(), "other".into()].into(), text);
    let reexport = source("mod child;\npub use child::{Thing, deep::Other as Renamed};");
    assert_eq!(reexport.passed_on, ["Thing".into(), "Renamed".into()].into());
    assert_eq!(reexport.imports["Renamed"], ["child", "deep", "Other"]);
    assert!(!reexport.words.contains("Thing"));
    let code = source("use child::Thing;\nfn f(x: Thing) { other::call::<super::X>(\"child::no\") }");
    assert_eq!(code.imports["Thing"], ["child", "Thing"]);
    assert_eq!(code.paths, [vec!["other".to_owned(), "call".to_owned()]]);
}

/// All files of a crate, by module.
fn read(sources: &Path) -> BTreeMap<Module, Source> {
    let files: Vec<_> =
        rust_files(sources).into_iter().filter(|file| !file.ends_with("src/main.rs")).collect();
    let module = |file: &Path| -> Module {
        let inside = file.strip_prefix(sources).unwrap().with_extension("");
        let parts = inside.iter().map(|part| part.to_str().unwrap().to_owned());
        parts.filter(|part| part != "lib").collect()
    };
    let modules: BTreeSet<Module> = files.iter().map(|file| module(file)).collect();
    let parse = |file: &std::path::PathBuf| {
        let (name, module) = (file.strip_prefix(root()).unwrap().to_str().unwrap(), module(file));
        let is_child = |other: &&Module| other.len() == module.len() + 1 && other.starts_with(&module);
        let children = modules.iter().filter(is_child).map(|child| child[module.len()].clone()).collect();
        let lines: Vec<String> = code(file).into_iter().map(|(_, line)| line).collect();
        let source = parse(name, &module, &children, &lines.join("\n"));
        (module, source)
    };
    files.iter().map(parse).collect()
}

/// Which file of a crate knows which others.
fn arrows_of(crate_: &BTreeMap<Module, Source>) -> BTreeMap<String, BTreeSet<String>> {
    let mut arrows = BTreeMap::new();
    for (module, source) in crate_ {
        let imports = source
            .imports
            .iter()
            .filter(|(name, _)| !source.passed_on.contains(*name) || source.words.contains(*name));
        let named = imports.map(|(_, path)| path).chain(&source.paths);
        let to = named.filter_map(|path| written_in(crate_, path, 0)).filter(|to| !module.starts_with(to));
        arrows.insert(source.name.clone(), to.map(|to| crate_[to].name.clone()).collect());
    }
    arrows
}

/// The module in whose file the thing of that absolute path is written; `None` for a module itself, of which
/// nothing is named, and for what is not of this crate.
fn written_in<'a>(crate_: &'a BTreeMap<Module, Source>, path: &[String], depth: usize) -> Option<&'a Module> {
    let longest = (0..=path.len()).rev().find_map(|at| crate_.get_key_value(&path[..at]));
    let (module, source) = longest?;
    let rest = &path[module.len()..];
    let (name, deeper) = rest.split_first()?;
    match source.imports.get(name) {
        Some(import) if depth < 8 => written_in(crate_, &[import, deeper].concat(), depth + 1),
        _ => Some(module),
    }
}

/// The shortest way from `to` back to `from`, with the arrow that closes it, from its first file in order.
fn circle<'a>(arrows: &'a BTreeMap<String, BTreeSet<String>>, from: &str, to: &str) -> Option<Vec<&'a str>> {
    let (from, next) = arrows.get_key_value(from)?;
    let to = next.get(to)?;
    let mut before: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue: VecDeque<&str> = [&**to].into();
    while let Some(at) = queue.pop_front() {
        if at == from {
            let mut circle: Vec<&str> =
                std::iter::successors(Some(at), |at| before.get(at).copied()).collect();
            circle.reverse();
            let first = circle.iter().enumerate().min_by_key(|(_, name)| **name)?.0;
            circle.rotate_left(first);
            circle.push(circle[0]);
            return Some(circle);
        }
        for next in arrows.get(at).into_iter().flatten().filter(|next| *next != to) {
            if !before.contains_key(&**next) {
                before.insert(next, at);
                queue.push_back(next);
            }
        }
    }
    None
}

/// Reads what a file's code names.
fn parse(name: &str, module: &[String], children: &BTreeSet<String>, text: &str) -> Source {
    let tokens = tokens(text);
    let mut source = Source { name: name.to_owned(), ..Source::default() };
    let mut inline = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at] == "use" {
            let is_public = at > 0 && (tokens[at - 1] == "pub" || tokens[at - 1] == ")");
            let mut leaves = Vec::new();
            at = tree(&tokens, at + 1, &[], &mut leaves);
            for (path, local) in leaves {
                let Some(path) = absolute(module, children, &path) else { continue };
                if is_public {
                    source.passed_on.insert(local.clone());
                }
                source.imports.insert(local, path);
            }
            continue;
        }
        if tokens[at] == "mod" {
            at += 2;
            continue;
        }
        let is_first = at == 0 || tokens[at - 1] != "::" && tokens[at - 1] != ".";
        let mut path = vec![tokens[at].clone()];
        while is_word(&tokens[at]) && tokens.get(at + 1).is_some_and(|it| it == "::") {
            let Some(next) = tokens.get(at + 2).filter(|next| is_word(next)) else { break };
            path.push(next.clone());
            at += 2;
        }
        source.words.extend(path.iter().filter(|word| is_word(word)).cloned());
        if is_first && path.len() > 1 {
            inline.push(path);
        }
        at += 1;
    }
    let known = inline.into_iter().filter_map(|path| match source.imports.get(&path[0]) {
        Some(import) => Some([import, &path[1..]].concat()),
        None => absolute(module, children, &path),
    });
    source.paths = known.collect();
    source
}

/// The leaves of a `use` tree that begins at that token: paths, and their local names. Where it ends.
fn tree(
    tokens: &[String],
    mut at: usize,
    above: &[String],
    leaves: &mut Vec<(Vec<String>, String)>,
) -> usize {
    let mut path = above.to_vec();
    while let Some(token) = tokens.get(at) {
        match &**token {
            "::" => at += 1,
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    at = tree(tokens, at, &path, leaves);
                    at += usize::from(tokens.get(at).is_some_and(|token| token == ","));
                }
                return at + 1;
            }
            "as" => {
                leaves.push((path, tokens[at + 1].clone()));
                return at + 2;
            }
            "self" if !path.is_empty() => at += 1,
            word if is_word(word) || word == "*" => {
                path.push(token.clone());
                at += 1;
            }
            _ => break,
        }
    }
    let local = path.last().cloned().unwrap_or_default();
    leaves.push((path, local));
    at
}

/// The path from the crate's root; `None` = of another crate.
fn absolute(module: &[String], children: &BTreeSet<String>, path: &[String]) -> Option<Vec<String>> {
    let (first, mut rest) = path.split_first()?;
    let mut base = match &**first {
        "crate" => Vec::new(),
        "self" => module.to_vec(),
        "super" => module.split_last()?.1.to_vec(),
        child if children.contains(child) => [module, std::slice::from_ref(first)].concat(),
        _ => return None,
    };
    while let Some((_, deeper)) = rest.split_first().filter(|(next, _)| *next == "super") {
        base.pop();
        rest = deeper;
    }
    base.extend_from_slice(rest);
    Some(base)
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// Words, `::`, and single characters; strings and comments are left out.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if is_word(rest) {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        if let Some(after) = after_raw_string(rest) {
            rest = after;
            continue;
        }
        if first == '"' {
            rest = after_string(&rest[1..]);
            continue;
        }
        if rest.starts_with("//") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
            continue;
        }
        if rest.starts_with("'\"'") {
            rest = &rest[3..];
            continue;
        }
        if !first.is_whitespace() {
            tokens.push(rest[..length].to_owned());
        }
        rest = &rest[length..];
    }
    tokens
}

/// What follows the string that has begun.
fn after_string(text: &str) -> &str {
    let mut escaped = false;
    let end = text.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    end.map_or("", |end| &text[end + 1..])
}

/// What follows the raw string that begins here, if one does.
fn after_raw_string(text: &str) -> Option<&str> {
    let marks = text.strip_prefix('r')?.trim_start_matches('#');
    let hashes = text.len() - 1 - marks.len();
    let inside = marks.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    inside.find(&end).map(|at| &inside[at + end.len()..])
}
