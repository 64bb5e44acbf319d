//! What is told of the way of a request.

use serde::{Deserialize, Serialize};

use crate::translate::rules::Lost;

/// The way of a request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExplainReport {
    /// The node id of the proxy.
    pub proxy: String,
    /// Whether it is connected.
    pub connected: bool,
    /// What its configuration depends on.
    pub scope: String,
    /// The method, and the URL without what does not count.
    pub request: String,
    /// Where the request enters.
    pub listener: Option<ListenerStep>,
    /// Who has the host.
    pub virtual_host: Option<HostStep>,
    /// The routes that are looked at, in order: the last one is for the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteStep>,
    /// The rules of the document that are for other proxies or ports only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOutReport>,
    /// Documents about the host that do not count for the proxy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadowed: Vec<ShadowedReport>,
    /// What becomes of the request, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outcome: Vec<String>,
    /// Where it goes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<DestinationReport>,
}

/// A listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerStep {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub address: Option<String>,
    /// What it is there for.
    pub origin: String,
}

/// A virtual host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStep {
    /// The route configuration that it is in.
    pub routes: String,
    /// Its name.
    pub name: String,
    /// The domain of it that the Host header fits.
    pub domain: String,
    /// What it is there for: a document, or a service.
    pub origin: String,
}

/// A route that is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteStep {
    /// Its place among the routes of the virtual host, from 1.
    pub number: usize,
    /// Its name, for logs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The rule of the document: `spec.http[0]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Why it is not for the request; `None` = it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
    /// What nobody can decide beforehand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<String>,
}

/// A rule that is for other proxies or ports only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOutReport {
    /// The rule of the document: `spec.http[0]`.
    pub rule: String,
    /// Why it is.
    pub why: String,
}

/// A document that does not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowedReport {
    /// The document.
    pub document: String,
    /// Why it does not count.
    pub why: String,
}

impl From<Lost> for ShadowedReport {
    fn from(Lost { document, why }: Lost) -> Self {
        Self { document, why }
    }
}

/// A cluster to which requests go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DestinationReport {
    /// Which requests, where it is not all: a share, or copies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<String>,
    /// Its name.
    pub cluster: String,
    /// The service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The subset of it; empty = all of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subset: String,
    /// The DestinationRules that say how it is used, the first first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// The DestinationRules that do not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadowed: Vec<ShadowedReport>,
    /// Its endpoints.
    pub endpoints: Vec<EndpointStep>,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// An endpoint of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointStep {
    /// Its address and port.
    pub address: String,
    /// As the proxy is told: `unknown`, `healthy`, `unhealthy`, `draining` and others.
    pub health: String,
    /// 0 is used first.
    pub priority: u32,
    /// Its share among those of its priority, or of its place, where places have shares.
    pub weight: u32,
    /// The share of requests, in percent, that its place gets of its priority, where a document says that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place_share: Option<u32>,
    /// The region that it is in.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// The zone that it is in.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub zone: String,
}
