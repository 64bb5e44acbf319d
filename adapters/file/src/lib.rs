//! Services from TOML, YAML or JSON files, and rule documents from YAML or JSON files, reloaded when they change.
//!
//! ```text
//!  files ── read ──► document ── convert ──► entries ── last good ──► Snapshot ──► sink
//!    ▲                (positions)   (mistakes)           (one bad entry or file
//!    └── watch: the directories on the way to them         changes nothing else)
//! ```
//!
//! Rule documents go as they are, file by file: who reads them knows what is wrong with them (`texts.rs`).
//!
//! The format is described in this package's README.md; [`schema`] is the same for editors.
// A lock that lives across an await, in whatever it is wrapped, makes a future that cannot be sent.
#![cfg_attr(not(test), deny(clippy::future_not_send))]

mod config;
mod convert;
mod document;
mod files;
mod last_good;
mod lines;
mod load;
mod problem;
mod schema;
mod source;
mod texts;

pub use config::{Config, RulesConfig};
pub use load::{Loaded, load, load_rules};
pub use problem::Problem;
pub use schema::schema;
pub use source::{FileRegistry, FileRules, Notice};

use pilot_registry::ConfigError;

/// Makes a registry of the services in a file or a folder of files. Does no IO.
///
/// # Errors
/// A value of the configuration makes no sense.
pub fn registry(config: Config) -> Result<FileRegistry, ConfigError> {
    config.check()?;
    Ok(FileRegistry::new(config))
}

/// Makes a store of the rule documents in a file or a folder of files. Does no IO.
///
/// # Errors
/// A value of the configuration makes no sense.
pub fn rules(config: RulesConfig) -> Result<FileRules, ConfigError> {
    config.check()?;
    Ok(FileRules::new(config))
}
