//! Bootstrap documents, with which a client finds pilot: Envoy's, and a gRPC client's.
//!
//! Pure: options in, a document out.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use pilot_registry::{Address, Locality, Port};
use serde_json::{Value, json};

use crate::proxy::DEFAULT_XDS_CLUSTER;

/// What a bootstrap is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootstrapOptions {
    /// Who the client is.
    pub node_id: String,
    /// The group of clients that it is in. Envoy does not start without one: an empty one is written as
    /// [`DEFAULT_NODE_CLUSTER`].
    pub node_cluster: String,
    /// Where the client runs. Empty parts are not written.
    pub locality: Locality,
    /// Its namespace (`metadata.NAMESPACE`), if it is said.
    pub namespace: Option<String>,
    /// Its labels (`metadata.LABELS`), which rules may ask for.
    pub labels: BTreeMap<String, String>,
    /// Where pilot serves xDS: at least one address, and one for each replica.
    pub xds: Vec<XdsAddress>,
    /// Where Envoy serves its own admin pages, if at all.
    pub admin: Option<SocketAddr>,
    /// One stream for all types, or a stream for each.
    pub streams: Streams,
    /// Delta, or state of the world.
    pub delta: bool,
}

/// How many streams an Envoy opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streams {
    /// One for all types, which keeps updates in order.
    Aggregated,
    /// One for each type.
    PerType,
}

/// Where pilot serves xDS: `127.0.0.1:18000`, `[::1]:18000`, `pilot.example.com:18000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XdsAddress {
    host: Address,
    port: Port,
}

/// A text that is not an [`XdsAddress`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an address of pilot: {why}; expected host:port, for example \"127.0.0.1:18000\"")]
pub struct XdsAddressError {
    text: String,
    why: String,
}

impl FromStr for XdsAddress {
    type Err = XdsAddressError;

    fn from_str(text: &str) -> Result<Self, XdsAddressError> {
        let text = text.trim();
        let refused = |why: String| XdsAddressError { text: text.to_owned(), why };
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(refused(format!("it has a scheme: leave out {scheme}://")));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(|| refused("it has no port".into()))?;
        let port = port.parse().map_err(|error: pilot_registry::ModelError| refused(error.to_string()))?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if bare.is_none() && host.contains(':') {
            return Err(refused("an IPv6 address stands in brackets".into()));
        }
        match bare.unwrap_or(host).parse::<Address>() {
            Ok(Address::Unix(_)) => Err(refused("a Unix socket has no port".into())),
            Ok(host) => Ok(Self { host, port }),
            Err(error) => Err(refused(error.to_string())),
        }
    }
}

impl XdsAddress {
    /// The port.
    pub fn port(&self) -> Port {
        self.port
    }
}

impl From<SocketAddr> for XdsAddress {
    /// The address by which a client on the same machine reaches a server that listens there. Port 0,
    /// by which nothing is reached, becomes the default port.
    fn from(listen: SocketAddr) -> Self {
        let ip = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        let number = if listen.port() == 0 { DEFAULT_XDS_PORT } else { listen.port() };
        let port = Port::try_from(u32::from(number)).expect("the number is not 0");
        Self { host: Address::Ip(ip), port }
    }
}

/// `node.cluster` where nobody says another.
pub const DEFAULT_NODE_CLUSTER: &str = "local";

/// The port of xDS in pilot.toml and in Envoy's own samples.
pub const DEFAULT_XDS_PORT: u16 = 18_000;

impl fmt::Display for XdsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Address::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

/// How long Envoy waits before it asks pilot again, at least and at most: a random time below a limit that doubles
/// from the first to the second. Envoy's own longest is 30 s, which is long for a pilot that was restarted.
const RETRY: (&str, &str) = ("0.2s", "3s");

/// How long a replica has to accept a connection until the next one is tried.
const CONNECT_TIMEOUT: &str = "2s";

/// How large the program of a regular expression of a rule may be. Envoy's own limit is 100, which a list of a few
/// words exceeds.
const REGEX_SIZE: u32 = 32_768;

/// Envoy's bootstrap.
pub fn envoy(options: &BootstrapOptions) -> Value {
    let mut bootstrap = json!({
        "node": node(options),
        "dynamic_resources": dynamic_resources(options),
        "static_resources": { "clusters": [xds_cluster(&options.xds)] },
        "layered_runtime": { "layers": [
            { "name": "pilot", "static_layer": { "re2.max_program_size.error_level": REGEX_SIZE } },
            { "name": "admin", "admin_layer": {} },
        ] },
    });
    if let Some(admin) = options.admin {
        let address = socket_address(&admin.ip().to_string(), admin.port());
        bootstrap["admin"] = json!({ "address": address });
    }
    if is_ingress(&options.node_id) {
        bootstrap["overload_manager"] = overload();
    }
    bootstrap
}

/// Whether clients of the proxy may be anywhere.
fn is_ingress(node_id: &str) -> bool {
    node_id.starts_with("ingress~") && node_id.split('~').count() == 4
}

/// How many connections of clients there may be: without a limit, anybody can take all files and all memory that there are.
const CONNECTIONS: u32 = 50_000;

fn overload() -> Value {
    let kind = "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig";
    json!({ "resource_monitors": [{
        "name": "envoy.resource_monitors.global_downstream_max_connections",
        "typed_config": {
            "@type": format!("type.googleapis.com/{kind}"),
            "max_active_downstream_connections": CONNECTIONS,
        },
    }] })
}

/// The bootstrap of a client that has xDS in its gRPC library (`GRPC_XDS_BOOTSTRAP`; gRFC A27, A30). Further
/// servers are those to which it falls back (gRFC A71).
pub fn grpc(options: &BootstrapOptions) -> Value {
    let server = |address: &XdsAddress| {
        json!({
            "server_uri": address.to_string(),
            "channel_creds": [{ "type": "insecure" }],
            "server_features": ["xds_v3"],
        })
    };
    let mut node = node(options);
    if node["locality"].is_null() {
        // grpc-js takes no bootstrap without one.
        node["locality"] = json!({});
    }
    json!({ "xds_servers": options.xds.iter().map(server).collect::<Vec<_>>(), "node": node })
}

fn node(options: &BootstrapOptions) -> Value {
    let cluster = match options.node_cluster.as_str() {
        "" => DEFAULT_NODE_CLUSTER,
        cluster => cluster,
    };
    let mut node = json!({ "id": options.node_id, "cluster": cluster });
    let Locality { region, zone, sub_zone } = &options.locality;
    for (key, part) in [("region", region), ("zone", zone), ("sub_zone", sub_zone)] {
        if !part.is_empty() {
            node["locality"][key] = json!(part);
        }
    }
    if let Some(namespace) = &options.namespace {
        node["metadata"]["NAMESPACE"] = json!(namespace);
    }
    if !options.labels.is_empty() {
        node["metadata"]["LABELS"] = json!(options.labels);
    }
    node
}

/// Clusters and listeners; what they refer to says itself where it comes from. Envoy waits for both
/// without a limit: to start with nothing is to refuse traffic that pilot knows the way of.
fn dynamic_resources(options: &BootstrapOptions) -> Value {
    let api = json!({
        "api_type": if options.delta { "DELTA_GRPC" } else { "GRPC" },
        "transport_api_version": "V3",
        "set_node_on_first_message_only": true,
        "grpc_services": [{ "envoy_grpc": {
            "cluster_name": DEFAULT_XDS_CLUSTER,
            "retry_policy": { "retry_back_off": { "base_interval": RETRY.0, "max_interval": RETRY.1 } },
        } }],
    });
    let config = |source: (&str, &Value)| {
        let mut config = json!({ "resource_api_version": "V3", "initial_fetch_timeout": "0s" });
        config[source.0] = source.1.clone();
        config
    };
    match options.streams {
        Streams::Aggregated => {
            let ads = config(("ads", &json!({})));
            json!({ "ads_config": api, "cds_config": ads, "lds_config": ads })
        }
        Streams::PerType => {
            let own = config(("api_config_source", &api));
            json!({ "cds_config": own, "lds_config": own })
        }
    }
}

/// Replicas are equals: Envoys spread over them, and each goes to the next one when one cannot be connected to.
fn xds_cluster(xds: &[XdsAddress]) -> Value {
    let endpoint = |xds: &XdsAddress| json!({ "endpoint": { "address": socket_address(&xds.host.to_string(), xds.port.get()) } });
    let mut cluster = json!({
        "name": DEFAULT_XDS_CLUSTER,
        "type": "STATIC",
        "connect_timeout": CONNECT_TIMEOUT,
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {
                    "http2_protocol_options": {
                        // Without it a connection whose other end is gone looks open for ever.
                        "connection_keepalive": { "interval": "30s", "timeout": "5s" },
                    },
                },
            },
        },
        "load_assignment": {
            "cluster_name": DEFAULT_XDS_CLUSTER,
            "endpoints": [{ "lb_endpoints": xds.iter().map(endpoint).collect::<Vec<_>>() }],
        },
    });
    if xds.iter().any(|xds| !matches!(xds.host, Address::Ip(_))) {
        cluster["type"] = json!("STRICT_DNS");
        // Unless told so, Envoy takes a name's IPv6 addresses alone, if it has any, whether they answer or not.
        cluster["dns_lookup_family"] = json!("ALL");
    }
    cluster
}

fn socket_address(address: &str, port: u16) -> Value {
    json!({ "socket_address": { "address": address, "port_value": port } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_every_form() {
        for text in ["127.0.0.1:18000", "[::1]:18000", "pilot.example.com:1"] {
            assert_eq!(text.parse::<XdsAddress>().unwrap().to_string(), text);
            assert_eq!(format!(" {text}").parse::<XdsAddress>().unwrap().to_string(), text, "of a list");
        }
        for text in ["", "18000", "::1:18000", "127.0.0.1:0", "a b:1", "unix:/run/x:1", "h:70000", "[::1]"] {
            let error = text.parse::<XdsAddress>().unwrap_err().to_string();
            assert!(error.contains("expected host:port"), "{error}");
        }
    }

    #[test]
    fn a_server_that_listens_everywhere_is_reached_on_loopback() {
        for (listen, reached) in
            [("0.0.0.0:18000", "127.0.0.1:18000"), ("[::]:1", "[::1]:1"), ("10.0.0.1:0", "10.0.0.1:18000")]
        {
            let listen: SocketAddr = listen.parse().unwrap();
            assert_eq!(XdsAddress::from(listen).to_string(), reached);
        }
    }
}
