//! The table `file` of a registry, and of a store of rules, in pilot.toml.

use std::path::{Path, PathBuf};

use pilot_registry::ConfigError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A registry of the services that a file, or a folder of files, describes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The file, or a folder of files. Names end in .toml, .yaml, .yml or .json; in a folder all other
    /// files, hidden files and folders are left alone.
    pub path: PathBuf,
    /// The most bytes that one file may have. A larger file is refused.
    #[serde(default = "default_max_file_bytes")]
    #[schemars(range(min = 1))]
    pub max_file_bytes: u64,
    /// The most files that a folder may have. A folder with more is refused.
    #[serde(default = "default_max_files")]
    #[schemars(range(min = 1))]
    pub max_files: usize,
}

impl Config {
    /// The services in `path`, with the default limits.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), max_file_bytes: default_max_file_bytes(), max_files: default_max_files() }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        check(&self.path, self.max_file_bytes, self.max_files)
    }
}

/// A store of the rule documents in a file, or in a folder of files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RulesConfig {
    /// The file, or a folder of files. Names end in .yaml, .yml or .json; in a folder all other files, hidden files and
    /// folders are left alone.
    pub path: PathBuf,
    /// The most bytes that one file may have. A larger file is refused.
    #[serde(default = "default_max_file_bytes")]
    #[schemars(range(min = 1))]
    pub max_file_bytes: u64,
    /// The most files that a folder may have. A folder with more is refused.
    #[serde(default = "default_max_rule_files")]
    #[schemars(range(min = 1))]
    pub max_files: usize,
}

impl RulesConfig {
    /// The documents in `path`, with the default limits.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            max_file_bytes: default_max_file_bytes(),
            max_files: default_max_rule_files(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        check(&self.path, self.max_file_bytes, self.max_files)
    }
}

fn check(path: &Path, max_file_bytes: u64, max_files: usize) -> Result<(), ConfigError> {
    if path.as_os_str().is_empty() {
        return Err(ConfigError::new("path", "it is empty: expected a file or a folder"));
    }
    if max_file_bytes == 0 {
        return Err(ConfigError::new("max_file_bytes", "0 allows no file: expected at least 1"));
    }
    if max_files == 0 {
        return Err(ConfigError::new("max_files", "0 allows no file: expected at least 1"));
    }
    Ok(())
}

fn default_max_file_bytes() -> u64 {
    64 << 20
}

fn default_max_files() -> usize {
    1000
}

fn default_max_rule_files() -> usize {
    10_000
}
