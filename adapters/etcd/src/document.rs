//! The values: JSON objects. A field that is not known is an error that names it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use pilot_registry::{
    Address, Health, Hostname, Labels, Locality, Namespace, Port, Protocol, RegisteredPort, Registration,
    Resolution, SpiffeId, Visibility, Weight,
};
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};

/// The JSON schema (draft 2020-12) of the value of a key `<prefix>/v1/services/<host>`.
pub fn service_schema() -> Schema {
    schema_for!(Description)
}

/// The JSON schema (draft 2020-12) of the value of a key `<prefix>/v1/instances/<host>/<id>`.
pub fn instance_schema() -> Schema {
    schema_for!(Instance)
}

/// What clients call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Description {
    /// The ports that clients call.
    #[schemars(length(min = 1))]
    pub(crate) ports: Vec<DescribedPort>,
    /// Other names by which clients reach it.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(crate) aliases: Vec<Hostname>,
    /// IP addresses that stand for the service as a whole.
    #[serde(default)]
    pub(crate) virtual_addresses: Vec<IpAddr>,
    /// How the proxy finds the addresses behind the service: by its instances ("endpoints"), by DNS ("dns"),
    /// or not at all: it sends to the address that the client called ("passthrough").
    #[serde(default)]
    #[schemars(with = "String", extend("enum" = ["endpoints", "dns", "passthrough"]))]
    pub(crate) resolution: Resolution,
    /// Its place among others of its kind.
    #[serde(default)]
    #[schemars(with = "String")]
    pub(crate) namespace: Namespace,
    /// The namespaces whose clients see it: ["."] = its own, ["*"] = all (the default), ["~"] = none, or names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub(crate) export_to: Option<Vec<String>>,
    /// The service's own labels.
    #[serde(default)]
    pub(crate) labels: Labels,
    /// SPIFFE ids of those who may serve it.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(crate) identities: Vec<SpiffeId>,
}

/// A port that clients call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DescribedPort {
    /// The port's number.
    #[schemars(with = "u16", range(min = 1))]
    pub(crate) number: Port,
    /// A name that is unique in the service; by default protocol and number: "http-9080".
    #[schemars(length(min = 1))]
    pub(crate) name: Option<String>,
    /// What is spoken on it: http, http2, grpc, tls, tcp, mongo, redis or udp.
    #[schemars(with = "String", extend("enum" = Protocol::ALL.map(Protocol::as_str)))]
    pub(crate) protocol: Protocol,
}

/// One instance of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
// What `parse` refuses, as far as a schema can say it.
#[schemars(extend(
    "not" = { "required": ["port", "ports"], "properties": { "ports": { "minProperties": 1 } } },
    "dependentRequired" = { "protocol": ["port"], "protocols": ["ports"] },
))]
pub(crate) struct Instance {
    /// Where it listens: an IP address, "unix:/path", or for a service with resolution "dns" a name.
    #[schemars(with = "String", extend("pattern" = "^(unix:/.{0,106}|[0-9A-Za-z_.:-]+)$"))]
    pub(crate) address: Address,
    /// Its port, if it has one only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u16", range(min = 1))]
    pub(crate) port: Option<Port>,
    /// What is spoken on that port, where no description says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("enum" = Protocol::ALL.map(Protocol::as_str)))]
    pub(crate) protocol: Option<Protocol>,
    /// Its ports, by the names or the numbers of the service's ports.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, PortNumber>", extend("propertyNames" = { "minLength": 1 }))]
    pub(crate) ports: BTreeMap<String, Port>,
    /// What is spoken on the ports, where no description says it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, ProtocolName>")]
    pub(crate) protocols: BTreeMap<String, Protocol>,
    /// Its share of the traffic, relative to the other instances: 1 to 1000000.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(with = "u32", range(min = 1, max = 1_000_000))]
    pub(crate) weight: Weight,
    /// Its own labels: {"version": "v1"}.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: Labels,
    /// Where it runs.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(with = "Place")]
    pub(crate) locality: Locality,
    /// Whether it works; by default nobody says.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(with = "String", extend("enum" = ["healthy", "warning", "unhealthy", "draining", "unknown"]))]
    pub(crate) health: Health,
    /// Its SPIFFE id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub(crate) identity: Option<SpiffeId>,
}

/// For the schema only: where an instance runs.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[allow(dead_code, reason = "the type is read by the derive only")]
struct Place {
    /// A cloud's region or a datacenter.
    region: Option<String>,
    /// An availability zone.
    zone: Option<String>,
    /// A rack.
    sub_zone: Option<String>,
}

/// For the schema only: a port's number.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "the type is read by the derive only")]
struct PortNumber(#[schemars(range(min = 1))] u16);

/// For the schema only: what is spoken on a port.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "the type is read by the derive only")]
struct ProtocolName(#[schemars(extend("enum" = Protocol::ALL.map(Protocol::as_str)))] String);

impl Description {
    pub(crate) fn parse(json: &[u8]) -> Result<Self, String> {
        let description: Self = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        match description.ports.iter().find(|port| port.name.as_deref() == Some("")) {
            Some(port) => Err(format!("the name of port {} is empty", port.number)),
            None => description.visibility().map(|_| description),
        }
    }

    /// Which clients see the service.
    pub(crate) fn visibility(&self) -> Result<Visibility, String> {
        let Some(words) = &self.export_to else { return Ok(Visibility::Everybody) };
        let words = words.iter().map(String::as_str);
        Visibility::of_words(words, &self.namespace).map_err(|error| error.to_string())
    }
}

impl Instance {
    pub(crate) fn parse(json: &[u8]) -> Result<Self, String> {
        let instance: Self = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        if instance.port.is_some() && !instance.ports.is_empty() {
            return Err("the port is said twice: expected port or ports".into());
        }
        if instance.protocol.is_some() && instance.port.is_none() {
            return Err("protocol without port: expected port, or ports and protocols".into());
        }
        if let Some(name) = instance.protocols.keys().find(|name| !instance.ports.contains_key(*name)) {
            return Err(format!("protocols names {name:?}, which is not in ports"));
        }
        if instance.ports.contains_key("") {
            return Err("ports has a port without a name: expected port for the only one".into());
        }
        Ok(instance)
    }

    /// What a registration looks like in that condition.
    pub(crate) fn of(registration: &Registration, health: Health) -> Self {
        let Registration { address, ports, labels, weight, locality, .. } = registration;
        let only = ports.get("").filter(|_| ports.len() == 1);
        let named: Vec<(&String, &RegisteredPort)> = ports.iter().filter(|_| only.is_none()).collect();
        let protocol = |(name, port): &(&String, &RegisteredPort)| Some(((*name).clone(), port.protocol?));
        Self {
            address: Address::Ip(*address),
            port: only.map(|port| port.number),
            protocol: only.and_then(|port| port.protocol),
            ports: named.iter().map(|(name, port)| ((*name).clone(), port.number)).collect(),
            protocols: named.iter().filter_map(protocol).collect(),
            weight: *weight,
            labels: labels.clone(),
            locality: locality.clone(),
            health,
            identity: None,
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests;
