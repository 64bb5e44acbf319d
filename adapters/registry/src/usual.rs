//! Variables by which a platform's own tools are told where the platform is, and which adapters understand, too.

use std::collections::BTreeMap;

/// The variables that an adapter understands.
#[derive(Clone, Copy, Debug)]
pub struct UsualVariables {
    /// They count only where the adapter's table has none of these keys, which say where the platform is, or who
    /// pilot is for it: what is meant for one server is not told to another.
    pub unless: &'static [&'static str],
    /// The key without which the platform is at one place, and that place. `None` = there is no such default.
    pub default_place: Option<(&'static str, &'static str)>,
    /// The keys that say what is followed there. Where they differ, several registries may be meant for one place.
    pub selects: &'static [&'static str],
    /// Finds them in an environment. An empty variable is as good as none. Keys of `tls` count only with an address that
    /// begins with https://.
    pub find: fn(&BTreeMap<String, String>) -> Vec<UsualValue>,
    /// The variables in an environment that the platform's tools understand and the adapter does not, and what to use
    /// instead of each.
    pub unread: fn(&BTreeMap<String, String>) -> Unread,
}

/// Variables that pilot does not read, each with what to use instead.
pub type Unread = Vec<(&'static str, &'static str)>;

/// What one of them says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsualValue {
    /// The variable: `CONSUL_HTTP_ADDR`.
    pub variable: &'static str,
    /// The key in the adapter's table: `address`. Never one that holds a secret itself.
    pub key: &'static str,
    /// What stands under the key.
    pub value: Given,
}

/// What stands under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// A string.
    Text(String),
    /// A list of strings.
    List(Vec<String>),
}

impl Given {
    /// Whether the string, or one of the list, begins so.
    pub fn begins_with(&self, prefix: &str) -> bool {
        match self {
            Self::Text(text) => text.starts_with(prefix),
            Self::List(texts) => texts.iter().any(|text| text.starts_with(prefix)),
        }
    }
}

/// The value of a variable that is there and says something.
pub fn variable<'a>(environment: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    environment.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
}

/// What variables say of keys, each of which has one: those that are there.
pub fn texts(
    environment: &BTreeMap<String, String>,
    keys: &[(&'static str, &'static str)],
) -> impl Iterator<Item = UsualValue> {
    keys.iter().filter_map(|(name, key)| {
        let value = Given::Text(variable(environment, name)?.to_owned());
        Some(UsualValue { variable: name, key, value })
    })
}

/// Those of the variables that are there.
pub fn present(environment: &BTreeMap<String, String>, all: &[(&'static str, &'static str)]) -> Unread {
    all.iter().copied().filter(|(name, _)| variable(environment, name).is_some()).collect()
}

/// What to write instead of `host:port`, where an address begins with a scheme. `None` = that is not what is
/// missing. A text that may hold a password is not repeated.
pub fn missing_scheme(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':')?;
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"-._:[]".contains(&c);
    let is_place = !host.is_empty() && host.bytes().all(plain) && port.parse::<crate::Port>().is_ok();
    is_place.then(|| format!("{text:?} has no scheme: write \"http://{text}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_place_without_a_scheme_is_told_of_it() {
        let told = missing_scheme("127.0.0.1:8500").unwrap();
        assert_eq!(told, "\"127.0.0.1:8500\" has no scheme: write \"http://127.0.0.1:8500\"");
        assert!(missing_scheme("[::1]:8500").is_some() && missing_scheme("consul:8500").is_some());
        for text in ["", "consul", "http://consul:8500", "user:pw1@consul:8500", "consul:0", ":8500"] {
            assert_eq!(missing_scheme(text), None, "{text}");
        }
    }

    #[test]
    fn an_empty_variable_is_as_good_as_none() {
        let environment = [("A", " "), ("B", " b ")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let environment = BTreeMap::from(environment);
        assert_eq!(["A", "B", "C"].map(|name| variable(&environment, name)), [None, Some("b"), None]);
    }
}
