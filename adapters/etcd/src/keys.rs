//! The keys, version 1:
//!
//! ```text
//!  <prefix>/v1/services/<host>            a service's description
//!  <prefix>/v1/instances/<host>/<id>      one instance of it
//!  <prefix>/rules/<any name>              documents of rules
//! ```

use pilot_registry::Hostname;

/// The keys below one prefix.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    root: String,
}

/// What a key stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The description of that service.
    Service(Hostname),
    /// The instance of that service and id.
    Instance(Hostname, String),
}

impl Keys {
    pub(crate) fn new(prefix: &str) -> Self {
        Self { root: format!("{prefix}/v1/") }
    }

    /// Those of rules.
    pub(crate) fn rules(prefix: &str) -> Self {
        Self { root: format!("{prefix}/rules/") }
    }

    /// What all keys begin with.
    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    /// The first key after all of them.
    pub(crate) fn end(&self) -> Vec<u8> {
        let mut end = self.root.clone().into_bytes();
        // The last character is '/', after which comes '0'.
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        end
    }

    pub(crate) fn service(&self, host: &Hostname) -> String {
        format!("{}services/{host}", self.root)
    }

    pub(crate) fn instance(&self, host: &Hostname, id: &str) -> String {
        format!("{}instances/{host}/{id}", self.root)
    }

    /// What that key stands for, or why it stands for nothing.
    pub(crate) fn place(&self, key: &[u8]) -> Result<Place, String> {
        let expected =
            format!("expected {root}services/<host> or {root}instances/<host>/<id>", root = self.root);
        let text = std::str::from_utf8(key).map_err(|_| format!("the key is not UTF-8: {expected}"))?;
        let rest = text.strip_prefix(&self.root).unwrap_or(text);
        match rest.split('/').collect::<Vec<_>>().as_slice() {
            ["services", name] => host(name).map(Place::Service),
            ["instances", name, id] if !id.is_empty() => Ok(Place::Instance(host(name)?, (*id).to_owned())),
            ["services" | "instances", ..] => Err(format!("the key has another form: {expected}")),
            [kind, ..] => Err(format!("unknown kind {kind:?} in the key: {expected}")),
            [] => Err(expected),
        }
    }
}

/// A host as it stands in a key: only in one form, so that one service has one key.
fn host(name: &str) -> Result<Hostname, String> {
    let host: Hostname = name.parse().map_err(|error: pilot_registry::ModelError| error.to_string())?;
    if host.as_str() == name {
        Ok(host)
    } else {
        Err(format!("host {name:?} in the key: expected {:?}", host.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_what_it_stands_for() {
        let keys = Keys::new("/pilot");
        let host: Hostname = "a.local".parse().unwrap();
        assert_eq!(keys.place(keys.service(&host).as_bytes()), Ok(Place::Service(host.clone())));
        let instance = keys.instance(&host, "i-1:8080");
        assert_eq!(keys.place(instance.as_bytes()), Ok(Place::Instance(host, "i-1:8080".into())));
        assert_eq!(keys.end(), b"/pilot/v10");
    }

    #[test]
    fn a_key_of_another_form_says_what_was_expected() {
        let keys = Keys::new("/pilot");
        for (key, why) in [
            ("/pilot/v1/rules/a", "unknown kind \"rules\""),
            ("/pilot/v1/services/A.local", "expected \"a.local\""),
            ("/pilot/v1/services/a b", "is not a DNS name"),
            ("/pilot/v1/services/a/b", "expected /pilot/v1/services/<host>"),
            ("/pilot/v1/instances/a.local", "instances/<host>/<id>"),
            ("/pilot/v1/instances/a.local/", "instances/<host>/<id>"),
            ("/pilot/v1/", "unknown kind \"\""),
        ] {
            let error = keys.place(key.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{key}: {error}");
        }
        assert!(keys.place(b"/pilot/v1/services/\xff").unwrap_err().contains("UTF-8"));
    }
}
