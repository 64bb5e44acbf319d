//! What is to be checked: pilot.toml, or services files alone.

use std::path::{Path, PathBuf};

use super::Global;
use crate::config::{self, Loaded, Problems};

/// Its name, and the configuration.
pub(super) fn load(global: &Global, file: Option<PathBuf>) -> (String, Result<Loaded, Problems>) {
    match file {
        Some(file) if has_services(&file) => (file.display().to_string(), alone(&file)),
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
        Some("toml") => std::fs::read_to_string(path).is_ok_and(|text| {
            let keys = text.lines().map(str::trim_start);
            keys.clone().any(|line| line.starts_with("[[service]]") || line.starts_with("service"))
                && !keys.clone().any(|line| line.starts_with("[registry") || line.starts_with("registry."))
        }),
        _ => false,
    }
}

/// A configuration with these services and nothing else.
fn alone(path: &Path) -> Result<Loaded, Problems> {
    let quoted = toml::Value::String(path.display().to_string());
    let text = format!("[registry.services.file]\npath = {quoted}\n");
    config::parse(&path.display().to_string(), &text, &std::collections::BTreeMap::new(), &[])
}
