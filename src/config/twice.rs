//! A key or a table that is in pilot.toml twice. The parser's words are for who knows TOML, and name one place only.

use super::{Origins, Problem};

/// What is wrong, with both places; `None` = that error is another one.
pub(super) fn problem(origins: &Origins, error: &toml::de::Error) -> Option<Problem> {
    if !error.message().contains("duplicate key") {
        return None;
    }
    let (text, span) = (origins.text(), error.span()?);
    let number = text.get(..span.start)?.matches('\n').count();
    let path = paths(text).find(|(at, _)| *at == number)?.1;
    // The parser points at one part of the path.
    let name = text.get(span.clone())?.trim().trim_matches(['"', '\'']);
    let end = path.iter().rposition(|part| part == name)?;
    let path = &path[..=end];
    let (first, _) = paths(text).take_while(|(at, _)| *at < number).find(|(_, it)| it.starts_with(path))?;
    let expected = match path {
        [registry, name] | [registry, name, _] if registry == "registry" => {
            format!("expected another name than {name:?} for one of the registries")
        }
        _ => "expected one of them".to_owned(),
    };
    let message = format!("it is there twice, first in line {}: {expected}", first + 1);
    Some(origins.problem_at(span.start, Some(&path.join(".")), message))
}

/// The lines with the head of a table or with a key, counted from 0, and the paths of these.
fn paths(text: &str) -> impl Iterator<Item = (usize, Vec<String>)> {
    let mut table = Vec::new();
    text.lines().enumerate().filter_map(move |(number, line)| {
        let line = line.trim();
        if let Some(inside) = line.strip_prefix('[') {
            table = parts(inside.trim_start_matches('[').split(']').next()?);
            return Some((number, table.clone()));
        }
        let (key, _) = line.split_once('=').filter(|_| !line.starts_with('#'))?;
        Some((number, table.iter().cloned().chain(parts(key)).collect()))
    })
}

fn parts(path: &str) -> Vec<String> {
    path.split('.').map(|part| part.trim().trim_matches(['"', '\'']).to_owned()).collect()
}
