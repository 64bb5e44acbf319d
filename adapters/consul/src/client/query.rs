//! Queries to the catalog and to the keys.

use std::fmt::Write;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};

use crate::config::{Config, Consistency};

/// All but unreserved characters (RFC 3986 §2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What the path of a service's instances begins with.
pub(crate) const SERVICE: &str = "/v1/health/service/";

/// What the path of a key begins with.
pub(crate) const KEY: &str = "/v1/kv/";

/// A read of the catalog, or of keys.
#[derive(Debug, Clone)]
pub(crate) struct Query<'a> {
    /// The path: `/v1/catalog/services`.
    pub(crate) what: &'a str,
    /// The datacenter that is asked, if not the agent's own.
    pub(crate) datacenter: Option<&'a str>,
    /// How long the agent may hold the answer until something has changed.
    pub(crate) wait: Option<Wait>,
    /// Whether the leader makes sure that it is the leader before it answers, whatever is configured.
    pub(crate) consistent: bool,
    /// What instances must have to be sent.
    pub(crate) tag: Option<&'a str>,
    /// Whether servers answer also where the agent has a view: no view sorts by distance.
    pub(crate) past_views: bool,
    /// Whether all keys are meant that begin with the path. That there is none is an answer then, too.
    pub(crate) recurse: bool,
}

/// A wait for something newer.
#[derive(Clone, Debug)]
pub(crate) struct Wait {
    /// What is known already. At least 1: an agent does not wait at 0.
    pub(crate) index: u64,
    /// For how long, about.
    pub(crate) time: Duration,
}

impl Wait {
    /// A wait of about that time: up to a tenth shorter, so that many polls do not end together.
    pub(crate) fn new(index: u64, time: Duration) -> Self {
        Self { index: index.max(1), time: time - (time / 10).mul_f64(fastrand::f64()) }
    }

    /// The agent adds up to a sixteenth of its own.
    pub(crate) fn longest(&self) -> Duration {
        self.time + self.time / 16
    }
}

impl<'a> Query<'a> {
    /// A read at once, as configured.
    pub(crate) fn new(what: &'a str, datacenter: Option<&'a str>) -> Self {
        Self { what, datacenter, wait: None, consistent: false, tag: None, past_views: false, recurse: false }
    }

    /// Whether an agent may answer from a view of its own.
    pub(super) fn may_be_of_a_view(&self) -> bool {
        self.wait.is_some() && self.what.starts_with(SERVICE)
    }

    /// Path and parameters. `common` is what every query says, and begins with the consistency.
    pub(super) fn path(&self, common: &Common) -> String {
        let mut path = format!("{}?", self.what);
        path.push_str(if self.consistent { "consistent" } else { common.consistency });
        path.push_str(&common.place);
        if let Some(datacenter) = self.datacenter {
            _ = write!(path, "&dc={}", encoded(datacenter));
        }
        if let Some(wait) = &self.wait {
            _ = write!(path, "&index={}&wait={}ms", wait.index, wait.time.as_millis());
        }
        if let Some(tag) = self.tag {
            _ = write!(path, "&tag={}", encoded(tag));
        }
        if self.recurse {
            path.push_str("&recurse");
        }
        if self.past_views {
            path.push_str("&near=_agent");
        }
        path
    }
}

/// What every query says.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    consistency: &'static str,
    /// Namespace and partition.
    pub(crate) place: String,
}

pub(super) fn common(config: &Config) -> Common {
    let consistency = match config.consistency {
        Consistency::Default => "",
        Consistency::Stale => "stale",
        Consistency::Consistent => "consistent",
    };
    let mut place = String::new();
    for (key, value) in [("ns", &config.namespace), ("partition", &config.partition)] {
        if let Some(value) = value {
            _ = write!(place, "&{key}={}", encoded(value));
        }
    }
    Common { consistency, place }
}

/// The path of a key: slashes in it are those of the path.
pub(crate) fn key(name: &str) -> String {
    let parts: Vec<String> = name.split('/').map(|part| encoded(part).to_string()).collect();
    format!("{KEY}{}", parts.join("/"))
}

/// A name as a part of a path or of a parameter.
pub(crate) fn encoded(name: &str) -> PercentEncode<'_> {
    utf8_percent_encode(name, RESERVED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded() {
        assert_eq!(encoded("a/b c?ü").to_string(), "a%2Fb%20c%3F%C3%BC");
        assert_eq!(key("a/b c/"), "/v1/kv/a/b%20c/");
    }

    #[test]
    fn a_query_says_all_that_is_configured() {
        let config = Config {
            namespace: Some("shop".into()),
            partition: Some("eu".into()),
            consistency: Consistency::Stale,
            ..Config::default()
        };
        let mut query = Query::new("/v1/catalog/services", Some("dc 2"));
        query.wait = Some(Wait { index: 7, time: Duration::from_secs(1) });
        let path = query.path(&common(&config));
        assert_eq!(path, "/v1/catalog/services?stale&ns=shop&partition=eu&dc=dc%202&index=7&wait=1000ms");
        query = Query { consistent: true, wait: None, ..query };
        assert!(query.path(&common(&config)).contains("?consistent&"));
        query = Query { past_views: true, ..query };
        assert!(query.path(&common(&config)).ends_with("&near=_agent"));
        query = Query { recurse: true, past_views: false, ..query };
        assert!(query.path(&common(&config)).ends_with("&recurse"));
    }

    #[test]
    fn a_wait_is_bounded_and_never_at_index_0() {
        for _ in 0..100 {
            let wait = Wait::new(0, Duration::from_secs(30));
            assert_eq!(wait.index, 1);
            assert!(wait.time > Duration::from_secs(26) && wait.time <= Duration::from_secs(30));
        }
    }
}
