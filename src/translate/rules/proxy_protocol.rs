//! What servers are told of the client before anything else (haproxy's PROXY protocol).

use pilot_envoy_api::envoy::config::cluster::v3::Cluster;
use pilot_envoy_api::envoy::config::core::v3::proxy_protocol_config::Version;
use pilot_envoy_api::envoy::config::core::v3::transport_socket::ConfigType;
use pilot_envoy_api::envoy::config::core::v3::{ProxyProtocolConfig, TransportSocket};
use pilot_envoy_api::envoy::extensions::transport_sockets::proxy_protocol::v3::ProxyProtocolUpstreamTransport;
use pilot_envoy_api::envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer;
use pilot_envoy_api::google::protobuf::Any;
use pilot_envoy_api::to_any;

use crate::rules::kinds::{ProxyProtocol, ProxyProtocolVersion};

/// Connections of the cluster begin with the client's address, before TLS.
pub(super) fn tell(cluster: &mut Cluster, told: ProxyProtocol) {
    let version = match told.version.unwrap_or(ProxyProtocolVersion::V1) {
        ProxyProtocolVersion::V1 => Version::V1,
        ProxyProtocolVersion::V2 => Version::V2,
    };
    let within = cluster
        .transport_socket
        .take()
        .unwrap_or_else(|| socket("envoy.transport_sockets.raw_buffer", to_any(&RawBuffer::default())));
    let header = ProxyProtocolUpstreamTransport {
        config: Some(ProxyProtocolConfig { version: version.into(), ..Default::default() }),
        transport_socket: Some(within),
        ..Default::default()
    };
    cluster.transport_socket =
        Some(socket("envoy.transport_sockets.upstream_proxy_protocol", to_any(&header)));
}

fn socket(name: &str, config: Any) -> TransportSocket {
    TransportSocket { name: name.to_owned(), config_type: Some(ConfigType::TypedConfig(config)) }
}
