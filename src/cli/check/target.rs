//! What is to be checked: pilot.toml, the folder that it is in, or services files alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Global;
use crate::config::{self, Loaded, Problems};

/// Its name, and the configuration.
pub(super) fn load(global: &Global, file: Option<PathBuf>) -> (String, Result<Loaded, Problems>) {
    let inside =
        |folder: PathBuf| Some(folder.join("pilot.toml")).filter(|file| file.is_file()).unwrap_or(folder);
    match file.map(inside) {
        Some(file) if has_services(&file) => (file.display().to_string(), alone(global, &file)),
        Some(config) => {
            let name = config.display().to_string();
            (name, Global { config, ..global.clone() }.load_quietly())
        }
        None => (global.config.display().to_string(), global.load_quietly()),
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

/// A configuration with these services and what flags say, and nothing else.
fn alone(global: &Global, path: &Path) -> Result<Loaded, Problems> {
    let quoted = toml::Value::String(path.display().to_string());
    let text = format!("[registry.services.file]\npath = {quoted}\n");
    config::parse(&path.display().to_string(), &text, &BTreeMap::new(), &global.flags())
}
