//! How one resource type stands on one stream.

use std::time::SystemTime;

use pilot_registry::Port;
use serde::{Deserialize, Serialize};

use crate::xds::Rejection;
use crate::xds::builds::Withheld;
use crate::xds::client_copy::RefusedVersion;
use crate::xds::names::Names;
use crate::xds::words::cut;

/// How many names of refused resources are kept, and of those that do not exist.
pub(crate) const NAMES_MAX: usize = 16;

/// One type on one stream, as its machine sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeStatus {
    /// Whether everything there is was subscribed to.
    pub wildcard: bool,
    /// How many names were subscribed to.
    pub names: usize,
    /// These names.
    pub asked: Names,
    /// The number of the newest mesh of which it has all that it asks for, but for what it refuses.
    pub settled: Option<u64>,
    /// Names that were subscribed to and do not exist; the first of many.
    pub missing: Vec<Box<str>>,
    /// The last response.
    pub sent: Option<Sent>,
    /// The last response that the proxy accepted.
    pub acked: Option<Acked>,
    /// The last response that the proxy refused, for as long as it refuses something.
    pub nack: Option<Box<Nack>>,
    /// What it is spared, because proxies like it refused it; the first of many.
    pub withheld: Vec<WithheldStatus>,
}

/// A response that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The version of the set that it brought the proxy to.
    pub version: Box<str>,
    /// What the proxy names it by.
    pub nonce: Box<str>,
    /// How many resources were in it.
    pub resources: usize,
    /// When.
    pub at: SystemTime,
}

/// A response that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acked {
    /// Its version.
    pub version: Box<str>,
    /// When the acknowledgement came.
    pub at: SystemTime,
}

/// A response that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nack {
    /// Its version.
    pub version: Box<str>,
    /// The proxy's own words, at most 4 KiB of them.
    pub message: Box<str>,
    /// What it refuses; the first of many.
    pub refused: Vec<RefusedStatus>,
    /// Which of many it refuses is being found out.
    pub searching: bool,
    /// When.
    pub at: SystemTime,
}

/// A resource that a proxy refuses, or a virtual host in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedStatus {
    /// The resource's name.
    pub name: String,
    /// The virtual host that is the reason, in a route configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_host: Option<String>,
    /// The refused version of it.
    pub version: String,
    /// What it is there for.
    pub origin: String,
    /// The port whose services share it, if it is there for these.
    #[serde(skip)]
    pub shared_port: Option<Port>,
    /// The proxy's own words of it.
    pub message: String,
}

/// A version that a proxy is spared: it has the last one that proxies like it accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithheldStatus {
    /// The resource's name.
    pub name: String,
    /// The virtual host, in a route configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_host: Option<String>,
    /// The refused version of it.
    pub version: String,
    /// What it is there for.
    pub origin: String,
    /// The port whose services share it, if it is there for these.
    #[serde(skip)]
    pub shared_port: Option<Port>,
    /// How many proxies of the same name and version refused it when this one came.
    pub refused_by: usize,
    /// The words of the first of them.
    pub message: String,
}

impl WithheldStatus {
    pub(crate) fn of(withheld: &Withheld) -> Self {
        let Rejection { name, host, version, origin, words, .. } = &withheld.rejection;
        Self {
            name: name.to_string(),
            virtual_host: host.as_ref().map(ToString::to_string),
            version: version.to_string(),
            origin: origin.to_string(),
            shared_port: origin.port(),
            refused_by: withheld.refused_by,
            message: words.to_string(),
        }
    }
}

impl RefusedStatus {
    /// What a proxy refuses, in its own words.
    pub(crate) fn of(refused: &RefusedVersion) -> Self {
        let Rejection { name, host, version, origin, .. } = &*refused.rejection;
        Self {
            name: name.to_string(),
            virtual_host: host.as_ref().map(ToString::to_string),
            version: version.to_string(),
            origin: origin.to_string(),
            shared_port: origin.port(),
            message: refused.words.to_string(),
        }
    }
}

impl TypeStatus {
    /// A response was sent.
    pub fn on_sent(&mut self, version: &str, nonce: &str, resources: usize) {
        self.sent =
            Some(Sent { version: version.into(), nonce: nonce.into(), resources, at: SystemTime::now() });
    }

    /// The response that brought the proxy to `version` was accepted.
    pub fn on_acked(&mut self, version: &str) {
        self.acked = Some(Acked { version: version.into(), at: SystemTime::now() });
    }

    /// What the proxy refuses now. A refusal stays visible for as long as there is something: what was accepted
    /// meanwhile may have been about other resources.
    pub fn on_refusals(&mut self, refused: Vec<RefusedStatus>, searching: bool) {
        match &mut self.nack {
            Some(nack) if searching || !refused.is_empty() => {
                (nack.refused, nack.searching) = (refused, searching);
            }
            nack => *nack = None,
        }
    }

    /// Nothing was sent, because the proxy brought all of that version from an earlier stream.
    pub fn on_brought(&mut self, version: &str) {
        if self.acked.is_none() {
            self.acked = Some(Acked { version: version.into(), at: SystemTime::now() });
        }
    }

    /// The response that was to bring the proxy to `version` was refused.
    pub fn on_nacked(&mut self, version: &str, message: &str) {
        self.nack = Some(Box::new(Nack {
            version: version.into(),
            message: cut(message).as_ref().into(),
            refused: Vec::new(),
            searching: false,
            at: SystemTime::now(),
        }));
    }

    /// Where the proxy stands.
    pub fn state(&self) -> SyncState {
        match (&self.sent, &self.acked, &self.nack) {
            (_, _, Some(_)) => SyncState::Nacked,
            (sent, acked, None) if !self.missing.is_empty() && answered(sent, acked) => SyncState::NotFound,
            (None, None, None) => SyncState::NotSent,
            (Some(sent), Some(acked), None) if sent.version == acked.version => SyncState::Acked,
            (None, Some(_), None) => SyncState::Acked,
            (Some(_), _, None) => SyncState::Stale,
        }
    }
}

/// Whether nothing is on its way to the proxy.
fn answered(sent: &Option<Sent>, acked: &Option<Acked>) -> bool {
    match (sent, acked) {
        (None, _) => true,
        (Some(sent), Some(acked)) => sent.version == acked.version,
        (Some(_), None) => false,
    }
}

/// Where a proxy stands with a type. The greater is the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncState {
    /// It accepted what was sent last.
    Acked,
    /// Nothing that it asks for was sent.
    NotSent,
    /// It asks for names that do not exist.
    NotFound,
    /// It has not said anything about what was sent last.
    Stale,
    /// It refused what was sent.
    Nacked,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_stays_until_nothing_is_refused() {
        let mut status = TypeStatus::default();
        assert_eq!(status.state(), SyncState::NotSent);
        status.on_sent("1", "a", 3);
        assert_eq!(status.state(), SyncState::Stale);
        status.on_acked("1");
        assert_eq!(status.state(), SyncState::Acked);
        status.on_sent("2", "b", 1);
        status.on_nacked("2", "no such filter");
        status.on_refusals(Vec::new(), true);
        assert_eq!(status.state(), SyncState::Nacked);
        status.on_sent("3", "c", 1);
        assert_eq!(status.state(), SyncState::Nacked);
        // Another resource, in another version.
        status.on_acked("3");
        let refused = RefusedStatus {
            name: "b".into(),
            virtual_host: None,
            version: "2".into(),
            shared_port: None,
            origin: "service b".into(),
            message: "no such filter".into(),
        };
        status.on_refusals(vec![refused.clone()], false);
        assert_eq!(status.state(), SyncState::Nacked);
        assert_eq!(status.nack.as_ref().unwrap().refused, [refused]);
        status.on_sent("3", "d", 1);
        status.on_acked("3");
        status.on_refusals(Vec::new(), false);
        assert_eq!(status.state(), SyncState::Acked);
    }
}
