//! Which pilot this is.

use serde::{Deserialize, Serialize};

/// The version of a pilot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionReport {
    /// As in Cargo.toml: `0.1.0`.
    pub version: String,
}

impl VersionReport {
    /// Of this one.
    pub fn own() -> Self {
        Self { version: env!("CARGO_PKG_VERSION").to_owned() }
    }
}
