//! What is wrong with a file that a user wrote, and where.

use std::fmt;

use serde::Serialize;

/// One thing to mend.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The file, as the user named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// In characters, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// The environment variable or the flag, where it is not a file that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setting: Option<String>,
    /// The key: `push.quiet`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What is wrong, and what was expected.
    pub message: String,
}

impl Problem {
    /// A problem with a file as a whole.
    pub fn with_file(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self { file: Some(file.into()), message: message.into(), ..Self::default() }
    }

    /// A problem with an environment variable or a flag.
    pub fn with_setting(setting: impl Into<String>, message: impl Into<String>) -> Self {
        Self { setting: Some(setting.into()), message: message.into(), ..Self::default() }
    }

    /// Where it is: `pilot.toml:3:1`, or the name of a variable.
    pub fn place(&self) -> String {
        let mut place = self.file.as_ref().or(self.setting.as_ref()).cloned().unwrap_or_default();
        for number in [self.line, self.column].into_iter().flatten() {
            place.push_str(&format!(":{number}"));
        }
        place
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in
            [Some(self.place()).filter(|place| !place.is_empty()), self.key.clone()].into_iter().flatten()
        {
            write!(f, "{part}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// All that is wrong: never empty, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.0.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Problems(pub Vec<Problem>);

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

/// The words in quotation marks, with commas.
pub(super) fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ")
}
