//! A text that is never shown.

use std::fmt;

use serde::Deserialize;

/// A text that is never shown: its `Debug` says only that it is there, there is no `Display`, and it cannot
/// be serialized. For a JSON schema it is a `String`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for the one who asks for it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let secret: Secret = serde_json::from_str("\"open-sesame\"").unwrap();
        assert_eq!(format!("{secret:?}"), "(secret)");
        assert_eq!(secret.reveal(), "open-sesame");
    }
}
