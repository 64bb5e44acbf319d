//! What is to be checked: pilot.toml, the folder that it is in, or services files alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Global;
use crate::config::{self, Loaded, Problem, Problems, RulesEntry};

/// What is to be checked.
pub(super) struct CheckTarget {
    /// The path, as the user said it.
    pub(super) name: String,
    /// Whether it is services files alone, for which there is no pilot.toml.
    pub(super) is_alone: bool,
    /// Whether it is documents of rules alone.
    pub(super) is_documents: bool,
    pub(super) loaded: Result<Loaded, Problems>,
}

/// Reads what the arguments lead to: documents of rules, or one path, or nothing, which is the configuration.
pub(super) fn load(global: &Global, mut files: Vec<PathBuf>) -> CheckTarget {
    let strangers: Vec<_> = files.iter().filter(|file| !has_documents(file)).cloned().collect();
    match (files.len(), strangers.as_slice()) {
        (0, _) => load_one(global, None),
        (_, []) => documents(global, files),
        (1, _) => load_one(global, files.pop()),
        (_, strangers) => {
            let problem = |file: &PathBuf| {
                let message = "it has no documents of rules: of several files, each has some; anything else is checked alone";
                Problem::with_file(file.display().to_string(), message)
            };
            let name = strangers[0].display().to_string();
            let loaded = Err(Problems(strangers.iter().map(problem).collect()));
            CheckTarget { name, is_alone: true, is_documents: false, loaded }
        }
    }
}

fn load_one(global: &Global, file: Option<PathBuf>) -> CheckTarget {
    let inside =
        |folder: PathBuf| Some(folder.join("pilot.toml")).filter(|file| file.is_file()).unwrap_or(folder);
    match file.map(inside) {
        Some(file) if file.exists() && has_services(&file) => {
            let (name, loaded) = (file.display().to_string(), alone(global, &file));
            CheckTarget { name, is_alone: true, is_documents: false, loaded }
        }
        Some(file) if !file.exists() => {
            let name = file.display().to_string();
            let problem = Problem::with_file(&*name, "there is no such file or folder");
            CheckTarget { name, is_alone: true, is_documents: false, loaded: Err(problem.into()) }
        }
        Some(config) => {
            let name = config.display().to_string();
            let loaded = Global { config, ..global.clone() }.load_quietly();
            CheckTarget { name, is_alone: false, is_documents: false, loaded }
        }
        None => {
            let name = global.config.display().to_string();
            CheckTarget { name, is_alone: false, is_documents: false, loaded: global.load_quietly() }
        }
    }
}

/// Whether a YAML or JSON file has documents of rules: they say their `apiVersion`, and services do not. Or a folder without
/// a pilot.toml has such files; there may be documents of others beside them.
fn has_documents(path: &Path) -> bool {
    if !cfg!(feature = "file") {
        return false;
    }
    if path.is_dir() {
        let files = std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
        let has_own =
            |file: PathBuf| file.is_file() && text_of(&file).is_some_and(|text| text.contains(GROUP));
        return !path.join("pilot.toml").is_file() && files.take(MAX_LOOKED_AT).any(has_own);
    }
    text_of(path).is_some_and(|text| text.contains("apiVersion") || text.contains(GROUP))
}

/// What the documents that are read say of themselves.
const GROUP: &str = "networking.istio.io/";

/// The text of a YAML or JSON file.
fn text_of(path: &Path) -> Option<String> {
    let is_read = path.extension().is_some_and(|it| ["yaml", "yml", "json"].iter().any(|known| it == *known));
    is_read.then(|| std::fs::read_to_string(path).ok()).flatten()
}

/// So many files of a folder are looked at to find out what they are.
const MAX_LOOKED_AT: usize = 1000;

/// Documents alone. What pilot.toml says of the mesh counts, where there is one; its registries and stores do not.
fn documents(global: &Global, files: Vec<PathBuf>) -> CheckTarget {
    let name = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
    let of_file = global.config.is_file().then(|| global.load_quietly().ok()).flatten();
    let loaded = of_file.map_or_else(|| alone(global, Path::new("none")), Ok).map(|mut loaded| {
        loaded.config.registry.clear();
        let store = |(i, file): (usize, PathBuf)| (format!("{i:08}"), RulesEntry::of_files(file));
        loaded.config.rules = files.into_iter().enumerate().map(store).collect();
        loaded
    });
    CheckTarget { name, is_alone: true, is_documents: true, loaded }
}

/// Whether it is services that the path leads to, and no pilot.toml. That is TOML, too: what is in it tells.
fn has_services(path: &Path) -> bool {
    if !cfg!(feature = "file") {
        return false;
    }
    if path.is_dir() {
        return true;
    }
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("yaml" | "yml" | "json") => true,
        Some("toml") if path.file_name().is_some_and(|name| name == "pilot.toml") => false,
        Some("toml") => std::fs::read_to_string(path).is_ok_and(|text| is_of_services(&text)),
        _ => false,
    }
}

fn is_of_services(text: &str) -> bool {
    let text = text.trim_start_matches('\u{feff}');
    match toml::from_str::<toml::Table>(text) {
        // What has no key of a pilot.toml is none.
        Ok(table) => {
            let is_config = || table.keys().any(|key| config::has_key_like(key));
            !table.is_empty()
                && !table.contains_key("registry")
                && (table.contains_key("service") || !is_config())
        }
        // It is no TOML yet: the lines tell.
        Err(_) => {
            let keys = || text.lines().map(|line| line.replace([' ', '\t', '"', '\''], ""));
            keys().any(|line| line.starts_with("[[service]]") || line.starts_with("service="))
                && !keys().any(|line| line.starts_with("[registry") || line.starts_with("registry."))
        }
    }
}

impl CheckTarget {
    /// With the documents of rules that are there, instead of all others.
    pub(super) fn take_rules(&mut self, rules: Option<PathBuf>) {
        if let (Some(path), Ok(loaded)) = (rules, &mut self.loaded) {
            loaded.config.rules = BTreeMap::from([("rules".to_owned(), RulesEntry::of_files(path))]);
        }
    }

    /// A problem with the path itself has no line, and no key that the user wrote.
    pub(super) fn place(&self, problem: Problem) -> Problem {
        match problem.key.as_deref() {
            Some(PATH) if self.is_alone => Problem::with_file(&*self.name, problem.message),
            _ => problem,
        }
    }
}

/// The key that stands for the path.
const PATH: &str = "registry.services.file.path";

/// A configuration with these services and what flags say, and nothing else.
fn alone(global: &Global, path: &Path) -> Result<Loaded, Problems> {
    let text = format!("{PATH} = {}\n", toml::Value::String(path.display().to_string()));
    config::parse(&path.display().to_string(), &text, &BTreeMap::new(), &global.flags())
}
