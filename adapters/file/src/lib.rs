//! Services from TOML, YAML or JSON files, reloaded when they change.
//!
//! ```text
//!  files ── read ──► document ── convert ──► entries ── last good ──► Snapshot ──► sink
//!    ▲                (positions)   (mistakes)           (one bad entry or file
//!    └── watch: the directories on the way to them         changes nothing else)
//! ```
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

pub use config::Config;
pub use load::{Loaded, load};
pub use problem::Problem;
pub use schema::schema;
pub use source::{FileRegistry, Notice};

use pilot_registry::ConfigError;

/// Makes a registry of the services in a file or a folder of files. Does no IO.
///
/// # Errors
/// A value of the configuration makes no sense.
pub fn registry(config: Config) -> Result<FileRegistry, ConfigError> {
    config.check()?;
    Ok(FileRegistry::new(config))
}
