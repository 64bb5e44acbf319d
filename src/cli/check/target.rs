//! What is to be checked: pilot.toml, the folder that it is in, or services files alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Global;
use crate::config::{self, Loaded, Problem, Problems};

/// What is to be checked.
pub(super) struct Target {
    /// The path, as the user said it.
    pub(super) name: String,
    /// Whether it is services files alone, for which there is no pilot.toml.
    pub(super) is_alone: bool,
    pub(super) loaded: Result<Loaded, Problems>,
}

/// Reads the configuration.
pub(super) fn load(global: &Global, file: Option<PathBuf>) -> Target {
    let inside =
        |folder: PathBuf| Some(folder.join("pilot.toml")).filter(|file| file.is_file()).unwrap_or(folder);
    match file.map(inside) {
        Some(file) if file.exists() && has_services(&file) => {
            Target { name: file.display().to_string(), is_alone: true, loaded: alone(global, &file) }
        }
        Some(file) if !file.exists() => {
            let name = file.display().to_string();
            let problem = Problem::with_file(&*name, "there is no such file or folder");
            Target { name, is_alone: true, loaded: Err(problem.into()) }
        }
        Some(config) => {
            let name = config.display().to_string();
            let loaded = Global { config, ..global.clone() }.load_quietly();
            Target { name, is_alone: false, loaded }
        }
        None => {
            let name = global.config.display().to_string();
            Target { name, is_alone: false, loaded: global.load_quietly() }
        }
    }
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
        Some("toml") => std::fs::read_to_string(path).is_ok_and(|text| is_of_services(&text)),
        _ => false,
    }
}

fn is_of_services(text: &str) -> bool {
    let text = text.trim_start_matches('\u{feff}');
    match toml::from_str::<toml::Table>(text) {
        Ok(table) => table.contains_key("service") && !table.contains_key("registry"),
        // It is no TOML yet: the lines tell.
        Err(_) => {
            let keys = || text.lines().map(|line| line.replace([' ', '\t', '"', '\''], ""));
            keys().any(|line| line.starts_with("[[service]]") || line.starts_with("service="))
                && !keys().any(|line| line.starts_with("[registry") || line.starts_with("registry."))
        }
    }
}

impl Target {
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
