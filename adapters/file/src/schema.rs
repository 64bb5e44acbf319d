//! The JSON schema of a file of services, for editors. Only for that: reading is in `convert`, and a test
//! holds the two together.
#![allow(dead_code, reason = "the types are read by the derive only")]

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, schema_for};

/// The JSON schema of a file of services, in TOML, YAML or JSON.
pub fn schema() -> Schema {
    schema_for!(Services)
}

/// A file of services for pilot.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Services {
    /// The services. A file without any says so with an empty list.
    service: Vec<Service>,
}

/// What clients call, and where it is served.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Service {
    /// The DNS name by which clients reach the service, and its name everywhere.
    host: String,
    /// Other names by which clients reach it.
    #[schemars(default)]
    aliases: Vec<String>,
    /// The ports that clients call.
    #[schemars(length(min = 1))]
    ports: Vec<Port>,
    /// Virtual IP addresses that stand for the service as a whole.
    #[schemars(default)]
    addresses: Vec<std::net::IpAddr>,
    /// How the proxy finds the addresses behind the service.
    #[schemars(default)]
    resolution: Resolution,
    /// Its place among others of its kind.
    #[schemars(default = "default_namespace")]
    namespace: String,
    /// The namespaces whose clients see it: ["."] = its own, ["*"] = all, ["~"] = none, or names.
    #[schemars(default = "everybody", length(min = 1))]
    export_to: Vec<String>,
    /// The service's own labels.
    #[schemars(default)]
    labels: BTreeMap<String, String>,
    /// SPIFFE ids of those who may serve it.
    #[schemars(default)]
    identities: Vec<String>,
    /// How proxies find out for themselves which endpoints serve. By default they do not.
    health_check: Option<HealthCheck>,
    /// With resolution = "dns": whether HTTP requests arrive with the endpoint's name as their host.
    #[schemars(default)]
    rewrite_host: bool,
    /// Where it is served.
    #[schemars(default)]
    endpoints: Vec<Endpoint>,
}

fn everybody() -> Vec<String> {
    vec!["*".to_owned()]
}

fn default_namespace() -> String {
    "default".to_owned()
}

/// A port that clients call.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Port {
    /// The port's number.
    #[schemars(range(min = 1, max = 65535))]
    port: u16,
    /// What is spoken on it.
    protocol: Protocol,
    /// A name that is unique in the service; by default protocol and number: "http-9080".
    name: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Protocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/2 without TLS.
    Http2,
    /// gRPC.
    Grpc,
    /// TLS that passes through untouched.
    Tls,
    /// Bytes.
    Tcp,
    /// MongoDB's wire protocol.
    Mongo,
    /// Redis.
    Redis,
    /// Datagrams.
    Udp,
}

#[derive(Default, JsonSchema, serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum Resolution {
    /// They are given as endpoints: IP addresses and Unix sockets.
    #[default]
    Endpoints,
    /// The proxy resolves the endpoints' names, or the service's own where there are no endpoints.
    Dns,
    /// The proxy sends to the address that the client called.
    Passthrough,
}

/// A check that each proxy makes of each endpoint: one of http, grpc and tcp.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct HealthCheck {
    /// A path that is to be answered by 200.
    http: Option<String>,
    /// The service about which grpc.health.v1.Health is asked; "" = all of the server.
    grpc: Option<String>,
    /// true: a connection is to be accepted.
    tcp: Option<bool>,
    /// The endpoint's port that is asked. By default the one that it serves with.
    #[schemars(range(min = 1, max = 65535))]
    port: Option<u16>,
    /// From one check to the next.
    #[schemars(default = "default_interval")]
    interval: String,
    /// An answer that takes longer is a failure.
    #[schemars(default = "default_timeout")]
    timeout: String,
    /// After so many failures in a row the endpoint gets no more traffic.
    #[schemars(default = "default_failures", range(min = 1))]
    failures: u32,
    /// After so many passes in a row it gets traffic again.
    #[schemars(default = "default_successes", range(min = 1))]
    successes: u32,
}

fn default_interval() -> String {
    "5s".to_owned()
}

fn default_timeout() -> String {
    "2s".to_owned()
}

fn default_failures() -> u32 {
    3
}

fn default_successes() -> u32 {
    1
}

/// One place where the service is served.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Endpoint {
    /// "127.0.0.1:8080", "[::1]:8080", an IP address alone, "unix:/path", or with resolution = "dns" a name.
    /// A port here is for services with exactly one port.
    address: String,
    /// The endpoint's port, for services with exactly one port; by default the service's own.
    #[schemars(range(min = 1, max = 65535))]
    port: Option<u16>,
    /// The endpoint's ports by number or name of the service's port. Ports that are not named here are not
    /// served by this endpoint. By default all, with the service's own numbers.
    ports: Option<BTreeMap<String, EndpointPort>>,
    /// The endpoint's own labels: { version = "v1" }.
    #[schemars(default)]
    labels: BTreeMap<String, String>,
    /// Its share of the traffic, relative to the other endpoints.
    #[schemars(default = "default_weight", range(min = 1, max = 1_000_000))]
    weight: u32,
    /// Whether it works.
    #[schemars(default)]
    health: Health,
    /// Where it runs: a cloud's region or a datacenter.
    region: Option<String>,
    /// Where it runs: an availability zone.
    zone: Option<String>,
    /// Where it runs: a rack.
    sub_zone: Option<String>,
    /// Its SPIFFE id.
    identity: Option<String>,
}

fn default_weight() -> u32 {
    1
}

/// A port of an endpoint.
#[derive(JsonSchema)]
struct EndpointPort(#[schemars(range(min = 1, max = 65535))] u16);

#[derive(Default, JsonSchema, serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum Health {
    /// It is checked and passes.
    Healthy,
    /// It works, with a warning.
    Warning,
    /// It fails its checks.
    Unhealthy,
    /// It finishes what it has and takes nothing new.
    Draining,
    /// Nobody checks it.
    #[default]
    Unknown,
}
