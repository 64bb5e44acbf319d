//! Proxies, their streams and types, as the admin server shows them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use pilot_registry::{Labels, Locality, Namespace};
use serde::{Deserialize, Serialize};

use super::status::{RefusedStatus, SyncState, TypeStatus, WithheldStatus};
use crate::proxy::Proxy;
use crate::rfc3339;

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
    /// The labels that it says it has (`metadata.LABELS`).
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
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
    /// `cds`, `eds`, `lds`, `rds`, `vhds`: those that were asked for.
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
    /// What it is spared, because proxies of the same name and version refused it; the first of many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withheld: Vec<WithheldStatus>,
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
            labels: proxy.labels.clone(),
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
            withheld: status.withheld.clone(),
        }
    }
}
