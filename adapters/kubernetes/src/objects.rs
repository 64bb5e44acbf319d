//! The API server's objects with the fields that the adapter uses. All other fields are dropped while
//! parsing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use pilot_registry::Labels;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Namespace and name of an object. The namespace of what has none is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.is_empty() {
            true => f.write_str(&self.name),
            false => write!(f, "{}/{}", self.namespace, self.name),
        }
    }
}

/// `ObjectMeta` of meta/v1.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Meta {
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) namespace: String,
    #[serde(default)]
    pub(crate) resource_version: String,
    #[serde(default)]
    pub(crate) labels: Option<Labels>,
    #[serde(default)]
    pub(crate) annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(crate) creation_timestamp: Option<String>,
}

/// A document of rules: `spec` is not read here.
#[derive(Debug, Deserialize)]
pub(crate) struct Document<'a> {
    #[serde(default)]
    pub(crate) metadata: Meta,
    #[serde(borrow)]
    pub(crate) spec: Option<&'a RawValue>,
}

/// Any object: what can be read of one that makes no sense otherwise, too.
#[derive(Debug, Deserialize)]
pub(crate) struct Any {
    #[serde(default)]
    pub(crate) metadata: Meta,
}

/// `Service` of core/v1.
#[derive(Debug, Deserialize)]
pub(crate) struct Service {
    pub(crate) metadata: Meta,
    pub(crate) spec: ServiceSpec,
}

/// `ServiceSpec` of core/v1.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ServiceSpec {
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    #[serde(rename = "clusterIP")]
    pub(crate) cluster_ip: Option<String>,
    #[serde(rename = "clusterIPs")]
    pub(crate) cluster_ips: Option<Vec<String>>,
    pub(crate) ip_families: Option<Vec<String>>,
    pub(crate) external_name: Option<String>,
    pub(crate) ports: Option<Vec<ServicePort>>,
}

/// `ServicePort` of core/v1.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServicePort {
    pub(crate) name: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) app_protocol: Option<String>,
    pub(crate) port: u32,
}

/// `EndpointSlice` of discovery.k8s.io/v1.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndpointSlice {
    pub(crate) metadata: Meta,
    #[serde(default)]
    pub(crate) address_type: String,
    pub(crate) endpoints: Option<Vec<Endpoint>>,
    pub(crate) ports: Option<Vec<EndpointPort>>,
}

/// `Endpoint` of discovery.k8s.io/v1.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Endpoint {
    pub(crate) addresses: Vec<String>,
    #[serde(default)]
    pub(crate) conditions: Option<Conditions>,
    pub(crate) node_name: Option<String>,
    pub(crate) zone: Option<String>,
    pub(crate) hints: Option<Hints>,
    pub(crate) target_ref: Option<Reference>,
}

/// `EndpointHints` of discovery.k8s.io/v1.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Hints {
    pub(crate) for_zones: Option<Vec<ForZone>>,
}

/// `ForZone` of discovery.k8s.io/v1.
#[derive(Debug, Deserialize)]
pub(crate) struct ForZone {
    pub(crate) name: String,
}

/// `EndpointConditions` of discovery.k8s.io/v1.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Conditions {
    pub(crate) ready: Option<bool>,
    pub(crate) serving: Option<bool>,
    pub(crate) terminating: Option<bool>,
}

/// `ObjectReference` of core/v1.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Reference {
    pub(crate) kind: Option<String>,
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
}

/// `EndpointPort` of discovery.k8s.io/v1.
#[derive(Debug, Deserialize)]
pub(crate) struct EndpointPort {
    pub(crate) name: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) port: Option<u32>,
}

/// `Pod` of core/v1; without its spec where only metadata was asked for.
#[derive(Debug, Deserialize)]
pub(crate) struct Pod {
    pub(crate) metadata: Meta,
    pub(crate) spec: Option<PodSpec>,
}

/// `PodSpec` of core/v1.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodSpec {
    pub(crate) service_account_name: Option<String>,
}
