//! Which clients see a service, and by which key it is told from others of the same host.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Hostname, ModelError, Namespace};

/// Which clients see a service: those of all namespaces, or of some.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// All clients.
    #[default]
    Everybody,
    /// Clients of these namespaces. Of none: nobody sees it.
    Only(BTreeSet<Namespace>),
}

impl Visibility {
    /// What these words say of a service in namespace `own`. They are Istio's, of `exportTo`: `*` = everybody, `.` = the
    /// service's own namespace, `~` = nobody, and names of namespaces. `*` and `~` stand alone.
    ///
    /// # Errors
    /// There is no word, one is none of these, or `*` or `~` is beside others.
    pub fn of_words<'a>(
        words: impl IntoIterator<Item = &'a str>,
        own: &Namespace,
    ) -> Result<Self, ModelError> {
        let words: BTreeSet<&str> = words.into_iter().map(str::trim).collect();
        let refused = |why: &str| Err(ModelError::Visibility { why: why.to_owned() });
        match words.iter().copied().collect::<Vec<_>>().as_slice() {
            [] => return refused("it is empty"),
            ["*"] => return Ok(Self::Everybody),
            ["~"] => return Ok(Self::Only(BTreeSet::new())),
            several if several.iter().any(|word| matches!(*word, "*" | "~")) => {
                return refused("\"*\" and \"~\" stand alone");
            }
            _ => {}
        }
        let namespace = |word: &str| match word {
            "." => Ok(own.clone()),
            name => Namespace::try_from(name.to_owned())
                .map_err(|_| ModelError::Visibility { why: format!("{name:?} is no namespace") }),
        };
        words.into_iter().map(namespace).collect::<Result<_, _>>().map(Self::Only)
    }

    /// Whether all clients see it.
    pub fn is_everybody(&self) -> bool {
        *self == Self::Everybody
    }

    /// The only namespaces whose clients see it; `None` = all do.
    pub fn namespaces(&self) -> Option<&BTreeSet<Namespace>> {
        match self {
            Self::Everybody => None,
            Self::Only(namespaces) => Some(namespaces),
        }
    }
}

impl fmt::Display for Visibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everybody => f.write_str("everybody"),
            Self::Only(namespaces) if namespaces.is_empty() => f.write_str("nobody"),
            Self::Only(namespaces) => {
                let names: Vec<&str> = namespaces.iter().map(Namespace::as_str).collect();
                write!(f, "namespace {}", names.join(", "))
            }
        }
    }
}

/// What tells a service from all others. Services that everybody sees have no owner: what registries say of one host is
/// one service. All others belong to their namespace, and several namespaces may have one of the same host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId {
    /// The service's host.
    pub host: Hostname,
    /// Its namespace, if not everybody sees it.
    pub owner: Option<Namespace>,
}

impl ServiceId {
    /// The service of that host that everybody sees.
    pub fn of_all(host: Hostname) -> Self {
        Self { host, owner: None }
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.owner {
            None => write!(f, "{}", self.host),
            Some(owner) => write!(f, "{} of namespace {owner}", self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(name: &str) -> Namespace {
        name.to_owned().try_into().unwrap()
    }

    #[test]
    fn words_are_those_of_istios_export_to() {
        let of = |words: &[&str]| Visibility::of_words(words.iter().copied(), &namespace("shop")).unwrap();
        assert_eq!(of(&["*"]), Visibility::Everybody);
        assert_eq!(of(&["~"]), Visibility::Only(BTreeSet::new()));
        assert_eq!(of(&["."]), Visibility::Only([namespace("shop")].into()));
        assert_eq!(of(&[" bank", ".", "shop"]), Visibility::Only(["bank", "shop"].map(namespace).into()));
        assert_eq!(of(&["bank", "."]).to_string(), "namespace bank, shop");
    }

    #[test]
    fn words_that_say_nothing_or_contradict_each_other_are_refused() {
        for (words, why) in [
            (&[][..], "it is empty"),
            (&["*", "."], "stand alone"),
            (&["~", "shop"], "stand alone"),
            (&["a b"], "\"a b\" is no namespace"),
            (&[""], "\"\" is no namespace"),
        ] {
            let error = Visibility::of_words(words.iter().copied(), &namespace("shop")).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
