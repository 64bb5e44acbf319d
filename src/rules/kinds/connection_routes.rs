//! Rules for connections: TLS by SNI, and TCP.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;

use super::common::Destination;

/// A rule for TLS connections that proxies do not end.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-removed" = {"name": "rules for connections have no names: leave it out"}))]
pub struct TlsRoute {
    /// Which connections it is for: those that fulfil one of these.
    #[serde(rename = "match")]
    #[schemars(length(min = 1))]
    pub matches: Vec<TlsMatch>,
    /// Where they go.
    #[schemars(length(min = 1))]
    pub route: Vec<ConnectionDestination>,
}

/// A rule for TCP connections.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-removed" = {"name": "rules for connections have no names: leave it out"}))]
pub struct TcpRoute {
    /// Which connections it is for: those that fulfil one of these. None: all.
    #[serde(default, rename = "match")]
    pub matches: Vec<TcpMatch>,
    /// Where they go.
    #[schemars(length(min = 1))]
    pub route: Vec<ConnectionDestination>,
}

/// Conditions of which all have to be fulfilled.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-removed" = {"sourceSubnet": "write sourceLabels or sourceNamespace"}))]
pub struct TlsMatch {
    /// The names that clients ask for (SNI), `*.suffix` too. Each is within a host of the document.
    #[schemars(length(min = 1))]
    pub sni_hosts: Vec<String>,
    /// Networks of which one has the address that clients call.
    #[serde(default)]
    pub destination_subnets: Vec<String>,
    /// The service's port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Labels that the workload of the calling proxy has.
    #[serde(default)]
    pub source_labels: BTreeMap<String, String>,
    /// The gateways at which it counts, instead of the document's.
    #[serde(default)]
    pub gateways: Vec<String>,
    /// The namespace of the calling proxy.
    #[schemars(length(min = 1))]
    pub source_namespace: Option<String>,
}

/// Conditions of which all have to be fulfilled.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-removed" = {"sourceSubnet": "write sourceLabels or sourceNamespace"}))]
pub struct TcpMatch {
    /// Networks of which one has the address that clients call.
    #[serde(default)]
    pub destination_subnets: Vec<String>,
    /// The service's port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Labels that the workload of the calling proxy has.
    #[serde(default)]
    pub source_labels: BTreeMap<String, String>,
    /// The gateways at which it counts, instead of the document's.
    #[serde(default)]
    pub gateways: Vec<String>,
    /// The namespace of the calling proxy.
    #[schemars(length(min = 1))]
    pub source_namespace: Option<String>,
}

/// A destination, and its share of the connections.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-removed" = {"headers": "connections have no headers: leave it out"}))]
pub struct ConnectionDestination {
    /// Where they go.
    pub destination: Destination,
    /// Its share, relative to the sum of all. One that is alone gets all.
    #[serde(default)]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub weight: u32,
}

/// For which proxies a condition of a rule is.
#[derive(Clone, Copy, Debug)]
pub struct SourceCondition<'a> {
    /// Labels that the workload of the calling proxy has.
    pub labels: &'a BTreeMap<String, String>,
    /// Its namespace; `None` = any.
    pub namespace: Option<&'a str>,
    /// The gateways at which it counts; none = the document's.
    pub gateways: &'a [String],
}

/// A condition that is decided when a connection comes in to an address, by whomever.
pub trait ConnectionMatch {
    /// For which proxies it is.
    fn source(&self) -> SourceCondition<'_>;
    /// Networks of which one has the address; none = any address.
    fn subnets(&self) -> &[String];
    /// The service's port; `None` = any.
    fn port(&self) -> Option<u16>;
}

macro_rules! connection_match {
    ($kind:ty) => {
        impl ConnectionMatch for $kind {
            fn source(&self) -> SourceCondition<'_> {
                let (labels, gateways) = (&self.source_labels, &self.gateways);
                SourceCondition { labels, namespace: self.source_namespace.as_deref(), gateways }
            }

            fn subnets(&self) -> &[String] {
                &self.destination_subnets
            }

            fn port(&self) -> Option<u16> {
                self.port
            }
        }
    };
}

connection_match!(TlsMatch);
connection_match!(TcpMatch);

/// A network as documents write it: an address, or one with the length of its prefix.
pub fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}
