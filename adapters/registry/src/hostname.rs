//! Names by which clients reach services.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ModelError;

/// A DNS name in lower case without a final dot: `reviews.local`. At most 253 characters, labels of 1 to
/// 63 letters, digits, `-` or `_` that neither start nor end with `-` (RFC 1035 §2.3.4, RFC 1123 §2.1;
/// `_` because service names in the field have it).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hostname(Arc<str>);

impl Hostname {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name, or `*.suffix`, which stands for all names that end so. Registries know no such services; documents of rules
    /// do.
    ///
    /// # Errors
    /// It is neither.
    pub fn or_wildcard(text: &str) -> Result<Self, ModelError> {
        match text.strip_prefix("*.") {
            None => text.parse(),
            Some(suffix) => suffix.parse().map(|suffix: Self| Self(format!("*.{suffix}").into())),
        }
    }

    /// What follows the star; `None` = it is one name.
    pub fn suffix(&self) -> Option<&str> {
        self.0.strip_prefix('*')
    }
}

impl FromStr for Hostname {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        match fault(&name) {
            Some(why) => Err(ModelError::Hostname { name: text.to_owned(), why }),
            None => Ok(Self(name.into())),
        }
    }
}

fn fault(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("it is empty");
    }
    if name.len() > 253 {
        return Some("it has more than 253 characters");
    }
    if name.parse::<std::net::IpAddr>().is_ok() {
        return Some("it is an IP address");
    }
    if name.contains("://") {
        return Some("it is a URL, and a host is the name in it");
    }
    if name.contains(':') {
        return Some("it has a port, which is said apart from it");
    }
    if name.contains('*') {
        return Some("it has a '*', and a host is one name");
    }
    name.split('.').find_map(label_fault)
}

fn label_fault(label: &str) -> Option<&'static str> {
    if label.is_empty() {
        return Some("it has an empty label between its dots");
    }
    if label.len() > 63 {
        return Some("one of its labels has more than 63 characters");
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Some("one of its labels starts or ends with '-'");
    }
    let allowed = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
    (!label.bytes().all(allowed)).then_some("only letters, digits, '-', '_' and '.' are allowed")
}

impl TryFrom<String> for Hostname {
    type Error = ModelError;

    fn try_from(text: String) -> Result<Self, ModelError> {
        text.parse()
    }
}

impl From<Hostname> for String {
    fn from(name: Hostname) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl Borrow<str> for Hostname {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_without_a_final_dot() {
        assert_eq!("Reviews.Local.".parse::<Hostname>().unwrap().as_str(), "reviews.local");
    }

    #[test]
    fn a_wildcard_is_a_name_only_where_it_is_asked_for() {
        let all = Hostname::or_wildcard("*.Example.com.").unwrap();
        assert_eq!((all.as_str(), all.suffix()), ("*.example.com", Some(".example.com")));
        assert_eq!(Hostname::or_wildcard("a.example.com").unwrap().suffix(), None);
        for name in ["*", "*.", "*example.com", "a.*.com", "*.*.com"] {
            assert!(Hostname::or_wildcard(name).is_err(), "{name:?}");
        }
        assert!("*.example.com".parse::<Hostname>().is_err());
    }

    #[test]
    fn names_that_dns_refuses_are_refused() {
        let long = format!("{}.local", "a".repeat(64));
        let longer = ["a".repeat(60).as_str(); 5].join(".");
        for name in ["", ".", "a b", "a..b", "-a", "a-", "10.0.0.1", "::1", "ü.local", &long, &longer] {
            assert!(name.parse::<Hostname>().is_err(), "{name:?}");
        }
    }
}
