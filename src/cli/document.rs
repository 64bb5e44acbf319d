//! Verbs that print one document, in Envoy's own words.

use clap::ValueEnum;
use serde::Serialize;

/// How to write a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum DocumentFormat {
    /// YAML, as in Envoy's documentation.
    Yaml,
    /// JSON, indented.
    Json,
}

impl DocumentFormat {
    /// The document in this format.
    ///
    /// # Errors
    /// The document cannot be written, for example a map whose keys are not strings.
    pub(super) fn render(self, document: &impl Serialize) -> anyhow::Result<String> {
        Ok(match self {
            Self::Json => serde_json::to_string_pretty(document)?,
            // Strings that YAML 1.1, which Envoy reads, takes for something else are quoted.
            Self::Yaml => serde_saphyr::to_string(document)?,
        })
    }
}
