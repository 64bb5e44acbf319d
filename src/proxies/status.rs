//! The status of one resource type on one stream, and how it is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::SystemTime;

use pilot_registry::{Locality, Namespace};
use serde::{Deserialize, Serialize};

use crate::proxy::Proxy;
use crate::rfc3339;
use crate::xds::Rejection;
use crate::xds::client_copy::Refused;
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
    /// Names that were subscribed to and do not exist; the first of many.
    pub missing: Vec<Box<str>>,
    /// The last response.
    pub sent: Option<Sent>,
    /// The last response that the proxy accepted.
    pub acked: Option<Acked>,
    /// The last response that the proxy refused, for as long as it refuses something.
    pub nack: Option<Box<Nack>>,
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
    /// The proxy's own words of it.
    pub message: String,
}

impl RefusedStatus {
    /// What a proxy refuses, in its own words.
    pub(crate) fn of(refused: &Refused) -> Self {
        let Rejection { name, host, version, origin, .. } = &*refused.rejection;
        Self {
            name: name.to_string(),
            virtual_host: host.as_ref().map(ToString::to_string),
            version: version.to_string(),
            origin: origin.to_string(),
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
            message: cut(message).into(),
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

/// A proxy and its streams, to be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyStatus {
    /// The node id.
    pub id: String,
    /// `node.cluster`.
    pub cluster: String,
    /// `sidecar`, `router` or `ingress`.
    pub role: String,
    /// The client's name and version.
    pub user_agent: String,
    /// Why its version is not supported; `None` = it is, or it is not known.
    #[serde(default)]
    pub unsupported: Option<String>,
    /// The IP address that its streams come from.
    #[serde(default)]
    pub peer: Option<IpAddr>,
    /// All IP addresses from which proxies of this node id come. More than one: they share the id.
    #[serde(default)]
    pub peers: Vec<IpAddr>,
    /// How many connections its streams are on.
    #[serde(default)]
    pub connections: usize,
    /// The address in its id, by which its workload is found; none where that is no address, or loopback.
    #[serde(default)]
    pub address: Option<IpAddr>,
    /// `node.locality`: where it says that it runs.
    #[serde(default)]
    pub locality: Locality,
    /// The namespace that it says it is in, which decides what short names mean to it.
    #[serde(default)]
    pub namespace: Option<Namespace>,
    /// Its streams, oldest first.
    pub streams: Vec<StreamStatus>,
}

/// One stream, to be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamStatus {
    /// `ads` or `per_type`.
    pub transport: String,
    /// Delta or state of the world.
    pub delta: bool,
    /// The address that the stream came from, where there is one.
    pub peer: Option<String>,
    /// What the configuration of the proxy depends on.
    pub scope: String,
    /// When it came (RFC 3339).
    pub connected_at: String,
    /// `cds`, `eds`, `lds`, `rds`: those that were asked for.
    pub types: BTreeMap<String, TypeReport>,
    /// URLs of types that were asked for and do not exist here.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unknown_types: BTreeSet<String>,
}

/// One type on one stream, to be shown. Times are RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeReport {
    /// Where the proxy stands.
    pub state: SyncState,
    /// Whether everything there is was subscribed to.
    pub wildcard: bool,
    /// How many names were subscribed to.
    pub names: usize,
    /// Names that were subscribed to and do not exist; the first of many.
    #[serde(default)]
    pub not_found: Vec<NotFound>,
    /// The version that was sent last.
    pub sent_version: Option<String>,
    /// The nonce of what was sent last.
    pub nonce: Option<String>,
    /// How many resources were sent last.
    pub resources: Option<usize>,
    /// When it was sent.
    pub sent_at: Option<String>,
    /// The version that was accepted last.
    pub acked_version: Option<String>,
    /// When it was accepted.
    pub acked_at: Option<String>,
    /// What was refused.
    pub nack: Option<NackReport>,
}

/// A name that does not exist, to be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotFound {
    /// The name that the proxy asks for.
    pub name: String,
    /// What is known of it: the protocol that the service speaks, or a name that it may be meant to be. Empty
    /// where nothing is.
    #[serde(default)]
    pub hint: String,
}

/// A refusal, to be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NackReport {
    /// The version of the response that was refused last.
    pub version: String,
    /// The proxy's own words.
    pub message: String,
    /// What it refuses, and nothing else; the first of many.
    #[serde(default)]
    pub refused: Vec<RefusedStatus>,
    /// Which of many it refuses is being found out.
    #[serde(default)]
    pub searching: bool,
    /// When (RFC 3339).
    pub at: String,
}

impl ProxyStatus {
    pub(super) fn of(proxy: &Proxy, peer: Option<IpAddr>) -> Self {
        Self {
            unsupported: proxy.unsupported(),
            peer,
            peers: Vec::new(),
            connections: 0,
            id: proxy.id.as_ref().into(),
            cluster: proxy.cluster.as_ref().into(),
            role: proxy.role.as_str().into(),
            user_agent: proxy.user_agent.as_ref().into(),
            address: proxy.address,
            locality: proxy.locality.clone(),
            namespace: proxy.namespace.clone(),
            streams: Vec::new(),
        }
    }
}

impl NotFound {
    fn of(name: &str) -> Self {
        Self { name: name.to_owned(), hint: String::new() }
    }
}

impl TypeReport {
    pub(super) fn of(status: &TypeStatus) -> Self {
        let (sent, acked) = (status.sent.as_ref(), status.acked.as_ref());
        Self {
            state: status.state(),
            wildcard: status.wildcard,
            names: status.names,
            not_found: status.missing.iter().map(|name| NotFound::of(name)).collect(),
            sent_version: sent.map(|sent| sent.version.to_string()),
            nonce: sent.map(|sent| sent.nonce.to_string()),
            resources: sent.map(|sent| sent.resources),
            sent_at: sent.map(|sent| rfc3339::format(sent.at)),
            acked_version: acked.map(|acked| acked.version.to_string()),
            acked_at: acked.map(|acked| rfc3339::format(acked.at)),
            nack: status.nack.as_ref().map(|nack| NackReport {
                version: nack.version.to_string(),
                message: nack.message.to_string(),
                refused: nack.refused.clone(),
                searching: nack.searching,
                at: rfc3339::format(nack.at),
            }),
        }
    }
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

    #[test]
    fn a_long_refusal_is_cut_between_characters() {
        let mut status = TypeStatus::default();
        status.on_nacked("1", &"€".repeat(5000));
        let message = status.nack.unwrap().message;
        assert!(message.len() <= 4096 && message.len() > 4096 - 4);
        assert!(message.chars().all(|c| c == '€'));
    }
}
