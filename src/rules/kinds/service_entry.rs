//! ServiceEntry: services that no registry knows, or endpoints of one that a registry knows.

use std::collections::BTreeMap;
use std::net::IpAddr;

use pilot_registry::{Protocol, ip_address};
use schemars::JsonSchema;
use serde::Deserialize;

use super::workload_entry::WorkloadEntry;

/// Services that a document says.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceEntry {
    /// The names by which clients call them: each is a service. `*.suffix` stands for all names that end so.
    #[schemars(length(min = 1))]
    pub hosts: Vec<String>,
    /// IP addresses that stand for the service: routers listen at them on ports that are not HTTP, and HTTP requests may name
    /// them as their host.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// The ports that clients call.
    #[schemars(length(min = 1))]
    pub ports: Vec<EntryPort>,
    /// Whether the service is a part of the mesh. It decides nothing but one warning: a route to a service outside of the mesh
    /// that is called otherwise, and keeps the caller's Host.
    pub location: Option<EntryLocation>,
    /// How proxies find the addresses behind it. Without it, NONE.
    pub resolution: Option<EntryResolution>,
    /// Where it is served. With DNS and without any, at the addresses of its host.
    #[serde(default)]
    pub endpoints: Vec<WorkloadEntry>,
    /// Chooses its endpoints: WorkloadEntry documents of its namespace, and endpoints of that namespace that registries know.
    pub workload_selector: Option<EntrySelector>,
    /// The namespaces whose proxies see it: names, `.` for its own, `*` for all, `~` for none. Without any, all.
    #[serde(default)]
    pub export_to: Vec<String>,
    /// Names of which one has to be in the certificates of its endpoints, where a DestinationRule makes the connections TLS.
    /// Those of the DestinationRule count in their place.
    #[serde(default)]
    pub subject_alt_names: Vec<String>,
    /// The document's own labels: they are the service's.
    #[serde(skip)]
    pub labels: BTreeMap<String, String>,
}

/// A port of such a service.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EntryPort {
    /// The number that clients call.
    #[schemars(range(min = 1, max = 65535))]
    pub number: u16,
    /// What is spoken there: HTTP, HTTP2, GRPC, GRPC-WEB, HTTPS, TLS, TCP, MONGO, REDIS, MYSQL or UDP. TLS, and HTTPS, which
    /// is the same, pass through as they are.
    #[schemars(length(min = 1))]
    pub protocol: String,
    /// A name that no other port has, by which endpoints say their own port.
    #[schemars(length(min = 1))]
    pub name: String,
    /// The port of endpoints that say none. Without it, the same number.
    #[schemars(range(min = 1, max = 65535))]
    pub target_port: Option<u16>,
}

/// Whether a service is a part of the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EntryLocation {
    /// It is not.
    MeshExternal,
    /// It is.
    MeshInternal,
}

/// How proxies find the addresses behind a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EntryResolution {
    /// They send to the address that the client called.
    #[default]
    None,
    /// The document says them.
    Static,
    /// They resolve names, and use all addresses.
    Dns,
    /// They resolve one name, and connect to one address at a time.
    DnsRoundRobin,
    /// They resolve the name that each request has.
    DynamicDns,
}

/// Chooses workloads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EntrySelector {
    /// The labels that they have; they may have more.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

impl ServiceEntry {
    /// How proxies find the addresses.
    pub fn resolution(&self) -> EntryResolution {
        self.resolution.unwrap_or_default()
    }

    /// Whether it is outside of the mesh, which it is unless it says otherwise.
    pub fn is_external(&self) -> bool {
        self.location != Some(EntryLocation::MeshInternal)
    }

    /// An address that stands for the service.
    ///
    /// # Errors
    /// It is none, or a range of addresses.
    pub fn virtual_address(text: &str) -> Result<IpAddr, String> {
        let (ip, length) = match text.split_once('/') {
            Some((ip, length)) => (ip, Some(length)),
            None => (text, None),
        };
        let wrong = || format!("{text:?} is no address: expected one like 240.0.0.1");
        let ip = ip_address(ip).filter(|ip| !ip.is_unspecified()).ok_or_else(wrong)?;
        let whole = if ip.is_ipv4() { "32" } else { "128" };
        match length {
            None => Ok(ip),
            Some(length) if length == whole => Ok(ip),
            Some(length) if length.parse::<u8>().is_ok() => Err(format!(
                "{text} is a range of addresses, at which a proxy without traffic capture cannot listen: expected single \
                 addresses"
            )),
            Some(_) => Err(wrong()),
        }
    }
}

impl EntryPort {
    /// What is spoken there, in the words of services; `None` = it is no protocol that is known.
    pub fn spoken(&self) -> Option<Protocol> {
        Some(match self.protocol.to_ascii_uppercase().as_str() {
            "HTTP" => Protocol::Http,
            "HTTP2" | "GRPC-WEB" => Protocol::Http2,
            "GRPC" => Protocol::Grpc,
            "HTTPS" | "TLS" => Protocol::Tls,
            "TCP" | "MYSQL" => Protocol::Tcp,
            "MONGO" => Protocol::Mongo,
            "REDIS" => Protocol::Redis,
            "UDP" => Protocol::Udp,
            _ => return None,
        })
    }
}

impl EntrySelector {
    /// Whether a workload with these labels is chosen.
    pub fn chooses(&self, labels: &BTreeMap<String, String>) -> bool {
        self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
    }
}
