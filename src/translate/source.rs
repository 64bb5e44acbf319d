//! Config sources (where a client gets a referenced resource), and other small parts of messages.

use std::net::SocketAddr;
use std::time::Duration;

use pilot_envoy_api::envoy::config::core::v3 as core;
use pilot_envoy_api::google::protobuf as wkt;

use crate::proxy::ConfigSource;

/// The `ConfigSource` message.
///
/// Envoy waits without a limit for what it is to get there. Its own limit of 15 s would turn "not known" into "empty":
/// a listener without routes answers 404, a cluster without endpoints 503. pilot answers each subscription, with the
/// resource or with its removal, so a name that does not exist keeps no Envoy waiting.
pub(super) fn config_source(source: &ConfigSource) -> core::ConfigSource {
    use core::config_source::ConfigSourceSpecifier as Specifier;
    let specifier = match source {
        ConfigSource::Ads | ConfigSource::AdsOfGrpc => {
            Specifier::Ads(core::AggregatedConfigSource::default())
        }
        ConfigSource::PerType { cluster, delta } => {
            Specifier::ApiConfigSource(api_config_source(cluster, *delta))
        }
    };
    core::ConfigSource {
        resource_api_version: core::ApiVersion::V3.into(),
        initial_fetch_timeout: duration(Duration::ZERO),
        config_source_specifier: Some(specifier),
        ..Default::default()
    }
}

/// Where secrets come from. One that cannot be read holds a listener up for so long, and no longer.
pub(super) fn secrets(source: &ConfigSource) -> Option<core::ConfigSource> {
    const LONGEST: Duration = Duration::from_secs(5);
    let is_aggregated = matches!(source, ConfigSource::Ads | ConfigSource::AdsOfGrpc);
    is_aggregated
        .then(|| core::ConfigSource { initial_fetch_timeout: duration(LONGEST), ..config_source(source) })
}

fn api_config_source(cluster: &str, delta: bool) -> core::ApiConfigSource {
    use core::api_config_source::ApiType;
    use core::grpc_service::{EnvoyGrpc, TargetSpecifier};
    let grpc = EnvoyGrpc { cluster_name: cluster.to_owned(), ..Default::default() };
    core::ApiConfigSource {
        api_type: if delta { ApiType::DeltaGrpc } else { ApiType::Grpc }.into(),
        transport_api_version: core::ApiVersion::V3.into(),
        grpc_services: vec![core::GrpcService {
            target_specifier: Some(TargetSpecifier::EnvoyGrpc(grpc)),
            ..Default::default()
        }],
        set_node_on_first_message_only: true,
        ..Default::default()
    }
}

/// A TCP or UDP address.
pub(super) fn socket_address(
    protocol: core::socket_address::Protocol,
    address: String,
    port: u16,
) -> core::Address {
    use core::socket_address::PortSpecifier;
    let socket = core::SocketAddress {
        protocol: protocol.into(),
        address,
        port_specifier: Some(PortSpecifier::PortValue(port.into())),
        ..Default::default()
    };
    core::Address { address: Some(core::address::Address::SocketAddress(socket)) }
}

/// Where a listener is bound.
pub(super) fn bound(protocol: core::socket_address::Protocol, at: SocketAddr) -> core::Address {
    socket_address(protocol, at.ip().to_string(), at.port())
}

/// A number that can be absent.
pub(super) fn uint32(value: u32) -> Option<wkt::UInt32Value> {
    Some(wkt::UInt32Value { value })
}

/// A truth that can be absent.
pub(super) fn boolean(value: bool) -> Option<wkt::BoolValue> {
    Some(wkt::BoolValue { value })
}

/// A duration; what does not fit a protobuf duration becomes the longest that does.
pub(super) fn duration(value: Duration) -> Option<wkt::Duration> {
    const MAX_SECONDS: u64 = 315_576_000_000;
    let seconds = i64::try_from(value.as_secs().min(MAX_SECONDS)).unwrap_or_default();
    let nanos = i32::try_from(value.subsec_nanos()).unwrap_or_default();
    Some(wkt::Duration { seconds, nanos })
}
