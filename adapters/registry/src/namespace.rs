//! Places of services among others of their kind.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ModelError;

/// The place of a service among others of its kind; `default` where a platform has no such thing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Namespace(String);

impl Namespace {
    /// The namespace as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl TryFrom<String> for Namespace {
    type Error = ModelError;

    fn try_from(text: String) -> Result<Self, ModelError> {
        let ok = !text.is_empty()
            && text.len() <= 253
            && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._".contains(&c));
        if ok { Ok(Self(text)) } else { Err(ModelError::Namespace { name: text }) }
    }
}

impl From<Namespace> for String {
    fn from(namespace: Namespace) -> Self {
        namespace.0
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
