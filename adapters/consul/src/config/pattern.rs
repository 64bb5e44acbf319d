//! Names with wildcards.

use schemars::JsonSchema;
use serde::Deserialize;

/// A name in which `*` stands for any characters, also none.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Pattern(String);

impl Pattern {
    /// Whether the whole name fits.
    pub fn matches(&self, name: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else { return self.0 == name };
        let Some(mut name) = name.strip_prefix(first) else { return false };
        let mut parts = rest.split('*').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return name.ends_with(part);
            }
            match name.find(part) {
                Some(at) => name = &name[at + part.len()..],
                None => return false,
            }
        }
        true
    }
}

impl From<&str> for Pattern {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        let cases = [
            ("*", "web", true),
            ("web", "web", true),
            ("web", "web2", false),
            ("web-*", "web-eu", true),
            ("*-eu", "web-us", false),
            ("w*b*-eu", "web-b-eu", true),
            ("a*a", "a", false),
            ("*a*", "bab", true),
        ];
        for (pattern, name, fits) in cases {
            assert_eq!(Pattern::from(pattern).matches(name), fits, "{pattern} {name}");
        }
    }
}
