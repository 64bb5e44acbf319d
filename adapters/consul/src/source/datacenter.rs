//! The watches of a datacenter as a whole.

use std::collections::BTreeMap;

use pilot_registry::RegistryError;
use serde::Deserialize;
use tokio::time::Instant;

use super::index::Index;
use super::names::{Names, NoHosts};

/// A datacenter that is followed.
#[derive(Debug, Default)]
pub(super) struct Datacenter {
    /// As the agent is asked for it; `None` is the agent's own.
    pub(super) name: Option<String>,
    pub(super) names_index: Index,
    /// `None` until the list is known.
    pub(super) names: Option<Names>,
    /// Left out of the names.
    pub(super) no_hosts: NoHosts,
    /// The key that leaves all names out, and in which words.
    pub(super) nothing: Option<(&'static str, String)>,
    /// When the names were asked for last.
    pub(super) asked: Option<Instant>,
    pub(super) troubled: BTreeMap<Trouble, Troubled>,
}

/// A state of checks that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    Critical,
    Warning,
}

/// The checks that are in one state.
#[derive(Debug, Default)]
pub(super) struct Troubled {
    pub(super) index: Index,
    checks: Option<BTreeMap<(String, String), String>>,
}

/// What a change of checks is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Concerned {
    /// The service of that name.
    Service(String),
    /// All services on that node.
    Node(String),
    /// It is not known: this is the first list.
    Everything,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    node: String,
    #[serde(rename = "CheckID")]
    id: String,
    #[serde(default)]
    service_name: String,
}

impl Trouble {
    pub(super) const ALL: [Self; 2] = [Self::Critical, Self::Warning];

    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Critical => "/v1/health/state/critical",
            Self::Warning => "/v1/health/state/warning",
        }
    }
}

impl Troubled {
    /// Takes the list as it is now, and says whom the difference concerns.
    pub(super) fn take(&mut self, path: &str, body: &[u8]) -> Result<Vec<Concerned>, RegistryError> {
        let list: Vec<Check> = serde_json::from_slice(body).map_err(|error| {
            RegistryError::malformed(format!("{path}: expected a list of checks")).caused_by(error)
        })?;
        let now: BTreeMap<_, _> =
            list.into_iter().map(|check| ((check.node, check.id), check.service_name)).collect();
        let Some(before) = self.checks.replace(now) else { return Ok(vec![Concerned::Everything]) };
        let now = self.checks.iter().flatten();
        let came = now.filter(|(check, service)| before.get(*check) != Some(service));
        let gone = before
            .iter()
            .filter(|(check, service)| self.checks.as_ref().and_then(|now| now.get(*check)) != Some(service));
        let concerned = |((node, _), service): (&(String, String), &String)| match service.as_str() {
            "" => Concerned::Node(node.clone()),
            name => Concerned::Service(name.to_owned()),
        };
        let mut concerned: Vec<_> = came.chain(gone).map(concerned).collect();
        concerned.sort();
        concerned.dedup();
        Ok(concerned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_names_whom_it_concerns() {
        let mut troubled = Troubled::default();
        let mut take = |body: &str| troubled.take("", body.as_bytes()).unwrap();
        let web = r#"{"Node":"n1","CheckID":"c1","ServiceName":"web"}"#;
        let node = r#"{"Node":"n2","CheckID":"serfHealth","ServiceName":""}"#;
        assert_eq!(take(&format!("[{web}]")), [Concerned::Everything]);
        assert_eq!(take(&format!("[{web}]")), []);
        assert_eq!(take(&format!("[{node},{web}]")), [Concerned::Node("n2".into())]);
        assert_eq!(take(&format!("[{node}]")), [Concerned::Service("web".into())]);
        assert_eq!(take("[]"), [Concerned::Node("n2".into())]);
        assert!(troubled.take("", b"{}").is_err());
    }
}
