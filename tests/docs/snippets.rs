//! Every snippet of docs/ is of a kind that is checked, and is in order.

use std::path::Path;
use std::process::{Command, Stdio};

use clap::CommandFactory;
use serde_json::Value;

use crate::pages::below;
use crate::support::shell::Shell;
use crate::support::snippets::{Snippet, snippets};
use crate::support::tools;
use crate::words::words;

/// The snippets of all pages of docs/, with the page.
fn shown() -> Vec<(String, Snippet)> {
    let of = |page: String| snippets(&page).into_iter().map(move |it| (page.clone(), it)).collect::<Vec<_>>();
    below("docs/").into_iter().flat_map(of).collect()
}

/// Those of one language: the first word behind the fence.
fn of(language: &str) -> Vec<(String, Snippet)> {
    let all: Vec<_> = shown().into_iter().filter(|(_, it)| kind(it).0 == language).collect();
    assert!(!all.is_empty(), "no page has a snippet of {language}");
    all
}

/// The language, and what else stands behind the fence.
fn kind(snippet: &Snippet) -> (&str, &str) {
    snippet.language.split_once(' ').unwrap_or((&snippet.language, ""))
}

fn is_services(text: &str) -> bool {
    text.contains("[[service]]")
        || text.lines().any(|line| line.starts_with("service:") || line.starts_with("service = "))
}

#[test]
fn snippets_are_of_kinds_that_are_checked() {
    let known =
        ["sh", "toml", "yaml", "yaml prometheus", "yaml kubernetes", "json", "json etcd", "python", "text"];
    for (page, snippet) in shown() {
        assert!(
            known.contains(&snippet.language.as_str()),
            "{page}: {:?}: {}",
            snippet.language,
            snippet.text
        );
    }
}

#[test]
fn services_files_are_in_order() {
    let shell = Shell::new();
    let files = shown().into_iter().filter(|(_, it)| {
        ["toml", "yaml", "json"].contains(&it.language.as_str())
            && (is_services(&it.text) || it.text.contains("\"service\":"))
    });
    let files: Vec<_> = files.collect();
    assert!(files.len() > 3);
    for (page, Snippet { language, text }) in files {
        shell.write(&format!("services.{language}"), &text);
        shell.write("pilot.toml", &format!("registry.local.file.path = 'services.{language}'"));
        let output = shell.run("pilot check");
        assert!(output.status.success(), "{page}: {text}\n{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn configurations_are_in_order() {
    for (page, Snippet { text, .. }) in of("toml").iter().filter(|(_, it)| !is_services(&it.text)) {
        // A part of a file is shown without the registry that a whole one has.
        let whole = if text.contains("registry.") {
            text.clone()
        } else {
            format!("{text}\n[registry.a.file]\npath = 'a'")
        };
        let loaded = pilot::config::parse(page, &whole, &Default::default(), &[]);
        let loaded = loaded.unwrap_or_else(|problems| panic!("{page}: {text}\n{problems:?}"));
        assert_eq!(loaded.warnings, [], "{page}: {text}");
    }
}

#[test]
fn other_files_are_in_order() {
    for (page, Snippet { language, text }) in shown() {
        match kind(&Snippet { language, text: String::new() }) {
            ("json", _) => drop(
                serde_json::from_str::<Value>(&text)
                    .unwrap_or_else(|error| panic!("{page}: {error}: {text}")),
            ),
            ("yaml", _) => {
                for document in text.split("\n---\n") {
                    let parsed = serde_saphyr::from_str::<Value>(document);
                    parsed.unwrap_or_else(|error| panic!("{page}: {error}: {document}"));
                }
            }
            _ => {}
        }
    }
}

#[test]
fn python_is_python() {
    let Some(python) = tools::python() else { return };
    let folder = tempfile::tempdir().unwrap();
    for (page, snippet) in of("python") {
        let file = folder.path().join("page.py");
        std::fs::write(&file, &snippet.text).unwrap();
        let output = Command::new(&python).args(["-m", "py_compile"]).arg(&file).output().unwrap();
        assert!(output.status.success(), "{page}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// What a shell makes of it, and what pilot makes of its arguments.
#[test]
fn commands_can_be_typed() {
    let mut commands = 0;
    for (page, Snippet { text, .. }) in of("sh") {
        let parsed = Command::new("sh").args(["-nc", &text]).stdin(Stdio::null()).output().unwrap();
        assert!(parsed.status.success(), "{page}: {text}\n{}", String::from_utf8_lossy(&parsed.stderr));
        for command in words(&text) {
            commands += usize::from(takes(&page, &command));
        }
    }
    assert!(commands > 30, "only {commands} commands of pilot were looked at");
}

/// Whether it is a command of pilot, which takes its arguments.
fn takes(page: &str, command: &[String]) -> bool {
    let assigned =
        |word: &&String| word.split_once('=').is_some_and(|(name, _)| !name.contains(['-', '/', ':']));
    let command: Vec<&String> = command.iter().skip_while(assigned).collect();
    let Some(at) =
        command.iter().position(|word| Path::new(word.as_str()).file_name().is_some_and(|it| it == "pilot"))
    else {
        return false;
    };
    // As the program, or the one that another starts: `cargo run -- demo` is not, `kubectl exec pod -- pilot` is.
    let starts = at == 0 || ["--", "sudo", "exec"].contains(&command[at - 1].as_str());
    if !starts {
        return false;
    }
    let parsed = pilot::cli::Cli::command().try_get_matches_from(&command[at..]);
    match parsed {
        Ok(_) => true,
        // That is what these two do.
        Err(error) if !error.use_stderr() => true,
        Err(error) => panic!("{page}: {command:?}: {error}"),
    }
}
