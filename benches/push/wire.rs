//! Requests as clients write them, with parts that are encoded once and shared by all clients: on the wire a
//! repeated string, a map and a repeated `bytes` are the same thing. The clients run on the same processor
//! as the server, so they must be cheap.

use bytes::Bytes;
use pilot_envoy_api::discovery::{DeltaDiscoveryResponse, DiscoveryResponse};
use pilot_envoy_api::envoy::config::core::v3::node::UserAgentVersionType;
use pilot_envoy_api::envoy::config::core::v3::{BuildVersion, Node};
use pilot_envoy_api::envoy::r#type::v3::SemanticVersion;
use prost::Message;

/// What a client asks for of one type.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// The type URL.
    pub(crate) type_url: &'static str,
    /// The names; none = the wildcard.
    pub(crate) names: Vec<Bytes>,
    /// What it holds: encoded entries of `initial_resource_versions` (delta only).
    pub(crate) held: Vec<Bytes>,
}

/// One of the two variants, as a client speaks it.
pub(crate) trait Variant: Send + Sync + 'static {
    /// What it sends.
    type Request: Message + Default + Clone + 'static;
    /// What it gets.
    type Response: Message + Default + 'static;
    /// The aggregated stream.
    const PATH: &'static str;

    /// The first request for a type. The node goes with the first of a stream only.
    fn subscribe(wanted: &Wanted, node: Bytes) -> Self::Request;
    /// Accepts a response.
    fn accept(wanted: &Wanted, response: &Self::Response) -> Self::Request;
    /// What a client asks for that is told of a cluster more or less: its endpoints, or none any more.
    fn follow_clusters(_newcomer: &Wanted, _clusters: &Self::Response) -> Option<Self::Request> {
        None
    }
    /// Type and resources of a response.
    fn content(response: &Self::Response) -> (&str, &[Bytes]);
}

/// `envoy.service.discovery.v3.DeltaDiscoveryRequest`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct DeltaRequest {
    #[prost(bytes = "bytes", tag = "1")]
    node: Bytes,
    #[prost(string, tag = "2")]
    type_url: String,
    #[prost(bytes = "bytes", repeated, tag = "3")]
    subscribe: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "4")]
    unsubscribe: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "5")]
    initial_resource_versions: Vec<Bytes>,
    #[prost(string, tag = "6")]
    response_nonce: String,
}

/// `envoy.service.discovery.v3.DiscoveryRequest`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SotwRequest {
    #[prost(string, tag = "1")]
    version_info: String,
    #[prost(bytes = "bytes", tag = "2")]
    node: Bytes,
    #[prost(bytes = "bytes", repeated, tag = "3")]
    names: Vec<Bytes>,
    #[prost(string, tag = "4")]
    type_url: String,
    #[prost(string, tag = "5")]
    response_nonce: String,
}

/// Delta.
pub(crate) struct Delta;

impl Variant for Delta {
    type Request = DeltaRequest;
    type Response = DeltaDiscoveryResponse;
    const PATH: &'static str =
        "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

    fn subscribe(wanted: &Wanted, node: Bytes) -> DeltaRequest {
        DeltaRequest {
            node,
            type_url: wanted.type_url.to_owned(),
            subscribe: wanted.names.clone(),
            initial_resource_versions: wanted.held.clone(),
            ..Default::default()
        }
    }

    fn accept(wanted: &Wanted, response: &DeltaDiscoveryResponse) -> DeltaRequest {
        let response_nonce = response.nonce.clone();
        DeltaRequest { type_url: wanted.type_url.to_owned(), response_nonce, ..Default::default() }
    }

    fn follow_clusters(newcomer: &Wanted, clusters: &DeltaDiscoveryResponse) -> Option<DeltaRequest> {
        let names = |is: bool| if is { newcomer.names.clone() } else { Vec::new() };
        let (came, went) = (!clusters.resources.is_empty(), !clusters.removed_resources.is_empty());
        (came || went).then(|| DeltaRequest {
            type_url: newcomer.type_url.to_owned(),
            subscribe: names(came),
            unsubscribe: names(went),
            ..Default::default()
        })
    }

    fn content(response: &DeltaDiscoveryResponse) -> (&str, &[Bytes]) {
        (&response.type_url, &response.resources)
    }
}

/// State of the world.
pub(crate) struct Sotw;

impl Variant for Sotw {
    type Request = SotwRequest;
    type Response = DiscoveryResponse;
    const PATH: &'static str =
        "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";

    fn subscribe(wanted: &Wanted, node: Bytes) -> SotwRequest {
        let names = wanted.names.clone();
        SotwRequest { node, names, type_url: wanted.type_url.to_owned(), ..Default::default() }
    }

    fn accept(wanted: &Wanted, response: &DiscoveryResponse) -> SotwRequest {
        SotwRequest {
            version_info: response.version_info.clone(),
            node: Bytes::new(),
            names: wanted.names.clone(),
            type_url: wanted.type_url.to_owned(),
            response_nonce: response.nonce.clone(),
        }
    }

    fn content(response: &DiscoveryResponse) -> (&str, &[Bytes]) {
        (&response.type_url, &response.resources)
    }
}

/// An encoded node. Each client has an id of its own. `in_parts`: it takes routes in parts.
pub(crate) fn node(number: usize, in_parts: bool) -> Bytes {
    let id = format!("router~127.0.0.1~client-{number}~bench");
    let new = SemanticVersion { major_number: 1, minor_number: 40, patch: 0 };
    let new = BuildVersion { version: Some(new), ..Default::default() };
    let node = Node {
        id,
        user_agent_name: if in_parts { "envoy" } else { "bench" }.into(),
        user_agent_version_type: in_parts.then_some(UserAgentVersionType::UserAgentBuildVersion(new)),
        ..Default::default()
    };
    node.encode_to_vec().into()
}

/// An encoded entry of `initial_resource_versions` for a resource of a delta response.
pub(crate) fn held(resource: &Bytes) -> Bytes {
    #[derive(Clone, PartialEq, Message)]
    struct Entry {
        #[prost(string, tag = "1")]
        key: String,
        #[prost(string, tag = "2")]
        value: String,
    }
    use pilot_envoy_api::envoy::service::discovery::v3::Resource;
    let resource = Resource::decode(resource.clone()).unwrap_or_default();
    Entry { key: resource.name, value: resource.version }.encode_to_vec().into()
}
